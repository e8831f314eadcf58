"""Calibration by group: how often the finding was there, bin by bin, against what the scores promised.

Up to four groups share one plot; more have one each. Below are the studies in each bin. Bins of few patients are left
out of the picture and told in the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from statistics import NormalDist

from evaluation.charts.calibration_plot import SHARED, draw_calibration
from evaluation.charts.drawing import (
    ChartPlan,
    NothingToDrawError,
    Row,
    bare_reason,
    by_words,
    capital,
    counted,
    estimate,
    exact,
    joined,
    long_group,
    short_group,
)
from evaluation.engine.records import UNKNOWN
from evaluation.engine.words import number, plain


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group's bins. ``shown``: those that may leave the platform; ``place``: gives colour and shape."""

    place: int
    attribute: str
    row: Row
    bins: tuple[Row, ...]

    @property
    def name(self) -> str:
        return short_group(self.attribute, self.row["group"])

    @property
    def shown(self) -> list[Row]:
        return [item for item in self.bins if item.get("predicted") is not None and item.get("observed") is not None]

    @property
    def judged(self) -> bool:
        return not str(self.row["reason"]).startswith("not judged")

    @property
    def error(self) -> str:
        """The expected calibration error with its interval, or why there is none."""
        row = self.row
        if row["value"] is None:
            return str(row["reason"]).removeprefix("suppressed: ")
        return f"calibration error {estimate(row['value'], row['low'], row['high'], 3)}"


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Neighbouring bins in which a group's scores are on one side of what was observed."""

    group: Group
    too_low: bool
    low: float
    high: float
    first: bool
    last: bool
    size: float

    @property
    def words(self) -> str:
        side = "too low" if self.too_low else "too high"
        if self.first and self.last:
            return f"{side} throughout"
        if self.last:
            return f"{side} above {_edge(self.low)}"
        if self.first:
            return f"{side} below {_edge(self.high)}"
        return f"{side} from {_edge(self.low)} to {_edge(self.high)}"


def _edge(score: float) -> str:
    """The edge of a bin as a sentence tells it: ``.24``, ``.013``."""
    return number(score, 2 if score >= 0.1 or score == 0 else 3)


def plan_calibration(measurements: Sequence[Row], *, label: str, attribute: str) -> ChartPlan:
    """Calibration of one label's scores by the groups of one attribute.

    Args:
        measurements: ``Measurement.to_dict()``; those of metric ``ece`` with this label and attribute are used.

    Raises:
        NothingToDrawError: there are no scores, or no group is large enough to be shown.
    """
    rows = [m for m in measurements if (m["metric"], m["label"], m["attribute"]) == ("ece", label, attribute)]
    if not rows:
        raise NothingToDrawError(
            f"The model gave decisions and no scores for {plain(label)}, so there is no calibration to show.",
            remedy="A model that gives scores is measured here. An audit that was made before scores were measured "
            "has none either: request it again.",
        )
    groups = [
        Group(place=place, attribute=attribute, row=row, bins=tuple(row["detail"].get("bins") or ()))
        for place, row in enumerate(rows)
    ]
    if not any(group.shown for group in groups):
        reason = bare_reason([*rows, *(item for group in groups for item in group.bins)])
        raise NothingToDrawError(
            f"No group of {by_words(attribute)} can be shown: {reason}.",
            remedy="Audit a larger cohort, or choose an attribute with larger groups.",
        )
    title = _title(groups, label, attribute)
    headers = ("Group", "Scores", "Mean score", _observed_heading(rows), "Studies", "Remark")
    return ChartPlan(
        title=title,
        text_alternative=_in_words(title, groups),
        table_headers=headers,
        table_rows=tuple(_table(groups)),
        specify=partial(draw_calibration, title, groups),
    )


def _observed_heading(rows: Sequence[Row]) -> str:
    return f"Observed share ({rows[0]['level']:.0%} interval)"


def _title(groups: Sequence[Group], label: str, attribute: str) -> str:
    found = departures(groups)
    if not found:
        compared = joined([group.name for group in groups if group.shown][:SHARED])
        few = (
            compared
            if sum(bool(group.shown) for group in groups) <= SHARED
            else f"every group of {by_words(attribute)}"
        )
        return f"{capital(plain(label))}: scores agree with what was observed, as far as can be told, in {few}"
    told = "; ".join(f"scores of {long_group(attribute, d.group.row['group'])} are {d.words}" for d in found[:2])
    others = len({d.group.place for d in found[2:]} - {d.group.place for d in found[:2]})
    more = f"; {others} more {'group departs' if others == 1 else 'groups depart'}" if others else ""
    return f"{capital(plain(label))}: {told}{more}"


def departures(groups: Sequence[Group]) -> list[Departure]:
    """Where scores depart from what was observed by more than chance, the largest departure first.

    A bin counts when its distance from the diagonal exceeds what chance would give in any of all the bins shown
    (Bonferroni); it is told with the bins beside it that are beyond their own chance on the same side. One departure
    for each group; Unknown is not named.
    """
    named = [group for group in groups if group.row["group"] != UNKNOWN and group.shown]
    tests = sum(len(group.shown) for group in named)
    found = []
    for group in named:
        level = group.row["level"]
        limit = NormalDist().inv_cdf(1 - (1 - level) / (2 * tests)) / NormalDist().inv_cdf((1 + level) / 2)
        found += sorted(_runs(group, limit), key=lambda run: -run.size)[:1]
    return sorted(found, key=lambda run: -run.size)


def _runs(group: Group, limit: float) -> Iterator[Departure]:
    """Runs of neighbouring bins beyond chance on one side, with one bin at least beyond ``limit`` of them."""
    strength = [_strength(item, group.row["level"]) for item in group.shown]
    place = 0
    for side, run in groupby(strength, key=lambda value: int(value > 1) - int(value < -1)):
        length = len(list(run))
        bins, values = group.shown[place : place + length], strength[place : place + length]
        if side and max(abs(value) for value in values) > limit:
            yield Departure(
                group=group,
                too_low=side > 0,
                low=bins[0]["low"],
                high=bins[-1]["high"],
                first=place == 0,
                last=place + length == len(strength),
                size=sum(abs(item["observed"] - item["predicted"]) * (item["n"] or 0) for item in bins),
            )
        place += length


def _strength(item: Row, level: float) -> float:
    """Distance from the diagonal, in units of what chance gives at ``level``; positive where more was observed.

    The score test ``(observed - predicted) / sqrt(predicted (1 - predicted) / m)``, where ``m`` is the number of
    independent studies that the width of the bin's interval tells: several studies of one patient tell less.
    """
    n, predicted, observed = item["n"], item["predicted"], item["observed"]
    low, high = item.get("observed_low"), item.get("observed_high")
    if not n or low is None or high is None or not 0 < predicted < 1:
        return 0.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    variance = ((high - low) / (2 * z)) ** 2
    independent = min(n, max(observed * (1 - observed), 1 / n) / variance) if variance > 0 else n
    distance: float = (observed - predicted) / math.sqrt(predicted * (1 - predicted) / independent)
    return distance / z


def _in_words(title: str, groups: Sequence[Group]) -> str:
    told = []
    for group in groups:
        row = group.row
        support = f", {row['n']:,} studies of {row['patients']:,} patients" if row["n"] and row["patients"] else ""
        off = [item for item in group.shown if abs(_strength(item, row["level"])) > 1]
        shown = f"; {len(off)} of {len(group.shown)} bins are off by more than chance" if group.shown else ""
        hidden = len(group.bins) - len(group.shown)
        left = f"; {hidden} of {len(group.bins)} bins not shown" if hidden else ""
        told.append(f"{group.name}: {group.error}{support}{shown}{left}")
    return f"{title}. Scores against the observed share, by bins of scores. " + ". ".join(told) + "."


def _table(groups: Sequence[Group]) -> Iterator[tuple[str, ...]]:
    for group in groups:
        if not group.bins:
            yield (group.name, "all", "not shown", "", "", str(group.row["reason"]))
        for item in group.bins:
            where = f"{exact(item['low'])} to {exact(item['high'])}"
            if item.get("predicted") is None or item.get("observed") is None:
                yield (group.name, where, "not shown", "", counted(item.get("n")), str(item.get("reason") or ""))
                continue
            observed = estimate(item["observed"], item.get("observed_low"), item.get("observed_high"))
            off = _strength(item, group.row["level"])
            remark = "scores too low" if off > 1 else "scores too high" if off < -1 else ""
            told = str(item.get("reason") or "") or remark
            yield (group.name, where, estimate(item["predicted"], None, None), observed, counted(item["n"]), told)
