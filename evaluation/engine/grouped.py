"""What the ways of looking at groups have in common: decisions, scores, and what is counted of texts."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.engine.gaps import VERSION
from evaluation.engine.grouping import in_order
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import UNKNOWN


class Grouped:
    """The groups of one label and one grouping.

    Attributes:
        groups: In the order of the protocol, others alphabetically, Unknown last.
        judged: Those that take part in criteria: all but Unknown.
        suite, version: Of the measurements.
    """

    suite = "fairness"
    version = VERSION

    def __init__(self, protocol: Protocol, label: str, attribute: str, names: Sequence[str]) -> None:
        """Args:
        names: In the order in which the sketch has them.
        """
        self.protocol = protocol
        self.label = label
        self.attribute = attribute
        self.groups = in_order(protocol, attribute, names)
        self.judged = tuple(group for group in self.groups if group != UNKNOWN)
        self._places = {name: place for place, name in enumerate(names)}

    def index(self, group: str) -> int:
        """Place of a group in the arrays of the sketch."""
        return self._places[group]
