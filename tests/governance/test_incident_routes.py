"""Where an incident is reported and until when: deadlines worked out by hand, in the calendar of the place."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuscultError
from governance.applicability import IncidentFacts, Route, Truth, incident_routes
from governance.incident_routes import due_at
from governance.requirements import load_requirements
from tests.governance.example_answers import Answers, device, triage_device

CATALOGUE = load_requirements()
BERLIN = ZoneInfo("Europe/Berlin")
HEALTH, INFRASTRUCTURE, RIGHTS = "a_health", "b_infrastructure", "c_fundamental_rights"
AWARE = dt.datetime(2028, 9, 1, 16, 20, tzinfo=BERLIN)  # a Friday
SOFTWARE = triage_device(device_law="none")
"""High-risk by Annex III and no device."""


def berlin(month: int, day: int, hour: int, minute: int, second: int = 0, *, year: int = 2028) -> dt.datetime:
    return dt.datetime(year, month, day, hour, minute, second, tzinfo=BERLIN)


def routed(answers: Answers, **facts: Any) -> dict[str, Route]:
    incident = IncidentFacts(**{"aware_at": AWARE, **facts})
    return {route.deadline: route for route in incident_routes(answers, incident, CATALOGUE)}


# ---- Which regime


def test_harm_by_a_device_goes_through_mdr_and_not_through_the_ai_act() -> None:
    """Art. 73(10) of the AI Act; MDR Art. 87(3): 15 days. Friday 1 September and 15 days is Saturday 16 September."""
    found = routed(device(), kinds=(HEALTH,))
    assert set(found) == {"MDR-87-3"}
    assert found["MDR-87-3"].due_at == berlin(9, 16, 23, 59, 59)
    assert found["MDR-87-3"].owed is Truth.YES
    assert "Art. 73(10)" in found["MDR-87-3"].reason


def test_an_infringement_of_rights_by_a_device_goes_through_the_ai_act_alone() -> None:
    found = routed(device(), kinds=(RIGHTS,))
    assert set(found) == {"AIA-73-2"}
    assert found["AIA-73-2"].due_at == berlin(9, 16, 23, 59, 59)


def test_harm_and_infringement_by_a_device_are_reported_to_both() -> None:
    assert set(routed(device(), kinds=(HEALTH, RIGHTS))) == {"AIA-73-2", "MDR-87-3"}


def test_a_death_by_a_device_has_ten_days_under_mdr_and_no_clock_of_its_own_under_the_ai_act() -> None:
    """MDR Art. 87(5). Ten days from 1 September: 11 September."""
    found = routed(device(), kinds=(HEALTH,), death=True)
    assert {key: route.due_at for key, route in found.items()} == {"MDR-87-5": berlin(9, 11, 23, 59, 59)}
    assert set(routed(device(), kinds=(HEALTH, RIGHTS), death=True)) == {"AIA-73-2", "MDR-87-5"}


def test_an_unanticipated_deterioration_has_ten_days_and_a_public_health_threat_two() -> None:
    """MDR Art. 87(5) and 87(4), which some sources swap."""
    assert set(routed(device(), kinds=(HEALTH,), unanticipated_deterioration=True)) == {"MDR-87-5"}
    found = routed(device(), kinds=(HEALTH,), public_health_threat=True, death=True)
    assert {key: route.due_at for key, route in found.items()} == {"MDR-87-4": berlin(9, 3, 23, 59, 59)}


def test_a_disruption_of_infrastructure_by_a_device_is_reported_only_with_an_infringement_of_rights() -> None:
    assert routed(device(), kinds=(INFRASTRUCTURE,)) == {}
    assert set(routed(device(), kinds=(INFRASTRUCTURE, RIGHTS))) == {"AIA-73-3"}


@pytest.mark.parametrize(
    ("facts", "due"),
    [
        ({"kinds": (HEALTH,)}, {"AIA-73-2": berlin(9, 16, 23, 59, 59)}),
        ({"kinds": (HEALTH,), "death": True}, {"AIA-73-4": berlin(9, 11, 23, 59, 59)}),
        ({"kinds": (INFRASTRUCTURE,)}, {"AIA-73-3": berlin(9, 3, 23, 59, 59)}),
        ({"kinds": (RIGHTS,), "widespread": True}, {"AIA-73-3": berlin(9, 3, 23, 59, 59)}),
        ({"kinds": (RIGHTS,)}, {"AIA-73-2": berlin(9, 16, 23, 59, 59)}),
        ({"kinds": ()}, {}),
    ],
)
def test_without_a_device_every_kind_runs_under_art_73(facts: dict[str, Any], due: dict[str, dt.datetime]) -> None:
    """Art. 73(2), (3) and (4). Two days are for widespread infringements and infrastructure, not for deaths."""
    assert {key: route.due_at for key, route in routed(SOFTWARE, **facts).items()} == due


def test_an_ivdr_device_reports_under_ivdr() -> None:
    answers = device(device_law="ivdr", mdr_class=None, ivdr_class="C")
    found = routed(answers, kinds=(HEALTH,), death=True)
    assert {key: route.regime for key, route in found.items()} == {"IVDR-82-5": "IVDR"}


def test_who_is_neither_provider_nor_manufacturer_owes_none_of_these_reports() -> None:
    deployer = triage_device(role="deployer", art_25_changes=["none"], manufacturer=False)
    assert routed(deployer, kinds=(HEALTH, RIGHTS), death=True) == {}


def test_a_system_that_is_not_high_risk_owes_no_report_under_the_ai_act() -> None:
    assert routed(device(mdr_class="I", class_i_notified_body=False), kinds=(RIGHTS,)) == {}


def test_what_is_not_known_is_told_with_its_clock_and_the_open_questions() -> None:
    found = routed(device(device_law=None), kinds=(HEALTH,))
    assert {route.owed for route in found.values()} == {Truth.UNKNOWN}
    assert set(found) == {"AIA-73-2", "MDR-87-3", "IVDR-82-3"}
    assert found["AIA-73-2"].due_at == berlin(9, 16, 23, 59, 59)
    assert "device_law" in found["MDR-87-3"].questions
    assert "“Law on devices”" in found["MDR-87-3"].reason


# ---- Breaches


def test_a_breach_has_72_hours_from_the_awareness_of_the_controller() -> None:
    """GDPR Art. 33(1) and 34(1)."""
    facts = {"breach": True, "aware_at": None, "controller_aware_at": AWARE}
    found = routed(device(), **facts)
    assert {key: route.due_at for key, route in found.items()} == {"GDPR-33": berlin(9, 4, 16, 20)}
    assert set(routed(device(), **facts, breach_risk="high")) == {"GDPR-33", "GDPR-34"}
    assert routed(device(), **facts, breach_risk="high")["GDPR-34"].due_at is None
    assert routed(device(), **facts, breach_risk="unlikely") == {}
    assert routed(device(data_role="processor"), **facts) == {}


def test_the_most_urgent_report_comes_first() -> None:
    incident = IncidentFacts(
        kinds=(HEALTH,), aware_at=AWARE, breach=True, breach_risk="high", controller_aware_at=AWARE
    )
    assert [route.deadline for route in incident_routes(device(), incident, CATALOGUE)] == [
        *("GDPR-33", "MDR-87-3", "GDPR-34")
    ]


# ---- Clocks


@pytest.mark.parametrize(
    ("aware", "due"),
    [
        # A weekend is no reason to stop: Friday 18:00 to Monday 18:00.
        (berlin(9, 1, 18, 0), berlin(9, 4, 18, 0)),
        # Clocks go forward on Sunday 28 March 2027: 72 hours later the clock shows an hour more.
        (berlin(3, 26, 18, 0, year=2027), berlin(3, 29, 19, 0, year=2027)),
        # Clocks go back on Sunday 25 October 2026: an hour less.
        (berlin(10, 23, 18, 0, year=2026), berlin(10, 26, 17, 0, year=2026)),
        # 2028 is a leap year.
        (berlin(2, 28, 0, 30), berlin(3, 2, 0, 30)),
    ],
)
def test_72_hours_are_exact(aware: dt.datetime, due: dt.datetime) -> None:
    found = due_at(CATALOGUE.deadlines["GDPR-33"], aware)
    assert found == due
    assert found is not None
    assert found.replace(tzinfo=None) == due.replace(tzinfo=None), "told in the clock of the place"


@given(aware=st.integers(1_700_000_000, 2_100_000_000).map(lambda second: dt.datetime.fromtimestamp(second, BERLIN)))
def test_72_hours_are_259200_seconds_whatever_the_clocks_do(aware: dt.datetime) -> None:
    due = due_at(CATALOGUE.deadlines["GDPR-33"], aware)
    assert due is not None
    assert due.timestamp() - aware.timestamp() == 259_200


@pytest.mark.parametrize(
    ("aware", "days", "due"),
    [
        # The minute of the day does not matter.
        (berlin(9, 1, 0, 0), "MDR-87-3", berlin(9, 16, 23, 59, 59)),
        (berlin(9, 1, 23, 59), "MDR-87-3", berlin(9, 16, 23, 59, 59)),
        # Over the change to summer time on 28 March 2027.
        (berlin(3, 20, 23, 30, year=2027), "MDR-87-5", berlin(3, 30, 23, 59, 59, year=2027)),
        # Over the end of the year, with its holidays.
        (berlin(12, 24, 12, 0, year=2026), "AIA-73-2", berlin(1, 8, 23, 59, 59, year=2027)),
        # Over 29 February 2028.
        (berlin(2, 20, 12, 0), "AIA-73-2", berlin(3, 6, 23, 59, 59)),
        # Friday and two days is Sunday: never moved to Monday.
        (berlin(9, 1, 12, 0), "AIA-73-3", berlin(9, 3, 23, 59, 59)),
    ],
)
def test_days_are_calendar_days_of_the_place(aware: dt.datetime, days: str, due: dt.datetime) -> None:
    assert due_at(CATALOGUE.deadlines[days], aware) == due


def test_the_day_of_awareness_is_that_of_the_zone() -> None:
    """22:30 UTC on 1 September is 0:30 on 2 September in Berlin."""
    aware = dt.datetime(2028, 9, 1, 22, 30, tzinfo=dt.UTC)
    found = routed(device(), kinds=(HEALTH,), aware_at=aware, zone=BERLIN)
    assert found["MDR-87-3"].due_at == berlin(9, 17, 23, 59, 59)
    assert due_at(CATALOGUE.deadlines["MDR-87-3"], aware) == dt.datetime(2028, 9, 16, 23, 59, 59, tzinfo=dt.UTC)


def test_the_earlier_awareness_starts_the_clock_of_the_ai_act_and_not_that_of_mdr() -> None:
    """Art. 73(2): provider "or, where applicable, the deployer"; MDR Art. 87(3): the manufacturer."""
    sooner = berlin(8, 28, 9, 0)
    found = routed(device(), kinds=(HEALTH, RIGHTS), deployer_aware_at=sooner)
    assert found["AIA-73-2"].due_at == berlin(9, 12, 23, 59, 59)
    assert found["MDR-87-3"].due_at == berlin(9, 16, 23, 59, 59)
    later = routed(SOFTWARE, kinds=(RIGHTS,), deployer_aware_at=berlin(9, 5, 9, 0))
    assert later["AIA-73-2"].due_at == berlin(9, 16, 23, 59, 59)


def test_without_awareness_there_is_a_report_and_no_clock() -> None:
    found = routed(device(), kinds=(HEALTH,), aware_at=None)
    assert found["MDR-87-3"].due_at is None


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"aware_at": dt.datetime(2028, 9, 1, 9, 0)}, "no time zone"),  # noqa: DTZ001
        ({"kinds": ("a",)}, "'a'"),
        ({"breach_risk": "some"}, "'some'"),
    ],
)
def test_facts_that_cannot_be_are_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(AuscultError, match=message):
        IncidentFacts(**facts)
