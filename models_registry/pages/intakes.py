"""A version's way in: say where its files are, see every check as it is made, confirm or discard."""

from __future__ import annotations

from collections.abc import Sequence
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
from core.pages.forms import HouseForm, attempt, bind, perform
from core.pages.readers import HouseRequest, reads
from models_registry.access import check_may_register_version
from models_registry.adapters.base import ADAPTERS
from models_registry.intake.uploads import PromisedFile
from models_registry.lineage_selectors import approvals_at_stake
from models_registry.models import AISystem, ModelVersion, VersionIntake
from models_registry.selectors import get_intake, get_system, list_backbones
from models_registry.services.intakes import (
    confirm_intake,
    discard_intake,
    finish_upload,
    receive_chunk,
    recheck_intake,
    start_intake,
)
from models_registry.services.lineage import own_weights

Status, Kind = VersionIntake.Status, VersionIntake.Kind
WORKING = (Status.QUEUED, Status.CHECKING, Status.REGISTERING)
DECIDABLE = (Status.READY, Status.BLOCKED, Status.FAILED)
ADAPTER_WORDS = {
    "clip": "Zero-shot CLIP or SigLIP model: weights that are run",
    "endpoint": "Model behind an OpenAI-compatible endpoint: its weights are not bound",
    "fusion": "Reference fusion model: weights that are run",
    "generator": "Generator of synthetic patients: it predicts nothing",
    "image_text_to_text": "Vision-language model with a chat prompt: weights that are run",
    "onnx": "Image classifier as an ONNX graph: weights that are run",
    "recorded": "Recorded predictions: no weights are run",
    "text_generation": "Language model over a study's texts: weights that are run",
    "torch_export": "Image classifier as an exported PyTorch program: weights that are run",
    "vision_encoder_decoder": "Image encoder with a text decoder, writes reports: weights that are run",
}
"""What an adapter of the house is, in words; one of another distribution is called by its key."""

CHECK_WORDS = {
    "waiting": "Not done",
    "running": "Being checked",
    "ok": "Good",
    "warning": "Look at this",
    "error": "Stops it",
}
PLACES: dict[str, str] = {Kind.FOLDER: "folder", Kind.ARCHIVE: "archive", Kind.MLFLOW: "tracking"}
"""The field of the form that names the place on the server."""

FILES_SHOWN = 200


class ManyFiles(forms.FileInput):
    allow_multiple_selected = True


class ManyFilesField(forms.FileField):
    """Any number of files that a browser sent, as a list."""

    widget = ManyFiles

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:  # type: ignore[override]
        sent = data if isinstance(data, list | tuple) else [data]
        return [super(ManyFilesField, self).clean(item, initial) for item in sent if item]


def adapter_choices() -> list[tuple[str, str]]:
    return [(key, ADAPTER_WORDS.get(key, key)) for key, _ in ADAPTERS]


class BackboneField(forms.ModelChoiceField):
    def __init__(self) -> None:
        super().__init__(
            queryset=ModelVersion.objects.none(),
            required=False,
            empty_label="None, or found by its weights",
            help_text="Choose it where the weights themselves do not tell, such as for an exported program. A backbone "
            "whose file lies beside the head is found by its digest.",
        )


class RegisterForm(HouseForm):
    """What is registered, and where its files are. One source counts: the one that is chosen."""

    label = forms.CharField(
        max_length=80,
        help_text="As its provider names it, for example 2.1.0.",
        error_messages={"required": "Give the version a label."},
    )
    adapter = forms.ChoiceField(
        help_text="How the model is loaded and asked.",
        error_messages={"required": "Choose an adapter: how the model is loaded and asked."},
    )
    kind = forms.ChoiceField(
        choices=[
            (Kind.UPLOAD, "On this computer: upload them"),
            (Kind.FOLDER, "In a folder on the server"),
            (Kind.ARCHIVE, "In an archive on the server"),
            (Kind.MLFLOW, "In an MLflow run on the server"),
        ],
        widget=forms.RadioSelect,
        required=True,
        initial=Kind.UPLOAD,
        label="Where its files are",
    )
    upload = ManyFilesField(
        required=False,
        label="Archive or files",
        help_text="One archive (.zip, .tar, .tar.gz), or all files of the model. Large files go in pieces, and an "
        "upload that was interrupted goes on where it stopped.",
    )
    folder = forms.CharField(
        max_length=1000,
        required=False,
        label="Folder on the server",
        help_text="The folder that holds the weights (safetensors) and their configuration, or the prediction log.",
    )
    archive = forms.CharField(
        max_length=1000, required=False, label="Archive on the server", help_text="A .zip, .tar or .tar.gz file."
    )
    tracking = forms.CharField(
        max_length=1000,
        required=False,
        label="Tracking folder of MLflow",
        help_text="The folder in which MLflow keeps its runs, such as /data/mlruns.",
    )
    mlflow_run = forms.CharField(
        max_length=300, required=False, label="Run", help_text="Its identifier, or runs:/IDENTIFIER/PATH of the model."
    )
    backbone = BackboneField()
    notes = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)

    def __init__(self, data: Any = None, files: Any = None, **kwargs: Any) -> None:
        if data is not None and not data.get("kind"):
            data = data.copy()
            data["kind"] = next((kind for kind in ("folder", "archive") if data.get(kind)), Kind.UPLOAD)
        super().__init__(data, files, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["adapter"].choices = [("", "Choose an adapter"), *adapter_choices()]
        fields["backbone"].queryset = list_backbones()

    def clean(self) -> dict[str, Any]:
        """The one source that was chosen; the other fields do not count."""
        facts = self.cleaned_data
        name = PLACES.get(facts.get("kind") or "", "upload")
        if name == "upload" and not facts.get("upload"):
            self.add_error("upload", "Choose the files to upload.")
        elif name != "upload" and not Path(facts.get(name) or "").is_absolute():
            self.add_error(name, "Give the whole path, beginning with /.")
        if name == "tracking" and not facts.get("mlflow_run"):
            self.add_error("mlflow_run", "Give the run.")
        path = (facts.get(name) or "").strip() if name != "upload" else ""
        kept = {key: facts.get(key) for key in ("label", "adapter", "kind", "backbone", "notes", "mlflow_run")}
        return kept | {"source_path": Path(path) if path else None, "sent": facts.get("upload") or []}


class RecheckForm(HouseForm):
    """What can be put right without sending the files again."""

    label = forms.CharField(max_length=80)
    adapter = forms.ChoiceField()
    backbone = BackboneField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["adapter"].choices = adapter_choices()
        fields["backbone"].queryset = list_backbones()


def _start(*, system: AISystem, sent: Sequence[UploadedFile], by: User, kind: str, **facts: Any) -> VersionIntake:
    """Begin an intake; files that the browser sent with the form itself are received at once."""
    if kind != Kind.UPLOAD:
        return start_intake(system=system, kind=kind, by=by, **facts)
    promised = [PromisedFile(path=file.name or "", size=file.size or 0) for file in sent]
    row = start_intake(system=system, kind=kind, files=promised, by=by, **facts)
    try:
        for file, promise in zip(sent, promised, strict=True):
            if promise.size:
                receive_chunk(intake=row, path=promise.path, offset=0, stream=file, length=promise.size, by=by)  # type: ignore[arg-type]
        return finish_upload(intake=row, by=by)
    except AuscultError:
        discard_intake(intake=row, by=by)
        raise


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def version_new(request: HouseRequest, slug: str) -> HttpResponse:
    """Where the files are; with a script they are sent in pieces, without one as the form's own."""
    system, form = get_system(slug), bind(RegisterForm, request)
    row = attempt(form, partial(_start, system=system, by=request.user))
    if row:
        return redirect("intake", slug=slug, pk=row.pk)
    context = {"form": form, "system": system, "permission": can(check_may_register_version, request.user)}
    return render(request, "models_registry/version_new.html", context, status=form.status)


def _context(request: HouseRequest, row: VersionIntake, form: RecheckForm | None = None) -> dict[str, Any]:
    found, may = row.findings or {}, can(check_may_register_version, request.user)
    files = list(row.files.all())
    return {
        "row": row,
        "checks": [check | {"word": CHECK_WORDS.get(check["state"], check["state"])} for check in row.checks],
        "adapter_words": ADAPTER_WORDS.get(row.adapter, row.adapter),
        "working": row.status in WORKING,
        "decidable": row.status in DECIDABLE,
        "mine": row.created_by_id == request.user.pk,
        "files": files[:FILES_SHOWN],
        "more_files": max(0, len(files) - FILES_SHOWN),
        "received": sum(file.received for file in files),
        "promised": sum(file.size for file in files),
        "found": found if row.status == Status.READY else {},
        "sizes": sorted((found.get("sizes") or {}).items()),
        "total_bytes": sum((found.get("sizes") or {}).values()),
        "at_stake": _at_stake(row) if row.status == Status.READY else [],
        "may_register": may,
        "may_confirm": _may_confirm(row, may),
        "recheck": form
        or RecheckForm(initial={"label": row.label, "adapter": row.adapter, "backbone": row.backbone_id}),
        "form": form,
    }


def _at_stake(row: VersionIntake) -> list[ModelVersion]:
    weights = row.findings.get("backbone_digest") or own_weights(row.findings.get("manifest") or {})
    return approvals_at_stake(row.system, weights=weights)


def _may_confirm(row: VersionIntake, may: Permission) -> Permission:
    if not may or row.status == Status.READY:
        return may
    reasons = {
        Status.RECEIVING: "Files are still to be uploaded.",
        Status.BLOCKED: "A check failed. Mend what it names, then have it checked again.",
        Status.FAILED: "The checks could not be done to their end.",
    }
    return Permission(allowed=False, reason=reasons.get(Status(row.status), "It is still being checked."))


@require_safe
@reads
def intake_detail(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """Whatever its state is: being uploaded, being checked, ready, blocked; when it is registered, the version."""
    row = get_intake(slug, pk)
    if row.result is not None:
        return redirect("version", slug=row.result.system.slug, pk=row.result.pk)
    return render(request, "models_registry/intake.html", _context(request, row))


@require_safe
@reads
def intake_checks(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """The part that is asked for while a worker checks; when it has ended, the whole page is loaded instead."""
    row = get_intake(slug, pk)
    response = render(request, "models_registry/_intake_checks.html", _context(request, row))
    if row.status not in WORKING and request.headers.get("HX-Request"):
        response["HX-Refresh"] = "true"
    return response


@require_POST
@reads
def intake_recheck(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    row, form = get_intake(slug, pk), bind(RecheckForm, request)
    if attempt(form, partial(recheck_intake, intake=row, by=request.user)):
        return redirect("intake", slug=slug, pk=pk)
    return render(request, "models_registry/intake.html", _context(request, row, form), status=form.status)


@require_POST
@reads
def intake_confirm(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    act = partial(confirm_intake, intake=get_intake(slug, pk), by=request.user)
    return perform(request, act, done="Confirmed. It is being registered.", back=reverse("intake", args=[slug, pk]))


@require_POST
@reads
def intake_discard(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    act = partial(discard_intake, intake=get_intake(slug, pk), by=request.user)
    done = "It was discarded, and what was received is removed. Nothing was registered."
    return perform(request, act, done=done, back=reverse("system", args=[slug]))
