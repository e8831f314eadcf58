"""The rules rest on the risk register where it has entries: the graver counts, and only what was verified is done."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from governance.rules import Facts, rules
from governance.standing.register import ControlFacts, Stated, judge_risk
from governance.standing.risk_rows import RiskRow, risk_rows
from governance.statuses import judge
from tests.governance.dossiers import stated, valid_fields
from tests.governance.privacy_facts import facts
from tests.governance.rule_scene import all_dossier
from tests.governance.test_risk_rows import entry, measures

PAIRS = [None, (1, 1), (2, 2), (3, 3), (4, 4), (1, 4)]


def control(status: str = "verified", **given: Any) -> dict[str, Any]:
    body = {
        "id": 3,
        "kind": "design",
        "text": "A second reader",
        "status": status,
        "owner": "mina",
        "due_on": "2026-12-01",
        "implemented_on": None,
        "verified_by": "amir" if status == "verified" else None,
        "verified_at": "2026-11-20T09:00:00+00:00" if status == "verified" else None,
        "run": None,
        "evidence_digest": "",
    }
    return body | given


def risk(
    before: tuple[int, int] | None = (4, 3),
    after: tuple[int, int] | None = None,
    *controls: dict[str, Any],
    **given: Any,
) -> dict[str, Any]:
    """One entry of the register as the dossier tells it."""
    body = {
        "id": 7,
        "number": 1,
        "title": "Missed in women over 80",
        "kind": "bias",
        "hazard": "a lower sensitivity",
        "cause": "few in the training data",
        "harm": "a late diagnosis",
        "status": "open",
        "origin": "finding",
        "owner": "mina",
        "opened_at": "2026-11-01T09:00:00+00:00",
        "closed_at": None,
        "ratings": {"before": _pair(before), "after": _pair(after)},
        "controls": list(controls),
        "acceptance": None,
        "findings": [],
    }
    return body | given


def _pair(rating: tuple[int, int] | None) -> dict[str, int] | None:
    return {"severity": rating[0], "likelihood": rating[1]} if rating else None


ACCEPTED = {"by": "clara", "at": "2026-11-21T09:00:00+00:00", "expires_at": "2027-11-21T09:00:00+00:00"}


def kept(*risks: dict[str, Any], statements: dict[str, Any] | None = None) -> Facts:
    found = facts({}, statements)
    return replace(found, dossier=found.dossier | {"registers": {"risks": list(risks)}})


def row_of(key: str, found: Facts) -> RiskRow:
    return next(row for row in risk_rows(found) if row.key == key)


def test_an_empty_register_and_a_dossier_without_one_say_the_same() -> None:
    statements = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "3")]}, "GDPR-35-7-d": measures("bias")}
    assert risk_rows(kept(statements=statements)) == risk_rows(facts({}, statements))
    keys = ("AIA-Art9-2-ab", "AIA-Art9-5", "AIA-AnnexIV-5")
    with_it, without = all_dossier(registers={"risks": []}), all_dossier()
    for key in keys:
        assert judge(with_it).of(key) == judge(without).of(key)


def test_the_register_alone_fills_the_row() -> None:
    row = row_of("bias", kept(risk((4, 3), (2, 2), control())))
    assert (row.inherent.severity, row.inherent.likelihood, row.inherent.stated) == (4, 3, True)
    assert (row.residual.product, row.residual.band, row.consult, row.lowered) == (4, "medium", False, False)
    assert (row.sources, row.threats, row.impacts) == (
        "a lower sensitivity",
        "few in the training data",
        "a late diagnosis",
    )
    assert [(one.text, one.owner, str(one.done_on)) for one in row.measures] == [
        ("A second reader", "mina", "2026-11-20")
    ]
    assert [(one.kind, one.href_id) for one in row.references] == [("risk", "7")]
    assert row.residual_gaps == () and row.clashes == ()


@pytest.mark.parametrize("status", ["planned", "implemented", "dropped"])
def test_what_is_not_verified_is_not_done_and_lowers_nothing(status: str) -> None:
    row = row_of("bias", kept(risk((4, 3), (1, 1), control(status))))
    assert (row.residual.product, row.lowered, row.consult) == (12, True, True)
    assert all(one.done_on is None for one in row.measures)
    assert len(row.measures) == (0 if status == "dropped" else 1)


def test_a_finding_that_nobody_rated_makes_a_mild_statement_very_high() -> None:
    stated_mild = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "2", "2")]}, "GDPR-35-7-d": measures("bias")}
    row = row_of("bias", kept(risk(None, None), statements=stated_mild))
    assert (row.inherent.product, row.residual.product, row.inherent.stated, row.residual.stated) == (
        16,
        16,
        False,
        False,
    )
    assert any("counts as 4" in gap for gap in row.inherent_gaps)


def test_where_statement_and_register_differ_the_graver_counts_and_it_is_told() -> None:
    statements = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "2", "3")]}, "GDPR-35-7-d": measures("bias")}
    row = row_of("bias", kept(risk((4, 2), (3, 1), control()), statements=statements))
    assert (row.inherent.severity, row.inherent.likelihood) == (4, 3)
    assert (row.residual.severity, row.residual.likelihood) == (3, 1)
    assert len(row.clashes) == 2 and "2, 4" in row.clashes[0]
    same = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "4", "2")]}}
    assert row_of("bias", kept(risk((4, 2), (3, 1), control()), statements=same)).clashes == ()


def test_several_risks_of_one_kind_are_no_contradiction_and_the_gravest_counts() -> None:
    row = row_of("bias", kept(risk((1, 4), (1, 4)), risk((3, 3), (2, 1), control(), number=2, id=8)))
    assert (row.inherent.severity, row.inherent.likelihood, row.clashes) == (3, 3, ())
    assert (row.residual.severity, row.residual.likelihood) == (1, 4)


def test_closed_risks_and_kinds_outside_a_dpia_are_left_out() -> None:
    rows = risk_rows(kept(risk(None, None, status="closed"), risk(None, None, kind="clinical")))
    assert {row.key for row in rows} == {row.key for row in risk_rows(facts())}
    assert next(row for row in rows if row.key == "bias").references == ()
    assert row_of("function_creep", kept(risk(kind="function_creep"))).inherent.product == 12


@pytest.mark.parametrize("before", PAIRS)
def test_the_register_never_makes_a_stated_rating_milder(before: tuple[int, int] | None) -> None:
    """Against every register entry of some ratings: what remains is at least what the statements alone give."""
    statements = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "3")]}, "GDPR-35-7-d": measures("bias")}
    alone = row_of("bias", facts({}, statements))
    for after, status in product(PAIRS, ["planned", "verified"]):
        row = row_of("bias", kept(risk(before, after, control(status)), statements=statements))
        judged = judge_risk(
            facts().catalogue.risk_matrix,
            before=before and Stated(severity=before[0], likelihood=before[1]),
            after=after and Stated(severity=after[0], likelihood=after[1]),
            controls=[ControlFacts(kind="design", status=status)],
        )
        for axis in ("severity", "likelihood"):
            expected = max(getattr(alone.residual, axis), getattr(judged.after, axis))
            assert getattr(row.residual, axis) == expected, (after, status, axis)


def test_the_measures_rule_contradicts_a_rating_lowered_by_a_plan() -> None:
    finding = rules()["GDPR-35-7-d"](kept(risk((4, 3), (1, 1), control("planned"))))
    assert any("rated lower after measures" in text for text in finding.contradicted)
    assert not rules()["GDPR-35-7-d"](kept(risk((4, 3), (1, 1), control()))).contradicted


def registered(*risks: dict[str, Any]) -> dict[str, Any]:
    return all_dossier(registers={"risks": list(risks)})


def test_hazards_come_from_the_register_with_what_they_endanger() -> None:
    found = judge(
        registered(
            risk((4, 3)),
            risk((3, 2), kind="clinical", title="Late drainage"),
            risk(None, kind="use", title="Read alone"),
        )
    ).of("AIA-Art9-2-ab")
    hazards = next(one for one in found.fields if one.name == "hazards")
    assert [(row["hazard"], row["category"], row["severity"], row["likelihood"]) for row in hazards.value] == [
        ("Missed in women over 80", "fundamental rights", "4", "3"),
        ("Late drainage", "health", "3", "2"),
        ("Read alone", "safety", "4", "4"),
    ]
    assert hazards.reference is not None and hazards.reference.kind == "risk"
    misuse = next(one for one in found.fields if one.name == "misuse_scenarios")
    assert [row["scenario"] for row in misuse.value] == ["Read alone"]
    assert found.state.value == "partial"
    assert any("rating before controls" in gap and "Read alone" in gap for gap in found.lacking)
    assert not any("Late drainage" in gap for gap in found.lacking)


def test_a_category_that_the_register_does_not_cover_is_lacking() -> None:
    found = judge(registered(risk((4, 3)))).of("AIA-Art9-2-ab")
    assert any("health, safety" in gap for gap in found.lacking)


def test_an_open_risk_without_verified_control_or_acceptance_keeps_article_9_5_open() -> None:
    full = valid_fields("AIA-Art9-5")
    done = risk((4, 3), (2, 2), control(), acceptance=ACCEPTED | {"severity": 2, "likelihood": 2}, status="accepted")
    bare = risk((2, 2), (2, 2), control("planned"), title="Only planned", id=8, number=2)
    table = [{"risk": row["title"], "control": "c", "residual": "2"} for row in (done, bare)]
    for risks, words in (((done,), ()), ((done, bare), ("a verified control", "a signed acceptance"))):
        dossier = stated(registered(*risks), "AIA-Art9-5", **full | {"control_per_risk": table})
        found = judge(dossier).of("AIA-Art9-5")
        assert [any(word in gap and "Only planned" in gap for gap in found.lacking) for word in words] == [True] * len(
            words
        )
        assert (found.state.value == "complete") == (not words), found.lacking


def test_verified_controls_fill_the_table_of_controls() -> None:
    found = judge(registered(risk((4, 3), (2, 2), control(), control("planned", text="Later")))).of("AIA-Art9-5")
    filled = next(one for one in found.fields if one.name == "control_per_risk")
    assert [row["control"] for row in filled.value] == ["A second reader"]
    assert filled.value[0]["residual"] == "2 × 2"
