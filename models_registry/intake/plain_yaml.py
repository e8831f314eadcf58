"""YAML from outside, read as texts, lists and mappings alone: no types, no tags, no anchors, no code."""

from __future__ import annotations

from typing import Any

LONGEST = 256 << 10
DEEPEST = 20


def read_plain_yaml(source: str, *, longest: int = LONGEST) -> Any:
    """The document, every scalar as a text.

    Raises:
        ValueError: too long, no YAML, nested too deeply, or with references to other places in itself, which a few
            lines could blow up to any size.
    """
    import yaml

    if len(source) > longest:
        raise ValueError(f"it has more than {longest:,} characters")
    depth = 0
    try:
        for event in yaml.parse(source, Loader=yaml.BaseLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it refers to other places in itself (*)")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:  # the parser's time grows with the square of the depth
                raise ValueError("it is nested too deeply")
        return yaml.load(source, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"line {mark.line + 1} is no YAML" if mark else "it is no YAML") from error
