"""What is watched of an image without a model: blur, contrast, brightness, size, shape, and a small likeness of it.

Quality is measured after large images were made smaller by averaging squares of whole pixels, to at most 512 on the
longer side: noise and blur then mean about the same for detectors of any resolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
LONGEST = 512
SIDE = 8
"""A likeness has 8 x 8 squares."""
QUALITY = ("blur", "contrast", "brightness", "size", "aspect")


def quality_of(image: Image | None) -> dict[str, float]:
    """Figures of one image; NaN where there is none.

    - ``blur``: variance of the Laplacian ``4 p - (left + right + above + below)`` over the inner pixels, in squared
      grey levels; low in a blurred image, high in a noisy one. NaN where a side is below 3 pixels.
    - ``contrast``, ``brightness``: standard deviation and mean of the grey levels, 0 to 255.
    - ``size``: square root of the number of pixels. ``aspect``: width / height.

    Source: Pech-Pacheco et al. (2000), ICPR, variance of the Laplacian.
    """
    if image is None:
        return dict.fromkeys(QUALITY, float("nan"))
    height, width = image.shape[:2]
    grey = _smaller(_grey(image))
    return {
        "blur": _blur(grey),
        "contrast": float(grey.std()),
        "brightness": float(grey.mean()),
        "size": float(np.sqrt(height * width)),
        "aspect": width / height,
    }


def likenesses(images: Sequence[Image | None]) -> Vectors:
    """Means of 8 x 8 squares of each image, less their mean, over their deviation: float32 [n, 64].

    It stands in for the embedding of a model that gives none. A row of NaN where there is no image; zeros where an
    image is of one grey.
    """
    made = np.full((len(images), SIDE * SIDE), np.nan, dtype=np.float32)
    for row, image in enumerate(images):
        if image is not None:
            squares = _squares(_grey(image))
            spread = float(squares.std())
            made[row] = ((squares - squares.mean()) / spread if spread > 0 else np.zeros_like(squares)).ravel()
    return made


def _grey(image: Image) -> Floats:
    return image.mean(axis=2) if image.ndim == 3 else image.astype(np.float64)


def _smaller(grey: Floats) -> Floats:
    factor = -(-max(grey.shape) // LONGEST)
    if factor <= 1:
        return grey
    height, width = (max(1, side // factor) for side in grey.shape)
    cut = grey[: height * factor, : width * factor]
    # A side shorter than the factor is averaged whole.
    rows, columns = (-(-side // count) for side, count in zip(cut.shape, (height, width), strict=True))
    made: Floats = cut.reshape(height, rows, width, columns).mean(axis=(1, 3))
    return made


def _blur(grey: Floats) -> float:
    if min(grey.shape) < 3:
        return float("nan")
    inner = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return float(inner.var())


def _squares(grey: Floats) -> Floats:
    """Means of 8 x 8 squares; a pixel on an edge belongs to the square that it begins in, or to the last that has one.

    An image with a side below 8 pixels repeats pixels.
    """
    for axis in (0, 1):
        side = grey.shape[axis]
        if side < SIDE:
            grey = np.repeat(grey, -(-SIDE // side), axis=axis)
            side = grey.shape[axis]
        starts = np.arange(SIDE) * side // SIDE
        counts = np.diff([*starts, side])
        shape = (SIDE, 1) if axis == 0 else (1, SIDE)
        grey = np.add.reduceat(grey, starts, axis=axis) / counts.reshape(shape)
    return grey
