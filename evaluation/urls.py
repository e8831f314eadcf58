"""Addresses of audits and protocols."""

from __future__ import annotations

from django.urls import path

from evaluation.pages import closer, explorer, panels, protocols, results, runs, workers

__all__ = ["panels", "urlpatterns"]

urlpatterns = [
    path("audits/", runs.run_list, name="audits"),
    path("audits/new/", runs.run_new, name="audit-new"),
    path("audits/<int:pk>/", runs.run_detail, name="audit"),
    path("audits/<int:pk>/progress/", runs.run_progress, name="audit-progress"),
    path("audits/<int:pk>/cancel/", runs.run_cancel, name="audit-cancel"),
    path("audits/<int:pk>/resume/", runs.run_resume, name="audit-resume"),
    path("audits/<int:pk>/measurements.csv", results.measurements_csv, name="audit-csv"),
    path("audits/<int:pk>/evidence.json", results.evidence_json, name="audit-evidence"),
    path("audits/<int:pk>/charts/<int:position>.svg", results.chart, name="audit-chart"),
    path("audits/<int:pk>/charts/<int:position>/", results.chart_table, name="audit-chart-table"),
    path("audits/<int:pk>/closer/", closer.closer, name="audit-closer"),
    path("audits/<int:pk>/closer/<str:kind>.svg", closer.closer_chart, name="audit-closer-chart"),
    path("audits/<int:pk>/closer/<str:kind>/", closer.closer_table, name="audit-closer-table"),
    path("audits/<int:pk>/explorer/", explorer.studies, name="studies"),
    path("audits/<int:pk>/explorer/<int:shard>/<int:row>/", explorer.study, name="study"),
    path("audits/<int:pk>/explorer/<int:shard>/<int:row>/image.png", explorer.image, name="study-image"),
    path("workers/", workers.worker_list, name="workers"),
    path("audits/protocols/", protocols.protocol_list, name="protocols"),
    path("audits/protocols/new/", protocols.protocol_new, name="protocol-new"),
    path("audits/protocols/<int:pk>/", protocols.protocol_detail, name="protocol"),
    path("audits/protocols/<int:pk>/approve/", protocols.protocol_approve, name="protocol-approve"),
]
