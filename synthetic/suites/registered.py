"""The suites on synthetic patients, as the engine finds them: by the entry points of this distribution.

The engine lies on a lower floor and does not know them by name.
"""

from __future__ import annotations

from synthetic.suites.crossmodal_metrics import METRICS as CROSS_MODAL
from synthetic.suites.fidelity_metrics import METRICS as FIDELITY
from synthetic.suites.judged import FigureSuite
from synthetic.suites.privacy_meanings import METRICS as PRIVACY
from synthetic.suites.utility_metrics import METRICS as UTILITY

fidelity = FigureSuite("fidelity", FIDELITY)
crossmodal = FigureSuite("crossmodal", CROSS_MODAL)
utility = FigureSuite("utility", UTILITY)
privacy = FigureSuite("privacy", PRIVACY)
