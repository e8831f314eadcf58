"""SDV alone on the tables and series of the same patients, by its defaults."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from synthetic.generators.studies import LinkedStudies


def tables_by_sdv(studies: LinkedStudies) -> dict[str, Any]:
    """Seconds of a Gaussian copula of SDV on one row a study: attributes and plans."""
    import pandas as pd
    from sdv.metadata import Metadata
    from sdv.single_table import GaussianCopulaSynthesizer

    frame = pd.DataFrame({**studies.attributes, **studies.plans.words()}).infer_objects()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metadata = Metadata.detect_from_dataframes({"studies": frame})
        started = time.perf_counter()
        synthesizer = GaussianCopulaSynthesizer(metadata)
        synthesizer.fit({"studies": frame})
        fitted = time.perf_counter()
        synthesizer.sample(num_rows=len(frame))
    return {
        "rows": len(frame),
        "seconds": round(fitted - started, 2),
        "sample_seconds": round(time.perf_counter() - fitted, 2),
    }


def series_by_sdv(studies: LinkedStudies, *, patients: int) -> dict[str, Any]:
    """How far the correlation of successive readings lies from the real one after HMA and after PAR.

    Args:
        patients: As many are given to them: both take minutes for hundreds.
    """
    few = set(studies.patients[:patients])
    chosen = studies.rows(np.array([name in few for name in studies.patient_ids], dtype=np.bool_))
    name = next(iter(chosen.series))
    parents, readings = _frames(chosen, name)
    real = _lag1(readings)
    found: dict[str, Any] = {"series": name, "studies": len(parents), "real_lag1": round(real, 3)}
    differences, seconds = {}, {}
    for title, make in (("HMA", _by_hma), ("PAR", _by_par)):
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = make(parents, readings)
        differences[title] = round(abs(_lag1(made) - real), 3)
        seconds[title] = round(time.perf_counter() - started, 1)
    return found | {"lag1_difference": differences, "seconds": seconds}


def _frames(studies: LinkedStudies, name: str) -> tuple[Any, Any]:
    import pandas as pd

    kept = [row for row, item in enumerate(studies.series[name]) if item is not None and len(item) > 1]
    parents = pd.DataFrame({key: values[kept] for key, values in studies.attributes.items()}).infer_objects()
    parents.insert(0, "study", [f"s{place}" for place in range(len(kept))])
    rows = [
        (f"s{place}", hour, value)
        for place, row in enumerate(kept)
        for hour, value in np.asarray(studies.series[name][row]).tolist()
    ]
    return parents, pd.DataFrame(rows, columns=["study", "hour", "value"])


def _by_hma(parents: Any, readings: Any) -> Any:
    from sdv.metadata import Metadata
    from sdv.multi_table import HMASynthesizer

    frames = {"studies": parents, "readings": readings.assign(reading=range(len(readings)))}
    metadata = Metadata.detect_from_dataframes(frames)
    for table, column in (("studies", "study"), ("readings", "study"), ("readings", "reading")):
        metadata.update_column(table_name=table, column_name=column, sdtype="id")
    metadata.set_primary_key(table_name="studies", column_name="study")
    metadata.set_primary_key(table_name="readings", column_name="reading")
    metadata.relationships = []
    metadata.add_relationship(
        parent_table_name="studies", child_table_name="readings", parent_primary_key="study", child_foreign_key="study"
    )
    synthesizer = HMASynthesizer(metadata)
    synthesizer.fit(frames)
    return synthesizer.sample(num_rows=len(parents), main_table_name="studies")["readings"]


def _by_par(parents: Any, readings: Any) -> Any:
    from sdv.metadata import Metadata
    from sdv.sequential import PARSynthesizer

    metadata = Metadata.detect_from_dataframes({"readings": readings})
    metadata.update_column(table_name="readings", column_name="study", sdtype="id")
    metadata.set_sequence_key(table_name="readings", column_name="study")
    metadata.set_sequence_index(table_name="readings", column_name="hour")
    synthesizer = PARSynthesizer(metadata, cuda=False)
    synthesizer.fit({"readings": readings})
    return synthesizer.sample_sequences(num_sequences=len(parents))["readings"]


def _lag1(readings: Any) -> float:
    """Rank correlation of each reading with the one after it in the same study, in the order of their hours."""
    from scipy.stats import spearmanr

    ordered = readings.sort_values(["study", "hour"], kind="stable")
    same = (ordered["study"].to_numpy()[1:] == ordered["study"].to_numpy()[:-1]).nonzero()[0]
    values = ordered["value"].to_numpy(dtype=float)
    return float(spearmanr(values[same], values[same + 1]).statistic)
