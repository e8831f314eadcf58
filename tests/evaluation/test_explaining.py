"""Why a window differs, and Evidently beside it: worked out once, without patients, and never in the way."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.models import LedgerEntry
from evaluation.engine.drift.sample import DriftSample, hashes_of
from evaluation.models import AuditRun, Monitor, MonitorWindow
from evaluation.monitoring import explaining
from evaluation.monitoring.evidently import RARE, _categories
from evaluation.monitoring.explaining import explain_window
from models_registry.services.versions import model_store
from tests.evaluation.monitor_story import Story

pytestmark = pytest.mark.django_db


@pytest.fixture
def window(
    people: SimpleNamespace, tmp_path: Path, sent: list[tuple[str, int]], django_capture_on_commit_callbacks: Any
) -> MonitorWindow:
    """A judged window with a new scanner, whose samples are large enough to be searched."""
    story = Story(people, tmp_path, sent, django_capture_on_commit_callbacks)
    monitor = story.active()
    story.deliver(0, scanner="Cygnus")
    story.fire(monitor, weeks=1)
    story.work()
    row = story.windows(monitor)[0]
    assert row.run is not None and monitor.reference_run is not None
    _sampled(monitor.reference_run, first=10_000, new=0.02)
    _sampled(row.run, first=20_000, new=0.9)
    return row


def _sampled(run: AuditRun, *, first: int, new: float) -> None:
    """Put a sample of 400 patients in the place of what the run's shares kept."""
    rng = np.random.default_rng(first)
    names = np.array([f"patient-{first + place}" for place in range(400)], dtype=object)
    keys = hashes_of(names, seed=0)
    order = np.argsort(keys)
    maker = rng.random(400) < new
    sample = DriftSample(
        keys=keys[order],
        patient_ids=names[order],
        study_ids=names[order],
        columns={
            "category.scanner": np.where(maker, "Cygnus", "Aquila").astype(object)[order],
            "number.age": rng.normal(60, 12, 400)[order],
            "number.height": np.where(maker, 2500.0, 1700.0)[order] + rng.normal(0, 50, 400)[order],
            "group.sex": np.where(rng.random(400) < 0.5, "F", "M").astype(object)[order],
        },
    )
    run.shards.update(sample_digest="")
    shard = run.shards.first()
    assert shard is not None
    shard.sample_digest = model_store().put_bytes(sample.to_bytes())
    shard.save(update_fields=["sample_digest"])


def test_causes_and_evidently_are_attached_once_and_name_no_patient(window: MonitorWindow) -> None:
    explain_window(window.pk)
    window.refresh_from_db()
    assert window.causes[0]["feature"] == "scanner" and "Cygnus" in window.causes[0]["sentence"]
    store = model_store()
    body = json.loads(store.get_bytes(window.causes_digest))
    exemplars = json.loads(store.get_bytes(body["exemplars"]))["exemplars"]
    assert all(item["study_id"].startswith("patient-2") for item in exemplars)
    # Its numbers are ours, and its report names nobody.
    told = window.evidently
    assert told["drifted"] >= 2 and told["any"] and told["n"] == 400
    assert [item["agrees"] for item in told["cross_check"]] == [True] * len(told["cross_check"])
    html = store.get_bytes(window.evidently_html)
    assert b"<html" in html[:2000].lower() and json.loads(store.get_bytes(window.evidently_json))["metrics"]
    for text in (html, json.dumps(body).encode(), json.dumps(window.causes).encode()):
        assert b"patient-1" not in text and b"patient-2" not in text

    explain_window(window.pk)
    assert LedgerEntry.objects.filter(act="window.explained", subject_id=str(window.pk)).count() == 1


def test_a_window_is_explained_by_what_it_was_judged_by(window: MonitorWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change was accepted before anybody looked for its cause: the window itself is the reference by now."""
    Monitor.objects.filter(pk=window.monitor_id).update(reference_windows=[window.pk], cycle=2)
    monkeypatch.setattr(explaining, "_evidently", lambda *args, **how: (None, "left out"))
    explain_window(window.pk)
    window.refresh_from_db()
    assert window.causes[0]["feature"] == "scanner"


def test_what_another_library_cannot_do_stops_nothing_of_ours(
    window: MonitorWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **how: Any) -> None:
        raise RuntimeError("patient-20001")

    monkeypatch.setattr(explaining, "evidently_report", broken)
    explain_window(window.pk)
    window.refresh_from_db()
    assert window.causes and not window.evidently_html
    assert "RuntimeError" in window.evidently["note"] and "patient" not in window.evidently["note"]


def test_evidently_is_given_no_category_that_few_have_on_either_side() -> None:
    """Of 20 before and 2 now, the 2 would stand in its pictures."""
    before, now = (np.array(["a"] * many + ["b"] * few, dtype=object) for many, few in ((90, 20), (58, 2)))
    told = _categories(before, now, least=10)
    assert [set(part) for part in told] == [{"a", RARE}, {"a", RARE}]
    assert set(_categories(before, before[:90], least=10)[0]) == {"a", "b"}, "a category that nobody has now is told"
