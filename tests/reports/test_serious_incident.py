"""The incident report: regimes by Art. 73(10), clocks worked out by hand, in UTC and in the Member State's zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from governance.member_states import ZONES, zone_of
from governance.reports.base import Draft
from governance.reports.incident_clocks import local
from governance.reports.serious_incident import SeriousIncident
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers
from tests.reports.scenes import context_of
from tests.reports.stated_scenes import HARM, INCIDENT, make_statements

RIGHTS = {"incident": True, "incident_kinds": ["c_fundamental_rights"]}


def draft(scene: dict[str, dict[str, Any]] | None = None, **answers: Any) -> Draft:
    evidence = make_evidence("fail")
    told = INCIDENT if scene is None else scene
    context = context_of(evidence, statements=make_statements(told), answers=make_answers(**(answers or HARM)))
    return SeriousIncident().draft(evidence, context)


def clocks(document: Draft) -> dict[str, dict[str, Any]]:
    return {clock["deadline"]: clock for clock in document.data["content"]["clocks"]}


def told(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scene with fields of some requirements changed; keys have underscores for hyphens."""
    scene = {key: dict(fields) for key, fields in INCIDENT.items()}
    for name, fields in changes.items():
        key = name.replace("_", "-")
        scene[key] = scene.get(key, {}) | fields
    return scene


def cover(document: Draft) -> str:
    return document.html.split("</section>")[0]


def test_harm_by_a_device_goes_to_vigilance_and_not_to_the_ai_act() -> None:
    """Art. 73(10) AI Act: of a device only limb (c) of Art. 3(49) is reported under it."""
    assert {clock["regime"] for clock in clocks(draft()).values()} == {"MDR", "GDPR"}


def test_a_death_runs_ten_days_and_a_breach_72_hours() -> None:
    """MDR Art. 87(5): aware on 20 November, which is not counted, so the tenth day is 30 November, to its end in
    Berlin (CET, an hour before UTC). GDPR Art. 33(1): 21 November 21:15 UTC and 72 hours."""
    found = clocks(draft())
    assert found["MDR-87-5"]["due_at"] == "2026-11-30T22:59:59+00:00"
    assert found["GDPR-33"]["due_at"] == "2026-11-24T21:15:00+00:00"
    assert found["MDR-87-5"]["late"] is False
    assert list(found) == ["GDPR-33", "MDR-87-5"]


def test_due_times_are_printed_in_utc_and_in_local_time() -> None:
    table = draft().html.split("<b>Deadlines.</b>")[1].split("</table>")[0]
    assert "30 Nov 2026 22:59 UTC" in table
    assert "30 Nov 2026 23:59 CET (Europe/Berlin)" in table
    assert "in time" in table


def test_a_serious_incident_without_death_runs_fifteen_days() -> None:
    """MDR Art. 87(3): the fifteenth day after 20 November is 5 December."""
    found = clocks(draft(told(MDR_87={"type": "serious"})))
    assert found["MDR-87-3"]["due_at"] == "2026-12-05T22:59:59+00:00"


def test_a_public_health_threat_runs_two_days() -> None:
    """MDR Art. 87(4): the second day after 20 November is 22 November."""
    found = clocks(draft(told(MDR_87={"type": "public_health_threat"})))
    assert found["MDR-87-4"]["due_at"] == "2026-11-22T22:59:59+00:00"


def test_the_day_of_awareness_is_that_of_the_member_state() -> None:
    """23:30 UTC on 1 November is already 2 November in Berlin: fifteen days end with 17 November there."""
    scene = told(MDR_87={"type": "serious", "aware_at": "2026-11-01T23:30:00+00:00"})
    assert clocks(draft(scene))["MDR-87-3"]["due_at"] == "2026-11-17T22:59:59+00:00"


def test_hours_run_over_the_change_of_the_clocks() -> None:
    """Summer time ended on 25 October 2026: 72 hours after noon on the 24th it is 11 o'clock."""
    scene = told(GDPR_33={"aware_at": "2026-10-24T12:00:00+02:00", "notified_at": "2026-10-27T11:30:00+01:00"})
    document = draft(scene)
    clock = clocks(document)["GDPR-33"]
    assert clock["due_at"] == "2026-10-27T10:00:00+00:00"
    assert clock["late"] is True
    assert "A deadline has passed" in cover(document)
    assert "27 Oct 2026 11:00 CET (Europe/Berlin)" in document.html


def test_rights_of_a_device_are_reported_under_the_ai_act_from_the_earlier_awareness() -> None:
    """Art. 73(2): fifteen days from when the provider or, where applicable, the deployer became aware. The deployer
    did on 15 November: the fifteenth day is 30 November."""
    scene = told(
        AIA_Art73_10={"incident_category": "c_fundamental_rights"},
        AIA_Art73_2={"aware_at": "2026-11-20T10:00:00+01:00"},
        AIA_Art26_5={"detected_at": "2026-11-15T10:00:00+01:00"},
        MDR_87={"aware_at": "2026-11-20T10:00:00+01:00"},
    )
    found = clocks(draft(scene, **RIGHTS))
    assert found["AIA-73-2"]["due_at"] == "2026-11-30T22:59:59+00:00"
    assert found["AIA-73-2"]["aware_at"] == "2026-11-15T09:00:00+00:00"
    assert not any(clock["regime"] == "MDR" for clock in found.values())


def test_two_times_of_awareness_are_told_and_the_earlier_counts() -> None:
    scene = told(AIA_Art73_2={"aware_at": "2026-11-18T10:00:00+01:00"})
    document = draft(scene)
    assert "Two times of awareness" in document.html
    assert clocks(document)["MDR-87-5"]["due_at"] == "2026-11-28T22:59:59+00:00"


def test_an_unsent_report_is_open_until_its_time_is_over() -> None:
    scene = told(MDR_87={"reported_at": None})
    document = draft(scene)
    assert clocks(document)["MDR-87-5"]["late"] is None
    assert "Reports to be sent" in cover(document)
    scene = told(MDR_87={"reported_at": None, "aware_at": "2026-11-02T10:00:00+01:00"})
    document = draft(scene)
    assert clocks(document)["MDR-87-5"]["late"] is True
    assert "overdue" in document.html.split("<b>Deadlines.</b>")[1].split("</table>")[0]


def test_an_unknown_member_state_is_a_gap_and_not_a_guess() -> None:
    document = draft(told(AIA_Art73_10={"member_state": "Atlantis"}))
    assert document.data["content"]["zone"] is None
    assert "the Member State is not stated or not known (Atlantis)" in document.html


def test_without_an_incident_nothing_is_reported() -> None:
    document = draft({}, incident=False, breach=False)
    assert document.data["content"]["clocks"] == []
    assert "Nothing to report" in cover(document)


def test_an_unanswered_question_is_not_taken_for_no() -> None:
    document = draft({}, incident=None)
    assert "Nothing is recorded" in cover(document)
    assert document.data["ready"] is False


def test_an_incident_of_another_version_is_told() -> None:
    document = draft(told(AIA_Art3_49={"model_version": "0.9"}))
    assert "Another version" in document.html


def test_who_was_informed_stands_in_a_table() -> None:
    table = draft().html.split("Who was informed (Art. 20)")[1].split("</table>")[0]
    assert ["Ward A" in table, "21 Nov 2026" in table, "Letter 18" in table] == [True] * 3


@pytest.mark.parametrize("name", ["DE", "de", "Germany", " germany "])
def test_a_member_state_is_known_by_code_and_name(name: str) -> None:
    assert zone_of(name) == ZoneInfo("Europe/Berlin")


def test_every_member_state_has_a_zone() -> None:
    """27 of the Union and 3 of the European Economic Area."""
    assert len(ZONES) == 30
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert all(local(noon, zone_of(code)).startswith("22 Nov 2026") for code in ZONES)
