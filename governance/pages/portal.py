"""What a regulator sees: grants, and under each the requirement status of versions, and issued bundles.

Each view goes through a service that checks the grant as it is at that moment and enters the view in the ledger.
No page may be kept by the browser, and a page that stays open asks whether its grant still stands.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from core.digests import sha256_bytes
from core.errors import AuscultError, ConflictError, DeniedError, NotFoundError
from core.pages.lists import Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, View, reads_granted
from governance.models import Bundle, Grant
from governance.selectors import portal as selectors
from governance.selectors.grants import Standing, grant_by_id
from governance.services.grants import LINK_MINUTES, create_link, enter_grant, enter_overview, enter_system, use_link
from models_registry.models import ModelVersion


def _portal(view: View) -> View:
    """For regulators, and never kept: what was revoked must not come back from a cache."""
    guarded = never_cache(reads_granted(view))

    @wraps(guarded)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return guarded(request, *args, **kwargs)

    return shown


@require_safe
@_portal
def overview(request: HouseRequest) -> HttpResponse:
    """Every grant of this person, with what is under those that stand."""
    held = selectors.held(enter_overview(by=request.user))
    seen = [str(item.grant.pk) for item in held if item.standing == Standing.ACTIVE]
    return render(request, "governance/portal.html", {"held": held, "seen": ",".join(seen)})


VERSIONS = ListPlan(
    columns=(
        Column(title=_("Version"), key="version", order=("label",)),
        Column(title=_("Registered"), key="registered", order=("submitted_at",), down=True),
        Column(title=_("Digest")),
        Column(title=_("Signed bundles")),
        Column(title=_("Requirements")),
    ),
    search=("label", "digest"),
    searched=_("Version or digest"),
    size=50,
)  # fmt: skip


@require_safe
@_portal
def system(request: HouseRequest, pk: int, slug: str) -> HttpResponse:
    """Every version of one system under a grant, each with the bundles that were issued about it."""
    grant, found = enter_system(pk=pk, slug=slug, by=request.user)
    listing: Listing[ModelVersion] = read_list(request.GET, selectors.registered_versions(found), VERSIONS)
    context = {"grant": grant, "system": found, "listing": listing, "seen": pk}
    context["rows"] = selectors.with_bundles(listing.page)
    return render(request, "governance/portal_system.html", context)


@require_safe
@_portal
def version(request: HouseRequest, pk: int, version_pk: int) -> HttpResponse:
    """The requirement status of one version, all of it or one state."""
    found = selectors.visible_version(version_pk)
    grant = enter_grant(pk=pk, page="requirements", by=request.user, version=found)
    status = selectors.requirement_status(found)
    chosen = request.GET.get("state", "")
    context = {
        "grant": grant,
        "version": found,
        "status": status,
        "groups": selectors.only(status, chosen),
        "states": selectors.STATES,
        "chosen": chosen,
        "seen": pk,
    }
    return render(request, "governance/portal_version.html", context)


@require_safe
@_portal
def bundle(request: HouseRequest, pk: int, bundle_pk: int) -> HttpResponse:
    found = selectors.issued_bundle(bundle_pk)
    grant = enter_grant(pk=pk, page="bundle", by=request.user, bundle=found)
    return _bundle_page(request, grant, found)


@require_http_methods(["GET", "POST"])
@_portal
def bundle_link(request: HouseRequest, pk: int, bundle_pk: int) -> HttpResponse:
    """Make a link and show it, this once: its token is nowhere else. Opened again, the page is the bundle's own."""
    if request.method == "GET":
        return redirect("portal-bundle", pk=pk, bundle_pk=bundle_pk)
    found, grant = selectors.issued_bundle(bundle_pk), grant_by_id(pk)
    link, token = create_link(grant=grant, bundle=found, by=request.user)
    address = reverse("portal-link", args=[token])
    return _bundle_page(request, grant, found, link=link, address=address)


def _bundle_page(request: HouseRequest, grant: Grant, found: Bundle, **link: Any) -> HttpResponse:
    context = {
        "grant": grant,
        "bundle": found,
        "minutes": LINK_MINUTES,
        "verifier_digest": sha256_bytes(selectors.verifier_zip()),
        "seen": grant.pk,
    }
    return render(request, "governance/portal_bundle.html", context | link)


STATUS = {DeniedError: 403, NotFoundError: 404, ConflictError: 410}
"""Of a refused link: not theirs or no longer granted, never made, used or expired. Anything else is our fault: 500."""


@require_GET
@_portal
def link_use(request: HouseRequest, token: str) -> HttpResponseBase:
    """The bundle, once. A refusal says what to do, and is in the ledger."""
    try:
        opened = use_link(token=token, by=request.user)
    except AuscultError as refusal:
        status = STATUS.get(type(refusal), 500)
        return render(request, "governance/portal_refused.html", {"refusal": refusal}, status=status)
    return FileResponse(opened.file, as_attachment=True, filename=opened.bundle.file_name)


@require_GET
@_portal
def verifier(request: HouseRequest, pk: int) -> HttpResponse:
    enter_grant(pk=pk, page="verifier", by=request.user)
    response = HttpResponse(selectors.verifier_zip(), content_type="application/zip")
    response["Content-Disposition"] = 'attachment; filename="auscult-verifier.zip"'
    return response


@require_safe
@_portal
def standing(request: HouseRequest) -> HttpResponse:
    """Asked by open pages: nothing while every grant they show stands, else the page is to be loaded anew."""
    seen = [int(pk) for pk in request.GET.get("grants", "").split(",") if pk.isdecimal()]
    response = HttpResponse(status=204)
    if not selectors.all_stand(seen, request.user):
        response = HttpResponse()
        response["HX-Refresh"] = "true"
    return response
