"""All addresses. Each app's pages bring their own."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from config import api_docs
from config.api import beyond, patterns

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("core.urls")),
    path("", include("models_registry.urls")),
    path("", include("evaluation.urls")),
    path("", include("synthetic.urls")),
    path("", include("governance.urls")),
    path("api/", api_docs.page),
    path("api/v1/openapi.json", api_docs.schema, name="openapi"),
    path("api/v1/", include((patterns(), "api"))),
    beyond(),
]
handler403 = "core.pages.errors.denied"
handler404 = "core.pages.errors.not_found"
handler500 = "core.pages.errors.broken"
