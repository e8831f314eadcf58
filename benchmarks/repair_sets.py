"""Who learns and who is judged in the benchmark of repairs, and what a model says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation.engine import Protocol, ShardTable
from evaluation.engine.statistics.seeds import generator as seeded

GROUP = ("sex", "F")
IMAGE_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is made and tried.

    Attributes:
        patients: Simulated for training, before the group is thinned out to ``kept`` of its patients.
        audited: Other simulated patients, with the group as frequent as in the simulator.
        added: Patients of the group that an arm adds.
        epochs: Of pretraining and of head. Each arm is trained with each of ``seeds``.
    """

    patients: int = 1800
    kept: float = 0.2
    faintness: float = 0.45
    audited: int = 3000
    added: int = 400
    effort: float = 0.4
    epochs: int = 5
    seeds: tuple[int, ...] = (0, 1)


def simulate(folder: Path, sizes: Sizes, *, patients: int, seed: int, kept: float) -> None:
    """A simulated cohort, registered in a folder: findings of the group are fainter, and it may be thinned out.

    Those who are taken away lie beside it, in ``<folder>-gone.parquet``.
    """
    from models_registry.cohorts import convert_cohort
    from synthetic.simulator import HEADROOM, SimulatorSettings, simulate_cohort

    attribute, value = GROUP
    defect = {"attribute": attribute, "value": value, "share": sizes.faintness}
    settings = SimulatorSettings.from_dict(
        {"patients": patients, "seed": seed, "image_size": IMAGE_SIZE, "faintness": defect} | HEADROOM
    )
    file = simulate_cohort(settings, folder.with_suffix(".parquet"))
    if kept < 1:
        table = pq.read_table(file)
        group = sorted(set(table.filter(pc.equal(table[attribute], value))["patient_id"].to_pylist()))
        gone = seeded(seed, "thinned").permutation(group)[round(kept * len(group)) :].tolist()
        away = pc.is_in(table["patient_id"], pa.array(gone))
        pq.write_table(table.filter(away), gone_of(folder))
        pq.write_table(table.filter(pc.invert(away)), file)
    convert_cohort(file, mapping=None, destination=folder)


def gone_of(folder: Path) -> Path:
    """The file of those who were taken away from a cohort."""
    return folder.with_name(f"{folder.name}-gone.parquet")


def drawn(source: Path, folder: Path, *, label: str, patients: int, share: float, again: bool) -> None:
    """Real patients of the group under other names, half of them with the finding, registered in a folder.

    Args:
        again: They may come several times, and are not those whom the training keeps for validation (``share``):
            that is oversampling. Otherwise each comes once.
    """
    from models_registry.cohorts import convert_cohort
    from models_registry.reference.studies import in_validation

    table = pq.read_table(source)
    attribute, value = GROUP
    rows = table.filter(pc.equal(table[attribute], value))
    names, truth = rows["patient_id"].to_pylist(), rows[f"label.{label}"].to_pylist()
    places: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if not (again and in_validation(name, share)):
            places.setdefault(name, []).append(row)
    rng, parts, taken = seeded(7, "oversampled" if again else "drawn"), [], set()
    for wanted in (1, 0):
        pool = [name for name, held in sorted(places.items()) if any(truth[row] == wanted for row in held)]
        free = [name for name in pool if again or name not in taken]
        for number, name in enumerate(rng.choice(free, patients // 2, replace=again).tolist()):
            taken.add(name)
            parts.append(_renamed(rows.take(places[name]), f"{'AGAIN' if again else 'OTHER'}-{wanted}-{number:05d}"))
    file = folder.with_suffix(".parquet")
    pq.write_table(pa.concat_tables(parts), file)
    convert_cohort(file, mapping=None, destination=folder)


def _renamed(studies: pa.Table, name: str) -> pa.Table:
    told = {"patient_id": [f"{name}-P0"] * len(studies), "study_id": [f"{name}-S{row}" for row in range(len(studies))]}
    for column, values in told.items():
        place = studies.schema.get_field_index(column)
        studies = studies.set_column(place, column, pa.array(values, pa.string()))
    return studies


def judged(protocol: Protocol, checkpoint: Path, cohort: Path) -> ShardTable:
    """What a trained model says of a registered cohort, with the reference standard beside it."""
    from models_registry.adapters.base import ADAPTERS, InferenceSettings
    from models_registry.cohorts import open_cohort

    adapter = ADAPTERS.get("fusion").load(checkpoint, settings=InferenceSettings(precision="float32"))
    reader, parts = open_cohort(cohort), []
    for shard in range(len(reader.shards)):
        reference = reader.reference(shard, attributes=list(protocol.attribute_columns))
        answers = [adapter.predict(batch) for batch in reader.batches(shard, batch_size=256)]
        place = {study: row for row, study in enumerate(name for answer in answers for name in answer.study_ids)}
        order = np.array([place[study] for study in reference.study_ids])
        parts.append(
            ShardTable(
                patient_ids=reference.patient_ids,
                study_ids=reference.study_ids,
                attributes=reference.attributes,
                labels=reference.labels,
                scores={name: np.concatenate([a.scores[name] for a in answers])[order] for name in answers[0].scores},
                decisions={
                    name: np.concatenate([a.decisions[name] for a in answers])[order] for name in answers[0].decisions
                },
            )
        )
    return ShardTable.joined_decisions(parts)
