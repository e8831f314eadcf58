"""The page of an audit of synthetic patients: attacks in plain words, shapes of columns, and the map of pairs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from evaluation.models import AuditRun, Measurement, Outcome, RunStatus, Verdict
from synthetic.selectors_audits import attacks_of, pairs_of, shapes_of
from synthetic.suites.audit import Audit
from synthetic.suites.privacy_meanings import MEANINGS
from tests.registry.fixtures import files, home, people, sent
from tests.synthetic.generator_scene import calm, cohort, order, trained
from tests.synthetic.test_audits import audit, control, finish, passing, result

__all__ = ["audit", "calm", "cohort", "control", "files", "home", "order", "people", "result", "sent", "trained"]


def figure(run: AuditRun, position: int, metric: str, label: str, value: float | None, **more: Any) -> Measurement:
    told = {"suite": "privacy", "metric": metric, "label": label, "value": value, "group": "All"}
    reason = "" if value is not None else "nothing was there"
    whole = told | {"attribute": "", "low": None, "high": None, "n": None, "patients": None, "reason": reason,
                    "level": 0.95, "method": "by hand", "detail": more}  # fmt: skip
    return Measurement(run=run, position=position, detail=whole, reason=reason, **told)


def told(run: AuditRun) -> list[Measurement]:
    figures = [
        figure(run, 0, "copies", "records", 0.25, null=0.0),
        figure(run, 1, "copies", "images", None),
        figure(run, 2, "column_shape", "age", 0.7, null=0.97),
        figure(run, 3, "column_shape", "sex", 0.99, null=0.98),
        figure(run, 4, "column_shape", "country", None),
        figure(run, 5, "pair_trend", "age and sex", 0.83),
        figure(run, 6, "pair_trend", "crp: mean and age", 0.99),
    ]
    AuditRun.objects.filter(pk=run.pk).update(status=RunStatus.DONE, outcome=Outcome.FAIL)
    Measurement.objects.bulk_create(figures)
    Verdict.objects.create(
        run=run, position=0, criterion="copies", label="patients", outcome=Outcome.FAIL, statement="Fails: copies."
    )
    return figures


def test_attacks_say_what_they_mean_and_what_became_of_them(audit: Any) -> None:
    run = audit()
    found = {item.title: item for item in attacks_of(run, told(run))}
    copies = next(item for item in found.values() if item.plainly == MEANINGS["copies"].plainly)
    assert (copies.outcome, copies.criterion, copies.allowed) == ("fail", "singling out", "at most 0.01")
    assert [item.value for item in copies.figures] == [0.25, None]
    untried = [item for item in found.values() if item is not copies]
    assert untried and all(item.figures == [] and item.outcome == "" for item in untried)


def test_the_least_alike_comes_first_and_the_map_is_symmetrical(audit: Any) -> None:
    figures = told(audit())
    assert [item.label for item in shapes_of(figures)] == ["age", "sex", "country"]
    found = pairs_of(figures)
    assert found["names"] == ["age", "sex", "crp: mean"] and found["left"] == 0
    cells = [[cell["value"] for cell in row["cells"]] for row in found["rows"]]
    assert cells == [[None, 0.83, 0.99], [0.83, None, None], [0.99, None, None]]
    assert found["rows"][0]["cells"][1]["shade"] == "3" and found["rows"][0]["cells"][2]["shade"] == "0"
    assert pairs_of([]) == {}


def test_the_page_of_a_judged_audit_shows_them(
    audit: Any, client: Any, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Audit, "figures", passing)
    run = finish(audit())
    Measurement.objects.bulk_create([
        figure(run, 900, "column_shape", "age", 0.7, null=0.97), figure(run, 901, "column_shape", "country", None),
        figure(run, 902, "pair_trend", "age and sex", 0.83),
    ])  # fmt: skip
    client.force_login(people.amir)
    page = client.get(reverse("audit", args=[run.pk])).content.decode()
    assert "Attacks on privacy, in plain words" in page and "real .000" in page
    assert MEANINGS["copies"].plainly in page
    assert "Shapes of columns" in page and "Not computed: nothing was there" in page
    assert "heat__cell--3" in page
