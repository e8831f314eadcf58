"""Rules of deployments and human oversight with registers that are empty, agree, or contradict."""

from __future__ import annotations

from typing import Any

import pytest

from governance.standing.judgements import Judgement
from governance.standing.places import sites_of
from governance.statuses import judge
from tests.governance.dossiers import DEVICE, everything_applies, fully_stated, stated, statement, with_statements
from tests.governance.register_scene import BIAS, SITE, counted, deployment, incident, measure, with_registers
from tests.governance.test_rules_register import control, risk

EVERYTHING = everything_applies()
ABOUT_USE = (
    "AIA-AnnexIV-1-d", "AIA-Art72-1", "AIA-Art72-2", "AIA-Art72-2-act", "AIA-Art26-2", "AIA-Art26-5", "AIA-Art26-7",
    "AIA-Art27-1-b", "AIA-AnnexVIII-A-7",
)  # fmt: skip
ABOUT_OVERSIGHT = (
    "AIA-Art14-1", "AIA-Art14-4-a", "AIA-Art14-4-b", "AIA-Art14-4-c", "AIA-Art14-4-d", "AIA-Art14-4-e",
    "AIA-Art13-3-d", "AIA-Art26-2", "AIA-AnnexIV-3-oversight",
)  # fmt: skip


def of(dossier: Any, key: str) -> Judgement:
    return judge(dossier).of(key)


def value(found: Judgement, name: str) -> Any:
    return next(one.value for one in found.fields if one.name == name)


def told(words: tuple[str, ...], *parts: str) -> bool:
    return any(all(part in sentence for part in parts) for sentence in words)


@pytest.mark.parametrize("key", sorted({*ABOUT_USE, *ABOUT_OVERSIGHT}))
def test_empty_registers_say_nothing(key: str) -> None:
    """Nor does what another version is deployed for."""
    other = deployment("Elsewhere", "ended", version={"label": "1.0", "digest": "e" * 64})
    for make in (lambda **given: with_registers(EVERYTHING, **given), lambda **given: fully_stated(
        with_registers(EVERYTHING, **given)
    )):  # fmt: skip
        empty = make()
        bare = {name: part for name, part in empty.items() if name != "registers"}
        assert of(empty, key) == of(bare, key) == of(make(deployments=[other]), key)


# ---- Where it runs


def test_sites_are_those_answered_and_those_deployed_at() -> None:
    answers = {"sites": {"value": ["North", "South"]}}
    digest = deployment()["version"]["digest"]
    rows = [deployment("north"), deployment("West", "suspended"), deployment("East", "ended")]
    other = deployment("Far", version={"label": "1.0", "digest": "e" * 64})
    assert sites_of(answers, [*rows, other], digest) == ["North", "South", "West"]
    assert sites_of(answers, [], digest) == ["North", "South"]
    assert sites_of({}, rows, digest) == ["West", "north"]


def test_going_live_where_nobody_answered_makes_statements_about_use_stale() -> None:
    """AI Act Art. 26(2): oversight is assigned at each place of use; nobody has said who watches at the new one."""
    row = {"site": SITE, "overseer": "Dr. Muster", "training": "2026-10", "may_stop": "yes"}
    before = with_registers(EVERYTHING)
    accepted = statement(before, "AIA-Art26-2", fields={"overseers": [row], "authority_statement": "They may stop it."})
    assert of(with_statements(before, accepted), "AIA-Art26-2").state == "complete"
    for rows, state in (
        ([deployment()], "complete"),  # named before: nothing changed
        ([deployment(status="suspended")], "complete"),
        ([deployment("Elsewhere")], "stale"),
    ):
        live = with_registers(EVERYTHING, deployments=rows)
        found = of(with_statements(live, accepted), "AIA-Art26-2")
        assert (found.state, bool(found.stale)) == (state, state == "stale")
    assert told(found.lacking, "question about sites", "Elsewhere")
    assert found.stale == (f"The sites changed from {SITE} to {SITE}, Elsewhere.",)


def test_each_deployed_site_supplies_field_data() -> None:
    """AI Act Art. 72(2): data on performance are collected throughout the lifetime, from deployers: at each site."""
    live = with_registers(EVERYTHING, deployments=[deployment("Elsewhere", unit="CT")])
    fields = {"data_sources": [{"site": SITE, "source": "PACS"}], "deployer_agreements": ["a"], "interacting_ai": ["b"]}
    found = of(stated(live, "AIA-Art72-2", **fields), "AIA-Art72-2")
    assert told(found.held, "runs at Elsewhere, CT")
    assert told(found.lacking, "documented gap, from Elsewhere")
    assert [(one.kind, one.href_id) for one in found.references if one.kind == "deployment"] == [("deployment", "5")]


def test_the_monitoring_plan_covers_every_deployed_version() -> None:
    """AI Act Art. 72(1), (3): the plan is about the system in use."""
    other = deployment(version={"label": "1.0", "digest": "e" * 64})
    fields = {"scope_versions": ["1.1"], "owner": "Dr. Vera Muster", "proportionality_reason": "Small."}
    found = of(stated(with_registers(EVERYTHING, deployments=[other]), "AIA-Art72-1", **fields), "AIA-Art72-1")
    assert told(found.lacking, "deployed version 1.0")
    ended = other | {"status": "ended"}
    assert (
        of(stated(with_registers(EVERYTHING, deployments=[ended]), "AIA-Art72-1", **fields), "AIA-Art72-1").lacking
        == ()
    )


@pytest.mark.parametrize(
    ("said", "status", "against"),
    [
        ("in_service", "running", False),
        ("withdrawn", "running", True),
        ("recalled", "suspended", True),
        ("in_service", "ended", True),
        ("withdrawn", "ended", False),
    ],
)
def test_the_status_of_the_registration_is_that_of_the_deployments(said: str, status: str, against: bool) -> None:
    """AI Act Annex VIII, Section A, point 7: on the market, in service, no longer so, or recalled."""
    found = of(
        stated(with_registers(EVERYTHING, deployments=[deployment(status=status)]), "AIA-AnnexVIII-A-7", status=said),
        "AIA-AnnexVIII-A-7",
    )
    assert bool(found.contradicted) == against


def test_the_register_fills_the_status() -> None:
    found = of(with_registers(EVERYTHING, deployments=[deployment()]), "AIA-AnnexVIII-A-7")
    assert (value(found, "status"), found.state) == ("in_service", "partial")


def test_staff_is_informed_before_the_first_use() -> None:
    """AI Act Art. 26(7): before putting into service or using at the workplace. In use since 10 November."""
    live = with_registers(EVERYTHING, deployments=[deployment()])
    for day, late in (("2026-11-10", False), ("2026-11-11", True)):
        found = of(stated(live, "AIA-Art26-7", informed_on=day), "AIA-Art26-7")
        assert bool(found.contradicted) == late


def test_the_period_of_use_begins_with_the_first_deployment() -> None:
    """AI Act Art. 27(1)(b): the period of time within which it is intended to be used."""
    live = with_registers(EVERYTHING, deployments=[deployment()])
    assert value(of(live, "AIA-Art27-1-b"), "start") == "2026-11-10"
    late = stated(live, "AIA-Art27-1-b", start="2026-11-15", end="2027-11-15")
    assert told(of(late, "AIA-Art27-1-b").contradicted, "2026-11-15", "since 2026-11-10")


@pytest.mark.parametrize(
    ("said", "rows", "against"),
    [
        (True, [deployment(status="suspended")], False),
        (True, [deployment()], True),
        (False, [deployment(status="suspended")], True),
        (False, [deployment()], False),
        (True, [deployment("Elsewhere")], False),
        (True, [deployment(suspended_at="2026-11-12T08:00:00+00:00")], False),
    ],
)
def test_whether_use_was_suspended_is_seen_in_the_deployments(said: bool, rows: list[Any], against: bool) -> None:
    """AI Act Art. 26(5): deployers inform without undue delay and suspend the use."""
    live = with_registers(EVERYTHING, deployments=rows, incidents=[incident(kinds=["d_property_environment"])])
    moments = {"detected_at": "2026-11-01T09:00:00+00:00", "provider_informed_at": "2026-11-01T10:00:00+00:00"}
    assert bool(of(stated(live, "AIA-Art26-5", use_suspended=said, **moments), "AIA-Art26-5").contradicted) == against


def test_an_open_incident_keeps_its_alert_open() -> None:
    """AI Act Art. 72(2): the data are analysed; an alert ends with a decision."""
    fields = {"review_interval": "6 months", "escalation_matrix": [{"alert": "a", "decision": "b", "owner": "c"}]}
    for status, state in (("open", "partial"), ("closed", "complete")):
        live = with_registers(EVERYTHING, incidents=[incident(status=status)])
        assert of(stated(live, "AIA-Art72-2-act", **fields), "AIA-Art72-2-act").state == state


# ---- Who watches it


def test_verified_measures_are_held_and_fill() -> None:
    """AI Act Art. 14(4)(b), (d), (e) and Art. 13(3)(d): the measures with who carries them out and when."""
    kept = with_registers(EVERYTHING, oversight=[measure(limb) for limb in "abcde"])
    for key, name, limb in (
        ("AIA-Art14-4-b", "countermeasure", "b"),
        ("AIA-Art14-4-d", "override_path", "d"),
        ("AIA-Art14-4-e", "stop_mechanism", "e"),
    ):
        assert value(of(kept, key), name) == f"The radiologist sees the image first, limb {limb}."
    found = of(kept, "AIA-Art13-3-d")
    assert [row["moment"] for row in value(found, "measures")] == ["while reading"] * 5
    assert (value(found, "required_roles"), found.state) == (["radiologist"], "partial")
    assert {one.kind for one in found.references} == {"measure"}


@pytest.mark.parametrize("key", ABOUT_OVERSIGHT)
def test_an_unverified_measure_fills_nothing_and_is_told(key: str) -> None:
    plan = with_registers(EVERYTHING, oversight=[measure(limb, verified=False) for limb in "abcde"])
    found = of(plan, key)
    assert told(found.lacking, "verification by somebody else")
    assert all(one.value is None for one in found.fields)
    assert found.state == of(with_registers(EVERYTHING), key).state


def test_what_is_built_in_is_verified_with_this_version() -> None:
    """AI Act Art. 14(3)(a): built into the system before it is put into service. The version is of 20 November."""
    for day, state in (("2026-11-20", True), ("2026-11-19", False)):
        found = of(
            with_registers(EVERYTHING, oversight=[measure("e", by="built_in", verified_on=day)]), "AIA-Art14-4-e"
        )
        assert bool(found.held) == state
        assert told(found.lacking, "new verification") == (not state)
    by_deployer = of(with_registers(EVERYTHING, oversight=[measure("e", verified_on="2026-01-05")]), "AIA-Art14-4-e")
    assert by_deployer.held


def test_every_running_site_has_its_own_oversight() -> None:
    """AI Act Art. 26(2): deployers assign oversight to natural persons: at each site."""
    here = [deployment(), deployment("Elsewhere", id=6)]
    found = of(with_registers(EVERYTHING, deployments=here, oversight=[measure("d", site=SITE)]), "AIA-Art26-2")
    assert told(found.lacking, "that the deployer carries out at Elsewhere")
    everywhere = of(with_registers(EVERYTHING, deployments=here, oversight=[measure("d")]), "AIA-Art26-2")
    assert not told(everywhere.lacking, "that the deployer carries out")


@pytest.mark.parametrize(
    ("rows", "tracked"),
    [
        ([counted()], True),
        ([counted(0, 400)], False),
        ([counted(3, 0)], False),
        ([counted(None, None)], False),
        ([], False),
        ([counted(500, 400) | {"rate": None}], False),
    ],
    ids=["both", "no override", "no outputs", "hidden", "nothing", "more overrides than outputs"],
)
def test_override_rates_are_monitored_where_both_are_counted(rows: list[Any], tracked: bool) -> None:
    """AI Act Art. 14(4)(b): to remain aware of automation bias; rates are tracked at each site that runs."""
    live = with_registers(EVERYTHING, deployments=[deployment()], overrides=rows)
    assert value(of(live, "AIA-Art14-4-b"), "override_rate_monitoring") is tracked
    said = of(stated(live, "AIA-Art14-4-b", override_rate_monitoring=True), "AIA-Art14-4-b")
    assert said.state == ("complete" if tracked else "nonconform")
    denied = of(stated(live, "AIA-Art14-4-b", override_rate_monitoring=False), "AIA-Art14-4-b")
    assert denied.state == ("nonconform" if tracked else "partial")


def test_one_site_that_counts_nothing_is_one_too_many() -> None:
    live = [deployment(), deployment("Elsewhere", id=6)]
    found = of(with_registers(EVERYTHING, deployments=live, overrides=[counted()]), "AIA-Art14-4-b")
    assert value(found, "override_rate_monitoring") is False
    assert told(found.lacking, "at Elsewhere") and told(found.held, f"counted at {SITE}")
    stopped = [deployment(), deployment("Elsewhere", "suspended", id=6)]
    found = of(with_registers(EVERYTHING, deployments=stopped, overrides=[counted()]), "AIA-Art14-4-b")
    assert value(found, "override_rate_monitoring") is True


def test_a_suspicion_of_automation_bias_is_held_against_it() -> None:
    for mark, state in ((BIAS, "nonconform"), (BIAS | {"kind": "distrust"}, "complete"), (None, "complete")):
        live = with_registers(EVERYTHING, deployments=[deployment()], overrides=[counted(1, 900, mark=mark)])
        found = of(stated(live, "AIA-Art14-4-b", override_rate_monitoring=True), "AIA-Art14-4-b")
        assert found.state == state
        assert told(found.contradicted, SITE, "1 of 900", "Audit 4", "10 %") == (state == "nonconform")


@pytest.mark.parametrize("whole", [True, False])
def test_nothing_becomes_complete_by_what_nobody_verified(whole: bool) -> None:
    """Whole matrix: unverified measures, planned controls, and deployments that count nothing."""
    planned = {
        "oversight": [measure(limb, verified=False) for limb in "abcde"],
        "deployments": [deployment()],
        "overrides": [counted(0, 0)],
        "incidents": [incident(death=True, breach=True, widespread=True)],
        "risks": [risk((4, 3), (1, 1), control("planned"), kind=kind) for kind in ("bias", "clinical", "use")],
    }
    bare, kept = with_registers(EVERYTHING), with_registers(EVERYTHING, **planned)
    if whole:
        bare, kept = fully_stated(bare), fully_stated(kept)
    before, after = judge(bare), judge(kept)
    for one in after.items:
        if one.state == "complete":
            assert before.of(one.requirement.id).state == "complete", one.requirement.id


def test_a_device_without_registers_is_as_it_was() -> None:
    """A dossier that is older than the registers is judged to the letter as one with empty registers."""
    empty = with_registers(DEVICE)
    bare = {name: part for name, part in empty.items() if name != "registers"}
    assert judge(empty).items == judge(bare).items
