"""Speed and memory of drift, beside Evidently and alibi-detect.

1. A window of 1 M patients x 50 columns against a reference of the same size: read, sketched, compared. The reference
   was sketched once and its bytes are read, which is how a monitor works; what sketching it costs is told too. Beside
   it Evidently's ``DataDriftPreset`` on the same two files. Each side runs in a process of its own; imports and the
   making of the data are not timed, and the peak is that of the whole process.
2. Embeddings, 10,000 against 10,000 of 512 coordinates: sketched on both sides and compared. Beside it alibi-detect's
   ``MMDDrift``, which needs an environment of its own: ``--peers PYTHON`` names its interpreter. Its 100 permutations
   are extrapolated from fewer, because each costs the same.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Target, publish
from evaluation.engine import Protocol, ShardTable
from evaluation.engine.drift.records import Family, Shape, StreamSpec, StudyStreams

ROOT = Path(__file__).resolve().parent.parent
REFERENCE, WINDOW, SKETCH = "reference.parquet", "window.parquet", "reference.sketch"
PERMUTATIONS = 100


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large both sides are; one column in ten is a category."""

    rows: int = 1_000_000
    columns: int = 50
    share: int = 50_000
    embeddings: int = 10_000
    dimension: int = 512
    permutations: int = 2


QUICK = Sizes(rows=3000, columns=10, share=1000, embeddings=300, dimension=16, permutations=1)
MMD = """
import sys, time, json
import numpy as np
from alibi_detect.cd import MMDDrift
few, reference, window = int(sys.argv[1]), np.load(sys.argv[2]), np.load(sys.argv[3])
seconds = {}
for permutations in (few, 2 * few):
    start = time.perf_counter()
    MMDDrift(reference, backend="pytorch", n_permutations=permutations).predict(window)
    seconds[permutations] = time.perf_counter() - start
print(json.dumps([seconds[few], seconds[2 * few]]))
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter of an environment that has alibi-detect")
    parser.add_argument("--side", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    sizes = QUICK if asked.quick else Sizes()
    if asked.side:
        name, folder = asked.side
        print(json.dumps(SIDES[name](sizes, Path(folder))))
        return
    targets, facts = measure(sizes, quick=asked.quick, peers=asked.peers)
    publish(targets, as_json=asked.json, facts=facts)


def measure(sizes: Sizes, *, quick: bool, peers: str | None) -> tuple[list[Target], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A process inherits the peak of the one that started it, so the data are made in one of their own too.
        _apart("data", folder, quick=quick)
        sides = {side: _apart(side, folder, quick=quick) for side in ("reference", "ours", "evidently", "embeddings")}
        theirs = _mmd(sizes, folder, peers) if peers else None
    ours, evidently = sides["ours"], sides["evidently"]
    what = f"{sizes.rows:,} x {sizes.columns} columns against as many"
    peer = f"Evidently {evidently['version']} DataDriftPreset"
    times = evidently["seconds"] / ours["seconds"]
    targets = [
        Target(name=f"speed, {what}", value=times, unit="x", op=">=", goal=30.0, peer=peer),
        Target(name="peak memory, same work", value=ours["peak_gib"] / evidently["peak_gib"], unit="of it", op="<=",
               goal=0.1, peer=peer),
    ]  # fmt: skip
    if theirs is not None:
        told = f"alibi-detect MMDDrift, {PERMUTATIONS} permutations from {2 * sizes.permutations}"
        targets.append(
            Target(name=f"speed, embeddings {sizes.embeddings:,} + {sizes.embeddings:,} x {sizes.dimension}",
                   value=theirs / sides["embeddings"]["seconds"], unit="x", op=">=", goal=50.0, peer=told)
        )  # fmt: skip
    facts = {f"{side}_{key}": value for side, found in sides.items() for key, value in found.items()}
    return targets, {"sizes": asdict(sizes), **facts, "mmd_seconds_extrapolated": theirs}


def write(sizes: Sizes, folder: Path) -> None:
    """Both sides as Parquet, the window's second column moved by .3 of its spread; and embeddings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, seed in ((REFERENCE, 1), (WINDOW, 2)):
        rng, columns = np.random.default_rng(seed), {}
        columns["patient_id"] = pa.array([f"{name[0]}{row}" for row in range(sizes.rows)])
        for k in range(sizes.columns):
            if k % 10 == 9:
                levels = pa.array([f"level {i}" for i in range(12)])
                codes = pa.array(rng.integers(0, 12, sizes.rows).astype(np.int32))
                columns[f"c{k}"] = pa.DictionaryArray.from_arrays(codes, levels).cast(pa.string())
                continue
            values = rng.normal(50 + k, 10, sizes.rows) if k % 2 else np.exp(rng.normal(1, 0.8, sizes.rows))
            columns[f"c{k}"] = pa.array(values + (3.0 if k == 1 and name == WINDOW else 0.0))
        pq.write_table(pa.table(columns), folder / name, row_group_size=sizes.share)
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(sizes.dimension, sizes.dimension)) / np.sqrt(sizes.dimension)
    for name in ("one", "two"):
        rows = rng.normal(size=(sizes.embeddings, sizes.dimension)) @ mixing + (0.05 if name == "two" else 0.0)
        np.save(folder / f"{name}.npy", rows.astype(np.float32))


def _protocol() -> Protocol:
    return Protocol.from_dict(
        {
            "auscult_protocol": 1,
            "name": "drift-speed",
            "title": "Speed of drift",
            "suites": ["drift"],
            "labels": [],
            "criteria": [
                {"id": "all", "title": "All", "metric": "numeric_shift", "direction": "at_most", "margin": 0.2}
            ],
            "drift": {},
        }
    )


def _sketch_of(protocol: Protocol, path: Path) -> Any:
    """A file, share by share as an audit reads it: memory holds one share."""
    import pyarrow.parquet as pq

    from evaluation.engine.drift.sketch import DriftSketch

    file = pq.ParquetFile(path)
    whole = None
    for group in range(file.num_row_groups):
        share = file.read_row_group(group, use_threads=False)
        part = DriftSketch.from_table(protocol, _table(share))
        whole = part if whole is None else whole.merge(part)
    return whole


def _table(share: Any) -> ShardTable:
    import pyarrow as pa

    numbers: dict[str, Any] = {}
    categories: dict[str, Any] = {}
    specs = []
    for name in share.column_names[1:]:
        is_number = pa.types.is_floating(share.column(name).type)
        values = share.column(name).to_numpy() if is_number else share.column(name).to_pandas().to_numpy(dtype=object)
        (numbers if is_number else categories)[name] = values
        family, shape = (Family.NUMERIC, Shape.NUMBER) if is_number else (Family.CATEGORICAL, Shape.CATEGORY)
        specs.append(StreamSpec(name=name, family=family, shape=shape, title=name, modality=name))
    ids = share.column("patient_id").to_pandas().to_numpy(dtype=object)
    streams = StudyStreams(specs=tuple(specs), numbers=numbers, categories=categories)
    return ShardTable(patient_ids=ids, study_ids=ids, attributes={}, labels={}, streams=streams)


def _data(sizes: Sizes, folder: Path) -> dict[str, Any]:
    write(sizes, folder)
    return {"peak_gib": _peak()}


def _reference(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """What sketching the reference costs, once."""
    protocol = _warm()
    start = time.perf_counter()
    data = _sketch_of(protocol, folder / REFERENCE).to_bytes()
    seconds = time.perf_counter() - start
    (folder / SKETCH).write_bytes(data)
    return {"seconds": round(seconds, 3), "bytes": len(data), "peak_gib": _peak()}


def _ours(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from evaluation.engine.drift.shifts import shifts_of
    from evaluation.engine.drift.sketch import DriftSketch

    protocol = _warm()
    start, spent = time.perf_counter(), time.process_time()
    window = _sketch_of(protocol, folder / WINDOW)
    sketched = time.perf_counter()
    shifts, _ = shifts_of(protocol, window, DriftSketch.from_bytes((folder / SKETCH).read_bytes()))
    done, spent = time.perf_counter(), time.process_time() - spent
    over = [item.stream for item in shifts if item.value is not None and item.value >= item.margin]
    return {
        "seconds": done - start,
        "cpu_seconds": round(spent, 3),
        "sketch_seconds": round(sketched - start, 3),
        "compare_seconds": round(done - sketched, 3),
        "peak_gib": _peak(),
        "shifts": len(shifts),
        "over_margin": over,
    }


def _warm() -> Protocol:
    """Imports and caches, on nothing to speak of."""
    from evaluation.engine.drift.shifts import shifts_of
    from evaluation.engine.drift.sketch import DriftSketch

    protocol = _protocol()
    ids = np.array([f"p{row}" for row in range(50)], dtype=object)
    spec = StreamSpec(name="c", family=Family.NUMERIC, shape=Shape.NUMBER, title="c", modality="c")
    streams = StudyStreams(specs=(spec,), numbers={"c": np.arange(50.0)})
    small = DriftSketch.from_table(
        protocol, ShardTable(patient_ids=ids, study_ids=ids, attributes={}, labels={}, streams=streams)
    )
    shifts_of(protocol, small, small)
    return protocol


def _evidently(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Both files read and the preset run, to the end of its JSON; its HTML is not asked for."""
    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    import evidently
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    rng = np.random.default_rng(0)
    tiny = pd.DataFrame({"a": rng.normal(size=50)})
    Report([DataDriftPreset()]).run(tiny, tiny).json()
    start, spent = time.perf_counter(), time.process_time()
    reference, window = (pd.read_parquet(folder / name).drop(columns="patient_id") for name in (REFERENCE, WINDOW))
    found = Report([DataDriftPreset()]).run(window, reference).json()
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds, "cpu_seconds": round(time.process_time() - spent, 3), "peak_gib": _peak(),
        "version": evidently.__version__, "json_bytes": len(found),
    }  # fmt: skip


def _embeddings(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Both sides sketched through a frame, and compared: kernel distance and cross-fitted classifier."""
    from evaluation.engine.drift.discriminant import vector_shift
    from evaluation.engine.drift.vectors import VectorFrame, VectorSketch

    one, two = (np.load(folder / f"{name}.npy") for name in ("one", "two"))
    folds = np.arange(len(one)) % 4
    spec = StreamSpec(name="image:embedding", family=Family.IMAGE, shape=Shape.VECTOR, title="image", modality="image")
    started = time.perf_counter()
    frame = VectorFrame.fit(one[:5000], seed=1)
    fitted = time.perf_counter() - started
    small = VectorSketch.of(frame, one[:40], folds[:40])
    vector_shift(spec, small, small, margin=0.1, seed=1)
    start = time.perf_counter()
    parts = [VectorSketch.of(frame, rows, folds) for rows in (two, one)]
    shift = vector_shift(spec, parts[0], parts[1], margin=0.1, seed=1)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "fit_seconds": round(fitted, 3), "effect": shift.value, "peak_gib": _peak()}


def _mmd(sizes: Sizes, folder: Path, python: str) -> float:
    """Seconds of the peer with 100 permutations, from two runs with fewer: what each adds is alike."""
    command = [python, "-c", MMD, str(sizes.permutations), str(folder / "one.npy"), str(folder / "two.npy")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    few, twice = json.loads(done.stdout.strip().splitlines()[-1])
    each = max(0.0, twice - few) / sizes.permutations
    return float(twice + each * (PERMUTATIONS - 2 * sizes.permutations))


def _apart(side: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    """One side in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.drift", "--side", side, str(folder), *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


SIDES = {"data": _data, "reference": _reference, "ours": _ours, "evidently": _evidently, "embeddings": _embeddings}


if __name__ == "__main__":
    main()
