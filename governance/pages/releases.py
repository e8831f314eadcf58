"""Releases of synthetic cohorts: the list, the request, and the room in which one is decided."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.errors import NotFoundError
from core.pages.forms import HouseForm, attempt, bind
from core.pages.lists import Choice, Column, ListPlan, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from core.pages.signing import SigningForm, ask_or_skip, attempt_signed
from core.plain_text import MOST_TEXT
from evaluation.models import AuditRun
from governance.access_releases import check_may_request_release
from governance.execution_releases import export_path
from governance.models import ReleaseExport, ReleaseVote, SyntheticRelease
from governance.pages.ballots import Ballot, closing_form
from governance.pages.documents import record_download
from governance.selectors import releases as selectors
from governance.services.exports import request_export
from governance.services.releases import cast_release_vote, request_release, revoke_release, withdraw_release
from models_registry.models import CohortVersion

PAGE_SIZE = 50
RELEASES = ListPlan(
    columns=(
        Column(title=_("Cohort"), key="cohort", order=("cohort__cohort__name",)),
        Column(title=_("State"), key="state", order=("status",)),
        Column(title=_("Purpose")),
        Column(title=_("Recipients"), key="recipients", order=("recipients",)),
        Column(title=_("Asked for"), key="asked", order=("opened_at",), down=True),
        Column(title=_("Closed"), key="closed", order=("closed_at",), down=True),
    ),
    search=("cohort__cohort__name", "purpose", "recipients", "requester__last_name", "requester__username"),
    searched=_("Cohort, purpose, recipient or person"),
    choices=(
        Choice(
            name="state", title=_("State"), every=_("Every state"), field="status",
            options=tuple(SyntheticRelease.Status.choices),
        ),
    ),
    size=PAGE_SIZE,
)  # fmt: skip
WithdrawForm = closing_form("Why the request is withdrawn")
RevokeForm = closing_form("Why the release ends")


class CohortChoice(forms.ModelChoiceField):
    def label_from_instance(self, cohort: CohortVersion) -> str:  # type: ignore[override]
        if cohort.parent:
            return gettext("%(cohort)s: derived from %(parent)s") % {"cohort": cohort, "parent": cohort.parent}
        return f"{cohort}: {'made without real patients' if cohort.cohort.simulated else 'origin not on record'}"


class RunChoice(forms.ModelChoiceField):
    def label_from_instance(self, run: AuditRun) -> str:  # type: ignore[override]
        return gettext("Audit %(pk)s: %(name)s on %(name2)s, %(x)s") % {
            "pk": run.pk,
            "name": run.protocol.name,
            "name2": run.cohort.cohort.name,
            "x": run.get_outcome_display().lower(),
        }


class ReleaseForm(HouseForm):
    cohort = CohortChoice(
        queryset=CohortVersion.objects.none(),
        label="Synthetic cohort",
        empty_label="Choose one",
        error_messages={"required": "Choose a synthetic cohort."},
    )
    purpose = forms.CharField(
        label="What it is to be used for",
        widget=forms.Textarea(attrs={"rows": 3}),
        min_length=20,
        max_length=MOST_TEXT,
        help_text="At least 20 characters. The data protection officer decides about this use.",
        error_messages={"required": "Write the purpose.", "min_length": "Write the purpose in at least 20 characters."},
    )
    recipients = forms.CharField(
        label="Who gets it",
        widget=forms.Textarea(attrs={"rows": 2}),
        max_length=MOST_TEXT,
        help_text="Institutions or groups of people, and the country where it is not yours.",
        error_messages={"required": "Name who gets it."},
    )
    run = RunChoice(
        queryset=AuditRun.objects.none(),
        label="Audit of its privacy",
        required=False,
        empty_label="None",
        help_text="A set that was made without any real patient needs none. A set derived from real patients does.",
    )
    quorum = forms.IntegerField(
        label="Votes needed to release it",
        min_value=1,
        max_value=20,
        initial=1,
        help_text="One of them is always the data protection officer's.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["initial"] = {"quorum": 1} | (kwargs.get("initial") or {})
        super().__init__(*args, **kwargs)
        cohorts = selectors.releasable_cohorts()
        self.fields["cohort"].queryset = cohorts  # type: ignore[attr-defined]
        self.fields["run"].queryset = selectors.privacy_audits(cohorts)  # type: ignore[attr-defined]


class ReleaseVoteForm(SigningForm):
    choice = forms.ChoiceField(choices=ReleaseVote.Choice.choices, widget=Ballot, label="I vote to")
    rationale = forms.CharField(
        label="Your reason",
        widget=forms.Textarea(attrs={"rows": 4}),
        min_length=20,
        max_length=MOST_TEXT,
        help_text="At least 20 characters. It is kept with your name for as long as the cohort is on record.",
        error_messages={"min_length": "Give your reason in at least 20 characters: others must be able to follow it."},
    )


class ExportForm(HouseForm):
    publisher = forms.CharField(label="Who publishes it", max_length=300, help_text="Your institution.")
    contact = forms.CharField(label="Whom to ask", max_length=300, help_text="An address that will still be read.")
    licence = forms.CharField(
        label="Licence", max_length=300, help_text="What recipients may do with the files, such as CC-BY-NC-4.0."
    )


@require_safe
@reads_within
def release_list(request: HouseRequest) -> HttpResponse:
    context = {
        "listing": read_list(request.GET, selectors.releases(), RELEASES),
        "may_request": can(check_may_request_release, request.user),
    }
    return render(request, "governance/releases.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def release_new(request: HouseRequest) -> HttpResponse:
    form = bind(ReleaseForm, request, cohort=request.GET.get("cohort"))
    release = attempt(form, partial(request_release, by=request.user))
    if release:
        messages.success(request, "The release is asked for. The data protection officer finds it on the home page.")
        return redirect("release", pk=release.pk)
    context = {
        "form": form,
        "permission": can(check_may_request_release, request.user),
        "nothing": not form.fields["cohort"].queryset.exists(),  # type: ignore[attr-defined]
    }
    return render(request, "governance/release_new.html", context, status=form.status)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def release_room(request: HouseRequest, pk: int) -> HttpResponse:
    """What the set is and rests on, who voted how, and the ballot."""
    release, form = selectors.release_by_id(pk), ask_or_skip(bind(ReleaseVoteForm, request), request)
    vote = attempt_signed(form, request, partial(cast_release_vote, release=release, by=request.user))
    if vote:
        messages.success(request, gettext("Your vote is cast: %(x)s.") % {"x": vote.get_choice_display().lower()})
        return redirect("release", pk=pk)
    return _room(request, release, ballot=form)


def _room(request: HouseRequest, release: SyntheticRelease, **sent: HouseForm) -> HttpResponse:
    """The page with the form that was sent as it was sent, and the others empty."""
    detail = selectors.release_detail(release, user=request.user)
    unsent = {
        "ballot": ask_or_skip(ReleaseVoteForm(), request),
        "withdrawal": WithdrawForm(prefix="withdraw"),
        "revocation": RevokeForm(prefix="revoke"),
        "export": ExportForm(prefix="export"),
    }
    [form] = sent.values()
    context: dict[str, Any] = unsent | sent
    if not detail.may_approve:
        context["ballot"].fields["choice"].widget.ruled_out = frozenset({ReleaseVote.Choice.APPROVE})
    context |= {"form": form, "detail": detail, "release": detail.release, "cohort": detail.release.cohort}
    return render(request, "governance/release.html", context, status=form.status)


@require_POST
@reads
def release_withdraw(request: HouseRequest, pk: int) -> HttpResponse:
    release, form = selectors.release_by_id(pk), WithdrawForm(request.POST, prefix="withdraw")
    if attempt(form, partial(withdraw_release, release=release, by=request.user)):
        messages.success(request, "The request is withdrawn.")
        return redirect("release", pk=pk)
    return _room(request, release, withdrawal=form)


@require_POST
@reads
def release_revoke(request: HouseRequest, pk: int) -> HttpResponse:
    release, form = selectors.release_by_id(pk), RevokeForm(request.POST, prefix="revoke")
    if attempt(form, partial(revoke_release, release=release, by=request.user)):
        messages.success(request, "The release is revoked. Tell its recipients to stop using the set.")
        return redirect("release", pk=pk)
    return _room(request, release, revocation=form)


@require_POST
@reads
def release_export(request: HouseRequest, pk: int) -> HttpResponse:
    release, form = selectors.release_by_id(pk), ExportForm(request.POST, prefix="export")
    if attempt(form, partial(request_export, release=release, by=request.user)):
        messages.success(request, "A worker writes the files. They stand on this page when they are signed.")
        return redirect("release", pk=pk)
    return _room(request, release, export=form)


@require_safe
@reads
def release_download(request: HouseRequest, pk: int, export_pk: int) -> FileResponse:
    rows = ReleaseExport.objects.filter(pk=export_pk, release=pk, status=ReleaseExport.Status.ISSUED)
    export = rows.select_related("release__cohort__cohort").first()
    if export is None:
        raise Http404(NotFoundError("There are no such files.", remedy="Open them from the page of the release."))
    path = export_path(export)
    record_download(request, act="release.downloaded", subject=("SyntheticRelease", pk), digest=export.digest)
    return FileResponse(path.open("rb"), as_attachment=True, filename=export.file_name)
