"""A monitor in the middle of its life, as rows: quiet windows, one without studies, one refused, an alarm."""

from __future__ import annotations

import math
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django.db import transaction

from core import ledger
from core.models import Role, RoleGrant
from evaluation.models import Alert, AlertEvent, Delivery, Monitor, MonitorWindow, Webhook, WebhookDelivery
from tests.evaluation.monitor_scene import make_alert, make_deployment, make_monitor, make_point, make_window
from tests.pages import scene

SCRIPT = "<script>alert('unit')</script>"
ALARM_WINDOW, EMPTY_WINDOW, REFUSED_WINDOW, FEW_WINDOW, OPEN_WINDOW = 6, 3, 4, 7, 8
EVIDENTLY = "<!doctype html><title>Evidently</title><p id='told'>before</p><script>told.textContent='ran'</script>"
CHECKS = [
    {"column": "category.scanner_maker", "method": "Jensen-Shannon distance", "threshold": 0.1, "theirs": 0.31,
     "ours": 0.31, "agrees": True, "drift": True},
    {"column": "number.age", "method": "chi-square p_value", "threshold": 0.05, "theirs": 0.4, "ours": None,
     "agrees": None, "drift": False},
]  # fmt: skip
STREAMS = (
    ("age", "numeric", "wasserstein_sigma", 0.2),
    ("scanner_maker", "categorical", "js_distance", 0.1),
    ("estimated.effusion", "estimated", "sensitivity_drop", 0.05),
)
WHY_NOT = "the relation of score and finding has changed, so estimates are not valid"


def people() -> SimpleNamespace:
    found = {name: scene.person(name) for name in scene.PEOPLE}
    RoleGrant.objects.get_or_create(user=found["lea"], role=Role.PATIENT_READER)
    return SimpleNamespace(**found)


def look(log_e: float, *, decisive: float | None = None, alarm: bool = False, cycle: int = 1) -> dict[str, Any]:
    """What the lifetime test says after a window."""
    named = [{"stream": "scanner_maker", "attribute": "", "group": "All"},
             {"stream": "age", "attribute": "sex", "group": "F"}]  # fmt: skip
    return {
        "log_e": log_e, "log_e_over_margin": log_e if decisive is None else decisive,
        "threshold": math.log(20 if cycle == 1 else 1000), "alarm": alarm, "streams": [],
        "onset": ALARM_WINDOW - 1 if alarm else None, "alarming": named if alarm else [],
        "promise": "Any false alarm, ever, with probability at most .05.",
        "method": "e_process" if cycle == 1 else "run_length",
    }  # fmt: skip


UNJUDGED: dict[int, dict[str, Any]] = {
    EMPTY_WINDOW: {"status": "empty", "n_studies": 0, "n_patients": 0},
    REFUSED_WINDOW: {
        "status": "refused",
        "error": "The column crp holds text.",
        "findings": [
            {"kind": "schema", "severity": "critical", "code": "column-retyped", "column": "crp", "row": 17,
             "count": 204, "message": "The column is text; in the reference it is a number.",
             "remedy": "Export it as a number."}
        ],
    },
    OPEN_WINDOW: {"status": "auditing"},
}  # fmt: skip


def life(**given: Any) -> SimpleNamespace:
    """The monitor of ``people().amir`` with eight windows, an alarm in the sixth, and what hangs on it."""
    who = people()
    monitor = make_monitor(who, **given)
    windows = {index: _window(monitor, index) for index in range(1, 9)}
    alarm = windows[ALARM_WINDOW]
    alert = make_alert(monitor, window=alarm, severity="critical", times=2, key="drift:1", title="Scanner maker moved")
    AlertEvent.objects.create(alert=alert, act="raised", text="Window 6.")
    Delivery.objects.create(monitor=monitor, name="export-1.csv", source_digest="1" * 64, n_studies=210)
    hook = Webhook.objects.create(name="On-call", url="https://hooks.example/a", secret="x", created_by=who.ada)
    dead = WebhookDelivery.objects.create(
        webhook=hook, alert=alert, event="alert:1:raised", body="{}", status="dead", attempts=8, answer="503"
    )
    with transaction.atomic():
        payload = {"from": "approved", "to": "suspended", "reason": "r", "digest": "d"}
        deployment = monitor.deployment
        ledger.record(actor="clara", act="deployment.started", subject=("Deployment", deployment.pk), payload={})
        ledger.record(
            actor="clara", act="version.moved", subject=("ModelVersion", deployment.version_id), payload=payload
        )
    return SimpleNamespace(who=who, monitor=monitor, windows=windows, alarm=alarm, alert=alert, hook=hook, dead=dead)


def _window(monitor: Monitor, index: int) -> MonitorWindow:
    if index in UNJUDGED:
        return make_window(monitor, index, log_e=None, judged_at=None, **UNJUDGED[index])
    alarm, few = index == ALARM_WINDOW, index == FEW_WINDOW
    log_e = 4.5 if alarm else -0.4
    facts: dict[str, Any] = {"log_e": log_e, "look": look(log_e, alarm=alarm), "alarm": alarm}
    if few:
        facts |= {"n_studies": 31, "n_patients": 30}
        facts["findings"] = [{"kind": "few", "severity": "warning", "stream": "", "message": "30 patients; 50 needed."}]
    made = make_window(monitor, index, **facts)
    if alarm:
        _explain(made)
    if not few:
        _points(made)
    return made


def _points(window: MonitorWindow) -> None:
    for stream, family, effect, margin in STREAMS:
        for attribute, group in (("", "All"), ("sex", "F"), ("sex", "M")):
            named = {"stream": stream, "attribute": attribute, "group": group}
            moved = window.alarm and named in window.look["alarming"]
            known = family != "estimated"
            value = margin * (3 if moved else 0.4)
            make_point(
                window, stream, family=family, effect=effect, margin=margin, attribute=attribute, group=group,
                value=value if known else None, low=value - 0.03 if known else None,
                high=value + 0.03 if known else None, reason="" if known else WHY_NOT,
                alarming=moved, log_e=4.5 if moved else -0.5, n=200 if not attribute else 96,
            )  # fmt: skip


def _explain(window: MonitorWindow) -> None:
    """Causes, exemplars, Evidently's report and a finding that somebody has put code into."""
    store = scene.store()
    exemplars = store.put_json({"exemplars": [{"study_id": "secret-study-1", "probability": 0.97}]})
    cause = {
        "feature": "scanner_maker", "title": "Scanner maker", "modality": "scanner_maker", "attribute": "",
        "group": "", "share": 0.81, "effect": "js_distance", "value": 0.3, "method": "reweighting",
        "sentence": "Philips 12 % before, 97 % now.", "importance": 0.2,
    }  # fmt: skip
    window.causes = [cause]
    window.causes_digest = store.put_json({"causes": [cause], "exemplars": exemplars})
    window.evidently_html = store.put_bytes(EVIDENTLY.encode())
    window.evidently_json = store.put_json({"metrics": []})
    window.evidently = {
        "drift": False, "any": True, "drifted": 1, "columns": 2, "share": 0.5, "n": 200, "n_reference": 2000,
        "version": "0.7.23", "cross_check": CHECKS, "note": "",
    }  # fmt: skip
    window.evidence_digest = store.put_json({"window": window.index})
    window.findings = [
        {"kind": "late", "severity": "info", "code": "late", "message": "Four studies came late.", "count": 4},
        {"kind": "unit", "severity": "warning", "stream": "series.crp:median", "message": f"mg/dL {SCRIPT}"},
    ]
    window.save()


def others(who: SimpleNamespace) -> dict[str, Monitor]:
    """Monitors in the other states: one that is stale, one that could not be prepared, one at rest, one ended."""

    def watch(label: str, site: str, **given: Any) -> Monitor:
        return make_monitor(who, deployment=make_deployment(who, label=label, site=site), **given)

    stale = watch("1.1", "East Practice")
    make_alert(stale, kind=Alert.Kind.MISSED, key="missed:1", title="It has not looked for 3 days")
    failed = watch(
        "1.2", "West Hospital", status="failed", error="No such column.", frame_digest="", reference_digest=""
    )
    paused = watch("1.3", "South Clinic", status="paused")
    ended = watch("1.4", "Harbour", status="ended")
    quiet = watch("1.5", "Lake Clinic")
    make_window(quiet, 1, look=look(-0.2), log_e=-0.2)
    return {"stale": stale, "failed": failed, "paused": paused, "ended": ended, "quiet": quiet}


def further_windows(monitor: Monitor, first: int, count: int) -> None:
    """More quiet windows, each with its points."""
    for index in range(first, first + count):
        opens = monitor.first_opens_at + timedelta(weeks=index - 1)
        _points(make_window(monitor, index, look=look(-0.3), log_e=-0.3, opens_at=opens))
