"""The questions of an audit as a file, for a model that runs elsewhere: filled in, it is registered as its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from core.errors import ProtocolError
from evaluation.engine.asking import SAMPLED
from evaluation.engine.planning import ANSWER, GENERATE, Plan, asks, count_cohort, plan_share
from evaluation.engine.protocol import Protocol

if TYPE_CHECKING:
    from models_registry.adapters.base import Posed
    from models_registry.cohorts import CohortReader, Mapping
    from models_registry.cohorts.schema import ShardRef

ANYTHING: dict[str, Any] = {"capabilities": [ANSWER, GENERATE], "modalities": []}
"""What is declared of a model of which nothing is known: everything may be asked, whatever it reads."""

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: rows, the studies that they are about, and what is not asked, with why."""

    rows: int
    studies: int
    why_not: dict[str, str]


def posed_of(plan: Plan, reader: CohortReader, part: ShardRef) -> list[Posed]:
    """The rows of a plan as whoever runs the model elsewhere knows them: by study, and not by its place."""
    from models_registry.adapters.base import Posed

    studies = reader.table(part, ["study_id"]).column("study_id").to_pylist()
    asked = plan.asked
    return [
        Posed(
            study_id=studies[study],
            question=question,
            condition=condition,
            turn=int(turn),
            modality=modality,
            partner=studies[partner] if partner >= 0 else "",
        )
        for study, question, condition, turn, modality, partner in zip(
            asked.study, asked.question, asked.condition, asked.turn, plan.modality, asked.partner, strict=True
        )
    ]


def write_questions(
    protocol: Protocol,
    cohort: Path,
    out: Path,
    *,
    mapping: Mapping | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Written:
    """Write everything that an audit by this protocol would ask about a cohort.

    The file has a row for each question: study_id, question (empty for a report), condition, turn, modality, partner,
    temperature (of samples), and the columns to be filled in: text, truncated. It tells no answer. The shares are those
    of the cohort when it is registered, so that an audit looks for the very same rows.

    Args:
        cohort: A file, Parquet or CSV, or the folder of a registered cohort.
        out: A name that ends in .csv or .parquet.

    Raises:
        ProtocolError: the protocol asks nothing, or a finding cannot be asked about in this cohort.
        CohortError: the cohort cannot be used; file, column and row are named.
    """
    from models_registry.cohorts import convert_cohort, open_cohort

    if out.suffix not in SUFFIXES:
        raise ProtocolError(
            f"The name {out.name} does not say how to write the questions.", remedy="End it in .csv or .parquet."
        )
    if not asks(protocol):
        raise ProtocolError(
            f"The protocol {protocol.name} asks a model nothing beside its predictions.",
            remedy="Give one with the section 'probing', 'sampling' or 'perturbation'.",
        )
    with TemporaryDirectory(prefix="auscult-questions-") as folder:
        held = cohort
        if not cohort.is_dir():
            held = Path(folder) / "cohort"
            convert_cohort(cohort, mapping=mapping, destination=held, progress=progress)
        reader = open_cohort(held)
        truth = count_cohort(protocol, reader)
        plans = [(part, plan_share(protocol, reader, part, truth, declared=ANYTHING)) for part in reader.shards]
        posed = list(dict.fromkeys(item for part, plan in plans for item in posed_of(plan, reader, part)))
    _write(posed, out, temperature=protocol.sampling.temperature if protocol.sampling else None)
    why = {key: text for _, plan in plans for key, text in plan.why_not.items()}
    return Written(rows=len(posed), studies=len({item.study_id for item in posed}), why_not=why)


def _write(posed: list[Posed], out: Path, *, temperature: float | None) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    rows = [asdict(item) for item in posed]
    kinds = {"study_id": pa.string(), "question": pa.string(), "condition": pa.string(), "turn": pa.int64()}
    kinds |= {"modality": pa.string(), "partner": pa.string()}
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()}
    drawn = [temperature if item.condition == SAMPLED else None for item in posed]
    columns |= {
        "temperature": pa.array(drawn, pa.float64()),
        "text": pa.nulls(len(rows), pa.string()),
        "truncated": pa.nulls(len(rows), pa.int8()),
    }
    table = pa.table(columns)
    if out.suffix == ".parquet":
        pa.parquet.write_table(table, out)
    else:
        pa.csv.write_csv(table, out)
