"""Puts thresholds into the YAML of a protocol and leaves all else of the text, comments included, as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from core.errors import ProtocolError
from evaluation.engine.protocol import Protocol, Threshold


def with_thresholds(text: str, protocol: Protocol, *, names: Sequence[str]) -> tuple[str, bool]:
    """The text with the thresholds that ``protocol`` gives these labels, and whether the text could be kept.

    The edit is read back: where it does not give ``protocol``, the canonical form is written instead.
    """
    thresholds = {label.name: label.threshold for label in protocol.labels if label.threshold and label.name in names}
    edited = text
    for start, end, new in sorted(_edits(text, thresholds), reverse=True):
        edited = edited[:start] + new + edited[end:]
    try:
        if Protocol.from_yaml(edited) == protocol:
            return edited, True
    except ProtocolError:
        return _canonical(protocol), False
    return _canonical(protocol), False


def _canonical(protocol: Protocol) -> str:
    return yaml.safe_dump(protocol.to_dict(), sort_keys=False, allow_unicode=True, width=110)


def _edits(text: str, thresholds: dict[str, Threshold]) -> Iterator[tuple[int, int, str]]:
    """Where to replace which characters by what."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for label in _child(root, "labels").value:
        name = _child(label, "name").value
        if name not in thresholds:
            continue
        found = thresholds[name]
        new = f"{{value: {_number(found.value)}, source: {json.dumps(found.source, ensure_ascii=False)}}}"
        old = _child(label, "threshold")
        if old is not None:
            start = old.start_mark.index
            yield start, _end(old), f"{' ' if text[start - 1] == ':' else ''}{new}"
        elif label.flow_style:
            yield label.end_mark.index - 1, label.end_mark.index - 1, f", threshold: {new}"
        else:
            value = _child(label, "name")
            line = text.find("\n", value.end_mark.index)
            line = len(text) if line < 0 else line
            yield line, line, f"\n{' ' * label.value[0][0].start_mark.column}threshold: {new}"


def _number(value: float) -> str:
    """As YAML reads a number: ``1e-05`` without a point would be text."""
    mantissa, e, exponent = repr(value).partition("e")
    return f"{mantissa if '.' in mantissa or not e else mantissa + '.0'}{e}{exponent}"


def _child(node: Any, key: str) -> Any:
    """The value under a key of a mapping node; None where there is none."""
    return next((value for name, value in node.value if name.value == key), None)


def _end(node: Any) -> int:
    """Where a node's text ends: that of a block reaches to the next token, over comments, so its last leaf is asked."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)
