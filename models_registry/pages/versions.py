"""Model versions: one of them, a new one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from django import forms
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.pages.forms import HouseForm, attempt, bind
from core.pages.panels import panels_for
from core.pages.readers import HouseRequest, reads
from models_registry.access import check_may_register_version
from models_registry.adapters.base import ADAPTERS
from models_registry.selectors import get_system, get_version
from models_registry.services.versions import register_version

ADAPTER_WORDS = {
    "clip": "Zero-shot CLIP or SigLIP model: weights that are run",
    "endpoint": "Model behind an OpenAI-compatible endpoint: its weights are not bound",
    "fusion": "Reference fusion model: weights that are run",
    "image_text_to_text": "Vision-language model with a chat prompt: weights that are run",
    "onnx": "Image classifier as an ONNX graph: weights that are run",
    "recorded": "Recorded predictions: no weights are run",
    "text_generation": "Language model over a study's texts: weights that are run",
    "torch_export": "Image classifier as an exported PyTorch program: weights that are run",
    "vision_encoder_decoder": "Image encoder with a text decoder, writes reports: weights that are run",
}
"""What an adapter of the house is, in words; one of another distribution is called by its key."""


class VersionForm(HouseForm):
    label = forms.CharField(max_length=80, help_text="As its provider names it, for example 2.1.0.")
    adapter = forms.ChoiceField(help_text="How the model is loaded and asked.")
    folder = forms.CharField(
        max_length=1000,
        label="Folder on the server",
        help_text="The folder that holds the weights (safetensors) and their configuration, or the prediction log. "
        "It is checked without being run, then copied and bound to its digest.",
    )
    notes = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["adapter"].choices = [(key, ADAPTER_WORDS.get(key, key)) for key, _ in ADAPTERS]  # type: ignore[attr-defined]

    def clean_folder(self) -> Path:
        folder = Path(self.cleaned_data["folder"].strip())
        if not folder.is_absolute():
            raise forms.ValidationError("Give the whole path, beginning with /.")
        return folder


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def version_new(request: HouseRequest, slug: str) -> HttpResponse:
    system, form = get_system(slug), bind(VersionForm, request)
    version = attempt(form, partial(register_version, system=system, by=request.user))
    if version:
        return redirect("version", slug=slug, pk=version.pk)
    context = {"form": form, "system": system, "permission": can(check_may_register_version, request.user)}
    return render(request, "models_registry/version_new.html", context, status=form.status)


@require_safe
@reads
def version_detail(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """The version, and what higher floors add: audits, reviews, reports."""
    version = get_version(slug, pk)
    context = {
        "version": version,
        "files": sorted(version.manifest.items()),
        "actions": panels_for("version-actions", request.user, version),
        "panels": panels_for("version", request.user, version),
    }
    return render(request, "models_registry/version.html", context)
