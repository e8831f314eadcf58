"""How a hospital's own columns and values become those of the file contract.

A mapping is a small YAML file::

    columns: {"Patient ID ": patient_id, "Accession": study_id, "PTX": label.pneumothorax}
    values:  {label.pneumothorax: {"YES": 1, "NO": 0}, sex: {"1": F, "2": M}}
    ignore:  ["Unnamed: 0"]
    encoding: cp1252        # only where the guess is wrong
    delimiter: ";"
    image_root: ../images   # where relative image paths start; next to the file if not given
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from core.errors import CohortError
from models_registry.cohorts.problems import ProblemLog
from models_registry.cohorts.schema import ColumnRole, role_of

DELIMITERS = (",", ";", "\t", "|")
Scalar = str | int | float | bool | None

_UNNAMED = re.compile(r"\s*(unnamed: ?\d+(_level_\d+)?|__index_level_\d+__)?\s*", re.IGNORECASE)
_STRUCTURAL = frozenset({"patient_id", "study_id", "study_time", "split", "image"})
_PREFIXES = frozenset({"label", "score", "pred", "text", "series"})
_MISSPELT = {
    "labels": "label", "target": "label", "targets": "label", "gt": "label",
    "scores": "score", "prob": "score", "probs": "score", "probability": "score",
    "preds": "pred", "prediction": "pred", "predictions": "pred", "predicted": "pred",
    "texts": "text", "report": "text", "serie": "series", "timeseries": "series",
}  # fmt: skip
_COMMON = {
    "patient_id": ("patientid", "pid", "mrn", "patient", "subjectid", "patientnumber", "medicalrecordnumber"),
    "study_id": (
        "accession",
        "accessionnumber",
        "studyinstanceuid",
        "studyuid",
        "studyid",
        "examid",
        "imageindex",
    ),
    "study_time": ("studydate", "studydatetime", "studytime", "examdate", "acquisitiondatetime"),
    "sex": ("sex", "patientsex", "gender", "patientgender"),
    "age": ("age", "patientage", "ageyears", "ageatstudy"),
    "view": ("view", "viewposition", "projection"),
    "race": ("race", "patientrace"),
    "ethnicity": ("ethnicity", "patientethnicity"),
    "split": ("split", "setid", "subset", "fold", "partition"),
    "image": ("image", "imagepath", "imagefile", "filename", "filepath", "path", "dicompath", "dicomfile"),
    "text.report": ("report", "reporttext", "radiologyreport"),
    "text.findings": ("findings",),
    "text.impression": ("impression",),
}
_PREFIX_WORDS = re.compile(
    r"(?P<label>label|gt|target|y_?true)[ _.](?P<l>.+)|(?P<score>score|prob|probability|y_?score)[ _.](?P<s>.+)"
    r"|(?P<pred>pred|prediction|y_?pred)[ _.](?P<p>.+)"
)


@dataclass(frozen=True, kw_only=True)
class ResolvedColumn:
    """A column of the file: where it is, what it is called there, and what it is in the contract."""

    index: int
    original: str
    name: str

    @property
    def role(self) -> ColumnRole:
        return role_of(self.name)


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """See the module's docstring. ``values`` keys are canonical column names; a value of None means missing."""

    columns: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    encoding: str | None = None
    delimiter: str | None = None
    image_root: str | None = None

    @classmethod
    def from_yaml(cls, text: str, *, source: str = "mapping.yaml") -> Mapping:
        """Read a mapping file.

        Raises:
            CohortError: naming the key that is unknown or of the wrong kind.
        """
        try:
            body = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise CohortError(
                f"The mapping is not valid YAML{f', line {mark.line + 1}' if mark else ''}.",
                remedy="Check quotes, colons and indentation there.",
                file=source,
            ) from error
        return cls.from_dict({} if body is None else body, source=source)

    @classmethod
    def from_dict(cls, body: Any, *, source: str = "mapping") -> Mapping:
        """Build a mapping from parsed YAML or JSON; raises like :meth:`from_yaml`."""
        _require(isinstance(body, dict), "A mapping is a set of keys such as 'columns' and 'values'.", source)
        known = set(cls.__dataclass_fields__)
        unknown = sorted(str(key) for key in body if key not in known)
        _require(not unknown, f"The mapping has an unknown key '{', '.join(unknown)}'.", source)
        columns = body.get("columns") or {}
        _require(
            isinstance(columns, dict) and all(isinstance(v, str) and v.strip() for v in columns.values()),
            "'columns' must map names in the file to names of the contract.",
            source,
        )
        ignore = body.get("ignore") or []
        _require(isinstance(ignore, list | tuple), "'ignore' must be a list of column names.", source)
        for key in ("encoding", "delimiter", "image_root"):
            _require(isinstance(body.get(key), str | None), f"'{key}' must be text.", source)
        mapping = cls(
            columns={str(key): value.strip() for key, value in columns.items()},
            values=_values(body.get("values") or {}, source),
            ignore=tuple(str(name) for name in ignore),
            encoding=body.get("encoding"),
            delimiter=body.get("delimiter"),
            image_root=body.get("image_root"),
        )
        mapping._check_format(source)
        return mapping

    @classmethod
    def read(cls, path: Path) -> Mapping:
        """Read a mapping file from disk; raises like :meth:`from_yaml`, and for a file that is no text in UTF-8."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CohortError(
                f"The mapping cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}.",
                remedy="Check the path, and save the file as UTF-8.",
                file=path.name,
            ) from error
        return cls.from_yaml(text, source=path.name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form without what is not set; ``from_dict`` reads it back."""
        body = asdict(self) | {"ignore": list(self.ignore)}
        return {key: value for key, value in body.items() if value not in (None, {}, [])}

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def _check_format(self, source: str) -> None:
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                _require(False, f"There is no encoding called '{self.encoding}'.", source)
        allowed = self.delimiter is None or self.delimiter in DELIMITERS
        _require(allowed, "'delimiter' must be a comma, a semicolon, a tab (\"\\t\") or a bar.", source)


def _require(condition: bool, message: str, source: str) -> None:
    if not condition:
        known = ", ".join(Mapping.__dataclass_fields__)
        raise CohortError(message, remedy=f"The keys of a mapping are {known}; see docs/cohorts.md.", file=source)


def _values(body: Any, source: str) -> dict[str, dict[str, Scalar]]:
    _require(isinstance(body, dict), "'values' must map columns to {value in the file: value}.", source)
    made: dict[str, dict[str, Scalar]] = {}
    for column, table in body.items():
        _require(isinstance(table, dict), f"'values' of '{column}' must be a table of values.", source)
        kinds = all(isinstance(value, str | int | float | bool | None) for value in table.values())
        _require(kinds, f"'values' of '{column}' must map to text, a number or null.", source)
        made[str(column)] = {_plain(key): value for key, value in table.items()}
    return made


def _plain(key: Any) -> str:
    """A YAML key as the text that stands in a file: ``yes`` and ``true`` without quotes are booleans in YAML."""
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def fold(name: str) -> str:
    """A column name without odd case and stray blanks, for tolerant comparison."""
    return " ".join(name.replace("\ufeff", "").split()).casefold()


def canonical_name(name: str) -> str:
    """The contract's name for a column that is not mapped: ``" Patient_ID"`` is ``patient_id``, ``Age`` stays."""
    stripped = " ".join(name.replace("\ufeff", "").split())
    folded = stripped.casefold()
    if folded in _STRUCTURAL:
        return folded
    head, dot, tail = stripped.partition(".")
    if dot and tail.strip() and head.strip().casefold() in _PREFIXES:
        return f"{head.strip().casefold()}.{tail.strip()}"
    return stripped


def resolve(source_columns: Iterable[str], mapping: Mapping, log: ProblemLog) -> tuple[ResolvedColumn, ...]:
    """Decide what each column of a file is; problems go to ``log``. Ignored columns are left out.

    A name in the mapping is compared exactly first, then without odd case and stray blanks. A NUL in a name, which
    PostgreSQL cannot hold, is read as U+FFFD.
    """
    names = [name.replace("\0", "\ufffd") for name in source_columns]
    targets = _matched(mapping.columns, names, log)
    ignored = {i for i, name in enumerate(names) if name in mapping.ignore}
    ignored |= {i for i, name in enumerate(names) if fold(name) in {fold(item) for item in mapping.ignore} - {""}}
    made: dict[str, ResolvedColumn] = {}
    for index, original in enumerate(names):
        if index in ignored and index not in targets:
            continue
        if index not in targets and _UNNAMED.fullmatch(original):
            log.add("unnamed-column", column=original.strip() or "", detail=str(index + 1))
            continue
        name = targets.get(index) or canonical_name(original)
        if index not in targets and (meant := _misspelt(name)):
            log.add("unknown-prefix", column=name, detail=meant)
        if name in made:
            log.add("duplicate-column", column=name, detail=f"'{made[name].original}' and '{original}'")
            continue
        made[name] = ResolvedColumn(index=index, original=original, name=name)
    return tuple(made.values())


def _matched(columns: dict[str, str], names: list[str], log: ProblemLog) -> dict[int, str]:
    targets: dict[int, str] = {}
    for key, target in columns.items():
        found = [i for i, name in enumerate(names) if name == key and i not in targets]
        found = found or [i for i, name in enumerate(names) if fold(name) == fold(key) and i not in targets]
        if found:
            targets[found[0]] = target
        else:
            log.add("unmatched-mapping", column=key, detail=", ".join(f"'{name}'" for name in names[:20]))
    return targets


def _misspelt(name: str) -> str | None:
    head, dot, tail = name.partition(".")
    prefix = _MISSPELT.get(head.casefold())
    return f"{prefix}.{tail}" if dot and tail and prefix else None


def suggest_mapping(columns: Iterable[str]) -> Mapping:
    """A mapping guessed from common hospital names; a person confirms it. Names of the contract are left alone."""
    names = [name for name in columns if not _UNNAMED.fullmatch(name)]
    taken = {canonical_name(name) for name in names}
    found: dict[str, str] = {}
    for target, aliases in _COMMON.items():
        if target in taken:
            continue
        for alias in aliases:
            match = next((n for n in names if n not in found and re.sub(r"[\W_]+", "", n).casefold() == alias), None)
            if match is not None:
                found[match] = target
                break
    for name in names:
        guess = _misspelt(canonical_name(name)) or _prefixed(name)
        if name not in found and guess and guess not in taken and guess not in found.values():
            found[name] = guess
    return Mapping(columns=found)


def _prefixed(name: str) -> str | None:
    match = _PREFIX_WORDS.fullmatch(" ".join(name.split()).casefold())
    if match is None or role_of(canonical_name(name)) is not ColumnRole.COVARIATE:
        return None
    role = next(role for role in ("label", "score", "pred") if match[role])
    return f"{role}.{re.sub(r'[^a-z0-9]+', '_', match[role[0]]).strip('_')}"
