"""What the risk register shows of Art. 9 of the AI Act: hazards with their ratings, verified controls, acceptances.

Where the register is empty, nothing is said here, and a requirement stands as people stated it.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from governance.rules.notes import Notes
from governance.standing.register_facts import Entry, entries_of

CATEGORY = {
    "clinical": "health",
    "wrong_output": "health",
    "use": "safety",
    "security": "safety",
    "other": "safety",
}
"""What a kind of risk endangers in the words of Art. 9(2)(a); the rest are about fundamental rights."""
RIGHTS = "fundamental rights"
MISUSE = ("use", "function_creep")


def hold_register(notes: Notes) -> tuple[Entry, ...]:
    """Note what the register holds, with its entries as references. Answers them."""
    entries = entries_of(notes.facts)
    if entries:
        words = _("the risk register: %(n)s open entries, %(verified)s with a verified control")
        verified = sum(bool(entry.verified) for entry in entries)
        notes.hold(words % {"n": len(entries), "verified": verified}, *(entry.reference for entry in entries))
    return entries


def register_hazards(notes: Notes) -> None:
    """Hazards and misuse from the register, where nobody stated them; what is not rated is lacking."""
    entries = hold_register(notes)
    if not entries:
        return
    notes.fill_if_silent("hazards", [_hazard(entry) for entry in entries], entries[0].reference)
    misuse = [entry for entry in entries if entry.kind in MISUSE]
    if misuse:
        rows = [{"scenario": entry.title} | _rating(entry) for entry in misuse]
        notes.fill_if_silent("misuse_scenarios", rows, misuse[0].reference)
    if not notes.has("hazards"):
        covered = {CATEGORY.get(entry.kind, RIGHTS) for entry in entries}
        absent = [name for name in ("health", "safety", RIGHTS) if name not in covered]
        notes.lack_those(absent, _("a rated hazard to %(names)s"))
    notes.lack_those(
        _titles(entry for entry in entries if not entry.judged.before.stated),
        _("a rating before controls in the risk register of %(names)s"),
    )


def register_controls(notes: Notes) -> list[str]:
    """Verified controls and signed acceptances from the register. Answers the risks that need a control.

    Art. 9(5): no open risk lacks a control and a signed acceptance. A planned control is none.
    """
    entries = hold_register(notes)
    rows = [
        {
            "risk": entry.title,
            "control": str(control["text"]),
            "residual": f"{entry.judged.after.severity} × {entry.judged.after.likelihood}",
            "inform_user": _("yes") if control["kind"] == "information" else _("no"),
        }
        for entry in entries
        for control in entry.verified
    ]
    if rows:
        source = next(entry.reference for entry in entries if entry.verified)
        notes.fill_if_silent("control_per_risk", rows, source)
    bare = _titles(entry for entry in entries if not entry.verified)
    notes.lack_those(bare, _("a verified control in the risk register of %(names)s"))
    open_ones = _titles(entry for entry in entries if not entry.accepted)
    notes.lack_those(open_ones, _("a signed acceptance in the risk register of %(names)s"))
    return [entry.title for entry in entries]


def _hazard(entry: Entry) -> dict[str, str]:
    return {"hazard": entry.title, "category": CATEGORY.get(entry.kind, RIGHTS)} | _rating(entry)


def _rating(entry: Entry) -> dict[str, str]:
    """As it counts: what nobody rated stands as 4."""
    before = entry.judged.before
    return {"severity": str(before.severity), "likelihood": str(before.likelihood)}


def _titles(entries: Iterable[Entry]) -> list[str]:
    return [f"“{entry.title}”" for entry in entries]
