"""Signals of override rates for many deployments at once, as numbers: for the dossier of a system."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Sum

from governance.models import OutputCount, Override
from governance.selectors.oversight import CASES, LOOSE, WINDOW, errors_of
from governance.standing.override_rates import LEAST, mark_of
from models_registry.models import Deployment

Signal = dict[str, Any]


def signals_of(deployments: Sequence[Deployment], *, now: datetime) -> dict[int, Signal]:
    """The signal that the last 90 days give at each deployment; left out where there is none.

    By four queries however many there are. Fewer outputs than may be shown give none.
    """
    keys, start = [row.pk for row in deployments], now - WINDOW
    over = Override.objects.filter(deployment__in=keys, happened_at__gte=start, happened_at__lte=now).order_by()
    overrides = {
        row["deployment"]: row["cases"] + row["loose"]
        for row in over.values("deployment").annotate(cases=CASES, loose=LOOSE)
    }
    shown = OutputCount.objects.filter(deployment__in=keys, day__gte=start.date(), day__lte=now.date()).order_by()
    outputs = {row["deployment"]: row["n"] for row in shown.values("deployment").annotate(n=Sum("n"))}
    errors = errors_of({row.version_id for row in deployments}) if outputs else {}
    found = {}
    for row in deployments:
        seen, error = outputs.get(row.pk, 0), errors.get(row.version_id)
        mark = mark_of(overrides=overrides.get(row.pk, 0), outputs=seen, error=error) if seen >= LEAST else None
        if mark is not None and error is not None:
            found[row.pk] = {
                "kind": mark.kind,
                "overrides": overrides.get(row.pk, 0),
                "outputs": seen,
                "error_low": error.low,
                "error_high": error.high,
                "source": error.source,
                "probability": mark.probability,
            }
    return found
