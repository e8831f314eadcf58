"""What is true of the studies that questions are asked about."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.errors import ProtocolError
from evaluation.engine.asking import TruthRows
from evaluation.engine.probing.wording import known_as, phrase_of
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.text.claims import strongest
from evaluation.engine.text.ontology import Ontology
from evaluation.engine.text.pairing import vocabulary_for
from evaluation.engine.text.reading import read_texts
from evaluation.engine.text.records import Assertion

Truth = npt.NDArray[np.int8]
SILENT, ABSENT, PRESENT = -1, 0, 1


def truth_rows(protocol: Protocol, table: ShardTable, *, vocabulary: Ontology | None = None) -> TruthRows:
    """What is true of each study, of every finding of ``protocol.probing``.

    A finding that is a label of the table has the label's value. Of any other, the expert's report decides: 1 where it
    says that the finding, or one that implies it, is present; -1 where it is only possible; 0 where it is denied or not
    mentioned. A study without an expert's report, or whose report declines or is not English, is silent (-1).

    So is a finding that the labels call absent although another that is present implies it (a consolidation without an
    opacity): the standard contradicts itself there, and no question rests on it.

    Raises:
        ProtocolError: when the protocol has no probing, or a finding is neither a label of the data nor a finding of
            the ontology with an expert's report to read.
    """
    if protocol.probing is None:
        raise ProtocolError(
            "The protocol asks no questions.", remedy="Add 'probing' to the protocol.", column="probing"
        )
    words = vocabulary or vocabulary_for(protocol)
    names = protocol.probing.findings
    for name in names:
        phrase_of(name)
    truth = np.full((len(table), len(names)), SILENT, dtype=np.int8)
    unlabelled = [place for place, name in enumerate(names) if name not in table.labels]
    for place, name in enumerate(names):
        if name in table.labels:
            truth[:, place] = table.labels[name]
    if unlabelled:
        truth[:, unlabelled] = _from_reports(table, tuple(names[place] for place in unlabelled), words)
    return TruthRows(
        study_ids=table.study_ids,
        patient_ids=table.patient_ids,
        findings=names,
        truth=_without_contradictions(truth, names, words),
    )


def finding_in(name: str, vocabulary: Ontology) -> tuple[str, ...]:
    """Findings of the ontology that speak of what a protocol or a cohort calls ``name``; empty where none does."""
    for known in (name, known_as(name)):
        if known in vocabulary.titles:
            return (known,)
    return tuple(item for item in phrase_of(name).reads if item in vocabulary.titles)


def _from_reports(table: ShardTable, names: tuple[str, ...], words: Ontology) -> Truth:
    meant = [finding_in(name, words) for name in names]
    for name, known in zip(names, meant, strict=True):
        if not known or "reference" not in table.texts:
            raise ProtocolError(
                f"The protocol asks about '{name}', and the data do not tell its truth.",
                remedy=f"Add 'label.{name}' to the cohort, or 'text.reference' and a finding of the ontology, or take "
                "it out of 'probing.findings'.",
                column=f"label.{name}",
            )

    found = np.full((len(table), len(names)), SILENT, dtype=np.int8)
    for row, read in enumerate(read_texts(table.texts["reference"].tolist(), words)):
        if read.supported and not read.abstains:
            said = _with_ancestors(strongest(read.claims), words)
            found[row] = [_value([said[item] for item in known if item in said]) for known in meant]
    return found


def _with_ancestors(said: dict[str, Assertion], words: Ontology) -> dict[str, Assertion]:
    """What is said of each finding or follows from it: present, else possible, else denied."""
    found = dict(said)
    for strength in (Assertion.UNCERTAIN, Assertion.PRESENT):
        for finding, assertion in said.items():
            if assertion is strength:
                for general in words.ancestors[finding]:
                    if strength is Assertion.PRESENT or found.get(general) is not Assertion.PRESENT:
                        found[general] = strength
    return found


def _value(said: list[Assertion]) -> int:
    if Assertion.PRESENT in said:
        return PRESENT
    return SILENT if Assertion.UNCERTAIN in said else ABSENT


def _without_contradictions(truth: Truth, names: tuple[str, ...], words: Ontology) -> Truth:
    """Silent where a finding is called absent and another that is present implies it."""
    place = {known[0]: index for index, name in enumerate(names) if len(known := finding_in(name, words)) == 1}
    made = truth.copy()
    for finding, special in place.items():
        for general in words.ancestors[finding] & place.keys():
            clash = (truth[:, special] == PRESENT) & (truth[:, place[general]] == ABSENT)
            made[clash, place[general]] = SILENT
    return made
