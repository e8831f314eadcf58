"""Addresses of reviews, reports and bundles, and of what regulators are granted."""

from __future__ import annotations

from django.urls import path

from governance.pages import (
    bundles,
    documents,
    grants,
    issuing,
    panels,
    portal,
    questionnaire,
    regulation_panels,
    requirements,
    reviews,
    statements,
)

__all__ = ["panels", "regulation_panels", "urlpatterns"]

REPORT = "systems/<slug:slug>/versions/<int:pk>/reports/<slug:kind>"
REQUIREMENT = "systems/<slug:slug>/versions/<int:pk>/requirements/<slug:requirement>"
STATEMENT = f"{REQUIREMENT}/statements/<int:statement>"

urlpatterns = [
    path("systems/<slug:slug>/questions/", questionnaire.questionnaire, name="questionnaire"),
    path("systems/<slug:slug>/questions/<slug:chapter>/", questionnaire.chapter, name="chapter"),
    path("systems/<slug:slug>/versions/<int:pk>/requirements/", requirements.matrix, name="requirements"),
    path("systems/<slug:slug>/versions/<int:pk>/requirement-counts/", requirements.summary, name="requirement-counts"),
    path(f"{REQUIREMENT}/", requirements.requirement, name="requirement"),
    path(f"{REQUIREMENT}/write/", statements.statement_write, name="statement-write"),
    path(f"{STATEMENT}/withdraw/", statements.statement_withdraw, name="statement-withdraw"),
    path(f"{STATEMENT}/carry/", statements.statement_carry, name="statement-carry"),
    path(f"{STATEMENT}/files/<slug:digest>/", statements.statement_file, name="statement-file"),
    path(f"{REPORT}/", issuing.report_new, name="report-new"),
    path(f"{REPORT}/preview/", issuing.report_preview, name="report-preview"),
    path("governance/", reviews.review_list, name="reviews"),
    path("governance/reviews/<int:pk>/", reviews.review_room, name="review"),
    path("governance/reviews/open/<int:run_pk>/", reviews.review_open, name="review-open"),
    path("governance/reviews/<int:pk>/bundle/", bundles.bundle_request, name="bundle-request"),
    path("governance/grants/", grants.grant_list, name="grants"),
    path("governance/grants/new/", grants.grant_new, name="grant-new"),
    path("governance/grants/<int:pk>/", grants.grant_detail, name="grant"),
    path("portal/", portal.overview, name="portal"),
    path("portal/standing/", portal.standing, name="portal-standing"),
    path("portal/grants/<int:pk>/versions/<int:version_pk>/", portal.version, name="portal-version"),
    path("portal/grants/<int:pk>/bundles/<int:bundle_pk>/", portal.bundle, name="portal-bundle"),
    path("portal/grants/<int:pk>/bundles/<int:bundle_pk>/link/", portal.bundle_link, name="portal-bundle-link"),
    path("portal/grants/<int:pk>/verifier.zip", portal.verifier, name="portal-verifier"),
    path("portal/links/<str:token>/", portal.link_use, name="portal-link"),
    path("reports/", documents.document_list, name="reports"),
    path("reports/request/<int:run_pk>/", documents.report_request, name="report-request"),
    path("reports/<int:pk>/", documents.report_detail, name="report"),
    path("reports/<int:pk>/<str:form>/", documents.report_download, name="report-download"),
    path("reports/bundles/<int:pk>/", bundles.bundle_page, name="bundle"),
    path("reports/bundles/<int:pk>/download/", bundles.bundle_download, name="bundle-download"),
]
