"""What the tests of rules share: a dossier to which every duty applies, and short ways to say things."""

from __future__ import annotations

from typing import Any

from governance.standing.judgements import Judgement
from governance.statuses import judge
from tests.governance.dossiers import DEVICE, everything_applies, make_dossier

SECTION_2 = tuple(f"Art. {number}" for number in range(9, 16))
SIGNED = {"name": "Dr. Vera Muster", "signed_on": "2026-11-20"}
EVENTS = ("version", "input quality", "output", "error", "override", "configuration change")


def all_dossier(**given: Any) -> dict[str, Any]:
    """One to which every duty applies."""
    return make_dossier(answers=everything_applies(), **given)


def of(dossier: dict[str, Any], key: str) -> Judgement:
    return judge(dossier).of(key)


def table(column: str, *values: str, **others: str) -> list[dict[str, str]]:
    return [{column: value} | others for value in values]


def placed(day: str) -> dict[str, Any]:
    return DEVICE | {"placed_on_market": True, "first_placed_on": day}
