"""Reads a protocol strictly: what is not understood is refused, with its line, and all problems are told at once."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from itertools import accumulate, pairwise
from typing import Any

import yaml

from core.errors import ProtocolError
from evaluation.engine.protocol_drift_sense import drift_criterion_problems, drift_problems
from evaluation.engine.protocol_linked import linked_problems
from evaluation.engine.protocol_texts import basis_problem, text_problems

Path = tuple[str | int, ...]
MAX_CHARACTERS = 256_000
MAX_OPEN_BRACKETS = 40
BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}
MAX_GROUPING = 120
REMEDY = "Correct the protocol; every key is described in docs/protocols.md."


def read_yaml(text: str, *, source: str) -> tuple[Any, dict[Path, int]]:
    """Plain data of a YAML text, and the line (from 1) of every key and item.

    Raises:
        ProtocolError: for text that is not YAML, is too long or nested too deeply, repeats a key, or uses anchors.
    """
    if len(text) > MAX_CHARACTERS:
        raise ProtocolError(
            f"The protocol has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read.",
            remedy="Give a protocol file, not a data file.",
            file=source,
        )
    too_deep = ProtocolError("This is nested too deeply.", remedy="Close every bracket.", file=source)
    # The time that a YAML parser takes grows with the square of brackets that are never closed.
    if max(accumulate((BRACKETS.get(character, 0) for character in text), initial=0)) > MAX_OPEN_BRACKETS:
        raise too_deep
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ProtocolError("Anchors and aliases are not read.", remedy="Write the value out.", file=source)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        body = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"Line {mark.line + 1}: " if mark else ""
        detail = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ProtocolError(
            f"{where}this is not valid YAML ({detail}).", remedy="Check indentation, colons and quotes.", file=source
        ) from error
    except RecursionError as error:
        raise too_deep from error
    lines: dict[Path, int] = {}
    repeated = list(_walk(node, (), lines))
    if repeated:
        raise ProtocolError("\n".join(repeated), remedy="Keep each key once.", file=source)
    return body, lines


def _walk(node: yaml.Node | None, path: Path, lines: dict[Path, int]) -> Iterator[str]:
    """Record the line of every node under ``path``; yield a message for each repeated key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            if key.tag == "tag:yaml.org,2002:merge":  # it could hold what a reader overlooks, and a key twice
                yield f"Line {key.start_mark.line + 1}: '<<' brings in the keys of another mapping. Write them out."
            if here in lines:
                yield f"Line {key.start_mark.line + 1}: the key '{key.value}' appears a second time."
            lines[here] = key.start_mark.line + 1
            yield from _walk(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            yield from _walk(item, (*path, index), lines)


def check_body(body: Any, *, source: str, lines: Mapping[Path, int]) -> None:
    """Check shape and sense.

    Raises:
        ProtocolError: with every problem on a line of its own.
    """
    problems = [*_not_finite(body, ()), *_shape_problems(body)]
    if not problems:
        problems = list(_sense_problems(body))
    if problems:
        told = [f"{_where(path, lines)}{message}" for path, message in problems]
        raise ProtocolError("\n".join(told), remedy=REMEDY, file=source)


def _where(path: Path, lines: Mapping[Path, int]) -> str:
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
    return (f"Line {line}, " if line else "") + (f"{shown}: " if shown else "")


def _not_finite(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """NaN passes every comparison of a JSON Schema, so it is looked for apart."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, "a number must be finite."
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _not_finite(item, (*path, index))


@cache
def protocol_schema() -> dict[str, Any]:
    """The published JSON Schema of a protocol."""
    text = (resources.files("evaluation.engine") / "protocol.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _shape_problems(body: Any) -> Iterator[tuple[Path, str]]:
    from jsonschema import Draft202012Validator

    if not isinstance(body, Mapping):
        yield (), "a protocol is a mapping of keys, such as 'name: my-protocol-v1'."
        return
    for error in sorted(Draft202012Validator(protocol_schema()).iter_errors(body), key=lambda item: str(item.path)):
        path: Path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            known = ", ".join(error.schema["properties"])
            for key in sorted(set(error.instance) - set(error.schema["properties"]), key=str):
                yield (*path, key), f"unknown key '{key}'. Known here: {known}."
        elif error.validator == "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            if error.message.startswith(f"'{missing[0]}'"):
                yield path, f"missing: {', '.join(missing)}."
        else:
            yield path, f"{error.message}."


def _sense_problems(body: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    labels = [item["name"] for item in body["labels"]]
    attributes = [item["name"] for item in body.get("attributes", [])]
    yield from _repeats("labels", "name", body["labels"])
    yield from _repeats("attributes", "name", body.get("attributes", []))
    yield from _repeats("criteria", "id", body["criteria"])
    for index, item in enumerate(body.get("attributes", [])):
        yield from _attribute_problems(("attributes", index), item)
    for index, names in enumerate(body.get("intersections", [])):
        if len(" & ".join(names)) > MAX_GROUPING:
            yield ("intersections", index), f"the names together exceed {MAX_GROUPING} characters: shorten them."
        for name in names:
            if name not in attributes:
                yield ("intersections", index), f"'{name}' is not an attribute. {_known(attributes)}"
    under = body.get("underdiagnosis")
    if under:
        for name in under["findings"]:
            if name not in labels:
                yield ("underdiagnosis", "findings"), f"'{name}' is not a label. {_known(labels)}"
        if under.get("name", "any finding") in labels:
            yield ("underdiagnosis", "name"), "the composite cannot have the name of a label."
    yield from _split_problems(body)
    yield from text_problems(body)
    yield from drift_problems(body)
    yield from _suite_problems(body)


def _split_problems(body: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    splits = body.get("splits") or {}
    for name in splits.get("tuning", []):
        if name in splits["audited"]:
            yield (
                ("splits", "tuning"),
                f"'{name}' is audited too: a threshold is not judged on the data it was tuned on.",
            )


def _attribute_problems(path: Path, item: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    bands, names, plausible = item.get("bands"), item.get("band_names"), item.get("plausible")
    if item["name"].casefold() == "all" or " & " in item["name"]:
        yield (*path, "name"), "an attribute cannot be called 'All' nor contain ' & '."
    if bands is not None and any(low >= high for low, high in pairwise(bands)):
        yield (*path, "bands"), "edges must rise, such as [0, 40, 60]."
    if names is not None and (bands is None or len(names) != len(bands)):
        yield (*path, "band_names"), "give as many names as there are bands (one for each lower edge)."
    if bands is not None and item.get("values"):
        yield (*path, "values"), "a banded attribute is listed in the order of its bands: leave 'values' out."
    if plausible is not None and plausible[0] >= plausible[1]:
        yield (*path, "plausible"), "the range must rise, such as [0, 120]."


def _suite_problems(body: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Problems of suites and criteria, which need to know the metrics."""
    from evaluation.engine.registry import SUITES

    metrics: dict[str, Any] = {}
    for index, key in enumerate(body.get("suites", ["fairness"])):
        if key not in SUITES.keys():  # noqa: SIM118 - a Registry is no mapping
            yield ("suites", index), f"there is no suite '{key}'. {_known(SUITES.keys())}"
        else:
            metrics |= SUITES.get(key).metrics
    for index, name in enumerate(body.get("metrics", [])):
        if metrics and name not in metrics:
            yield ("metrics", index), f"there is no metric '{name}'. {_known(metrics)}"
    for name in (body.get("reproduction") or {}).get("metrics", {}):
        if metrics and name not in metrics:
            yield ("reproduction", "metrics", name), f"there is no metric '{name}'. {_known(metrics)}"
    yield from linked_problems(body)
    if metrics:
        for index, item in enumerate(body["criteria"]):
            yield from _criterion_problems(("criteria", index), item, body, metrics)


def _criterion_problems(
    path: Path, item: Mapping[str, Any], body: Mapping[str, Any], metrics: Mapping[str, Any]
) -> Iterator[tuple[Path, str]]:
    labels = [label["name"] for label in body["labels"]]
    attributes = [attribute["name"] for attribute in body.get("attributes", [])]
    groupings = [*attributes, *(" & ".join(names) for names in body.get("intersections", []))]
    attribute = item.get("attribute", "")
    attribute = attribute if isinstance(attribute, str) else " & ".join(attribute)
    if attribute and attribute not in groupings:
        yield (*path, "attribute"), f"'{attribute}' is not a declared attribute or intersection. {_known(groupings)}"
    for name in item.get("labels", ["*"]):
        if name != "*" and name not in labels:
            yield (*path, "labels"), f"'{name}' is not a label. {_known(labels)} Use \"*\" for all."
    info = metrics.get(item["metric"])
    if info is None:
        yield (*path, "metric"), f"there is no metric '{item['metric']}'. {_known(metrics)}"
        return
    if info.kind == "described":
        judged = [key for key, value in metrics.items() if value.kind != "described"]
        yield (*path, "metric"), f"'{item['metric']}' is measured but cannot be a criterion. {_known(judged)}"
    if info.direction not in (None, item["direction"]):
        yield (*path, "direction"), f"'{item['metric']}' is a {info.kind}: it is judged '{info.direction}' a margin."
    if item["margin"] < 0 and (info.basis != "linked" or info.kind != "rate"):
        yield (*path, "margin"), f"{item['margin']} is less than the minimum of 0."
    if info.kind == "ratio" and item["margin"] <= 0:
        yield (*path, "margin"), "a ratio needs a margin above 0, such as 0.8."
    if info.kind in {"gap", "ratio"} and not attribute:
        yield path, f"'{item['metric']}' compares groups: name an attribute. {_known(groupings)}"
    if info.composite and not body.get("underdiagnosis"):
        yield (*path, "metric"), f"'{item['metric']}' needs the section 'underdiagnosis' with its findings."
    if info.composite and item.get("labels", ["*"]) != ["*"]:
        yield (*path, "labels"), f"'{item['metric']}' is computed on the composite: leave 'labels' out."
    for key, told in (*basis_problem(item, info, body), *drift_criterion_problems(item, info, body)):
        yield (*path, key), told


def _repeats(section: str, key: str, items: list[Mapping[str, Any]]) -> Iterator[tuple[Path, str]]:
    counts = Counter(item[key] for item in items)
    for index, item in enumerate(items):
        if counts[item[key]] > 1:
            yield (section, index, key), f"'{item[key]}' is used {counts[item[key]]} times; each must be its own."


def _known(names: Any) -> str:
    listed = ", ".join(names)
    return f"Known: {listed}." if listed else "None is declared."
