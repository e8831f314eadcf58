"""What drift is watched on, and what a comparison of a window with a reference says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from evaluation.engine.drift.frame import DriftFrame

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]
Vectors = npt.NDArray[np.float32]
RADIUS = "radius "
"""How components of a vector's radius begin. Where coordinates are skew they go together with those of its mean, so
the lifetime test does not multiply them with others."""


class Family(StrEnum):
    """What a stream tells of. A protocol gives margins, and says what is critical, by family."""

    NUMERIC = "numeric"
    SERIES = "series"
    CATEGORICAL = "categorical"
    MASK = "mask"
    TEXT = "text"
    IMAGE = "image"
    PREDICTION = "prediction"
    LABEL = "label"
    CONCORDANCE = "concordance"
    ESTIMATED = "estimated"
    PERFORMANCE = "performance"
    CONCEPT = "concept"
    CASE_MIX = "case_mix"


class Shape(StrEnum):
    """What a stream holds of one study: a number, a category, a vector, or score and truth of one label."""

    NUMBER = "number"
    CATEGORY = "category"
    VECTOR = "vector"
    SCORED = "scored"


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """One stream.

    Attributes:
        name: ``age``; ``series.crp:median``, ``series.crp:rate``; ``mask``; ``text.indication:length``,
            ``text.indication:embedding``; ``image:embedding``, ``image:blur``; ``score.effusion``;
            ``label.effusion``; ``concordance:image-text``. Unique in a frame.
        title: In a reader's words: ``CRP, median of the study``.
        modality: What it is read from: ``image``, ``text.indication``, ``series.crp``, a column, ``score.<label>``.
        unit: UCUM code of a number where the protocol or the analytes tell it; "" elsewhere.
    """

    name: str
    family: Family
    shape: Shape
    title: str
    modality: str
    unit: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "family": self.family.value, "shape": self.shape.value, "title": self.title,
            "modality": self.modality, "unit": self.unit,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StudyStreams:
    """Streams of n studies, as they are read off a share. Scores and labels are those of the ``ShardTable``.

    Attributes:
        specs: Of every stream here, those of scores and labels included.
        numbers: Stream -> float64 [n], NaN where the study has none.
        categories: Stream -> object [n]: str, or None where the study has none.
        vectors: Stream -> float32 [n, d]; a row of NaN where the study has none.
        frame: How they are sketched; None while the frame itself is being fitted.
        why_not: Family or stream -> why it is not watched, such as a model that embeds no images.
    """

    specs: tuple[StreamSpec, ...]
    numbers: dict[str, Floats] = field(default_factory=dict)
    categories: dict[str, Objects] = field(default_factory=dict)
    vectors: dict[str, Vectors] = field(default_factory=dict)
    frame: DriftFrame | None = None
    why_not: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StreamShift:
    """How far one stream of a window lies from the reference, over all studies or in one group.

    Attributes:
        attribute, group: "" and ``All`` over all studies; then studies are compared within groups of the case mix.
        effect: What ``value`` is: ``wasserstein_sigma``, ``js_distance``, ``auc_excess``, ``prevalence_change``,
            ``sensitivity_drop``, ... The docstring of ``shifts`` says which family has which.
        value, low, high: The effect size with its interval; None with a ``reason``.
        margin: From the protocol: smaller shifts are not acted on.
        p_value: Of no shift, in this window alone: a single look.
        n, n_reference: Studies (one for each patient) on either side.
        detail: Further numbers of the stream: ``ks``, ``psi``, ``js``, ``mmd2``, ``auc``, ``unseen``, ``log_ratio``.
    """

    stream: str
    family: Family
    attribute: str
    group: str
    effect: str
    value: float | None
    low: float | None
    high: float | None
    margin: float
    p_value: float | None
    n: int
    n_reference: int
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "stream": self.stream, "family": self.family.value, "attribute": self.attribute, "group": self.group,
            "effect": self.effect, "value": self.value, "low": self.low, "high": self.high, "margin": self.margin,
            "p_value": self.p_value, "n": self.n, "n_reference": self.n_reference, "reason": self.reason,
            "detail": self.detail,
        }  # fmt: skip


class NoticeKind(StrEnum):
    """Something about a window that is told apart from drift of patients."""

    UNIT = "unit"
    UNSEEN = "unseen"
    CASE_MIX = "case_mix"
    CONCEPT = "concept"
    FEW = "few"
    NOT_WATCHED = "not_watched"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A finding about a stream that is no drift of patients: a unit that changed, a category never seen before.

    A stream with a unit notice takes no part in the lifetime test of this window.
    """

    kind: NoticeKind
    stream: str
    message: str
    detail: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "stream": self.stream, "message": self.message, "detail": self.detail}


@dataclass(frozen=True, kw_only=True)
class Residual:
    """What the lifetime test keeps of one stream of one window.

    Under the null hypothesis (the window's patients are exchangeable with those before) ``z`` is about standard
    normal, independent between windows, whatever the size of the reference.

    Attributes:
        z: One number for each component of the stream (location, scale, each category ...), always in one order.
        components: Their names.
        n: Patients of the window that it rests on; baseline: patients that it was compared with.
    """

    stream: str
    family: Family
    attribute: str
    group: str
    z: tuple[float, ...]
    components: tuple[str, ...]
    n: float
    baseline: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "stream": self.stream, "family": self.family.value, "attribute": self.attribute, "group": self.group,
            "z": list(self.z), "components": list(self.components), "n": self.n, "baseline": self.baseline,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Residual:
        """Read what :meth:`to_dict` wrote."""
        made = body | {"family": Family(body["family"]), "z": tuple(body["z"])}
        return cls(**(made | {"components": tuple(body["components"])}))


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known about a monitor's life after one more window.

    Attributes:
        log_e: Logarithm of the e-value over all streams; an alarm is due where those whose shift is over its margin
            reach ``threshold`` by themselves.
        log_e_over_margin: That of the streams whose shift is over its margin, the others counted as nothing.
        threshold: ``-log(alpha)``, or what the cycle after an alarm asks for.
        alarm: Whether there is an alarm at this window.
        streams: (stream, attribute, group) -> logarithm of its own e-value.
        onset: Number of the window in which the change most likely began; None without an alarm.
        alarming: Those that make up the alarm, the strongest first.
        promise: What is promised, in words: ``any false alarm, ever, with probability at most .05``.
        method: ``e_process``, ``alpha_spending`` or ``run_length``.
    """

    log_e: float
    log_e_over_margin: float
    threshold: float
    alarm: bool
    streams: dict[tuple[str, str, str], float]
    onset: int | None
    alarming: tuple[tuple[str, str, str], ...]
    promise: str
    method: str

    def to_dict(self) -> dict[str, Any]:
        keyed = [{"stream": s, "attribute": a, "group": g, "log_e": e} for (s, a, g), e in self.streams.items()]
        named = [{"stream": s, "attribute": a, "group": g} for s, a, g in self.alarming]
        return {
            "log_e": self.log_e, "log_e_over_margin": self.log_e_over_margin, "threshold": self.threshold,
            "alarm": self.alarm, "streams": keyed, "onset": self.onset, "alarming": named, "promise": self.promise,
            "method": self.method,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A possible cause of an alarm.

    Attributes:
        feature: The stream, or ``<attribute>=<group>`` for a group in which alone it happens.
        title: In a reader's words.
        share: What would remain unexplained is ``1 - share``: the share of the shifts of all features together that
            would be there if this feature alone had changed. Features overlap, so shares do not add up. For a change of
            performance the Shapley share, which does. ``method`` says which.
        importance: By how much a classifier that tells window from reference gets worse on held-out patients when
            the feature is permuted, in AUROC; None where there is none.
        effect, value: Name and size of its own shift.
        sentence: ``Scanner maker: Philips 12 % before, 97 % now.`` Never a patient.
    """

    feature: str
    title: str
    modality: str
    attribute: str
    group: str
    share: float
    effect: str
    value: float | None
    method: str
    sentence: str
    importance: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "feature": self.feature, "title": self.title, "modality": self.modality, "attribute": self.attribute,
            "group": self.group, "share": self.share, "effect": self.effect, "value": self.value,
            "method": self.method, "sentence": self.sentence, "importance": self.importance,
        }  # fmt: skip
