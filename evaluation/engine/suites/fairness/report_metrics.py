"""The metrics that are computed from written reports: what is left out, what is invented, who is reported clear.

A finding that is only possible ("cannot exclude pneumonia") is not positive, on either side. CHAIR is never told
without omission beside it: an empty report invents nothing and omits everything.

Source: Rohrbach et al. (2018), EMNLP 4035, for CHAIR per mention (i) and per text (s).
"""

from __future__ import annotations

from evaluation.engine.suites.tallied.declared import gaps_of, metrics_of
from evaluation.engine.tallies import ShareDefinition, TallyFamily
from evaluation.engine.text.marks import COLUMNS

ASIDE = ("truncated", ", reports that ended at the limit of tokens left aside")
LABEL = "report"
"""What measurements and verdicts on reports have as their label."""

PARITY: tuple[ShareDefinition, ...] = (
    ShareDefinition(
        metric="report_underdiagnosis_rate", title="share of reports that miss every finding",
        numerator={"missed": 1}, denominator=("ill",), among="studies with a finding in the expert's report",
        persons="patients with a finding in the expert's report", worse=1, aside=ASIDE,
        worse_words="reports of {one} with a finding name none more often than those of {two}",
        gap="report_underdiagnosis_difference", gap_title="report underdiagnosis difference",
    ),
    ShareDefinition(
        metric="entity_f1", title="agreement on findings (entity F1)", numerator={"found": 1, "supported": 1},
        denominator=("reference", "generated"), among="positive findings in the reports of expert and model",
        persons="patients with a positive finding in either report", worse=-1, aside=ASIDE,
        worse_words="reports of {one} agree less with the expert's findings than reports of {two}",
        gap_title="entity F1 difference",
    ),
    ShareDefinition(
        metric="chair_i", title="share of reported findings that are unsupported (CHAIR-i)",
        numerator={"unsupported": 1, "unsupported_cut": 1}, denominator=("generated", "generated_cut"),
        among="findings reported by the model", persons="patients with a finding reported by the model", worse=1,
        worse_words="reports of {one} assert more findings that the expert's do not support than reports of {two}",
        gap_title="difference in unsupported findings (CHAIR-i)", beside=("omission",),
    ),
    ShareDefinition(
        metric="chair_s", title="share of reports with an unsupported finding (CHAIR-s)",
        numerator={"inventing": 1, "inventing_cut": 1}, denominator=("pairs",), among="reports",
        persons="patients with a report", worse=1,
        worse_words="reports of {one} assert an unsupported finding more often than reports of {two}",
        gap_title="difference in reports with an unsupported finding (CHAIR-s)", beside=("omission",),
    ),
    ShareDefinition(
        metric="omission", title="share of the expert's findings that are omitted", numerator={"found": 1},
        denominator=("reference",), complement=True, among="findings in the expert's reports",
        persons="patients with a finding or device in the expert's report", worse=1, aside=ASIDE,
        worse_words="reports of {one} omit more of the expert's findings than reports of {two}",
        gap_title="omission difference",
    ),
    ShareDefinition(
        metric="abstention", title="share of reports that are missing, blank or decline", numerator={"abstained": 1},
        denominator=("pairs",), among="reports", persons="patients with a report", worse=1,
        worse_words="the model declines to report on {one} more often than on {two}",
        gap_title="abstention difference",
    ),
)  # fmt: skip
"""Every share of report parity.

- ``report_underdiagnosis_rate``: P(the model's report has no positive pathology | the expert's has at least one).
- ``entity_f1``: ``(found + supported) / (reference + generated)``, micro F1 ``2 TP / (2 TP + FP + FN)`` where no
  finding implies another.
- ``chair_i``: unsupported / reported findings; ``chair_s``: reports with at least one / reports.
- ``omission``: 1 - found / the expert's findings.
- ``abstention``: reports that are missing, blank or decline to answer / reports.

A report that ended at the limit of tokens counts in CHAIR and in abstention alone.
"""

REPORT_LENGTH = "report_length"

FAMILY = TallyFamily(
    key=LABEL, columns=COLUMNS[: COLUMNS.index("inventing_cut") + 1], shares=PARITY, lengths="words", written="written",
    length_metric=REPORT_LENGTH, length_title="words per report",
    cautious=False, missing={"without_reference": {"unpaired": 1}, "without_prediction": {"pairs": 1, "written": -1}},
)  # fmt: skip
"""Report parity, as the fairness suite measures it."""

REPORT_RATES: dict[str, ShareDefinition] = {item.metric: item for item in PARITY}
REPORT_GAPS = gaps_of(FAMILY)
"""Largest difference between two groups, and of what."""
REPORT_METRICS = metrics_of(FAMILY)
