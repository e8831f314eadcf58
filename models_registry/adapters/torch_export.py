"""Image classifiers saved by ``torch.export.save``: ``model.pt2`` beside ``auscult.json``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from core.errors import AdapterError
from models_registry.adapters.archive import Archive, damaged
from models_registry.adapters.base import ADAPTERS, AdapterInfo, InferenceSettings
from models_registry.adapters.classifier import (
    ClassifierWishes,
    ImageClassifier,
    Run,
    check_folder,
    check_precision,
)
from models_registry.adapters.pixels import Floats32
from models_registry.adapters.program import Program

MODEL = "model.pt2"
FAULTS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What torch raises when a graph does not fit what it is given."""


class TorchExportFactory:
    """Checks and loads exported programs without ``torch.export.load``; see :mod:`models_registry.adapters.archive`."""

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the program and its wishes declare. Nothing of the graph is run, no tensor is read.

        Raises:
            AdapterError: a pickled or compiled part, an operator that is not run here, training mode, a signature
                that does not fit the wishes.
        """
        wishes, program = _read(folder)
        return _info(wishes, program)

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> ImageClassifier:
        wishes, program = _read(folder)
        check_precision(settings)
        import torch

        if device.startswith("cuda") and not torch.cuda.is_available():
            raise AdapterError(
                "This machine has no CUDA device.",
                remedy="Set AUSCULT_DEVICE=cpu, or run the worker where there is one.",
            )
        return ImageClassifier(
            info=_info(wishes, program),
            wishes=wishes,
            run=_runner(program, device),
            studies=program.sides[0],
            batch=settings.batch_size,
            side_by_side=True,
        )


ADAPTERS.register("torch_export")(TorchExportFactory())


def _read(folder: Path) -> tuple[ClassifierWishes, Program]:
    check_folder(folder, lambda name: name == MODEL)
    wishes = ClassifierWishes.read(folder)
    path = folder / MODEL
    if not path.is_file():
        raise AdapterError(f"{MODEL} is missing.", remedy="Save the program under this name.", file=MODEL)
    program = Program.read(Archive.read(path))
    wishes.check_shapes(MODEL, program.sides, program.output_sides)
    return wishes, program


def _info(wishes: ClassifierWishes, program: Program) -> AdapterInfo:
    stored, used = program.archive.tensors, set(program.given.values())
    return wishes.info(
        architecture=f"program of torch.export, {len(program.archive.program['graph_module']['graph']['nodes'])} nodes",
        parameters=sum(math.prod(stored[name].sizes) for name in used),
        exported_with=f"torch {program.archive.program.get('torch_version', '')}"[:60].strip(),
    )


def _runner(program: Program, device: str) -> Run:
    import torch

    try:
        run = program.loaded(device)
    except FAULTS as error:
        raise damaged(program.archive.path, f"its tensors cannot be made ({type(error).__name__}: {error})") from error

    def classify(pixels: Floats32) -> Any:
        try:
            with torch.no_grad():
                return run(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
        except FAULTS as error:
            raise damaged(
                program.archive.path,
                f"it failed on pictures of the shape {list(pixels.shape)} ({type(error).__name__}: {error})",
                "Export it again, with torch.export.Dim for the number of studies, and try it before saving.",
            ) from error

    return classify
