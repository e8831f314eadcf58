"""What each study's pair of reports contributes, for every family that counts reports."""

from __future__ import annotations

import numpy as np

from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.tallies import TallyRows
from evaluation.engine.tallies import TallyFamily


def report_rows(protocol: Protocol, table: ShardTable, family: TallyFamily) -> TallyRows:
    """The numbers of every marked pair of a table, in the columns of a family. Linear in the words.

    Raises:
        ProtocolError: where the protocol compares no reports, or the table lacks the texts.
    """
    from evaluation.engine.text.marking import marked_once, vocabulary_for

    places = {name: place for place, name in enumerate(family.columns)}
    values = np.zeros((len(table), len(places)), dtype=np.int64)
    for row, pair in enumerate(marked_once(protocol, table)):
        for name, count in pair.tally.items():
            if name in places:
                values[row, places[name]] = count
    return TallyRows(columns=family.columns, values=values, digest=vocabulary_for(protocol).digest)
