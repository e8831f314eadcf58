"""What a judge of reports is. Registers no judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.registry import Registry

Floats = npt.NDArray[np.float64]


class Judge(Protocol):
    """A loaded judge."""

    def score(self, references: Sequence[str], generated: Sequence[str]) -> Floats:
        """How well each generated report agrees with its reference: float64 [n] in [0, 1], higher is better.

        NaN where the judge has nothing to say. A score does not depend on the pairs beside it.

        Args:
            references, generated: Texts that are not blank.

        Raises:
            AdapterError: the weights gave numbers that are none.
        """
        ...


class JudgeFactory(Protocol):
    """How one kind of judge is checked and loaded. Heavy imports happen inside; nothing is fetched, no code is run.

    Attributes:
        title: What its score is, in a reader's words.
    """

    title: str

    def inspect(self, folder: Path) -> None:
        """Check the folder without reading a weight.

        Raises:
            AdapterError: naming file, field and remedy.
        """
        ...

    def load(self, folder: Path, *, device: str) -> Judge:
        """A judge that is ready to score on ``device``.

        Raises:
            AdapterError: as :meth:`inspect`; weights that cannot be loaded.
        """
        ...


JUDGES: Registry[JudgeFactory] = Registry(kind="judge", package="evaluation.engine.judges", group="auscult.judges")
"""Every judge that can be run where its weights are supplied: ``chexbert``, ``green``, ``nli``, ``radgraph``."""
