"""Whether the section on drift makes sense: attributes that exist, families that are watched, known findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]
Problem = tuple[Path, str]
SUITE = "drift"
NEEDS_LABELS = ("prediction", "label", "estimated", "performance", "concept")
RESERVED = ("label.", "score.", "pred.", "text.", "series.")


def drift_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of the section, each with the path of its key. Its shape was checked."""
    drift, suites = body.get("drift"), body.get("suites", ["fairness"])
    if drift is None:
        if SUITE in suites:
            yield (
                ("suites",),
                f"the suite '{SUITE}' watches nothing without the section 'drift'; 'drift: {{}}' will do.",
            )
        return
    if SUITE not in suites:
        yield ("drift",), f"this is measured by the suite '{SUITE}': name it in 'suites'."
    yield from _attribute_problems(body, drift)
    yield from _family_problems(body, drift)
    yield from _contradiction_problems(body, drift)


def drift_criterion_problems(item: Mapping[str, Any], info: Any, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Problems of a criterion on a shift: (key, message)."""
    drift = body.get("drift")
    if info.basis != "streams" or drift is None:
        return
    family = str(item["metric"]).removesuffix("_shift")
    if drift.get("watch") and family not in drift["watch"]:
        yield "metric", f"'{family}' is not watched: name it in 'watch', or leave 'watch' out."
    if item["direction"] != "at_most":
        yield "direction", f"'{item['metric']}' is judged 'at_most' a margin: no shift is too small."
    attribute = item.get("attribute", "")
    attribute = attribute if isinstance(attribute, str) else " & ".join(attribute)
    groups = drift.get("groups") or [item["name"] for item in body.get("attributes", [])]
    if attribute and attribute not in groups:
        yield "attribute", f"'{attribute}' is not watched group by group. {_known(groups)}"
    if attribute and family == "case_mix":
        yield "attribute", "the case mix is one stream of all patients: leave 'attribute' out."


def _attribute_problems(body: Mapping[str, Any], drift: Mapping[str, Any]) -> Iterator[Problem]:
    attributes = [item["name"] for item in body.get("attributes", [])]
    columns = {item.get("column", item["name"]): item["name"] for item in body.get("attributes", [])}
    for key in ("case_mix", "groups"):
        for index, name in enumerate(drift.get(key, [])):
            if name not in attributes:
                yield ("drift", key, index), f"'{name}' is not an attribute. {_known(attributes)}"
    for index, name in enumerate(drift.get("columns", [])):
        if name.startswith(RESERVED):
            kind = name.partition(".")[0]
            yield ("drift", "columns", index), f"'{name}' is no covariate: columns '{kind}.*' are watched by family."
        elif columns.get(name) in drift.get("case_mix", []):
            told = f"'{name}' is the case mix, within which studies are compared: it cannot drift within itself."
            yield ("drift", "columns", index), told


def _family_problems(body: Mapping[str, Any], drift: Mapping[str, Any]) -> Iterator[Problem]:
    watched = drift.get("watch", [])
    for index, name in enumerate(drift.get("critical", []) if watched else []):
        if name not in watched:
            yield ("drift", "critical", index), f"'{name}' is not watched, so it cannot alarm. {_known(watched)}"
    for name in drift.get("margins", {}) if watched else []:
        if name not in watched:
            yield ("drift", "margins", name), f"'{name}' is not watched, so its margin has no use. {_known(watched)}"
    for index, name in enumerate(watched):
        if name in NEEDS_LABELS and not body["labels"]:
            yield ("drift", "watch", index), f"'{name}' is watched on labels, and the protocol has none."
        if name == "case_mix" and not drift.get("case_mix"):
            yield ("drift", "watch", index), "there is no case mix to watch: name its attributes in 'case_mix'."
    modes = {"image": "image", "text": "text."}
    for index, name in enumerate(drift.get("embed", [])):
        family = next((key for key, head in modes.items() if name.startswith(head)), None)
        if family is None:
            yield ("drift", "embed", index), f"'{name}' is not embedded: use image or text.*."
        elif watched and family not in watched:
            yield ("drift", "embed", index), f"'{family}' is not watched: name it in 'watch'."


def _contradiction_problems(body: Mapping[str, Any], drift: Mapping[str, Any]) -> Iterator[Problem]:
    labels = {item["name"]: item.get("threshold") for item in body["labels"]}
    for index, item in enumerate(drift.get("contradictions", [])):
        path: Path = ("drift", "contradictions", index)
        if item["finding"] not in labels:
            yield (*path, "finding"), f"'{item['finding']}' is not a label. {_known(labels)}"
        elif labels[item["finding"]] is None:
            yield (*path, "finding"), f"'{item['finding']}' has no threshold, so nothing tells when it is predicted."
        low, high = item.get("above"), item.get("below")
        if low is not None and high is not None and high >= low:
            told = "every value would contradict: 'below' must lie under 'above'."
            yield (*path, "below"), told
    if drift.get("contradictions") and drift.get("watch") and "concordance" not in drift["watch"]:
        yield ("drift", "contradictions"), "'concordance' is not watched: name it in 'watch'."


def _known(names: Any) -> str:
    listed = ", ".join(names)
    return f"Known: {listed}." if listed else "None is declared."
