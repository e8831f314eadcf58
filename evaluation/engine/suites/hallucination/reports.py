"""What written reports say that is not so: metrics of the family ``report``.

Those of report parity, and beside them: the same with possible findings counted as said, negations turned round, sides,
severities, numbers held against the patient's series, comparison with a study that was not given, and what rests on a
modality that the study lacks. How a pair of reports is marked is in ``evaluation/engine/text/marking.py``.
"""

from __future__ import annotations

from evaluation.engine.suites.fairness.report_metrics import ASIDE, LABEL, PARITY, REPORT_LENGTH
from evaluation.engine.tallies import ShareDefinition, TallyFamily
from evaluation.engine.text.marks import COLUMNS

_WRONG = ("number_fabricated", "number_unit", "number_value", "number_flag", "number_time")

LENIENT: tuple[ShareDefinition, ...] = (
    ShareDefinition(
        metric="chair_i_lenient", title="share of reported or possible findings that are unsupported (CHAIR-i lenient)",
        numerator={"unsupported_lenient": 1}, denominator=("generated_lenient",),
        among="findings that the model reports or thinks possible",
        persons="patients with a finding that the model reports or thinks possible", worse=1,
        worse_words="reports of {one} tell more findings, certain or possible, that the expert's do not support than "
        "reports of {two}",
        gap_title="difference in unsupported findings (CHAIR-i, lenient)", beside=("omission_lenient",),
    ),
    ShareDefinition(
        metric="chair_s_lenient", title="share of reports with an unsupported or possible finding (CHAIR-s lenient)",
        numerator={"inventing_lenient": 1}, denominator=("pairs",), among="reports", persons="patients with a report",
        worse=1,
        worse_words="reports of {one} tell an unsupported finding, certain or possible, more often than reports of "
        "{two}",
        gap_title="difference in reports with an unsupported finding (CHAIR-s, lenient)", beside=("omission_lenient",),
    ),
    ShareDefinition(
        metric="omission_lenient", brief="omission (lenient)",
        title="share of the expert's findings, certain or possible, that are omitted",
        numerator={"found_lenient": 1}, denominator=("reference_lenient",), complement=True,
        among="findings that the expert reports or thinks possible",
        persons="patients with a finding that the expert reports or thinks possible", worse=1,
        worse_words="reports of {one} omit more of the expert's findings, certain or possible, than reports of {two}",
        gap_title="omission difference (lenient)", aside=ASIDE,
    ),
)  # fmt: skip

DETAILS: tuple[ShareDefinition, ...] = (
    ShareDefinition(
        metric="negation_flip", title="share of findings that one report asserts and the other denies",
        numerator={"flipped": 1}, denominator=("settled",), among="findings that both reports assert or deny",
        persons="patients with a finding that both reports settle", worse=1,
        worse_words="reports of {one} turn what the expert says into its opposite more often than reports of {two}",
        gap_title="difference in findings that are turned into their opposite",
    ),
    ShareDefinition(
        metric="laterality_error", title="share of findings that are told on another side", numerator={"wrong_side": 1},
        denominator=("sided",), among="findings whose side both reports tell",
        persons="patients with a finding whose side both reports tell", worse=1,
        worse_words="reports of {one} name another side than the expert's more often than reports of {two}",
        gap_title="difference in findings that are told on another side",
    ),
    ShareDefinition(
        metric="severity_error", title="share of findings that are told with another severity",
        numerator={"wrong_severity": 1}, denominator=("graded",), among="findings whose severity both reports tell",
        persons="patients with a finding whose severity both reports tell", worse=1,
        worse_words="reports of {one} name another severity than the expert's more often than reports of {two}",
        gap_title="difference in findings that are told with another severity",
    ),
    ShareDefinition(
        metric="severity_weighted_error", title="share of findings invented or omitted, weighted by their gravity",
        numerator={"gravity_invented": 1, "gravity_omitted": 1}, denominator=("gravity_asserted", "gravity_expected"),
        among="points of gravity of the findings in the reports of expert and model",
        persons="patients with a positive finding in either report", worse=1,
        worse_words="reports of {one} invent and omit graver findings than reports of {two}",
        gap_title="difference in findings invented or omitted, weighted by their gravity",
    ),
)  # fmt: skip


def _numbers(metric: str, columns: tuple[str, ...], words: str) -> ShareDefinition:
    """Wrong numbers of one class, or of all: ``words`` say what is wrong with them."""
    return ShareDefinition(
        metric=metric, title=f"share of numbers {words}", numerator=dict.fromkeys(columns, 1), denominator=("numbers",),
        among="numbers in reports that a series of the cohort can be held against",
        persons="patients with such a number in their report", worse=1,
        worse_words=f"numbers {words} are more frequent in reports of {{one}} than in reports of {{two}}",
        gap_title=f"difference in numbers {words}",
    )  # fmt: skip


NUMBERS: tuple[ShareDefinition, ...] = (
    _numbers("number_error", _WRONG, "that are not the patient's"),
    _numbers("number_fabricated", ("number_fabricated",), "of something that was not measured"),
    _numbers("number_unit", ("number_unit",), "in a wrong unit"),
    _numbers("number_value", ("number_value",), "with a value that was not measured"),
    _numbers("number_flag", ("number_flag",), "called high, low or normal against the reference range"),
    _numbers("number_time", ("number_time",), "at a time at which they were not measured"),
)

FACTS: tuple[ShareDefinition, ...] = (
    ShareDefinition(
        metric="prior_hallucination", title="share of reports that compare with an earlier study that was not given",
        numerator={"comparing": 1}, denominator=("unprimed",), among="reports without an earlier study",
        persons="patients with a report without an earlier study", worse=1,
        worse_words="reports of {one} compare with a study that was not given more often than reports of {two}",
        gap_title="difference in comparisons with an earlier study that was not given",
    ),
    ShareDefinition(
        metric="absent_modality_claims", title="share of reports that rest on a modality the study lacks",
        numerator={"citing": 1}, denominator=("lacking",), among="reports of studies that lack a modality",
        persons="patients with a report of a study that lacks a modality", worse=1,
        worse_words="reports of {one} rest on a modality that the study lacks more often than reports of {two}",
        gap_title="difference in reports that rest on a modality the study lacks",
    ),
)  # fmt: skip

DESCRIBED: tuple[ShareDefinition, ...] = (
    ShareDefinition(
        metric="unsupported_language", title="share of studies with a report in an unsupported language",
        numerator={"foreign": 1}, denominator=("pairs", "foreign"), among="studies with an expert's report",
        persons="patients with an expert's report", worse=1, judged=False, worse_words="",
    ),
    ShareDefinition(
        metric="truncated", title="share of reports that ended at the limit of tokens", numerator={"truncated": 1},
        denominator=("pairs",), among="reports", persons="patients with a report", worse=1, judged=False,
        worse_words="",
    ),
)  # fmt: skip

FAMILY = TallyFamily(
    key=LABEL, columns=COLUMNS, shares=(*PARITY, *LENIENT, *DETAILS, *NUMBERS, *FACTS, *DESCRIBED), lengths="words",
    written="written", length_metric=REPORT_LENGTH, length_title="words per report",
    missing={"without_reference": {"unpaired": 1}, "without_prediction": {"pairs": 1, "written": -1}},
    notes=(
        "Lenient counts take a possible finding as a finding, on both sides. Side and severity are compared where both "
        "reports tell them, numbers where the protocol names a series to hold them against.",
    ),
)  # fmt: skip
"""Every metric of written reports, as the hallucination suite measures it.

- ``..._lenient``: as in report parity, with findings that are only possible taken as positive on both sides.
- ``negation_flip``: flipped / findings that both sides assert or deny.
- ``laterality_error``, ``severity_error``: over findings present in both reports whose side, severity both tell.
- ``number_error``: wrong / numbers that can be held against a series, and the same by class.
- ``prior_hallucination``: P(the report compares | no earlier study was given).
- ``absent_modality_claims``: P(the report cites a modality that is lacking | the study lacks one).
- ``severity_weighted_error``: ``(gravity of invented + of omitted) / (of asserted + of expected)``.
- ``unsupported_language``, ``truncated``: described. Such a pair, or such a report's omissions, are not scored.
"""
