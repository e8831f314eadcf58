"""Two audits compared: intervals against independent oracles, planted changes, refusals in words, and the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from core.models import Role, RoleGrant, User
from evaluation.engine import assess, sketch_shard
from evaluation.engine.differences import Difference, corrected, differences, mover
from evaluation.engine.pairing import PairedScene
from evaluation.engine.records import ShardTable
from models_registry.models import AISystem
from tests.pages import scene
from tests.pages.test_markup import Page
from tests.synthetic.test_repairs_compared import PATIENTS, RULES
from tests.synthetic.test_repairs_compared import scene as studies

SignIn = Callable[[str], Client]
MOST_QUERIES = 12


def measured(table: ShardTable) -> list[dict[str, Any]]:
    found = assess(RULES, sketch_shard(RULES, table), cross_check=False, with_advice=False)
    return [item.to_dict() for item in found.measurements]


def held(before: ShardTable, after: ShardTable, *, paired: bool = True) -> list[Difference]:
    both = PairedScene(RULES, before, after) if paired else None
    return corrected(differences(measured(before), measured(after), scene=both))


def the(found: list[Difference], metric: str, **names: str) -> Difference:
    wanted = {"metric": metric, "label": "effusion", "attribute": "", "group": "All"} | names
    (one,) = [item for item in found if all(getattr(item, name) == value for name, value in wanted.items())]
    return one


BEFORE = {"F": 0.6, "M": 0.9}


# ---- The statistics


@pytest.mark.parametrize(("x", "n", "y", "m"), [(30, 100, 45, 100), (0, 40, 3, 50), (188, 200, 120, 160)])
def test_intervals_of_two_samples_are_newcombes(x: int, n: int, y: int, m: int) -> None:
    sides = [(k / size, *proportion_confint(k, size, method="wilson")) for k, size in ((x, n), (y, m))]
    wanted = confint_proportions_2indep(y, m, x, n, compare="diff", method="newcomb")
    assert mover(*sides) == pytest.approx(wanted, abs=1e-12)


def test_paired_rates_and_gaps_agree_with_a_bootstrap_of_patients() -> None:
    before, after = studies(BEFORE), studies({"F": 0.8, "M": 0.88}, seed=1)
    found = held(before, after)
    rate, gap = the(found, "tpr", attribute="sex", group="F"), the(found, "equal_opportunity_difference",
                                                                 attribute="sex", group="M vs F")  # fmt: skip
    assert rate.paired and gap.paired
    women, ill = before.attributes["sex"] == "F", before.labels["effusion"] == 1
    rng, rates, gaps = np.random.default_rng(3), [], []
    for _ in range(1500):
        rows = (rng.integers(0, PATIENTS, PATIENTS)[:, None] * 2 + np.arange(2)).ravel()
        tpr = {
            (side, sex): table.decisions["effusion"][rows][ill[rows] & (women[rows] == sex)].mean()
            for side, table in (("b", before), ("a", after))
            for sex in (True, False)
        }
        rates.append(tpr["a", True] - tpr["b", True])
        gaps.append(abs(tpr["a", True] - tpr["a", False]) - abs(tpr["b", True] - tpr["b", False]))
    for item, draws in ((rate, rates), (gap, gaps)):
        assert item.value is not None and item.low is not None and item.high is not None
        assert (item.high - item.low) / 2 == pytest.approx(1.96 * np.std(draws), rel=0.08)
        assert item.value == pytest.approx(np.mean(draws), abs=0.01)


def test_without_pairs_the_interval_is_as_wide_as_two_independent_samples_of_patients_have() -> None:
    before, after = studies(BEFORE), studies({"F": 0.8, "M": 0.88}, seed=1)
    item = the(held(before, after, paired=False), "tpr", attribute="sex", group="F")
    chosen = (before.attributes["sex"] == "F") & (before.labels["effusion"] == 1)
    rng, draws = np.random.default_rng(5), []
    for _ in range(1500):
        rates = []
        for table in (before, after):  # each side draws patients of its own
            rows = (rng.integers(0, PATIENTS, PATIENTS)[:, None] * 2 + np.arange(2)).ravel()
            rates.append(table.decisions["effusion"][rows][chosen[rows]].mean())
        draws.append(rates[1] - rates[0])
    assert not item.paired and item.low is not None and item.high is not None
    assert (item.high - item.low) / 2 == pytest.approx(1.96 * np.std(draws), rel=0.1)


def test_pairing_is_narrower_on_the_same_patients() -> None:
    before, after = studies(BEFORE), studies({"F": 0.7, "M": 0.9}, seed=1)
    width = {}
    for paired in (True, False):
        item = the(held(before, after, paired=paired), "tpr", attribute="sex", group="F")
        assert item.low is not None and item.high is not None
        width[paired] = item.high - item.low
    assert width[True] < 0.7 * width[False]


def test_a_p_below_alpha_and_an_interval_without_zero_are_the_same() -> None:
    for paired in (True, False):
        found = held(studies(BEFORE), studies({"F": 0.7, "M": 0.9}, seed=1), paired=paired)
        told = [item for item in found if item.p is not None and item.low is not None and item.high is not None]
        outside = [not item.low <= 0 <= item.high for item in told]  # type: ignore[operator]
        assert [item.p < 0.05 for item in told] == outside and len({*outside}) == 2  # type: ignore[operator]


def test_p_values_are_corrected_by_holm_over_all_that_have_one() -> None:
    found = held(studies(BEFORE), studies({"F": 0.66, "M": 0.9}, seed=1))
    raw = [item.p for item in found if item.p is not None]
    wanted = multipletests(raw, method="holm")[1]
    assert [item.adjusted for item in found if item.p is not None] == pytest.approx(list(wanted))
    assert {item.family for item in found} == {len(raw)}
    part = corrected([item for item in found if item.label == "mass"])
    assert part[0].family < len(raw), "a narrower question is corrected for less"


def test_planted_harm_is_found_and_the_same_model_is_not_said_to_change() -> None:
    table = studies(BEFORE)
    assert not [item for item in held(table, table) if item.p is not None or item.value not in (0.0, None)]
    harm = held(table, studies({"F": 0.45, "M": 0.9}, seed=1))
    item = the(harm, "tpr", attribute="sex", group="F")
    assert item.beyond(0.05) and item.direction == "worse"
    assert the(harm, "equal_opportunity_difference", attribute="sex", group="M vs F").direction == "worse"
    assert the(harm, "prevalence").reason == "the same in both"
    back = the(held(studies({"F": 0.45, "M": 0.9}, seed=1), table), "tpr", attribute="sex", group="F")
    assert back.direction == "better" and back.value == pytest.approx(-(item.value or math.nan))


def test_chance_alone_is_rarely_told_as_a_change() -> None:
    """Two draws of one model on the same patients: at most one family of 30 may hold a false alarm at .05, by Holm."""
    wrong = sum(
        any(item.beyond(0.05) for item in held(studies(BEFORE, seed=seed), studies(BEFORE, seed=seed + 50)))
        for seed in range(8)
    )
    assert wrong <= 1


def test_what_cannot_be_compared_says_why() -> None:
    before, after = measured(studies(BEFORE)), measured(studies({"F": 0.8, "M": 0.9}, seed=1))
    rate = next(row for row in after if row["metric"] == "tpr" and row["group"] == "F" and row["label"] == "effusion")
    rate |= {"value": None, "low": None, "high": None, "reason": "suppressed: fewer than 11 patients"}
    gap = next(row for row in after if row["metric"] == "equal_opportunity_difference" and row["label"] == "effusion"
               and row["attribute"] == "age_band")  # fmt: skip
    was = next(row["group"] for row in before if all(row[key] == gap[key] for key in ("metric", "label", "attribute")))
    gap["group"] = "<50 vs others"
    found = differences(before, after, scene=None)
    one = the(found, "tpr", attribute="sex", group="F")
    assert (one.value, one.reason) == (None, "suppressed: fewer than 11 patients")
    other = next(item for item in found if item.group == "<50 vs others")
    assert other.low is None and was in other.reason


def test_predictions_that_do_not_give_what_was_measured_are_not_paired() -> None:
    before, after = studies(BEFORE), studies({"F": 0.8, "M": 0.88}, seed=1)
    other = PairedScene(RULES, studies({"F": 0.3, "M": 0.9}, seed=9), after)
    found = differences(measured(before), measured(after), scene=other)
    assert not the(found, "tpr", attribute="sex", group="F").paired


# ---- The page


@pytest.fixture
def two(house: SimpleNamespace) -> tuple[int, int]:
    """A failed audit and a passed one of another version, by one protocol on one cohort; predictions were not kept."""
    passed = scene.run(house.twin, house.cohort, house.protocol, outcome="fail")
    passed.verdicts.filter(outcome="fail").update(outcome="pass")
    for row in passed.verdicts.filter(outcome="pass"):
        row.detail |= {"outcome": "pass"}
        row.save()
    for row in passed.measurements.filter(label="effusion", group="F & >=80"):
        row.detail |= {"value": 0.86, "low": 0.81, "high": 0.91}
        row.save()
    return house.fail.pk, passed.pk


def compared(client: Client, left: object, right: object, **asked: str) -> Any:
    return client.get("/compare/", {"left": left, "right": right, **asked})


def test_verdicts_first_then_the_picture_then_every_difference(
    two: tuple[int, int], house: SimpleNamespace, sign_in: SignIn
) -> None:
    answer = compared(sign_in("mina"), f"run:{two[0]}", f"run:{two[1]}")
    text = answer.content.decode()
    page = Page(text)
    assert (answer.status_code, page.faults, page.tags["h1"], page.unnamed()) == (200, [], 1, [])
    assert [name for name, times in page.ids.items() if times > 1] == []
    assert text.index("Verdicts that changed") < text.index('id="picture"') < text.index("Every difference")
    assert "No verdict is worse, 1 is better" in text and "1 of 1 difference is beyond chance" in text.replace("\n", "")
    assert "cannot be compared" in text or "intervals of both are combined" in text, (
        "it does not say that it is unpaired"
    )
    row = next(item for item in answer.context["rows"] if item.group == "F & >=80" and item.label == "effusion")
    assert (row.before, row.after, row.direction, row.paired) == (0.61, 0.86, "better", False)
    assert row.low == pytest.approx(0.25 - math.hypot(0.05, 0.05))
    swapped = compared(sign_in("mina"), f"run:{two[1]}", f"run:{two[0]}").content.decode()
    assert "1 verdict is worse" in swapped


def test_versions_are_compared_by_their_newest_audits_that_fit(
    two: tuple[int, int], house: SimpleNamespace, sign_in: SignIn
) -> None:
    newer = scene.run(house.twin, house.real, house.protocol, outcome="pass")
    answer = compared(sign_in("mina"), f"version:{house.version.pk}", f"version:{house.twin.pk}")
    found = answer.context["compared"]
    assert (found.left.pk, found.right.pk) == two, "one cohort goes before a newer audit on another"
    text = compared(sign_in("mina"), f"run:{two[0]}", f"run:{newer.pk}").content.decode()
    assert "two cohorts, so the patients are other ones" in text


@pytest.mark.parametrize("kind", ["running", "other", "twice", "none"])
def test_it_refuses_in_words(two: tuple[int, int], house: SimpleNamespace, sign_in: SignIn, kind: str) -> None:
    other = scene.protocol("other-rules")
    other.body["criteria"][0]["margin"] = 0.2
    other.save()
    by_other = scene.run(house.twin, house.cohort, other)
    right, words = {
        "running": (f"run:{house.running.pk}", "is running, so it has nothing to compare"),
        "other": (f"run:{by_other.pk}", "do not ask the same: their criteria differ"),
        "twice": (f"run:{two[0]}", "was chosen twice"),
        "none": (f"version:{house.broken.version_id}", "No two audits of these versions that are done"),
    }[kind]
    answer = compared(sign_in("mina"), f"run:{two[0]}", right)
    assert answer.status_code == 409 and words in answer.content.decode()
    chart = sign_in("mina").get("/compare/differences.svg", {"left": f"run:{two[0]}", "right": right})
    assert chart.status_code == 404


def test_protocols_that_differ_in_words_alone_ask_the_same(
    two: tuple[int, int], house: SimpleNamespace, sign_in: SignIn
) -> None:
    renamed = scene.protocol("renamed-rules")
    run = scene.run(house.twin, house.cohort, renamed)
    assert compared(sign_in("mina"), f"run:{two[0]}", f"run:{run.pk}").status_code == 200


def test_pages_lead_to_comparisons_and_ask_no_more_for_it(
    two: tuple[int, int], house: SimpleNamespace, sign_in: SignIn
) -> None:
    client = sign_in("mina")
    client.get("/systems/chest-model/")  # what is worked out once after each act
    with CaptureQueriesContext(connection) as asked:
        text = client.get("/systems/chest-model/").content.decode()
    assert "/compare/?left=version:" in text and len(asked) <= MOST_QUERIES
    assert f"/compare/?left=run:{two[0]}" in client.get(f"/audits/{two[0]}/").content.decode()
    room = client.get(f"/systems/chest-model/versions/{house.version.pk}/~audits/").content.decode()
    assert f"/compare/?left=run:{two[0]}" in room
    assert "/compare/" not in client.get("/systems/text-mined-labels/").content.decode()


def test_what_is_not_there_is_not_found_and_regulators_are_kept_out(
    two: tuple[int, int], house: SimpleNamespace, sign_in: SignIn
) -> None:
    for wrong in ("run:99999", "version:99999", "run:", "shard:1", "run:1 or 1", f"run:{10**40}"):
        assert compared(sign_in("mina"), f"run:{two[0]}", wrong).status_code == 404, wrong
    assert compared(sign_in("rita"), f"run:{two[0]}", f"run:{two[1]}").status_code == 403
    assert "Choose an audit" in sign_in("mina").get("/compare/").content.decode()
    one_side = sign_in("mina").get("/compare/", {"left": f"run:{two[0]}"}).content.decode()
    assert f'value="run:{two[0]}" selected' in one_side


def test_who_is_limited_to_another_system_is_told_nothing(
    two: tuple[int, int], house: SimpleNamespace, db: None
) -> None:
    near, far = (
        person_limited_to(of, name) for of, name in ((house.system, "nadia"), (scene.system("Retina"), "fabio"))
    )
    urls = [
        f"/compare/?left=run:{two[0]}&right=run:{two[1]}",
        f"/compare/?left=version:{house.version.pk}&right=run:{two[1]}",
    ]
    for person, code in ((near, 200), (far, 404)):
        client = Client()
        client.force_login(person)
        assert [client.get(url).status_code for url in urls] == [code, code]
        assert (f"run:{two[0]}" in client.get("/compare/").content.decode()) is (code == 200)


def person_limited_to(of: AISystem, name: str) -> User:
    person = User.objects.create(username=name)
    RoleGrant.objects.create(user=person, role=Role.AUDITOR, system_key=of.pk)
    return person


def test_the_correction_is_over_what_the_filter_leaves_whatever_is_shown_of_it(
    two: tuple[int, int], house: SimpleNamespace, sign_in: SignIn
) -> None:
    for number in range(30):
        for pk in two:
            row = house.fail.measurements.model.objects.get(run=pk, position=0)
            detail = row.detail | {"group": f"band {number}", "value": 0.5 + (0.02 if pk == two[1] else 0)}
            detail |= {"low": detail["value"] - 0.03, "high": detail["value"] + 0.03}
            row.pk, row.position, row.detail = None, 100 + number, detail
            row.save()
    client, names = sign_in("mina"), (f"run:{two[0]}", f"run:{two[1]}")
    every = compared(client, *names).context
    assert every["family"] == 31
    changed = compared(client, *names, changed="yes").context
    assert changed["family"] == 31 and len(changed["rows"]) == every["beyond"] == 1
    narrow = compared(client, *names, q=">=80").context
    assert narrow["family"] == 1


def test_picture_and_page_ask_few_questions_at_any_size(
    two: tuple[int, int], house: SimpleNamespace, sign_in: SignIn
) -> None:
    client, names = sign_in("mina"), (f"run:{two[0]}", f"run:{two[1]}")
    svg = client.get("/compare/differences.svg", {"left": names[0], "right": names[1], "theme": "dark"})
    assert svg.status_code == 200 and svg.content.startswith(b"<svg")

    def count() -> int:
        with CaptureQueriesContext(connection) as found:
            assert compared(client, *names).status_code == 200
        return len(found)

    before = count()
    for _ in range(10):
        scene.run(house.twin, house.cohort, house.protocol, shards=20)
    assert (count(), before <= MOST_QUERIES) == (before, True), before
