"""Conditions of approvals: what is still to be met across all versions, and what is done about one of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from core.pages.forms import attempt, perform
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from core.pages.signing import SigningForm, attempt_signed
from governance.models import Condition
from governance.pages.review_forms import CONDITION_FORMS
from governance.pages.reviews import condition_form, room_page
from governance.selectors.conditions import condition_by_id, unmet_conditions
from governance.selectors.review_room import possible_owners
from governance.services import conditions as services
from governance.standing.condition_states import UNMET

PAGE_SIZE = 50
CONDITIONS = ListPlan(
    columns=(
        Column(title=_("Version"), key="version", order=("review__version__system__name", "review__version__label")),
        Column(title=_("Condition")),
        Column(title=_("Owner"), key="owner", order=("owner__last_name", "owner__username")),
        Column(title=_("State"), key="state", order=("status",)),
        Column(title=_("Due"), key="due", order=("due_at",)),
    ),
    sort="due",
    search=("text", "review__version__system__name", "review__version__label", "owner__last_name", "owner__username"),
    searched=_("Words, system, version or owner"),
    choices=(
        Choice(
            name="state", title=_("State"), every=_("Every state"), field="status",
            options=tuple(choice for choice in Condition.Status.choices if choice[0] in UNMET),
        ),
    ),
    size=PAGE_SIZE,
)  # fmt: skip
ACTS: dict[str, tuple[Callable[..., Any], str]] = {
    "claim": (services.claim_condition, "It is said to be met. Another person confirms it now."),
    "confirm": (services.confirm_condition, "The condition is met."),
    "return": (services.return_claim, "It is returned to its owner."),
    "reassign": (services.reassign_condition, "The condition has a new owner."),
}


@require_safe
@reads_within
def condition_list(request: HouseRequest) -> HttpResponse:
    """What is still to be met, the most urgent first."""
    listing: Listing[Condition] = read_list(request.GET, unmet_conditions(), CONDITIONS)
    return render(request, "governance/conditions.html", {"listing": listing})


@require_POST
@reads
def condition_act(request: HouseRequest, pk: int, act: str) -> HttpResponse:
    """Claim, confirm, return or hand over; what is refused comes back in the review room."""
    if act not in CONDITION_FORMS:
        raise Http404
    condition, (service, done) = condition_by_id(pk), ACTS[act]
    form = condition_form(request, act, pk, people=possible_owners(), sent=True)
    call = partial(service, condition=condition, by=request.user)
    made = attempt_signed(form, request, call) if isinstance(form, SigningForm) else attempt(form, call)
    if made:
        messages.success(request, done)
        return redirect(f"{reverse('review', args=[condition.review_id])}#conditions")
    return room_page(request, condition.review_id, **{f"{act}_{pk}": form})


@require_POST
@reads
def condition_remove(request: HouseRequest, pk: int) -> HttpResponse:
    condition = condition_by_id(pk)
    act = partial(services.remove_condition, condition=condition, by=request.user)
    back = f"{reverse('review', args=[condition.review_id])}#conditions"
    return perform(request, act, done="The condition is taken back.", back=back)
