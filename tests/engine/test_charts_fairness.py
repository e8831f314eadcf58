"""Calibration, trade-off and heat map: the finding, the words and the table are those of the measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from evaluation import charts
from evaluation.charts.calibration import departures
from evaluation.charts.drawing import OKABE_ITO, round_domain, short_group
from evaluation.charts.heatmap_plot import luminance, readable_on
from tests.engine import measured
from tests.engine.measured import alone, benefits, bins, calibration, crossed, gap, measurement, nothing, verdict

SVG = "{http://www.w3.org/2000/svg}"
SEXES = {"F": bins(0.12, above=0.4, hidden=(9,)), "M": bins(0.0, n=3000)}
AGES = {age: bins(shift) for age, shift in
        zip(("18-39", "40-59", "60-69", "70-79", ">=80"), (-0.09, 0.0, 0.0, 0.0, 0.15), strict=True)}  # fmt: skip
SKILLS = {"18-39": 0.25, "40-59": 0.22, "60-69": 0.2, "70-79": 0.12, ">=80": 0.05, "X": None}


def two_groups() -> charts.ChartPlan:
    return charts.plan_calibration(calibration(SEXES), label="effusion", attribute="sex")


def many_groups() -> charts.ChartPlan:
    rows = calibration(AGES | {"Unknown": []}, attribute="age_band")
    return charts.plan_calibration(rows, label="effusion", attribute="age_band")


def tradeoff() -> charts.ChartPlan:
    return charts.plan_tradeoff(benefits({"F": 0.05, "M": 0.2}), label="effusion", attribute="sex")


def tradeoff_of_many() -> charts.ChartPlan:
    return charts.plan_tradeoff(benefits(SKILLS, attribute="age_band"), label="effusion", attribute="age_band")


def spread(**detail: Any) -> dict[str, Any]:
    pair = {"groups": ["F & >=80", "M & 18-39"], "value": -0.25, "low": -0.3, "high": -0.2}
    return gap([pair], attribute="sex & age_band", detail=detail)


def heatmap(*more: dict[str, Any]) -> charts.ChartPlan:
    return charts.plan_heatmap([*crossed(), *alone(), *more], label="effusion", attribute="sex & age_band")


def of_three() -> charts.ChartPlan:
    name = "site & sex & age_band"
    rows = [m | {"attribute": name, "group": f"{site} & {m['group']}"} for site in ("A", "B") for m in crossed()]
    return charts.plan_heatmap(rows, label="effusion", attribute=name)


def forest(metric: str, rows: Sequence[dict[str, Any]], **changes: Any) -> charts.ChartPlan:
    return charts.plan_forest(rows, verdict(metric=metric, **changes))


def slopes() -> charts.ChartPlan:
    rows = [measurement(metric="calibration_slope", value=0.7, low=0.62, high=0.78)]
    return forest("calibration_slope", rows, margin=0.2)


def ratios() -> charts.ChartPlan:
    pair = {"groups": ["F", "M"], "value": 0.667, "low": 0.58, "high": 0.76}
    rows = [measurement(metric="selection_rate", value=0.2, low=0.17, high=0.23)]
    rows.append(gap([pair], rate="selection_rate", metric="demographic_parity_ratio"))
    return forest("demographic_parity_ratio", rows, margin=0.8, direction="at_least")


PLANS = [two_groups, many_groups, tradeoff, tradeoff_of_many, heatmap, of_three, slopes, ratios]


def words(svg: str) -> str:
    return " ".join(" ".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text"))


def brief(part: Any) -> Any:
    """A specification with one row of each data set: all rows are alike, and checking them takes long."""
    if isinstance(part, dict):
        return {name: item[:1] if name == "values" else brief(item) for name, item in part.items()}
    return [brief(item) for item in part] if isinstance(part, list) else part


@pytest.mark.parametrize("make", PLANS)
def test_every_specification_is_valid_vega_lite(make: Callable[[], charts.ChartPlan]) -> None:
    from altair.utils.schemapi import validate_jsonschema
    from altair.vegalite.v6.schema.core import load_schema

    validate_jsonschema(brief(make().specify(charts.PALETTES["dark"])), load_schema())


@pytest.mark.parametrize("make", PLANS)
def test_a_picture_is_the_same_every_time_fits_the_page_and_holds_its_finding(
    make: Callable[[], charts.ChartPlan],
) -> None:
    one, two = make().draw("light"), make().draw("light")
    assert one == two
    assert "<script" not in one.svg and "style=" not in one.svg
    assert float(ElementTree.fromstring(one.svg).attrib["width"]) <= 725
    assert " ".join(one.title.split()[:5]) in words(one.svg)
    assert one.text_alternative.startswith(one.title)
    assert one.table_rows and all(len(row) == len(one.table_headers) for row in one.table_rows)
    assert not any(row[0].startswith("None") or "None" in row for row in one.table_rows)


def test_the_finding_is_the_side_on_which_scores_depart() -> None:
    assert two_groups().title == "Effusion: scores of female patients are too low above .40"
    assert "age band ≥80 are too low below .90" in many_groups().title
    assert "age band 18-39 are too high" in many_groups().title


def test_scores_that_agree_are_not_called_off_by_chance() -> None:
    rows = calibration({"F": bins(0.0), "M": bins(0.0, n=3000)})
    assert "agree with what was observed" in charts.plan_calibration(rows, label="effusion", attribute="sex").title


def test_chance_alone_is_called_a_departure_no_more_often_than_promised() -> None:
    """Bins drawn from the truth: a departure in any of two groups, in 5 of 100 audits (and some grace)."""
    rng = np.random.default_rng(3)
    called = 0
    for _ in range(400):
        groups = {}
        for name in ("F", "M"):
            cut = bins(0.0)
            for item in cut:
                p, n = item["predicted"], 400
                observed = rng.binomial(n, p) / n
                half = 1.96 * max(np.sqrt(observed * (1 - observed) / n), 0.5 / n)
                item |= {
                    "n": n,
                    "observed": observed,
                    "observed_low": observed - half,
                    "observed_high": observed + half,
                }
            groups[name] = cut
        plan = charts.plan_calibration(calibration(groups), label="effusion", attribute="sex")
        called += "agree" not in plan.title
    assert called / 400 <= 0.09


def test_suppressed_bins_and_groups_are_told_in_the_table_and_not_drawn() -> None:
    rows = [row for row in two_groups().table_rows if row[2] == "not shown"]
    assert [(row[0], row[1], row[5]) for row in rows] == [("Female", ".90 to 1.00", measured.FEW)]
    chart = many_groups().draw("print")
    assert ("Unknown", "all", "not shown", "", "", measured.FEW) in chart.table_rows
    assert "Unknown: fewer than 11 patients" in words(chart.svg)


def test_groups_share_a_plot_up_to_four_and_differ_in_colour_and_shape() -> None:
    svg = two_groups().draw("light").svg
    shapes = {node.attrib["d"] for node in ElementTree.fromstring(svg).iter(f"{SVG}path")
              if node.attrib.get("fill") in OKABE_ITO[:2]}  # fmt: skip
    assert len(shapes) >= 2
    assert "calibration error" in words(many_groups().draw("light").svg)
    assert departures([]) == []


@pytest.mark.parametrize(
    ("plan", "rows"),
    [
        (charts.plan_calibration, []),
        (charts.plan_calibration, calibration({"F": [], "M": []})),
        (charts.plan_calibration, [nothing(metric="ece", detail={"bins": bins(0.0, hidden=range(10))})]),
        (charts.plan_tradeoff, []),
        (charts.plan_tradeoff, benefits({"F": None, "M": None})),
    ],
)
def test_what_cannot_be_drawn_says_why(plan: Callable[..., charts.ChartPlan], rows: list[dict[str, Any]]) -> None:
    with pytest.raises(charts.NothingToDrawError) as caught:
        plan(rows, label="effusion", attribute="sex")
    if not rows:
        assert "decisions and no scores" in caught.value.message
    else:
        assert caught.value.message.startswith("No group of sex can be shown")
    assert caught.value.remedy


def test_one_group_is_drawn_and_compares_nothing() -> None:
    plan = charts.plan_tradeoff(benefits({"F": 0.1}), label="effusion", attribute="sex")
    assert "nothing can be compared" in plan.title
    assert plan.draw("dark").svg.startswith("<svg")
    one = charts.plan_calibration(calibration({"F": bins(0.0)}), label="effusion", attribute="sex")
    assert one.draw("dark").svg.startswith("<svg")


def test_the_trade_off_names_the_threshold_that_would_close_the_gap() -> None:
    plan = tradeoff()
    points = {point["threshold"]: point for point in measured.curve(0.05)}
    wanted = next(point["tpr"] for point in measured.curve(0.2) if point["threshold"] == 0.3)
    closing = max(at for at, point in points.items() if point["tpr"] >= wanted)
    assert f"the former would need a threshold of {measured_words(closing)} to reach the latter" in plan.title
    frozen = [row for row in plan.table_rows if row[-1] == "frozen threshold"]
    assert [(row[0], row[1]) for row in frozen] == [("Female", ".30"), ("Male", ".30")]
    assert frozen[0][2] == measured_words(points[0.3]["tpr"])


def measured_words(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def test_without_a_frozen_threshold_none_is_marked() -> None:
    rows = benefits({"F": 0.05, "M": 0.2}, threshold=None)
    plan = charts.plan_tradeoff(rows, label="effusion", attribute="sex")
    assert "at a threshold of .50 (the protocol froze none): a sensitivity of" in plan.title
    assert "frozen threshold" not in words(plan.draw("light").svg)


def test_more_groups_than_can_be_told_apart_are_left_to_the_table() -> None:
    rows = benefits({f"site {place}": 0.1 for place in range(11)}, attribute="site")
    chart = charts.plan_tradeoff(rows, label="effusion", attribute="site").draw("light")
    assert "Not drawn: site 8, site 9, site 10" in words(chart.svg)
    assert {row[0] for row in chart.table_rows} == {f"site {place}" for place in range(11)}


def test_a_heat_map_shows_value_and_n_and_names_what_is_not_shown() -> None:
    chart = heatmap(spread(shrunken={"F & >=80": 0.64})).draw("light")
    assert (
        chart.title
        == "Effusion: sensitivity is lowest in female patients, age band ≥80: .61 (.56 to .66); all studies .79"
    )
    said = words(chart.svg)
    assert "suppressed" in said and "n = 1,420" in said and "Female" in said and "≥80" in said
    by_group = {row[:2]: row for row in chart.table_rows}
    assert by_group["Female", "≥80"][3] == ".64"
    assert by_group["Male", "≥80"][2:] == ("not shown", "", "", "", measured.FEW)
    assert by_group["Male", "60-79"][-1].startswith("not judged")


def test_a_difference_that_chance_would_give_is_not_called_one() -> None:
    assert "no more than chance would give" in heatmap(spread(heterogeneity_p=0.4)).title
    assert "is lowest in" in heatmap(spread(heterogeneity_p=0.001)).title


def test_a_rate_of_which_more_is_worse_is_led_by_the_highest() -> None:
    plan = charts.plan_heatmap(crossed(metric="fpr"), label="effusion", attribute="sex & age_band", metric="fpr")
    assert "false positive rate is highest in" in plan.title


def test_three_attributes_make_a_grid_for_each_value_of_the_first() -> None:
    chart = of_three().draw("print")
    assert chart.table_headers[:3] == ("Site", "Sex", "Age band")
    assert chart.table_rows[0][:3] == ("A", "Female", "18-39")
    assert words(chart.svg).split().count("suppressed") == 2


def test_crossed_groups_that_nobody_is_in_are_no_hole() -> None:
    rows = [m for m in crossed() if m["group"] != "M & 18-39"]
    chart = charts.plan_heatmap(rows, label="effusion", attribute="sex & age_band").draw("light")
    assert "no studies" in words(chart.svg)


def test_a_heat_map_without_a_value_says_why() -> None:
    rows = [nothing(attribute="sex & age_band", group=m["group"]) for m in crossed()]
    with pytest.raises(charts.NothingToDrawError, match="fewer than 11 patients"):
        charts.plan_heatmap(rows, label="effusion", attribute="sex & age_band")
    with pytest.raises(charts.NothingToDrawError, match="was not measured over sex and age band"):
        charts.plan_heatmap([], label="effusion", attribute="sex & age_band")


@pytest.mark.parametrize("theme", charts.PALETTES.values())
def test_the_scale_of_a_heat_map_has_one_direction_and_every_cell_can_be_read(theme: charts.Palette) -> None:
    from evaluation.charts.heatmap_plot import _mixed

    steps = [_mixed(share, theme.heat) for share in np.linspace(0, 1, 33)]
    light = [luminance(colour) for colour in steps]
    assert light == sorted(light) or light == sorted(light, reverse=True)
    for colour in steps:
        one, other = sorted((luminance(colour), luminance(readable_on(colour))), reverse=True)
        assert (one + 0.05) / (other + 0.05) >= 4.5, colour


@pytest.mark.parametrize("theme", charts.PALETTES.values())
def test_colours_of_groups_differ_and_text_holds_wcag_aa(theme: charts.Palette) -> None:
    assert len(set(theme.series)) == len(theme.series) == 8
    for colour in (theme.ink, theme.quiet):
        one, other = sorted((luminance(colour), luminance(theme.ground)), reverse=True)
        assert (one + 0.05) / (other + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("metric", "direction", "margin", "accepted", "drawn"),
    [
        ("tpr_difference", "at_most", 0.1, "Accepted: within ±.10.", "margin ±.10"),
        ("auroc_difference", "at_most", 0.05, "Accepted: within ±.05.", "margin ±.05"),
        ("tpr", "at_least", 0.8, "Accepted: at least .80.", "margin .80"),
        ("brier", "at_most", 0.125, "Accepted: at most .125.", "margin .125"),
        ("calibration_intercept", "at_most", 0.2, "Accepted: within ±.20.", "margin ±.20"),
        ("calibration_slope", "at_most", 0.2, "Accepted: .80 to 1.20.", "accepted .80 to 1.20"),
        ("observed_expected", "at_most", 0.25, "Accepted: .80 to 1.25.", "accepted .80 to 1.25"),
        ("demographic_parity_ratio", "at_least", 0.8, "Accepted: .80 to 1.25.", "accepted .80 to 1.25"),
        ("net_benefit", "at_least", 0.02, "Accepted: at least .02.", "margin .02"),
    ],
)
def test_what_is_accepted_is_said_and_drawn_alike(
    metric: str, direction: str, margin: float, accepted: str, drawn: str
) -> None:
    rate = metric.removesuffix("_difference").replace("demographic_parity_ratio", "selection_rate")
    rows = [measurement(metric=rate, group=group) for group in ("F", "M")]
    if rate != metric:
        rows.append(gap([{"groups": ["F", "M"], "value": 0.9, "low": 0.8, "high": 1.0}], rate=rate, metric=metric))
    plan = charts.plan_forest(rows, verdict(metric=metric, direction=direction, margin=margin))
    assert accepted in plan.text_alternative
    assert drawn in words(plan.draw("light").svg)


def test_a_ratio_is_beyond_on_either_side_of_its_region() -> None:
    assert ratios().table_rows[-1][1] == "Female / Male"
    assert ratios().table_rows[-1][-1] == slopes().table_rows[0][-1] == "beyond the margin"


def test_a_gap_of_gaps_names_each_pair_of_groups() -> None:
    pair = {"groups": ["F", "M"], "value": -0.16, "low": -0.2, "high": -0.12}
    rows = [measurement(metric="xauc", group="F vs M", value=0.72, low=0.7, high=0.74)]
    plan = forest("xauc_difference", [*rows, gap([pair], rate="xauc", metric="xauc_difference")])
    assert [row[1] for row in plan.table_rows] == ["Female vs Male", "Female vs Male − Male vs Female"]


def test_small_numbers_keep_the_digits_that_tell_them_apart() -> None:
    rows = [measurement(metric="net_benefit", value=0.0213, low=0.0151, high=0.0274)]
    plan = forest("net_benefit", rows, direction="at_least", margin=0.025)
    assert plan.table_rows[0][2] == ".021 (.015 to .027)"


@pytest.mark.parametrize("ends", [[0.2, 0.9], [-0.31, 0.15], [0.012, 0.034], [0.7], [0.62, 1.4]])
def test_an_axis_holds_every_number(ends: list[float]) -> None:
    low, high = round_domain(ends)
    assert low < min(ends) and high > max(ends)
    assert high - low < 4 * max(max(ends) - min(ends), 0.01)


def test_groups_are_named_for_one_line() -> None:
    assert short_group("sex & age_band", "F & >=80") == "Female, ≥80"
    assert short_group("sex", "F vs M") == "Female vs Male"


def test_a_verdict_on_one_group_is_headed_without_its_interval() -> None:
    said = (
        "Fails: the calibration slope of effusion in female patients is .72 (95% interval .65 to .79), 5,976 studies."
    )
    rows = [measurement(metric="calibration_slope", value=0.72, low=0.65, high=0.79)]
    plan = forest("calibration_slope", rows, margin=0.2, statement=said)
    assert plan.title == "Fails: the calibration slope of effusion in female patients is .72"


def test_studies_of_unknown_attributes_are_no_cell_and_in_the_table() -> None:
    rows = [*crossed(), measurement(attribute="sex & age_band", group="Unknown", value=0.1, n=40)]
    chart = charts.plan_heatmap(rows, label="effusion", attribute="sex & age_band").draw("light")
    assert "Unknown" not in words(chart.svg) and "age band ≥80" in chart.title
    assert chart.table_rows[-1][:3] == ("Unknown", "", ".10 (.74 to .86)")


def test_small_scores_are_spread_on_axes_that_are_alike() -> None:
    cut = [item | {"predicted": item["predicted"] / 9, "observed": item["predicted"] / 9} for item in bins(0.0)]
    cut = [item | {"observed_low": item["observed"] * 0.8, "observed_high": item["observed"] * 1.2} for item in cut]
    rows = calibration({"F": [*cut[:8], cut[9] | {"predicted": 0.5, "observed": 0.5}]})
    scales = [
        layer["encoding"][channel]["scale"]
        for layer in charts.plan_calibration(rows, label="effusion", attribute="sex").specify(charts.PALETTES["light"])[
            "vconcat"
        ][0]["hconcat"][0]["vconcat"][0]["layer"]
        for channel in ("x", "y")
    ]
    assert all(scale == scales[0] and scale["type"] == "sqrt" for scale in scales)
