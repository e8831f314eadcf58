"""Which streams are watched, and which are not and why: decided once, on the reference, by protocol, data and model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.frame import DriftFrame
from evaluation.engine.drift.records import Family, Shape, StreamSpec
from evaluation.engine.protocol import Drift
from evaluation.execution import stream_columns, stream_encoder
from evaluation.execution.stream_images import QUALITY
from models_registry.cohorts.schema import ColumnRole, role_of

WRITTEN = frozenset({"text.reference", "text.generated"})
"""What is judged, and what it is judged by: neither is given to a model."""
GENERATED = "text.generated"
SCORED = (Family.PREDICTION, Family.ESTIMATED, Family.PERFORMANCE, Family.CONCEPT)
LABELLED = (Family.LABEL, Family.ESTIMATED, Family.PERFORMANCE, Family.CONCEPT)
OF_LABELS = {
    Family.PREDICTION: ("score", "score"),
    Family.LABEL: ("label", "reference standard"),
    Family.ESTIMATED: ("estimated", "performance estimated without labels"),
    Family.PERFORMANCE: ("performance", "performance with labels"),
    Family.CONCEPT: ("concept", "what a score means"),
}
"""Family -> how its streams are called, and in a reader's words."""
IMAGE_TITLES = {
    "blur": "image, variance of the Laplacian",
    "contrast": "image, contrast",
    "brightness": "image, brightness",
    "size": "image, side of a square of as many pixels",
    "aspect": "image, width over height",
}
TEXT_TITLES = {
    "length": "words",
    "oov": "share of words that the reference does not know",
    "findings": "findings said to be there",
    "absent": "findings said to be absent",
}
SERIES_TITLES = {
    "median": "median of the study",
    "count": "values of the study",
    "rate": "values for each hour",
}
VERSUS = "concordance:image-vs-text"
NO_IMAGE = "The cohort has no images."
NO_TEXT = "The cohort has no texts that a model may read."
NO_SERIES = "The cohort has no series."
NO_SCORES = "The model gives no scores and decisions of the protocol's labels."
NO_LABELS = "The cohort has no reference standard of the protocol's labels."
NO_PARTS = "The cohort has neither images nor texts nor series, and the model names no inputs."
NO_SPACE = "The model does not embed images and texts in one space."
NOT_EMBEDDED = "The model does not embed it."


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """What is read of studies.

    Attributes:
        specs: Every stream, those of scores and labels included.
        vocabularies: Known words of the texts, see ``stream_texts``; empty while they are being collected.
        why_not: Family or stream -> why it is not watched.
        frame: What the specs are of; None while it is being fitted.
    """

    specs: tuple[StreamSpec, ...]
    vocabularies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)
    frame: DriftFrame | None = None

    @classmethod
    def of_frame(cls, frame: DriftFrame) -> StreamPlan:
        """What a frame says: a window is read for the streams of its reference, whatever else it has."""
        return cls(specs=frame.specs, vocabularies=frame.vocabularies, why_not=dict(frame.why_not), frame=frame)

    @property
    def read(self) -> tuple[StreamSpec, ...]:
        """Those that are read off studies; scores and labels are there already."""
        return tuple(spec for spec in self.specs if spec.shape is not Shape.SCORED)

    def needs_model(self, drift: Drift) -> bool:
        """Whether any of them is asked of the model."""
        return any(is_asked(spec, drift) for spec in self.read)

    @property
    def needs_images(self) -> bool:
        """Whether images are to be decoded for other streams than those of the model."""
        return any(spec.modality == "image" for spec in self.read)


def is_asked(spec: StreamSpec, drift: Drift) -> bool:
    """Whether the model is asked for a stream: its embeddings, and what it says with an image or a text alone."""
    if spec.name == VERSUS or spec.name.startswith("concordance:image-text."):
        return True
    if spec.shape is not Shape.VECTOR or spec.name == "image:thumbnail":
        return False
    return not spec.modality.startswith("text.") or drift.text_encoder == "model"


def plan_streams(
    rules: Rules, columns: Sequence[str], covariates: Mapping[str, Sequence[Any]], *, declared: Mapping[str, Any]
) -> StreamPlan:
    """Every stream that the protocol wants, and that cohort and model allow.

    Args:
        columns: Of the reference cohort.
        covariates: Column -> its values in studies of the reference.
        declared: What the model's adapter declared, ``AdapterInfo.to_dict()``; empty where there is no model.
    """
    drift = rules.drift or Drift()
    found: list[StreamSpec] = []
    why: dict[str, str] = {}
    for planned in (
        _covariates(rules, drift, covariates),
        _series(rules, drift, columns),
        _mask(drift, columns, covariates, declared),
        _texts(drift, columns, declared),
        _images(drift, columns, declared),
        _vectors(drift, columns, declared),
        _scores(rules, drift, columns, declared),
        _concordance(rules, drift, columns, declared),
    ):
        for item in planned:
            if isinstance(item, StreamSpec):
                found.append(item)
            else:
                why[item[0]] = item[1]
    return StreamPlan(specs=tuple(found), why_not=why)


Planned = Iterator[StreamSpec | tuple[str, str]]
"""Streams, and what is not watched with the reason."""


def of_role(columns: Iterable[str], role: ColumnRole) -> list[str]:
    """Columns of a role; of texts, those that are given to a model."""
    return [name for name in columns if role_of(name) is role and name not in WRITTEN]


def watched_columns(rules: Rules, columns: Iterable[str]) -> list[str]:
    """Covariates that the protocol wants watched: those it names, else all but those of the case mix."""
    drift = rules.drift or Drift()
    if drift.columns:
        return list(drift.columns)
    mixed = {rules.attribute(name).column for name in drift.case_mix}
    return [name for name in of_role(columns, ColumnRole.COVARIATE) if name not in mixed]


def embeds(declared: Mapping[str, Any], modality: str) -> bool:
    """Whether the model gives vectors of a modality."""
    if "embed" not in declared.get("capabilities", ()):
        return False
    return any(fnmatchcase(modality, str(name)) for name in declared.get("details", {}).get("embeds", ()))


def _covariates(rules: Rules, drift: Drift, covariates: Mapping[str, Sequence[Any]]) -> Planned:
    nominal = {item.column for item in rules.attributes if item.bands is None}
    for name, values in covariates.items():
        kind = stream_columns.kind_of(values, nominal=name in nominal)
        if not isinstance(kind, Shape):
            yield name, kind
            continue
        family = Family.NUMERIC if kind is Shape.NUMBER else Family.CATEGORICAL
        if drift.watches(family):
            yield StreamSpec(name=name, family=family, shape=kind, title=name.replace("_", " "), modality=name)


def _series(rules: Rules, drift: Drift, columns: Sequence[str]) -> Planned:
    from evaluation.engine.text.analytes import analyte_words

    if not drift.watches(Family.SERIES):
        return
    named = of_role(columns, ColumnRole.SERIES)
    if not named:
        yield Family.SERIES.value, NO_SERIES
    units = {rule.series: rule.unit for rule in rules.reports.numbers} if rules.reports else {}
    known = analyte_words().analytes
    for column in named:
        short = column.partition(".")[2]
        title = known[short].title if short in known else short.replace("_", " ")
        for what, words in SERIES_TITLES.items():
            unit = {"median": units.get(short, ""), "count": "1", "rate": "/h"}[what]
            yield StreamSpec(
                name=f"{column}:{what}", family=Family.SERIES, shape=Shape.NUMBER, title=f"{title}, {words}",
                modality=column, unit=unit,
            )  # fmt: skip


def _mask(
    drift: Drift, columns: Sequence[str], covariates: Mapping[str, Sequence[Any]], declared: Mapping[str, Any]
) -> Planned:
    """The joint pattern of the cohort's images, texts and series, and of the covariates that the model reads."""
    if not drift.watches(Family.MASK):
        return
    reads = set(declared.get("modalities", ()))
    parts = [name for role in (ColumnRole.IMAGE, ColumnRole.TEXT, ColumnRole.SERIES) for name in of_role(columns, role)]
    parts += [name for name in of_role(columns, ColumnRole.COVARIATE) if name in reads]
    if not parts:
        yield Family.MASK.value, NO_PARTS
        return
    yield StreamSpec(
        name="mask", family=Family.MASK, shape=Shape.CATEGORY, title="modalities that a study has",
        modality=stream_columns.JOIN.join(parts),
    )  # fmt: skip


def _texts(drift: Drift, columns: Sequence[str], declared: Mapping[str, Any]) -> Planned:
    named = of_role(columns, ColumnRole.TEXT)
    if drift.watches(Family.TEXT):
        if not named:
            yield Family.TEXT.value, NO_TEXT
        for column in named:
            yield from _of_text(column, Family.TEXT, ("length", "oov", "findings", "absent"))
    if drift.watches(Family.PREDICTION) and GENERATED in declared.get("outputs", ()):
        yield from _of_text(GENERATED, Family.PREDICTION, ("length", "findings", "absent"))


def _of_text(column: str, family: Family, figures: Sequence[str]) -> Planned:
    title = "written report" if column == GENERATED else column.partition(".")[2].replace("_", " ")
    for what in figures:
        yield StreamSpec(
            name=f"{column}:{what}", family=family, shape=Shape.NUMBER, title=f"{title}, {TEXT_TITLES[what]}",
            modality=column, unit="1",
        )  # fmt: skip
    yield StreamSpec(
        name=f"{column}:sections", family=family, shape=Shape.CATEGORY, title=f"{title}, headings", modality=column
    )


def _images(drift: Drift, columns: Sequence[str], declared: Mapping[str, Any]) -> Planned:
    if not drift.watches(Family.IMAGE):
        return
    if "image" not in columns:
        yield Family.IMAGE.value, NO_IMAGE
        return
    for what in QUALITY:
        yield StreamSpec(
            name=f"image:{what}", family=Family.IMAGE, shape=Shape.NUMBER, title=IMAGE_TITLES[what], modality="image"
        )
    if not embeds(declared, "image") and (not drift.embed or "image" in drift.embed):
        yield "image:embedding", f"{NOT_EMBEDDED} A likeness of 8 x 8 squares is watched instead."
        yield StreamSpec(
            name="image:thumbnail", family=Family.IMAGE, shape=Shape.VECTOR, title="image, likeness of 8 x 8 squares",
            modality="image",
        )  # fmt: skip


def _vectors(drift: Drift, columns: Sequence[str], declared: Mapping[str, Any]) -> Planned:
    """Embeddings of what the protocol names, else of images and texts."""
    usual = [name for name in columns if name == "image" or name in of_role(columns, ColumnRole.TEXT)]
    families = {"image": Family.IMAGE, "text": Family.TEXT, "series": Family.SERIES}
    for name in drift.embed or usual:
        family = families.get(name.partition(".")[0], Family.NUMERIC)
        if not drift.watches(family):
            continue
        own = family is Family.TEXT and drift.text_encoder != "model"
        if family is Family.TEXT and drift.text_encoder == "minilm" and not stream_encoder.is_installed():
            yield f"{name}:embedding", "The sentence encoder MiniLM is not installed."
        elif own or embeds(declared, name):
            title = f"{name.removeprefix('text.').replace('_', ' ')}, embedding"
            yield StreamSpec(name=f"{name}:embedding", family=family, shape=Shape.VECTOR, title=title, modality=name)
        elif name != "image":
            yield f"{name}:embedding", NOT_EMBEDDED


def _scores(rules: Rules, drift: Drift, columns: Sequence[str], declared: Mapping[str, Any]) -> Planned:
    """One stream for each family that rests on the scores of a label, on its truth, or on both."""
    outputs = set(declared.get("outputs", ()))
    scored = [name for name in rules.label_names if {f"score.{name}", f"pred.{name}"} & outputs]
    labelled = [name for name in rules.label_names if f"label.{name}" in columns]
    for family, (head, told) in OF_LABELS.items():
        if not drift.watches(family):
            continue
        names = [
            name
            for name in rules.label_names
            if (family not in SCORED or name in scored) and (family not in LABELLED or name in labelled)
        ]
        for name in names:
            title = f"{name.replace('_', ' ')}, {told}"
            modality = f"label.{name}" if family is Family.LABEL else f"score.{name}"
            yield StreamSpec(name=f"{head}.{name}", family=family, shape=Shape.SCORED, title=title, modality=modality)
        if not names and rules.labels:
            yield family.value, NO_SCORES if family in SCORED and not scored else NO_LABELS


def _concordance(rules: Rules, drift: Drift, columns: Sequence[str], declared: Mapping[str, Any]) -> Planned:
    if not drift.watches(Family.CONCORDANCE):
        return
    texts = [name for name in of_role(columns, ColumnRole.TEXT) if embeds(declared, name)]
    if "image" in columns and texts and embeds(declared, "image"):
        for name in texts:
            title = f"image and {name.partition('.')[2].replace('_', ' ')}, cosine of their embeddings"
            yield _concord(f"concordance:image-{name}", Shape.NUMBER, title, "image")
    elif not drift.contradictions:
        yield Family.CONCORDANCE.value, NO_SPACE
    reads = set(declared.get("modalities", ()))
    if Family.CONCORDANCE in drift.watch:
        if "image" in reads & set(columns) and any(name.startswith("text.") for name in reads) and rules.labels:
            title = "mean difference of the scores with the image alone and with texts alone"
            yield _concord(VERSUS, Shape.NUMBER, title, "image")
        else:
            yield VERSUS, "The model does not read images and texts, or the protocol has no labels."
    for rule in drift.contradictions:
        name = f"concordance:{rule.finding}~{rule.series}"
        if f"series.{rule.series}" in columns:
            title = f"{rule.finding.replace('_', ' ')} against {rule.series}"
            yield _concord(name, Shape.CATEGORY, title, f"series.{rule.series}")
        else:
            yield name, f"The cohort has no series.{rule.series}."


def _concord(name: str, shape: Shape, title: str, modality: str) -> StreamSpec:
    return StreamSpec(name=name, family=Family.CONCORDANCE, shape=shape, title=title, modality=modality)
