"""The page of an audit of synthetic patients: attacks in plain words, shapes of columns, maps of pairs and patients."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.urls import reverse

from evaluation.models import AuditRun, Measurement, Outcome, RunStatus, Verdict
from synthetic.pages.audit_pictures import CELL, map_pictures, shape_picture
from synthetic.selectors_audits import attacks_of, pairs_of, shapes_of
from synthetic.suites.audit import Audit
from synthetic.suites.density_map import density_map
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


def test_pairs_of_two_tables_are_on_the_map_and_a_name_may_hold_its_and(audit: Any) -> None:
    run = audit()
    figures = [
        figure(run, 0, "column_shape", "chills and fever", 0.9), figure(run, 1, "column_shape", "sex", 0.9),
        figure(run, 2, "intertable_trend", "chills and fever and sex", 0.7, null=0.95),
    ]  # fmt: skip
    found = pairs_of(figures)
    assert found["names"] == ["chills and fever", "sex"]
    assert [cell["shade"] for cell in found["rows"][0]["cells"]] == ["own", "4"]
    assert [item.value for item in found["list"]] == [0.7]


def test_shapes_stand_on_one_axis_with_the_bars_of_the_protocol(audit: Any) -> None:
    figures = told(audit())
    found = shape_picture(shapes_of(figures), {"column_shape": 0.8, "column_shape_mean": 0.9})
    assert found is not None
    age, sex, country = found.rows
    order = [float(place) for place in (age.dot, found.bars[0][0], found.bars[1][0], age.null, sex.dot)]
    assert order == sorted(order) and len(set(order)) == 5
    assert age.below and not sex.below and country.dot == ""
    places = [float(place) for place, _ in found.ticks]
    assert found.ticks[0][1] == "1.0" and places == sorted(places, reverse=True)
    assert found.headline == "Least alike is age: .700, among real patients .970. 1 of 2 columns reach .80."
    bare = shape_picture(shapes_of(figures), {})
    assert bare is not None and bare.bars == () and not any(row.below for row in bare.rows)
    assert shape_picture([], {}) is None


def lying(run: AuditRun, position: int) -> Measurement:
    rng = np.random.default_rng(1)
    real, synthetic = rng.normal(size=(400, 3)), rng.normal(loc=(1.0, 0.0, 0.0), size=(400, 3))
    return figure(run, position, "alpha_precision", "columns", 0.6, null=0.95, map=density_map(real, synthetic))


def test_a_map_tells_both_sets_on_one_scale_and_where_they_are_apart(audit: Any) -> None:
    [found] = map_pictures([lying(audit(), 0)])
    real, made = found.sides
    assert found.size == 4 * CELL and len(real.cells) == len(made.cells) == 16
    assert max(cell.shade for side in found.sides for cell in side.cells) == 5
    assert all((cell.count is None) == (cell.shade == 0) for side in found.sides for cell in side.cells)
    assert "Real patients never learnt from: 400 on a grid of 4 by 4." in real.alternative
    assert found.apart.startswith("They are most apart 4 across") or found.apart.startswith("They are most apart 2 ")
    assert {across for across, _, _, _ in found.rows} <= {1, 2, 3, 4}
    assert map_pictures(told(audit(settings={"seed": 1}))) == []


def test_the_page_of_a_judged_audit_shows_them(
    audit: Any, client: Any, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: Any,
) -> None:  # fmt: skip
    monkeypatch.setattr(Audit, "figures", passing)
    run = finish(audit())
    Measurement.objects.bulk_create([
        figure(run, 900, "column_shape", "age", 0.7, null=0.97), figure(run, 901, "column_shape", "country", None),
        figure(run, 902, "pair_trend", "age and sex", 0.83), lying(run, 903),
    ])  # fmt: skip
    client.force_login(people.amir)
    with django_assert_max_num_queries(40):
        page = client.get(reverse("audit", args=[run.pk])).content.decode()
    assert page.count('<svg class="density__map"') == 2 and "Where patients lie" in page
    assert "n = 500 patients" in page
    assert "Attacks on privacy, in plain words" in page and "real .000" in page
    assert MEANINGS["copies"].plainly in page
    assert "Shapes of columns" in page and "Not computed: nothing was there" in page
    assert "heat__cell--3" in page
