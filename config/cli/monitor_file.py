"""A monitor as a YAML file: every field checked, with its name in the refusal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.errors import AuscultError, NotFoundError

FIELDS = ("name", "deployment", "protocol", "reference", "source", "window", "schedule", "zone", "owner", "escalation")
NEEDED = ("name", "deployment", "protocol", "reference", "source", "window", "schedule", "owner")


def monitor_facts(body: Any, *, file: str) -> dict[str, Any]:
    """What ``create_monitor`` takes, from the body of a file.

    Raises:
        AuscultError: a field is missing, not known or of the wrong kind; the message names it.
        NotFoundError: it names something that is not there.
    """
    given = _section(body, "the file", FIELDS, file)
    for name in NEEDED:
        if name not in given:
            raise _wrong(name, "is missing", file)
    window = _section(given["window"], "window", ("unit", "size", "opens_at", "grace_hours"), file)
    schedule = _section(given["schedule"], "schedule", ("crontab", "every_seconds"), file)
    escalation = _section(given.get("escalation") or {}, "escalation", ("to", "after_hours"), file)
    source = _section(given["source"], "source", None, file)
    zone = _zone(given.get("zone", "UTC"), file)
    facts: dict[str, Any] = {
        "name": str(given["name"]),
        "deployment": _deployment(given["deployment"], file),
        "protocol": _protocol(str(given["protocol"])),
        "reference_cohort": _cohort(str(given["reference"])),
        "source_kind": str(source.get("kind", "")),
        "source": {name: value for name, value in source.items() if name != "kind"},
        "window_unit": str(window.get("unit", "")),
        "window_size": _number(window.get("size", 1), "window.size", file),
        "first_opens_at": _moment(window.get("opens_at"), zone, file),
        "grace_hours": _number(window.get("grace_hours", 0), "window.grace_hours", file),
        "zone": zone.key,
        "crontab": str(schedule.get("crontab", "")),
        "every_seconds": schedule.get("every_seconds"),
        "owner": person_of(str(given["owner"])),
        "escalate_to": person_of(str(escalation["to"])) if escalation.get("to") else None,
        "escalate_after_hours": _number(escalation.get("after_hours", 24), "escalation.after_hours", file),
    }
    return facts


def _section(body: Any, name: str, allowed: tuple[str, ...] | None, file: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise _wrong(name, "must be a set of fields", file)
    for key in body:
        if allowed is not None and key not in allowed:
            raise AuscultError(
                f"'{str(key)[:40]}' in {name} is not known.", remedy=f"Use some of: {', '.join(allowed)}.", file=file
            )
    return body


def _wrong(name: str, what: str, file: str) -> AuscultError:
    return AuscultError(f"'{name}' {what}.", remedy="docs/drift/sources.md shows a whole file.", file=file)


def _number(value: Any, name: str, file: str) -> int:
    if type(value) is not int or value < 0:
        raise _wrong(name, "must be a whole number from 0", file)
    return int(value)


def _zone(value: Any, file: str) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _wrong("zone", "must be an IANA name such as Europe/Vienna", file) from None


def _moment(value: Any, zone: ZoneInfo, file: str) -> datetime:
    """YAML reads a time without quotes as one, in UTC if it had an offset; a day is its midnight in the zone."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise _wrong("window.opens_at", "must be a time such as 2026-11-02T00:00", file) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _deployment(value: Any, file: str) -> Any:
    from models_registry.models import Deployment

    number = _number(value, "deployment", file)
    rows = Deployment.objects.select_related("version__system").filter(pk=number)
    return _found(rows.first, "deployment", str(number), "List them with: auscult deployment list.")


def _protocol(value: str) -> Any:
    from evaluation.models import Protocol

    rows = Protocol.objects.filter(status=Protocol.Status.APPROVED)
    named = rows.filter(name=value) | rows.filter(digest=value)
    return _found(named.order_by("-approved_at").first, "approved protocol", value, "Have it locked and approved.")


def _cohort(value: str) -> Any:
    from models_registry.models import CohortVersion

    rows = CohortVersion.objects.select_related("cohort")
    named = rows.filter(cohort__slug=value) | rows.filter(digest=value)
    return _found(named.order_by("-registered_at").first, "cohort", value, "Give its short name, or a digest.")


def person_of(value: str) -> Any:
    """The account of this name.

    Raises:
        NotFoundError: there is none.
    """
    from config.cli import acting_user

    return acting_user(value)


def _found(first: Callable[[], Any], kind: str, value: str, remedy: str) -> Any:
    row = first()
    if row is None:
        raise NotFoundError(f"There is no {kind} '{value[:80]}'.", remedy=remedy)
    return row
