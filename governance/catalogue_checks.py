"""What makes a catalogue of requirements sound: every contradiction in it is named. Django-free."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

ALLOWED_EMPTY = {"also_feeds"}
OPTIONAL = {"note"}
KEYS = {
    *("id", "regulation", "article", "title", "summary", "duty_bearer", "applicability", "status", "evidence"),
    *("automatable", "required_fields", "report", "section", "also_feeds", "completeness_rule", "source", "verified"),
    "applies_from",
}
PARTS = {"catalogue", "enums", "timeline", "triggers", "reports", "deadlines", "dpia_risk_matrix", "items"}
RATINGS = (1, 2, 3, 4)


def find_problems(body: Any) -> list[str]:
    """Every contradiction in a catalogue as it was read, each in one sentence; empty when it is sound.

    Checked: parts and keys are there and not empty; identifiers are unique; closed lists are kept;
    every reference (timeline, trigger, report, section) leads somewhere; a date and its confidence repeat the
    timeline; field types are known; no chapter is without a requirement; the rule is a sentence; the risk matrix
    has a band for every pair of ratings.
    """
    if not isinstance(body, dict) or PARTS - body.keys():
        absent = PARTS - (body.keys() if isinstance(body, dict) else set())
        return [f"It lacks {', '.join(sorted(absent))}."]
    problems = _repeated("timeline reference", (row["ref"] for row in body["timeline"]))
    problems += _repeated("trigger", (row["key"] for row in body["triggers"]))
    problems += _repeated("requirement", (row.get("id", "?") for row in body["items"]))
    problems += _repeated("deadline", (row["id"] for row in body["deadlines"]))
    problems += _matrix_problems(body["dpia_risk_matrix"])
    problems += [text for row in body["timeline"] for text in _timeline_problems(row, body["enums"])]
    sections = {row["key"]: {str(item["id"]) for item in row["sections"]} for row in body["reports"]}
    for row in body["items"]:
        problems += _item_problems(row, body, sections)
    homes = {(row.get("report"), str(row.get("section"))) for row in body["items"]}
    for report, ids in sections.items():
        problems += [
            f"{report}: chapter {one} has no requirement." for one in sorted(ids) if (report, one) not in homes
        ]
    return problems


def _repeated(kind: str, names: Iterable[str]) -> list[str]:
    return [f"The {kind} {name} is there {count} times." for name, count in Counter(names).items() if count > 1]


def _timeline_problems(row: dict[str, Any], enums: dict[str, list[str]]) -> list[str]:
    problems = []
    for key in ("date", "alt_date"):
        if key in row and not _is_date(row[key]):
            problems.append(f"{row['ref']}: {key} is not a date as YYYY-MM-DD.")
    if row["confidence"] not in enums["confidence"]:
        problems.append(f"{row['ref']}: the confidence '{row['confidence']}' is not known.")
    return problems


def _matrix_problems(matrix: dict[str, Any]) -> list[str]:
    scales = [scale for scale in ("severity", "likelihood") if tuple(matrix[scale]) != RATINGS]
    problems = [f"The {scale} of the risk matrix is not rated from 1 to 4." for scale in scales]
    found = Counter(product for band in matrix["bands"] for product in band["products"])
    wanted = {one * other for one in RATINGS for other in RATINGS}
    problems += [f"The risk matrix has no band for {product}." for product in sorted(wanted - found.keys())]
    return problems + [
        f"The risk matrix has {count} bands for {product}." for product, count in found.items() if count > 1
    ]


def _is_date(value: object) -> bool:
    try:
        dt.date.fromisoformat(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _item_problems(row: dict[str, Any], body: dict[str, Any], sections: dict[str, set[str]]) -> list[str]:
    name = row.get("id", "?")
    if wrong := (KEYS - row.keys()) | (row.keys() - KEYS - OPTIONAL):
        return [f"{name}: keys missing or unknown: {', '.join(sorted(wrong))}."]
    problems = [f"{name}: {key} is empty." for key in sorted(KEYS - ALLOWED_EMPTY) if not row[key]]
    enums = body["enums"]
    for key in ("regulation", "status", "automatable", "verified", "duty_bearer", "evidence"):
        values = row[key] if isinstance(row[key], list) else [row[key]]
        problems += [f"{name}: {key} '{value}' is not known." for value in values if value not in enums[key]]
    known = {trigger["key"] for trigger in body["triggers"]}
    problems += [f"{name}: there is no trigger '{key}'." for key in row["applicability"] if key not in known]
    if str(row["section"]) not in sections.get(row["report"], set()):
        problems.append(f"{name}: there is no chapter {row['section']} in {row['report']}.")
    for report in row["also_feeds"]:
        if report not in sections or report == row["report"]:
            problems.append(f"{name}: also_feeds names {report}, which is unknown or its own home.")
    problems += _date_problems(row, body["timeline"])
    problems += _field_problems(row, enums["field_types"])
    rule = str(row["completeness_rule"])
    if not rule.endswith(".") or len(rule.split()) < 5:
        problems.append(f"{name}: the completeness rule is not a sentence.")
    return problems


def _date_problems(row: dict[str, Any], timeline: list[dict[str, Any]]) -> list[str]:
    applies = row["applies_from"]
    entry = next((one for one in timeline if one["ref"] == applies.get("ref")), None)
    if entry is None:
        return [f"{row['id']}: the timeline has no entry '{applies.get('ref')}'."]
    if (applies.get("date"), applies.get("confidence")) != (entry["date"], entry["confidence"]):
        return [f"{row['id']}: its date or confidence differs from the timeline's {entry['ref']}."]
    return []


def _field_problems(row: dict[str, Any], types: list[str]) -> list[str]:
    problems = _repeated(f"field of {row['id']} called", (item["name"] for item in row["required_fields"]))
    for item in row["required_fields"]:
        match = re.fullmatch(r"([a-z]+)(\{[^{}|]+(\|[^{}|]+)+\})?", item["type"])
        if not match or match[1] not in types or (match[1] == "enum") != bool(match[2]):
            problems.append(f"{row['id']}: the field {item['name']} has the unknown type '{item['type']}'.")
    return problems
