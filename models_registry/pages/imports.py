"""A cohort's way in: name it, have it read, see every problem, say what its columns are, confirm or discard."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import Permission, can
from core.errors import AuscultError
from core.models import User
from core.pages.forms import HouseForm, attempt, bind, line_of, perform
from core.pages.readers import HouseRequest, reads
from models_registry.access import check_may_import_cohort
from models_registry.models import CohortImport
from models_registry.pages.datasheet import datasheet_of
from models_registry.pages.mapping import ROLES, mapping_from, rows_from_post, rows_of
from models_registry.places import place_for_upload
from models_registry.selectors import get_import
from models_registry.services.cohorts import confirm_import, discard_import, revise_import, start_import

Status = CohortImport.Status
WORKING = (Status.QUEUED, Status.INSPECTING, Status.REGISTERING)
DECIDABLE = (Status.READY, Status.BLOCKED, Status.FAILED)


class ImportForm(HouseForm):
    name = forms.CharField(max_length=200, label="Name of the cohort")
    description = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}),
        required=False,
        help_text="Where the patients come from, and when.",
    )
    source = forms.CharField(
        max_length=300, required=False, help_text="For example: radiology archive, export of March 2026."
    )
    licence = forms.CharField(
        max_length=200,
        required=False,
        label="Terms of use",
        help_text="A licence, or the number of the agreement.",
    )
    simulated = forms.BooleanField(
        required=False,
        label="Simulated: no real patient is in it",
        help_text="It is marked so wherever it appears.",
    )
    upload = forms.FileField(
        required=False,
        label="CSV or Parquet file",
        help_text="For files that lie on your own computer, without images.",
    )
    source_path = forms.CharField(
        max_length=1000,
        required=False,
        label="Or its path on the server",
        help_text="For large files and for cohorts with images: the path of the CSV or Parquet file.",
    )

    def clean(self) -> dict[str, Any]:
        upload, path = self.cleaned_data.get("upload"), (self.cleaned_data.get("source_path") or "").strip()
        if bool(upload) == bool(path) and not self.errors:
            self.add_error("upload", "Choose a file, or give its path on the server: one of the two.")
        if path and not Path(path).is_absolute():
            self.add_error("source_path", "Give the whole path, beginning with /.")
        return self.cleaned_data


def _start(*, upload: UploadedFile | None, source_path: str, by: User, **facts: Any) -> CohortImport:
    """Keep an uploaded file, then have it read. Whoever may not import leaves no file behind."""
    check_may_import_cohort(by)
    path = _keep(upload) if upload else Path(source_path.strip())
    return start_import(source_path=path, mapping=None, by=by, **facts)


def _keep(upload: UploadedFile) -> Path:
    target = place_for_upload(upload.name or "")
    with target.open("wb") as stream:
        for chunk in upload.chunks():
            stream.write(chunk)
    target.chmod(0o600)
    return target


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def import_new(request: HouseRequest) -> HttpResponse:
    form = bind(ImportForm, request)
    row = attempt(form, partial(_start, by=request.user))
    if row:
        return redirect("import", pk=row.pk)
    context = {"form": form, "permission": can(check_may_import_cohort, request.user)}
    return render(request, "models_registry/import_new.html", context, status=form.status)


def _context(request: HouseRequest, row: CohortImport) -> dict[str, Any]:
    found, may = row.inspection or {}, can(check_may_import_cohort, request.user)
    problems = _in_the_files_terms(found)
    return {
        "row": row,
        "working": row.status in WORKING,
        "decidable": row.status in DECIDABLE,
        "errors": [item for item in problems if item["severity"] == "error"],
        "warnings": [item for item in problems if item["severity"] != "error"],
        "found": found,
        "sheet": datasheet_of(found.get("summary", {}), n_studies=found.get("summary", {}).get("n_studies", 0)),
        "columns": rows_of(found),
        "roles": ROLES,
        "typed": found.get("suggested_mapping", {}),
        "unapplied": found.get("suggested_mapping", {}) != found.get("mapping", {}),
        "may_import": may,
        "may_confirm": _may_confirm(row, may),
    }


def _in_the_files_terms(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The problems, each with what its column is called in the file, where that is another name."""
    called = {column["name"]: column["original"] for column in found.get("columns", [])}
    problems = []
    for problem in found.get("problems", []):
        original = called.get(problem["column"], "")
        problems.append(problem | {"original": original if original != problem["column"] else ""})
    return problems


def _may_confirm(row: CohortImport, may: Permission) -> Permission:
    if not may or row.status == Status.READY:
        return may
    reasons = {
        Status.BLOCKED: "The file has errors. Mend them in the mapping below or in the file, then read it again.",
        Status.FAILED: "The file could not be read to its end.",
    }
    return Permission(allowed=False, reason=reasons.get(Status(row.status), "The file is still being read."))


@require_safe
@reads
def import_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """Whatever the file's state is: being read, its problems and preview, or what became of it."""
    return render(request, "models_registry/import.html", _context(request, get_import(pk)))


@require_safe
@reads
def import_progress(request: HouseRequest, pk: int) -> HttpResponse:
    row = get_import(pk)
    response = render(request, "models_registry/_import_progress.html", {"row": row, "working": row.status in WORKING})
    if row.status not in WORKING and request.headers.get("HX-Request"):
        response["HX-Refresh"] = "true"
    return response


@require_POST
@reads
def import_mapping(request: HouseRequest, pk: int) -> HttpResponse:
    """Read the file again as the editor says. A mapping that is refused is shown again as it was typed."""
    row = get_import(pk)
    columns = rows_from_post(request.POST, rows_of(row.inspection or {}))
    try:
        revise_import(cohort_import=row, mapping=mapping_from(request.POST, columns), by=request.user)
    except AuscultError as error:
        typed = {name: request.POST.get(name, "") for name in ("encoding", "delimiter", "image_root")}
        refused = {"error_lines": [line_of(error)]}
        context = _context(request, row) | {"columns": columns, "typed": typed, "form": refused}
        return render(request, "models_registry/import.html", context, status=422)
    return redirect("import", pk=pk)


@require_POST
@reads
def import_confirm(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(confirm_import, cohort_import=get_import(pk), by=request.user)
    done = "Confirmed. The cohort is being written into shards by patient."
    return perform(request, act, done=done, back=reverse("import", args=[pk]))


@require_POST
@reads
def import_discard(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(discard_import, cohort_import=get_import(pk), by=request.user)
    return perform(request, act, done="The import was discarded. Nothing was registered.", back=reverse("cohorts"))
