"""The data protection impact assessment of Article 35 of the GDPR, with the screening of WP248 and the CNIL's scales.

Risks are rated by people; what audits measured stands beside each rating, with its source. Where nobody rated and
nothing was measured, the row says so, and a missing rating counts as 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from governance.reports import dpia_attacks, dpia_risks, dpia_screening
from governance.reports.base import REPORTS
from governance.reports.blocks import Block, Facts, Gap, Heading, Note, Paragraph
from governance.reports.outlined import OutlinedReport
from governance.reports.view import View
from governance.reports.wording import ABSENT, count, shown, yes_no


class Dpia(OutlinedReport):
    """Data protection impact assessment (GDPR Art. 35)."""

    key = "dpia"
    title = gettext_lazy("Data protection impact assessment")
    series = gettext_lazy("Data protection impact assessment under Article 35 of Regulation (EU) 2016/679")

    def opening(self, view: View) -> Iterable[Block]:
        yield dpia_screening.conclusion(view)
        yield dpia_risks.consequence(view)

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {
            "0": dpia_screening.screening,
            "1": description,
            "2": necessity,
            "3": rights,
            "4": dpia_risks.risks,
            "5": dpia_risks.residual,
            "6": dpia_risks.consultation,
            "7": review,
        }
        return chapters[section](view) if section in chapters else ()

    def content(self, view: View) -> dict[str, Any]:
        return {
            "screening": dpia_screening.screening_data(view),
            "risks": dpia_risks.risk_data(view),
            "attacks": dpia_attacks.all_attacks(view),
        }


def description(view: View) -> Iterable[Block]:
    """Chapter 1, Art. 35(7)(a): what the platform knows of the processing by itself."""
    system, config = view.dossier["system"], view.dossier["version"]["config"]
    yield Paragraph(
        text=_(
            "Article 35(7)(a) asks for a systematic description of the operations and purposes. What the platform "
            "knows by itself stands here; operations, assets, recipients and roles are stated below by people."
        )
    )
    yield Facts(
        caption=_("The system and what its model reads and gives, as registered"),
        rows=(
            (_("Purpose"), system["intended_purpose"] or str(ABSENT)),
            (_("Reads"), shown(config.get("modalities"))),
            (_("Cannot do without"), shown(config.get("required"))),
            (_("Gives"), shown(config.get("labels"))),
            (_("Sites"), shown(list(view.dossier["sites"]))),
        ),
        sources=(view.dossier_source(),),
    )
    answered = [
        (_("Personal data are processed"), "personal_data"),
        (_("Role in the processing"), "data_role"),
        (_("Special categories"), "special_categories"),
        (_("Data of minors"), "minors"),
        (_("Data first collected for another purpose"), "reuse_of_data"),
        (_("Synthetic data are made or used"), "synthetic_data"),
    ]
    known = [(name, key) for name, key in answered if view.answer(key) is not None]
    if known:
        yield Facts(
            caption=_("Answers on the data"),
            rows=tuple((name, view.answer_text(key)) for name, key in known),
            sources=tuple(view.answer_source(key) for _name, key in known),
        )
    for name, key in answered:
        if view.answer(key) is None and key in ("personal_data", "data_role", "special_categories"):
            yield Gap(text=_("%(what)s: not answered.") % {"what": name})
    cohort = view.dossier["cohort"]
    if cohort is None:
        yield Gap(text=_("No audited cohort, so no count of people whose data were used in testing."))
        return
    yield Facts(
        caption=_("Data that the version was tested on"),
        rows=(
            (_("Cohort"), cohort["name"]),
            (_("Studies"), count(cohort["n_studies"])),
            (_("Patients"), count(cohort["n_patients"])),
            (_("Of real people"), _("no: all are simulated") if cohort["simulated"] else yes_no(True)),
            (_("Source"), cohort.get("source") or str(ABSENT)),
        ),
        sources=(view.cohort_source(),),
    )


def necessity(view: View) -> Iterable[Block]:
    """Chapter 2, Art. 35(7)(b): the benefit as far as it was measured."""
    yield Paragraph(
        text=_(
            "Article 35(7)(b) asks whether the processing is necessary and proportionate. An audit can show what the "
            "system does for its purpose; whether that outweighs the intrusion is for people to say, below."
        )
    )
    found = list(view.audits("performance_evaluation"))
    if not found:
        yield Gap(text=_("No audit of this version shows how well it serves its purpose."))
    for audit, evidence in found:
        yield Heading(text=_("What audit %(run)s measured") % {"run": audit["run"]})
        yield from dpia_risks.audit_blocks(view, audit, evidence, "performance_evaluation")


def rights(view: View) -> Iterable[Block]:
    """Chapter 3: whether anything is decided without a person."""
    decided = view.answer("wp248_c2")
    if decided is None:
        yield Gap(text=_("Whether outputs lead to automated decisions about people was not answered."))
    elif decided:
        text = _("It was answered that outputs lead to automated decisions of legal or similar effect: see Article 22.")
        yield Note(title=_("Automated decisions"), text=text)


def review(view: View) -> Iterable[Block]:
    """Chapter 7: what happened since, that the platform knows of."""
    version = view.dossier["version"]
    if version["void"]:
        yield Note(title=_("What this version was approved on is void"), text=version["void"]["reason"])
    earlier = [item for item in view.dossier["reports"] if item["kind"] == "dpia"]
    if earlier:
        text = ngettext(
            "This version has been assessed %(n)s time before; the newest is report %(id)s.",
            "This version has been assessed %(n)s times before; the newest is report %(id)s.",
            len(earlier),
        )
        newest = max(earlier, key=lambda item: item["id"])
        told = text % {"n": count(len(earlier)), "id": newest["id"]}
        yield Paragraph(text=told, sources=(view.dossier_source(),))
    else:
        yield Paragraph(text=_("This is the first assessment of this version that was issued here."))


REPORTS.register("dpia")(Dpia())
