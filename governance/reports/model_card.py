"""The model card: what one version is for, what it was made from, what was measured by group, and what it cannot do.

It is made from the registered version with its card, and from the evidence of its audits. What the provider says and
what was measured here stand apart and are named as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.reports.annexes import Chapter
from governance.reports.base import REPORTS, Draft
from governance.reports.blocks import Block, Bullets, Facts, Gap, Note, Paragraph, Table
from governance.reports.findings import warnings
from governance.reports.measured import flatten, verdict_note
from governance.reports.outlined import OutlinedReport
from governance.reports.performance import audited, cautions, criteria_tables, group_tables, overall_tables
from governance.reports.stated import purpose_blocks
from governance.reports.view import View
from governance.reports.wording import ABSENT, DECISIONS, day, moment, shown
from governance.requirements import ReportOutline, Section
from governance.rules.values import plain

CHAPTERS = (
    ("1", gettext_lazy("Intended use")),
    ("2", gettext_lazy("The model")),
    ("3", gettext_lazy("Training data and lineage")),
    ("4", gettext_lazy("Verdicts")),
    ("5", gettext_lazy("Performance by group")),
    ("6", gettext_lazy("Limitations")),
    ("7", gettext_lazy("Licence and bill of materials")),
    ("8", gettext_lazy("Decision")),
)
STATED = ("task", "dataset", "metric", "value")
TRAINED_ON = "Trained on"
RELATIONS = {
    "Built on": gettext_lazy("Built on"),
    "Fine-tuned from": gettext_lazy("Fine-tuned from"),
    TRAINED_ON: gettext_lazy("Trained on"),
    "Shares weights with": gettext_lazy("Shares weights with"),
}
"""Relations as the registration words them."""


class ModelCard(OutlinedReport):
    """Model card of one version."""

    key = "model_card"
    title = gettext_lazy("Model card")
    series = gettext_lazy("Model card of one version, from its registration and its audits")
    editable = False
    tells_verdict = True

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {
            "1": _use,
            "2": _model,
            "3": _lineage,
            "4": _verdicts,
            "5": _groups,
            "6": _limitations,
            "7": _licence,
            "8": _decision,
        }
        return chapters[section](view)

    def content(self, view: View) -> dict[str, Any]:
        version = view.dossier["version"]
        return {
            "licence": version["card"].get("licence") or None,
            "ml_bom_digest": version.get("ml_bom_digest"),
            "origins": [dict(origin) for origin in version["origins"]],
            "stated_results": [dict(row) for row in version["card"].get("results") or []],
        }

    # The catalogue has no outline for a card, because no law asks for one: it gets the chapters above.

    def _chapters(self, view: View) -> tuple[Chapter, ...]:
        return super()._chapters(_outlined(view))

    def _draft(self, view: View, chapters: tuple[Chapter, ...]) -> Draft:
        draft = super()._draft(_outlined(view), chapters)
        because = _("A model card judges no requirement, so it is never ready.")
        return Draft(data=draft.data | {"ready": False, "not_ready_because": [because]}, html=draft.html)


REPORTS.register(ModelCard.key)(ModelCard())


def _outlined(view: View) -> View:
    sections = tuple(Section(id=number, title=str(title)) for number, title in CHAPTERS)
    outline = ReportOutline(
        key=ModelCard.key, title=str(ModelCard.title), primary_duty_bearer="provider", sections=sections
    )
    catalogue = replace(view.catalogue, outlines={**view.catalogue.outlines, ModelCard.key: outline})
    return replace(view, catalogue=catalogue, statuses=replace(view.statuses, catalogue=catalogue))


def _use(view: View) -> Iterator[Block]:
    yield from purpose_blocks(view)
    card = view.dossier["version"]["card"]
    said = str(card.get("intended_use") or "")
    if not said:
        yield Gap(text=_("Intended use: the card that came with the model does not say."))
        return
    yield Paragraph(text=_("The card that came with the model says: %(text)s") % {"text": said}, sources=_version(view))
    if plain(said) != plain(view.dossier["system"]["intended_purpose"]):
        text = _("The card's words differ from the registered purpose. The audit was of the registered one.")
        yield Note(title=_("Two texts"), text=text, tone="gap")


def _version(view: View) -> tuple[Any, ...]:
    return (view.version_source(),)


def _model(view: View) -> Iterator[Block]:
    version = view.dossier["version"]
    yield Facts(
        caption=_("The version"),
        rows=(
            (_("System"), view.dossier["system"]["name"]),
            (_("Version"), version["label"]),
            (_("Digest"), version["digest"]),
            (_("Adapter"), version["adapter"]),
            (_("Registered"), f"{version['submitted_by']}, {moment(version['submitted_at'])}"),
        ),
        digests=(_("Digest"),),
        sources=_version(view),
    )
    config = version["config"]
    if not config:
        yield Gap(text=_("The adapter declares nothing about the model."))
        return
    told = {key: value for key, value in config.items() if key != "details"}
    details = config.get("details")
    rows = [*flatten(told), *flatten(details if isinstance(details, dict) else {})]
    yield Facts(
        caption=_("As its adapter declares it"),
        rows=tuple(row for row in rows if row[0] and row[1] != str(ABSENT)),
        sources=_version(view),
    )


def _lineage(view: View) -> Iterator[Block]:
    version = view.dossier["version"]
    if version["origins"]:
        yield Table(
            caption=_("What the version was made from, as far as the platform knows"),
            headers=(_("Relation"), _("Source"), _("SHA-256"), _("Known by")),
            rows=tuple(_origin(item) for item in version["origins"]),
            sources=_version(view),
            wide=True,
        )
    else:
        yield Gap(text=_("What the version was made from: no backbone, base model or training cohort is registered."))
    card = version["card"]
    for name, words in (("datasets", _("Data sets")), ("base_model", _("Base models"))):
        if card.get(name):
            text = _("%(what)s, as the card states: %(names)s") % {"what": words, "names": shown(card[name])}
            yield Paragraph(text=text, sources=_version(view))
    if not any(item.get("relation") == TRAINED_ON for item in version["origins"]) and not card.get("datasets"):
        yield Gap(text=_("Training data: neither the registration nor the card names any."))


def _origin(item: dict[str, Any]) -> tuple[str, ...]:
    relation = str(item.get("relation", ""))
    named = (str(item.get(key) or "—") for key in ("source", "digest", "told_by"))
    return (str(RELATIONS.get(relation, relation)), *named)


def _verdicts(view: View) -> Iterator[Block]:
    yield from criteria_tables(view, _("Criteria and verdicts of %(run)s on %(cohort)s"))
    yield from cautions(view)
    for source, evidence in audited(view):
        for verdict in evidence["result"]["verdicts"]:
            if verdict["primary"] and verdict["outcome"] != "pass":
                yield verdict_note(verdict)
                yield Paragraph(text=_("Found by %(run)s.") % {"run": source.name}, sources=(source,))


def _groups(view: View) -> Iterator[Block]:
    yield from overall_tables(view)
    yield from group_tables(view)
    yield from cautions(view)
    results = view.dossier["version"]["card"].get("results") or []
    if results:
        yield Table(
            caption=_("Figures that the provider states; nobody measured them here"),
            headers=(_("Task"), _("Data"), _("Metric"), _("Value")),
            rows=tuple(tuple(str(row.get(key) or "—") for key in STATED) for row in results),
            sources=_version(view),
            wide=True,
        )


def _limitations(view: View) -> Iterator[Block]:
    for item in warnings(view.dossier, view.evidence):
        yield Note(title=item["name"], text=item["text"], tone="gap")
    rows = audited(view)
    if not rows:
        yield Gap(text=_("Limitations by measurement: no finished audit of this version is at hand."))
    for source, evidence in rows:
        notes = evidence["result"].get("notes", [])
        if notes:
            yield Paragraph(text=_("Of the audited data, %(run)s notes:") % {"run": source.name}, sources=(source,))
            yield Bullets(items=tuple(notes))
    missing = view.dossier["version"]["card"].get("missing") or []
    if missing:
        yield Gap(text=_("The card that came with the model does not tell: %(what)s.") % {"what": ", ".join(missing)})
    limits = view.field("AIA-AnnexIV-3-performance", "limitations")
    if limits is None:
        yield Gap(text=_("Limitations in the provider's words: nothing accepted is held."))
    else:
        text = _("In the provider's words: %(text)s") % {"text": shown(limits.value)}
        yield Paragraph(text=text, sources=view.field_source(limits))


def _licence(view: View) -> Iterator[Block]:
    version = view.dossier["version"]
    card = version["card"]
    if card.get("licence"):
        known = card.get("licence_known")
        text = _("Licence: %(name)s.") if known else _("Licence: %(name)s, which is no SPDX identifier.")
        yield Paragraph(text=text % {"name": card["licence"]}, sources=_version(view))
    else:
        yield Gap(text=_("Licence: the card that came with the model names none."))
    digest = version.get("ml_bom_digest")
    if digest:
        yield Facts(
            caption=_("CycloneDX bill of materials of the version"),
            rows=((_("File"), "model.cdx.json"), (_("SHA-256"), digest)),
            digests=(_("SHA-256"),),
            sources=_version(view),
        )
    else:
        yield Gap(text=_("Bill of materials: its digest is not held in this dossier."))
    evidence = view.evidence
    if evidence is not None:
        yield Table(
            caption=_("Files of the version"),
            headers=(_("File"), _("SHA-256")),
            rows=tuple(sorted(evidence["version"]["manifest"].items())),
            sources=(view.audit_source(),),
        )


def _decision(view: View) -> Iterator[Block]:
    review = view.review
    if review is None:
        yield Gap(text=_("No committee review of this version was held at the date of this document."))
        return
    closed = day(review["closed_at"]) if review["closed_at"] else str(ABSENT)
    yield Facts(
        caption=_("Committee review %(id)s") % {"id": review["id"]},
        rows=(
            (_("Decision"), str(DECISIONS.get(review["status"], review["status"]))),
            (_("Closed"), closed),
            (_("Votes"), str(len(review["votes"]))),
        ),
        sources=(view.review_source(review),),
    )
