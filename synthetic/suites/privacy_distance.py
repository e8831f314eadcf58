"""Attacks by distance: whether synthetic patients lie nearer to those learnt than to others, copies, and membership."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.nearest import nearest
from synthetic.suites.privacy_arms import Arm, Arms
from synthetic.suites.privacy_shares import DRAWS, Bools, clustered, excess, membership
from synthetic.suites.values import Floats, Ints, word

TAIL = 0.05
NEAR = 0.01
"""Share of the patients held out that lie as near to a learnt one as what is called a near copy."""
FAR = 0.10
"""Share of the patients, those furthest from all of the audit's, that are called outliers."""
TINY = 1e-4
MOST_RATIO = 10.0
PAIRED = "Newcombe, paired, from Wilson limits"


def distance_figures(arms: Arms) -> list[Figure]:
    """Share nearer to learnt patients, the fifth percentile against that of those held out, and near copies."""
    if not arms.synthetic.rows.names:
        return [not_computed(metric, NO_COLUMN) for metric in ("dcr_share", "dcr_tail", "near_copies")]
    learnt, by_learnt = nearest(arms.synthetic.rows, arms.learnt.rows)
    held_out, by_held_out = nearest(arms.synthetic.rows, arms.held_out.rows)
    hits = (learnt < held_out) + 0.5 * (learnt == held_out)
    owner = np.where(learnt < held_out, by_learnt, len(arms.learnt) + by_held_out)
    value, error, worth = clustered(hits.astype(np.float64), owner)
    n = len(arms.synthetic)
    detail = {"real_patients_on_each_side": len(arms.learnt), "left_out": arms.left_out}
    share = Figure(
        metric="dcr_share", value=value, error=error, n=n, counted=MADE, method="clusters of one nearest real patient",
        detail=detail | {"worth_independent_patients": round(worth)},
    )  # fmt: skip
    near, _ = nearest(arms.held_out.rows, arms.learnt.rows)
    radius = float(np.quantile(near, NEAR))
    above, wide = excess(learnt <= radius, held_out <= radius)
    copies = Figure(
        metric="near_copies", value=above, error=wide, n=n, counted=MADE, least=-1.0, method=PAIRED,
        detail={
            "radius": radius, "near_to_learnt": float((learnt <= radius).mean()),
            "near_to_held_out": float((held_out <= radius).mean()),
        },
    )  # fmt: skip
    return [share, _tail(arms, (learnt, by_learnt), (held_out, by_held_out)), copies]


NO_COLUMN = "no column varies in all sets"
MADE = "synthetic patients"


def _tail(arms: Arms, learnt: tuple[Floats, Ints], held_out: tuple[Floats, Ints]) -> Figure:
    """Fifth percentile of the distance to the nearest learnt patient over that to the nearest held out.

    A distance belongs to a synthetic and to a real patient. Its variance is that of synthetic patients drawn again,
    plus that of the real ones, less that of distances drawn each on its own, which both hold.

    Source: Cameron, Gelbach and Miller (2011), Journal of Business and Economic Statistics 29:238.
    """
    ends = [float(np.quantile(distance, TAIL, method="inverted_cdf")) for distance, _ in (learnt, held_out)]
    if ends[1] <= 0:
        return not_computed("dcr_tail", "one in twenty synthetic patients equals one held out, so there is no ratio")
    rng, n = arms.rng("dcr tail"), len(arms.synthetic)
    sides = [(np.argsort(distance, kind="stable"), distance, owner) for distance, owner in (learnt, held_out)]

    def ratio(weights: list[Ints]) -> float:
        found = [_weighted(order, values, own) for (order, values, _), own in zip(sides, weights, strict=True)]
        return min(MOST_RATIO, found[0] / max(found[1], TINY))

    made = [ratio([own, own]) for own in rng.poisson(1.0, (DRAWS, n))]
    real = [ratio([rng.poisson(1.0, int(o.max()) + 1)[o] for _, _, o in sides]) for _ in range(DRAWS)]
    both = [ratio(list(own)) for own in rng.poisson(1.0, (DRAWS, 2, n))]
    variances = [float(np.var(drawn)) for drawn in (made, real, both)]
    variance = max(variances[0] + variances[1] - variances[2], *variances[:2])
    return Figure(
        metric="dcr_tail", value=min(MOST_RATIO, ends[0] / ends[1]), error=float(np.sqrt(variance)), n=n, counted=MADE,
        most=MOST_RATIO, detail={"learnt": ends[0], "held_out": ends[1]},
        method=f"bootstrap over synthetic and real patients, two-way, {DRAWS} draws each",
    )  # fmt: skip


def _weighted(order: Ints, values: Floats, weights: Ints) -> float:
    """The 5 % quantile of weighted values."""
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, TAIL * total[-1])])


def copy_figures(arms: Arms) -> list[Figure]:
    """Share of synthetic patients with a study that is equal, value by value, to a learnt one, less the same with those
    held out."""
    found = [_copies(arms, "records", _record)]
    if arms.synthetic.studies.images is None or arms.learnt.studies.images is None:
        return found
    return [*found, _copies(arms, "images", _image)]


def _copies(arms: Arms, of: str, keys: object) -> Figure:
    assert callable(keys)
    made = list(keys(arms.synthetic.studies))
    hits = [_any(arms.synthetic, made, set(keys(arm.studies)) - {b""}) for arm in (arms.learnt, arms.held_out)]
    value, error = excess(*hits)
    return Figure(
        metric="copies", of=of, value=value, error=error, n=len(arms.synthetic), counted=MADE, least=-1.0,
        method=PAIRED, detail={"of_learnt": float(hits[0].mean()), "of_held_out": float(hits[1].mean())},
    )  # fmt: skip


def _any(arm: Arm, keys: list[bytes], known: set[bytes]) -> Bools:
    """[patients] whether any study of the patient is known."""
    there = np.array([key in known for key in keys], dtype=np.bool_)
    return np.bincount(arm.owners(), weights=there, minlength=len(arm)) > 0


def _record(studies: LinkedStudies) -> Iterator[bytes]:
    """All attributes, labels, findings and readings of each study; not its keys and time, which are new, nor its texts,
    which have figures of their own."""
    columns = [[word(value) for value in values.tolist()] for values in studies.attributes.values()]
    columns += [values.tolist() for values in studies.plans.words().values()]
    columns += [values.astype(str).tolist() for values in studies.labels.values()]
    for row in range(len(studies)):
        told = "\0".join(column[row] for column in columns)
        readings = [values[row] for values in studies.series.values()]
        yield told.encode() + b"".join(
            b"-" if item is None else np.round(item, 6).tobytes() for item in readings
        )  # fmt: skip


def _image(studies: LinkedStudies) -> Iterator[bytes]:
    """Each image; empty where there is none."""
    assert studies.images is not None
    for image, there in zip(studies.images, studies.has_image.tolist(), strict=True):
        yield image.tobytes() if there else b""


def density_figures(arms: Arms) -> list[Figure]:
    """Membership by the ratio of densities: a patient around whom the synthetic ones lie denser than the real ones of
    the audit is taken for learnt. The density is that of the nearest neighbour."""
    names = ("domias_auc", "domias_tpr")
    if not arms.synthetic.rows.names:
        return [not_computed(metric, NO_COLUMN) for metric in names]
    scores, apart = [], []
    for arm in (arms.learnt, arms.held_out):
        made, real = nearest(arm.rows, arms.synthetic.rows)[0], nearest(arm.rows, arms.readers.rows)[0]
        scores.append(np.log(real + TINY) - np.log(made + TINY))
        apart.append(real)
    bound = float(np.quantile(np.concatenate(apart), 1 - FAR))
    far = [score[real > bound] for score, real in zip(scores, apart, strict=True)]
    found = membership(names, "", scores[0], scores[1], arms.rng("domias"))
    return found + membership(names, "outliers", far[0], far[1], arms.rng("domias", "outliers"))
