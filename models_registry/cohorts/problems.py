"""What can be wrong with a file: one catalogue of codes, and a log that groups what was found.

Every code, with its remedy, is explained in ``docs/cohorts.md``; a test keeps the page and the catalogue equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.errors import CohortError
from models_registry.cohorts.schema import Problem

ERROR = "error"
WARNING = "warning"
MAX_EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of problem. ``{column}``, ``{detail}`` and ``{examples}`` are filled in for each finding."""

    severity: str
    message: str
    remedy: str


def _error(message: str, remedy: str) -> Rule:
    return Rule(severity=ERROR, message=message, remedy=remedy)


def _warning(message: str, remedy: str) -> Rule:
    return Rule(severity=WARNING, message=message, remedy=remedy)


RULES: dict[str, Rule] = {
    # The file as a whole
    "wrong-encoding": _error(
        "The file is not valid {detail}.",
        "Name its true encoding in the mapping, for example 'encoding: cp1252'.",
    ),
    "guessed-encoding": _warning(
        "The file is not UTF-8; it was read as {detail}.",
        "Check names with accents in the preview, or set 'encoding' in the mapping.",
    ),
    "unreadable-rows": _error(
        "The file cannot be read beyond this row: {detail}.",
        "Look for a quote that is never closed or a copy that broke off, then export the file again.",
    ),
    "ragged-row": _error(
        "The row has {detail}.", "Quote values that contain the delimiter, or set 'delimiter' in the mapping."
    ),
    "empty-file": _error("The file is empty.", "Export it again; it must have a header and at least one row."),
    "no-rows": _error("The file has a header but no row.", "Export it again with the studies in it."),
    # Columns
    "missing-column": _error("There is no column '{column}'.{detail}", "Add it, or map one of yours to it: {examples}"),
    "unmatched-mapping": _error(
        "The mapping names a column '{column}' that the file does not have.",
        "Correct the name in the mapping. The file has: {detail}.",
    ),
    "duplicate-column": _error(
        "Several columns of the file are '{column}': {detail}.",
        "Keep one; list the others under 'ignore' in the mapping.",
    ),
    "unknown-prefix": _error(
        "'{column}' looks like '{detail}'.",
        "Map it: 'columns: {{\"{column}\": {detail}}}', or to its own name if it is a plain column.",
    ),
    "unnamed-column": _warning(
        "Column {detail} has no name and is ignored.",
        "Nothing, if it is a row number; else give it a name, or map '{column}' under 'columns'.",
    ),
    "prediction-column": _warning(
        "'{column}' holds what a model said, and is not registered with the cohort.",
        "Nothing, or register the predictions as a model version of the kind 'recorded'.",
    ),
    "no-labels": _warning(
        "There is neither a label column nor an expert's report, so no model can be judged on this file.",
        "Add the reference standard as 'label.<finding>' columns of 1, 0 or empty, or reports as 'text.reference'.",
    ),
    "wrong-type": _error("The column has {detail}.", "Write it as {examples}."),
    "mixed-type": _warning(
        "The column mixes numbers with other values ({examples}) and is read as text.",
        "Map the odd values to empty under 'values' in the mapping, for example {{{column}: {{\"NA\": null}}}}.",
    ),
    "all-missing-column": _warning("The column has no value in any row.", "Nothing, or leave it out under 'ignore'."),
    "single-value": _warning(
        "Every study has the same value, so groups cannot be compared by this column.",
        "Nothing, or check that the export did not select one group only.",
    ),
    # Identifiers
    "missing-id": _error("The row has no '{column}'.", "Give every study a patient and a study identifier."),
    "duplicate-study": _error(
        "The same study identifier occurs in several rows, first again in row {detail}.",
        "Keep one row per study; put a site name before identifiers that come from several hospitals.",
    ),
    "patient-in-two-splits": _error(
        "A patient of an earlier row, of another split, is here again: {detail} in more than one split.",
        "Split by patient, so that nothing is fitted on a patient who is tested; or map 'split' to another name if it "
        "does not say what a model was trained on.",
    ),
    # Values
    "label-value": _error(
        "The column holds {examples}; a label is 1, 0 or empty.",
        "Say what they mean under 'values' in the mapping: {{\"{column}\": {{{guess}}}}}.",
    ),
    "prediction-value": _error(
        "The column holds {examples}; a prediction is 1, 0 or empty.",
        "Say what they mean under 'values' in the mapping: {{\"{column}\": {{{guess}}}}}.",
    ),
    "score-range": _error(
        "The column holds scores outside [0, 1]: {examples}.",
        "Export probabilities, not logits or percentages.",
    ),
    "score-nan": _error(
        "The column holds scores that are not finite numbers: {examples}.",
        "Find out why the model gave them; leave the cell empty where it gave no score.",
    ),
    "implausible-age": _warning(
        "The column holds ages below 0 or above 120: {examples}.",
        "Check the source. The value is kept; a protocol's 'plausible' range moves it to the group Unknown.",
    ),
    # Images
    "missing-image-file": _error("There is no image file '{detail}'.", "Copy it beside the file, or set 'image_root'."),
    "image-outside-folder": _error(
        "The image path '{detail}' leads out of the image folder.",
        "Use paths relative to the image folder, without '..', and no links that leave it.",
    ),
    "unreadable-image": _error("The image cannot be decoded: {detail}.", "Export it again as PNG, JPEG or DICOM."),
    "image-too-large": _error("The image is too large: {detail}.", "Export it with at most 100 megapixels."),
    "dicom-identifiers": _warning(
        "The header of a DICOM image names a patient ({detail}).",
        "De-identify the images before they are registered: they are kept as they are.",
    ),
    # Series
    "series-format": _error(
        "The value is not a series: {detail}.",
        "Write a list of [time in hours, value], such as [[0, 7.1], [6, 6.8]].",
    ),
    "series-time-order": _warning(
        "The times of a series are not ascending.",
        "Check that time comes before value in each pair. The series is put into the order of time.",
    ),
}


_MEANT = {
    **dict.fromkeys(("yes", "y", "positive", "pos", "present", "abnormal", "t"), 1),
    **dict.fromkeys(("no", "n", "negative", "neg", "absent", "normal", "f"), 0),
}


def guessed_values(examples: Iterable[str]) -> dict[str, int]:
    """What quoted label values such as ``'YES'`` probably mean; values without a usual meaning are left out."""
    plain = [example.strip("'") for example in examples]
    return {value: _MEANT[value.casefold()] for value in plain if value.casefold() in _MEANT}


@dataclass(kw_only=True)
class _Finding:
    row: int | None
    count: int
    detail: str
    examples: list[str] = field(default_factory=list)


class ProblemLog:
    """Collects findings of one file, grouped by code and column: first row, number of rows, a few examples.

    Identifiers of patients and studies are never given as examples: the row is enough to find them.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[str, str | None], _Finding] = {}

    def add(
        self,
        code: str,
        *,
        column: str | None = None,
        rows: npt.NDArray[np.int64] | None = None,
        detail: str = "",
        examples: Iterable[str] = (),
    ) -> None:
        """Note a problem in ``rows`` (data rows counted from 1; None for the whole file). No rows, no problem."""
        if rows is not None and len(rows) == 0:
            return
        first = None if rows is None else int(rows.min())
        count = 1 if rows is None else len(rows)
        found = self._found.get((code, column))
        if found is None:
            found = self._found[(code, column)] = _Finding(row=first, count=0, detail=detail)
        found.count += count
        if first is not None and (found.row is None or first < found.row):
            found.row, found.detail = first, detail
        for example in examples:
            if example not in found.examples and len(found.examples) < MAX_EXAMPLES:
                found.examples.append(example)

    def examples(self, code: str, column: str | None) -> tuple[str, ...]:
        """The values noted for one code and column."""
        found = self._found.get((code, column))
        return tuple(found.examples) if found else ()

    def problems(self) -> tuple[Problem, ...]:
        """Everything found: errors first, then by row and column."""
        made = [self._problem(code, column, found) for (code, column), found in self._found.items()]
        return tuple(sorted(made, key=lambda p: (p.severity, p.row or 0, p.column or "", p.code)))

    def _problem(self, code: str, column: str | None, found: _Finding) -> Problem:
        rule = RULES[code]
        guess = ", ".join(f'"{value}": {meant}' for value, meant in guessed_values(found.examples).items())
        words = {
            "column": column or "",
            "detail": found.detail,
            "examples": ", ".join(found.examples),
            "guess": guess or '"...": 1, "...": 0',
        }
        return Problem(
            severity=rule.severity,
            code=code,
            message=rule.message.format(**words),
            remedy=rule.remedy.format(**words),
            file=self.file,
            column=column,
            row=found.row,
            count=found.count,
        )


def error_of(problems: tuple[Problem, ...]) -> CohortError | None:
    """The first error as an exception that counts the others; None when there is no error."""
    errors = [problem for problem in problems if problem.severity == ERROR]
    if not errors:
        return None
    first = errors[0]
    rows = f" ({first.count:,} rows)" if first.count > 1 else ""
    return CohortError(
        f"{first.message}{rows}{_others(errors[1:])}",
        remedy=first.remedy,
        file=first.file,
        column=first.column,
        row=first.row,
    )


def _others(errors: list[Problem]) -> str:
    """The further errors, told shortly, so that a file is mended in one go."""
    if not errors:
        return ""
    told = [f"{_place(problem)}{problem.message}" for problem in errors[:MAX_EXAMPLES]]
    rest = [f"and {len(errors) - MAX_EXAMPLES} others."] if len(errors) > MAX_EXAMPLES else []
    count = "is 1 more error" if len(errors) == 1 else f"are {len(errors)} more errors"
    return " ".join([f" There {count} in the file:", *told, *rest])


def _place(problem: Problem) -> str:
    parts = [f"column {problem.column}" if problem.column else "", f"row {problem.row}" if problem.row else ""]
    return f"{', '.join(filter(None, parts))}: " if any(parts) else ""
