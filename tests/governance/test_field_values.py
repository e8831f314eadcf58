"""What a field of a statement accepts: one form for each type, anything else refused with the field's name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuscultError
from governance.requirements import RequiredField, load_requirements
from governance.rules import table_columns
from governance.standing.field_values import LONGEST_TEXT, check_field, check_text

DIGEST = "ab" * 32
GOOD: dict[str, Any] = {
    "string": "DE-MF-000012345",
    "text": "Two\nlines",
    "bool": False,
    "int": 0,
    "number": 0.25,
    "date": "2026-11-22",
    "datetime": "2026-11-22T09:30:00+01:00",
    "duration": "6 months",
    "enum{none|law}": "none",
    "enum{1|2|3|4}": "3",
    "list": ["patients", "staff"],
    "table": [{"item": "one", "description": "two"}],
    "ref": "CER-2026-04 rev 3",
    "file": {"name": "contract.pdf", "digest": DIGEST},
    "url": "https://example.org/ifu",
    "person": "Mina Example",
    "signature": {"name": "Mina Example", "role": "Head of quality", "signed_on": "2026-11-22"},
}
BAD: dict[str, list[Any]] = {
    "string": ["", "  ", 5, "two\nlines", "x" * 501, "nul\x00", "\ud800"],
    "text": ["", 7, None, ["x"], "x" * (LONGEST_TEXT + 1), "ä" * (LONGEST_TEXT // 2 + 1), "bell\x07"],
    "bool": ["yes", 1, 0, None],
    "int": [True, 1.5, "3", 2**60],
    "number": [True, float("nan"), float("inf"), "0.1", 10**400],
    "date": ["22.11.2026", "2026-02-30", "20266-11-22", "9999-12-31", "0026-11-22", 20261122, ""],
    "datetime": ["2026-11-22T09:30:00", "2026-11-22", "soon", 5],
    "duration": ["half a year", "-1 days", 6, "P6M"],
    "enum{none|law}": ["contract", "", True, ["none"]],
    "list": [[], "patients", [""], [3], ["x"] * 501, {}],
    "table": [[], "x", [[]], [{}], [{"Item": "x"}], [{"item": "a\x00", "description": "b"}], [{"item": float("nan")}]],
    "ref": ["", 5, {"name": "x"}],
    "file": ["contract.pdf", {"name": "contract.pdf"}, {"name": "x", "digest": "AB" * 32}, [], [[]],
             {"name": "x", "digest": DIGEST, "path": "/etc"}],
    "url": ["javascript:alert(1)", "example.org", "ftp://example.org", "data:text/html,x", ""],
    "person": ["", ["Mina"], {"name": "Mina"}],
    "signature": ["Mina", {"name": "Mina"}, {"name": "Mina", "signed_on": "soon"}, {"signed_on": "2026-11-22"}],
}  # fmt: skip


def field(kind: str) -> RequiredField:
    return RequiredField(name="some_field", type=kind)


@pytest.mark.parametrize("kind", GOOD)
def test_each_type_keeps_its_form(kind: str) -> None:
    assert check_field(field(kind), GOOD[kind]) == GOOD[kind]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in BAD.items() for value in values])
def test_anything_else_is_refused_by_name(kind: str, value: Any) -> None:
    with pytest.raises(AuscultError, match="some_field") as refusal:
        check_field(field(kind), value)
    assert refusal.value.column == "some_field"
    assert refusal.value.remedy


def test_every_type_of_the_catalogue_is_known() -> None:
    """A required field whose type no check knows could never be filled."""
    kinds = {one.type.partition("{")[0] for item in load_requirements().requirements for one in item.required_fields}
    assert kinds == {kind.partition("{")[0] for kind in GOOD}


def test_a_script_stays_text() -> None:
    script = "<script>alert('x')</script> & {{ settings.SECRET_KEY }}"
    assert check_field(field("text"), script) == script
    assert check_field(field("table"), [{"item": script, "description": "x"}])[0]["item"] == script


def test_a_rating_may_be_given_as_a_number() -> None:
    assert check_field(field("enum{1|2|3|4}"), 4) == "4"
    with pytest.raises(AuscultError):
        check_field(field("enum{1|2|3|4}"), 5)


def test_line_ends_and_blanks_are_made_tidy() -> None:
    assert check_text(" one\r\ntwo\rthree \n", name="text") == "one\ntwo\nthree"


def test_a_table_has_its_own_columns_only_and_the_needed_ones() -> None:
    columns = table_columns("GDPR-6", "basis_per_purpose")
    row = {"purpose": "Triage", "phase": "deployment", "ground": "(e)"}
    table = RequiredField(name="basis_per_purpose", type="table")
    assert check_field(table, [row], columns=columns) == [row]
    with pytest.raises(AuscultError, match="ground"):
        check_field(table, [{"purpose": "Triage", "phase": "deployment"}], columns=columns)
    with pytest.raises(AuscultError, match="colour"):
        check_field(table, [row | {"colour": "red"}], columns=columns)
    with pytest.raises(AuscultError, match="500"):
        check_field(table, [row] * 501, columns=columns)


def test_empty_rows_and_cells_of_a_form_are_left_out() -> None:
    rows = [{"item": "one", "description": "two", "extra": ""}, {"item": "", "description": " "}]
    assert check_field(field("table"), rows) == [{"item": "one", "description": "two"}]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(kind=st.sampled_from(sorted(GOOD)), value=json_values)
def test_whatever_comes_is_refused_or_kept_as_strict_json(kind: str, value: Any) -> None:
    """No other error than the house's, and what passes passes again unchanged."""
    try:
        kept = check_field(field(kind), value)
    except AuscultError:
        return
    json.dumps(kept, allow_nan=False, ensure_ascii=False).encode()
    assert check_field(field(kind), kept) == kept
