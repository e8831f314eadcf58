"""Reporting overrides and numbers of outputs. Nothing that is sent is ever repeated in an answer: it may be a name."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from ninja import Router, Schema
from pydantic import AwareDatetime, ConfigDict, Field

from core.bearer import Bearer
from core.models import ApiToken
from governance.selectors.deployments import deployment_by_id
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

router = Router(auth=Bearer(ApiToken.Scope.OVERSIGHT))
Group = dict[str, str]
LABEL = Annotated[str, Field(max_length=120)]


class Strict(Schema):
    """No field that is not asked for: what it holds could be anything."""

    model_config = ConfigDict(extra="forbid")


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


@router.post("/deployments/{pk}/overrides", response=RecordedOut, url_name="overrides")
def post_overrides(request: Any, pk: int, body: OverridesIn) -> RecordedOut:
    """Record that clinicians did not follow outputs. All items or none; the same key again records nothing."""
    items = [OverrideItem(**item.model_dump()) for item in body.items]
    return _out(record_overrides(deployment=deployment_by_id(pk), items=items, by=request.auth))


@router.post("/deployments/{pk}/outputs", response=RecordedOut, url_name="outputs")
def post_outputs(request: Any, pk: int, body: OutputsIn) -> RecordedOut:
    """Record how many outputs were shown on a day, by group."""
    items = [OutputItem(**item.model_dump()) for item in body.items]
    return _out(record_outputs(deployment=deployment_by_id(pk), items=items, by=request.auth))
