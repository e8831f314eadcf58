"""The metrics that are computed from written reports: what is left out, what is invented, who is reported clear.

A finding that is only possible ("cannot exclude pneumonia") is not positive, on either side. CHAIR is never told
without omission beside it: an empty report invents nothing and omits everything.

Source: Rohrbach et al. (2018), EMNLP 4035, for CHAIR per mention (i) and per text (s).
"""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.engine.registry import Basis, MetricInfo, MetricKind

LABEL = "report"
"""What measurements and verdicts on reports have as their label."""


@dataclass(frozen=True, kw_only=True)
class ReportDefinition:
    """A share ``sum(numerator) / sum(denominator)`` of the columns of a claims sketch, over a group's studies.

    Attributes:
        title: In a reader's words.
        numerator: Columns that are added up.
        denominator: Key of :data:`evaluation.engine.sketches.claims.DENOMINATORS`.
        complement: The share is one less that ratio.
        among: What the denominator counts.
        persons: The patients behind the denominator.
        worse: +1 where a higher value is worse for the patients, -1 where a lower one is.
        worse_words: What a worse value means, about reports of A "than" reports of B: ``{one}`` and ``{two}``.
    """

    metric: str
    title: str
    numerator: tuple[str, ...]
    denominator: str
    among: str
    persons: str
    worse: int
    worse_words: str
    complement: bool = False


REPORT_RATES: dict[str, ReportDefinition] = {
    item.metric: item
    for item in (
        ReportDefinition(
            metric="report_underdiagnosis_rate", title="share of reports that miss every finding",
            numerator=("missed",), denominator="ill", among="studies with a finding in the expert's report",
            persons="patients with a finding in the expert's report", worse=1,
            worse_words="reports of {one} with a finding name none more often than those of {two}",
        ),
        ReportDefinition(
            metric="entity_f1", title="agreement on findings (entity F1)", numerator=("found", "supported"),
            denominator="either", among="positive findings in the reports of expert and model",
            persons="patients with a positive finding in either report", worse=-1,
            worse_words="reports of {one} agree less with the expert's findings than reports of {two}",
        ),
        ReportDefinition(
            metric="chair_i", title="share of reported findings that are unsupported (CHAIR-i)",
            numerator=("unsupported",), denominator="generated", among="findings reported by the model",
            persons="patients with a finding reported by the model", worse=1,
            worse_words="reports of {one} assert more findings that the expert's do not support than reports of {two}",
        ),
        ReportDefinition(
            metric="chair_s", title="share of reports with an unsupported finding (CHAIR-s)",
            numerator=("inventing",), denominator="pairs", among="reports", persons="patients with a report", worse=1,
            worse_words="reports of {one} assert an unsupported finding more often than reports of {two}",
        ),
        ReportDefinition(
            metric="omission", title="share of the expert's findings that are omitted", numerator=("found",),
            denominator="reference", complement=True, among="findings in the expert's reports",
            persons="patients with a finding or device in the expert's report", worse=1,
            worse_words="reports of {one} omit more of the expert's findings than reports of {two}",
        ),
        ReportDefinition(
            metric="abstention", title="share of reports that are missing, blank or decline", numerator=("abstained",),
            denominator="pairs", among="reports", persons="patients with a report", worse=1,
            worse_words="the model declines to report on {one} more often than on {two}",
        ),
    )
}  # fmt: skip
"""Every share, by metric.

- ``report_underdiagnosis_rate``: P(the model's report has no positive pathology | the expert's has at least one).
- ``entity_f1``: ``(found + supported) / (reference + generated)``, micro F1 ``2 TP / (2 TP + FP + FN)`` where no
  finding implies another.
- ``chair_i``: unsupported / reported findings; ``chair_s``: reports with at least one / reports.
- ``omission``: 1 - found / the expert's findings.
- ``abstention``: reports that are missing, blank or decline to answer / reports.
"""

REPORT_LENGTH = "report_length"

REPORT_GAPS: dict[str, str] = {
    "report_underdiagnosis_difference": "report_underdiagnosis_rate",
    "entity_f1_difference": "entity_f1",
    "chair_i_difference": "chair_i",
    "chair_s_difference": "chair_s",
    "omission_difference": "omission",
    "abstention_difference": "abstention",
}
"""Largest difference between two groups, and of what."""

_GAP_TITLES = {
    "report_underdiagnosis_difference": "report underdiagnosis difference",
    "entity_f1_difference": "entity F1 difference",
    "chair_i_difference": "difference in unsupported findings (CHAIR-i)",
    "chair_s_difference": "difference in reports with an unsupported finding (CHAIR-s)",
    "omission_difference": "omission difference",
    "abstention_difference": "abstention difference",
}

REPORT_METRICS: dict[str, MetricInfo] = {
    **{
        name: MetricInfo(title=item.title, kind=MetricKind.RATE, basis=Basis.REPORTS)
        for name, item in REPORT_RATES.items()
    },
    REPORT_LENGTH: MetricInfo(title="words per report", kind=MetricKind.DESCRIBED, basis=Basis.REPORTS),
    **{name: MetricInfo(title=title, kind=MetricKind.GAP, basis=Basis.REPORTS) for name, title in _GAP_TITLES.items()},
}
