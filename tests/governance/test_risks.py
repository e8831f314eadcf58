"""The risk register's services: who may do what, what moves, what falls, and that nothing is half-written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification
from governance import execution_risks
from governance.execution_risks import expire_risk_acceptances
from governance.models import Risk, RiskAcceptance, RiskRating
from governance.selectors.risks import incident_of, risk_of_incident, unacceptable_risks
from governance.services import controls, risks
from governance.services.controls import drop_control
from governance.services.risks import close_risk, end_acceptance, rate_risk, record_risk, reopen_risk
from models_registry.models import AISystem
from tests.governance.incident_scene import make_scene, recorded
from tests.governance.risk_scene import (
    REPORT,
    a_risk,
    acceptable,
    accepted,
    acts,
    hand_over,
    implemented,
    now_of,
    planned,
    rated,
    register,
    system_of,
    verified,
)


def test_a_risk_that_nobody_rated_counts_as_four_by_four(people: SimpleNamespace) -> None:
    first, second = a_risk(people), a_risk(people, title="Another")
    assert [first.number, second.number] == [1, 2]
    line = register(first.system)[0]
    assert (line.before.product, line.after.product, line.band_after) == (16, 16, "Very high")
    assert unacceptable_risks(first.system) == [first, second]
    assert acts(first) == ["risk.recorded"]
    told = Notification.objects.get(recipient=people.mina, key__startswith=f"risk:{first.pk}:owner:")
    assert told.href == f"/governance/risks/{first.pk}/"


@pytest.mark.parametrize("name", ["rita", "ada"])
def test_who_works_on_no_system_records_nothing(name: str, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="may record and rate risks"):
        record_risk(system=system_of(people), report=REPORT, by=getattr(people, name))
    with pytest.raises(DeniedError, match="works on no system"):
        record_risk(system=system_of(people), report=REPORT, owner=getattr(people, name), by=people.elena)
    assert not Risk.objects.exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kind": "weather"}, "no kind of risk"),
        ({"hazard": " \n"}, "The hazard is empty"),
        ({"cause": "x" * 10_001}, "10,001 characters"),
        ({"harm": "a\0b"}, "cannot be printed"),
        ({"title": "x" * 201}, "201 characters"),
    ],
)
def test_bad_words_are_refused(given: dict[str, str], words: str, people: SimpleNamespace) -> None:
    with pytest.raises(AuscultError, match=words):
        a_risk(people, **given)
    assert not Risk.objects.exists() and not LedgerEntry.objects.exists()


def test_the_latest_rating_counts_and_the_others_stay(people: SimpleNamespace) -> None:
    risk = a_risk(people)
    rated(risk, people, "before", 2, 2)
    rated(risk, people, "before", 3, 4)
    line = register(risk.system)[0]
    assert (line.before.severity, line.before.likelihood, line.band_before) == (3, 4, "Very high")
    assert RiskRating.objects.filter(risk=risk).count() == 2
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        RiskRating.objects.filter(risk=risk).update(severity=1)


@pytest.mark.parametrize(("severity", "likelihood", "stage"), [(0, 2, "before"), (2, 5, "after"), (2, 2, "later")])
def test_ratings_off_the_scale_are_refused(severity: int, likelihood: int, stage: str, people: SimpleNamespace) -> None:
    risk = a_risk(people)
    with pytest.raises(AuscultError, match=r"no rating|no stage"):
        rate_risk(risk=risk, stage=stage, severity=severity, likelihood=likelihood, reason="So.", by=people.elena)
    with pytest.raises(IntegrityError), transaction.atomic():
        RiskRating.objects.create(
            risk=risk, stage="before", severity=5, likelihood=1, reason="So.", rated_by=people.elena
        )


def test_a_planned_measure_lowers_nothing_until_somebody_else_verified_it(people: SimpleNamespace) -> None:
    risk = a_risk(people)
    rated(risk, people, "before", 4, 3)
    control = planned(risk, people)
    rated(risk, people, "after", 1, 1)
    line = register(risk.system)[0]
    assert (line.after.product, line.lowered_without_control, line.n_verified, line.n_controls) == (12, True, 0, 1)
    control = implemented(control, people.elena)
    assert register(risk.system)[0].after.product == 12
    controls.verify_control(control=control, verification="Read the release.", by=people.amir)
    line = register(risk.system)[0]
    assert (line.after.product, line.lowered_without_control, line.n_verified) == (1, False, 1)
    assert unacceptable_risks(risk.system) == []
    drop_control(control=control, reason="It was taken out of version 1.2.", by=people.mina)
    line = register(risk.system)[0]
    assert (line.after.product, line.lowered_without_control, line.n_controls) == (12, True, 0)
    assert unacceptable_risks(risk.system) == [risk]


def test_closing_needs_a_verified_control_little_that_remains_and_another_person(people: SimpleNamespace) -> None:
    risk = a_risk(people)
    for person, words in ((people.elena, "You opened"), (people.mina, "You own"), (people.tom, "may close a risk")):
        with pytest.raises(DeniedError, match=words):
            close_risk(risk=risk, reason="Solved.", hazard_gone=True, by=person)
    with pytest.raises(ConflictError, match="No control of this risk is verified"):
        close_risk(risk=risk, reason="Solved.", by=people.amir)
    rated(risk, people, "before", 4, 3)
    verified(risk, people)
    rated(risk, people, "after", 4, 2)
    with pytest.raises(ConflictError, match=r"What remains is high \(4 by 2\)"):
        close_risk(risk=risk, reason="Solved.", by=people.amir)
    rated(risk, people, "after", 2, 1)
    found = close_risk(risk=risk, reason="Solved.", by=people.amir)
    assert (found.status, found.closed_by, found.closing_reason) == ("closed", people.amir, "Solved.")
    assert unacceptable_risks(risk.system) == []


def test_a_hazard_that_is_gone_closes_whatever_remains(people: SimpleNamespace) -> None:
    risk = a_risk(people)
    close_risk(risk=risk, reason="The label was taken out.", hazard_gone=True, by=people.amir)
    assert now_of(risk).status == Risk.Status.CLOSED
    assert '"hazard_gone":true' in LedgerEntry.objects.get(act="risk.closed").body


def test_closing_ends_an_acceptance_and_opening_again_does_not_bring_it_back(people: SimpleNamespace) -> None:
    risk = acceptable(people)
    accepted(risk, people.clara)
    close_risk(risk=risk, reason="Solved.", by=people.amir)
    assert not RiskAcceptance.objects.filter(ended_at__isnull=True).exists()
    found = reopen_risk(risk=risk, reason="It was seen again.", by=people.tom)
    assert (found.status, found.closed_by, found.closed_at) == ("open", None, None)
    assert acts(risk)[-3:] == ["risk.acceptance_ended", "risk.closed", "risk.reopened"]
    with pytest.raises(ConflictError, match="is not closed"):
        reopen_risk(risk=risk, reason="Again.", by=people.tom)


def test_nothing_is_done_to_a_closed_risk_but_opening_it(people: SimpleNamespace) -> None:
    risk = a_risk(people)
    control, second = implemented(planned(risk, people), people.elena), planned(risk, people)
    close_risk(risk=risk, reason="Gone.", hazard_gone=True, by=people.amir)
    before = LedgerEntry.objects.count()
    tries: list[Callable[[], object]] = [
        lambda: rated(risk, people, "before", 1, 1),
        lambda: hand_over(risk, people.tom, people.clara),
        lambda: planned(risk, people),
        lambda: implemented(second, people.elena),
        lambda: controls.verify_control(control=control, verification="Seen.", by=people.amir),
        lambda: drop_control(control=control, reason="Gone.", by=people.mina),
        lambda: close_risk(risk=risk, reason="Gone.", hazard_gone=True, by=people.amir),
        lambda: accepted(risk, people.clara),
    ]
    for act in tries:
        with pytest.raises(ConflictError, match="is closed"):
            act()
    assert LedgerEntry.objects.count() == before


def test_the_table_of_states_is_whole_and_every_step_is_conditional(people: SimpleNamespace) -> None:
    assert set(risks.TRANSITIONS) == set(Risk.Status.values)
    risk = a_risk(people)
    stale = Risk.objects.select_related("system").get(pk=risk.pk)
    close_risk(risk=risk, reason="Gone.", hazard_gone=True, by=people.amir)
    with pytest.raises(ConflictError, match="changed meanwhile"), transaction.atomic():
        execution_risks.move_risk(stale, Risk.Status.ACCEPTED)


@pytest.mark.parametrize(
    "given",
    [{"number": 1}, {"hazard": ""}, {"cause": ""}, {"harm": ""}, {"title": ""}, {"finding_key": "tpr|sex"}],
    ids=["number", "hazard", "cause", "harm", "title", "finding"],
)
def test_the_database_refuses_half_a_risk_and_one_that_is_there(given: dict[str, Any], people: SimpleNamespace) -> None:
    known = a_risk(people)
    Risk.objects.filter(pk=known.pk).update(finding_key="tpr|sex")
    facts = {
        "system": known.system,
        "number": 2,
        "kind": "bias",
        "title": "t",
        "hazard": "h",
        "cause": "c",
        "harm": "x",
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        Risk.objects.create(**(facts | given))
    Risk.objects.create(**facts)


def _all_acts(people: SimpleNamespace) -> dict[str, Callable[[], object]]:
    """Every act of the register, each on a risk that is ready for it."""
    fresh, ready, done = a_risk(people), acceptable(people), acceptable(people)
    accepted(done, people.clara)
    control, made = planned(fresh, people), implemented(planned(fresh, people), people.elena)
    closed = a_risk(people)
    close_risk(risk=closed, reason="Gone.", hazard_gone=True, by=people.amir)
    later = timezone.now() + timedelta(days=400)
    return {
        "record": lambda: a_risk(people),
        "rate": lambda: rated(done, people, "after", 1, 1),
        "owner": lambda: hand_over(fresh, people.tom, people.clara),
        "accept": lambda: accepted(ready, people.clara),
        "end": lambda: end_acceptance(risk=done, reason="So.", by=people.dora),
        "close": lambda: close_risk(risk=done, reason="So.", by=people.amir),
        "reopen": lambda: reopen_risk(risk=closed, reason="So.", by=people.amir),
        "plan": lambda: planned(fresh, people),
        "implement": lambda: implemented(control, people.elena),
        "verify": lambda: controls.verify_control(control=made, verification="Seen.", by=people.amir),
        "drop": lambda: drop_control(control=done.controls.get(), reason="So.", by=people.mina),
        "expire": lambda: expire_risk_acceptances(now=later),
    }


def _state() -> list[Any]:
    """Everything that an act of the register writes."""
    models = (Risk, RiskRating, RiskAcceptance, controls.Control, Notification, LedgerEntry)
    return [list(model.objects.order_by("pk").values()) for model in models]


NAMES = ("record", "rate", "owner", "accept", "end", "close", "reopen", "plan", "implement", "verify", "drop", "expire")


@pytest.mark.parametrize("name", NAMES)
def test_an_act_whose_ledger_entry_fails_leaves_nothing_behind(
    name: str, people: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = _all_acts(people)
    assert set(every) == set(NAMES)
    before = _state()

    def broken(**_: Any) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "record", broken)
        with pytest.raises(RuntimeError, match="the disk is full"), transaction.atomic():
            every[name]()
        assert _state() == before
    every[name]()
    assert _state() != before and ledger.verify().intact


def test_an_incident_opens_one_risk_and_both_know_it(people: SimpleNamespace) -> None:
    scene = make_scene(people)
    incident = recorded(scene)
    risk = record_risk(system=scene.system, report=REPORT, incident=incident, by=people.elena)
    assert (risk.origin, risk.opened_by) == ("incident", people.elena)
    assert (risk_of_incident(incident), incident_of(risk)) == (risk, incident)
    assert f'"incident":{incident.number}' in LedgerEntry.objects.get(act="risk.recorded").body
    assert incident.events.latest("pk").text == "Risk 1 of the register was opened because of it."
    with pytest.raises(ConflictError, match="has opened risk 1 already"):
        record_risk(system=scene.system, report=REPORT, incident=incident, by=people.elena)
    elsewhere = AISystem.objects.create(name="Other", slug="other", intended_purpose="x", created_by=people.elena)
    with pytest.raises(ConflictError, match="of another system"):
        record_risk(system=elsewhere, report=REPORT, incident=recorded(scene), by=people.elena)
    plain = record_risk(system=scene.system, report=REPORT, by=people.elena)
    assert (plain.origin, incident_of(plain), Risk.objects.count()) == ("person", None, 2)
