"""Clocks and routes of incidents against cases worked out by hand from the articles."""

from __future__ import annotations

from typing import Any

import pytest

from tests.governance.dossiers import DEVICE
from tests.governance.privacy_facts import found

INCIDENT = DEVICE | {"incident": True, "incident_kinds": ["a_health"]}
RIGHTS = DEVICE | {"incident": True, "incident_kinds": ["c_fundamental_rights"]}
NO_DEVICE = DEVICE | {
    "device_law": "none",
    "annex_iii_points": ["5d"],
    "incident": True,
    "incident_kinds": ["a_health"],
}


def clock(
    answers: dict[str, Any], fields: dict[str, Any], *, as_of: str = "2026-11-22T12:00:00+00:00", **more: Any
) -> Any:
    return found("AIA-Art73-2", answers, {"AIA-Art73-2": fields, **more}, as_of=as_of)


def test_fifteen_days_from_awareness_under_the_ai_act() -> None:
    """Art. 73(2): aware on 1 November, the fifteenth day is 16 November; the 16th is in time, the 17th is late."""
    aware = {"aware_at": "2026-11-01T10:00:00+00:00"}
    in_time = clock(RIGHTS, aware | {"reported_at": "2026-11-16T23:00:00+00:00"})
    assert in_time.contradicted == ()
    assert any("2026-11-16" in words for words in in_time.held)
    late = clock(RIGHTS, aware | {"reported_at": "2026-11-17T00:00:00+00:00"})
    assert len(late.contradicted) == 1


def test_the_earlier_awareness_counts() -> None:
    """Art. 73(2): of provider or, where applicable, deployer. The deployer knew on 25 October: due on 9 November."""
    fields = {"aware_at": "2026-11-01T10:00:00+00:00", "reported_at": "2026-11-10T08:00:00+00:00"}
    deployer: dict[str, Any] = {"AIA-Art26-5": {"detected_at": "2026-10-25T10:00:00+00:00"}}
    assert clock(RIGHTS, fields).contradicted == ()
    assert len(clock(RIGHTS, fields, **deployer).contradicted) == 1


def test_a_report_that_nobody_made_is_late_when_its_day_has_passed() -> None:
    aware = {"aware_at": "2026-11-01T10:00:00+00:00"}
    assert clock(RIGHTS, aware, as_of="2026-11-16T12:00:00+00:00").contradicted == ()
    assert len(clock(RIGHTS, aware, as_of="2026-11-17T12:00:00+00:00").contradicted) == 1


def test_times_that_cannot_follow_one_another_are_told() -> None:
    fields = {"aware_at": "2026-11-05T10:00:00+00:00", "reported_at": "2026-11-04T10:00:00+00:00"}
    assert any("lies before" in words for words in clock(RIGHTS, fields).contradicted)


def test_two_days_for_a_widespread_infringement_not_for_a_death() -> None:
    """Art. 73(3): aware on 1 November, due on 3 November."""
    fields = {"widespread": True, "infrastructure": False, "reported_at": "2026-11-04T09:00:00+00:00"}
    aware = {"AIA-Art73-2": {"aware_at": "2026-11-01T10:00:00+00:00"}}
    late = found("AIA-Art73-3", RIGHTS, {"AIA-Art73-3": fields, **aware})
    assert len(late.contradicted) == 1
    assert "2026-11-03" in late.contradicted[0]
    none = found("AIA-Art73-3", RIGHTS, {"AIA-Art73-3": {"widespread": False, "infrastructure": False}, **aware})
    assert none.waived == ("reported_at",)
    assert none.contradicted == ()


def test_ten_days_for_a_death_where_the_ai_act_runs_the_clock() -> None:
    """Art. 73(4), a system that is no device: aware on 1 November, due on 11 November."""
    statements = {
        "AIA-Art73-2": {"aware_at": "2026-11-01T10:00:00+00:00", "reported_at": "2026-11-12T10:00:00+00:00"},
        "AIA-Art73-4": {"death": True, "suspected_at": "2026-11-01T12:00:00+00:00"},
    }
    late = found("AIA-Art73-4", NO_DEVICE, statements)
    assert len(late.contradicted) == 1
    assert "2026-11-11" in late.contradicted[0]
    assert late.filled["reported_at"] == "2026-11-12T10:00:00+00:00"


def test_a_death_by_a_device_runs_under_the_mdr() -> None:
    """Art. 73(10): the report and its ten days are those of MDR Art. 87(5)."""
    vigilance = {
        "aware_at": "2026-11-01T10:00:00+00:00",
        "type": "death_or_deterioration",
        "reported_at": "2026-11-09T10:00:00+00:00",
    }
    finding = found("AIA-Art73-4", INCIDENT, {"AIA-Art73-4": {"death": True}, "MDR-87": vigilance})
    assert finding.filled == {"reported_at": "2026-11-09T10:00:00+00:00"}
    assert any("87(5)" in words for words in finding.held)
    assert finding.contradicted == ()


@pytest.mark.parametrize(
    ("kind", "last", "late"),
    [
        ("serious", "2026-11-16T20:00:00+00:00", "2026-11-17T08:00:00+00:00"),
        ("death_or_deterioration", "2026-11-11T20:00:00+00:00", "2026-11-12T08:00:00+00:00"),
        ("public_health_threat", "2026-11-03T20:00:00+00:00", "2026-11-04T08:00:00+00:00"),
    ],
)
def test_vigilance_runs_fifteen_ten_or_two_days(kind: str, last: str, late: str) -> None:
    """MDR Art. 87(3) to (5), from awareness on 1 November: 16, 11 and 3 November are the last days."""
    fields = {"aware_at": "2026-11-01T10:00:00+00:00", "type": kind}
    assert found("MDR-87", INCIDENT, {"MDR-87": fields | {"reported_at": last}}).contradicted == ()
    assert len(found("MDR-87", INCIDENT, {"MDR-87": fields | {"reported_at": late}}).contradicted) == 1


def test_days_end_where_the_authority_is() -> None:
    """Aware on 1 November at 23:30 UTC: in Berlin it is the 2nd, so the fifteenth day is the 17th and not the 16th."""
    fields = {"aware_at": "2026-11-01T23:30:00+00:00", "type": "serious", "reported_at": "2026-11-17T12:00:00+00:00"}
    assert len(found("MDR-87", INCIDENT, {"MDR-87": fields}).contradicted) == 1
    berlin = {"AIA-Art73-10": {"member_state": "Germany"}}
    assert found("MDR-87", INCIDENT, {"MDR-87": fields, **berlin}).contradicted == ()


def test_one_manufacturer_learns_of_it_once() -> None:
    """Two times of awareness: the earlier starts the clock, and the difference is told."""
    fields = {"aware_at": "2026-11-05T10:00:00+00:00", "type": "serious", "reported_at": "2026-11-18T10:00:00+00:00"}
    assert found("MDR-87", INCIDENT, {"MDR-87": fields}).contradicted == ()
    earlier = {"AIA-Art73-2": {"aware_at": "2026-11-01T10:00:00+00:00"}}
    finding = found("MDR-87", INCIDENT, {"MDR-87": fields, **earlier})
    assert any("2026-11-16" in words for words in finding.contradicted)
    assert any("the earlier time counts" in words for words in finding.contradicted)


def test_a_death_is_not_reported_as_a_serious_incident_only() -> None:
    fields = {"aware_at": "2026-11-20T10:00:00+00:00", "type": "serious", "reported_at": "2026-11-21T10:00:00+00:00"}
    finding = found("MDR-87", INCIDENT, {"MDR-87": fields, "AIA-Art73-4": {"death": True}})
    assert any("87(5)" in words for words in finding.contradicted)


@pytest.mark.parametrize(
    ("notified", "reason", "contradicted", "waived"),
    [
        ("2026-11-04T10:00:00+00:00", "", False, True),
        ("2026-11-04T10:00:01+00:00", "", True, False),
        ("2026-11-04T11:00:00+01:00", "", False, True),
        ("2026-11-06T10:00:00+00:00", "The log was encrypted.", False, False),
    ],
    ids=["72 hours", "a second more", "72 hours in another zone", "later with a reason"],
)
def test_seventy_two_hours_for_a_breach(notified: str, reason: str, contradicted: bool, waived: bool) -> None:
    """GDPR Art. 33(1): aware on Sunday 1 November at 10:00 UTC, over no weekend longer than exactly 72 hours."""
    fields = {"aware_at": "2026-11-01T10:00:00+00:00", "notified_at": notified, "delay_reason": reason}
    finding = found("GDPR-33", DEVICE | {"breach": True}, {"GDPR-33": fields})
    assert bool(finding.contradicted) is contradicted
    assert finding.waived == (("delay_reason",) if waived else ())


def test_a_breach_that_was_not_notified_in_time_is_told() -> None:
    fields = {"aware_at": "2026-11-01T10:00:00+00:00"}
    assert len(found("GDPR-33", DEVICE | {"breach": True}, {"GDPR-33": fields}).contradicted) == 1


def test_people_are_told_of_a_breach_with_a_high_risk() -> None:
    """GDPR Art. 34(1) and (3)."""
    breach = DEVICE | {"breach": True}
    silent = found("GDPR-34", breach, {"GDPR-34": {"high_risk": True, "exception": "none"}})
    assert len(silent.contradicted) == 1
    bare = found("GDPR-34", breach, {"GDPR-34": {"high_risk": True, "exception": "a"}})
    assert bare.lacking
    reasoned = {"GDPR-34": "The data were encrypted, the key was not lost."}
    argued = found("GDPR-34", breach, {"GDPR-34": {"high_risk": True, "exception": "a"}}, texts=reasoned)
    assert (argued.lacking, argued.waived) == ((), ("message",))
    assert found("GDPR-34", breach, {"GDPR-34": {"high_risk": False}}).waived == ("message", "exception")


def test_harm_by_a_device_is_routed_to_its_vigilance_alone() -> None:
    """Art. 73(10): category a to the MDR, category c to the AI Act, both where both apply."""
    health = found("AIA-Art73-10", INCIDENT)
    assert [("MDR" in words, "Art. 73(2)" in words) for words in health.held] == [(True, False)]
    assert health.filled == {"incident_category": "a_health"}
    rights = found("AIA-Art73-10", RIGHTS)
    assert len(rights.held) == 1
    assert "Art. 73(2)" in rights.held[0]
    both = found("AIA-Art73-10", DEVICE | {"incident": True, "incident_kinds": ["a_health", "c_fundamental_rights"]})
    assert len(both.held) == 2


def test_a_product_is_supervised_by_its_national_authority() -> None:
    """Art. 75(1)."""
    assert found("AIA-Art75-route", DEVICE).filled == {"annex_i_product": True}
    finding = found("AIA-Art73-10", INCIDENT, {"AIA-Art73-10": {"authority": "The AI Office"}})
    assert len(finding.contradicted) == 1


def test_the_incident_is_of_this_version_and_of_a_known_site() -> None:
    fields = {"model_version": "1.1", "site": "ward 3", "affected_persons": 2}
    assert found("AIA-Art3-49", INCIDENT, {"AIA-Art3-49": fields}).contradicted == ()
    other = found("AIA-Art3-49", INCIDENT, {"AIA-Art3-49": fields | {"model_version": "1.0", "site": "Ward 9"}})
    assert len(other.contradicted) == 2


def test_what_was_missing_at_first_is_closed_in_the_complete_report() -> None:
    """Art. 73(5)."""
    first = {"initial_sent_at": "2026-11-05T10:00:00+00:00", "missing_items": ["root cause"]}
    aware = {"AIA-Art73-2": {"aware_at": "2026-11-01T10:00:00+00:00"}}
    assert "root cause" in found("AIA-Art73-5", RIGHTS, {"AIA-Art73-5": first, **aware}).lacking[0]
    closed = first | {"complete_sent_at": "2026-11-15T10:00:00+00:00"}
    finding = found("AIA-Art73-5", RIGHTS, {"AIA-Art73-5": closed, **aware})
    assert (finding.lacking, finding.contradicted) == ((), ())
    turned = first | {"complete_sent_at": "2026-11-04T10:00:00+00:00"}
    assert found("AIA-Art73-5", RIGHTS, {"AIA-Art73-5": turned, **aware}).contradicted


def test_the_system_is_not_changed_before_the_authority_knows() -> None:
    """Art. 73(6)."""
    fields = {"evidence_snapshot_hash": "e" * 64, "authority_informed_before_change": True}
    sound = found("AIA-Art73-6", RIGHTS, {"AIA-Art73-6": fields})
    assert (sound.lacking, sound.contradicted) == ((), ())
    changed = {"evidence_snapshot_hash": "a photo", "authority_informed_before_change": False}
    finding = found("AIA-Art73-6", RIGHTS, {"AIA-Art73-6": changed})
    assert len(finding.lacking) == len(finding.contradicted) == 1


def test_the_provider_is_told_first() -> None:
    """Art. 26(5): the deployer informs first the provider, then the authority."""
    fields = {"detected_at": "2026-11-01T10:00:00+00:00", "provider_informed_at": "2026-11-03T10:00:00+00:00"}
    authority = {"AIA-Art73-2": {"reported_at": "2026-11-02T10:00:00+00:00"}}
    assert found("AIA-Art26-5", RIGHTS, {"AIA-Art26-5": fields}).contradicted == ()
    assert len(found("AIA-Art26-5", RIGHTS, {"AIA-Art26-5": fields, **authority}).contradicted) == 1
