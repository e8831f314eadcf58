"""Randomness that depends on what is computed and not on who computes it or when."""

from __future__ import annotations

import hashlib

import numpy as np

from core.digests import canonical_json


def generator(seed: int, *parts: str) -> np.random.Generator:
    """A generator that is a function of ``seed`` and ``parts`` alone.

    The entropy is the SHA-256 of both in canonical JSON, so that one or eight workers, in any order, draw the same.
    """
    digest = hashlib.sha256(canonical_json([seed, *parts])).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
