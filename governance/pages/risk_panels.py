"""What the risk register adds to the page of a system, and asks of a person on the home page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from core.access import can
from core.kept import kept
from core.models import User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from governance.access_risks import check_may_assign_risk, check_may_end_acceptance, check_may_record_risk
from governance.models import Control, Risk
from governance.selectors import risks as selectors
from models_registry.models import AISystem

SHOWN = 5
SOON = timedelta(days=14)


@panel("system", rank=40)
def register_in_short(user: User, system: AISystem) -> Panel:
    """The gravest risks of a system, and how many there are."""
    rows = Risk.objects.filter(system=system, status__in=selectors.OPEN)
    lines = kept("open_risks", system.pk, make=lambda: selectors.lines_of(rows))
    stopping = sum(line.unacceptable for line in lines)
    context = {
        "system": system,
        "lines": sorted(lines, key=lambda line: (-line.after.product, line.risk.number))[:SHOWN],
        "n": len(lines),
        "unacceptable": stopping,
        "word": ngettext("%(n)s stops the use of this system", "%(n)s stop the use of this system", stopping)
        % {"n": stopping},
        "may_record": can(check_may_record_risk, user),
    }
    return Panel(template="governance/_system_risks.html", context=context, links=(("system-risks", "Risks"),))


@queue_source
def risks_that_wait(user: User) -> Iterator[QueueItem]:
    """Risks without an owner, controls to implement and to verify, acceptances that end soon."""
    if can(check_may_assign_risk, user):
        for risk in selectors.unowned_risks():
            yield QueueItem(
                title=gettext("Name the owner of risk %(number)s of %(system)s")
                % {"number": risk.number, "system": risk.system},
                why=gettext("%(title)s. Nobody watches it yet.") % {"title": risk.title},
                href=reverse("risk", args=[risk.pk]),
                since=risk.opened_at,
                tone="insufficient",
                word="Without an owner",
            )
        for control in selectors.controls_to_verify(user):
            yield _control(control, "Verify a control", control.text, "working", "To verify")
    today = timezone.localdate()
    for control in selectors.controls_due(user, until=today + SOON):
        late = control.due_on < today
        said = gettext("%(text)s It was due on %(day)s.") if late else gettext("%(text)s It is due on %(day)s.")
        why = said % {"text": control.text[:200], "day": f"{control.due_on.day} {control.due_on:%b %Y}"}
        tone, word = ("fail", "Overdue") if late else ("waiting", "Due soon")
        yield _control(control, "Implement your control", why, tone, word, due=_end_of(control.due_on))
    if can(check_may_end_acceptance, user):
        yield from _ending()


def _end_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.max))


def _control(control: Control, title: str, why: str, tone: str, word: str, *, due: datetime | None = None) -> QueueItem:
    risk = control.risk
    return QueueItem(
        title=gettext("%(title)s of risk %(number)s of %(system)s")
        % {"title": title, "number": risk.number, "system": risk.system},
        why=why[:300],
        href=f"{reverse('risk', args=[risk.pk])}#controls",
        since=control.proposed_at,
        tone=tone,
        word=word,
        due=due,
    )


def _ending() -> Iterator[QueueItem]:
    for acceptance in selectors.acceptances_ending(until=timezone.now() + SOON):
        risk, day = acceptance.risk, timezone.localtime(acceptance.expires_at)
        yield QueueItem(
            title=gettext("The acceptance of risk %(number)s of %(system)s ends")
            % {"number": risk.number, "system": risk.system},
            why=gettext("%(title)s. After %(day)s %(day2)s nobody accepts what remains of it.")
            % {"title": risk.title, "day": day.day, "day2": f"{day:%b %Y}"},
            href=f"{reverse('risk', args=[risk.pk])}#acceptance",
            since=acceptance.accepted_at,
            tone="insufficient",
            word="Ends soon",
            due=acceptance.expires_at,
        )
