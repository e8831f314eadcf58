"""The committee's room: the list of reviews, and one of them with all that its members need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import Permission, can, check_role, same_person
from core.errors import DeniedError
from core.kept import kept
from core.models import Role, User
from core.pages.forms import HouseForm, bind, perform
from core.pages.lists import Choice, Column, ListPlan, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from core.pages.session import theme_of
from core.pages.signing import SigningForm, ask_or_skip, attempt_signed
from evaluation.pages.pictures import themes_of
from evaluation.selectors import get_run, verdicts_of
from governance import selectors
from governance.access import check_may_issue, check_not_recused
from governance.access_conditions import check_may_propose
from governance.models import Bundle, Condition, Policy, Review, Vote
from governance.pages import review_forms as forms
from governance.pages import shared
from governance.selectors import review_room as room_selectors
from governance.selectors.conditions import ConditionRow, unmet_conditions
from governance.selectors.review_room import ReviewRoom
from governance.services.discussion import check_may_recuse, check_may_speak
from governance.services.reviews import cast_vote, open_review

PAGE_SIZE = 50
NOBODY = User()
DECIDED = ListPlan(
    columns=(
        Column(title=_("Review"), key="version", order=("version__system__name", "version__label")),
        Column(title=_("Status"), key="status", order=("status",)),
        Column(title=_("Audit"), key="audit", order=("run__outcome",)),
        Column(title=_("Votes"), numeric=True),
        Column(title=_("Opened"), key="opened", order=("opened_at",), down=True),
        Column(title=_("Closed"), key="closed", order=("closed_at",), down=True),
    ),
    sort="-closed",
    search=("version__label", "version__system__name", "opened_by__last_name", "opened_by__username"),
    searched=_("System, version or who opened it"),
    choices=(
        Choice(
            name="state", title=_("Decision"), every=_("Every decision"), field="status",
            options=tuple(choice for choice in Review.Status.choices if choice[0] != Review.Status.OPEN),
        ),
    ),
    size=PAGE_SIZE,
    anchor="closed",
)  # fmt: skip


@require_safe
@reads_within
def review_list(request: HouseRequest) -> HttpResponse:
    """What waits for votes, whole: it is never much. What was decided, as a list."""
    user = request.user
    n_conditions, next_condition = kept("unmet", make=_unmet)
    context = {
        "open_rows": _open_rows(user),
        "listing": read_list(request.GET, room_selectors.decided_reviews(), DECIDED),
        "n_conditions": n_conditions,
        "next_condition": next_condition,
    }
    return render(request, "governance/reviews.html", context)


def _open_rows(user: User) -> list[dict[str, Any]]:
    waiting = shared.waited_for()
    return [
        {"row": row, "may_vote": may_vote, "waiting": waiting.get(row.review.pk, ())}
        for row, may_vote in room_selectors.votable_first(shared.open_reviews(), user)
    ]


def _unmet() -> tuple[int, Condition | None]:
    """How many conditions of approvals are still to be met, and the next of them."""
    unmet = unmet_conditions()
    return unmet.count(), unmet.order_by("due_at").first()


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def review_room(request: HouseRequest, pk: int) -> HttpResponse:
    """Read what was found and said, see who may not vote and why, and vote."""
    form = ask_or_skip(bind(forms.VoteForm, request), request)
    if request.method == "POST":
        review = selectors.review_by_id(pk)
        vote = attempt_signed(form, request, partial(cast_vote, review=review, by=request.user))
        if vote:
            messages.success(request, gettext("Your vote is cast: %(x)s.") % {"x": vote.get_choice_display().lower()})
            return redirect("review", pk=pk)
    return room_page(request, pk, ballot=form)


@dataclass(frozen=True, kw_only=True)
class ConditionView:
    """A condition with the forms for what the person may do about it, and whether one of them was just refused."""

    row: ConditionRow
    forms: dict[str, HouseForm]

    @property
    def may_confirm(self) -> Permission | None:
        return self.row.may_confirm


def room_page(request: HouseRequest, pk: int, **sent: HouseForm) -> HttpResponse:
    """The room with the form that was sent as it was sent, and the others empty. One form is sent at a time.

    Args:
        sent: The form by its name: ``ballot``, ``comment``, ``recusal``, ``member``, ``withdrawal``, ``proposal``, or
            that of a condition, such as ``claim_12``.
    """
    user = request.user
    room = room_selectors.seen_by(user, kept("review_room", pk, make=lambda: room_selectors.room_of(pk)))
    [form] = sent.values()
    context: dict[str, Any] = {
        "room": room,
        "review": room.review,
        "run": room.review.run,
        "summary": verdicts_of(room.review.run),
        "chart_themes": themes_of(theme_of(request)),
        "bundle_waiting": any(bundle.status == Bundle.Status.QUEUED for bundle in room.bundles),
        "role_names": {role.value: role.label for role in Role},
        "form": form,
    }
    context |= permissions(room, request.user) | _forms(request, room, sent)
    if not room.may_approve:
        context["ballot"].fields["choice"].widget.ruled_out = frozenset({Vote.Choice.APPROVE})
    # A vote of somebody who has none is refused, even where the form is not complete.
    barred = form.is_bound and form is context["ballot"] and not room.may_vote and form.status == 422
    return render(request, "governance/review.html", context, status=403 if barred else form.status)


def permissions(room: ReviewRoom, user: User) -> dict[str, Permission]:
    """What the person may do here besides voting, each with its reason where they may not."""
    review = room.review
    return {
        "may_issue": can(check_may_issue, user),
        "may_speak": can(check_may_speak, user, review),
        "may_propose": can(_check_may_propose, user, room),
        "may_withdraw": can(_check_chair_of_open, user, review, to="withdraw a review"),
        "may_recuse_member": can(_check_may_recuse_member, user, room),
    }


def _check_may_propose(user: User, room: ReviewRoom) -> None:
    check_may_propose(user, room.review)
    if room.frozen:
        raise DeniedError("Somebody has voted to approve under the conditions as they stand.")


def _check_chair_of_open(user: User, review: Review, *, to: str) -> None:
    check_role(user, Role.COMMITTEE_CHAIR, to=to)
    check_not_recused(user, review, to="withdraw")


def _check_may_recuse_member(user: User, room: ReviewRoom) -> None:
    check_may_recuse(user, room.review, NOBODY)
    if room.standing is None or not recusable(room, user):
        raise DeniedError("Nobody else has a vote left in this review.")


def recusable(room: ReviewRoom, user: User) -> list[User]:
    """Members who have a vote left, without the person who looks."""
    waiting = room.standing.waiting if room.standing else ()
    return [person for person in waiting if not same_person(person, user)]


def _forms(request: HouseRequest, room: ReviewRoom, sent: dict[str, HouseForm]) -> dict[str, Any]:
    owners = room_selectors.possible_owners()
    unsent: dict[str, HouseForm] = {
        "ballot": ask_or_skip(forms.VoteForm(), request),
        "comment": forms.CommentForm(prefix="comment"),
        "recusal": forms.RecuseForm(prefix="recusal"),
        "member": forms.RecuseMemberForm(prefix="member", people=recusable(room, request.user)),
        "withdrawal": forms.WithdrawForm(prefix="withdrawal"),
        "proposal": forms.ConditionForm(prefix="proposal", people=owners),
    }
    views = [_condition_view(request, row, owners, sent) for row in room.conditions]
    return unsent | {name: form for name, form in sent.items() if name in unsent} | {"conditions": views}


def _condition_view(
    request: HouseRequest, row: ConditionRow, owners: list[User], sent: dict[str, HouseForm]
) -> ConditionView:
    allowed = {"claim": row.may_claim, "confirm": row.may_confirm, "return": row.may_confirm}
    found: dict[str, HouseForm] = {}
    for act, may in (allowed | {"reassign": row.may_reassign}).items():
        if may:
            known = sent.get(f"{act}_{row.condition.pk}")
            found[act] = known or condition_form(request, act, row.condition.pk, people=owners)
    return ConditionView(row=row, forms=found)


def condition_form(request: HouseRequest, act: str, pk: int, *, people: list[User], sent: bool = False) -> HouseForm:
    """The form of one act on one condition, with what was sent if ``sent``."""
    kind, data = forms.CONDITION_FORMS[act], (request.POST if sent else None)
    if issubclass(kind, forms.PeopleForm):
        return kind(data, prefix=f"{act}-{pk}", people=people)
    form = kind(data, prefix=f"{act}-{pk}")
    return ask_or_skip(form, request) if isinstance(form, SigningForm) else form


@require_POST
@reads
def review_open(request: HouseRequest, run_pk: int) -> HttpResponse:
    run, asked = get_run(run_pk), request.POST.get("policy", "")
    policy = Policy.objects.filter(pk=asked).first() if asked.isdecimal() and len(asked) < 10 else None
    act = partial(open_review, run=run, policy=policy, by=request.user)
    done = "The review is open. The committee finds it on its home page."
    return perform(request, act, done=done, back=reverse("audit", args=[run_pk]))
