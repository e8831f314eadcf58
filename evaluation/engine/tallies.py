"""Families of metrics that are counted: whole numbers of each study, summed over groups, and what is made of the sums.

A family names its columns, the shares (ratios of sums) and what is derived from them (``d'``, a ratio of two shares).
``suites/tallied`` measures any family in every group, with intervals that respect patients, and judges criteria on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from evaluation.engine.registry import Basis


@dataclass(frozen=True, kw_only=True)
class ShareDefinition:
    """A share ``sum(w_j t_j) / sum(t_d)`` of the column sums t of a group's studies.

    Attributes:
        title: In a reader's words, such as ``share of the expert's findings that are omitted``.
        numerator: Column -> weight. A weight of -1 takes away, of 2 counts twice.
        denominator: Columns that are added up.
        complement: The share is one less that ratio.
        among: What the denominator counts, such as ``findings in the expert's reports``.
        persons: The patients behind the denominator.
        worse: +1 where a higher value is worse for the patients, -1 where a lower one is.
        worse_words: What a worse value means, of group A compared with B: has ``{one}`` and ``{two}``.
        proportion: It lies in 0 to 1, so Wilson's interval applies; else the linearised interval with t.
        beside: Metrics that are always told beside it: CHAIR is never told without omission.
        brief: A few words for it where it is told beside another; its name where there are none.
        judged: Whether a criterion may be written on it; what is only described has no gap either.
        parts: Keys of ``Utterances.why_not`` without which it is undefined, such as a kind or a condition.
        ideal: Where the metric may lie to either side of what is right: then a criterion bounds how far off it is. None
            where more, or less, is always worse.
        bounds: For what is no proportion: what the value cannot lie beyond; its interval ends there.
        aside: A column of what the denominator leaves out, and words for it: they are told where nothing is left.
        gap, gap_title: Name and title of its largest difference between groups: ``<metric>_difference`` and the title
            with "difference in" before it, unless told otherwise.
    """

    metric: str
    title: str
    numerator: Mapping[str, int]
    denominator: tuple[str, ...]
    among: str
    persons: str
    worse: int
    worse_words: str
    complement: bool = False
    proportion: bool = True
    beside: tuple[str, ...] = ()
    brief: str = ""
    judged: bool = True
    parts: tuple[str, ...] = ()
    ideal: float | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)
    aside: tuple[str, str] = ("", "")
    gap: str = ""
    gap_title: str = ""


@dataclass(frozen=True, kw_only=True)
class DerivedDefinition:
    """A smooth function of column sums, with a linearised interval (gradient by central differences).

    Attributes:
        compute: Column -> sum; gives the value, or None where it is undefined.
        undefined: Why it is undefined where it is, in words.
        denominator: Columns that say how much it rests on; also for n and patients.
        judged: Whether a criterion may be written on it (``at_most`` or ``at_least`` a margin).
        columns: Columns that the value changes with; all of them when empty.
        parts: As for a share.
        worse_words: As for a share; made from the title where it is "".
        bounds: What the value cannot lie beyond; its interval ends there.
        interval: Whether an interval is told. False where the value is at its least at 0 and flat there, so that a
            linearised interval would claim a certainty that it has not.
    """

    metric: str
    title: str
    compute: Callable[[Mapping[str, float]], float | None]
    undefined: str
    denominator: tuple[str, ...]
    among: str
    persons: str
    worse: int
    judged: bool = True
    columns: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    worse_words: str = ""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    interval: bool = True


Definition = ShareDefinition | DerivedDefinition


@dataclass(frozen=True, kw_only=True)
class TallyFamily:
    """Metrics over one table of whole numbers.

    Attributes:
        key: Also the ``label`` of its measurements and verdicts: ``report``, ``answers``, ``perturbed``.
        columns: In the order of the sketch's vectors. ``pairs``-like first column: 1 where the study counts at all.
        lengths: A column whose distribution is kept and described (words of a report); "" for none. Then ``written``
            is the column that is 1 where a study has such a length, ``length_metric`` the metric of its mean.
        missing: What the support tells of studies that do not count, as weights of columns.
        part: The key of ``Utterances.why_not`` without which nothing of the family is asked; "" where it asks nothing.
        of: What is said before a group: "reports of" women.
        cautious: Intervals of shares allow for errors that are too few to tell how alike those of one patient are; see
            ``suites/tallied/groups``. The fairness suite keeps the intervals that it was published with.
        unpermuted: Why a gap has no permutation test.
        basis: What a protocol must declare for a criterion on it.
        notes: Facts that a reader must know, told once with the results.
    """

    key: str
    columns: tuple[str, ...]
    shares: tuple[ShareDefinition, ...]
    derived: tuple[DerivedDefinition, ...] = ()
    lengths: str = ""
    written: str = ""
    length_metric: str = ""
    length_title: str = ""
    missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    part: str = ""
    of: str = "reports of"
    cautious: bool = True
    unpermuted: str = "reports are compared by cluster-robust variances"
    basis: Basis = Basis.REPORTS
    notes: tuple[str, ...] = field(default=())

    @property
    def rules(self) -> tuple[Definition, ...]:
        """Every metric of one group: the shares, then what is derived."""
        return (*self.shares, *self.derived)
