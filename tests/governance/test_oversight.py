"""Measures of human oversight, and the register of overrides with its signals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification, Role, RoleGrant, User
from evaluation.models import Measurement
from governance.execution_deployments import tell_of_marks
from governance.models import OversightMeasure
from governance.selectors.deployments import rows_of
from governance.selectors.oversight import (
    errors_of,
    limbs_of,
    measures_of,
    override_rates,
    rates_by_site,
    register,
    totals_of,
)
from governance.services.overrides import OutputItem, OverrideItem, record_outputs, record_overrides
from governance.services.oversight import end_measure, record_measure, verify_measure
from models_registry.models import AISystem, Deployment
from tests.governance.deployment_scene import acts_since, approved, began, put

TEXT = "The radiologist sees the heat map beside the image and may switch it off."
SEEN = "Watched two reading sessions at North Hospital; the switch works."
OVER = "The viewer was replaced, and the heat map is not shown any more."


@pytest.fixture
def system(people: SimpleNamespace) -> AISystem:
    return AISystem.objects.create(name="Chest", slug="chest", intended_purpose="Finds.", created_by=people.elena)


@pytest.fixture
def record(people: SimpleNamespace, system: AISystem) -> Callable[..., OversightMeasure]:
    def make(**given: Any) -> OversightMeasure:
        facts = {"system": system, "limb": "c", "kind": "built_in", "text": TEXT, "role": "radiologist",
                 "moment": "while reading", "responsible": people.lea, "by": people.elena}  # fmt: skip
        return record_measure(**facts | given)

    return make


def test_a_measure_counts_when_another_has_verified_it(
    record: Callable[..., OversightMeasure], system: AISystem, people: SimpleNamespace
) -> None:
    before = LedgerEntry.objects.count()
    measure = record()
    limbs = {row.limb: row for row in limbs_of(measures_of(system))}
    assert [row.missing == "" for row in limbs.values()] == [False] * 5
    assert "nobody has verified" in limbs["c"].missing and limbs["a"].missing == "No measure is recorded."
    verify_measure(measure=measure, verification=SEEN, by=people.clara)
    assert (measure.verified_by, measure.verified_on) == (people.clara, timezone.localdate())
    assert [row.limb for row in limbs_of(measures_of(system)) if not row.missing] == ["c"]
    end_measure(measure=measure, reason=OVER, by=people.lea)
    assert measures_of(system) == [] and measure.ending == OVER
    assert acts_since(before) == ["measure.recorded", "measure.verified", "measure.ended"]
    assert all(TEXT not in row.body and SEEN not in row.body for row in LedgerEntry.objects.all())


def test_neither_recorder_nor_responsible_verifies(
    record: Callable[..., OversightMeasure], people: SimpleNamespace
) -> None:
    measure = record(by=people.amir)
    twin = User.objects.create(username="amir2", merged_into=people.amir)
    RoleGrant.objects.create(user=twin, role=Role.COMMITTEE_CHAIR)
    for who, says in ((people.amir, "You recorded"), (twin, "You recorded"), (people.lea, "You answer for"),
                      (people.mina, "Only people with the role"), (people.rita, "Only people")):  # fmt: skip
        with pytest.raises(DeniedError, match=says):
            verify_measure(measure=measure, verification=SEEN, by=who)
    for who in (people.amir, people.lea):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows = OversightMeasure.objects.filter(pk=measure.pk)
            rows.update(verified_by=who, verified_on=date(2026, 1, 1), verification=SEEN)
    verify_measure(measure=measure, verification=SEEN, by=people.clara)
    with pytest.raises(ConflictError, match="verified or ended already"):
        verify_measure(measure=measure, verification=SEEN, by=people.dora)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text": "too short"}, "needs 20"),
        ({"text": "x" * 4001}, "needs 20"),
        ({"limb": "f"}, "none of the choices"),
        ({"kind": "magic"}, "none of the choices"),
        ({"role": " "}, "role that carries it out is empty"),
        ({"moment": "x" * 201}, "200 are the most"),
        ({"site": "x" * 201}, "site has 201"),
        ({"text": "a text with a\0 character of none"}, "cannot be printed"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    record: Callable[..., OversightMeasure], given: dict[str, Any], says: str
) -> None:
    with pytest.raises(AuscultError, match=says):
        record(**given)
    assert not OversightMeasure.objects.exists()


def test_who_records_and_who_answers(record: Callable[..., OversightMeasure], people: SimpleNamespace) -> None:
    for who in (people.rita, people.ada):
        with pytest.raises(DeniedError):
            record(by=who)
        with pytest.raises(ConflictError, match="has no role"):
            record(responsible=who)
    measure = record()
    for who in (people.tom, people.rita):
        with pytest.raises(DeniedError):
            end_measure(measure=measure, reason=OVER, by=who)
    with pytest.raises(ConflictError, match="in the future"):
        verify_measure(measure=measure, verification=SEEN, by=people.clara, verified_on=date(2099, 1, 1))
    end_measure(measure=measure, reason=OVER, by=people.elena)
    with pytest.raises(ConflictError, match="ended already"):
        end_measure(measure=measure, reason=OVER, by=people.elena)
    with pytest.raises(ConflictError, match="verified or ended already"):
        verify_measure(measure=measure, verification=SEEN, by=people.clara)


@pytest.mark.parametrize("name", ["record", "verify", "end"])
def test_an_act_without_its_entry_does_not_happen(
    record: Callable[..., OversightMeasure], people: SimpleNamespace, monkeypatch: Any, name: str
) -> None:
    measure = record()
    acts: dict[str, Callable[[], Any]] = {
        "record": record,
        "verify": lambda: verify_measure(measure=measure, verification=SEEN, by=people.clara),
        "end": lambda: end_measure(measure=measure, reason=OVER, by=people.lea),
    }

    def broken(**_: Any) -> None:
        raise RuntimeError("the ledger is not there")

    before = list(OversightMeasure.objects.values())
    monkeypatch.setattr(ledger, "record", broken)
    with pytest.raises(RuntimeError), transaction.atomic():
        acts[name]()
    assert list(OversightMeasure.objects.values()) == before


# ---- Overrides


@pytest.fixture
def deployment(people: SimpleNamespace, home: Path) -> Deployment:
    with began(400):
        return put(approved(people, home), people.clara)


def report(row: Deployment, by: User, *, overrides: int, outputs: int, days: int = 3, **group: str) -> None:
    moment = timezone.now() - timedelta(days=days)
    if outputs:
        record_outputs(deployment=row, items=[OutputItem(day=moment.date(), n=outputs, group=group)], by=by)
    items = [
        OverrideItem(key=f"{days}-{group}-{number}", happened_at=moment, action="changed",
                     reason="false_positive" if number % 3 else "poor_input", group=group)
        for number in range(overrides)
    ]  # fmt: skip
    if items:
        record_overrides(deployment=row, items=items, by=by)


def measure_accuracy(row: Deployment, *values: float) -> None:
    run = row.version.reviews.get().run
    for place, value in enumerate(values):
        names = {"suite": "fairness", "metric": "accuracy", "label": f"l{place}", "attribute": "All", "group": "All"}
        interval = {"value": value, "low": value - 0.01, "high": value + 0.01}
        Measurement.objects.create(run=run, position=place, **names, **interval)


def test_rates_by_group_and_in_all(deployment: Deployment, people: SimpleNamespace) -> None:
    report(deployment, people.lea, overrides=20, outputs=200, sex="F", age_band="60-79")
    report(deployment, people.lea, overrides=5, outputs=100, sex="M", age_band="60-79")
    report(deployment, people.lea, overrides=1, outputs=9, sex="M", age_band=">=80")
    found = override_rates(deployment)
    assert (found.total.overrides, found.total.outputs, found.total.value) == (26, 309, pytest.approx(26 / 309))
    assert [(rate.name, rate.overrides, rate.outputs) for rate in found.groups["sex"]] == [
        ("F", 20, 200),
        ("M", 6, 109),
    ]
    assert [(rate.name, rate.outputs) for rate in found.groups["age_band"]] == [("60-79", None), (">=80", None)]
    assert dict(found.reasons) == {"It saw what is not there": 16, "Poor image or missing data": 10}
    assert found.mark is None and "No audit" in found.not_compared
    assert totals_of([deployment]) == {deployment.pk: (26, 309)}
    assert rows_of([deployment])[0].rate.value == pytest.approx(26 / 309)
    assert register(deployment.version.system)[-1]["overrides"] == 26


def test_one_case_counts_once(deployment: Deployment, people: SimpleNamespace) -> None:
    moment = timezone.now() - timedelta(days=1)
    facts = {"happened_at": moment, "action": "changed", "reason": "other"}
    items = [OverrideItem(key=str(number), study_id=study, **facts) for number, study in enumerate("AABC")]
    items += [OverrideItem(key=f"loose-{number}", **facts) for number in range(2)]
    record_overrides(deployment=deployment, items=items, by=people.lea)
    record_outputs(deployment=deployment, items=[OutputItem(day=moment.date(), n=50)], by=people.lea)
    assert override_rates(deployment).total.overrides == 5
    assert totals_of([deployment])[deployment.pk] == (5, 50)


def test_months_and_the_window(deployment: Deployment, people: SimpleNamespace) -> None:
    now = timezone.now().replace(day=15, hour=12) - timedelta(days=30)
    recent, early = now - timedelta(days=20), now - timedelta(days=200)
    for day, overrides in ((early, 30), (recent, 2)):
        record_outputs(deployment=deployment, items=[OutputItem(day=day.date(), n=100)], by=people.lea)
        items = [
            OverrideItem(key=f"{day}-{number}", happened_at=day, action="stopped", reason="other")
            for number in range(overrides)
        ]
        record_overrides(deployment=deployment, items=items, by=people.lea)
    found = override_rates(deployment, now=now)
    assert [(rate.name, rate.overrides, rate.outputs) for rate in found.months] == [
        (f"{recent:%Y-%m}", 2, 100),
        (f"{early:%Y-%m}", 30, 100),
    ]
    assert (found.recent.overrides, found.recent.outputs, found.total.overrides) == (2, 100, 32)


def test_the_error_rate_is_that_of_the_newest_audit(deployment: Deployment) -> None:
    assert errors_of([deployment.version_id]) == {}
    measure_accuracy(deployment, 0.9, 0.95)
    found = errors_of([deployment.version_id])[deployment.version_id]
    assert (found.low, found.high) == pytest.approx((0.09, 0.11 + 0.06))


def test_no_overrides_at_all_is_told_once_a_month(deployment: Deployment, people: SimpleNamespace) -> None:
    measure_accuracy(deployment, 0.9)
    report(deployment, people.lea, overrides=0, outputs=200)
    cache.clear()
    assert tell_of_marks() == 0
    report(deployment, people.lea, overrides=0, outputs=400, days=4)
    assert tell_of_marks() == 0  # It looked within the hour.
    cache.clear()
    assert tell_of_marks() == 1
    rows = Notification.objects.filter(key__startswith="override-mark:")
    assert {row.recipient.username for row in rows} == {"clara", "lea", "amir"}
    assert {row.title for row in rows} == {"Automation bias suspected: Chest model 1.0 at North Hospital"}
    cache.clear()
    assert tell_of_marks() == 0


def test_sites_are_hidden_as_groups_are(people: SimpleNamespace, home: Path) -> None:
    version = approved(people, home)
    with began(20):
        sites = {name: put(version, people.clara, name) for name in ("North", "South", "East")}
    for name, (overrides, outputs) in {"North": (9, 100), "South": (1, 8)}.items():
        report(sites[name], people.lea, overrides=overrides, outputs=outputs)
    rates = {rate.name: rate for rate in rates_by_site(version.system)}
    assert rates["North"].outputs is None  # The total less North would be South.
    assert (rates["South"].overrides, rates["South"].outputs) == (None, None)
    assert (rates["East"].value, rates["East"].outputs) == (None, 0)
