"""Instructions for use by Art. 13(3)(a) to (f) AI Act: every number was measured by an audit of this version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.reports.base import REPORTS
from governance.reports.blocks import Block, Bullets, Facts, Gap, Heading, Note, Paragraph
from governance.reports.measured import flatten, verdict_note
from governance.reports.outlined import OutlinedReport
from governance.reports.performance import audited, cautions, criteria_tables, group_tables, overall_tables
from governance.reports.stated import absence, form, points_of, purpose_blocks, purposes, stated_table, stated_text
from governance.reports.view import View
from governance.reports.wording import join_words, spoken
from governance.rules.values import plain

HOME = {
    "b-i": "AIA-Art13-3-b-i",
    "b-ii": "AIA-Art13-3-b-ii",
    "b-iii": "AIA-Art13-3-b-iii",
    "b-iv": "AIA-Art13-3-b-iv",
    "b-v": "AIA-Art13-3-b-v",
    "b-vi": "AIA-Art13-3-b-vi",
    "b-vii": "AIA-Art13-3-b-vii",
}


class InstructionsForUse(OutlinedReport):
    """Instructions for use (Art. 13(3))."""

    key = "instructions_for_use_art13"
    title = gettext_lazy("Instructions for use")
    series = gettext_lazy("Instructions for use under Article 13(3) of Regulation (EU) 2024/1689")
    tells_fields = True

    def opening(self, view: View) -> Iterable[Block]:
        for source, evidence in audited(view):
            if evidence["result"]["outcome"] == "fail":
                text = _("%(run)s found that this version does not meet its protocol; chapter 2 says in which group.")
                yield Note(title=_("A criterion failed"), text=text % {"run": source.name}, tone="fail")

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {
            "1": _identity,
            "2": _characteristics,
            "3": _changes,
            "4": _oversight,
            "5": _resources,
            "6": _logs,
            "7": _notices,
        }
        return chapters[section](view)

    def content(self, view: View) -> dict[str, Any]:
        texts = purposes(view)
        return {
            "intended_purpose": [{"where": where, "text": text} for where, text, _source in texts],
            "purpose_agrees": len({plain(text) for _where, text, _source in texts}) == 1,
            "numbers_from": [source.digest for source, _evidence in audited(view)],
        }


REPORTS.register(InstructionsForUse.key)(InstructionsForUse())


def _identity(view: View) -> Iterator[Block]:
    system, version = view.dossier["system"], view.dossier["version"]
    yield Facts(
        caption=_("(a) The system"),
        rows=(
            (_("Name"), system["name"]),
            (_("Version"), version["label"]),
            (_("Version digest"), version["digest"]),
            (_("Provider, as registered"), system["provider"] or _("Missing: the system names no provider.")),
        ),
        digests=(_("Version digest"),),
        sources=(view.version_source(),),
    )
    yield form(
        view,
        _("(a) Provider and contact"),
        (*points_of(view, "AIA-Art13-3-a"), *points_of(view, "AIA-Art16-b")),
    )
    yield form(view, _("Form and languages of these instructions (Art. 13(2))"), points_of(view, "AIA-Art13-2"))


def _characteristics(view: View) -> Iterator[Block]:
    yield Heading(text=_("(b)(i) Intended purpose"))
    yield from purpose_blocks(view)
    yield form(view, _("Users and patients"), points_of(view, HOME["b-i"])[1:])
    yield from _levels(view)
    yield Heading(text=_("(b)(iii) Circumstances that create risk"))
    yield from _failures(view)
    yield stated_table(view, HOME["b-iii"], "warnings", _("Warnings"))
    yield Heading(text=_("(b)(iv) What the system offers as explanation"))
    yield form(view, _("Explanations and how far they can be trusted"), points_of(view, HOME["b-iv"]))
    yield Heading(text=_("(b)(v) Performance for groups of patients"))
    yield from group_tables(view)
    yield form(view, _("Groups that the system is meant for"), points_of(view, HOME["b-v"]))
    yield from _inputs(view)
    yield Heading(text=_("(b)(vii) How to read the output"))
    yield stated_text(view, HOME["b-vii"], "interpretation_guide", _("How to read scores, uncertainty and texts"))
    yield stated_text(view, HOME["b-vii"], "abstention_rule", _("When the system gives no answer"))


def _levels(view: View) -> Iterator[Block]:
    yield Heading(text=_("(b)(ii) Accuracy, robustness and cybersecurity"))
    yield from overall_tables(view)
    yield from criteria_tables(view, _("Limits of the locked protocol and what %(run)s found on %(cohort)s"))
    yield from cautions(view)
    kinds = {kind for audit in view.dossier["audits"] for kind in audit["kinds"]}
    if "robustness_audit" not in kinds:
        yield Gap(text=_("Robustness: no finished audit of this version tested it."))
    if any(value.value is not None for value in view.judgement("AIA-Art15-5").fields):
        yield Paragraph(text=_("Cybersecurity: what is stated stands in the technical documentation, chapter 2."))
    else:
        yield absence(view, "AIA-Art15-5", _("Cybersecurity"))
    yield stated_table(view, HOME["b-ii"], "declared_levels", _("Levels that the provider declares"))
    yield stated_text(view, HOME["b-ii"], "influencing_factors", _("Circumstances known to change them"))


def _failures(view: View) -> Iterator[Block]:
    """What audits found against a limit, as a warning to those who use the system."""
    rows = [
        (source, item)
        for source, evidence in audited(view)
        for item in evidence["result"]["verdicts"]
        if item["primary"] and item["outcome"] != "pass"
    ]
    for source, item in rows:
        yield verdict_note(item)
        yield Paragraph(text=_("Found by %(run)s.") % {"run": source.name}, sources=(source,))


def _inputs(view: View) -> Iterator[Block]:
    yield Heading(text=_("(b)(vi) Inputs and data"))
    config = view.dossier["version"]["config"]
    if config.get("modalities"):
        needed = join_words([spoken(name) for name in config.get("required") or []]) or _("none of them alone")
        yield Facts(
            caption=_("Inputs, as the version declares them"),
            rows=(
                (_("Reads"), ", ".join(spoken(name) for name in config["modalities"])),
                (_("Cannot do without"), needed),
                (_("Answers"), ", ".join(spoken(name) for name in config.get("labels") or []) or _("not stated")),
            ),
            sources=(view.version_source(),),
        )
    else:
        yield Gap(text=_("Inputs: the version declares none."))
    yield stated_table(view, HOME["b-vi"], "input_specification", _("What each input must be"))
    yield stated_text(view, HOME["b-vi"], "dataset_summary", _("Training, validation and test data"))
    for source, evidence in audited(view):
        notes = evidence["result"].get("notes", [])
        if notes:
            yield Paragraph(text=_("Of the audited data, %(run)s notes:") % {"run": source.name}, sources=(source,))
            yield Bullets(items=tuple(notes))


def _changes(view: View) -> Iterator[Block]:
    yield stated_table(view, "AIA-Art13-3-c", "announced_changes", _("(c) Changes that were fixed in advance"))


def _oversight(view: View) -> Iterator[Block]:
    yield stated_table(view, "AIA-Art13-3-d", "measures", _("(d) Measures of human oversight"))
    yield stated_text(view, "AIA-Art13-3-d", "required_roles", _("Roles that must be there"))


def _resources(view: View) -> Iterator[Block]:
    yield stated_table(view, "AIA-Art13-3-e", "compute_needs", _("(e) Computing resources that are needed"))
    yield stated_text(view, "AIA-Art13-3-e", "expected_lifetime", _("Expected lifetime"))
    yield stated_table(view, "AIA-Art13-3-e", "maintenance_schedule", _("Maintenance and updates"))
    for source, evidence in audited(view)[:1]:
        hardware = evidence["execution"].get("hardware") or {}
        rows = [(_("Device"), str(evidence["execution"].get("device") or _("not stated"))), *flatten(hardware)]
        caption = _("What the audit ran on: measured there, and no statement of what is needed")
        yield Facts(caption=caption, rows=tuple(row for row in rows if row[0]), sources=(source,))


def _logs(view: View) -> Iterator[Block]:
    yield form(view, _("(f) How deployers collect, store and read logs"), points_of(view, "AIA-Art13-3-f"))
    yield Paragraph(text=_("What is recorded, for how long and by whom stands in the logging and retention statement."))


def _notices(view: View) -> Iterator[Block]:
    for requirement, caption in (
        ("AIA-Art26-1", _("Use according to these instructions, by the deployer (Art. 26(1))")),
        ("AIA-Art26-4", _("Suitable input data, by the deployer (Art. 26(4))")),
        ("AIA-Art50-1", _("Telling people that they face an AI (Art. 50(1))")),
        ("AIA-Art50-2", _("Marking of generated output (Art. 50(2))")),
        ("AIA-Art50-3-4", _("Disclosure by deployers (Art. 50(3) and (4))")),
    ):
        yield form(view, caption, points_of(view, requirement))
