"""Synthetic reports against real ones: how surprising, how repetitive, and how often against themselves."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.consistency import report_faults
from synthetic.generators.reading import REPORT
from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import AuditSets, Figure, not_computed
from synthetic.suites.likeness_estimates import Estimate, per_patient, share
from synthetic.suites.likeness_gathering import figure, patient_codes, some_patients

LEAST_REPORTS = 50
MOST_PATIENTS = 2000
BLEU_REPORTS = 150
ORDER = 3
_WORD = re.compile(r"[a-z0-9]+(?:[.,/][0-9]+)*|[^\sa-z0-9]", re.IGNORECASE)
START, END, UNSEEN = "<s>", "</s>", "<unseen>"


def words_of(text: str) -> list[str]:
    """Words, numbers and marks of a text, in lower case."""
    return _WORD.findall(text.lower())


def reports_of(studies: LinkedStudies) -> LinkedStudies:
    """The studies with a report; none where the cohort has no reports."""
    if REPORT not in studies.texts:
        return studies.rows(np.zeros(len(studies), dtype=np.bool_))
    return studies.rows(np.array([bool(text and text.strip()) for text in studies.texts[REPORT]], dtype=np.bool_))


def no_reports(sets: AuditSets) -> str:
    """Why reports cannot be compared; empty where they can."""
    for name in ("learnt", "readers", "held_out", "synthetic"):
        if len(reports_of(getattr(sets, name))) < LEAST_REPORTS:
            return f"{name.replace('_', '-')} patients have fewer than {LEAST_REPORTS} reports"
    return ""


class TrigramModel:
    """A trigram language model with interpolated Kneser-Ney smoothing.

    ``P(w | u v) = max(c(u v w) - d, 0) / c(u v) + d N(u v) / c(u v) P(w | v)``, where lower orders count in how many
    contexts a word was seen, and N how many words followed. Words seen once stand for all that were never seen.

    Source: Chen and Goodman (1999), Computer Speech and Language 13:359.
    """

    def __init__(self, texts: Sequence[str], discount: float = 0.75) -> None:
        heard = [words_of(text) for text in texts]
        counts = Counter(word for words in heard for word in words)
        self._known = {word for word, n in counts.items() if n > 1} | {END}
        self._discount = discount
        triples: Counter[tuple[str, ...]] = Counter()
        for words in heard:
            padded = self._padded(words)
            triples.update(tuple(padded[k - 2 : k + 1]) for k in range(2, len(padded)))
        self._orders = []
        level: Counter[tuple[str, ...]] = triples
        for order in range(ORDER, 0, -1):
            if order < ORDER:
                level = Counter(gram[1:] for gram in level)
            after: Counter[tuple[str, ...]] = Counter()
            kinds: Counter[tuple[str, ...]] = Counter()
            for gram, n in level.items():
                after[gram[:-1]] += n
                kinds[gram[:-1]] += 1
            self._orders.append((level, after, kinds))
        self._uniform = 1 / (len(self._known) + 1)

    def _padded(self, words: Sequence[str]) -> list[str]:
        return [START, START, *(word if word in self._known else UNSEEN for word in words), END]

    def surprise(self, text: str) -> tuple[float, int]:
        """Sum of ``-log P`` over the words of a text and its end, in nats, and how many these are."""
        padded = self._padded(words_of(text))
        total = 0.0
        for k in range(2, len(padded)):
            total -= math.log(self._probability(padded[k - 2 : k + 1]))
        return total, len(padded) - 2

    def _probability(self, gram: Sequence[str]) -> float:
        found = self._uniform
        for order in range(1, ORDER + 1):
            level, after, kinds = self._orders[ORDER - order]
            end = tuple(gram[ORDER - order :])
            if seen := after.get(end[:-1], 0):
                kept = max(level.get(end, 0) - self._discount, 0.0) / seen
                found = kept + self._discount * kinds[end[:-1]] / seen * found
        return found


def perplexity(sets: AuditSets) -> Iterator[Figure]:
    """Perplexity of synthetic reports over that of held-out ones, under a model of the readers' reports."""
    model = TrigramModel(reports_of(sets.readers).texts[REPORT].tolist())
    made, learnt, held = (
        _surprise(model, some_patients(one, MOST_PATIENTS, seed=sets.seed, purpose="perplexity"))
        for one in (sets.synthetic, sets.learnt, sets.held_out)
    )
    ratio, null = (_ratio(one, held) for one in (made, learnt))
    yield figure("text_perplexity", ratio, null=null, counted="reports", most=1e6,
                 synthetic=math.exp(made.value), real=math.exp(held.value))  # fmt: skip


def _ratio(one: Estimate, other: Estimate) -> Estimate:
    apart = one.minus(other)
    return apart.mapped(math.exp, math.exp(apart.value))


def _surprise(model: TrigramModel, studies: LinkedStudies) -> Estimate:
    """Mean ``-log P`` of a word."""
    told = reports_of(studies)
    codes, patients = patient_codes(told)
    memory: dict[str, tuple[float, int]] = {}
    for text in told.texts[REPORT].tolist():
        if text not in memory:
            memory[text] = model.surprise(text)
    sums = np.array([memory[text] for text in told.texts[REPORT].tolist()])
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    part = per_patient((sums[:, 0] - value * sums[:, 1]) / sums[:, 1].sum(), codes, patients)
    return Estimate(value=value, parts=(part,), n=len(told))


def self_bleu(sets: AuditSets) -> Iterator[Figure]:
    """Mean BLEU-4 of a report against others of its set, less the real one."""
    made, learnt, held = (_repeated(one, sets.seed) for one in (sets.synthetic, sets.learnt, sets.held_out))
    yield figure("self_bleu", made.minus(held), null=learnt.minus(held), counted="reports", least=-1.0,
                 method=f"mean over reports, each against {BLEU_REPORTS} others", synthetic=made.value,
                 real=held.value)  # fmt: skip


def _repeated(studies: LinkedStudies, seed: int) -> Estimate:
    """One report of each of some patients against the reports of as many others."""
    told = reports_of(studies)
    codes, _ = patient_codes(told)
    first = np.unique(codes, return_index=True)[1]
    rows = first[generator(seed, "self bleu").permutation(len(first))[: 2 * BLEU_REPORTS]]
    grams = [_grams(words_of(told.texts[REPORT][row])) for row in rows]
    half = len(grams) // 2
    scores = np.array([bleu(one, grams[half:]) for one in grams[:half]])
    value = float(scores.mean())
    return Estimate(value=value, parts=((scores - value) / len(scores),), n=len(scores))


Grams = list[Counter[tuple[str, ...]]]


def _grams(words: Sequence[str]) -> Grams:
    return [Counter(zip(*(words[k:] for k in range(n)), strict=False)) for n in range(1, 5)]


def bleu(text: Grams, references: Sequence[Grams]) -> float:
    """BLEU-4 of a text against references, both as counts of their 1- to 4-grams; higher orders are smoothed by 1.

    Source: Papineni and others (2002); Zhu and others (2018), Texygen, for Self-BLEU.
    """
    logs = 0.0
    for n, grams in enumerate(text):
        most: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            for gram in grams:
                if (count := reference[n].get(gram, 0)) > most[gram]:
                    most[gram] = count
        hits = sum(min(count, most[gram]) for gram, count in grams.items())
        smooth = 1 if n else 0
        logs += math.log(max(1e-9, hits + smooth) / max(1e-9, sum(grams.values()) + smooth)) / 4
    length = sum(text[0].values())
    nearest = min((sum(reference[0].values()) for reference in references), key=lambda n: (abs(n - length), n))
    brief = 0.0 if length >= nearest else 1 - nearest / max(1, length)
    return math.exp(logs + brief)


def contradictions(sets: AuditSets) -> Iterator[Figure]:
    """The share of reports that contradict themselves, less the real one."""
    if not sets.synthetic.plans.findings:
        yield not_computed("contradictions", "the cohort has no findings to read reports for")
        return
    made, learnt, held = (_against(one, sets.seed) for one in (sets.synthetic, sets.learnt, sets.held_out))
    yield figure("contradictions", made.minus(held), null=learnt.minus(held), counted="reports", least=-1.0,
                 synthetic=made.value, real=held.value)  # fmt: skip


def _against(studies: LinkedStudies, seed: int) -> Estimate:
    told = reports_of(some_patients(studies, MOST_PATIENTS, seed=seed, purpose="contradictions"))
    codes, patients = patient_codes(told)
    faults = report_faults(told.texts[REPORT].tolist(), told.plans)
    return share(faults.itself.any(axis=1), codes, patients)
