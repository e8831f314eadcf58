"""Answers to questions that the cohort knows: accuracy, bias towards "yes", false premises, refusals.

A study is counted by whole numbers, see :data:`COLUMNS`. The figures of POPE (accuracy, precision, F1, yes ratio) rest
on studies with a finding present, where true and untrue questions are as many; so they are comparable between groups
whose findings are not equally common. Untrue questions about studies without any finding are a figure of their own.

A refusal is neither "no" nor right: it counts among the questions, never among the right answers nor among the answers
that say yes or no. Source: Li et al. (2023), EMNLP 292 (POPE); Green and Swets (1966) for d'; Hautus (1995), Behavior
Research Methods, Instruments, & Computers 27:46, for its correction.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from core.digests import sha256_json
from evaluation.engine.asking import PLAIN, SWAPPED, Objects, ProbeKind, Utterances
from evaluation.engine.probing.answers import Answer, read_answers
from evaluation.engine.probing.wording import letter_of_none, options_of, wording
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.registry import Basis
from evaluation.engine.sketches.tallies import TallyRows
from evaluation.engine.tallies import DerivedDefinition, ShareDefinition, TallyFamily
from evaluation.engine.text.pairing import vocabulary_for

Flags = npt.NDArray[np.bool_]
KEY = "answers"
PART = "probing"
NOT_ASKED = "no questions were asked with these predictions"
UNTRUE = (ProbeKind.RANDOM.value, ProbeKind.POPULAR.value, ProbeKind.ADVERSARIAL.value)
NAMES = {"random": "random", "popular": "frequent", "adversarial": "misleading"}

COLUMNS = (
    "studies",
    *("questions", "refused", "unparseable", "truncated", "at_limit"),
    *("present", "present_yes", "present_no"),
    *(f"{kind}{part}" for kind in UNTRUE for part in ("", "_yes", "_no")),
    *("hits", "misses", "alarms", "rejections"),
    *("twins", "twins_right"),
    *("healthy", "healthy_yes"),
    *("premises", "premises_accepted"),
    *("sets", "sets_right", "controls", "controls_right"),
    *("swapped", "swapped_yes"),
)
"""What is counted of a study.

- ``studies``: 1 where it was asked about. ``questions``: all of them; of these, ``refused``, ``unparseable``, and
  ``truncated``: cut off before they answered. ``at_limit``: ended at the limit of tokens, answered or not.
- ``present``: questions that are true; ``random``, ``popular``, ``adversarial``: untrue ones of the study, as many of
  each; ``_yes`` and ``_no``: so answered.
- ``hits``, ``misses``: true questions answered yes, no, once for each kind of untrue ones that was asked; ``alarms``,
  ``rejections``: untrue ones of all kinds answered yes, no.
- ``twins``: true questions with a misleading untrue twin; ``twins_right``: both are answered rightly.
- ``healthy``: untrue questions about a study without any finding; ``healthy_yes``: answered yes.
- ``premises``: questions with a false premise; ``premises_accepted``: answered as if it were true.
- ``sets``: options of which none is there; ``controls``: of which one is; ``_right``: rightly chosen.
- ``swapped``: questions about a finding with the image of a patient without it; ``swapped_yes``: answered yes.
"""

YES_OR_NO = ("hits", "misses", "alarms", "rejections")
WEIGHED = "answers that say yes or no, those to true questions once for each kind of untrue ones"
ANSWERED = ("present_yes", "present_no", *(f"{kind}_{said}" for kind in UNTRUE for said in ("yes", "no")))


def rows_of(protocol: Protocol, table: ShardTable) -> TallyRows:
    """What each study contributes. Samples and perturbed answers are other families', and are left out.

    Returns:
        Zeros, with the reason, where nothing was asked.
    """
    values = np.zeros((len(table), len(COLUMNS)), dtype=np.int64)
    vocabulary = vocabulary_for(protocol)
    digest = sha256_json([vocabulary.digest, wording().version])
    if table.utterances is None:
        return TallyRows(columns=COLUMNS, values=values, digest=digest, why_not={PART: NOT_ASKED})
    asked = table.utterances.asked
    wrong = asked.kind == ProbeKind.WRONG_IMAGE.value
    ours = np.isin(asked.kind, [kind.value for kind in ProbeKind])
    chosen = ours & np.where(wrong, asked.condition == SWAPPED, asked.condition == PLAIN)
    utterances = table.utterances.rows(chosen)
    if len(utterances):
        _count(values, utterances, read_answers(utterances, vocabulary))
    return TallyRows(columns=COLUMNS, values=values, digest=digest, why_not=utterances.why_not)


def _count(values: npt.NDArray[np.int64], utterances: Utterances, answers: Objects) -> None:
    """Add every answer to the row of its study."""
    asked, given = utterances.asked, np.array([str(answer) for answer in answers], dtype=object)
    right, yes, no = given == asked.expected, given == Answer.YES.value, given == Answer.NO.value

    def add(column: str, which: Flags) -> None:
        np.add.at(values[:, COLUMNS.index(column)], asked.study[which], 1)

    values[np.unique(asked.study), 0] = 1
    add("questions", np.ones(len(given), dtype=bool))
    for answer in (Answer.REFUSED, Answer.UNPARSEABLE, Answer.TRUNCATED):
        add(answer.value, given == answer.value)
    add("at_limit", utterances.truncated.astype(bool))
    kind = asked.kind
    true = kind == ProbeKind.PRESENT.value
    ill = np.isin(asked.study, asked.study[true])
    for name, which in ((ProbeKind.PRESENT.value, true), *((name, (kind == name) & ill) for name in UNTRUE)):
        add(name, which)
        add(f"{name}_yes", which & yes)
        add(f"{name}_no", which & no)
    healthy = np.isin(kind, UNTRUE) & ~ill
    add("healthy", healthy)
    add("healthy_yes", healthy & yes)
    premise, choice = kind == ProbeKind.FALSE_PREMISE.value, kind == ProbeKind.NONE_OF_ABOVE.value
    add("premises", premise)
    add("premises_accepted", premise & yes)
    none = np.array([letter_of_none(options_of(item)) for item in asked.finding], dtype=object)
    for name, which in (("sets", choice & (asked.expected == none)), ("controls", choice & (asked.expected != none))):
        add(name, which)
        add(f"{name}_right", which & right)
    add("swapped", kind == ProbeKind.WRONG_IMAGE.value)
    add("swapped_yes", (kind == ProbeKind.WRONG_IMAGE.value) & yes)
    _count_twins(values, utterances, right)
    _pool(values)


def _count_twins(values: npt.NDArray[np.int64], utterances: Utterances, right: Flags) -> None:
    asked = utterances.asked
    rows = np.flatnonzero(asked.pair >= 0)
    pairs: dict[tuple[int, int], list[bool]] = {}
    for row in rows.tolist():
        pairs.setdefault((int(asked.study[row]), int(asked.pair[row])), []).append(bool(right[row]))
    for (study, _), both in pairs.items():
        if len(both) == 2:
            values[study, COLUMNS.index("twins")] += 1
            values[study, COLUMNS.index("twins_right")] += all(both)


def _pool(values: npt.NDArray[np.int64]) -> None:
    """True and untrue answers over all kinds of untrue questions: true ones count once for each kind."""
    place = {name: index for index, name in enumerate(COLUMNS)}
    kinds = sum((values[:, place[kind]] > 0).astype(np.int64) for kind in UNTRUE)
    values[:, place["hits"]] = values[:, place["present_yes"]] * kinds
    values[:, place["misses"]] = values[:, place["present_no"]] * kinds
    values[:, place["alarms"]] = sum(values[:, place[f"{kind}_yes"]] for kind in UNTRUE)
    values[:, place["rejections"]] = sum(values[:, place[f"{kind}_no"]] for kind in UNTRUE)


def sensitivity(sums: Mapping[str, float]) -> float | None:
    """``d' = z(H) - z(F)`` of answers that say yes or no; None without a true or without an untrue one.

    ``H = (yes to true + p) / (true + 2 p)`` with p the share of true ones among all, F likewise with 1 - p: the
    log-linear correction, so that neither is 0 or 1, shared out so that who always says the same has a d' of 0 however
    many more untrue questions there are. z is the quantile of the normal distribution.

    Source: Hautus (1995), Behavior Research Methods, Instruments, & Computers 27:46.
    """
    from scipy.special import ndtri

    true = sums["present_yes"] + sums["present_no"]
    alarms = sum(sums[f"{kind}_yes"] for kind in UNTRUE)
    untrue = alarms + sum(sums[f"{kind}_no"] for kind in UNTRUE)
    if true <= 0 or untrue <= 0:
        return None
    share = true / (true + untrue)
    hit_rate = (sums["present_yes"] + share) / (true + 2 * share)
    alarm_rate = (alarms + 1 - share) / (untrue + 2 * (1 - share))
    return float(ndtri(hit_rate) - ndtri(alarm_rate))


def _pope(kind: str) -> tuple[ShareDefinition, ...]:
    """Accuracy, precision and F1 over the true questions and as many untrue ones of one kind."""
    what, persons = f"{NAMES[kind]} negatives", "patients who were asked about, with a finding present"
    return (
        ShareDefinition(
            metric=f"pope_accuracy_{kind}", title=f"share of right answers, {what} (POPE accuracy)",
            numerator={"present_yes": 1, f"{kind}_no": 1}, denominator=("present", kind), among="yes or no questions",
            persons=persons, worse=-1, parts=(kind,), beside=("refusal_rate",),
            worse_words=f"questions about {{one}} are answered rightly less often than about {{two}} ({what})",
        ),
        ShareDefinition(
            metric=f"pope_precision_{kind}", title=f"share of yes answers that are right, {what} (POPE precision)",
            numerator={"present_yes": 1}, denominator=("present_yes", f"{kind}_yes"), among="answers that say yes",
            persons="patients of whom a question was answered yes", worse=-1, parts=(kind,), beside=("pope_recall",),
            worse_words=f"a yes about {{one}} is right less often than one about {{two}} ({what})",
        ),
        ShareDefinition(
            metric=f"pope_f1_{kind}", title=f"F1 of yes answers, {what} (POPE F1)", numerator={"present_yes": 2},
            denominator=("present", "present_yes", f"{kind}_yes"), among="true questions and answers that say yes",
            persons=persons, worse=-1, parts=(kind,), beside=("yes_ratio",),
            worse_words=f"yes answers agree less with the truth of {{one}} than of {{two}} ({what})",
        ),
    )  # fmt: skip


_SHARES = (
    *(share for kind in UNTRUE for share in _pope(kind)),
    ShareDefinition(
        metric="pope_recall", brief="present findings affirmed",
        title="share of present findings that are affirmed (POPE recall)",
        numerator={"present_yes": 1}, denominator=("present",), among="questions about findings that are present",
        persons="patients who were asked about a present finding", worse=-1, beside=("yes_ratio",),
        worse_words="findings of {one} that are present are affirmed less often than those of {two}",
    ),
    ShareDefinition(
        metric="yes_ratio", title="share of answers that say yes", numerator={"hits": 1, "alarms": 1},
        denominator=YES_OR_NO, among=WEIGHED, persons="patients of whom a question was answered",
        worse=1, worse_words="", judged=False,
    ),
    ShareDefinition(
        metric="yes_bias", title="bias towards yes", ideal=0.0, numerator={"alarms": 1, "misses": -1},
        denominator=YES_OR_NO, among=WEIGHED, persons="patients of whom a question was answered", worse=1,
        worse_words="answers about {one} lean more towards yes than those about {two}", proportion=False,
        beside=("yes_ratio",), bounds=(-1.0, 1.0),
    ),
    ShareDefinition(
        metric="paired_accuracy", title="share of true questions answered rightly together with their misleading twin",
        numerator={"twins_right": 1}, denominator=("twins",), among="pairs of questions",
        persons="patients who were asked a pair of questions", worse=-1, parts=("adversarial",),
        worse_words="pairs of questions about {one} are both answered rightly less often than about {two}",
    ),
    ShareDefinition(
        metric="yes_without_findings", title="share of questions about studies without any finding answered yes",
        numerator={"healthy_yes": 1}, denominator=("healthy",), among="questions about studies without any finding",
        persons="patients who were asked about, without any finding", worse=1, beside=("pope_recall",),
        worse_words="a finding is invented more often in studies of {one} without any than in those of {two}",
    ),
    ShareDefinition(
        metric="refusal_rate", title="share of questions that are refused", numerator={"refused": 1},
        denominator=("questions",), among="questions", persons="patients who were asked about", worse=1,
        worse_words="questions about {one} are refused more often than those about {two}",
    ),
    ShareDefinition(
        metric="unparseable_rate", title="share of answers that settle nothing that can be read",
        numerator={"unparseable": 1}, denominator=("questions",), among="questions",
        persons="patients who were asked about", worse=1,
        worse_words="answers about {one} cannot be read more often than those about {two}",
    ),
    ShareDefinition(
        metric="truncated_rate", title="share of answers cut off at the limit of tokens before they answered",
        numerator={"truncated": 1}, denominator=("questions",), among="questions",
        persons="patients who were asked about", worse=1,
        worse_words="answers about {one} are cut off more often than those about {two}",
    ),
    ShareDefinition(
        metric="at_limit_rate", title="share of answers that ended at the limit of tokens", numerator={"at_limit": 1},
        denominator=("questions",), among="questions", persons="patients who were asked about", worse=1,
        worse_words="", judged=False,
    ),
    ShareDefinition(
        metric="false_premise_acceptance", title="share of false premises that are accepted",
        numerator={"premises_accepted": 1}, denominator=("premises",), among="questions with a false premise",
        persons="patients who were asked a question with a false premise", worse=1, parts=("false_premise",),
        worse_words="false premises about {one} are accepted more often than about {two}", beside=("refusal_rate",),
    ),
    ShareDefinition(
        metric="none_of_above_accuracy", brief="none chosen rightly",
        title="share of sets without a present finding of which none is chosen",
        numerator={"sets_right": 1}, denominator=("sets",), among="sets of options of which none is present",
        persons="patients who were asked to choose", worse=-1, parts=("none_of_above",), beside=("option_accuracy",),
        worse_words="an absent finding of {one} is chosen from a set more often than of {two}",
    ),
    ShareDefinition(
        metric="option_accuracy", brief="present option chosen",
        title="share of sets with one present finding of which it is chosen",
        numerator={"controls_right": 1}, denominator=("controls",), among="sets of options of which one is present",
        persons="patients who were asked to choose, with a finding present", worse=-1, parts=("none_of_above",),
        worse_words="the present finding of {one} is chosen from a set less often than of {two}",
        beside=("none_of_above_accuracy",),
    ),
    ShareDefinition(
        metric="wrong_image_yes", title="share of findings still affirmed with the image of a patient without them",
        numerator={"swapped_yes": 1}, denominator=("swapped",), among="questions with another patient's image",
        persons="patients who were asked about with another's image", worse=1, parts=("wrong_image",),
        worse_words="findings of {one} are affirmed without their image more often than those of {two}",
        beside=("pope_recall",),
    ),
)  # fmt: skip

FAMILY = TallyFamily(
    key=KEY,
    columns=COLUMNS,
    shares=_SHARES,
    derived=(
        DerivedDefinition(
            metric="d_prime", title="sensitivity of yes or no answers (d')", compute=sensitivity,
            undefined="no true or no untrue question was answered yes or no", denominator=ANSWERED,
            among="answers that say yes or no", persons="patients of whom a question was answered", worse=-1,
            worse_words="answers tell present from absent findings of {one} less well than of {two}",
            columns=ANSWERED,
        ),
    ),
    part=PART,
    of="answers about",
    unpermuted="answers are compared by cluster-robust variances",
    basis=Basis.PROBES,
    notes=(
        "A refused, unparseable or cut off answer counts as a question that is not answered rightly; it is neither yes "
        "nor no.",
        "Answers are read by rules for English; what they cannot read is counted as unparseable, never guessed.",
        "A model that says yes to everything has a POPE F1 of .667, a yes ratio of 1 and no pair right.",
    ),
)  # fmt: skip
"""Every metric, by the columns.

- ``pope_accuracy_<kind>``: ``(present_yes + <kind>_no) / (present + <kind>)``; ``pope_precision_<kind>``:
  ``present_yes / (present_yes + <kind>_yes)``; ``pope_recall``: ``present_yes / present``; ``pope_f1_<kind>``:
  ``2 present_yes / (present + present_yes + <kind>_yes)``. A model that always says yes has 2/3.
- ``yes_ratio``: ``(hits + alarms) / answers``; ``yes_bias``: that, less the share of true questions among those that
  are answered, ``(alarms - misses) / answers``: from -1 to 1, 0 for who errs as often to either side.
- ``d_prime``: see :func:`sensitivity`.
- ``paired_accuracy``: ``twins_right / twins``. Who always says yes, or no, has 0.
"""
