"""Families of metrics that are counted, of any suite: measured in every group, and judged.

A suite names what it counts (:class:`~evaluation.engine.tallies.TallyFamily`) and reduces a shard to rows of whole
numbers; the rest is here. No suite of its own is registered.
"""

from __future__ import annotations

from evaluation.engine.suites.tallied.declared import gaps_of, metrics_of, with_beside
from evaluation.engine.suites.tallied.measure import measure_tallies
from evaluation.engine.suites.tallied.testing import tally_test

__all__ = ["gaps_of", "measure_tallies", "metrics_of", "tally_test", "with_beside"]
