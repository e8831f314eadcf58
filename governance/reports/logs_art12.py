"""The statement on logging and retention: what the platform records of itself, what the provider states of the system.

The two are kept apart. The platform's ledger is a record of acts on the platform; it is no log of the deployed system,
and nothing in it shows that the system records events (Art. 12), or for how long anybody keeps them (Arts 19, 26(6)).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.reports.base import REPORTS
from governance.reports.blocks import Block, Bullets, Facts, Heading, Note, Paragraph, Table
from governance.reports.outlined import OutlinedReport
from governance.reports.registers import override_rates
from governance.reports.stated import form, points_of, stated_table
from governance.reports.view import View
from governance.reports.wording import count, moment, shown
from governance.rules.logs_art12 import EVENTS, LEAST_MONTHS
from governance.rules.notes import uncovered
from governance.rules.values import months_of, rows_of

ACTS = (
    ("system", gettext_lazy("A system is registered")),
    (
        "version",
        gettext_lazy("A version is registered with its origins, changes its state, is barred from review or voided"),
    ),
    ("version_intake", gettext_lazy("A version is received, checked, confirmed or discarded")),
    ("cohort", gettext_lazy("A cohort is registered")),
    ("cohort_import", gettext_lazy("A file of patients is taken in as a cohort")),
    ("generation", gettext_lazy("Synthetic patients are ordered, or their making is cancelled")),
    (
        "generator",
        gettext_lazy("A generator of synthetic patients is ordered; its training is cancelled or resumed"),
    ),
    (
        "repair",
        gettext_lazy("The repair of a gap between groups is ordered, cancelled, resumed, or its versions are compared"),
    ),
    ("training", gettext_lazy("A training is ordered")),
    ("protocol", gettext_lazy("A protocol is locked or approved")),
    ("run", gettext_lazy("An audit is requested, resumed, cancelled or judged; advice is given")),
    ("studies", gettext_lazy("The studies of an audit are listed for somebody who may read patient-level content")),
    ("study", gettext_lazy("A study of an audit is opened: its texts, image and values are read")),
    ("gallery", gettext_lazy("Synthetic patients are looked at, beside the real ones most like them or without")),
    ("review", gettext_lazy("A review is opened, decided or closed without a decision")),
    ("vote", gettext_lazy("A vote is cast")),
    ("recusal", gettext_lazy("A member takes no part in a review")),
    ("comment", gettext_lazy("Something is said in the discussion of a review")),
    (
        "condition",
        gettext_lazy("A condition of an approval is proposed, taken back, met, returned, handed over, or lapses"),
    ),
    ("policy", gettext_lazy("A policy is proposed, approved, superseded or withdrawn")),
    ("acceptance", gettext_lazy("A lack of evidence is accepted until a day, or that is revoked")),
    ("gate", gettext_lazy("A version is held against a policy by a pipeline")),
    ("risk", gettext_lazy("A risk is recorded, rated, accepted, closed or opened again")),
    ("control", gettext_lazy("A measure against a risk is planned, implemented, verified or dropped")),
    ("incident", gettext_lazy("An incident is recorded, amended, reported, escalated or closed")),
    ("deployment", gettext_lazy("A version is deployed, suspended, resumed, rolled back or taken out of use")),
    (
        "monitor",
        gettext_lazy("A monitor of a deployment is made, begins, is handed over, paused, resumed, restarted or ended"),
    ),
    ("window", gettext_lazy("A window of a monitor is judged, is empty, or its data are refused")),
    (
        "alert",
        gettext_lazy("An alert is raised, acknowledged, assigned, snoozed, escalated, answered, settled or closed"),
    ),
    (
        "webhook",
        gettext_lazy("Another system is told of alerts from now on, or no longer; a message could not be sent"),
    ),
    ("measure", gettext_lazy("A measure of human oversight is recorded, verified or ended")),
    ("override", gettext_lazy("Overrides of outputs by clinicians are recorded")),
    ("outputs", gettext_lazy("Numbers of outputs shown to clinicians are recorded")),
    (
        "release",
        gettext_lazy(
            "The release of a synthetic cohort is asked for, decided, withdrawn or revoked; its files are written or "
            "downloaded"
        ),
    ),
    ("release_vote", gettext_lazy("A vote on the release of a synthetic cohort is cast")),
    ("invitation", gettext_lazy("Somebody is invited to make an account, makes it, or the invitation is withdrawn")),
    ("cohort_role", gettext_lazy("A cohort is given a role")),
    ("stepup", gettext_lazy("A proof of identity for a signature is refused")),
    ("head", gettext_lazy("The head of the ledger is signed")),
    (
        "account",
        gettext_lazy(
            "An account is closed, opened or merged with another of the same person, or changes how it is signed in to"
        ),
    ),
    ("token", gettext_lazy("A program is given access for a person, or loses it")),
    ("escalation", gettext_lazy("Something that ran out is taken to somebody else")),
    ("answers", gettext_lazy("Questions about the system are answered")),
    (
        "statement",
        gettext_lazy("A statement is written, accepted, returned, withdrawn or carried over to a version"),
    ),
    ("attachment", gettext_lazy("A file is attached to a statement or downloaded")),
    ("report", gettext_lazy("A report is requested, refused, issued or downloaded")),
    ("bundle", gettext_lazy("A bundle is requested, issued, viewed or downloaded")),
    ("grant", gettext_lazy("A regulator is given access, uses it, is refused or loses it")),
    ("link", gettext_lazy("A download link is made, used or refused")),
    ("download", gettext_lazy("A download is refused")),
    ("role", gettext_lazy("A person is given a role, or loses it")),
)
"""Kinds of acts in the platform's ledger: the word before the dot of each act."""


class LogsArt12(OutlinedReport):
    """Logging and retention statement (Arts 12, 19, 26(6))."""

    key = "logs_art12"
    title = gettext_lazy("Logging and retention statement")
    series = gettext_lazy("Statement on logs under Articles 12, 19 and 26(6) of Regulation (EU) 2024/1689")
    tells_fields = True

    def material(self, section: str, view: View) -> Iterable[Block]:
        chapters = {"1": _capability, "2": _coverage, "3": _retention, "4": _access}
        return chapters[section](view)

    def content(self, view: View) -> dict[str, Any]:
        ledger = view.dossier["ledger"]
        return {
            "platform_ledger": {"size": ledger["size"], "root": ledger["root"], "acts": [key for key, _text in ACTS]},
            "retention": {
                "provider": view.text("AIA-Art19", "retention_period") or None,
                "deployer": view.text("AIA-Art26-6", "retention_period") or None,
            },
        }


REPORTS.register(LogsArt12.key)(LogsArt12())


def _capability(view: View) -> Iterator[Block]:
    yield Heading(text=_("The deployed system"))
    yield Note(
        title=_("Two records, not one"),
        text=_(
            "Article 12 asks what the deployed system records by itself while it is used. The platform does not run "
            "the deployed system and sees none of its logs: what stands here on that is what the provider stated."
        ),
    )
    yield form(view, _("Logging of the deployed system, as stated"), points_of(view, "AIA-Art12-1"))
    yield Heading(text=_("This platform"))
    yield from _ledger(view)


def _ledger(view: View) -> Iterator[Block]:
    ledger = view.dossier["ledger"]
    yield Paragraph(
        text=_(
            "The platform records acts of people and of itself in a ledger. It is part of the assessment of the "
            "system, and is no log of its use on patients."
        ),
        sources=(view.ledger_source(),),
    )
    yield Bullets(
        items=(
            _("An entry is written in the same transaction as its act: neither stands without the other."),
            _("It holds a running number, the time, who acted, the act, what was acted on, and facts such as digests."),
            _("The database refuses to change or delete an entry. The entries form a Merkle tree over SHA-256."),
            _("Whoever kept an earlier root hash can compare: the entries up to then must still give it."),
            _("Acts carry digests, counts and reasons; no row of a patient is in them."),
            _("Entries have no expiry: the platform deletes none."),
        )
    )
    yield Facts(
        caption=_("Head of the ledger"),
        rows=(
            (_("Time"), moment(view.dossier["as_of"])),
            (_("Entries"), count(ledger["size"])),
            (_("Root"), ledger["root"]),
        ),
        digests=(_("Root"),),
        sources=(view.ledger_source(),),
    )
    yield Table(
        caption=_("Acts that the platform records"),
        headers=(_("Act"), _("Recorded when")),
        rows=tuple((f"{key}.*", str(text)) for key, text in ACTS),
        sources=(view.ledger_source(),),
    )


def _coverage(view: View) -> Iterator[Block]:
    yield stated_table(view, "AIA-Art12-2-a", "event_types", _("Events that the deployed system records"))
    yield Table(
        caption=_("Events that are needed at the least (Art. 12(2)(a)), and whether the table above names them"),
        headers=(_("Event"), _("Named")),
        rows=tuple((_event_title(event), _named(view, event)) for event in EVENTS),
    )
    yield stated_table(view, "AIA-Art12-2-bc", "consumer_map", _("Which check reads which field of the log"))
    yield from override_rates(view)


def _event_title(event: str) -> str:
    return {
        "version": _("version of the model"),
        "input quality": _("quality of the input"),
        "output": _("output"),
        "error": _("failure"),
        "override": _("override by a person"),
        "configuration change": _("change of configuration"),
    }[event]


def _named(view: View, event: str) -> str:
    value = view.field("AIA-Art12-2-a", "event_types")
    rows = rows_of(value.value if value else None)
    return _("Missing") if uncovered(rows, "event", (event,)) else _("named")


def _retention(view: View) -> Iterator[Block]:
    rows = (
        (_("Provider (Art. 19(1))"), "AIA-Art19"),
        (_("Deployer (Art. 26(6))"), "AIA-Art26-6"),
    )
    yield Table(
        caption=_("How long logs are kept; six months is the least unless other law says otherwise"),
        headers=(_("Logs of"), _("Retention period"), _("Against the least"), _("State of its requirement")),
        rows=tuple((who, *_period(view, key), view.judgement(key).state.value) for who, key in rows),
        sources=tuple(
            source
            for _who, key in rows
            if (value := view.field(key, "retention_period"))
            for source in view.field_source(value)
        ),
        states=(3,),
        wide=True,
    )
    reasons = [point for point in points_of(view, "AIA-Art19") if point.field != "retention_period"]
    yield form(view, _("Why the provider keeps its logs so long, and when they are erased"), reasons)
    yield stated_table(view, "AIA-Art26-6", "control_split", _("Who controls which log"))
    yield Paragraph(
        text=_("The platform's own ledger has no expiry; it decides nothing about the logs of the deployed system."),
        sources=(view.ledger_source(),),
    )


def _period(view: View, requirement: str) -> tuple[str, str]:
    value = view.field(requirement, "retention_period")
    if value is None:
        return _("Missing: nothing accepted is held."), "—"
    months = months_of(value.value)
    if months is None:
        return shown(value.value), _("no period of time")
    enough = months >= LEAST_MONTHS - 1e-9
    return shown(value.value), _("six months or more") if enough else _("shorter than six months")


def _access(view: View) -> Iterator[Block]:
    yield form(view, _("Handing over on a reasoned request (Art. 21)"), points_of(view, "AIA-Art21-2"))
    yield Paragraph(
        text=_(
            "What the platform itself can hand over: a signed bundle with the reports, the evidence and the entries of "
            "the ledger about this version, each entry with the proof that it is in the ledger. It is verified without "
            "the platform."
        ),
        sources=(view.ledger_source(),),
    )
