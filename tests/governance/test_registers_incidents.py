"""Rules of incidents with a register that is empty, agrees, or contradicts. Each law is named where it is tested."""

from __future__ import annotations

from typing import Any

import pytest

from governance.standing.judgements import Judgement
from governance.statuses import judge
from tests.governance.dossiers import DEVICE, everything_applies, stated, valid_fields
from tests.governance.register_scene import clock, incident, with_registers

HARM = DEVICE | {"incident": True, "incident_kinds": ["a_health"]}
RIGHTS = everything_applies() | {"incident": True, "incident_kinds": ["c_fundamental_rights"]}
EVERYTHING = everything_applies()
BREACH = EVERYTHING | {"breach": True}
SOFTWARE = EVERYTHING | {"device_law": "none", "annex_iii_points": ["5d"]}
AWARE = "2026-11-01T10:00:00+00:00"
RUN_OUT = clock("MDR-87-3", "2026-11-16T22:59:59+00:00")
LEAK: dict[str, Any] = {
    "kinds": [],
    "aware_at": None,
    "breach": True,
    "controller_aware_at": "2026-11-10T09:00:00+00:00",
}
"""A breach of personal data, and nothing else."""
FILLED = {
    "AIA-Art73-2": ("aware_at", "reported_at"),
    "AIA-Art73-4": ("death", "reported_at"),
    "AIA-Art3-49": ("affected_persons", "site", "model_version"),
    "MDR-87": ("aware_at", "type", "reported_at"),
    "GDPR-33": ("aware_at", "notified_at", "delay_reason"),
}
"""What the register of incidents fills."""
ART73 = ("AIA-Art73-10", "AIA-Art3-49", "AIA-Art73-2", "AIA-Art73-3", "AIA-Art73-4", "AIA-Art73-5", "AIA-Art73-6")


def at(dossier: Any, moment: str) -> Any:
    return dossier | {"as_of": moment}


def of(dossier: Any, key: str) -> Judgement:
    return judge(dossier).of(key)


def value(found: Judgement, name: str) -> Any:
    return next(one.value for one in found.fields if one.name == name)


@pytest.mark.parametrize("answers", [HARM, RIGHTS, BREACH], ids=["harm", "rights", "breach"])
def test_an_empty_register_says_nothing(answers: dict[str, Any]) -> None:
    """Nor does an incident of another version, however late its report is."""
    without, other = with_registers(answers), incident(RUN_OUT, version="f" * 64)
    bare = {name: part for name, part in without.items() if name != "registers"}
    for key in (*ART73, "MDR-87", "GDPR-33", "GDPR-34", "AIA-Art26-5", "AIA-Art20"):
        assert of(without, key) == of(bare, key) == of(with_registers(answers, incidents=[other]), key)


def test_the_register_fills_what_nobody_stated() -> None:
    found = of(with_registers(HARM, incidents=[incident()]), "MDR-87")
    assert (value(found, "aware_at"), value(found, "type")) == (AWARE, "serious")
    assert {(one.kind, one.href_id) for one in found.references} == {("incident", "30")}
    told = of(with_registers(HARM, incidents=[incident()]), "AIA-Art3-49")
    assert (value(told, "site"), value(told, "affected_persons"), value(told, "model_version")) == (
        "Charité Mitte",
        2,
        "1.1",
    )


def test_fifteen_days_of_vigilance_run_from_the_register() -> None:
    """MDR Art. 87(3): not later than 15 days after becoming aware. Aware on 1 November in Berlin: 16 November."""
    dossier = with_registers(HARM, incidents=[incident(RUN_OUT)])
    assert of(at(dossier, "2026-11-16T22:59:59+00:00"), "MDR-87").contradicted == ()
    late = of(at(dossier, "2026-11-16T23:00:00+00:00"), "MDR-87")
    assert late.state == "nonconform"
    assert [("incident 3" in words, "none was sent" in words) for words in late.contradicted] == [(True, True)]


def test_a_clock_that_the_register_lacks_is_worked_out_all_the_same() -> None:
    """An earlier awareness is stated than the register knows: the fifteen days run from there (MDR Art. 87(3))."""
    clocks = clock("MDR-87-3", "2026-12-16T22:59:59+00:00")
    dossier = with_registers(HARM, incidents=[incident(clocks, aware_at="2026-12-01T10:00:00+00:00")])
    dossier = stated(dossier, "MDR-87", aware_at=AWARE, type="serious", reported_at="")
    found = of(dossier, "MDR-87").contradicted
    assert any("none is stated" in words and "2026-11-16" in words for words in found)
    assert any("Aware" in words and "says" in words for words in found)


def test_a_death_runs_ten_days() -> None:
    """MDR Art. 87(5): death, not later than 10 days after awareness: 11 November."""
    dossier = with_registers(HARM, incidents=[incident(death=True)])
    found = of(dossier, "MDR-87")
    assert value(found, "type") == "death_or_deterioration"
    assert any("2026-11-11" in words and "none is stated" in words for words in found.contradicted)


def test_a_death_by_what_is_no_device_runs_ten_days_under_the_ai_act() -> None:
    """AI Act Art. 73(4): not later than 10 days after awareness, of the deployer where that is earlier: 11 November."""
    told = incident(death=True, aware_at="2026-11-09T10:00:00+00:00", deployer_aware_at=AWARE)
    found = of(with_registers(SOFTWARE, incidents=[told]), "AIA-Art73-4")
    assert value(found, "death") is True
    assert any("2026-11-11" in words and "none is stated" in words for words in found.contradicted)


@pytest.mark.parametrize(
    ("field", "said", "register", "key"),
    [
        ("aware_at", "2026-11-03T10:00:00+00:00", {}, "MDR-87"),
        ("type", "serious", {"death": True}, "MDR-87"),
        ("death", False, {"death": True}, "AIA-Art73-4"),
        ("death", True, {}, "AIA-Art73-4"),
        ("widespread", False, {"widespread": True}, "AIA-Art73-3"),
        ("affected_persons", 1, {}, "AIA-Art3-49"),
    ],
)
def test_what_is_stated_otherwise_is_contradicted(field: str, said: Any, register: dict[str, Any], key: str) -> None:
    dossier = stated(
        with_registers(SOFTWARE if key == "AIA-Art73-4" else EVERYTHING, incidents=[incident(**register)]),
        key,
        **{field: said},
    )
    found = of(dossier, key)
    assert any("incident 3 of the register" in words for words in found.contradicted), found.contradicted
    assert found.state == "nonconform"


def test_the_same_moment_in_another_zone_agrees() -> None:
    """Statements are given to the minute and in their own zone."""
    dossier = with_registers(HARM, incidents=[incident(clock("MDR-87-3", None, sent_at="2026-11-09T08:30:41+00:00"))])
    dossier = stated(
        dossier, "MDR-87", aware_at="2026-11-01T11:00:00+01:00", type="serious", reported_at="2026-11-09T09:30:00+01:00"
    )
    assert (of(dossier, "MDR-87").contradicted, of(dossier, "MDR-87").lacking) == ((), ())


def test_a_report_that_is_only_stated_has_to_be_entered() -> None:
    dossier = with_registers(HARM, incidents=[incident(RUN_OUT)])
    dossier = stated(dossier, "MDR-87", aware_at=AWARE, type="serious", reported_at="2026-11-09T09:30:00+00:00")
    found = of(dossier, "MDR-87")
    assert (found.state, found.contradicted) == ("partial", ())
    assert any("entry in the register" in words for words in found.lacking)


def test_seventy_two_hours_of_a_breach() -> None:
    """GDPR Art. 33(1): not later than 72 hours after having become aware; later with the reasons for the delay."""
    due = clock("GDPR-33", "2026-11-13T09:00:00+00:00")
    dossier = with_registers(BREACH, incidents=[incident(due, **LEAK)])
    assert of(at(dossier, "2026-11-13T09:00:00+00:00"), "GDPR-33").contradicted == ()
    found = of(at(dossier, "2026-11-13T09:00:01+00:00"), "GDPR-33")
    assert len(found.contradicted) == 1 and "none was sent" in found.contradicted[0]
    late = due | {"sent_at": "2026-11-14T09:00:00+00:00"}
    assert len(of(with_registers(BREACH, incidents=[incident(late, **LEAK)]), "GDPR-33").contradicted) == 1
    explained = late | {"delay_reason": "The log was encrypted."}
    assert of(with_registers(BREACH, incidents=[incident(explained, **LEAK)]), "GDPR-33").contradicted == ()


def test_what_is_stated_of_a_breach_is_about_the_incident_with_a_breach() -> None:
    """GDPR Art. 33(1) runs from the controller's awareness of the breach, whatever else happened later."""
    breach = incident(clock("GDPR-33", "2026-11-13T09:00:00+00:00"), id=20, number=2, **LEAK)
    dossier = with_registers(BREACH, incidents=[breach, incident()])
    found = of(dossier, "GDPR-33")
    assert value(found, "aware_at") == "2026-11-10T09:00:00+00:00"
    assert [one.href_id for one in found.references] == ["20"]
    assert [one.href_id for one in of(dossier, "MDR-87").references] == ["30"]


def test_every_incident_of_the_version_counts_and_a_closed_one_too() -> None:
    second = incident(RUN_OUT, id=40, number=4, status="closed", root_cause="x", correction="y")
    dossier = stated(
        with_registers(HARM, incidents=[incident(), second]),
        "MDR-87",
        aware_at=AWARE,
        type="serious",
        reported_at=AWARE,
    )
    assert any("incident 4" in words for words in of(dossier, "MDR-87").contradicted)


def test_a_clock_of_which_it_is_not_known_whether_it_is_owed_is_lacking_an_answer() -> None:
    unknown = RUN_OUT | {"owed": "unknown"}
    late = incident(unknown, number=2, status="closed", root_cause="x", correction="y")
    found = of(with_registers(HARM, incidents=[late, incident()]), "MDR-87")
    assert any("an answer that decides" in words for words in found.lacking)
    assert not any("incident 2" in words for words in found.contradicted)


def test_answers_that_deny_an_incident_keep_every_report_from_being_ready() -> None:
    told = incident(breach=True)
    denied = judge(with_registers(DEVICE | {"incident": False, "breach": False}, incidents=[told]))
    assert [("incident 3" in words) for words in denied.contradictions] == [True, True]
    assert not denied.ready("model_card").ready
    agreed = judge(with_registers(DEVICE | {"incident": True, "breach": True}, incidents=[told]))
    assert agreed.contradictions == ()


@pytest.mark.parametrize("answers", [EVERYTHING, SOFTWARE], ids=["device", "software"])
@pytest.mark.parametrize("status", ["open", "closed"])
def test_nothing_becomes_complete_by_an_open_incident(answers: dict[str, Any], status: str) -> None:
    """Whole matrix: accepted statements leave open what the register fills. A closed incident may complete them."""
    due = "2026-11-20T22:59:59+00:00"
    deadlines = ("AIA-73-2", "AIA-73-3", "AIA-73-4", "MDR-87-3", "MDR-87-5", "GDPR-33")
    sent = [clock(name, due, sent_at="2026-11-02T08:00:00+00:00") for name in deadlines]
    known = incident(*sent, death=True, breach=True, controller_aware_at=AWARE, status=status)
    bare, kept = with_registers(answers), with_registers(answers, incidents=[known])
    for key, names in FILLED.items():
        times = {"link_established_at": AWARE, "suspected_at": AWARE} if key.startswith("AIA-Art73") else {}
        fields = {name: at for name, at in times.items() if name in valid_fields(key)} | dict.fromkeys(names, "")
        bare, kept = stated(bare, key, **fields), stated(kept, key, **fields)
    before, after = judge(bare), judge(kept)
    gained = {
        one.requirement.id
        for one in after.items
        if one.state == "complete" and before.of(one.requirement.id).state != "complete"
    }
    assert bool(gained) == (status == "closed"), gained


def test_a_missing_report_shows_in_german_too() -> None:
    found = judge(with_registers(HARM, incidents=[incident(RUN_OUT)]), language="de").of("MDR-87")
    assert any("Vorfall 3" in words for words in found.contradicted), found.contradicted
