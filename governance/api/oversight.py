"""Reporting overrides and numbers of outputs. Nothing that is sent is ever repeated in an answer: it may be a name."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from ninja import Schema
from pydantic import AwareDatetime, Field

from core.api.fields import Pk, Strict
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from governance.api.rows import deployment_of
from governance.services.overrides import (
    LONGEST_KEY,
    MOST_ITEMS,
    MOST_OUTPUTS,
    OutputItem,
    OverrideItem,
    Recorded,
    record_outputs,
    record_overrides,
)

router = HouseRouter("Human oversight")
Group = dict[str, str]
LABEL = Annotated[str, Field(max_length=120)]
EXAMPLE = {
    "key": "9f2c", "happened_at": "2026-11-22T14:05:00+01:00", "action": "changed", "reason": "false_positive",
    "label": "effusion", "group": {"sex": "F", "age_band": "60-79"}, "role": "radiologist",
}  # fmt: skip


class OverrideIn(Strict):
    key: Annotated[str, Field(min_length=1, max_length=LONGEST_KEY)]
    happened_at: AwareDatetime
    action: Literal["changed", "disregarded", "stopped"]
    reason: Literal[
        "false_positive", "false_negative", "wrong_detail", "not_applicable", "poor_input", "other"
    ]  # fmt: skip
    label: LABEL = ""
    group: Group = {}
    study_id: Annotated[str, Field(max_length=LONGEST_KEY, repr=False)] = ""
    role: Annotated[str, Field(max_length=80)] = ""


class OutputIn(Strict):
    day: date
    n: Annotated[int, Field(ge=0, le=MOST_OUTPUTS, strict=True)]
    group: Group = {}


class OverridesIn(Strict):
    items: Annotated[list[OverrideIn], Field(min_length=1, max_length=MOST_ITEMS)]


class OutputsIn(Strict):
    items: Annotated[list[OutputIn], Field(min_length=1, max_length=MOST_ITEMS)]


class RecordedOut(Schema):
    """How many items are new, and how many had been recorded before."""

    new: int
    known: int


def _out(found: Recorded) -> RecordedOut:
    return RecordedOut(new=found.new, known=found.known)


@router.operation(
    "POST", "/deployments/{pk}/overrides", scope=Scope.OVERSIGHT, gives=RecordedOut, name="overrides",
    refuses=("not-found", "conflict"), example={"items": [EXAMPLE]},
)  # fmt: skip
def post_overrides(request: TokenRequest, pk: Pk, body: OverridesIn) -> RecordedOut:
    """Record that clinicians did not follow outputs. All items or none; the same key again records nothing."""
    items = [OverrideItem(**item.model_dump()) for item in body.items]
    return _out(record_overrides(deployment=deployment_of(request, pk), items=items, by=request.auth))


@router.operation(
    "POST", "/deployments/{pk}/outputs", scope=Scope.OVERSIGHT, gives=RecordedOut, name="outputs",
    refuses=("not-found", "conflict"), example={"items": [{"day": "2026-11-21", "n": 212, "group": {"sex": "F"}}]},
)  # fmt: skip
def post_outputs(request: TokenRequest, pk: Pk, body: OutputsIn) -> RecordedOut:
    """Record how many outputs were shown on a day, by group."""
    items = [OutputItem(**item.model_dump()) for item in body.items]
    return _out(record_outputs(deployment=deployment_of(request, pk), items=items, by=request.auth))
