"""Whatever is stated on a requirement of a document stands in the document's own chapters, as text or in a table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from governance.reports.base import REPORTS
from governance.requirements import load_requirements
from governance.rules import table_columns
from governance.statuses import State
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers, make_statement
from tests.reports.scenes import context_of
from tests.reports.test_statement_documents import OUTLINED

ANSWERS: dict[str, Any] = {
    "annex_iii_points": ["5d"],
    "art_6_3_claimed": False,
    "public_authority": True,
    "provider_outside_union": True,
    "authorised_representative": True,
    "predetermined_changes": True,
    "third_party_model": True,
    "direct_interaction": True,
    "generated_content": ["text"],
    "emotion_recognition": True,
    "incident": True,
    "incident_kinds": ["a_health", "c_fundamental_rights"],
    "breach": True,
}
HELD_BACK = {"AIA-AnnexV-8.signature"}
"""A draft that is not to be signed shows no signature, whatever was stated."""
DATES = {"date": "2026-11-01", "datetime": "2026-11-01T10:00:00+01:00", "duration": "7 months"}


def _value(requirement: str, name: str, kind: str) -> Any:
    mark, base = f"{requirement}.{name}", kind.partition("{")[0]
    if base == "table":
        return [{column.removesuffix("?"): f"{mark} {column}" for column in table_columns(requirement, name)}]
    if base == "enum":
        return kind.partition("{")[2].rstrip("}").split("|")[-1]
    if base in DATES:
        return DATES[base]
    plain = {"bool": True, "int": 4711, "number": 4711, "list": [mark], "url": f"https://example.org/{mark}"}
    if base == "file":
        return {"name": mark, "digest": "ab" * 32}
    if base == "signature":
        return {"name": mark, "signed_on": "2026-11-01"}
    return plain.get(base, mark)


@pytest.mark.parametrize("kind", OUTLINED)
def test_every_stated_field_stands_in_the_chapters(kind: str) -> None:
    items = load_requirements().for_report(kind)
    rows = [
        make_statement(
            number,
            item.id,
            {one.name: _value(item.id, one.name, one.type) for one in item.required_fields},
        )
        for number, item in enumerate(items, start=1)
    ]
    evidence = make_evidence("fail")
    context = context_of(evidence, statements=rows, answers=make_answers(**ANSWERS))
    data = REPORTS.get(kind).draft(evidence, context).data
    told = json.dumps([section["blocks"] for section in data["sections"]], ensure_ascii=False)
    judged = [row for section in data["sections"] for row in section["requirements"]]
    applied = [row for row in judged if row["state"] not in (State.NOT_APPLICABLE, State.UNKNOWN)]
    assert applied
    marks = [
        f"{row['id']}.{field['name']}"
        for row in applied
        for field in row["fields"]
        if f"{row['id']}.{field['name']}" in json.dumps(field["value"])
    ]
    lost = [mark for mark in marks if mark not in told and mark not in HELD_BACK]
    assert not lost
    labels = [
        (row["id"], field["label"])
        for row in applied
        for field in row["fields"]
        if field["value"] is not None and f"{row['id']}.{field['name']}" not in marks
    ]
    assert [label for label in labels if label[1] not in told] == []
