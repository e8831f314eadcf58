"""What a judged window gives people: rows to draw, findings in words, and alerts. Nothing that counts few patients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.records import Family, Look, Notice, NoticeKind, StreamShift
from evaluation.engine.drift.shifts import CASE_MIX, MISSING
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.drift.words import unit_words
from evaluation.engine.records import ALL
from evaluation.engine.registry import Basis, known_metrics
from evaluation.models import Alert, MonitorWindow, Outcome, StreamPoint, Verdict
from evaluation.monitoring.findings import Finding

Key = tuple[str, str, str]
Kind, Severity = Alert.Kind, Alert.Severity
SEVERITY: dict[NoticeKind, str] = {
    NoticeKind.UNIT: Severity.WARNING,
    NoticeKind.UNSEEN: Severity.INFO,
    NoticeKind.FEW: Severity.WARNING,
    NoticeKind.CONCEPT: Severity.WARNING,
    NoticeKind.CASE_MIX: Severity.INFO,
    NoticeKind.NOT_WATCHED: Severity.INFO,
}
TOLD = (NoticeKind.UNIT, NoticeKind.UNSEEN, NoticeKind.FEW)
"""Notices that are alerts of their own. A change of case mix or of concept is told once the lifetime test finds it:
by a single look, one would be told of something in many a quiet year."""
OF_PERFORMANCE = (Family.PERFORMANCE, Family.ESTIMATED)
MOST_STREAMS = 20
"""Streams that are named in the detail of an alert; the page has all."""


def findings_of(notices: Iterable[Notice]) -> list[dict[str, Any]]:
    """Notices as entries of ``MonitorWindow.findings``, beside what was odd about the data."""
    return [
        {
            "kind": item.kind.value,
            "severity": str(SEVERITY[item.kind]),
            "code": f"notice-{item.kind.value}",
            "message": item.message,
            "remedy": "",
            "stream": item.stream,
            "column": None,
            "row": None,
            "count": 1,
            "detail": item.detail,
        }
        for item in notices
    ]


def noticed(window: MonitorWindow, kind: NoticeKind) -> list[dict[str, Any]]:
    """The notices of one kind among the findings of a judged window."""
    return [item for item in window.findings if item.get("code") == f"notice-{kind.value}"]


def points_of(
    window: MonitorWindow, rules: Rules, sketch: DriftSketch, shifts: Iterable[StreamShift], look: Look
) -> list[StreamPoint]:
    """One row for each stream and group of a window. The number of a small group's patients is left out."""
    titles = {spec.name: spec.title for spec in sketch.specs}
    alarming = set(look.alarming)
    return [
        StreamPoint(
            window=window,
            stream=item.stream,
            family=item.family.value,
            attribute=item.attribute,
            group=item.group,
            effect=item.effect,
            value=item.value,
            low=item.low,
            high=item.high,
            margin=item.margin,
            p_value=item.p_value,
            log_e=look.streams.get(_key(item)),
            n=item.n if item.n >= rules.minimum_cell else None,
            reason=item.reason[:300],
            alarming=_key(item) in alarming,
            detail=item.detail | {"title": title_of(item.stream, titles)},
        )
        for item in shifts
    ]


def title_of(stream: str, titles: Mapping[str, str]) -> str:
    """A stream in a reader's words; two kinds of streams are in no list of a sketch.

    Args:
        titles: Stream -> title, of the streams that a sketch lists.
    """
    if stream == CASE_MIX:
        return "mix of patients"
    if stream.startswith(MISSING):
        of = stream.removeprefix(MISSING)
        return f"{titles.get(of, of)}, whether it is there"
    return titles.get(stream, stream)


def tell_judged(
    window: MonitorWindow, rules: Rules, shifts: Sequence[StreamShift], notices: Sequence[Notice], look: Look
) -> None:
    """Raise what a judged window asks a person to look at, in the transaction that judges it."""
    from evaluation.services.alerts import raise_alert

    # All rows first: from the first entry on, the ledger's head is held, and nothing else may be waited for.
    open_ones = Alert.objects.select_for_update(of=("self",), no_key=True).filter(monitor=window.monitor)
    list(open_ones.exclude(status=Alert.Status.CLOSED).order_by("pk"))
    if look.alarm:
        raise_alert(**_alarm(window, rules, shifts, look))
    for item in notices:
        if item.kind in TOLD:
            raise_alert(
                monitor=window.monitor,
                kind=item.kind.value,
                severity=SEVERITY[item.kind],
                key=_matter(item.kind, item.stream),
                title=item.message[:200],
                text=item.message,
                detail={"stream": item.stream},
                window=window,
            )
    _settle_past(window, notices)
    for verdict in _breaches(window, rules):
        raise_alert(**_breach(window, rules, verdict))


def _matter(kind: NoticeKind, stream: str) -> str:
    return (f"{kind.value}:{stream}" if stream else kind.value)[:160]


def _settle_past(window: MonitorWindow, notices: Sequence[Notice]) -> None:
    """Close what a later window shows to be over: enough patients again, the unit as it was."""
    from evaluation.services.alerts import settle_alert

    now = {_matter(item.kind, item.stream) for item in notices}
    # What was odd when this window's data came was told then, and is so now.
    now |= {Finding.from_dict(item).key[:160] for item in window.findings if "stream" not in item}
    if NoticeKind.FEW.value in now:
        return
    past = Alert.objects.filter(monitor=window.monitor, kind__in=[Kind.FEW, Kind.UNIT])
    past = past.exclude(status=Alert.Status.CLOSED)
    for key in past.values_list("key", flat=True):
        if key not in now and (key == NoticeKind.FEW.value or key.startswith(f"{NoticeKind.UNIT.value}:")):
            settle_alert(monitor=window.monitor, key=key, why=f"It was not so any more in window {window.index}.")


def _alarm(window: MonitorWindow, rules: Rules, shifts: Sequence[StreamShift], look: Look) -> dict[str, Any]:
    """The alarm of the lifetime test: one matter for each cycle of the monitor."""
    found = {_key(item): item for item in shifts}
    named = [found[key] for key in look.alarming if key in found]
    families = {item.family for item in named}
    drift = rules.drift
    critical = drift is not None and any(family.value in drift.critical for family in families)
    onset = window.look.get("onset")
    lines, further = [_sentence(item, window) for item in named[:3]], len(named) - 3
    more = [f"{further} further streams are over their margin."] if further > 0 else []
    more += [] if onset is None else [f"The change most likely began in window {onset}."]
    return {
        "monitor": window.monitor,
        "kind": _kind(families),
        "severity": Severity.CRITICAL if critical else Severity.WARNING,
        "key": f"drift:{window.cycle}",
        "title": _title(named[0], window) if named else "Several streams have changed together",
        "text": " ".join([f"Window {window.index}.", *lines, *more, _evidence(look)]),
        "detail": {
            "window": window.index,
            "cycle": window.cycle,
            "onset": onset,
            "log_e": look.log_e_over_margin,
            "threshold": look.threshold,
            "method": look.method,
            "streams": [_plain(item, rules, look) for item in named[:MOST_STREAMS]],
        },
        "window": window,
    }


def _evidence(look: Look) -> str:
    reached, asked = _power(look.log_e_over_margin), _power(look.threshold)
    evidence = f"Evidence: e = {reached}, alarm from {asked}."
    return f"{evidence} Promise: {look.promise}"


def _kind(families: set[Family]) -> str:
    """What the alarm is called by: the gravest of its families."""
    if families & set(OF_PERFORMANCE):
        return Kind.PERFORMANCE
    if Family.CONCEPT in families:
        return Kind.CONCEPT
    return Kind.CASE_MIX if families == {Family.CASE_MIX} else Kind.DRIFT


def _title(item: StreamShift, window: MonitorWindow) -> str:
    return f"{_capital(_named(item, window))} has changed{_where(item)}"


def _sentence(item: StreamShift, window: MonitorWindow) -> str:
    value = "not known" if item.value is None else f"{item.value:.2g}"
    name = _capital(_named(item, window))
    return f"{name}{_where(item)}: {value} ({unit_words(item.effect)}), margin {item.margin:.2g}."


def _where(item: StreamShift) -> str:
    return "" if item.group == ALL else f" in {item.attribute} {item.group}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _named(item: StreamShift, window: MonitorWindow) -> str:
    title = window.points.filter(stream=item.stream).values_list("detail__title", flat=True).first()
    return str(title or item.stream)


def _power(log_e: float) -> str:
    """An e-value in words: those beyond a million as a power of ten."""
    tens = log_e / math.log(10)
    if tens > 6:
        return f"10^{tens:.0f}"
    return f"{10**tens:,.0f}" if tens >= 1 else f"{10**tens:.2g}"


def _plain(item: StreamShift, rules: Rules, look: Look) -> dict[str, Any]:
    return {
        "stream": item.stream,
        "family": item.family.value,
        "attribute": item.attribute,
        "group": item.group,
        "effect": item.effect,
        "value": item.value,
        "low": item.low,
        "high": item.high,
        "margin": item.margin,
        "log_e": look.streams.get(_key(item)),
        "n": item.n if item.n >= rules.minimum_cell else None,
    }


def _breaches(window: MonitorWindow, rules: Rules) -> list[Verdict]:
    """Criteria that failed in this window by themselves. Those on drift are left to the lifetime test."""
    if window.run is None:
        return []
    metrics = known_metrics()
    asked = {item.id for item in rules.criteria if metrics[item.metric].basis is not Basis.STREAMS}
    rows = Verdict.objects.filter(run=window.run, outcome=Outcome.FAIL, primary=True, criterion__in=asked)
    return list(rows.order_by("position"))


def _breach(window: MonitorWindow, rules: Rules, verdict: Verdict) -> dict[str, Any]:
    drift = rules.drift
    critical = drift is not None and Family.PERFORMANCE.value in drift.critical
    place = ":".join(part for part in (verdict.criterion, verdict.label, verdict.attribute) if part)
    return {
        "monitor": window.monitor,
        "kind": Kind.BREACH,
        "severity": Severity.CRITICAL if critical else Severity.WARNING,
        "key": f"breach:{place}"[:160],
        "title": f"Criterion {verdict.criterion} failed in window {window.index}"[:200],
        "text": verdict.statement,
        "detail": {
            "criterion": verdict.criterion,
            "label": verdict.label,
            "attribute": verdict.attribute,
            "run": window.run_id,
        },
        "window": window,
    }


def _key(item: StreamShift) -> Key:
    return item.stream, item.attribute, item.group
