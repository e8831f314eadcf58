"""Signed bundles: what is in one, how to verify it without this server, and the request for one."""

from __future__ import annotations

from functools import partial

from django.http import FileResponse, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST, require_safe

from core.pages.forms import perform
from core.pages.readers import HouseRequest, reads
from governance import selectors
from governance.selectors.documents import bundle_detail, get_bundle
from governance.services.downloads import download_bundle


@require_safe
@reads
def bundle_page(request: HouseRequest, pk: int) -> HttpResponse:
    """Everything about one bundle but its content."""
    detail = bundle_detail(get_bundle(pk))
    return render(request, "governance/bundle.html", {"detail": detail, "bundle": detail.bundle})


@require_POST
@reads
def bundle_request(request: HouseRequest, pk: int) -> HttpResponse:
    from governance.services.bundles import request_bundle

    act = partial(request_bundle, review=selectors.review_by_id(pk), by=request.user)
    done = "The bundle is being built and signed. It appears here when it is issued."
    return perform(request, act, done=done, back=reverse("review", args=[pk]))


@require_GET
@reads
def bundle_download(request: HouseRequest, pk: int) -> FileResponse:
    bundle = get_bundle(pk)
    path = download_bundle(bundle=bundle, by=request.user)
    return FileResponse(path.open("rb"), as_attachment=True, filename=bundle.file_name)
