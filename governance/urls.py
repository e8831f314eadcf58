"""Addresses of reviews, reports and bundles."""

from __future__ import annotations

from django.urls import path

from governance.pages import documents, panels, reviews

__all__ = ["panels", "urlpatterns"]

urlpatterns = [
    path("governance/", reviews.review_list, name="reviews"),
    path("governance/reviews/<int:pk>/", reviews.review_room, name="review"),
    path("governance/reviews/open/<int:run_pk>/", reviews.review_open, name="review-open"),
    path("governance/reviews/<int:pk>/bundle/", documents.bundle_request, name="bundle-request"),
    path("reports/", documents.document_list, name="reports"),
    path("reports/request/<int:run_pk>/", documents.report_request, name="report-request"),
    path("reports/<int:pk>/<str:form>/", documents.report_download, name="report-download"),
    path("reports/bundles/<int:pk>/download/", documents.bundle_download, name="bundle-download"),
]
