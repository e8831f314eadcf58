"""Duties that pages speak of, with the article that says them: the official text, and the requirement of the house.

The official text is linked as it was adopted; what changed it since stands in the catalogue of requirements, which
says of each what was read and what was not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from core.pages.lists import Text

AI_ACT, GDPR, MDR = "32024R1689", "32016R0679", "32017R0745"
OFFICIAL = "https://eur-lex.europa.eu/legal-content/{language}/TXT/?uri=CELEX:{act}#art_{article}"
TOLD = {"de": "DE"}
"""Languages of pages with a text of their own at EUR-Lex; every other page leads to the English one."""


@dataclass(frozen=True, kw_only=True)
class Article:
    """One article of one act.

    Attributes:
        act: Its number in CELEX, the catalogue of EUR-Lex.
        title: What the link says.
    """

    act: str
    number: int
    title: Text

    @property
    def official(self) -> str:
        """Its address in the language of the reader, as far as the page is written in it."""
        language = TOLD.get((get_language() or "en")[:2], "EN")
        return OFFICIAL.format(language=language, act=self.act, article=self.number)


@dataclass(frozen=True, kw_only=True)
class Duty:
    """A duty in a few words, the articles that say it, and the requirement under which it is stated of a version."""

    words: Text
    articles: tuple[Article, ...]
    requirement: str = ""


def _ai_act(number: int, title: Text) -> Article:
    return Article(act=AI_ACT, number=number, title=title)


DUTIES = {
    "oversight": Duty(
        words=_("People must be able to oversee a high-risk system."),
        articles=(_ai_act(14, _("Article 14 of the AI Act")), _ai_act(26, _("Article 26 of the AI Act"))),
        requirement="AIA-Art14-1",
    ),
    "use": Duty(
        words=_("Who uses a high-risk system follows its instructions, watches it and stops it where it is a risk."),
        articles=(_ai_act(26, _("Article 26 of the AI Act")),),
        requirement="AIA-Art26-5",
    ),
    "incidents": Duty(
        words=_("Serious incidents and breaches are reported within set times."),
        articles=(
            _ai_act(73, _("Article 73 of the AI Act")),
            Article(act=MDR, number=87, title=_("Article 87 of the MDR")),
            Article(act=GDPR, number=33, title=_("Article 33 of the GDPR")),
        ),
        requirement="AIA-Art73-2",
    ),
    "risks": Duty(
        words=_("Risks are found, rated and lowered for as long as a high-risk system is in use."),
        articles=(_ai_act(9, _("Article 9 of the AI Act")),),
        requirement="AIA-Art9-1",
    ),
    "monitoring": Duty(
        words=_("The provider watches a high-risk system after it is on the market."),
        articles=(_ai_act(72, _("Article 72 of the AI Act")),),
        requirement="AIA-Art72-1",
    ),
    "logs": Duty(
        words=_("Events are recorded and the records are kept."),
        articles=(_ai_act(12, _("Article 12 of the AI Act")), _ai_act(19, _("Article 19 of the AI Act"))),
        requirement="AIA-Art12-1",
    ),
    "data": Duty(
        words=_("Data of training and testing are relevant, representative and examined for bias."),
        articles=(_ai_act(10, _("Article 10 of the AI Act")),),
    ),
    "dpia": Duty(
        words=_("A high risk to people's rights is assessed before their data are processed."),
        articles=(Article(act=GDPR, number=35, title=_("Article 35 of the GDPR")),),
        requirement="GDPR-35-1",
    ),
    "fria": Duty(
        words=_("Certain deployers assess what a high-risk system does to fundamental rights before they use it."),
        articles=(_ai_act(27, _("Article 27 of the AI Act")),),
        requirement="AIA-Art27-1-a",
    ),
    "instructions": Duty(
        words=_("A high-risk system comes with instructions that its users understand."),
        articles=(_ai_act(13, _("Article 13 of the AI Act")),),
        requirement="AIA-Art13-2",
    ),
    "documentation": Duty(
        words=_("The technical documentation is drawn up before a system is put on the market, and kept up to date."),
        articles=(_ai_act(11, _("Article 11 of the AI Act")),),
        requirement="AIA-Art11-1",
    ),
}
OF_REPORTS = {
    "dpia": "dpia", "fria": "fria", "logs_art12": "logs", "pmm_plan": "monitoring", "annex_iv": "documentation",
    "instructions_for_use_art13": "instructions", "serious_incident": "incidents",
}  # fmt: skip
"""Kinds of reports with the duty that they serve."""


def law_of(key: str, version: Any = None) -> dict[str, Any]:
    """What ``components/law.html`` shows of a duty, or of the duty that a kind of report serves; nothing for others.

    Args:
        version: The version of which the requirement is stated; without one, the official text alone is linked.
    """
    return {"duty": DUTIES.get(OF_REPORTS.get(key, key)), "version": version}
