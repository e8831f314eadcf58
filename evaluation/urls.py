"""Addresses of audits and protocols."""

from __future__ import annotations

from django.urls import path

from evaluation.pages import (
    alerts,
    closer,
    compare,
    explorer,
    measurements,
    monitors,
    monitors_charts,
    monitors_new,
    monitors_panels,
    monitors_windows,
    panels,
    protocols,
    results,
    runs,
    system_columns,
    version_rooms,
    webhooks,
    workers,
)

__all__ = ["monitors_panels", "panels", "system_columns", "urlpatterns", "version_rooms"]

urlpatterns = [
    path("audits/", runs.run_list, name="audits"),
    path("audits/new/", runs.run_new, name="audit-new"),
    path("audits/<int:pk>/", runs.run_detail, name="audit"),
    path("audits/<int:pk>/progress/", runs.run_progress, name="audit-progress"),
    path("audits/<int:pk>/cancel/", runs.run_cancel, name="audit-cancel"),
    path("audits/<int:pk>/resume/", runs.run_resume, name="audit-resume"),
    path("audits/<int:pk>/measurements.csv", measurements.measurements_csv, name="audit-csv"),
    path("audits/<int:pk>/measurements.parquet", measurements.measurements_parquet, name="audit-parquet"),
    path("audits/<int:pk>/evidence.json", results.evidence_json, name="audit-evidence"),
    path("audits/<int:pk>/charts/<int:position>.svg", results.chart, name="audit-chart"),
    path("audits/<int:pk>/charts/<int:position>/", results.chart_table, name="audit-chart-table"),
    path("audits/<int:pk>/closer/", closer.closer, name="audit-closer"),
    path("audits/<int:pk>/closer/<str:kind>.svg", closer.closer_chart, name="audit-closer-chart"),
    path("audits/<int:pk>/closer/<str:kind>/", closer.closer_table, name="audit-closer-table"),
    path("audits/<int:pk>/explorer/", explorer.studies, name="studies"),
    path("audits/<int:pk>/explorer/<int:shard>/<int:row>/", explorer.study, name="study"),
    path("audits/<int:pk>/explorer/<int:shard>/<int:row>/image.png", explorer.image, name="study-image"),
    path("compare/", compare.compare, name="compare"),
    path("compare/differences.svg", compare.compare_chart, name="compare-chart"),
    path("workers/", workers.worker_list, name="workers"),
    path("audits/protocols/", protocols.protocol_list, name="protocols"),
    path("audits/protocols/new/", protocols.protocol_new, name="protocol-new"),
    path("audits/protocols/<int:pk>/", protocols.protocol_detail, name="protocol"),
    path("audits/protocols/<int:pk>/approve/", protocols.protocol_approve, name="protocol-approve"),
    path("monitors/", monitors.monitor_list, name="monitors"),
    path("monitors/new/", monitors_new.monitor_new, name="monitor-new"),
    path("monitors/alerts/", alerts.alert_list, name="alerts"),
    path("monitors/alerts/<int:pk>/", alerts.alert_detail, name="alert"),
    path("monitors/webhooks/", webhooks.webhook_list, name="webhooks"),
    path("monitors/webhooks/<int:pk>/", webhooks.webhook_detail, name="webhook"),
    path("monitors/webhooks/<int:pk>/<str:act>/", webhooks.webhook_act, name="webhook-act"),
    path(
        "monitors/webhooks/<int:pk>/messages/<int:message>/<str:act>/", webhooks.message_act, name="webhook-message-act"
    ),
    path("monitors/<int:pk>/", monitors.monitor_detail, name="monitor"),
    path("monitors/<int:pk>/track.svg", monitors_charts.monitor_track, name="monitor-track"),
    path("monitors/<int:pk>/track/", monitors_charts.monitor_track_table, name="monitor-track-table"),
    path("monitors/<int:pk>/stream.svg", monitors_charts.monitor_stream_chart, name="monitor-stream-chart"),
    path("monitors/<int:pk>/stream/table/", monitors_charts.monitor_stream_table, name="monitor-stream-table"),
    path("monitors/<int:pk>/stream/", monitors_windows.monitor_stream, name="monitor-stream"),
    path("monitors/<int:pk>/windows/<int:index>/", monitors_windows.monitor_window, name="monitor-window"),
    path("monitors/<int:pk>/windows/<int:index>/cases/", monitors_windows.window_cases, name="window-cases"),
    path("monitors/<int:pk>/windows/<int:index>/evidently/", monitors_windows.evidently, name="window-evidently"),
    path("monitors/<int:pk>/windows/<int:index>/<str:kind>.json", monitors_windows.window_file, name="window-file"),
    path("monitors/<int:pk>/<str:act>/", monitors.monitor_act, name="monitor-act"),
]
