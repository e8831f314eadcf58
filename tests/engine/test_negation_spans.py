"""Whether a finding is called present, absent or possible, against 300 sentences that were annotated by hand.

``negation_spans.csv`` holds report, section, place and assertion of one mention each, no text. The sentences were
chosen by a hash, each wording once, half of them of test reports, and annotated by reading before the extractor
had read any of them. See ``docs/hallucination/openi.md`` for the rules of annotation.
"""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from evaluation.engine.text.reading import read_text
from models_registry.cohorts.openi import OpeniReport, openi_reports
from models_registry.cohorts.package_data import PACKAGE

SPANS = Path(__file__).with_name("negation_spans.csv")

installed = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"the package {PACKAGE} is not installed"
)


def spans() -> list[dict[str, str]]:
    with SPANS.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@cache
def reports() -> dict[str, OpeniReport]:
    return {report.report_id: report for report in openi_reports()}


def read_assertion(report: OpeniReport, section: str, start: int, end: int) -> str:
    """What the extractor says of the mention that covers most of a span; "not read" where none touches it."""
    heading = f"{section.upper()}: "
    claims = read_text(heading + getattr(report, section)).claims
    low, high = start + len(heading), end + len(heading)
    shared = {claim: min(claim.end, high) - max(claim.start, low) for claim in claims}
    best = max(shared, key=lambda claim: shared[claim], default=None)
    return str(best.assertion) if best is not None and shared[best] > 0 else "not read"


def test_the_set_is_whole() -> None:
    rows = spans()
    assert len(rows) == 300
    assert set(rows[0]) == {"report_id", "section", "start", "end", "assertion"}
    assert Counter(row["assertion"] for row in rows) == {"absent": 158, "present": 118, "uncertain": 24}


@installed
def test_spans_are_words_of_their_reports_in_both_halves() -> None:
    halves: Counter[str] = Counter()
    for row in spans():
        report = reports()[row["report_id"]]
        text = getattr(report, row["section"])
        word = text[int(row["start"]) : int(row["end"])]
        assert word == word.strip()
        assert len(word) > 3
        assert not text[: int(row["start"])][-1:].isalnum()
        assert not text[int(row["end"]) :][:1].isalnum()
        halves[report.half] += 1
    assert halves == {"develop": 150, "test": 150}


@cache
def disagreements() -> tuple[tuple[OpeniReport, dict[str, str], str], ...]:
    """Mentions that are read otherwise than annotated, with what is said of them."""
    found = []
    for row in spans():
        report = reports()[row["report_id"]]
        said = read_assertion(report, row["section"], int(row["start"]), int(row["end"]))
        if said != row["assertion"]:
            found.append((report, row, said))
    return tuple(found)


def told(found: list[tuple[OpeniReport, dict[str, str], str]]) -> str:
    """Those of the develop half by name. Those of test reports are counted: rules must not be fitted to them."""
    named = [
        f"{report.report_id} {row['section']} {row['start']}: {row['assertion']}, read as {said}"
        for report, row, said in found
        if report.half == "develop"
    ]
    return "\n".join([f"{len(found)} are off; in the develop half:", *named])


@installed
def test_negation_is_found_in_98_of_100_mentions() -> None:
    """Absent or not. A mention that is not read at all is wrong, too."""
    wrong = [item for item in disagreements() if item[2] == "not read" or "absent" in (item[1]["assertion"], item[2])]
    assert 1 - len(wrong) / len(spans()) >= 0.98, told(wrong)


@installed
def test_present_absent_and_uncertain_are_told_apart_in_96_of_100_mentions() -> None:
    """Lower, because the annotator calls "probable" and "and/or" uncertain, which the vocabulary calls present."""
    assert 1 - len(disagreements()) / len(spans()) >= 0.96, told(list(disagreements()))
