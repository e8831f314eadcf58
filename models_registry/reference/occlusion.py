"""Taking modalities away from preprocessed studies, so that the model does without them as it learned to."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from models_registry.reference.preprocessing import Arrays, Preprocessor

Bools = npt.NDArray[np.bool_]


def modality_groups(preprocess: Preprocessor) -> dict[str, tuple[str, ...]]:
    """What can be embedded, as the modalities it is made of: each one, all series together, all demographics."""
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in preprocess.modalities}
    if preprocess.series:
        groups["series"] = tuple(f"series.{name}" for name in preprocess.series)
    if preprocess.categorical or preprocess.numeric:
        groups["demographics"] = (*preprocess.categorical, *preprocess.numeric)
    return groups


def embedded_kind(modality: str) -> str:
    """The group whose encoder embeds a modality: ``series.crp`` is embedded as a series that stands alone."""
    head = modality.partition(".")[0]
    return head if head in {"image", "text", "series", "study"} else "demographics"


def has_modality(preprocess: Preprocessor, arrays: Arrays, modality: str) -> Bools:
    """Which of n studies the model sees this modality of, bool [n].

    A text without a word, a category that the training did not know and a number that is not believed are no
    input to the model, and count as missing.
    """
    if modality == "image":
        return np.asarray(arrays["has_image"], bool)
    if modality == f"text.{preprocess.text}":
        return np.asarray((arrays["words"] != 0).any(axis=1))
    if modality.startswith("series."):
        place = list(preprocess.series).index(modality.removeprefix("series."))
        return np.asarray(arrays["has_points"][:, place].any(axis=1))
    if modality in preprocess.categorical:
        return np.asarray(arrays["categories"][:, list(preprocess.categorical).index(modality)] != 0)
    return np.asarray(arrays["has_numbers"][:, list(preprocess.numeric).index(modality)], bool)


def hide_modalities(preprocess: Preprocessor, arrays: Arrays, modalities: Collection[str]) -> Arrays:
    """The same studies without these modalities: equal to preprocessing studies that never had them."""
    hidden = {name: values.copy() for name, values in arrays.items()}
    if "image" in modalities:
        hidden["pixels"][:] = 0
        hidden["has_image"][:] = False
    if f"text.{preprocess.text}" in modalities:
        hidden["words"][:] = 0
    for place, name in enumerate(preprocess.series):
        if f"series.{name}" in modalities:
            hidden["points"][:, place] = 0
            hidden["has_points"][:, place] = False
    for place, name in enumerate(preprocess.categorical):
        if name in modalities:
            hidden["categories"][:, place] = 0
    for place, name in enumerate(preprocess.numeric):
        if name in modalities:
            hidden["numbers"][:, place] = 0
            hidden["has_numbers"][:, place] = False
    return hidden
