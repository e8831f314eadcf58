"""What pictures show of the rare diseases, in the coordinates of :mod:`synthetic.simulator.images`.

Each sign lies close to one of a common finding or of another disease, as in practice: a bulging pulmonary trunk lies
where one of the two swollen hila of sarcoidosis does, and a wide right atrium beside a wide heart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthetic.simulator.names import RARE_DISEASES

Block = npt.NDArray[np.floating]

SARCOIDOSIS, HYPERTENSION, CYSTS, AMYLOID, PROTEINOSIS = range(len(RARE_DISEASES))
MOST_SHOWN = 2.0


def rare_signs(x: Block, y: Block, severity: Block, lungs: Block) -> Block:
    """Brightness [n, size, size] that the diseases add.

    Args:
        severity: [n, 5] in the order of RARE_DISEASES.
        lungs: [n, size, size] 1 within the lungs where the heart does not hide them, 0 elsewhere.
    """
    shown = np.clip(severity, 0, MOST_SHOWN)[:, :, None, None]
    aside = np.abs(x)
    hila = 0.28 * _spot(aside - 0.27, y + 0.20, 0.09)
    trunk = 0.30 * _spot(x - 0.20, y + 0.30, 0.10)
    cysts = -0.09 * lungs * np.cos(10 * np.pi * x) * np.cos(10 * np.pi * y)
    atrium = 0.24 * _spot(x + 0.31, y - 0.14, 0.10)
    wings = 0.14 * lungs * _spot(aside - 0.42, y + 0.02, 0.20)
    result: Block = (
        shown[:, SARCOIDOSIS] * hila
        + shown[:, HYPERTENSION] * trunk
        + shown[:, CYSTS] * cysts
        + shown[:, AMYLOID] * atrium
        + shown[:, PROTEINOSIS] * wings
    )
    return result


def _spot(x: Block, y: Block, radius: float) -> Block:
    """A round shadow without a sharp edge: 1 in its middle."""
    result: Block = np.exp(-((x**2 + y**2) / radius**2))
    return result
