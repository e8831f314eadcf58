"""The technical documentation of Annex IV to Regulation (EU) 2024/1689.

Chapters 0 to 10 follow the outline in the catalogue of requirements. Each requirement stands where it belongs, with
its state; what nobody has shown is marked missing there, and counted on the cover.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.reports import annex_iv_material as chapter
from governance.reports.base import REPORTS
from governance.reports.blocks import Block
from governance.reports.changes import change_blocks
from governance.reports.outlined import OutlinedReport
from governance.reports.view import View
from models_registry.cohorts.disclosure import hide_in_summary

MATERIAL: Mapping[str, Callable[[View], Iterable[Block]]] = {
    "0": chapter.roles,
    "1": chapter.general,
    "2": chapter.elements,
    "3": chapter.functioning,
    "6": chapter.decisions,
    "9": chapter.surveillance,
    "10": chapter.control,
}


class AnnexIV(OutlinedReport):
    """Technical documentation (Art. 11, Annex IV)."""

    key = "annex_iv"
    title = gettext_lazy("Technical documentation (Annex IV)")
    series = gettext_lazy("Technical documentation under Article 11 and Annex IV of Regulation (EU) 2024/1689")
    editable = False
    tells_verdict = True

    def material(self, section: str, view: View) -> Iterable[Block]:
        if section in MATERIAL:
            yield from MATERIAL[section](view)
        if section == "6":
            yield from change_blocks(view)

    def content(self, view: View) -> dict[str, Any]:
        version = view.dossier["version"]
        told: dict[str, Any] = {
            "version": {key: version[key] for key in ("config", "card", "origins")} | {"manifest": None, "notes": ""},
            "review": view.review,
        }
        if view.evidence is None:
            return told | dict.fromkeys(("cohort", "protocol", "execution", "result"))
        evidence, cohort = view.evidence, view.evidence["cohort"]
        told["version"] |= {"manifest": evidence["version"]["manifest"], "notes": evidence["version"].get("notes", "")}
        return told | {
            "cohort": {
                "source": cohort.get("source", ""),
                "licence": cohort.get("licence", ""),
                "summary": hide_in_summary(cohort["summary"]),
            },
            "protocol": evidence["protocol"]["body"],
            "execution": evidence["execution"],
            "result": evidence["result"],
        }

    def annexes(self, view: View) -> Iterable[tuple[str, Iterable[Block]]]:
        if view.evidence is not None:
            yield _("Protocol"), chapter.protocol(view)
            yield _("Execution"), chapter.execution(view)


REPORTS.register("annex_iv")(AnnexIV())
