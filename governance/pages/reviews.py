"""The committee's room: reviews, and one of them with the evidence, the votes, and the ballot."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.pages.forms import HouseForm, attempt, bind, perform
from core.pages.readers import HouseRequest, reads
from core.pages.session import theme_of
from evaluation.pages.pictures import themes_of
from evaluation.selectors import get_run, verdicts_of
from governance import selectors
from governance.access import check_may_issue
from governance.models import Bundle, Review, Vote
from governance.services.reviews import cast_vote, open_review


class Ballot(forms.RadioSelect):
    """The two votes; one that the evidence rules out is shown and cannot be chosen. The service checks again."""

    ruled_out: frozenset[str] = frozenset()

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        if str(value) in self.ruled_out:
            option["attrs"]["disabled"] = True
        return option


class VoteForm(HouseForm):
    choice = forms.ChoiceField(choices=Vote.Choice.choices, widget=Ballot, label="I vote to")
    rationale = forms.CharField(
        label="Your reason",
        widget=forms.Textarea(attrs={"rows": 5}),
        min_length=20,
        help_text="At least 20 characters. It is kept with your name for as long as the version is on record.",
        error_messages={"min_length": "Give your reason in at least 20 characters: others must be able to follow it."},
    )


@require_safe
@reads
def review_list(request: HouseRequest) -> HttpResponse:
    context = {
        "open_rows": selectors.open_reviews_for(request.user),
        "closed": selectors.reviews().exclude(status=Review.Status.OPEN),
    }
    return render(request, "governance/reviews.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def review_room(request: HouseRequest, pk: int) -> HttpResponse:
    """Read what was found, see who may not vote and why, and vote."""
    review, form = selectors.review_by_id(pk), bind(VoteForm, request)
    vote = attempt(form, partial(cast_vote, review=review, by=request.user))
    if vote:
        messages.success(request, f"Your vote is cast: {vote.get_choice_display().lower()}.")
        return redirect("review", pk=pk)
    detail = selectors.review_detail(review, user=request.user)
    if not detail.may_approve:
        form.fields["choice"].widget.ruled_out = frozenset({Vote.Choice.APPROVE})  # type: ignore[attr-defined]
    context = {
        "detail": detail,
        "review": detail.review,
        "run": detail.review.run,
        "summary": verdicts_of(detail.review.run),
        "chart_themes": themes_of(theme_of(request)),
        "excluded": _excluded(detail.review),
        "bundle_waiting": any(bundle.status == Bundle.Status.QUEUED for bundle in detail.bundles),
        "may_issue": can(check_may_issue, request.user),
        "form": form,
    }
    return render(request, "governance/review.html", context, status=form.status)


def _excluded(review: Review) -> list[dict[str, Any]]:
    """Who may not vote here, each with every reason."""
    parts = (
        (review.submitter, "submitted this version"),
        (review.runner, "requested the audit"),
        (review.protocol_approver, "approved the protocol"),
    )
    reasons: dict[Any, list[str]] = {}
    for person, part in parts:
        reasons.setdefault(person, []).append(part)
    return [{"person": person, "why": " and ".join(why)} for person, why in reasons.items()]


@require_POST
@reads
def review_open(request: HouseRequest, run_pk: int) -> HttpResponse:
    act = partial(open_review, run=get_run(run_pk), by=request.user)
    done = "The review is open. The committee finds it on its home page."
    return perform(request, act, done=done, back=reverse("audit", args=[run_pk]))
