"""The truth behind a simulated cohort, as a table of its own: for those who check readers, critics and audits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthetic.simulator.cohort import SIMULATOR_VERSION
from synthetic.simulator.names import FINDINGS, SIDED, SIZES, STATEMENTS, ZONES
from synthetic.simulator.patients import Studies
from synthetic.simulator.settings import SimulatorSettings
from synthetic.simulator.story import Story, draw_story
from synthetic.simulator.writing import appearing

WITH_ZONE = ("consolidation",)
"""Findings that lie in a zone. Fluid lies at the base and free air above; the heart is one."""


def truth_of(settings: SimulatorSettings) -> pa.Table:
    """What is there in every study of the cohort that these settings make, in the order of its file.

    Nothing of it is a model's input, and no defect changes it but a drift, which is what came to be. Columns:

    ``patient_id``, ``study_id``
        As in the cohort.
    ``truth.<label>``
        0 or 1, for all labels of the cohort: without what ``underdiagnosis`` took away.
    ``plan.<finding>``
        ``none``, or side, zone and size in this order, as far as the finding has them: ``left large``,
        ``both mid small``, ``moderate`` for the heart. The words are those of ``synthetic.generators.plans``.
    ``severity.<finding>``, ``seen.<finding>``
        Severity that there is, and that the picture shows: about 0 where absent, about 1 where present.
    ``false_statement``, ``false_finding``
        What is false in the report, one of STATEMENTS, and about which finding; null where nothing is.
    ``changed``
        Taken after the drift came.

    It takes no pictures: 5,000 patients take about a second.
    """
    story = draw_story(settings)
    studies, said = story.studies, story.statements
    columns: dict[str, pa.Array] = {
        "patient_id": pa.array(story.patient_ids),
        "study_id": pa.array(story.study_ids),
    }
    columns |= {f"truth.{name}": pa.array(present.astype(np.int8)) for name, present in story.truth.items()}
    for place, name in enumerate(FINDINGS):
        columns[f"plan.{name}"] = pa.array(_plans(studies, place))
        columns[f"severity.{name}"] = pa.array(studies.shown[:, place])
        columns[f"seen.{name}"] = pa.array(studies.seen[:, place])
    columns["false_statement"] = pa.array([STATEMENTS[kind] if kind >= 0 else None for kind in said.kind], pa.string())
    columns["false_finding"] = pa.array([FINDINGS[item] if item >= 0 else None for item in said.finding], pa.string())
    columns["changed"] = pa.array(studies.changed)
    return pa.table(columns).replace_schema_metadata(_metadata(story))


def write_truth(settings: SimulatorSettings, destination: Path) -> Path:
    """Write :func:`truth_of` as a Parquet file, to lie beside the cohort's. It appears only when it is complete.

    Raises:
        EnvironmentProblemError: when the folder cannot be written to.
    """
    with appearing(destination, what="The truth of the simulated cohort") as partial:
        pq.write_table(truth_of(settings), partial)
    return destination


def _plans(studies: Studies, place: int) -> list[str]:
    name = FINDINGS[place]
    sides = np.where(studies.both[:, place], "both", np.where(studies.right[:, place], "right", "left")).tolist()
    zones, sizes = studies.zone.tolist(), studies.sizes()[:, place].tolist()
    found = []
    for row, present in enumerate(studies.present[:, place].tolist()):
        words = [sides[row]] if name in SIDED else []
        words += [ZONES[zones[row]]] if name in WITH_ZONE else []
        found.append(" ".join([*words, SIZES[sizes[row]]]) if present else "none")
    return found


def _metadata(story: Story) -> dict[str, str]:
    return {
        "auscult.simulated": "true",
        "auscult.source": f"Truth of the Auscult patient simulator, version {SIMULATOR_VERSION}: no real patient",
        "auscult.settings": json.dumps(story.settings.to_dict(), sort_keys=True),
    }
