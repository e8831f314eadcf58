"""Chest-like pictures in which the findings can be seen: where they are, on which side, and how severe.

Coordinates run from -1 to 1; x to the right of the picture (the patient's left), y downwards. Everything is
computed for a whole block of studies at once.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.simulator.fine_pictures import DRAWN, LINE_WIDTH, averaged, fine_texture, rib_edges, vessels
from synthetic.simulator.names import FINDINGS
from synthetic.simulator.patients import Studies
from synthetic.simulator.rare_pictures import rare_signs

Block = npt.NDArray[np.floating]

EFFUSION, PNEUMOTHORAX, CONSOLIDATION, CARDIOMEGALY = range(len(FINDINGS))
LUNG_X, LUNG_Y, LUNG_WIDTH, LUNG_HEIGHT = 0.44, -0.08, 0.36, 0.74
ZONE_Y = np.array([-0.42, -0.06, 0.28], dtype=np.float32)
FINE_BLOCK = 128
"""Fine pictures that are drawn at a time: bounds the memory."""

SCANNER_LOOK = {
    "Aquila DR": (1.0, 1.00, 0.020),
    "Borealis CR": (0.94, 1.10, 0.030),
    "Corvus mobile": (1.05, 0.92, 0.028),
}
"""Gain, gamma and noise of each scanner."""


def render(
    studies: Studies,
    rows: npt.NDArray[np.int64],
    size: int,
    rng: np.random.Generator,
    *,
    rare: npt.NDArray[np.float64] | None = None,
    noise: float = 1.0,
    fine: bool = False,
) -> npt.NDArray[np.uint8]:
    """Grey pictures uint8 [len(rows), size, size] of the studies in ``rows``.

    Args:
        rare: [n, 5] severity of the rare diseases that the pictures show, for all studies of the cohort.
        noise: Factor on the scanners' noise for changed studies.
        fine: Draw the detail that a large picture has room for. Equal random numbers then give the same patients at
            every size.
    """
    signs = None if rare is None else rare[rows].astype(np.float32)
    grains = np.where(studies.changed[rows], np.float32(noise), np.float32(1))[:, None, None]
    scanners = studies.scanner[rows]
    if not fine:
        return _expose(_draw(studies, rows, size, rng, signs), scanners, grains, rng, rng)
    of_detector = rng.spawn(1)[0]
    drawn = [np.empty((0, size, size), dtype=np.uint8)]
    for start in range(0, len(rows), FINE_BLOCK):
        part = slice(start, start + FINE_BLOCK)
        picture = _draw(studies, rows[part], DRAWN, rng, None if signs is None else signs[part], fine=True)
        drawn.append(_expose(averaged(picture, size), scanners[part], grains[part], rng, of_detector))
    return np.concatenate(drawn)


def _draw(
    studies: Studies,
    rows: npt.NDArray[np.int64],
    size: int,
    rng: np.random.Generator,
    rare: npt.NDArray[np.float32] | None,
    *,
    fine: bool = False,
) -> Block:
    """Pictures [len(rows), size, size] before a scanner has taken them."""
    shown = np.clip(studies.seen[rows], 0, 2.2).astype(np.float32)[:, :, None, None]
    right, both = studies.right[rows], studies.both[rows]
    x, y = _grid(len(rows), size, rng)
    texture = fine_texture(len(rows), rng) if fine else _texture(len(rows), size, rng)
    picture = _thorax(x, y)
    lungs = np.zeros_like(picture)
    for side in (-1, 1):
        # The patient's right lung is on the left of the picture.
        here = (both | (right == (side == -1))).astype(np.float32)[:, :, None, None]
        lung = _Lung(x, y, side)
        air = lung.air(texture)
        if fine:
            turns = rng.normal(0, (0.35, 0.25), size=(len(rows), 2)).astype(np.float32)
            air += vessels(x, y, side, turns) + rib_edges(lung.lateral, y)
        air = lung.with_pneumothorax(air, shown[:, PNEUMOTHORAX] * here[:, PNEUMOTHORAX], LINE_WIDTH if fine else 0.04)
        zone = ZONE_Y[studies.zone[rows]][:, None, None]
        air += lung.consolidation(texture, shown[:, CONSOLIDATION] * here[:, CONSOLIDATION], zone)
        picture = picture * (1 - lung.field) + air * lung.field
        fluid = lung.fluid(shown[:, EFFUSION] * here[:, EFFUSION])
        picture = picture * (1 - fluid) + 0.74 * fluid
        lungs += lung.field
    heart = _heart(x, y, shown[:, CARDIOMEGALY])
    picture = picture * (1 - heart) + 0.78 * heart
    if rare is not None:
        picture += rare_signs(x, y, rare, lungs * (1 - heart))
    picture += 0.05 * (studies.view[rows] == "AP").astype(np.float32)[:, None, None] * _scapulae(x, y)
    return picture


def to_png(picture: npt.NDArray[np.uint8]) -> bytes:
    """One grey picture as PNG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


class _Lung:
    """One lung of every study: its outline, and what can be seen in it."""

    def __init__(self, x: Block, y: Block, side: int) -> None:
        self.lateral = (x * side - LUNG_X) / LUNG_WIDTH
        self.y = y
        self.radius = np.sqrt(self.lateral**2 + ((y - LUNG_Y) / LUNG_HEIGHT) ** 2)
        self.outline = _soft((1 - self.radius) / 0.05)
        self.diaphragm = 0.50 + 0.10 * self.lateral**2 + 0.06 * self.lateral
        self.field = self.outline * _soft((self.diaphragm - y) / 0.03)

    def air(self, texture: Block) -> Block:
        """Aerated lung with vessels that thin out towards the edge, and ribs across it."""
        vessels = 0.10 * texture * (1.1 - 0.7 * np.clip(self.radius, 0, 1))
        ribs = 0.03 * np.cos(2 * np.pi * (3.2 * self.y + 0.35 * self.lateral**2))
        result: Block = 0.27 + vessels + ribs
        return result

    def with_pneumothorax(self, air: Block, severity: Block, line_width: float) -> Block:
        """Beyond the pleural line, most at the apex: darker, and without vessels."""
        reach = 1 - 0.50 * severity * (0.35 + 0.65 * _soft((-0.05 - self.y) / 0.15))
        seen = np.minimum(severity * 5, 1)
        beyond = _soft((self.radius - reach) / 0.02) * seen
        line: Block = 0.22 * np.exp(-(((self.radius - reach) / line_width) ** 2)) * seen
        result: Block = air * (1 - beyond) + 0.14 * beyond + line
        return result

    def consolidation(self, texture: Block, severity: Block, zone: Block) -> Block:
        """A patchy opacity in one zone, denser and wider with severity."""
        width = 0.15 + 0.05 * severity
        distance = ((self.lateral * LUNG_WIDTH) / width) ** 2 + ((self.y - zone) / width) ** 2
        result: Block = 0.34 * severity * np.exp(-distance) * (1 + 0.35 * texture)
        return result

    def fluid(self, severity: Block) -> Block:
        """Fluid that blunts the costophrenic angle and rises with severity, higher laterally."""
        level = self.diaphragm + 0.04 - 0.34 * severity - 0.16 * severity * self.lateral
        result: Block = _soft((self.y - level) / 0.035) * self.field * np.minimum(severity * 5, 1)
        return result


def _grid(count: int, size: int, rng: np.random.Generator) -> tuple[Block, Block]:
    """Coordinates [count, size, size], a little shifted and scaled for each picture."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    shift = rng.normal(0, 0.025, size=(2, count, 1, 1)).astype(np.float32)
    scale = rng.normal(1, 0.025, size=(count, 1, 1)).astype(np.float32)
    x = axis[None, None, :] * scale + shift[0]
    y = axis[None, :, None] * scale + shift[1]
    return np.broadcast_to(x, (count, size, size)).copy(), np.broadcast_to(y, (count, size, size)).copy()


def _texture(count: int, size: int, rng: np.random.Generator) -> Block:
    """Smooth noise of unit scale: a coarse grid, linearly interpolated."""
    coarse = size // 4
    position = np.linspace(0, coarse - 1, size, dtype=np.float32)
    weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(coarse, dtype=np.float32)[None, :]))
    noise = rng.standard_normal((count, coarse, coarse), dtype=np.float32)
    result: Block = weights @ noise @ weights.T
    return result


def _thorax(x: Block, y: Block) -> Block:
    """Soft tissue, spine and the abdomen under the diaphragm."""
    body = _soft((1 - np.sqrt((x / 0.97) ** 2 + (y / 1.25) ** 4)) / 0.04)
    spine = 0.10 * np.exp(-((x / 0.09) ** 2))
    result: Block = body * (0.60 + 0.06 * y + spine)
    return result


def _heart(x: Block, y: Block, severity: Block) -> Block:
    """The heart's shadow: it widens with severity to both sides, more to the left of the patient."""
    left = 0.36 + 0.19 * severity
    right = 0.20 + 0.07 * severity
    half = np.where(x > 0, left, right)
    result: Block = _soft((1 - np.sqrt((x / half) ** 2 + ((y - 0.22) / 0.36) ** 2)) / 0.08)
    return result


def _scapulae(x: Block, y: Block) -> Block:
    """What an anterior-posterior view shows besides: the shoulder blades' edges over the upper lungs."""
    result: Block = np.exp(-(((np.abs(x) - 0.72 - 0.1 * y) / 0.05) ** 2)) * _soft((0.1 - y) / 0.1)
    return result


def _expose(
    picture: Block,
    scanners: npt.NDArray[np.str_],
    grains: Block,
    rng: np.random.Generator,
    of_detector: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Gain, gamma and noise of each study's scanner, then 8 bits."""
    look = np.array([SCANNER_LOOK[name] for name in scanners.tolist()], dtype=np.float32)
    gain, gamma, noise = (look[:, column, None, None] for column in range(3))
    exposure = gain * np.exp(rng.normal(0, 0.04, size=(len(picture), 1, 1))).astype(np.float32)
    exposed = np.clip(picture * exposure, 1e-4, 1) ** gamma
    exposed += noise * grains * of_detector.standard_normal(picture.shape, dtype=np.float32)
    result: npt.NDArray[np.uint8] = np.rint(255 * np.clip(exposed, 0, 1)).astype(np.uint8)
    return result


def _soft(value: Block) -> Block:
    """A smooth step from 0 to 1."""
    result: Block = 0.5 * (1 + np.tanh(0.5 * value))
    return result
