"""From the rows of the registers to the dossier, the judgement, and a bundle that a reader verifies."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from evaluation.models import Measurement
from governance import execution_bundles, selectors
from governance.bundle.verify import verify_bundle
from governance.dossier import gather_dossier
from governance.models import Condition, OutputCount, Override, Review
from governance.pages.requirements import _href
from governance.services.bundles import request_bundle
from governance.services.oversight import record_measure, verify_measure
from governance.statuses import judge
from models_registry.models import Deployment, ModelVersion, VersionStatus
from tests.governance.deployment_scene import approved, put
from tests.governance.example_answers import DEVICE
from tests.governance.incident_scene import answer, recorded
from tests.governance.test_oversight import SEEN, TEXT

EMPTY: dict[str, list[Any]] = {
    name: [] for name in ("risks", "incidents", "deployments", "oversight", "overrides", "conditions")
}
Decided = Callable[..., Review]


def counted(row: Deployment, by: Any, *, overrides: int, outputs: int, days: int = 3) -> None:
    """Counts, as the service leaves them."""
    moment = timezone.now() - timedelta(days=days)
    OutputCount.objects.create(deployment=row, day=moment.date(), n=outputs, recorded_by=by)
    Override.objects.bulk_create(
        Override(
            deployment=row,
            happened_at=moment,
            action="changed",
            reason="other",
            key=f"{days}-{number}",
            recorded_by=by,
        )
        for number in range(overrides)
    )


def in_use(people: SimpleNamespace, version: ModelVersion, *sites: str) -> list[Deployment]:
    """The version deployed, overseen, overruled, and in an incident."""
    system = version.system
    rows = [put(version, people.clara, site) for site in sites]
    for limb in "bd":
        made = record_measure(
            system=system, limb=limb, kind="deployer", text=TEXT, role="radiologist", moment="while reading",
            responsible=people.lea, by=people.elena,
        )  # fmt: skip
        if limb == "b":
            verify_measure(measure=made, verification=SEEN, by=people.clara)
    for place, row in enumerate(rows):
        counted(row, people.lea, overrides=2, outputs=5 if place else 50)
        scene = SimpleNamespace(people=people, system=system, version=version)
        recorded(scene, site=row.site, description="No name of a patient.")
    return rows


def test_a_version_without_entries_has_empty_registers(people: SimpleNamespace, home: Path) -> None:
    assert gather_dossier(approved(people, home))["registers"] == EMPTY


def test_the_dossier_tells_the_registers_in_plain_json(people: SimpleNamespace, home: Path) -> None:
    version = approved(people, home)
    answer(version.system, people.dora, **DEVICE)
    first, second = in_use(people, version, "North Hospital", "South Hospital")
    dossier = gather_dossier(version)
    assert json.loads(json.dumps(dossier)) == dossier
    told = dossier["registers"]
    assert [(row["id"], row["site"], row["status"]) for row in told["deployments"]] == [
        (first.pk, "North Hospital", "running"),
        (second.pk, "South Hospital", "running"),
    ]
    assert [(row["limb"], bool(row["verified_on"])) for row in told["oversight"]] == [("b", True), ("d", False)]
    assert [(row["overrides"], row["outputs"], row["rate"]) for row in told["overrides"]] == [
        (2, 50, pytest.approx(0.04)),
        (None, None, None),
    ]
    assert [row["number"] for row in told["incidents"]] == [1, 2]
    assert set(dossier["sites"]) == {*DEVICE["sites"], "North Hospital", "South Hospital"}
    assert "ines@hospital.example" not in json.dumps(dossier)
    assert "No name of a patient" not in json.dumps(dossier)


def test_the_dossier_tells_a_suspicion_of_automation_bias(people: SimpleNamespace, home: Path) -> None:
    """The same signal that the page of the deployment gives: .1 of the outputs are wrong, 1 of 900 was overruled."""
    version = approved(people, home)
    row = put(version, people.clara)
    counted(row, people.lea, overrides=1, outputs=900)
    run = version.reviews.get().run
    Measurement.objects.create(
        run=run, position=0, suite="fairness", metric="accuracy", label="l", attribute="All", group="All",
        value=0.89, low=0.88, high=0.9,
    )  # fmt: skip
    (told,) = gather_dossier(version)["registers"]["overrides"]
    assert (told["mark"]["kind"], told["mark"]["outputs"], told["mark"]["source"]) == (
        "automation_bias",
        900,
        f"Audit {run.pk}",
    )
    Deployment.objects.filter(pk=row.pk).update(
        status="suspended", suspended_at=timezone.now(), suspension="Looked into."
    )
    assert gather_dossier(version)["registers"]["overrides"][0]["mark"] is None


def test_conditions_that_are_in_force_are_told(people: SimpleNamespace, home: Path) -> None:
    version = approved(people, home, status=VersionStatus.CONDITIONAL)
    about = {"review": version.reviews.get(), "owner": people.lea, "proposed_by": people.clara}
    due = datetime(2027, 1, 15, tzinfo=UTC)
    for status in ("open", "proposed", "removed", "lapsed"):
        Condition.objects.create(text=f"Local data ({status})", due_at=due, status=status, **about)
    (told,) = gather_dossier(version)["registers"]["conditions"]
    assert (told["text"], told["owner"], told["status"]) == ("Local data (open)", "lea", "open")
    assert told["due_at"] == "2027-01-15T00:00:00+00:00"


def test_gathering_asks_no_more_when_the_registers_grow(people: SimpleNamespace, home: Path) -> None:
    version = approved(people, home)
    in_use(people, version, "North Hospital")
    with CaptureQueriesContext(connection) as few:
        gather_dossier(version)
    in_use(people, version, *(f"Hospital {number}" for number in range(5)))
    with CaptureQueriesContext(connection) as many:
        assert len(gather_dossier(version)["registers"]["incidents"]) == 6
    assert len(many) == len(few)


def test_judging_asks_the_database_nothing(people: SimpleNamespace, home: Path) -> None:
    version = approved(people, home)
    answer(version.system, people.dora, **DEVICE | {"incident": True, "incident_kinds": ["a_health"]})
    in_use(people, version, "North Hospital")
    dossier = json.loads(json.dumps(gather_dossier(version)))
    with CaptureQueriesContext(connection) as queries:
        found = judge(dossier)
    assert len(queries) == 0
    references = {one.kind for item in found.items for one in item.references}
    assert {"incident", "deployment", "measure"} <= references


@pytest.mark.usefixtures("plain_report")
def test_a_bundle_of_a_version_in_use_verifies(decided: Decided, people: SimpleNamespace) -> None:
    review = decided()
    in_use(people, review.version, "North Hospital")
    bundle = request_bundle(review=review, by=people.clara)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert bundle.error == ""
    checked = verify_bundle(selectors.bundle_path(bundle))
    assert checked.ok, checked


def test_the_page_of_a_requirement_links_to_the_registers(people: SimpleNamespace, home: Path) -> None:
    version = approved(people, home)
    answer(version.system, people.dora, **DEVICE | {"incident": True, "incident_kinds": ["a_health"]})
    (row,) = in_use(people, version, "North Hospital")
    judged: Any = SimpleNamespace(version=version)
    statuses = judge(gather_dossier(version))
    links = {
        "MDR-87": reverse("incident", args=[version.incidents.get().pk]),
        "AIA-Art72-2": reverse("deployment", args=[row.pk]),
        "AIA-Art14-4-b": reverse("oversight-system", args=[version.system.slug]),
    }
    for key, link in links.items():
        assert link in {_href(one, judged, []) for one in statuses.of(key).references}
