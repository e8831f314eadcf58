"""What is done in the review room besides voting: speaking, taking no part, closing without a decision."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from core.pages.forms import attempt
from core.pages.readers import HouseRequest, reads
from governance import selectors
from governance.pages import review_forms as forms
from governance.pages.reviews import room_page
from governance.selectors.review_room import possible_owners
from governance.services.conditions import propose_condition
from governance.services.reviews import add_comment, recuse, withdraw_review


@require_POST
@reads
def comment_new(request: HouseRequest, pk: int) -> HttpResponse:
    form, review = forms.CommentForm(request.POST, prefix="comment"), selectors.review_by_id(pk)
    if attempt(form, partial(add_comment, review=review, by=request.user)):
        messages.success(request, "Your contribution stands in the discussion.")
        return redirect("review", pk=pk)
    return room_page(request, pk, comment=form)


@require_POST
@reads
def recuse_oneself(request: HouseRequest, pk: int) -> HttpResponse:
    form, review = forms.RecuseForm(request.POST, prefix="recusal"), selectors.review_by_id(pk)
    if attempt(form, partial(recuse, review=review, person=request.user, by=request.user)):
        messages.success(request, "You take no part in this review.")
        return redirect("review", pk=pk)
    return room_page(request, pk, recusal=form)


@require_POST
@reads
def recuse_member(request: HouseRequest, pk: int) -> HttpResponse:
    """A chair records the conflict of interest that somebody declared or that is known."""
    review, people = selectors.review_by_id(pk), possible_owners()
    form = forms.RecuseMemberForm(request.POST, prefix="member", people=people)
    recusal = attempt(form, partial(recuse, review=review, by=request.user))
    if recusal:
        messages.success(request, gettext("%(person)s takes no part in this review.") % {"person": recusal.person})
        return redirect("review", pk=pk)
    return room_page(request, pk, member=form)


@require_POST
@reads
def review_withdraw(request: HouseRequest, pk: int) -> HttpResponse:
    form, review = forms.WithdrawForm(request.POST, prefix="withdrawal"), selectors.review_by_id(pk)
    if attempt(form, partial(withdraw_review, review=review, by=request.user)):
        messages.success(request, "The review is closed without a decision.")
        return redirect("review", pk=pk)
    return room_page(request, pk, withdrawal=form)


@require_POST
@reads
def condition_new(request: HouseRequest, pk: int) -> HttpResponse:
    review = selectors.review_by_id(pk)
    form = forms.ConditionForm(request.POST, prefix="proposal", people=possible_owners())
    if attempt(form, partial(propose_condition, review=review, by=request.user)):
        messages.success(request, "The condition is proposed. A vote to approve now approves under it.")
        return redirect("review", pk=pk)
    return room_page(request, pk, proposal=form)
