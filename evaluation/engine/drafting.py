"""Drafts a protocol that fits a prediction file: a start to be edited by people, with comments that say what to set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import ProtocolError
from evaluation.engine.protocol import Protocol

MAX_VALUES = 12
REPORTS = ("text.reference", "text.generated")
REPORT_MISS, REPORT_GAP = "report_underdiagnosis_rate", "report_underdiagnosis_difference"
HEAD = """\
# A draft made from the columns of a prediction file. Read every line before you lock it:
# whoever sets margins and thresholds must not have seen results on these data.
auscult_protocol: 1
name: {name}
title: Equal performance across patient groups
intended_use: >
  Describe what the model is for, on whom, and what follows from a missed finding and from a false alarm.
suites: [fairness]
"""
REPORTS_SECTION = """
# Written reports are compared with the reference on these findings; "*" is every one that is known.
reports: {findings: ["*"]}
"""
TAIL = """
minimum: {cell: 11, rate_denominator: 30}   # patients: smaller groups are suppressed, smaller denominators not judged
alpha: 0.05                                 # familywise error over the primary criteria
bootstrap: {replicates: 2000}
seed: 1
"""


def draft_protocol(predictions: Path) -> str:
    """YAML of a protocol for a prediction file: its labels, its attributes of few values, age in bands, criteria.

    Raises:
        CohortError: for a file that cannot be read.
        ProtocolError: for a file without any label that has both a reference and a prediction.
    """
    from models_registry.cohorts import FileKind, inspect_cohort

    summary = inspect_cohort(predictions, kind=FileKind.PREDICTIONS).summary
    labels = [name for name in summary["labels"] if name in summary["decisions"] or name in summary["scores"]]
    reports = all(name in summary["modalities"] for name in REPORTS)
    if not labels and not reports:
        raise ProtocolError(
            "No label has both a reference and a prediction, and there are no reports to compare.",
            remedy="Give 'label.<name>' and 'pred.<name>' or 'score.<name>' columns, or 'text.reference' and "
            "'text.generated'; see docs/cohorts.md.",
            file=predictions.name,
        )
    attributes = {name: text for name, facts in summary["attributes"].items() if (text := _attribute(name, facts))}
    skipped = [name for name in summary["attributes"] if name not in attributes]
    stem = re.sub(r"[^a-z0-9._-]+", "-", predictions.name.split(".")[0].lower()).strip("-._") or "protocol"
    text = "".join(
        [
            HEAD.format(name=f"{stem[:70]}-v1"),
            *_splits(summary["splits"]),
            "\nlabels:\n" if labels else "\nlabels: []\n",
            *(_label(name, summary) for name in labels),
            "\nattributes:\n" if attributes else "\nattributes: []\n",
            *attributes.values(),
            f"# Not used, being numeric or of many values: {', '.join(skipped)}\n" if skipped else "",
            *_underdiagnosis(labels),
            REPORTS_SECTION if reports else "",
            "\ncriteria:\n",
            *_criteria(list(attributes), labels, [name for name in labels if name in summary["scores"]], reports),
            TAIL,
        ]
    )
    Protocol.from_yaml(text, source="draft")
    return text


def _label(name: str, summary: Mapping[str, Any]) -> str:
    if name in summary["decisions"]:
        return f"  - name: {_quote(name)}\n"
    return (
        f"  - name: {_quote(name)}\n"
        "    # The operating point, tuned on data that are not audited, and where that was done.\n"
        "    threshold: {value: 0.5, source: TUNE ME ON OTHER DATA}\n"
    )


def _attribute(name: str, facts: Mapping[str, Any]) -> str:
    if name.casefold() == "age" and facts["type"] != "text":
        return (
            f"  - name: age_band\n    column: {_quote(name)}\n"
            "    bands: [0, 40, 60]            # lower edges, in completed years: <40, 40-59, >=60\n"
            "    plausible: [0, 120]\n"
        )
    values = facts.get("values", {})
    if facts["type"] != "text" or not 2 <= len(values) <= MAX_VALUES:
        return ""
    listed = ", ".join(_quote(value) for value in sorted(values))
    return f"  - name: {_quote(name)}\n    values: [{listed}]\n"


def _underdiagnosis(labels: list[str]) -> list[str]:
    if len(labels) < 2:
        return []
    findings = ", ".join(_quote(name) for name in labels)
    return [
        "\n# Who has a finding and is reported clear? Keep the findings that matter for the intended use.\n",
        f"underdiagnosis:\n  name: any finding\n  findings: [{findings}]\n",
    ]


def _splits(found: Mapping[str, int]) -> list[str]:
    """Which rows are judged, where the file says what its rows were used for."""
    if len(found) < 2:
        return []
    test = [name for name in found if name.casefold() == "test"]
    others = [name for name in found if name.casefold().startswith(("train", "tun", "val", "dev"))]
    audited, tuning = (", ".join(map(_quote, names)) for names in (test or list(found)[:1], others))
    line = f"splits: {{audited: [{audited}], tuning: [{tuning}]}}\n"
    listed = ", ".join(found)
    return [
        f"\n# Only the audited splits are judged; the file has: {listed}. Thresholds come from the tuning splits.\n",
        line if test else f"# {line}",
    ]


def _criteria(attributes: list[str], labels: list[str], scored: list[str], reports: bool) -> list[str]:
    """Equal sensitivity is primary (of reports, where there is nothing else), the rest exploratory; without
    attributes, an overall floor."""
    if not attributes:
        metric, direction, margin = ("tpr", "at_least", 0.8) if labels else (REPORT_MISS, "at_most", 0.2)
        return [_criterion("sensitivity" if labels else "report-underdiagnosis", metric, "", direction, margin, True)]
    rows = []
    for column in attributes:
        name = "age_band" if column.casefold() == "age" else column
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "group"
        if labels:
            rows.append(_criterion(f"{slug}-tpr", "equal_opportunity_difference", name, "at_most", 0.1, True))
        if len(labels) > 1:
            rows.append(_criterion(f"{slug}-underdiagnosis", "underdiagnosis_difference", name, "at_most", 0.1, True))
        if labels:
            rows.append(_criterion(f"{slug}-fpr", "fpr_difference", name, "at_most", 0.1, False))
        if scored:
            some = [] if scored == labels else scored
            rows.append(_criterion(f"{slug}-auroc", "auroc_difference", name, "at_most", 0.1, False, some))
        if reports:
            rows.append(_criterion(f"{slug}-reports", REPORT_GAP, name, "at_most", 0.1, not labels))
    return rows


def _criterion(
    key: str, metric: str, attribute: str, direction: str, margin: float, primary: bool, labels: Sequence[str] = ()
) -> str:
    where = f", attribute: {_quote(attribute)}" if attribute else ""
    which = f", labels: [{', '.join(map(_quote, labels))}]" if labels else ""
    rank = "" if primary else ", primary: false"
    return f"  - {{id: {key}, metric: {metric}{which}{where}, direction: {direction}, margin: {margin}{rank}}}\n"


def _quote(text: str) -> str:
    """A YAML string: plain where that is safe, else in double quotes."""
    safe = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text) and text.casefold() not in {
        "y", "n", "yes", "no", "on", "off", "true", "false", "null",
    }  # fmt: skip
    return text if safe else json.dumps(text, ensure_ascii=False)
