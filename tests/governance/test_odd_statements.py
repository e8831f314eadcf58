"""Whatever stands in a statement, every requirement is judged."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.requirements import load_requirements
from governance.rules import table_columns
from governance.statuses import judge
from tests.governance.dossiers import (
    audit_of,
    everything_applies,
    make_dossier,
    requirement,
    statement,
    valid_fields,
    with_statements,
)

EVERY = tuple(item.id for item in load_requirements().requirements)
WORDS = (None, True, 5, 1e300, "", "x", "10 years", "99999999 years", "9999-12-31", "0001-01-01", [], ["", 4], {})


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(min_value=0, max_value=10**9))
def test_no_cell_of_a_table_can_break_a_rule(seed: int) -> None:
    """Drawn from one number, because to shrink hundreds of values takes minutes and tells no more."""
    dossier, chance = make_dossier(answers=everything_applies(), audits=(audit_of(),)), Random(seed)
    rows = [statement(dossier, key, fields=_scrambled(key, chance)) for key in EVERY]
    assert len(judge(with_statements(dossier, *rows)).items) == 227


def _scrambled(key: str, chance: Random) -> dict[str, Any]:
    fields = valid_fields(key)
    for one in requirement(key).required_fields:
        if chance.random() < 0.3:
            fields[one.name] = chance.choice(WORDS)
        elif one.type == "table" and chance.random() < 0.5:
            columns = [column.rstrip("?") for column in table_columns(key, one.name)]
            some = chance.sample(columns, chance.randint(0, len(columns)))
            fields[one.name] = [{column: chance.choice(WORDS) for column in some} for _ in range(chance.randint(0, 3))]
    return fields


ODD: tuple[Any, ...] = (
    None,
    True,
    -3,
    1e300,
    "",
    "x",
    "2026-13-45",
    [],
    ["", 4],
    [{}],
    [{"": None}, {"limb": True, "audit": 5}],
    {},
    {"name": "x"},
    {"signed_on": 5},
)


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_no_stated_value_can_break_a_rule(odd: Any) -> None:
    """Rows come from the database as JSON; whatever is in them, every requirement is judged."""
    dossier = make_dossier(answers=everything_applies(), audits=(audit_of(),))
    rows = [statement(dossier, key, fields=dict.fromkeys(valid_fields(key), odd)) for key in EVERY]
    assert len(judge(with_statements(dossier, *rows)).items) == 227
    one_each = [statement(dossier, key, fields=_first_replaced(key, odd)) for key in EVERY]
    assert len(judge(with_statements(dossier, *one_each)).items) == 227


def _first_replaced(key: str, odd: Any) -> dict[str, Any]:
    fields = valid_fields(key)
    return fields | {next(iter(fields)): odd}
