"""The workers: who is there, on what device, with which models, how fast; and how fast a version's audits were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from core.models import User
from core.pages.panels import Panel, panel
from core.pages.readers import HouseRequest, reads
from evaluation.execution.hardware import hardware
from evaluation.models import Outcome
from evaluation.selectors import list_runs
from evaluation.worker_selectors import list_queues, list_workers, throughput_of
from models_registry.models import ModelVersion
from models_registry.pages.lineage import Leaf, leaf_source

LEAVES_ASKED = 200
LEAVES_OF_ONE = 2
"""Audits of one version in a lineage: the latest."""


@require_safe
@reads
def worker_list(request: HouseRequest) -> HttpResponse:
    """Every worker and every queue; asked for again every few seconds while it is looked at."""
    workers = list_workers()
    context = {
        "workers": workers,
        "present": sum(row.present for row in workers),
        "queues": list_queues(),
    }
    return render(request, "evaluation/workers.html", context)


@panel("version:audits", rank=90)
def throughput_of_version(user: User, version: ModelVersion) -> Panel | None:
    """How fast its last audits were, and on what."""
    found = throughput_of(version)
    if not found:
        return None
    rows = [{"found": item, "hardware": hardware(item.telemetry) if item.telemetry else None} for item in found]
    return Panel(template="evaluation/_version_throughput.html", context={"rows": rows})


@leaf_source
def audits_in_lineage(versions: Sequence[ModelVersion]) -> Iterator[Leaf]:
    """The latest audits of each version, with the cohort they ran on."""
    shown: dict[int, int] = {}
    for run in list_runs().filter(version__in=[version.pk for version in versions])[:LEAVES_ASKED]:
        shown[run.version_id] = shown.get(run.version_id, 0) + 1
        if shown[run.version_id] > LEAVES_OF_ONE:
            continue
        yield Leaf(
            version=run.version_id,
            key=f"run-{run.pk}",
            title=gettext("Audit %(pk)s") % {"pk": run.pk},
            href=reverse("audit", args=[run.pk]),
            state=run.outcome or ("unfinished" if run.status == "failed" else run.status),
            word=Outcome(run.outcome).label if run.outcome else run.get_status_display(),
            cohort=run.cohort,
        )
