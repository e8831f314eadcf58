"""Policies: the list, one of them, proposing, and how one version stands against one policy."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.errors import NotFoundError
from core.kept import kept
from core.models import User
from core.pages.forms import HouseForm, SummaryLine, attempt, bind
from core.pages.readers import HouseRequest, reads
from core.pages.signing import SigningForm, ask_or_skip, attempt_signed
from evaluation.selectors import get_run
from governance.access_policies import (
    check_may_accept_gap,
    check_may_approve_policy,
    check_may_propose_policy,
    check_may_revoke_acceptance,
    check_may_withdraw_policy,
)
from governance.models import Acceptance, Policy
from governance.pages.policy_views import MOST_FILE, as_if_in_force, marked_lines, problem_lines, rows_of
from governance.policies.describe import describe, difference
from governance.policies.form import AuditItem, bundled_names, bundled_source
from governance.policies.reading import PolicyError
from governance.reports.base import REPORTS
from governance.selectors import policies as selectors
from governance.services.policies import (
    MOST_REASON,
    accept_insufficiency,
    approve_policy,
    latest_end,
    propose_policy,
    revoke_acceptance,
    withdraw_policy,
)
from models_registry.models import ModelVersion
from models_registry.selectors import get_version

PAGE_SIZE = 20


class PolicyForm(HouseForm):
    """A policy by upload or by pasting; ``clean`` leaves the text alone under ``source``."""

    upload = forms.FileField(required=False, label="YAML file")
    source = forms.CharField(
        required=False,
        strip=False,
        label="Or paste the YAML",
        widget=forms.Textarea(attrs={"rows": 24, "class": "code", "spellcheck": "false"}),
    )

    @property
    def error_lines(self) -> list[SummaryLine]:
        """What is wrong with the policy, one line for each, leading to the line of the text."""
        if not isinstance(self.refusal, PolicyError):
            return super().error_lines
        return problem_lines(self.refusal)

    def clean(self) -> dict[str, Any]:
        upload = self.cleaned_data.pop("upload", None)
        if upload is not None:
            if upload.size > MOST_FILE:
                raise forms.ValidationError("The file is larger than 1 MB. A policy is a short text: choose another.")
            try:
                self.cleaned_data["source"] = upload.read().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise forms.ValidationError(
                    "The file is not UTF-8 text. Save it as UTF-8 and choose it again."
                ) from error
        if not (self.cleaned_data.get("source") or "").strip():
            self.add_error("upload", "Choose a file, or paste the text below.")
        return self.cleaned_data


class ApproveForm(SigningForm):
    """Nothing but the signature."""


class WithdrawForm(HouseForm):
    reason = forms.CharField(
        label="Why it ends",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=MOST_REASON,
        error_messages={"required": "Give the reason."},
    )


class AcceptForm(SigningForm):
    reason = forms.CharField(
        label="Why the gap may stand for a while",
        widget=forms.Textarea(attrs={"rows": 5}),
        min_length=20,
        max_length=10_000,
        help_text="At least 20 characters: what is not known, what limits the harm, and what is done about it.",
        error_messages={"min_length": "Give the reason in at least 20 characters: others must be able to follow it."},
    )
    expires_at = forms.DateField(
        label="Until the end of",
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"required": "Choose the last day.", "invalid": "Give the last day as a date."},
    )

    def bound_by(self, item: AuditItem) -> None:
        last = timezone.localdate(latest_end(item, now=timezone.now()) - timedelta(days=1))
        self.fields["expires_at"].widget.attrs.update(
            {"min": timezone.localdate().isoformat(), "max": last.isoformat()}
        )
        days = item.waiver.at_most_days if item.waiver else 0
        self.fields["expires_at"].help_text = gettext("The policy allows %(days)s days at most: %(day)s %(last)s.") % {
            "days": days,
            "day": last.day,
            "last": f"{last:%b %Y}",
        }

    def clean_expires_at(self) -> datetime:
        day: date = self.cleaned_data["expires_at"]
        try:
            return timezone.make_aware(datetime.combine(day, time.max).replace(microsecond=0))
        except OverflowError as error:
            raise forms.ValidationError("Choose a day that is to come.") from error


class RevokeForm(HouseForm):
    reason = forms.CharField(
        label="Why it ends",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=10_000,
        error_messages={"required": "Give the reason."},
    )


@require_safe
@reads
def policy_list(request: HouseRequest) -> HttpResponse:
    rows = selectors.policies()
    ended = rows.exclude(status__in=[Policy.Status.APPROVED, Policy.Status.PROPOSED]).order_by("-ended_at", "-pk")
    context = {
        "in_force": [{"policy": row, "rules": selectors.rules_of(row)} for row in selectors.in_force()],
        "proposed": rows.filter(status=Policy.Status.PROPOSED).order_by("proposed_at", "pk"),
        "page": Paginator(ended, PAGE_SIZE).get_page(request.GET.get("page")),
        "may_propose": can(check_may_propose_policy, request.user),
        "bundled": bundled_names(),
    }
    return render(request, "governance/policies.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def policy_new(request: HouseRequest) -> HttpResponse:
    """Propose a policy; what is wrong with it stands beside its lines."""
    template = request.GET.get("from", "")
    initial = bundled_source(template) if template in bundled_names() else ""
    form = bind(PolicyForm, request, source=initial)
    policy = attempt(form, partial(propose_policy, by=request.user))
    if policy:
        messages.success(
            request,
            gettext("%(policy)s is proposed. A committee chair finds it on the home page.") % {"policy": policy},
        )
        return redirect("policy", pk=policy.pk)
    context = {
        "form": form,
        "permission": can(check_may_propose_policy, request.user),
        "lines": marked_lines(form.cleaned_data.get("source", ""), form.refusal) if form.is_bound else [],
        "bundled": bundled_names(),
    }
    return render(request, "governance/policy_new.html", context, status=form.status)


@require_safe
@reads
def policy_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One number of a policy: its rules in words and as written, who decided on it, and what comes under it."""
    return _policy_page(request, pk, approve=ask_or_skip(ApproveForm(), request), withdraw=WithdrawForm(prefix="w"))


@require_http_methods(["POST"])
@reads
def policy_approve(request: HouseRequest, pk: int) -> HttpResponse:
    form = ask_or_skip(ApproveForm(request.POST), request)
    policy = selectors.policy_by_id(pk)
    if attempt_signed(form, request, partial(approve_policy, policy=policy, by=request.user)):
        messages.success(request, "The policy is in force.")
        return redirect("policy", pk=pk)
    return _policy_page(request, pk, approve=form, withdraw=WithdrawForm(prefix="w"), form=form)


@require_http_methods(["POST"])
@reads
def policy_withdraw(request: HouseRequest, pk: int) -> HttpResponse:
    form = WithdrawForm(request.POST, prefix="w")
    if attempt(form, partial(withdraw_policy, policy=selectors.policy_by_id(pk), by=request.user)):
        messages.success(request, "The policy is withdrawn.")
        return redirect("policy", pk=pk)
    return _policy_page(request, pk, approve=ask_or_skip(ApproveForm(), request), withdraw=form, form=form)


def _policy_page(
    request: HouseRequest, pk: int, *, approve: HouseForm, withdraw: HouseForm, form: HouseForm | None = None
) -> HttpResponse:
    policy = selectors.policy_by_id(pk)
    rules, earlier = selectors.rules_of(policy), selectors.before(policy)
    page = Paginator(selectors.versions_under(policy), PAGE_SIZE).get_page(request.GET.get("page"))
    asked = [version.pk for version in page]
    found = kept("policy_gates", policy.pk, asked, make=lambda: selectors.gates(list(page), [policy]))
    context = {
        "policy": policy,
        "rules": rules,
        "described": describe(rules, {key: str(kind.title) for key, kind in REPORTS}),
        "warnings": kept("policy_warnings", policy.pk, make=lambda: selectors.warnings_of(rules)),
        "earlier": earlier,
        "changes": difference(selectors.rules_of(earlier) if earlier else None, rules),
        "page": page,
        "versions": [{"version": row, "found": as_if_in_force(found[row.pk, policy.pk])} for row in page],
        "history": selectors.history_of(policy),
        "may_approve": can(check_may_approve_policy, request.user, policy),
        "may_withdraw": can(check_may_withdraw_policy, request.user, policy),
        "approve": approve,
        "withdraw": withdraw,
        "form": form,
    }
    return render(request, "governance/policy.html", context, status=form.status if form else 200)


@require_safe
@reads
def version_policy(request: HouseRequest, slug: str, pk: int, name: str) -> HttpResponse:
    """How one version stands against one policy: what is met, what is not, and who can mend it."""
    version, policy = get_version(slug, pk), _policy_for(name, slug)
    found = kept("gate", version.pk, policy.pk, make=lambda: selectors.gate(version, policy))
    context = {
        "version": version,
        "policy": policy,
        "found": found,
        "rows": rows_of(found, user=request.user, version=version, rules=selectors.rules_of(policy)),
        "acceptances": [
            {"row": row, "may_revoke": can(check_may_revoke_acceptance, request.user, row), "stands": _stands(row)}
            for row in selectors.acceptances_of(version, policy)
        ],
    }
    return render(request, "governance/policy_version.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def gap_accept(request: HouseRequest, slug: str, pk: int, name: str, item: str) -> HttpResponse:
    """Accept, with a signature, that an audit had too little evidence."""
    version, policy = get_version(slug, pk), _policy_for(name, slug)
    audit = selectors.rules_of(policy).audit(item)
    finding = next((row for row in selectors.gate(version, policy).items if row.item == item), None)
    if audit is None or finding is None:
        raise NotFoundError(f"{policy} asks for no audit called '{item}'.", remedy="Begin at the policy.")
    form = bind(AcceptForm, request)
    form.bound_by(audit)
    ask_or_skip(form, request)
    act = partial(accept_insufficiency, version=version, policy=policy, item=item, by=request.user)
    if attempt_signed(form, request, act):
        messages.success(request, "The gap is accepted. The gate says so, with your name and the last day.")
        return redirect("version-policy", slug=slug, pk=pk, name=name)
    context = {"form": form, "version": version, "policy": policy, "finding": finding}
    context["permission"] = _may_accept(request.user, audit, version, finding.run)
    return render(request, "governance/policy_gap.html", context, status=form.status)


def _may_accept(user: User, audit: AuditItem, version: ModelVersion, run: int | None) -> Any:
    return can(check_may_accept_gap, user, item=audit, version=version, run=get_run(run)) if run else None


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def acceptance_revoke(request: HouseRequest, pk: int) -> HttpResponse:
    acceptance, form = selectors.acceptance_by_id(pk), bind(RevokeForm, request)
    version = acceptance.version
    back = reverse("version-policy", args=[version.system.slug, version.pk, acceptance.policy.name])
    if attempt(form, partial(revoke_acceptance, acceptance=acceptance, by=request.user)):
        messages.success(request, "The acceptance ended at this moment.")
        return redirect(back)
    context = {"form": form, "acceptance": acceptance, "back": back, "version": version}
    context["permission"] = can(check_may_revoke_acceptance, request.user, acceptance)
    return render(request, "governance/policy_revoke.html", context, status=form.status)


def _stands(row: Acceptance) -> str:
    if row.revoked_at:
        return "revoked"
    return "expired" if row.expires_at <= timezone.now() else "active"


def _policy_for(name: str, slug: str) -> Policy:
    policy = selectors.newest_called(name)
    if not selectors.rules_of(policy).applies(slug):
        raise NotFoundError(f"{policy} does not apply to this system.", remedy="Begin at the list of policies.")
    return policy
