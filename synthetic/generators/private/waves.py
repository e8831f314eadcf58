"""Images as a few cosine waves each: a basis that is the same for all data, so that it costs nothing.

The discrete cosine transform of type II, orthonormal; kept are the lowest K frequencies along each edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SPREAD = 0.3
"""About how far the waves of a picture reach: those of frequency f by this over 1 + f, as pictures' do. Public."""


def kept_of(edge: int) -> int:
    """Waves along each edge that are kept of images of this size."""
    return 8 if edge <= 32 else 12


@dataclass(frozen=True, kw_only=True)
class Waves:
    """A basis: images of an edge, K waves along each side."""

    edge: int
    kept: int

    @cached_property
    def _basis(self) -> Floats:
        return _cosines(self.edge, self.kept)

    @cached_property
    def _small(self) -> Floats:
        return _cosines(self.kept, self.kept)

    @cached_property
    def _scale(self) -> Floats:
        far = np.hypot(np.arange(self.kept)[:, None], np.arange(self.kept)[None, :])
        found: Floats = SPREAD * self.edge / (1 + far)
        return found

    def numbers(self, images: npt.NDArray[np.uint8]) -> Floats:
        """[n, K^2], of a size around one, of uint8 [n, edge, edge]."""
        plain = images.astype(np.float64) / 255 - 0.5
        found = self._basis @ plain @ self._basis.T / self._scale
        return np.clip(found, -4, 4).reshape(len(images), -1)

    def images(self, numbers: Floats) -> npt.NDArray[np.uint8]:
        """The images that numbers stand for."""
        waves = numbers.reshape(-1, self.kept, self.kept) * self._scale
        plain = self._basis.T @ waves @ self._basis + 0.5
        return np.rint(255 * np.clip(plain, 0, 1)).astype(np.uint8)

    def thumbnails(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """float32 [n, 1, K, K]: the same waves as a small picture, from about -1 to 1."""
        waves = self.numbers(images).reshape(-1, self.kept, self.kept) * self._scale
        small = self._small.T @ waves @ self._small * (self.kept / self.edge)
        return (2 * small[:, None]).astype(np.float32)


def _cosines(edge: int, kept: int) -> Floats:
    """Orthonormal rows [kept, edge]."""
    place = np.arange(edge) + 0.5
    found: Floats = np.sqrt(2 / edge) * np.cos(np.pi * np.arange(kept)[:, None] * place / edge)
    found[0] = np.sqrt(1 / edge)
    return found
