"""No address yet: what generation shows stands on the pages of cohorts and on the home page."""

from __future__ import annotations

from django.urls import URLPattern

from synthetic.pages import panels

__all__ = ["panels", "urlpatterns"]

urlpatterns: list[URLPattern] = []
