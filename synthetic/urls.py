"""Addresses of synthetic patients. What the simulator makes stands on the pages of cohorts and on the home page."""

from __future__ import annotations

from django.urls import URLPattern, path

from synthetic.pages import audit_panel, gallery, generators, orders, panels, repair_panel, repairs

__all__ = ["audit_panel", "panels", "repair_panel", "urlpatterns"]

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
    path("synthetic/orders/<int:pk>/gallery/", gallery.gallery, name="gallery"),
    path("synthetic/orders/<int:pk>/gallery/<int:number>/<str:side>/", gallery.gallery_image, name="gallery-image"),
    path("synthetic/repairs/new/<int:run_pk>/<int:position>/", repairs.repair_new, name="repair-new"),
    path("synthetic/repairs/<int:pk>/", repairs.repair_detail, name="repair"),
    path("synthetic/repairs/<int:pk>/progress/", repairs.repair_progress, name="repair-progress"),
    path("synthetic/repairs/<int:pk>/cancel/", repairs.repair_cancel, name="repair-cancel"),
    path("synthetic/repairs/<int:pk>/resume/", repairs.repair_resume, name="repair-resume"),
    path("synthetic/repairs/<int:pk>/audit/", repairs.repair_audit, name="repair-audit"),
]
