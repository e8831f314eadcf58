"""How fast are reports scored? Claims, marks and every metric of 10,000 pairs, beside plain spaCy with negspacy.

The texts are those of OpenI (findings and impression): each is paired with one made of its own sentences and of another
report's, so that there is something to support, to omit and to invent. Two processes that have loaded what they need
score half of the pairs each, as two workers do; the halves are merged, measured and judged. The plain reader does the
same with the same texts, and only reads: tokens, synonyms of 14 findings, negation, for each text.

Reports repeat themselves, and a sentence that was read is remembered. So the same is measured again with a number of
its own in every sentence, which no text has twice.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from typing import Any

import numpy as np

from benchmarks.result import Target, publish
from evaluation.engine import Protocol, ShardTable
from evaluation.engine.assessment import assess
from evaluation.engine.records import Assessment
from evaluation.engine.sketch import AuditSketch, sketch_shard

PAIRS, WORKERS = 10_000, 2
SECONDS, READ_A_SECOND = 12.0, 3000.0
Texts = list[str]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    asked = parser.parse_args(arguments)
    targets, facts = measure(asked.pairs)
    publish(targets, as_json=asked.json, facts=facts)


def measure(pairs: int) -> tuple[list[Target], dict[str, Any]]:
    """Every figure, on two processes that are ready."""
    references, generated = paired(pairs)
    both = references + generated
    busy = os.getloadavg()[0]
    found: dict[str, float] = {}
    spent: dict[str, float] = {}
    for name, texts in (("as they come", both), ("no sentence twice", numbered(both))):
        halves = (texts[:pairs], texts[pairs:])
        jobs: list[tuple[str, Callable[[Any], Any], list[Any]]] = [
            ("scored", _score, list(zip(*map(_split, halves), strict=True))),
            ("read", _read, _split(texts)),
            ("plainly read", _read_plainly, _split(texts)),
        ]
        for job, work, parts in jobs:
            found[f"{job}, {name}"], spent[f"{job}, {name}"] = timed(work, parts)
    facts: dict[str, Any] = {
        "pairs": pairs,
        "distinct texts": len(set(both)),
        "words of a text": round(float(np.mean([len(text.split()) for text in both])), 1),
        "load of the machine before": busy,
        **{f"seconds, {name}": round(value, 2) for name, value in found.items()},
        **{f"seconds of processors, {name}": round(value, 2) for name, value in spent.items()},
    }
    goal = SECONDS * pairs / PAIRS
    targets = []
    for name in ("as they come", "no sentence twice"):
        plain = f"plain spaCy and negspacy: {len(both) / found[f'plainly read, {name}']:,.0f} texts/s"
        targets += [
            Target(
                name=f"{pairs:,} pairs scored, {name}", value=found[f"scored, {name}"], unit="s", op="<=", goal=goal,
                peer=f"{found[f'plainly read, {name}']:.2f} s in which the plain reader only reads",
            ),
            Target(
                name=f"texts read, {name}", value=len(both) / found[f"read, {name}"], unit="texts/s", op=">=",
                goal=READ_A_SECOND, peer=plain,
            ),
        ]  # fmt: skip
    return targets, facts


def paired(count: int) -> tuple[Texts, Texts]:
    """Experts' reports, and texts in which some of their sentences are left out and some of another report put in."""
    from models_registry.cohorts.openi import openi_reports

    reports = [report.text for report in openi_reports() if report.text.strip()]
    rng = np.random.default_rng(20261122)
    references = [reports[place % len(reports)] for place in range(count)]
    others = rng.integers(0, len(reports), count)
    generated = []
    for text, other in zip(references, others.tolist(), strict=True):
        own, strange = (re.split(r"(?<=\.)\s", item) for item in (text, reports[other]))
        kept = [sentence for sentence in own if rng.random() < 0.8]
        generated.append(" ".join([*kept, *(sentence for sentence in strange if rng.random() < 0.2)]))
    return references, generated


def numbered(texts: Sequence[str]) -> Texts:
    """The same with a word of its own in every sentence."""
    made, number = [], 0
    for text in texts:
        parts = re.split(r"(?<=\.)\s", text)
        made.append(" ".join(f"Item{number + place} {part}" for place, part in enumerate(parts)))
        number += len(parts)
    return made


def timed(work: Callable[[Any], Any], parts: Sequence[Any]) -> tuple[float, float]:
    """Seconds until both processes are through, and what they spent of a processor; both are ready beforehand."""
    _ready()
    with ProcessPoolExecutor(WORKERS, initializer=_ready) as pool:
        list(pool.map(_wait, range(WORKERS)))
        start = time.perf_counter()
        found = list(pool.map(_clocked, [work] * len(parts), parts))
        before = time.process_time()
        if isinstance(found[0][0], bytes):
            _judged([result for result, _ in found])
        own = time.process_time() - before
        return time.perf_counter() - start, own + sum(spent for _, spent in found)


def _clocked(work: Callable[[Any], Any], part: Any) -> tuple[Any, float]:
    """The result, and the seconds of a processor that it took."""
    start = time.process_time()
    return work(part), time.process_time() - start


def _split(texts: Texts) -> list[Texts]:
    size = -(-len(texts) // WORKERS)
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def _ready() -> None:
    """Loads vocabularies and libraries, as a worker has that has run before."""
    from benchmarks.openi_plain import read_plainly

    few = ["No pleural effusion. CRP 45 mg/L."] * 2
    _judged([_score((few, few))])
    list(read_plainly(few))


def _wait(_: int) -> None:
    """So short that each process takes one, after it is ready."""
    time.sleep(0.5)


def _score(half: tuple[Texts, Texts]) -> bytes:
    """The sketch of half of the pairs, each of a patient of its own."""
    references, generated = half
    first = int(hash(references[0]) % 10**9)
    made = [np.array(texts, dtype=object) for texts in (references, generated)]
    size = len(references)
    table = ShardTable(
        patient_ids=np.array([f"{first}-{row:06d}" for row in range(size)], dtype=object),
        study_ids=np.array([f"s{row:06d}" for row in range(size)], dtype=object),
        attributes={"sex": np.resize(np.array(["F", "M"], dtype=object), size)},
        labels={},
        texts={"reference": made[0], "generated": made[1]},
    )
    return sketch_shard(_protocol(), table).to_bytes()


def _judged(sketches: Sequence[bytes]) -> Assessment:
    """What the sketches of all shards together show."""
    merged = reduce(AuditSketch.merge, map(AuditSketch.from_bytes, sketches))
    return assess(_protocol(), merged, cross_check=False)


def _read(texts: Texts) -> int:
    from evaluation.engine.text.reading import read_texts

    return sum(len(item.claims) for item in read_texts(texts))


def _read_plainly(texts: Texts) -> int:
    from benchmarks.openi_plain import read_plainly

    return sum(len(item) for item in read_plainly(texts))


def _protocol() -> Protocol:
    return Protocol.from_dict({
        "auscult_protocol": 1, "name": "speed", "title": "Speed of scoring", "suites": ["hallucination"],
        "labels": [], "reports": {"findings": ["*"]}, "attributes": [{"name": "sex"}],
        "criteria": [{"id": "c", "metric": "chair_i", "direction": "at_most", "margin": 0.1}],
    })  # fmt: skip


if __name__ == "__main__":
    main()
