"""Facts about the groups of an audit that a reader of its verdicts must know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evaluation.engine.protocol import Protocol
from evaluation.engine.records import UNKNOWN
from evaluation.engine.sketches.counts import OVERALL, Tally
from evaluation.engine.words import plain


def group_notes(protocol: Protocol, tallies: Mapping[str, Tally]) -> Iterator[str]:
    """What was judged, and for each grouping what is unknown, implausible, or in several groups.

    Args:
        tallies: Grouping -> sizes of its groups; ``OVERALL`` among them.
    """
    cell = protocol.minimum_cell
    everyone = int(tallies[OVERALL].sizes.sum(axis=0)[0])
    if protocol.splits:
        yield f"Judged are the {everyone:,} studies of the split {', '.join(protocol.splits.audited)}, and no others."
    for by in protocol.groupings:
        tally, name = tallies[by], plain(by)
        if UNKNOWN in tally.groups:
            studies, patients = (int(size) for size in tally.sizes[tally.groups.index(UNKNOWN)])
            count = f"Fewer than {cell}" if patients < cell else f"{studies:,} ({studies / everyone:.1%})"
            yield f"{count} of {everyone:,} studies have no known {name}; they are shown as Unknown and not judged."
        if tally.implausible:
            bad = f"{shown_count(tally.implausible, cell)} of {everyone:,}"
            yield f"Studies with an impossible or unreadable value of {name}: {bad}; they count as Unknown."
        if tally.spanning:
            spanning = shown_count(tally.spanning, cell)
            yield f"Patients with studies in several groups of {name}: {spanning}; each counts as one patient."
        if len([group for group in tally.groups if group != UNKNOWN]) < 2:
            yield f"There are not two groups of {name}, so nothing can be compared by it."


def shown_count(number: int, cell: int) -> str:
    """A count as it may leave the platform."""
    return f"{number:,}" if number >= cell else f"fewer than {cell}"
