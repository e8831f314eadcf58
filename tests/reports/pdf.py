"""What a test reads out of a PDF, with pikepdf: an independent reader."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import pikepdf


@dataclass
class Facts:
    pages: int
    language: str
    title: str
    author: str
    created: str
    tagged: bool
    part: str
    conformance: str
    output_intents: int
    attachments: dict[str, Any]
    relationships: dict[str, str]
    tags: dict[str, int] = field(default_factory=dict)
    alternatives: list[str] = field(default_factory=list)


def read_pdf(data: bytes) -> Facts:
    with pikepdf.open(io.BytesIO(data)) as pdf:
        with pdf.open_metadata() as meta:
            part, conformance = meta["pdfaid:part"], meta["pdfaid:conformance"]
            created = meta["xmp:CreateDate"]
        attached = {name: json.loads(spec.get_file().read_bytes()) for name, spec in pdf.attachments.items()}
        assert len(pdf.Root.AF) == len(attached)
        relations = {str(spec.UF): str(spec.AFRelationship) for spec in pdf.Root.AF}
        facts = Facts(
            pages=len(pdf.pages),
            language=str(pdf.Root.Lang),
            title=str(pdf.docinfo["/Title"]),
            author=str(pdf.docinfo["/Author"]),
            created=created,
            tagged=bool(pdf.Root.MarkInfo.Marked) and "/StructTreeRoot" in pdf.Root,
            part=part,
            conformance=conformance,
            output_intents=len(pdf.Root.OutputIntents),
            attachments=attached,
            relationships=relations,
        )
        _walk(pdf.Root.StructTreeRoot.K, facts)
        return facts


def _walk(node: Any, facts: Facts) -> None:
    if isinstance(node, pikepdf.Array):
        for item in node:
            _walk(item, facts)
    elif isinstance(node, pikepdf.Dictionary) and "/S" in node:
        tag = str(node.S)
        facts.tags[tag] = facts.tags.get(tag, 0) + 1
        if tag == "/Figure":
            facts.alternatives.append(str(node.get("/Alt", "")))
        if "/K" in node:
            _walk(node.K, facts)
