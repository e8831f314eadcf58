"""A monitor with windows and alerts, as rows: how they come about has its own tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from core.digests import sha256_bytes
from evaluation.engine import Protocol as Rules
from evaluation.models import Alert, Monitor, MonitorWindow, Protocol, StreamPoint
from models_registry.models import AISystem, Cohort, CohortVersion, Deployment, ModelVersion, VersionStatus

PROTOCOL = """
auscult_protocol: 1
name: weekly-watch-v1
title: Weekly watch
suites: [drift]
labels:
  - {name: effusion, threshold: {value: 0.5, source: tuning set}}
attributes:
  - {name: sex, values: [F, M]}
criteria:
  - {id: inputs, metric: numeric_shift, direction: at_most, margin: 0.2}
drift:
  case_mix: [sex]
  critical: [performance]
"""
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
SCORES = {
    "stream": "age", "family": "numeric", "attribute": "", "group": "All", "z": [0.3], "components": ["location"],
    "n": 200.0, "baseline": 2000.0,
}  # fmt: skip
"""Of a window that had patients enough."""


def watch_protocol(people: Any, source: str = PROTOCOL) -> Protocol:
    """A protocol with a section on drift, locked by the auditor and approved by the chair."""
    rules = Rules.from_yaml(source)
    found = Protocol.objects.filter(digest=rules.digest).first()
    return found or Protocol.objects.create(
        name=rules.name,
        title=rules.title,
        digest=rules.digest,
        source=source,
        body=rules.to_dict(),
        status=Protocol.Status.APPROVED,
        locked_by=people.amir,
        approved_by=people.clara,
        approved_at=timezone.now(),
    )


def make_deployment(people: Any, *, label: str = "1.0", site: str = "North Hospital") -> Deployment:
    """A version that runs at a site."""
    system, _ = AISystem.objects.get_or_create(
        name="Watched model",
        slug="watched-model",
        defaults={"intended_purpose": "Finds effusion.", "created_by": people.elena},
    )
    version, _ = ModelVersion.objects.get_or_create(
        system=system,
        label=label,
        defaults={
            "adapter": "fusion",
            "digest": sha256_bytes(label.encode()),
            "manifest": {},
            "status": VersionStatus.DEPLOYED,
            "submitted_by": people.elena,
        },
    )
    return Deployment.objects.create(
        version=version,
        site=site,
        contact_name="Ines Vogel",
        contact_email="ines@hospital.example",
        started_at=FIRST - timedelta(days=7),
        started_by=people.clara,
    )


def make_cohort_version(people: Any, name: str = "Reference cohort", **given: Any) -> CohortVersion:
    cohort, _ = Cohort.objects.get_or_create(
        name=name, slug=name.lower().replace(" ", "-"), defaults={"created_by": people.amir}
    )
    facts = {"n_studies": 2400, "n_patients": 2100, "summary": {}, "registered_by": people.amir}
    digest = sha256_bytes(name.encode())
    return CohortVersion.objects.get_or_create(cohort=cohort, digest=digest, defaults=facts | given)[0]


def make_monitor(people: Any, **given: Any) -> Monitor:
    """An active weekly monitor whose reference is there."""
    facts: dict[str, Any] = {
        "name": "Weekly watch",
        "source_kind": Monitor.Source.API,
        "source": {},
        "window_unit": Monitor.Unit.WEEK,
        "window_size": 1,
        "first_opens_at": FIRST,
        "zone": "Europe/Vienna",
        "crontab": "0 6 * * 1",
        "owner": people.amir,
        "escalate_to": people.clara,
        "status": Monitor.Status.ACTIVE,
        "frame_digest": sha256_bytes(b"frame"),
        "reference_digest": sha256_bytes(b"reference"),
        "created_by": people.amir,
    }
    facts |= given
    facts.setdefault("deployment", None)
    if facts["deployment"] is None:
        facts["deployment"] = make_deployment(people)
    facts.setdefault("protocol", None)
    if facts["protocol"] is None:
        facts["protocol"] = watch_protocol(people)
    facts.setdefault("reference_cohort", None)
    if facts["reference_cohort"] is None:
        facts["reference_cohort"] = make_cohort_version(people)
    return Monitor.objects.create(**facts)


def make_window(monitor: Monitor, index: int, **given: Any) -> MonitorWindow:
    """A judged window of one week without alarm; the first is number 1."""
    opens = monitor.first_opens_at + timedelta(weeks=index - 1)
    facts: dict[str, Any] = {
        "opens_at": opens,
        "closes_at": opens + timedelta(weeks=1),
        "due_at": opens + timedelta(weeks=1),
        "status": MonitorWindow.Status.JUDGED,
        "cycle": monitor.cycle,
        "n_studies": 210,
        "n_patients": 200,
        "log_e": -0.4,
        "residuals": [SCORES],
        "judged_at": opens + timedelta(weeks=1, hours=7),
    }
    facts |= given
    return MonitorWindow.objects.create(monitor=monitor, index=index, **facts)


def make_point(window: MonitorWindow, stream: str = "age", **given: Any) -> StreamPoint:
    """One stream of a window, over all studies."""
    facts: dict[str, Any] = {
        "family": "numeric",
        "group": "All",
        "effect": "wasserstein_sigma",
        "value": 0.08,
        "low": 0.02,
        "high": 0.15,
        "margin": 0.2,
        "p_value": 0.31,
        "log_e": -0.5,
        "n": 200,
    }
    return StreamPoint.objects.create(window=window, stream=stream, **(facts | given))


def make_alert(monitor: Monitor, **given: Any) -> Alert:
    """An open alarm of drift."""
    now = timezone.now()
    facts: dict[str, Any] = {
        "kind": Alert.Kind.DRIFT,
        "severity": Alert.Severity.WARNING,
        "key": f"drift:{monitor.cycle}",
        "title": "Scanner maker has changed",
        "text": "In window 4, scanner maker lies .31 from the reference (margin .1).",
        "first_at": now,
        "last_at": now,
    }
    return Alert.objects.create(monitor=monitor, **(facts | given))
