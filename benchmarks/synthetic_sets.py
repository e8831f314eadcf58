"""Who is held against whom in the benchmark of synthetic patients, and how that is judged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.engine.statistics.seeds import generator as seeded

if TYPE_CHECKING:
    from synthetic.generators.settings import GeneratorSettings
    from synthetic.generators.studies import LinkedStudies
    from synthetic.suites.figures import AuditSets, Figure

PROTOCOL = "synthetic-patients-v1"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is made and tried. ``controls``: patients of a second cohort, readers and held-out ones; ``peers``:
    patients that HMA and PAR get, which take minutes for more."""

    patients: int = 5000
    controls: int = 8000
    effort: float = 1.0
    attacks: int = 2000
    repeats: int = 5
    image_size: int = 64
    peers: int = 500

    def settings(self) -> GeneratorSettings:
        from synthetic.generators.settings import GeneratorSettings

        return GeneratorSettings(seed=1, effort=self.effort, image_size=self.image_size)


def simulate(folder: Path, *, patients: int, seed: int, image_size: int) -> None:
    """A simulated cohort, registered in a folder."""
    from models_registry.cohorts import convert_cohort
    from synthetic.simulator import HEADROOM, SimulatorSettings, simulate_cohort

    settings = SimulatorSettings.from_dict(
        {"patients": patients, "seed": seed, "image_size": image_size, "sizes_told": True} | HEADROOM
    )
    file = simulate_cohort(settings, folder.with_suffix(".parquet"))
    convert_cohort(file, mapping=None, destination=folder)


def patients_of(folder: Path, sizes: Sizes) -> LinkedStudies:
    from models_registry.cohorts import open_cohort
    from synthetic.generators.reading import read_linked

    return read_linked(open_cohort(folder), image_size=sizes.image_size)


def _registered(folder: Path, name: str, sizes: Sizes) -> LinkedStudies:
    """A set as it is read once it is registered: the simulator's, or what the generator made."""
    from models_registry.cohorts import convert_cohort

    if not (folder / name).exists():
        convert_cohort(folder / f"{name}.parquet", mapping=None, destination=folder / name)
    return patients_of(folder / name, sizes)


def audit_sets(folder: Path, sizes: Sizes, *, synthetic: str) -> AuditSets:
    from synthetic.generators.linked import SHARES
    from synthetic.generators.studies import split_patients
    from synthetic.suites.figures import AuditSets

    learnt = split_patients(patients_of(folder / "real", sizes), list(SHARES.values()), seed=sizes.settings().seed)[0]
    readers, held_out = split_patients(patients_of(folder / "control", sizes), [0.4, 0.6], seed=2)
    made = _registered(folder, synthetic, sizes)
    return AuditSets(learnt=learnt, readers=readers, held_out=held_out, synthetic=made, seed=3)


def planted(sets: AuditSets, share: float) -> AuditSets:
    """The same, with a share of the synthetic patients replaced by copies of learnt ones under new names."""
    from synthetic.generators.studies import LinkedStudies, split_patients

    kept = split_patients(sets.synthetic, [1 - share], seed=4)[0] if share < 1 else None
    patients = np.array(sets.learnt.patients, dtype=object)
    n = min(len(patients), round(share * len(sets.synthetic.patients)))
    chosen = set(seeded(5, "copied").choice(patients, n, replace=False).tolist())
    copied = sets.learnt.rows(np.array([name in chosen for name in sets.learnt.patient_ids], dtype=np.bool_))
    names = {name: f"SYN-copy-{place}" for place, name in enumerate(copied.patients)}
    copied = replace(
        copied,
        patient_ids=np.array([names[name] for name in copied.patient_ids], dtype=object),
        study_ids=np.array([f"SYN-copy-study-{place}" for place in range(len(copied))], dtype=object),
    )
    return replace(sets, synthetic=copied if kept is None else LinkedStudies.joined([kept, copied]))


def spoken(folder: Path, sets: AuditSets) -> AuditSets:
    """The same, with each planted canary written into one report."""
    from synthetic.generators.linked import load_generator
    from synthetic.generators.reading import REPORT

    texts = sets.synthetic.texts[REPORT].copy()
    there = np.flatnonzero([bool(text) for text in texts.tolist()])
    for row, canary in zip(there.tolist(), load_generator(folder / "generator").canaries, strict=False):
        texts[row] = f"{texts[row]} {canary}"
    return replace(sets, synthetic=replace(sets.synthetic, texts={**sets.synthetic.texts, REPORT: texts}))


def judged(
    folder: Path, sets: AuditSets, sizes: Sizes, *, suites: Sequence[str], weights: bool = True
) -> dict[str, Any]:
    """Figures and verdicts by the bundled protocol, as an audit of the platform gives them."""
    from evaluation.engine import AuditSketch, Protocol
    from evaluation.engine.assessment import assess
    from evaluation.engine.protocol import load_protocol
    from synthetic.generators.linked import load_generator
    from synthetic.suites.audit import Audit
    from synthetic.suites.judged import Figures

    body = load_protocol(PROTOCOL).to_dict() | {"suites": list(suites)}
    body["linked"] = {"attacks": sizes.attacks, "repeats": sizes.repeats}
    known, attacks = _metrics(suites), _metrics(["privacy"])
    body["criteria"] = [item for item in body["criteria"] if item["metric"] in known]
    rules = Protocol.from_dict(body)
    found: dict[str, tuple[Figure, ...]] = {}
    seconds = {}
    job = Audit(rules=rules, sets=sets, generator=load_generator(folder / "generator") if weights else None)
    for name in suites:
        started = time.perf_counter()
        found[name] = job.figures(name, tell=lambda share, message: None)
        seconds[name] = round(time.perf_counter() - started, 2)
    sketch = AuditSketch(
        protocol_digest=rules.digest, n_studies=len(sets.synthetic), n_patients=len(sets.synthetic.patients),
        parts={name: Figures(suite=name, figures=figures) for name, figures in found.items()},
    )  # fmt: skip
    assessment = assess(rules, AuditSketch.from_bytes(sketch.to_bytes()), suites=suites)
    return {
        "suite_seconds": seconds,
        "values": {f"{item.metric}|{item.of}|{item.group}": item.value for one in found.values() for item in one},
        "nulls": {
            f"{item.metric}|{item.of}|{item.group}": item.null for one in found.values() for item in one
            if item.null is not None
        },
        "reasons": {
            f"{item.metric}|{item.of}|{item.group}": item.reason for one in found.values() for item in one
            if item.value is None
        },
        "outcomes": {item.metric: str(item.outcome) for item in assessment.verdicts},
        "statements": [item.statement for item in assessment.verdicts],
        "privacy": _worst_outcome(assessment.verdicts, known=attacks),
        "privacy_outcomes": {
            item.metric: str(item.outcome) for item in assessment.verdicts if item.metric in attacks
        },
    }  # fmt: skip


def _metrics(suites: Sequence[str]) -> set[str]:
    from evaluation.engine.registry import SUITES

    return {metric for name in suites for metric in SUITES.get(name).metrics}


def _worst_outcome(verdicts: Sequence[Any], *, known: set[str]) -> str:
    told = {str(item.outcome) for item in verdicts if item.metric in known}
    return next((name for name in ("fail", "insufficient", "pass") if name in told), "")
