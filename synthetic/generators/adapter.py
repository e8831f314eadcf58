"""A generator of linked patients as a version in the registry: registered, audited and decided about like a model.

It answers nothing about a study, so no protocol on predictions can judge it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import AdapterError, AuscultError
from models_registry.adapters.base import AdapterInfo, InferenceSettings, Predictions
from models_registry.cohorts.schema import StudyBatch

KEY = "generator"
MODALITIES = {"image": "image", "report": "report", "series": "series", "tables": "rows"}


class GeneratorFactory:
    """Checks and loads the folder that ``train_generator`` wrote."""

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the generator is made of, without loading its weights.

        Raises:
            AdapterError: the folder holds no generator, or a part is missing.
        """
        from synthetic.generators.linked import BODY, SCHEMA
        from synthetic.generators.parts import PARTS

        try:
            body = json.loads((folder / BODY).read_text())
        except (OSError, ValueError) as error:
            raise _none(folder) from error
        if not isinstance(body, dict) or body.get("schema") != SCHEMA:
            raise _none(folder)
        for role, name in body["parts"].items():
            PARTS.get(f"{role}:{name}")
            if not (folder / "parts" / role).is_dir():
                raise AdapterError(
                    f"The generator's part '{role}' is missing.", remedy="Train it again.", file=str(folder)
                )
        return AdapterInfo(capabilities=frozenset(), labels=(), details=_details(body))

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> GeneratorAdapter:
        from synthetic.generators.linked import load_generator

        return GeneratorAdapter(info=self.inspect(folder), generator=load_generator(folder))


class GeneratorAdapter:
    """A loaded generator."""

    def __init__(self, *, info: AdapterInfo, generator: Any) -> None:
        self.info, self.generator = info, generator

    def predict(self, batch: StudyBatch) -> Predictions:
        """Never.

        Raises:
            AuscultError: always.
        """
        raise AuscultError(
            "A generator of patients predicts nothing about a study.",
            remedy="Ask it for patients, or choose a model that predicts.",
        )


def _details(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "makes": [MODALITIES[role] for role in body["parts"] if role in MODALITIES],
        "parts": {role: f"{role}:{name}" for role, name in body["parts"].items()},
        "left_out": body["left_out"],
        "patients": body["patients"],
        "settings": body["settings"],
        "learnt_from": body["learnt_from"],
    }


def _none(folder: Path) -> AdapterError:
    return AdapterError(
        "The folder holds no generator of patients.",
        remedy="Give a folder that a training of a generator wrote, with its generator.json.",
        file=str(folder),
    )


FACTORY = GeneratorFactory()
