"""Which questions are asked of which study: a function of protocol, cohort and study alone.

True and untrue questions are balanced inside every study, so they are balanced in every group and every share of the
patients: a study with p findings that are present and a that are absent is asked about ``m = min(per_study, p, a)``
present ones, and about m absent ones of each kind. A study with no finding present has no true question to balance an
untrue one. It is asked about ``min(per_study, a)`` absent ones of each kind all the same, and these rows are counted
apart: whoever counts for F1 leaves out studies without a row of the kind ``present``.

Source: Li et al. (2023), EMNLP 292 (POPE), for the three kinds of negatives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import canonical_json
from core.errors import ProtocolError
from evaluation.engine.asking import SWAPPED, Asking, CohortTruth, Ints, ProbeKind, TruthRows
from evaluation.engine.probing.truth import ABSENT, PRESENT
from evaluation.engine.probing.wording import LETTERS, SEPARATOR, join_options, letter_of_none, questions_for
from evaluation.engine.protocol import Probing, Protocol
from evaluation.engine.statistics.seeds import generator

YES, NO, REJECT = "yes", "no", "reject"
MOST_LISTED = 3
"""Findings among the options of one question, beside "none of the above"."""

TRIES = 20
_HASHES = float(2**64)
Row = dict[str, Any]


def plan_probes(protocol: Protocol, rows: TruthRows, cohort: CohortTruth, *, reads: frozenset[str]) -> Asking:
    """The questions of a share of the studies.

    Patients are chosen by a hash of seed and patient, so that about ``probing.studies`` of the cohort's studies are
    asked about, whole patients at a time; all of them where the cohort has no more. What the reference standard leaves
    open (-1) is never asked about. The rows of a study depend on nothing but the study, the protocol and the cohort's
    sums; only the ``partner`` of a question about a wrong image must lie in the same share.

    - ``random``: absent findings, each equally likely. ``popular``: those that are most frequent in the cohort.
      ``adversarial``: those that occur most often together with the findings that are present (sum of the cohort's
      counts of both), then the more frequent, then by name; each is the twin (``pair``) of a question that is true.
      A study with no finding present has none, as nothing could mislead.
    - ``false_premise``: asks how large, how severe or where an absent finding is; expected ``reject``.
    - ``none_of_above``: up to three absent findings as options, expected the letter of "none of the above"; and where
      a finding is present, a second set with one that is present, as a control: whoever always says "none" fails it.
    - ``wrong_image``: about a finding that is present, with the image of another patient who does not have it; expected
      ``no``. Only where the modality is ``image`` and the model reads it.

    Args:
        rows: What is true of the share's studies.
        cohort: Sums over the whole cohort, of at least the same findings.
        reads: Modalities that the model reads.

    Raises:
        ProtocolError: when the protocol has no probing, a finding cannot be asked about, or its name has a ``|``.
    """
    probing = _checked(protocol)
    order = _in_order(rows, cohort)
    chosen = chosen_rows(protocol.seed, rows.patient_ids, probing.studies, cohort.n_studies)
    planner = _Planner(
        probing=probing,
        seed=protocol.seed,
        rows=rows,
        positives=cohort.positives[order],
        together=cohort.together[np.ix_(order, order)],
        kinds=frozenset(probing.kinds) - frozenset(not_asked(probing, reads)),
    )
    return Asking.of([row for study in chosen.tolist() for row in planner.of_study(study)])


def not_asked(probing: Probing, reads: frozenset[str]) -> dict[str, str]:
    """Kinds of the protocol that cannot be asked of a model that reads these modalities, and why, in words."""
    if ProbeKind.WRONG_IMAGE not in probing.kinds:
        return {}
    if probing.modality != "image":
        why = f"the protocol's questions rest on '{probing.modality}', not on the image"
    elif "image" not in reads:
        why = "the model reads no image"
    else:
        return {}
    return {ProbeKind.WRONG_IMAGE.value: why}


def chosen_rows(seed: int, patient_ids: npt.NDArray[np.object_], studies: int, n_studies: int) -> Ints:
    """Rows of the patients that are asked about: those whose hash lies below ``studies / n_studies``."""
    if studies >= n_studies:
        return np.arange(len(patient_ids), dtype=np.int64)
    share = studies / n_studies
    known: dict[str, bool] = {}
    for patient in patient_ids:
        if patient not in known:
            digest = hashlib.sha256(canonical_json([seed, "probing", str(patient)])).digest()
            known[patient] = int.from_bytes(digest[:8], "big") / _HASHES < share
    return np.flatnonzero([known[patient] for patient in patient_ids]).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """Everything that the rows of one study are made from. Findings are in the order of ``rows``."""

    probing: Probing
    seed: int
    rows: TruthRows
    positives: Ints
    together: Ints
    kinds: frozenset[str]

    def of_study(self, study: int) -> Iterator[Row]:
        truth = self.rows.truth[study]
        present, absent = np.flatnonzero(truth == PRESENT), np.flatnonzero(truth == ABSENT)
        if len(absent) == 0:
            return
        most = min(self.probing.per_study, len(absent))
        true = _draw(self._rng(study, ProbeKind.PRESENT), present, most)
        count = len(true) or most
        yield from self._true(study, true)
        if ProbeKind.RANDOM in self.kinds:
            drawn = _draw(self._rng(study, ProbeKind.RANDOM), absent, count)
            yield from self._untrue(study, ProbeKind.RANDOM, drawn)
        if ProbeKind.POPULAR in self.kinds:
            yield from self._untrue(study, ProbeKind.POPULAR, self._ranked(absent, self.positives)[:count])
        if ProbeKind.ADVERSARIAL in self.kinds and true:
            likely = self._ranked(absent, self.together[present].sum(axis=0))[:count]
            yield from self._untrue(study, ProbeKind.ADVERSARIAL, likely, twins=True)
        if ProbeKind.FALSE_PREMISE in self.kinds:
            drawn = _draw(self._rng(study, ProbeKind.FALSE_PREMISE), absent, count)
            yield from self._untrue(study, ProbeKind.FALSE_PREMISE, drawn, expected=REJECT)
        if ProbeKind.NONE_OF_ABOVE in self.kinds:
            yield from self._choices(study, present, absent)
        if ProbeKind.WRONG_IMAGE in self.kinds:
            yield from self._wrong_images(study, true)

    def _rng(self, study: int, kind: ProbeKind) -> np.random.Generator:
        """Every kind has draws of its own: leaving one out changes no row of the others."""
        return generator(self.seed, "probing", kind.value, str(self.rows.study_ids[study]))

    def _true(self, study: int, findings: Sequence[int]) -> Iterator[Row]:
        paired = ProbeKind.ADVERSARIAL in self.kinds
        for place, finding in enumerate(findings):
            yield self._row(study, ProbeKind.PRESENT, self._name(finding), YES, pair=place if paired else -1)

    def _untrue(
        self, study: int, kind: ProbeKind, findings: Sequence[int], *, expected: str = NO, twins: bool = False
    ) -> Iterator[Row]:
        for place, finding in enumerate(findings):
            yield self._row(study, kind, self._name(finding), expected, pair=place if twins else -1)

    def _ranked(self, findings: Ints, weight: Ints) -> list[int]:
        """By weight, then by frequency in the cohort, then by name."""
        return sorted(
            findings.tolist(),
            key=lambda item: (-int(weight[item]), -int(self.positives[item]), self._name(item)),
        )

    def _choices(self, study: int, present: Ints, absent: Ints) -> Iterator[Row]:
        """A set of absent findings; and, as a control, one in which a finding is present."""
        if len(absent) < 2:
            return
        rng = self._rng(study, ProbeKind.NONE_OF_ABOVE)
        listed = [self._name(item) for item in _draw(rng, absent, MOST_LISTED)]
        yield self._row(study, ProbeKind.NONE_OF_ABOVE, join_options(listed), letter_of_none(listed))
        if len(present):
            right = self._name(int(rng.choice(present)))
            wrong = [self._name(item) for item in _draw(rng, absent, len(listed) - 1)]
            options = [str(item) for item in rng.permutation([right, *wrong])]
            yield self._row(study, ProbeKind.NONE_OF_ABOVE, join_options(options), LETTERS[options.index(right)])

    def _wrong_images(self, study: int, true: Sequence[int]) -> Iterator[Row]:
        rng = self._rng(study, ProbeKind.WRONG_IMAGE)
        for finding in true:
            partner = self._partner(study, finding, rng)
            if partner is not None:
                yield self._row(
                    study, ProbeKind.WRONG_IMAGE, self._name(finding), NO, condition=SWAPPED, partner=partner
                )

    def _partner(self, study: int, finding: int, rng: np.random.Generator) -> int | None:
        """A study of another patient in which the finding is absent; None where the share has none."""
        without = self._without[finding]
        start = int(rng.integers(0, max(1, len(without))))
        for step in range(len(without)):
            candidate = int(without[(start + step) % len(without)])
            if self.rows.patient_ids[candidate] != self.rows.patient_ids[study]:
                return candidate
        return None

    @cached_property
    def _without(self) -> list[Ints]:
        """Studies in which each finding is absent, in the order of their names."""
        order = np.argsort(self.rows.study_ids.astype(str), kind="stable")
        return [order[self.rows.truth[order, finding] == ABSENT] for finding in range(len(self.rows.findings))]

    def _row(self, study: int, kind: ProbeKind, finding: str, expected: str, **more: Any) -> Row:
        words = questions_for(kind, finding, self.probing.modality)[0]
        asked = {"study": study, "kind": kind.value, "finding": finding, "expected": expected, "question": words}
        return {**asked, **more}

    def _name(self, finding: int) -> str:
        return self.rows.findings[finding]


def _draw(rng: np.random.Generator, findings: Ints, count: int) -> list[int]:
    """Up to ``count`` of the findings, each equally likely, in random order."""
    drawn: list[int] = rng.permutation(findings)[:count].tolist()
    return drawn


def _checked(protocol: Protocol) -> Probing:
    if protocol.probing is None:
        raise ProtocolError(
            "The protocol asks no questions.", remedy="Add 'probing' to the protocol.", column="probing"
        )
    for name in protocol.probing.findings:
        if SEPARATOR in name:
            raise ProtocolError(
                f"The finding '{name}' has a '{SEPARATOR}' in its name.",
                remedy="Rename the label; the sign joins the options of a question.",
                column="probing.findings",
            )
    return protocol.probing


def _in_order(rows: TruthRows, cohort: CohortTruth) -> list[int]:
    """Where each finding of the rows stands in the cohort's sums."""
    missing = [name for name in rows.findings if name not in cohort.findings]
    if missing:
        raise ProtocolError(
            f"The cohort's counts lack the finding '{missing[0]}'.",
            remedy="Count the cohort with the findings of 'probing.findings'.",
            column="probing.findings",
        )
    return [cohort.findings.index(name) for name in rows.findings]
