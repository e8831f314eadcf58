"""Deployments, their monitors with years of windows, alerts, overrides: the part of the full house that watches."""

from __future__ import annotations

from benchmarks.web_house import DIGEST, House
from benchmarks.web_rows import among, multiply, run_sql

WINDOWS_OF_THE_LARGEST = 260
"""Five years of weeks."""


def fill(house: House) -> None:
    """Everything that hangs on deployments."""
    deployments = _deployments(house)
    monitors = _monitors(house, deployments)
    _windows(house, monitors)
    _alerts(house, monitors)


def _deployments(house: House) -> list[int]:
    from governance.models import OutputCount, Override
    from models_registry.models import Deployment

    used = Deployment.objects.filter(overrides__isnull=False).earliest("pk")
    rows = list(Deployment.objects.exclude(pk=used.pk).order_by("pk").values_list("pk", flat=True))
    running = list(Deployment.objects.filter(status="running").values_list("pk", flat=True))
    rows += multiply(
        Deployment, house.sizes.deployments - len(rows) - 1, running, version_id=among(house.versions, "g.n * 7"),
        site="'Hospital ' || to_char(g.n, 'FM000')", started_at="now() - (g.n + 1) * interval '9 days'",
    )  # fmt: skip
    keys = [used.pk, *rows]
    overrides = list(used.overrides.values_list("pk", flat=True))
    when = "now() - (g.n % 700) * interval '1 day' - g.n * interval '1 second'"
    number = house.sizes.share(20_000)
    for turn, owner in enumerate((str(used.pk), among(keys))):
        multiply(Override, number, overrides, deployment_id=owner, happened_at=when, case_digest=DIGEST.format("case"),
                 key=f"'bench {turn} ' || g.n")  # fmt: skip
    count = list(used.output_counts.values_list("pk", flat=True)[:1])
    groups = "('{\"sex\":\"' || (ARRAY['F','M'])[1 + g.n % 2] || '\"}')"
    multiply(
        OutputCount, len(keys) * 2 * house.sizes.share(365), count, deployment_id=among(keys),
        day=f"current_date - 30 - (g.n / {2 * len(keys)})::int", group=f"{groups}::jsonb",
        group_key=f"'bench' || (g.n / {len(keys)}) % 2",
    )  # fmt: skip
    return keys


def _monitors(house: House, deployments: list[int]) -> list[int]:
    from evaluation.models import Delivery, Monitor, MonitorWindow

    first = Monitor.objects.filter(windows__alarm=True).earliest("pk")
    others = list(Monitor.objects.exclude(pk=first.pk).order_by("pk").values_list("pk", flat=True))
    more = multiply(Monitor, house.sizes.deployments - len(others) - 1, [first.pk], deployment_id=among(deployments),
                    name="'Watch ' || g.n", reference_cohort_id=among(house.cohorts))  # fmt: skip
    keys = [first.pk, *more, *others]
    delivery = list(Delivery.objects.values_list("pk", flat=True)[:1])
    multiply(Delivery, house.sizes.share(6_000), delivery, monitor_id=among(keys), source_digest=DIGEST.format("came"),
             received_at="now() - g.n * interval '3 hours'")  # fmt: skip
    quiet = MonitorWindow.objects.filter(status="judged", alarm=False, points__isnull=False).earliest("pk")
    _more_streams(quiet.pk)
    return keys


def _more_streams(window: int) -> None:
    """Sixty points in the window that is copied, as a cohort of twenty columns by one attribute gives."""
    from evaluation.models import StreamPoint

    points = list(StreamPoint.objects.filter(window=window).order_by("pk").values_list("pk", flat=True))
    multiply(StreamPoint, 60 - len(points), points, stream="t.stream || ' ' || g.n / 9")


def _windows(house: House, monitors: list[int]) -> None:
    """Half of the audits judged windows: the newest ones of each monitor last."""
    from evaluation.models import Monitor, MonitorWindow

    quiet = MonitorWindow.objects.filter(status="judged", alarm=False, points__isnull=False).earliest("pk")
    free = house.runs[len(house.runs) // 2 :]
    watching = Monitor.objects.filter(pk__in=monitors, status="active").order_by("pk")
    keys = [key for key in monitors if key in set(watching.values_list("pk", flat=True))]
    largest = min(WINDOWS_OF_THE_LARGEST, len(free) // 4)
    each = (len(free) - largest) // max(1, len(keys) - 1)
    made: list[int] = []
    for place, key in enumerate(keys):
        last = MonitorWindow.objects.filter(monitor=key).count()
        number = largest if place == 0 else each
        runs, free = free[:number], free[number:]
        opens = f"t.opens_at - interval '5 years' + ({last} + g.n) * interval '7 days'"
        made += multiply(
            MonitorWindow, len(runs), [quiet.pk], monitor_id=str(key), index=f"{last} + 1 + g.n", run_id=among(runs),
            opens_at=opens, closes_at=f"{opens} + interval '7 days'", due_at=f"{opens} + interval '7 days'",
            judged_at=f"{opens} + interval '7 days 7 hours'",
        )  # fmt: skip
    _copy_points(quiet.pk, made)


def _copy_points(of: int, windows: list[int]) -> None:
    """The points of one window, of others too."""
    from evaluation.models import StreamPoint

    names = [field.column for field in StreamPoint._meta.concrete_fields if field.name not in ("id", "window")]
    columns, values = (", ".join(f'{prefix}"{name}"' for name in names) for prefix in ("", "t."))
    run_sql(
        f"INSERT INTO evaluation_streampoint (window_id, {columns}) "  # noqa: S608
        f"SELECT w.key, {values} FROM unnest(%s::bigint[]) AS w(key) "
        "JOIN evaluation_streampoint t ON t.window_id = %s ORDER BY w.key, t.id",
        [windows, of],
    )


def _alerts(house: House, monitors: list[int]) -> None:
    from evaluation.models import Alert, AlertEvent, Webhook, WebhookDelivery

    one = Alert.objects.filter(events__isnull=False).earliest("pk")
    closed = "CASE WHEN g.n % 10 = 0 THEN '{}' ELSE '{}' END"
    alerts = multiply(
        Alert, house.sizes.share(3_000), [one.pk], monitor_id=among(monitors), key="'bench:' || g.n", window_id="NULL",
        status=closed.format("open", "closed"), resolution=closed.format("", "false_alarm"),
        closing=closed.format("", "Nothing had changed."), first_at="now() - g.n * interval '5 hours'",
        closed_at="CASE WHEN g.n % 10 = 0 THEN NULL ELSE now() END", last_at="now() - g.n * interval '5 hours'",
    )  # fmt: skip
    event = list(AlertEvent.objects.filter(alert=one).values_list("pk", flat=True)[:1])
    multiply(AlertEvent, 3 * len(alerts), event, alert_id=among(alerts))
    hook = Webhook.objects.earliest("pk")
    hooks = [hook.pk, *multiply(Webhook, 10, [hook.pk], name="'Hook ' || g.n")]
    message = list(WebhookDelivery.objects.values_list("pk", flat=True)[:1])
    state = "CASE WHEN g.n % 50 = 0 THEN 'dead' ELSE 'sent' END"
    multiply(WebhookDelivery, 2 * len(alerts), message, webhook_id=among(hooks), alert_id=among(alerts),
             event="'bench:' || g.n", status=state)  # fmt: skip
