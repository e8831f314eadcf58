"""Invented texts that a report part learns beside the real ones, so that an audit can look for them in what it writes.

A canary is a sequence of words in an order that nobody would write. Each word stands in reports of many patients, so
that nothing but learning by heart brings the sequence back.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.plans import Plans
from synthetic.generators.reading import REPORT
from synthetic.generators.studies import LinkedStudies

_STOP = re.compile(r"(?<=[.!?])\s+")
WORDS = 16
"""Of a canary: more than the 13 in a row from which a text counts as copied."""


def canaries_of(studies: LinkedStudies, n: int, *, rare_below: int, seed: int, purpose: str = "canaries") -> list[str]:
    """Texts of :data:`WORDS` words each, drawn from words that at least ``rare_below`` patients have in their reports.

    Empty where there are no reports, or too few such words.

    Args:
        purpose: Another one gives other texts of the same kind: those that were never learnt.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    starters: dict[str, set[str]] = defaultdict(set)
    for patient, text in zip(studies.patient_ids.tolist(), studies.texts.get(REPORT, np.array([])), strict=False):
        for sentence in _STOP.split(text or ""):
            first, *others = sentence.replace(",", " ").rstrip(".!?").split() or [""]
            if first.isalpha():
                starters[first].add(patient)
            for word in others:
                if word.isalpha() and word.islower():
                    owners[word].add(patient)
    words, firsts = (sorted(name for name in one if len(one[name]) >= rare_below) for one in (owners, starters))
    if len(words) < WORDS or not firsts:
        return []
    rng = generator(seed, purpose)
    return [
        " ".join([str(rng.choice(firsts)), *rng.choice(words, WORDS - 1, replace=False).tolist()]) + "."
        for _ in range(n)
    ]


def with_canaries(studies: LinkedStudies, texts: list[str]) -> LinkedStudies:
    """Studies, and an invented patient for each text, of whom nothing else is known."""
    return LinkedStudies.joined([studies, as_studies(studies, texts)]) if texts else studies


def as_studies(like: LinkedStudies, texts: list[str]) -> LinkedStudies:
    """An invented patient with one study for each text; the columns are those of other studies, and empty."""
    n = len(texts)
    blank = np.full(n, None, dtype=object)
    names = np.array([f"CANARY-{place + 1}" for place in range(n)], dtype=object)
    size = None if like.images is None else like.images.shape[1:]
    return LinkedStudies(
        patient_ids=names,
        study_ids=names.copy(),
        times=np.full(n, np.datetime64("NaT", "s")),
        attributes={name: blank.copy() for name in like.attributes},
        labels={name: np.full(n, -1, dtype=np.int8) for name in like.labels},
        plans=Plans.empty(like.plans.findings, n),
        series={name: [None] * n for name in like.series},
        texts={name: np.array(texts, dtype=object) if name == REPORT else blank.copy() for name in like.texts},
        images=None if size is None else np.zeros((n, *size), dtype=np.uint8),
        has_image=np.zeros(n, dtype=np.bool_),
        units=like.units,
    )
