"""The test over a monitor's whole life: may it alarm at this window, given all that it has looked at before?

Each stream of each window gives scores z that are independent standard normal while nothing changes (``residuals``). If
a stream shifts by ``d`` per patient from window j on, the score of window i >= j has mean ``d c_i`` with

    c_i = (M_j / M_i) sqrt(n_i M_i / (n_i + M_i)),

n_i patients in the window, M_i in its pool, which fills with shifted windows: the new state is learnt in time. With
``S = sum c_i z_i`` and ``V = sum c_i^2`` over i >= j, the mixture over ``d ~ N(0, t^2)``

    E_j = (1 + t^2 V)^(-1/2) exp(t^2 S^2 / (2 (1 + t^2 V)))

is a martingale with mean 1 while nothing changes, whatever d, j and t. So is every average whose weights are fixed in
advance: over two t; over the components of a stream, with a quarter on all of them shifting at once; over j, with
weights ``8 / ((j + 7) (j + 8))`` that sum to 1 over an endless life; over streams, families alike; half on all
patients and half on groups. The e-value is that average. By Ville's inequality it ever reaches ``1 / alpha`` with
probability at most alpha. An alarm asks for more: that the streams whose shift is over its margin reach it without the
others.

``alpha_spending``: the k-th look alarms where a p-value, corrected over streams, components and spans of windows (1, 2,
4, ... last ones), is at most ``6 alpha / (pi^2 k^2)``, which sums to alpha (Bonferroni). After an alarm was closed:
``sum over j of E_j`` against ``run_length``. Its mean after k windows is at most k while nothing changes, so the mean
number of windows to a false alarm is at least ``run_length``. That is exact for a reference chosen without a look at
it. A new cycle keeps a reference that took part in an alarm, or takes windows that were chosen by one: there it is
approximate, the more so the smaller the reference.

The state is the list of scores of the windows of this cycle, and nothing else: a window judged twice gives the same.

Source: Ville (1939); Robbins (1970), Annals of Mathematical Statistics 41:1397; Lai and Siegmund (1977); Shin, Ramdas
and Rinaldo (2023), e-detectors, NEJSDS 2:229; Pinelis (1998), Optimal tail comparison, Progress in Probability 43:297.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.records import RADIUS, Look, Residual, StreamShift
from evaluation.engine.protocol import Protocol
from evaluation.engine.protocol_drift import Drift, FalseAlarms

Floats = npt.NDArray[np.float64]
Key = tuple[str, str, str]
SHIFTS = (0.1, 0.4)
"""Standard deviations t of the shifts that are bet on, in standard deviations of one patient."""
STARTS = 8
"""Half of the weight lies on changes in the first 8 windows, four fifths in the first 32."""
TOGETHER = 0.25
"""Part of a stream's wealth on all its uncorrelated components shifting at once."""
NEWCOMERS = 0.125
"""Part of a stream's wealth on components that its first window did not have, such as a category seen later."""
OVERALL = 0.5
"""Part of the wealth on all patients; the rest is on groups."""
NAMED = 0.95
"""Alarming streams are named, the strongest first, until they make up this share of the alarm."""
FLOOR = 1e-300
E_PROCESS, ALPHA_SPENDING, RUN_LENGTH = "e_process", "alpha_spending", "run_length"


@dataclass(frozen=True)
class Track:
    """What one stream showed in the windows of a cycle.

    Attributes:
        z: float64 [..., windows, components]; NaN where a window says nothing of a component.
        gain: float64 [windows], ``c_i / M_j``: 0 where a window says nothing.
        pool: float64 [windows], patients in the pool of each window, or of the next one that has any; 0 after the last.
        shares: float64 [components], of the wealth; they sum to at most 1.
        joint: bool [components], whether it is uncorrelated with the others and is bet on together with them; None: all
            are.
    """

    z: Floats
    gain: Floats
    pool: Floats
    shares: Floats
    joint: npt.NDArray[np.bool_] | None = None


def look(
    protocol: Protocol, history: Sequence[Sequence[Residual]], shifts: Sequence[StreamShift], *, cycle: int
) -> Look:
    """What is known after the newest window of ``history``.

    Args:
        history: Residuals of every judged window of this cycle, in order; empty for one that had too few patients.
        shifts: Those of the newest window; streams without one that is over its margin cannot alarm.
        cycle: 1 until the first alarm was closed; from 2 on alarms are controlled by their run length.

    Returns:
        The look. ``onset`` counts from 1 in ``history``. With ``alpha_spending``, logarithms are of ``1 / p``.
    """
    rules = (protocol.drift or Drift()).false_alarms
    return look_at(
        rules,
        RUN_LENGTH if cycle > 1 else rules.method,
        tracks_of(history),
        weights_of(families_of(history)),
        shifts,
        judged=0 if not (history and history[-1]) else sum(bool(window) for window in history),
    )


def look_at(
    rules: FalseAlarms,
    method: str,
    tracks: Mapping[Key, Track],
    weights: Mapping[Key, float],
    shifts: Sequence[StreamShift],
    *,
    judged: int,
) -> Look:
    """:func:`look` by one method, on tracks that are there already.

    Args:
        judged: Windows that had patients enough, so far; 0 where the newest one had not.
    """
    over = _over_margin(shifts)
    if method == ALPHA_SPENDING:
        strength = {key: float(spent(track)) for key, track in tracks.items()}
        # By Bonferroni the least p-value over its weight counts, and not a sum.
        logs = {key: math.log(weights[key]) + found for key, found in strength.items()}
        total = max([0.0, *logs.values()])
        acted = max([0.0, *(value for key, value in logs.items() if key in over)])
    else:
        strength = {key: wealth(track, endless=method == E_PROCESS) for key, track in tracks.items()}
        logs = {key: math.log(weights[key]) + found for key, found in strength.items()}
        total, acted = log_sum(list(logs.values())), log_sum([value for key, value in logs.items() if key in over])
    threshold = _threshold(rules, method, judged)
    alarm = judged > 0 and acted >= threshold
    alarming = _alarming({key: logs[key] for key in over if key in logs}, threshold) if alarm else ()
    return Look(
        log_e=_finite(total if tracks else 0.0),
        log_e_over_margin=_finite(acted),
        threshold=threshold,
        alarm=alarm,
        streams={key: _finite(found) for key, found in strength.items()},
        onset=_onset(tracks, logs, alarming, method) if alarm else None,
        alarming=alarming,
        promise=_promise(rules, method, few=not judged),
        method=method,
    )


def tracks_of(history: Sequence[Sequence[Residual]]) -> dict[Key, Track]:
    """Residuals by stream, of those that the first window names: what joins later is watched from the next cycle on."""
    by_key: dict[Key, list[Residual | None]] = {key: [None] * len(history) for key in families_of(history)}
    for place, window in enumerate(history):
        for item in window:
            if item.z and key_of(item) in by_key:
                by_key[key_of(item)][place] = item
    return {key: _track(items) for key, items in sorted(by_key.items())}


def families_of(history: Sequence[Sequence[Residual]]) -> dict[Key, str]:
    """Family of each stream of the first window that was judged: what the wealth is split over, before its scores."""
    first = next((window for window in history if window), ())
    return {key_of(item): item.family.value for item in first}


def key_of(item: Residual | StreamShift) -> Key:
    return item.stream, item.attribute, item.group


def weights_of(families: Mapping[Key, str]) -> dict[Key, float]:
    """Part of the wealth of each stream: half overall and half by group, where there are groups.

    Then equal parts for attributes, for the groups of each, for families of streams, and for the streams of each.
    """
    attributes = {key[1] for key in families if key[1]}
    found: dict[Key, float] = {}
    for attribute in sorted({key[1] for key in families}):
        members = [key for key in families if key[1] == attribute]
        part = 1.0 if not attributes else OVERALL if not attribute else (1 - OVERALL) / len(attributes)
        groups = {key[2] for key in members}
        for group in groups:
            mine = [key for key in members if key[2] == group]
            kinds = [families[key] for key in mine]
            shared = part / len(groups) / len(set(kinds))
            found |= {key: shared / kinds.count(kind) for key, kind in zip(mine, kinds, strict=True)}
    return found


def prior(windows: int) -> Floats:
    """Weight of a change that begins in window 1, 2, ...: float64 [windows]; the rest is on later windows."""
    j = np.arange(1, windows + 1, dtype=np.float64)
    found: Floats = STARTS / ((j + STARTS - 1) * (j + STARTS))
    return found


def bets(track: Track) -> Floats:
    """Logarithm of the wealth of a bet on a change that begins in each window: float64 [..., windows]."""
    if not len(track.shares):
        return np.zeros(track.z.shape[:-1])
    scale = np.asarray(SHIFTS) ** 2
    sums, variances = _sums(track)
    spread = scale * variances[..., None]
    # [..., windows, components, t]; a component that no window names from there on has S = V = 0, and wealth 1.
    logs = scale * sums[..., None] ** 2 / (2 * (1 + spread)) - 0.5 * np.log1p(spread)
    alone = log_sum_of(np.logaddexp.reduce(logs, axis=-1) + np.log(track.shares / len(SHIFTS)), -1)
    missing = 1 - float(track.shares.sum())
    alone = np.logaddexp(alone, math.log(missing)) if missing > 1e-12 else alone
    joint = logs if track.joint is None else logs[..., track.joint, :]
    together = np.logaddexp.reduce(joint.sum(axis=-2), axis=-1) - math.log(len(SHIFTS))
    found: Floats = np.logaddexp(alone + math.log1p(-TOGETHER), together + math.log(TOGETHER))
    return found


def wealth(track: Track, *, endless: bool) -> float:
    """Logarithm of a stream's e-value after the last window; of its e-detector where not ``endless``."""
    return float(all_starts(bets(track), endless=endless))


def all_starts(found: Floats, *, endless: bool) -> Floats:
    """Bets on each beginning, put together: their average with what is kept for later ones, or their plain sum."""
    windows = found.shape[-1]
    if not endless:
        return log_sum_of(found, -1)
    begun = log_sum_of(found + np.log(prior(windows)), -1)
    made: Floats = np.logaddexp(begun, math.log(STARTS / (windows + STARTS)))
    return made


def spent(track: Track) -> Floats:
    """``-log p`` of a stream at the newest window, corrected over its components and over spans of windows.

    Scores of counts are means over their mass, so a sum of them is below the normal in convex order, and its tail is at
    most e times the normal one (Pinelis, 1998). That factor is paid, also where scores are normal themselves.
    """
    from scipy.special import log_ndtr

    windows = len(track.gain)
    if not windows or not track.gain[-1] or not len(track.shares):
        return np.zeros(track.z.shape[:-2])
    spans = [2**power for power in range(windows.bit_length()) if 2**power <= windows]
    starts = np.array([windows - span for span in spans])
    sums, variances = (part[..., starts, :] for part in _sums(track))
    scores = np.abs(sums) / np.sqrt(np.where(variances > 0, variances, 1.0))
    alone = math.log(2) + log_ndtr(-scores) - np.log(track.shares)
    found: Floats = np.maximum(0.0, -(alone.min(axis=(-2, -1)) + math.log(len(spans)) + 1))
    return found


def log_sum(logs: Sequence[float]) -> float:
    """Logarithm of the sum of exponentials; minus infinity for none."""
    return float(log_sum_of(np.asarray(logs, dtype=np.float64), -1)) if len(logs) else -math.inf


def log_sum_of(logs: Floats, axis: int) -> Floats:
    """:func:`log_sum` along one axis of finite numbers."""
    top = logs.max(axis=axis, keepdims=True)
    found: Floats = np.log(np.exp(logs - top).sum(axis=axis)) + np.squeeze(top, axis=axis)
    return found


def _sums(track: Track) -> tuple[Floats, Floats]:
    """S and V of a change that begins in each window: [..., windows, components]."""
    pool, gain = track.pool[:, None], track.gain[:, None]
    # V counts the windows that say something of the component, and no others.
    said = np.isfinite(track.z)
    return _from(np.where(said, track.z, 0.0) * gain) * pool, _from(gain**2 * said) * pool**2


def _from(values: Floats) -> Floats:
    """Sums from each window to the last, along the last axis but one."""
    return values[..., ::-1, :].cumsum(axis=-2)[..., ::-1, :]


def _track(items: Sequence[Residual | None]) -> Track:
    said = [(place, item) for place, item in enumerate(items) if item]
    places: dict[str, int] = {}
    for _, item in said:
        for name in item.components:
            places.setdefault(name, len(places))
    z = np.full((len(items), len(places)), np.nan)
    rows = np.array([row for row, _ in said], dtype=np.int64)
    names = {item.components for _, item in said}
    if len(names) == 1:
        z[rows] = [item.z for _, item in said]
    else:
        for row, item in said:
            z[row, [places[name] for name in item.components]] = item.z
    n, known = (np.array([getattr(item, name) for _, item in said]) for name in ("n", "baseline"))
    gain, pool = np.zeros(len(items)), np.zeros(len(items))
    gain[rows] = np.sqrt(n / (known * (n + known)))
    # Of a window that says nothing, the pool is that of the next which does.
    following = np.searchsorted(rows, np.arange(len(items)))
    pool[following < len(rows)] = known[following[following < len(rows)]]
    first = len(said[0][1].components) if said else 0
    joint = np.array([not name.startswith(RADIUS) for name in places], dtype=np.bool_)
    return Track(z=z, gain=gain, pool=pool, shares=shares_of(first, len(places)), joint=joint)


def shares_of(first: int, components: int) -> Floats:
    """Part of a stream's wealth on each component: the first window's alike, then ever less for each that joins."""
    place = np.arange(1, components + 1, dtype=np.float64)
    joined = np.maximum(place - first, 1)
    made: Floats = np.where(place <= first, (1 - NEWCOMERS) / max(first, 1), NEWCOMERS / (joined * (joined + 1)))
    return made


def _over_margin(shifts: Sequence[StreamShift]) -> set[Key]:
    """Streams whose shift is at or over its margin. A drop counts downwards only: to become better is no alarm."""
    found = set()
    for item in shifts:
        if item.value is not None:
            size = item.value if item.effect.endswith("_drop") else abs(item.value)
            if size >= item.margin:
                found.add(key_of(item))
    return found


def _threshold(rules: FalseAlarms, method: str, judged: int) -> float:
    if method == RUN_LENGTH:
        return math.log(rules.run_length)
    if method == ALPHA_SPENDING:
        return -math.log(6 * rules.alpha / (math.pi * max(judged, 1)) ** 2)
    return -math.log(rules.alpha)


def _alarming(logs: Mapping[Key, float], threshold: float) -> tuple[Key, ...]:
    """The strongest streams until they make up most of the alarm, and each that would alarm by itself."""
    total = log_sum(list(logs.values()))
    found: list[Key] = []
    covered = 0.0
    for key in sorted(logs, key=lambda name: (-logs[name], name)):
        if covered >= NAMED and logs[key] < threshold:
            break
        found.append(key)
        covered += math.exp(logs[key] - total)
    return tuple(found)


def _onset(tracks: Mapping[Key, Track], logs: Mapping[Key, float], alarming: Sequence[Key], method: str) -> int | None:
    """The beginning that the alarming streams together bet on most, from 1."""
    if not alarming:
        return None
    every = []
    for key in alarming:
        found = bets(tracks[key])
        begun = found + np.log(prior(len(found)))
        # Each stream speaks with its weight in the alarm, whatever the number of windows.
        every.append(begun - log_sum(list(begun)) + (logs[key] if method != ALPHA_SPENDING else 0.0))
    best: int = int(np.argmax(np.logaddexp.reduce(every, axis=0))) + 1
    return best


def _promise(rules: FalseAlarms, method: str, *, few: bool) -> str:
    if method == RUN_LENGTH:
        said = f"After an alarm was closed: at least {rules.run_length:,} windows on average until a false alarm."
    else:
        often = f"with probability at most {rules.alpha:g}, however often one looks"
        together = f"with probability at most {rules.alpha:g}, over all looks together"
        said = f"Any false alarm, ever, up to the first: {often if method == E_PROCESS else together}."
    return f"{said} This window has too few patients and was not judged." if few else said


def _finite(value: float) -> float:
    """JSON has no infinity."""
    return max(value, math.log(FLOOR))
