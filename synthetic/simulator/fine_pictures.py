"""What a fine picture shows besides: branching vessels, edges of ribs, a thin pleural line.

Fine pictures are drawn at one size, whatever is asked for, and averaged down: a smaller picture of the same study shows
the same patient with less detail. Coordinates are those of :mod:`synthetic.simulator.images`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Block = npt.NDArray[np.floating]

DRAWN = 128
"""Edge in pixels at which fine pictures are drawn."""

GRIDS = ((16, 0.6), (32, 0.4), (64, 0.8))
"""Coarseness of the noise that makes up the texture, and how strong each is."""

HILUM_X, HILUM_Y = 0.17, -0.05
BRANCHES, VESSEL_WIDTH, VESSEL_BRIGHTNESS = 9, 0.020, 0.13
RIB_WAVES, RIB_BEND, RIB_EDGE = 3.2, 0.35, 0.035
LINE_WIDTH = 0.018
"""Of the pleural line, as a share of the lung's radius; about one pixel of 64."""


def fine_texture(count: int, rng: np.random.Generator) -> Block:
    """Smooth noise of unit scale with detail down to two pixels: grids of three sizes, linearly interpolated."""
    result: Block = np.zeros((count, DRAWN, DRAWN), dtype=np.float32)
    for cells, strength in GRIDS:
        position = np.linspace(0, cells - 1, DRAWN, dtype=np.float32)
        weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(cells, dtype=np.float32)[None, :]))
        result += strength * (weights @ rng.standard_normal((count, cells, cells), dtype=np.float32) @ weights.T)
    return result


def vessels(x: Block, y: Block, side: int, turns: Block) -> Block:
    """Brightness [n, size, size] of vessels that leave one hilum, bend, and thin out.

    Args:
        turns: [n, 2] where the first vessel leaves, and how much all of them bend; both in radians.
    """
    across, down = x * side - HILUM_X, y - HILUM_Y
    far = np.sqrt(across**2 + down**2) + 1e-3
    angle = np.arctan2(down, across) + turns[:, 0, None, None] + turns[:, 1, None, None] * far
    aside = np.sin(0.5 * BRANCHES * angle) * far / (0.5 * BRANCHES)
    width = VESSEL_WIDTH * (1.2 - np.minimum(far, 1.0))
    result: Block = VESSEL_BRIGHTNESS * np.exp(-((aside / width) ** 2)) * np.exp(-1.2 * far)
    return result


def rib_edges(lateral: Block, y: Block) -> Block:
    """Brightness of the thin edges of the ribs, where their broad shadows begin and end."""
    wave = np.cos(2 * np.pi * (RIB_WAVES * y + RIB_BEND * lateral**2))
    result: Block = RIB_EDGE * np.exp(-((wave / 0.18) ** 2))
    return result


def averaged(picture: Block, size: int) -> Block:
    """Pictures [n, DRAWN, DRAWN] averaged down to [n, size, size]; each new pixel is the mean of what it covers."""
    if size == DRAWN:
        return picture
    edges = np.linspace(0, DRAWN, size + 1)
    pixels = np.arange(DRAWN)
    covered = np.minimum(pixels[None, :] + 1, edges[1:, None]) - np.maximum(pixels[None, :], edges[:-1, None])
    weights = (np.clip(covered, 0, None) * size / DRAWN).astype(np.float32)
    result: Block = weights @ picture @ weights.T
    return result
