"""Measurements written by hand, as the fairness suite gives them: what charts and pages are tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FEW = "suppressed: fewer than 11 patients"


def measurement(**given: Any) -> dict[str, Any]:
    """``Measurement.to_dict()`` with everything that is not given at a plausible value."""
    return {
        "suite": "fairness",
        "metric": "tpr",
        "metric_version": "1",
        "label": "effusion",
        "attribute": "sex",
        "group": "F",
        "value": 0.8,
        "reason": "",
        "low": 0.74,
        "high": 0.86,
        "level": 0.95,
        "n": 1204,
        "patients": 611,
        "method": "patient-cluster bootstrap",
        "seed": 0,
        "detail": {"judged": True},
    } | given


def nothing(reason: str = FEW, **given: Any) -> dict[str, Any]:
    """A measurement without a value."""
    empty: dict[str, Any] = {"value": None, "low": None, "high": None, "n": None, "patients": None, "detail": {}}
    return measurement(**(empty | {"reason": reason} | given))


def gap(pairs: Sequence[Mapping[str, Any]], *, rate: str = "tpr", **given: Any) -> dict[str, Any]:
    """The measurement of a largest difference or ratio; ``pairs``: groups, value, low, high."""
    told: list[dict[str, Any]] = [
        {"rate": rate, "n": 300, "patients": 200, "method": "max-|t|"} | dict(pair) for pair in pairs
    ]
    detail = {"rate": rate, "pairs": told, "pairs_compared": len(told), "left_out": []}
    metric = given.pop("metric", "equal_opportunity_difference")
    first = told[0]
    return measurement(
        metric=metric,
        group=" vs ".join(first["groups"]),
        value=abs(first["value"]),
        low=first["low"],
        high=first["high"],
        detail=detail | given.pop("detail", {}),
        **given,
    )


def verdict(**given: Any) -> dict[str, Any]:
    return {
        "criterion": "c",
        "metric": "equal_opportunity_difference",
        "label": "effusion",
        "attribute": "sex",
        "groups": ["F", "M"],
        "outcome": "fail",
        "primary": True,
        "direction": "at_most",
        "margin": 0.1,
        "value": -0.2,
        "low": -0.25,
        "high": -0.15,
        "n": 600,
        "patients": 400,
        "p_value": 0.9,
        "p_adjusted": 1.0,
        "statement": "Fails: effusion is missed more often in female patients than in male patients: .6 vs .8.",
        "needed": "",
    } | given


def bins(shift: float, *, n: int = 4000, hidden: Sequence[int] = (), above: float = 0.0) -> list[dict[str, Any]]:
    """Ten equal bins of scores; from the score ``above`` on, ``shift`` more of the studies have the finding."""
    rows: list[dict[str, Any]] = []
    for place in range(10):
        low, high = place / 10, (place + 1) / 10
        size = max(20, int(n * 0.55**place))
        predicted = round(low + 0.045, 4)
        observed = min(0.99, max(0.01, predicted + (shift if low >= above else 0.0) + 0.006 * (-1) ** place))
        half = 1.96 * float(np.sqrt(observed * (1 - observed) / size))
        known = {
            "n": size,
            "predicted": predicted,
            "observed": round(observed, 4),
            "observed_low": round(max(0.0, observed - half), 4),
            "observed_high": round(min(1.0, observed + half), 4),
            "reason": "",
        }
        empty = dict.fromkeys(("n", "predicted", "observed", "observed_low", "observed_high"))
        rows.append({"low": low, "high": high} | (empty | {"reason": FEW} if place in hidden else known))
    return rows


def calibration(groups: Mapping[str, Sequence[dict[str, Any]]], **given: Any) -> list[dict[str, Any]]:
    """Metric ``ece`` of each group, from its bins; a group without bins is suppressed."""
    return [
        measurement(
            metric="ece", group=group, value=0.043, low=0.031, high=0.062, n=sum(item["n"] or 0 for item in cut),
            patients=sum(item["n"] or 0 for item in cut) // 2, detail={"bins": list(cut), "matched": 0.05}, **given,
        )
        if cut
        else nothing(metric="ece", group=group, **given)
        for group, cut in groups.items()
    ]  # fmt: skip


def curve(skill: float, prevalence: float = 0.2) -> list[dict[str, Any]]:
    """Sensitivity, false positive rate and net benefit of a model whose positives score ``skill`` higher."""
    rows = []
    for threshold in np.round(np.arange(0.01, 1.0, 0.01), 2):
        tpr = float(1 / (1 + np.exp(10 * (threshold - 0.25 - skill))))
        fpr = float(1 / (1 + np.exp(10 * (threshold - 0.15))))
        odds = threshold / (1 - threshold)
        rows.append(
            {
                "threshold": float(threshold),
                "selection_rate": prevalence * tpr + (1 - prevalence) * fpr,
                "tpr": tpr,
                "fpr": fpr,
                "net_benefit": float(prevalence * tpr - odds * (1 - prevalence) * fpr),
                "treat_all": float(prevalence - odds * (1 - prevalence)),
            }
        )
    return rows


def benefits(
    skills: Mapping[str, float | None], *, threshold: float | None = 0.3, **given: Any
) -> list[dict[str, Any]]:
    """Metric ``net_benefit`` of each group with its curve; a group without a skill is suppressed."""
    return [
        nothing(metric="net_benefit", group=group, **given)
        if skill is None
        else measurement(
            metric="net_benefit", group=group, value=0.11, low=0.09, high=0.13, n=2000 - place,
            detail={"curve": curve(skill), "threshold": threshold}, **given,
        )
        for place, (group, skill) in enumerate(skills.items())
    ]  # fmt: skip


AGES = ("18-39", "40-59", "60-79", ">=80")


def crossed(*, metric: str = "tpr", ages: Sequence[str] = AGES, **given: Any) -> list[dict[str, Any]]:
    """A rate over sex and age band, with a dip in the oldest women, one suppressed and one group that is not judged."""
    rows = []
    for sex in ("F", "M"):
        for place, age in enumerate(ages):
            group = f"{sex} & {age}"
            value = 0.86 - 0.03 * place - (0.16 if sex == "F" and place == len(ages) - 1 else 0.0)
            n = 1420 - 310 * place if sex == "F" else 1290 - 300 * place
            fields = {"metric": metric, "attribute": "sex & age_band", "group": group, **given}
            if sex == "M" and place == len(ages) - 1:
                rows.append(nothing(**fields))
                continue
            half = 1.2 / max(n, 30) ** 0.5
            few = sex == "M" and place == len(ages) - 2
            rows.append(
                measurement(
                    **fields, value=round(value, 4), low=round(value - half, 4), high=round(value + half, 4),
                    n=max(n, 14), patients=max(n // 2, 12), detail={"judged": not few},
                    reason="not judged: below the minimum denominator of 30 patients" if few else "",
                )
            )  # fmt: skip
    return rows


def alone(*, metric: str = "tpr", ages: Sequence[str] = AGES, **given: Any) -> list[dict[str, Any]]:
    """The same rate over all studies, over sex, and over age band."""
    fields = {"metric": metric, **given}
    rows = [measurement(**fields, attribute="", group="All", value=0.79, low=0.77, high=0.81, n=5210, patients=2100)]
    rows += [
        measurement(**fields, attribute="sex", group=sex, value=value, low=value - 0.03, high=value + 0.03, n=2600)
        for sex, value in (("F", 0.75), ("M", 0.83))
    ]
    rows += [
        measurement(
            **fields, attribute="age_band", group=age, value=round(0.85 - 0.04 * place, 3), n=1600 - 350 * place
        )
        for place, age in enumerate(ages)
    ]
    return rows
