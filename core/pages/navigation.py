"""The left navigation: seven entries at most, and none that leads to an empty room."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext

from core.access import roles_of
from core.models import Role, User
from core.pages.readers import may_read
from core.reach import EVERYWHERE, grants_of, reach_of


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the navigation. ``current`` is true on its page and on every page below it."""

    label: str
    href: str
    icon: str
    key: str
    current: bool


ENTRIES = (
    ("Home", "home", "home", "h"),
    ("Systems", "systems", "system", "s"),
    ("Audits", "audits", "audit", "a"),
    ("Monitors", "monitors", "monitor", "m"),
    ("Cohorts", "cohorts", "cohort", "c"),
    ("Governance", "reviews", "governance", "g"),
    ("Reports", "reports", "report", "r"),
)
ALSO_UNDER = {"audits": ("/workers/", "/compare/"), "cohorts": ("/synthetic/",)}
"""Pages of a room that do not lie below its address."""
OF_THE_HOUSE = ("cohorts",)
"""Rooms that hold nothing of a single system."""
FOR_REGULATORS = (("Your access", "portal", "report", "y"),)


def entries_for(user: User, *, path: str) -> list[Entry]:
    """What this person may open, in reading order."""
    rooms: tuple[tuple[str, str, str, str], ...] = ENTRIES if may_read(user) else ()
    if reach_of(user) is not None:
        rooms = tuple(room for room in rooms if room[1] not in OF_THE_HOUSE)
    if Role.REGULATOR in roles_of(user):
        rooms += FOR_REGULATORS
    entries = []
    for label, name, icon, key in rooms:
        href = reverse(name)
        current = path == href if name == "home" else path.startswith((href, *ALSO_UNDER.get(name, ())))
        entries.append(Entry(label=label, href=href, icon=icon, key=key, current=current))
    return entries


def roles_in_words(user: User) -> str:
    """``Auditor, clinician lead``; or that there is none."""
    labels = [gettext(str(role.label)) for role in Role if (role, EVERYWHERE) in grants_of(user)]
    limited = {role for role, key in grants_of(user) if key != EVERYWHERE}
    labels += [gettext("%(label)s on single systems") % {"label": role.label} for role in Role if role in limited]
    return ", ".join(labels).capitalize().replace("Ml ", "ML ") if labels else "No role yet"
