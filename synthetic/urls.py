"""Addresses of synthetic patients. What the simulator makes stands on the pages of cohorts and on the home page."""

from __future__ import annotations

from django.urls import URLPattern, path

from synthetic.pages import generators, orders, panels

__all__ = ["panels", "urlpatterns"]

urlpatterns: list[URLPattern] = [
    path("synthetic/", generators.overview, name="synthetic"),
    path("synthetic/generators/new/", generators.generator_new, name="generator-new"),
    path("synthetic/trainings/<int:pk>/", generators.training_detail, name="generator-training"),
    path("synthetic/trainings/<int:pk>/progress/", generators.training_progress, name="generator-training-progress"),
    path("synthetic/trainings/<int:pk>/cancel/", generators.training_cancel, name="generator-training-cancel"),
    path("synthetic/trainings/<int:pk>/resume/", generators.training_resume, name="generator-training-resume"),
    path("synthetic/trainings/<int:pk>/curves/<str:curve>/", generators.training_curve, name="generator-curve"),
    path("synthetic/patients/new/", orders.patients_new, name="patients-new"),
    path("synthetic/orders/<int:pk>/", orders.order_detail, name="patients-order"),
    path("synthetic/orders/<int:pk>/progress/", orders.order_progress, name="patients-order-progress"),
    path("synthetic/orders/<int:pk>/cancel/", orders.order_cancel, name="patients-order-cancel"),
]
