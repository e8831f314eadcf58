"""Who deteriorates within 24 hours after a study: those whose course turned before it, and those who are ill.

Each study has a hidden course, standard normal: above 0 the vital signs and laboratory values turn for the worse in
the last hours before the study, below 0 they recover. The chance to deteriorate rises with it and with how much the
picture shows. Neither tells the other, so a model that reads both ranks better than one that reads either. Sex, age,
group, site, view and scanner have no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic.simulator.logistic import chances
from synthetic.simulator.patients import Bools, Floats, Studies
from synthetic.simulator.settings import SimulatorSettings

COURSE_ODDS = 2.0
"""Log-odds of deterioration for one standard deviation of the hidden course."""

SHOWN_ODDS = (1.6, 1.6, 1.9, 1.0)
"""Log-odds for a severity of 1 in the picture, in the order of FINDINGS."""

TURN = {"crp": 0.6, "spo2": -2.4, "heart_rate": 13.0, "nt_probnp": 0.3}
"""What one standard deviation of the course has added to a reading at the time of the study; on a natural-logarithm
scale for CRP and NT-proBNP, as the series themselves."""

MOST_SHOWN = 2.2
"""Pictures show no severity beyond it."""


@dataclass(frozen=True, kw_only=True)
class Deterioration:
    """The truth of n studies.

    Attributes:
        course: [n] standard normal; positive where the patient is getting worse.
        present: [n] deteriorates within 24 hours after the study.
    """

    course: Floats
    present: Bools

    def turn(self, analyte: str) -> Floats:
        """What the course has added to an analyte [n] at the time of the study, on the analyte's scale."""
        return TURN[analyte] * self.course


def draw_deterioration(studies: Studies, settings: SimulatorSettings, rng: np.random.Generator) -> Deterioration:
    """Draw the hidden course of every study, then who deteriorates."""
    course = rng.standard_normal(len(studies))
    shown = np.clip(studies.shown, 0, MOST_SHOWN) @ np.array(SHOWN_ODDS)
    chance = chances(COURSE_ODDS * course + shown, settings.share_with("deterioration"))
    return Deterioration(course=course, present=rng.random(len(studies)) < chance)
