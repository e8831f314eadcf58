"""Small files of every kind, written by other means than the code under test."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from models_registry.cohorts import inspect_cohort
from models_registry.cohorts.schema import Problem

GOOD = [
    "patient_id,study_id,sex,age,label.effusion",
    "00012,S1,F,61,1",
    "00012,S2,F,62,0",
    "7,S3,M,44,",
    "8,S4,M,70,0",
]


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Write lines as a CSV file and give its path."""

    def write(*lines: str, name: str = "cohort.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
        return path

    return write


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[..., Path]:
    """Write columns as a Parquet file and give its path; identifiers are added where they are not given."""

    def write(columns: dict[str, Any], name: str = "cohort.parquet") -> Path:
        n = len(next(iter(columns.values())))
        ids = {"patient_id": [f"P{i}" for i in range(n)], "study_id": [f"S{i}" for i in range(n)]}
        path = tmp_path / name
        pq.write_table(pa.table(ids | columns), path)
        return path

    return write


def png(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    """PNG bytes of an array."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="PNG", **options)
    return stream.getvalue()


def grey(value: int = 7, size: int = 6) -> np.ndarray[Any, Any]:
    """A small grey image with a gradient."""
    return (np.arange(size * size, dtype=np.uint8).reshape(size, size) + value).astype(np.uint8)


def found(path: Path, code: str, **options: Any) -> Problem:
    """The one problem with this code."""
    problems = [p for p in inspect_cohort(path, **options).problems if p.code == code]
    assert len(problems) == 1, f"{code}: {problems}"
    assert problems[0].file == path.name
    assert problems[0].message
    assert problems[0].remedy
    return problems[0]


def codes(path: Path, **options: Any) -> set[str]:
    return {p.code for p in inspect_cohort(path, **options).problems}
