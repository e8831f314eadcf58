"""Kinds of fields that bodies and addresses have in common. No text holds a NUL: databases and files refuse it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from ninja import Path, Schema
from pydantic import AfterValidator, ConfigDict, Field

PLAIN = r"^[^\x00]*$"
LARGEST = 2**63 - 1

Number = Annotated[int, Field(ge=1, le=LARGEST, strict=True)]
"""The number of an object."""
Pk = Annotated[int, Path(description="The number of the object.")]
SlugInPath = Annotated[str, Path(max_length=80, pattern=PLAIN, description="The short name.")]
Slug = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[-a-zA-Z0-9_]+$")]
Word = Annotated[str, Field(max_length=80, pattern=PLAIN)]
Line = Annotated[str, Field(max_length=200, pattern=PLAIN)]
Long = Annotated[str, Field(max_length=1000, pattern=PLAIN)]
Words = Annotated[str, Field(max_length=10_000, pattern=PLAIN)]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


def _kept_as_it_is(value: dict[str, Any]) -> dict[str, Any]:
    """Only what every database keeps: no NUL, and no number that JSON does not know."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("Numbers must be finite.") from None
    if "\\u0000" in text:
        raise ValueError("Texts must not hold NUL.")
    return value


Anything = Annotated[dict[str, Any], AfterValidator(_kept_as_it_is)]
"""An object whose fields the service knows."""


class Strict(Schema):
    """No field that is not asked for: what it holds could be anything."""

    model_config = ConfigDict(extra="forbid")
