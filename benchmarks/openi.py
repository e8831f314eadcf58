"""Claims of the OpenI reports against the experts' tags.

python -m benchmarks.openi [--half develop|test|both] [--plain] [--errors FILE] [--json]

Reports are split by a hash of their id. Rules are written with the develop half at hand; the test half is only scored,
and its errors are not listed. Strict: what a report calls present is positive. Lenient: what it calls possible, too.
``--plain`` scores plain spaCy with negspacy instead.
Precision and recall with Wilson intervals, F1 with a percentile interval over 2,000 resamples of reports.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.openi_plain import read_plainly
from benchmarks.result import Target, publish
from evaluation.engine.statistics.intervals import wilson, z_of
from evaluation.engine.text.claims import Assertion, findings_of
from models_registry.cohorts.openi import DEVELOP, TEST, OpeniReport, openi_findings, openi_reports

REPLICATES = 2000
SEED = 20170705
ENOUGH_POSITIVES = 30
NEGBIO_F1 = 0.87
ALL_MICRO, ALL_MACRO = "all, micro", "all, macro"
Reader = Callable[[str], Mapping[str, Assertion]]
Pair = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Score:
    """Agreement on one finding, or on all of them."""

    name: str
    n: int
    positive: int
    true_positive: int
    false_positive: int
    false_negative: int
    precision: float | None
    precision_interval: Pair
    recall: float | None
    recall_interval: Pair
    f1: float | None
    f1_interval: Pair


def scored_reports(half: str) -> tuple[OpeniReport, ...]:
    """The reports of a half that experts tagged and that have findings or an impression."""
    return tuple(report for report in openi_reports() if report.half == half and report.annotated and report.text)


def score_half(half: str, *, lenient: bool = False, reader: Reader = findings_of) -> tuple[Score, ...]:
    """Scores of each finding, then micro and macro over the 14."""
    reports = scored_reports(half)
    return score_texts([reader(report.text) for report in reports], [r.labels for r in reports], lenient=lenient)


def plainly(text: str) -> Mapping[str, Assertion]:
    """What plain spaCy with negspacy says of a text."""
    return next(read_plainly([text]))


def score_texts(
    said: Sequence[Mapping[str, Assertion]], tagged: Sequence[frozenset[str]], *, lenient: bool
) -> tuple[Score, ...]:
    """What each report says against what its tags say."""
    names = openi_findings()
    counted = {Assertion.PRESENT, Assertion.UNCERTAIN} if lenient else {Assertion.PRESENT}
    said_it = np.array([[found.get(name) in counted for name in names] for found in said], dtype=bool)
    truth = np.array([[name in labels for name in names] for labels in tagged], dtype=bool)
    cells = np.stack([said_it & truth, said_it & ~truth, ~said_it & truth], axis=-1).astype(np.int64)
    weights = np.random.default_rng(SEED).multinomial(len(said), np.full(len(said), 1 / len(said)), REPLICATES)
    totals = np.einsum("rn,nfc->rfc", weights, cells, optimize=True)
    each = _f1(totals)
    micro = _f1(totals.sum(axis=1))
    counts = cells.sum(axis=0)
    scores = [_score(name, len(said), counts[i], each[:, i]) for i, name in enumerate(names)]
    scores.append(_score(ALL_MICRO, len(said), counts.sum(axis=0), micro))
    scores.append(_macro(scores[:-1], len(said), each))
    return tuple(scores)


def list_errors(path: Path, half: str, reader: Reader = findings_of) -> int:
    """Write every report that is read otherwise than it is tagged; the number of errors.

    Raises:
        SystemExit: for the test half, whose errors nobody who writes rules may see.
    """
    if half != DEVELOP:
        raise SystemExit("Errors are listed for the develop half alone: rules must not be fitted to the test half.")
    lines: list[str] = []
    for name in openi_findings():
        for report in scored_reports(half):
            said = reader(report.text).get(name)
            if (said is Assertion.PRESENT) != (name in report.labels):
                kind = "missed" if name in report.labels else "invented"
                lines += [f"{kind} {name}: {report.report_id}, said {said}, tags {list(report.tags)}", report.text, ""]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum(line.startswith(("missed ", "invented ")) for line in lines)


def _f1(totals: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    true, invented, missed = np.moveaxis(totals.astype(np.float64), -1, 0)
    below = 2 * true + invented + missed
    return np.divide(2 * true, below, out=np.full(true.shape, np.nan), where=below > 0)


def _score(name: str, n: int, counts: npt.NDArray[np.int64], resampled: npt.NDArray[np.float64]) -> Score:
    true, invented, missed = (int(value) for value in counts)
    below = 2 * true + invented + missed
    return Score(
        name=name,
        n=n,
        positive=true + missed,
        true_positive=true,
        false_positive=invented,
        false_negative=missed,
        precision=true / (true + invented) if true + invented else None,
        precision_interval=_wilson(true, true + invented),
        recall=true / (true + missed) if true + missed else None,
        recall_interval=_wilson(true, true + missed),
        f1=2 * true / below if below else None,
        f1_interval=_percentiles(resampled),
    )


def _macro(scores: Sequence[Score], n: int, each: npt.NDArray[np.float64]) -> Score:
    """Plain means over the findings that are defined. A resample without a finding leaves it out."""
    kept = ~np.isnan(each).all(axis=1)
    return Score(
        name=ALL_MACRO,
        n=n,
        positive=sum(score.positive for score in scores),
        true_positive=sum(score.true_positive for score in scores),
        false_positive=sum(score.false_positive for score in scores),
        false_negative=sum(score.false_negative for score in scores),
        precision=_mean([score.precision for score in scores]),
        precision_interval=None,
        recall=_mean([score.recall for score in scores]),
        recall_interval=None,
        f1=_mean([score.f1 for score in scores]),
        f1_interval=_percentiles(np.nanmean(each[kept], axis=1)),
    )


def _wilson(count: int, n: int) -> Pair:
    return wilson(count / n, n, z_of(0.05)) if n else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percentiles(values: npt.NDArray[np.float64]) -> Pair:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def table(scores: Sequence[Score]) -> str:
    """The scores as a table in Markdown."""
    lines = ["| Finding | Positive | Precision | Recall | F1 |", "|---|---:|---|---|---|"]
    for score in scores:
        cells = (
            _cell(score.precision, score.precision_interval),
            _cell(score.recall, score.recall_interval),
            _cell(score.f1, score.f1_interval),
        )
        lines.append(f"| {score.name.replace('_', ' ')} | {score.positive} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float | None, interval: Pair) -> str:
    if value is None:
        return "undefined"
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def targets_of(scores: Sequence[Score]) -> list[Target]:
    """What the extractor has to reach on the test half, strict."""
    by_name = {score.name: score for score in scores}
    goals = [("micro-F1 of the 14 findings", by_name[ALL_MICRO].f1 or 0.0, NEGBIO_F1 + 0.03)]
    often = [s for s in scores if s.positive >= ENOUGH_POSITIVES and s.name not in (ALL_MICRO, ALL_MACRO)]
    goals += [(f"F1 of {score.name}, {score.positive} positive", score.f1 or 0.0, 0.85) for score in often]
    return [
        Target(name=name, value=value, unit="", op=">=", goal=goal, peer="the experts' tags")
        for name, value, goal in goals
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=(DEVELOP, TEST, "both"), default=DEVELOP)
    parser.add_argument("--plain", action="store_true", help="Score plain spaCy with negspacy.")
    parser.add_argument("--errors", type=Path, help="List what is read otherwise than tagged; develop half only.")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    halves = (DEVELOP, TEST) if arguments.half == "both" else (arguments.half,)
    if arguments.errors is not None:
        print(f"{list_errors(arguments.errors, arguments.half)} errors in {arguments.errors}")
    for half in halves:
        reader = plainly if arguments.plain else findings_of
        found = {way: score_half(half, lenient=way == "lenient", reader=reader) for way in ("strict", "lenient")}
        facts = {"half": half, "reports": found["strict"][0].n}
        if arguments.json:
            print(json.dumps(facts | {way: [asdict(score) for score in scores] for way, scores in found.items()}))
            continue
        for way, scores in found.items():
            print(f"\n{half}, {way}\n\n{table(scores)}\n")
        publish(targets_of(found["strict"]), as_json=False, facts=facts)


if __name__ == "__main__":
    main()
