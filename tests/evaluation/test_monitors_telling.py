"""What a judged window gives people: the name and gravity of its alarm, notices, and nothing that counts few."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.records import Family, Look, Notice, NoticeKind, StreamShift
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.models import Alert, AuditRun, MonitorWindow, StreamPoint, Verdict
from evaluation.monitoring.findings import Finding
from evaluation.monitoring.judging import _shown
from evaluation.monitoring.telling import findings_of, points_of, tell_judged, title_of
from evaluation.services.alerts import raise_alert
from tests.evaluation.monitor_scene import PROTOCOL, make_monitor, make_window, watch_protocol

pytestmark = pytest.mark.django_db
RULES = Rules.from_yaml(PROTOCOL)
NONE = DriftSketch(frame_digest="", specs=(), attributes=(), cells={})


@pytest.fixture
def window(people: SimpleNamespace) -> MonitorWindow:
    return make_window(make_monitor(people), 3, look={"onset": 2})


def shift(stream: str, family: Family, **given: Any) -> StreamShift:
    facts: dict[str, Any] = {
        "attribute": "", "group": "All", "effect": "wasserstein_sigma", "value": 0.4, "low": 0.3, "high": 0.5,
        "margin": 0.2, "p_value": 0.001, "n": 200, "n_reference": 2000,
    }  # fmt: skip
    return StreamShift(stream=stream, family=family, **facts | given)


def look_of(*alarming: StreamShift) -> Look:
    keys = tuple((item.stream, item.attribute, item.group) for item in alarming)
    return Look(
        log_e=5.0, log_e_over_margin=4.0 if keys else 0.0, threshold=3.0, alarm=bool(keys),
        streams=dict.fromkeys(keys, 4.0), onset=1 if keys else None, alarming=keys,
        promise="any false alarm, ever, with probability at most .05", method="e_process",
    )  # fmt: skip


def notice(kind: NoticeKind, stream: str = "") -> Notice:
    return Notice(kind=kind, stream=stream, message=f"Something about {stream or 'the window'}.")


@pytest.mark.parametrize(
    ("families", "kind", "severity"),
    [
        ((Family.NUMERIC,), "drift", "warning"),
        ((Family.NUMERIC, Family.PERFORMANCE), "performance", "critical"),
        ((Family.ESTIMATED, Family.CONCEPT), "performance", "warning"),
        ((Family.CONCEPT, Family.TEXT), "concept", "warning"),
        ((Family.CASE_MIX,), "case_mix", "warning"),
        ((Family.CASE_MIX, Family.MASK), "drift", "warning"),
    ],
)
def test_an_alarm_is_called_by_its_gravest_family(
    window: MonitorWindow, families: tuple[Family, ...], kind: str, severity: str
) -> None:
    """Here performance alone is critical. The same window told twice is one alert that counts once."""
    shifts = [shift(f"stream.{family.value}", family) for family in families]
    for _ in range(2):
        tell_judged(window, RULES, shifts, [], look_of(*shifts))
    alert = Alert.objects.get()
    assert (alert.key, alert.kind, alert.severity, alert.times) == ("drift:1", kind, severity, 1)
    assert alert.detail["onset"] == 2 and len(alert.detail["streams"]) == len(families)
    assert "window 2" in alert.text and "at most .05" in alert.text


def test_a_window_without_alarm_and_notice_tells_nobody(window: MonitorWindow) -> None:
    tell_judged(window, RULES, [shift("age", Family.NUMERIC)], [], look_of())
    tell_judged(window, RULES, [], [notice(NoticeKind.CASE_MIX), notice(NoticeKind.NOT_WATCHED, "image")], look_of())
    assert not Alert.objects.exists(), "a change of case mix seen once is left to the lifetime test"
    assert [item["severity"] for item in findings_of([notice(NoticeKind.CONCEPT, "concept.effusion")])] == ["warning"]


def test_a_unit_is_told_and_settled_when_it_is_as_it_was(window: MonitorWindow) -> None:
    tell_judged(window, RULES, [], [notice(NoticeKind.UNIT, "series.crp:median"), notice(NoticeKind.FEW)], look_of())
    assert set(Alert.objects.values_list("key", "kind")) == {("unit:series.crp:median", "unit"), ("few", "few")}
    tell_judged(window, RULES, [], [notice(NoticeKind.FEW)], look_of())
    assert not Alert.objects.filter(status="closed").exists(), "too few say nothing of the unit"
    tell_judged(window, RULES, [], [], look_of())
    assert set(Alert.objects.values_list("status", "resolution")) == {("closed", "settled")}


def test_a_unit_that_a_source_found_is_not_settled_by_the_very_window_that_has_it(window: MonitorWindow) -> None:
    """A source leaves values in another unit out, so that no notice of the judging tells of them."""
    words = {"message": "Another unit.", "remedy": "Correct it.", "severity": "warning", "column": "series.crp"}
    found = Finding(kind="unit", code="other-unit", **words)
    raise_alert(monitor=window.monitor, kind="unit", severity="warning", key=found.key, title=found.message)
    window.findings = [found.to_dict(), *findings_of([notice(NoticeKind.UNSEEN, "scanner")])]
    tell_judged(window, RULES, [], [], look_of())
    assert Alert.objects.get().status == "open"
    window.findings = []
    tell_judged(window, RULES, [], [], look_of())
    assert Alert.objects.get().status == "closed"


def test_criteria_of_other_suites_are_breaches_and_those_on_drift_are_not(
    run: AuditRun, people: SimpleNamespace
) -> None:
    window = make_window(make_monitor(people), 3)
    source = PROTOCOL.replace("suites: [drift]", "suites: [drift, fairness]").replace(
        "weekly-watch-v1", "with-a-criterion"
    ).replace(
        "drift:\n", "  - {id: sex-tpr, metric: equal_opportunity_difference, attribute: sex, direction: at_most,"
        " margin: 0.1}\ndrift:\n", 1
    )  # fmt: skip
    rules = Rules.from_dict(watch_protocol(people, source).body)
    window.run = run
    for position, (criterion, outcome) in enumerate([("inputs", "fail"), ("sex-tpr", "fail"), ("sex-tpr", "pass")]):
        Verdict.objects.create(
            run=run, position=position, criterion=criterion, label="effusion", outcome=outcome, statement="It failed."
        )
    tell_judged(window, rules, [], [], look_of())
    assert [(row.key, row.severity) for row in Alert.objects.all()] == [("breach:sex-tpr:effusion", "critical")]


def test_few_patients_are_counted_nowhere(window: MonitorWindow) -> None:
    small = shift("age", Family.NUMERIC, attribute="sex", group="M", n=7, n_reference=4, value=None, reason="Few.")
    rows = points_of(window, RULES, NONE, [small, shift("age", Family.NUMERIC)], look_of())
    StreamPoint.objects.bulk_create(rows)
    assert list(StreamPoint.objects.values_list("n", "value", "alarming")) == [(None, None, False), (200, 0.4, False)]
    assert (_shown(small, RULES).n, _shown(small, RULES).n_reference) == (0, 0)
    tell_judged(window, RULES, [small], [], look_of(small))
    assert Alert.objects.get().detail["streams"][0]["n"] is None


@pytest.mark.parametrize(
    ("stream", "title"),
    [
        ("case_mix", "mix of patients"),
        ("missing.crp", "C-reactive protein, whether it is there"),
        ("missing.x", "x, whether it is there"),
        ("crp", "C-reactive protein"),
        ("unlisted", "unlisted"),
    ],
)
def test_streams_have_titles_for_readers(stream: str, title: str) -> None:
    assert title_of(stream, {"crp": "C-reactive protein"}) == title
