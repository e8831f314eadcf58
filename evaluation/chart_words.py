"""Charts in the language that is active: planned in English, and every word of them said when they are drawn."""

from __future__ import annotations

from django.utils.translation import get_language, gettext_noop

from core.spoken import spoken_value
from evaluation.charts import ChartPlan

LOCALES = {"de": "de-DE"}
"""Languages in which charts are shown besides English, with what d3 calls how they write numbers and months."""


def language() -> str:
    """The language that is active, such as ``en``."""
    return (get_language() or "en").split("-")[0]


def for_reader(plan: ChartPlan) -> ChartPlan:
    """A chart in the language that is active."""
    locale = LOCALES.get(language())
    return plan.said(spoken_value, locale=locale) if locale else plan


CHART_WORDS = (
    gettext_noop("Value (interval)"),
    gettext_noop("Value (95% interval)"),
    gettext_noop("Studies / patients"),
    gettext_noop("n / patients"),
    gettext_noop("Measure"),
    gettext_noop("Scores"),
    gettext_noop("Windows"),
    gettext_noop("judged"),
    gettext_noop("e-value"),
    gettext_noop("1 / p-value"),
    gettext_noop("Shrunken"),
    gettext_noop("Group"),
    gettext_noop("Studies"),
    gettext_noop("Patients"),
    gettext_noop("Remark"),
    gettext_noop("Female"),
    gettext_noop("Male"),
    gettext_noop("Unknown"),
    gettext_noop("not shown"),
    gettext_noop("beyond the margin"),
    gettext_noop("fewer than 11 patients"),
    gettext_noop("suppressed: fewer than 11 patients"),
)
"""Fixed words of charts, so that they can be translated with the rest."""
