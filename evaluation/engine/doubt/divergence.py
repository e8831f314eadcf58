"""How far two distributions of answers are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence


def jensen_shannon(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Jensen-Shannon divergence in bits of two lists of counts: ``H((p + q)/2) - (H(p) + H(q))/2``, log base 2.

    0 where the shares are the same, 1 where no answer occurs in both; None where a list is empty. It is the square of
    ``scipy.spatial.distance.jensenshannon(p, q, base=2)``. Of two small samples of one distribution it is above 0.

    Source: Lin (1991), IEEE Transactions on Information Theory 37:145.
    """
    one, two = ([max(0.0, count) for count in counts] for counts in (first, second))
    if sum(one) <= 0 or sum(two) <= 0:
        return None
    p, q = ([count / sum(counts) for count in counts] for counts in (one, two))
    middle = [(left + right) / 2 for left, right in zip(p, q, strict=True)]
    return min(1.0, max(0.0, _entropy(middle) - (_entropy(p) + _entropy(q)) / 2))


def _entropy(shares: Sequence[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if share > 0)
