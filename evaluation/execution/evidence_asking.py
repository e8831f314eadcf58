"""What the evidence says of texts: by which vocabulary they were read, what was asked, and which judges there were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from evaluation.engine import Protocol as Rules
from evaluation.engine.asking import PLAIN, Utterances
from evaluation.engine.planning import asks
from evaluation.engine.text.pairing import vocabulary_for
from models_registry.cohorts.disclosure import SMALL, is_small

COUNTS = ("texts", "unanswered", "truncated")


def count_asked(rules: Rules, said: Utterances | None) -> dict[str, Any] | None:
    """What was asked about a share.

    Returns:
        ``rows``: kind, or kind and condition, -> rows of the plan; ``texts``, and how many of them are ``unanswered``
        or ``truncated``; ``why_not``: what was not asked, and why; ``judges``: those that the protocol wants -> digest
        or absence. None where the protocol reads no text.
    """
    if not (rules.reports or asks(rules)):
        return None
    told: dict[str, Any] = {"judges": _judges(rules.judges)}
    if said is None:
        return told
    names = (
        kind if condition == PLAIN else f"{kind} {condition}"
        for kind, condition in zip(said.asked.kind, said.asked.condition, strict=True)
    )
    return told | {
        "rows": dict(sorted(Counter(names).items())),
        "texts": len(said),
        "unanswered": sum(text is None for text in said.text),
        "truncated": int(said.truncated.sum()),
        "why_not": dict(said.why_not),
    }


def asking_of(body: Mapping[str, Any], telemetry: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The evidence's part ``asking``, summed over shares; nothing for a protocol that reads no text.

    A judge that no operator supplied is named as absent. A reason counts once, however many shares give it. How many
    texts are missing or cut off tells of patients, and small numbers are not told; the rows of the plan do not.
    """
    rules = Rules.from_dict(body)
    if not (rules.reports or asks(rules)):
        return {}
    told = [item for one in telemetry if (item := one.get("told"))]
    rows: Counter[str] = Counter()
    for item in told:
        rows.update(item.get("rows", {}))
    sampling = rules.sampling
    found: dict[str, Any] = {
        "vocabulary": vocabulary_for(rules).digest,
        "judges": _merged([_judges(None), *(item["judges"] for item in told)]),
    }
    if asks(rules):
        found |= {"rows": dict(sorted(rows.items()))}
        counts = {name: sum(item.get(name, 0) for item in told) for name in COUNTS}
        found |= {name: SMALL if is_small(count) else count for name, count in counts.items()}
        found |= {"why_not": _merged([{}, *(item.get("why_not", {}) for item in told)])}
    if sampling is not None:
        found["sampling"] = {"of": sampling.of, "samples": sampling.samples, "temperature": sampling.temperature}
    return {"asking": found}


def _merged(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Each key once. What a worker told counts before what the judging process knows; workers may differ."""
    found: dict[str, list[str]] = {}
    first, *others = list(parts) or [{}]
    for part in others:
        for key, value in part.items():
            if value not in found.setdefault(key, []):
                found[key].append(value)
    return {key: " | ".join(sorted(found.get(key) or [first[key]])) for key in sorted({*first, *found})}


def _judges(wanted: Iterable[str] | None) -> dict[str, str]:
    from evaluation.engine.judges import judges_status

    return judges_status(wanted)
