"""The ledger about one version: entries on it, its audits, reviews, reports and deployments. And its open incidents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from core.models import User
from core.pages.attention import Attention, attention_source
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, reads
from core.templatetags.figures import kind_words, nouns
from governance.models import Incident
from governance.selectors.version_ledger import KINDS, entries_about
from models_registry.models import ModelVersion
from models_registry.pages.rooms import LEDGER
from models_registry.pages.versions import room_context
from models_registry.selectors import get_version

PLAN = ListPlan(
    columns=(
        Column(title="Entry", key="entry", order=("index",), down=True, numeric=True),
        Column(title="When"),
        Column(title="Who", key="who", order=("actor",)),
        Column(title="Act", key="act", order=("act",)),
        Column(title="On", key="on", order=("subject_kind", "subject_id")),
    ),
    sort="-entry",
    search=("act", "actor"),
    searched="Act or user name",
    choices=(
        Choice(
            name="on", title="On", every="Anything about it", field="subject_kind",
            options=tuple((kind, kind_words(kind).capitalize()) for kind in KINDS),
        ),
    ),
    size=50,
)  # fmt: skip


@require_safe
@reads
def version_ledger(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """The room of a version that shows what the ledger holds about it."""
    version = get_version(slug, pk)
    listing: Listing[Any] = read_list(request.GET, entries_about(version), PLAN)
    context = room_context(request, version, LEDGER) | {"listing": listing}
    return render(request, "governance/version_ledger.html", context)


@attention_source("version")
def open_incidents(user: User, version: ModelVersion) -> Iterator[Attention]:
    """Incidents with a version that are not closed."""
    n = Incident.objects.filter(version=version).exclude(status=Incident.Status.CLOSED).count()
    if n:
        yield Attention(
            tone="fail",
            word="Incident",
            title=nouns(n, "incident is not closed,incidents are not closed"),
            text="Its clocks and what has to be reported are on its page.",
            href=f"{reverse('incidents')}?system={version.system.slug}",
        )
