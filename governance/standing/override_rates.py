"""How often clinicians overrule a system, and what too seldom and too often would mean. Numbers in, numbers out.

A rate is overrides over outputs that were shown, with Wilson's interval. Without outputs there is no rate. A group with
fewer than 11 outputs is not shown, and where one group alone would be hidden, the smallest other one is hidden with it,
since the total minus the rest would give it away.

Clinicians who look at outputs meet the model's errors. So the rate is held against the error rate that the last audit
measured:

- *Automation bias*: even if clinicians overruled just one in ten of the model's errors, so few overrides among so many
  outputs would have a probability below .05.
- *Distrust*: more outputs are overruled than the model errs, and chance explains that with a probability below .05.

Both are signals to look, tested again and again on one deployment; neither is a finding about a clinician.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.engine.statistics.intervals import wilson, z_of

LEAST = 11
"""Groups with fewer outputs are not shown."""
ALPHA = 0.05
NOTICED = 0.1
"""The share of the model's errors that clinicians overrule at the very least, if they look."""
NO_OUTPUTS = "No outputs were reported, so there is no rate."
TOO_MANY = "More overrides than outputs were reported: the numbers of outputs are not complete."
HIDDEN = f"Not shown: fewer than {LEAST} outputs, or another group could be worked out from it."


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Overrides of one site or group. ``value`` is None where there is no rate, and ``reason`` says why.

    Where the group is too small to be shown, the counts are None too.
    """

    name: str
    overrides: int | None
    outputs: int | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ErrorRate:
    """What the last audit measured: between ``low`` and ``high`` of the outputs are wrong, as a share of 1."""

    low: float
    high: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A signal about the oversight of one deployment, in words. ``kind``: ``automation_bias`` or ``distrust``."""

    kind: str
    title: str
    text: str
    probability: float


def rate_of(name: str, *, overrides: int, outputs: int, alpha: float = ALPHA) -> Rate:
    """The rate with its interval, or the reason why there is none. A total of too few outputs is hidden as well."""
    if outputs == 0:
        return Rate(name=name, overrides=overrides, outputs=0, reason=NO_OUTPUTS)
    if outputs < LEAST:
        return _hidden(name)
    if overrides > outputs:
        return Rate(name=name, overrides=overrides, outputs=outputs, reason=TOO_MANY)
    share = overrides / outputs
    low, high = wilson(share, outputs, z_of(alpha))
    return Rate(name=name, overrides=overrides, outputs=outputs, value=share, low=low, high=high)


def rates_by_group(counts: Mapping[str, tuple[int, int]], *, alpha: float = ALPHA) -> list[Rate]:
    """The rate of each group, in the order of their names, with what must not be shown hidden.

    Args:
        counts: Overrides and outputs by the group's name.
    """
    hidden = hidden_groups({name: outputs for name, (_, outputs) in counts.items()})
    return [
        _hidden(name) if name in hidden else rate_of(name, overrides=overrides, outputs=outputs, alpha=alpha)
        for name, (overrides, outputs) in sorted(counts.items())
    ]


def hidden_groups(outputs: Mapping[str, int]) -> frozenset[str]:
    """Names of the groups that are not shown: the small ones, and the smallest other one if that is only one."""
    small = {name for name, n in outputs.items() if n < LEAST}
    if len(small) == 1 and len(outputs) > 1:
        rest = {name: n for name, n in outputs.items() if name not in small}
        small.add(min(rest, key=lambda name: (rest[name], name)))
    return frozenset(small)


def _hidden(name: str) -> Rate:
    return Rate(name=name, overrides=None, outputs=None, reason=HIDDEN)


def zero_bound(outputs: int, *, alpha: float = ALPHA) -> float | None:
    """The greatest rate that no override among so many outputs is compatible with; None without outputs.

    The exact binomial bound: ``1 - alpha^(1/n)``, one-sided.
    """
    return None if outputs < 1 else 1 - alpha ** (1 / outputs)


def probability_of_so_few(overrides: int, outputs: int, rate: float) -> float:
    """Probability of at most so many overrides if each output is overruled with this probability."""
    from scipy.special import bdtr

    return float(bdtr(overrides, outputs, rate))


def probability_of_so_many(overrides: int, outputs: int, rate: float) -> float:
    """Probability of at least so many overrides if each output is overruled with this probability."""
    from scipy.special import bdtrc

    return 1.0 if overrides == 0 else float(bdtrc(overrides - 1, outputs, rate))


def mark_of(*, overrides: int, outputs: int, error: ErrorRate | None) -> Mark | None:
    """The signal that a rate gives, or None: also where there is nothing to compare it with."""
    if error is None or outputs == 0 or overrides > outputs:
        return None
    few = probability_of_so_few(overrides, outputs, NOTICED * error.low)
    if few < ALPHA:
        text = _few(overrides, outputs, error, few)
        return Mark(kind="automation_bias", title="Automation bias suspected", text=text, probability=few)
    many = probability_of_so_many(overrides, outputs, min(1.0, error.high))
    if many < ALPHA:
        text = _many(overrides, outputs, error, many)
        return Mark(kind="distrust", title="Clinicians do not trust it", text=text, probability=many)
    return None


def not_compared(*, overrides: int, outputs: int, error: ErrorRate | None) -> str:
    """Why a rate cannot be compared with the model's errors; empty where it can be."""
    if outputs == 0:
        return NO_OUTPUTS
    if overrides > outputs:
        return TOO_MANY
    if error is None:
        return "No audit of this version measured how often its outputs are wrong, so the rate cannot be compared."
    return ""


def _few(overrides: int, outputs: int, error: ErrorRate, probability: float) -> str:
    bound = zero_bound(outputs)
    none = overrides == 0 and bound is not None
    found = f"None of {outputs:,} outputs was overruled" if none else f"{overrides:,} of {outputs:,} outputs were"
    limit = f" At most {_share(bound)} of them can be, with 95 % confidence." if none and bound is not None else ""
    return (
        f"{found}{'' if none else ' overruled'}.{limit} {error.source} found that at least {_share(error.low)} of the "
        f"outputs are wrong. If clinicians overruled just one error in ten, so few overrides would have a probability "
        f"of {_p(probability)}. Either overrides are not reported, or outputs are followed unseen (Art. 14(4)(b) of "
        "the AI Act). Ask the site."
    )


def _many(overrides: int, outputs: int, error: ErrorRate, probability: float) -> str:
    return (
        f"{overrides:,} of {outputs:,} outputs were overruled. {error.source} found that at most {_share(error.high)} "
        f"of the outputs are wrong; chance would bring so many overrides with a probability of {_p(probability)}. "
        "Either the model is worse at this site than in the audit, or clinicians do not trust it. Look at the reasons "
        "they gave, and audit it on data of the site."
    )


def _share(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def _p(value: float) -> str:
    return "less than .001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def error_rate(accuracies: Sequence[tuple[float, float | None, float | None]], *, source: str) -> ErrorRate | None:
    """How often an output is wrong, from the accuracy of each label with its interval.

    An output is wrong if one of its labels is: at least as often as the worst label, at most as often as all of them
    together. The interval's ends that make a signal harder to give are taken.
    """
    if not accuracies:
        return None
    low = max(1 - (high if high is not None else value) for value, _, high in accuracies)
    high = sum(1 - (low_end if low_end is not None else value) for value, low_end, _ in accuracies)
    return ErrorRate(low=max(0.0, low), high=min(1.0, high), source=source)
