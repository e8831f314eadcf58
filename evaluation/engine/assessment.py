"""Judges the merged sketch by the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.errors import AuscultError
from evaluation.engine.judging import judge, overall
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import Advice, Assessment, Verdict
from evaluation.engine.registry import SUITES
from evaluation.engine.sketch import AuditSketch
from evaluation.engine.statistics.threads import one_blas_thread


def assess(
    protocol: Protocol,
    sketch: AuditSketch,
    *,
    suites: Sequence[str] | None = None,
    cross_check: bool = True,
    with_advice: bool = True,
) -> Assessment:
    """Measurements, verdicts and advice on the patients in ``sketch``.

    The result is a function of protocol and sketch alone: every resampling is seeded by the protocol's seed and by
    what it resamples, and linear algebra runs on one thread, so that the number of cores does not show in a digit.
    Holm's correction runs over the primary criteria of all suites together.

    Args:
        suites: Those of the protocol's suites to judge; all of them unless told otherwise.
        cross_check: Recompute point values with independent libraries. Takes seconds on the first call.
        with_advice: Also say what could reduce a gap that failed; :func:`advise` says it afterwards. No verdict rests
            on it.

    Raises:
        AuscultError: for a sketch of another protocol, or where an independent library gives another value.
    """
    if sketch.protocol_digest != protocol.digest:
        raise AuscultError(
            "The sketch was made for another protocol.", remedy="Run the shards again with the protocol that judges."
        )
    used = suites or protocol.suites
    with one_blas_thread():
        found = _assessed(protocol, sketch, used, cross_check=cross_check)
    return replace(found, advice=advise(protocol, sketch, found.verdicts, suites=used)) if with_advice else found


def advise(
    protocol: Protocol, sketch: AuditSketch, verdicts: Sequence[Verdict], *, suites: Sequence[str] | None = None
) -> tuple[Advice, ...]:
    """What could reduce the gaps that failed: see the suites' own ``advise``. A function of its arguments alone."""
    with one_blas_thread():
        return tuple(
            item
            for key in suites or protocol.suites
            for item in SUITES.get(key).advise(protocol, sketch.parts[key], verdicts)
        )


def _assessed(protocol: Protocol, sketch: AuditSketch, used: Sequence[str], *, cross_check: bool) -> Assessment:
    findings = [SUITES.get(key).measure(protocol, sketch.parts[key], cross_check=cross_check) for key in used]
    verdicts = judge([test for item in findings for test in item.tests], alpha=protocol.alpha)
    return Assessment(
        measurements=tuple(row for item in findings for row in item.measurements),
        verdicts=verdicts,
        outcome=overall(verdicts),
        notes=tuple(note for item in findings for note in item.notes),
        cross_checks=tuple(check for item in findings for check in item.cross_checks),
    )
