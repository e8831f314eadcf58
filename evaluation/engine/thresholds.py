"""Chooses the thresholds of a protocol on data that are not audited, and writes them into the protocol.

A rule picks one operating point per label from the scores and references of a tuning file. What the audited data say
never enters: only rows of the tuning splits are read, where the protocol declares splits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.digests import sha256_file
from core.errors import ProtocolError
from evaluation.engine.protocol import Protocol, Threshold
from evaluation.engine.threshold_writing import with_thresholds

if TYPE_CHECKING:
    from models_registry.cohorts import Mapping, PredictionTable

Floats = npt.NDArray[np.float64]
Signs = npt.NDArray[np.int8]
MAX_FILE_NAME = 60
FORMS = "sensitivity=0.90, specificity=0.90, youden, net-benefit=0.10"


class RuleKind(StrEnum):
    """What is asked of an operating point."""

    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    YOUDEN = "youden"
    NET_BENEFIT = "net-benefit"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How an operating point is chosen among all that a set of scores allows.

    - ``sensitivity``: the most specific one with at least this sensitivity.
    - ``specificity``: the most sensitive one with at least this specificity.
    - ``youden``: the largest sensitivity + specificity.
    - ``net-benefit``: the largest TP/n - FP/n * t/(1-t), where t is the risk of disease from which one would act
      (Vickers and Elkin, Med Decis Making 2006).

    Ties go to the lower threshold, at which fewer findings are missed.
    """

    kind: RuleKind
    target: float | None = None

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read ``sensitivity=0.90``, ``specificity=0.90``, ``youden`` or ``net-benefit=0.10``.

        Raises:
            ProtocolError: for anything else; the remedy lists the forms.
        """
        name, equals, number = text.strip().partition("=")
        try:
            kind = RuleKind(name.strip().casefold())
            rule = cls(kind=kind, target=float(number) if equals else None)
        except ValueError:
            rule = None
        if rule is not None and rule.sensible:
            return rule
        raise ProtocolError(
            f"'{text}' is no rule for thresholds.",
            remedy=f"Use one of: {FORMS}. The number lies between 0 and 1.",
        )

    @property
    def sensible(self) -> bool:
        """Whether there is a target where one is needed, and it lies in (0, 1]; a risk to act from below 1."""
        if self.target is None:
            return self.kind is RuleKind.YOUDEN
        top = self.target < 1 or (self.target == 1 and self.kind is not RuleKind.NET_BENEFIT)
        return self.kind is not RuleKind.YOUDEN and self.target > 0 and top

    def __str__(self) -> str:
        if self.target is None:
            return "largest sensitivity + specificity (Youden)"
        if self.kind is RuleKind.NET_BENEFIT:
            return f"largest net benefit at a risk of {self.target:g}"
        return f"{self.kind} of at least {self.target:g}"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold and what it does to the scores it was chosen on. ``n``: studies with a reference and a score."""

    value: float
    sensitivity: float | None
    specificity: float | None
    n: int
    positives: int


@dataclass(frozen=True, kw_only=True)
class TunedProtocol:
    """A protocol with its thresholds filled in.

    Attributes:
        text: Its YAML.
        comments_kept: False where the thresholds could not be put into the text as it was, so that the canonical
            form was written instead.
        points: Label -> its operating point on the tuning data.
    """

    protocol: Protocol
    text: str
    comments_kept: bool
    points: dict[str, OperatingPoint]


def choose_threshold(scores: Floats, reference: Signs, rule: Rule) -> OperatingPoint | None:
    """The operating point that a rule picks; None where it is undefined or cannot be reached.

    The value is the decimal of the fewest digits that cuts the scores where the rule wants it cut.

    Args:
        scores: [n], in [0, 1]; NaN where there is none.
        reference: [n], 1, 0, or -1 where it is silent.
    """
    known = np.isfinite(scores) & (reference >= 0)
    scores, positive = scores[known], reference[known] == 1
    total, present = len(scores), int(positive.sum())
    absent = total - present
    needs = {RuleKind.SENSITIVITY: present, RuleKind.SPECIFICITY: absent, RuleKind.NET_BENEFIT: total}
    if needs.get(rule.kind, min(present, absent)) == 0:
        return None
    cuts, place = np.unique(scores, return_inverse=True)
    found = _at_or_above(np.bincount(place[positive], minlength=len(cuts)))
    false = _at_or_above(np.bincount(place[~positive], minlength=len(cuts)))
    chosen = _choose(rule, found, false, present, absent, possible=len(cuts) + (cuts[-1] < 1.0))
    if chosen is None:
        return None
    below = -1.0 if chosen == 0 else float(cuts[chosen - 1])
    at = 1.0 if chosen == len(cuts) else float(cuts[chosen])
    return OperatingPoint(
        value=_shortest(below, at),
        sensitivity=int(found[chosen]) / present if present else None,
        specificity=1 - int(false[chosen]) / absent if absent else None,
        n=total,
        positives=present,
    )


def _at_or_above(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Counts at or above each cut, and 0 for a cut above all."""
    return np.append(np.cumsum(counts[::-1])[::-1], 0).astype(np.int64)


def _choose(rule: Rule, found: Any, false: Any, present: int, absent: int, *, possible: int) -> int | None:
    """Index of the cut, the lowest of those that are equally good; the last of ``possible`` is above all scores.

    Compared in whole numbers as far as possible: a target such as 0.9 of 10 is reached by 9.
    """
    target = rule.target or 0.0
    if rule.kind is RuleKind.SENSITIVITY:
        good = found[:possible] >= math.ceil(target * present - 1e-9)
        value = -false[:possible]
    elif rule.kind is RuleKind.SPECIFICITY:
        good = absent - false[:possible] >= math.ceil(target * absent - 1e-9)
        value = found[:possible]
    else:
        good = np.ones(possible, dtype=bool)
        if rule.kind is RuleKind.YOUDEN:
            value = found[:possible] * absent - false[:possible] * present
        else:
            value = np.round(found[:possible] * (1 - target) - false[:possible] * target, 9)
    allowed = np.flatnonzero(good)
    return int(allowed[np.argmax(value[allowed])]) if len(allowed) else None


def _shortest(below: float, at: float) -> float:
    """The decimal of the fewest digits in (below, at]."""
    exact = Decimal(repr(at))
    for digits in range(1, 18):
        value = float(exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR))
        if below < value <= at:
            return value
    return at


def tune_thresholds(
    text: str,
    *,
    source: str,
    predictions: Path,
    rule: Rule,
    labels: Sequence[str] = (),
    mapping: Mapping | None = None,
) -> TunedProtocol:
    """Choose thresholds on a tuning file and write them into a protocol's YAML.

    Where the protocol declares ``splits`` and the file has the column ``split``, only rows of the tuning splits are
    read. Holds 9 bytes per study and label.

    Args:
        text, source: YAML of the protocol and its name in errors.
        predictions: The tuning file, with references and scores.
        labels: Labels to tune; all of the protocol's unless told otherwise.

    Raises:
        CohortError: for a file that cannot be used.
        ProtocolError: where protocol and file do not fit, or the rule cannot be met.
    """
    protocol = Protocol.from_yaml(text, source=source)
    wanted = tuple(labels) or protocol.label_names
    for name in wanted:
        if name not in protocol.label_names:
            raise ProtocolError(
                f"The protocol has no label '{name}'.",
                remedy=f"Use one of: {', '.join(protocol.label_names)}.",
                file=source,
            )
    answers, part = _read(protocol, wanted, predictions, mapping)
    points = {name: _point(name, *answers[name], rule=rule, file=predictions.name) for name in wanted}
    digest = sha256_file(predictions)[:12]
    thresholds = {
        name: Threshold(
            value=point.value, source=_told(rule, point, predictions.name, digest, part, protocol.minimum_cell)
        )
        for name, point in points.items()
    }
    tuned = replace(
        protocol,
        labels=tuple(
            replace(label, threshold=thresholds.get(label.name, label.threshold)) for label in protocol.labels
        ),
    )
    written, kept = with_thresholds(text, tuned, names=wanted)
    return TunedProtocol(protocol=tuned, text=written, comments_kept=kept, points=points)


def _point(name: str, scores: Floats, reference: Signs, *, rule: Rule, file: str) -> OperatingPoint:
    point = choose_threshold(scores, reference, rule)
    if point is not None:
        return point
    known = np.isfinite(scores) & (reference >= 0)
    counts = f"{int((reference[known] == 1).sum()):,} with the finding, {int((reference[known] == 0).sum()):,} without"
    raise ProtocolError(
        f"The label '{name}' has no {rule}: {int(known.sum()):,} studies have a reference and a score, {counts}.",
        remedy="Tune on a file with studies of both kinds, choose another rule, or name the labels with --label.",
        file=file,
        column=f"score.{name}",
    )


def _told(rule: Rule, point: OperatingPoint, file: str, digest: str, part: str, least: int) -> str:
    """Where the number comes from; counts under the smallest cell of the protocol are not told."""
    name = file if len(file) <= MAX_FILE_NAME else f"{file[: MAX_FILE_NAME - 1]}…"
    few = point.positives < least or point.n - point.positives < least
    told = f"fewer than {least} of one kind" if few else f"{point.positives} with the finding"
    return f"{rule}; {name}{part}, SHA-256 {digest}, {point.n} studies, {told}"


def _read(
    protocol: Protocol, names: Sequence[str], predictions: Path, mapping: Mapping | None
) -> tuple[dict[str, tuple[Floats, Signs]], str]:
    """Scores and references of each label, and in words which part of the file they are of."""
    from evaluation.engine.runner import prediction_columns
    from models_registry.cohorts import partition_by_patient, read_predictions

    columns = prediction_columns(predictions, mapping=mapping)
    needed = [f"{kind}.{name}" for name in names for kind in ("label", "score")]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ProtocolError(
            f"The file has no column {', '.join(missing)}.",
            remedy="Tune on a file with a reference and scores of every label, or name the labels with --label.",
            file=predictions.name,
            column=missing[0],
        )
    splits = protocol.splits if "split" in columns else None
    with TemporaryDirectory(prefix="auscult-tune-") as spool:
        wanted = [*needed, *(["split"] if splits else [])]
        cut = partition_by_patient(predictions, columns=wanted, spool=Path(spool), mapping=mapping)
        tuning = _tuning_splits(protocol, tuple(sorted(cut.summary.get("splits") or {})), predictions.name)
        tables = [_tuning_rows(read_predictions(part), names, tuning) for part in cut.parts]
    answers = {
        name: (np.concatenate([item[name][0] for item in tables]), np.concatenate([item[name][1] for item in tables]))
        for name in names
    }
    return answers, f", split {' and '.join(tuning)}" if tuning else ""


def _tuning_splits(protocol: Protocol, found: tuple[str, ...], file: str) -> tuple[str, ...]:
    """The splits to tune on; none where the file has no splits and all of it is for tuning.

    Raises:
        ProtocolError: where it is not plain which rows may be used.
    """
    if not found or (protocol.splits is None and len(found) == 1):
        return ()
    listed = ", ".join(found)
    tuning = protocol.splits.tuning if protocol.splits else ()
    if not tuning:
        raise ProtocolError(
            f"The file has the splits {listed}, and the protocol does not say on which of them thresholds are tuned.",
            remedy="Add to the protocol, for example: splits: {audited: [test], tuning: [validation]}.",
            file=file,
            column="split",
        )
    used = tuple(name for name in tuning if name in found)
    if not used:
        raise ProtocolError(
            f"No study is in the split {', '.join(tuning)}, on which thresholds are tuned. The column has {listed}.",
            remedy="Correct 'splits' in the protocol, or the column in the file.",
            file=file,
            column="split",
        )
    return used


def _tuning_rows(
    table: PredictionTable, names: Sequence[str], tuning: tuple[str, ...]
) -> dict[str, tuple[Floats, Signs]]:
    rows: Any = slice(None)
    if tuning and table.splits is not None:
        rows = np.isin(table.splits.astype(str), tuning)
    return {name: (table.scores[name][rows], table.labels[name][rows]) for name in names}
