"""Five rare diseases whose signs are spread over demographics, words, laboratory values and the picture.

A patient has a disease or not, in all studies. No sign is proof: each is often absent in the ill and sometimes present
in others, so ranking patients well takes several modalities. Unlike the four findings these diseases depend on age
and sex, as their namesakes do: their prevalence differs between groups without any planted defect.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from synthetic.simulator.logistic import chances
from synthetic.simulator.names import RARE_DISEASES
from synthetic.simulator.patients import PATIENT_SHARE, Bools, Floats, Studies
from synthetic.simulator.settings import SimulatorSettings

SAID_BY_CHANCE, SAID_IN_DISEASE = 0.05, 0.40
"""How often a phrase is in the indication of a patient without and with the disease that it belongs to."""

SHOWN_SPREAD = 0.6
"""Standard deviation of the severity that a picture shows, where 1 is the distance between absent and present."""

LEAST_AGE_ODDS = -3.0


@dataclass(frozen=True, kw_only=True)
class Disease:
    """What is known of one disease.

    Attributes:
        women: Log-odds that being a woman adds.
        age, age_spread: Where it is most frequent, in years, and how fast the log-odds fall off from there.
        words: Phrases of an indication that it makes likelier.
        levels: Analyte -> what it adds to all readings, on the analyte's scale.
    """

    women: float
    age: float
    age_spread: float
    words: tuple[str, ...]
    levels: dict[str, float] = field(default_factory=dict)

    def odds(self, sex: np.ndarray, age: np.ndarray) -> Floats:
        """Log-odds [n] that demographics give, up to a constant."""
        fall = -0.5 * ((age - self.age) / self.age_spread) ** 2
        result: Floats = np.maximum(fall, LEAST_AGE_ODDS) + self.women * (sex == "F")
        return result


DISEASES: dict[str, Disease] = {
    "sarcoidosis": Disease(
        women=0.3,
        age=42,
        age_spread=14,
        words=("tender red shins", "sore red eyes", "swollen parotid glands"),
        levels={"crp": 0.6, "heart_rate": 3},
    ),
    "pulmonary_hypertension": Disease(
        women=1.2,
        age=55,
        age_spread=18,
        words=("fainting on exertion", "chest tightness on stairs", "connective tissue disease"),
        levels={"nt_probnp": 1.0, "spo2": -1.2, "heart_rate": 5},
    ),
    "lymphangioleiomyomatosis": Disease(
        women=2.2,
        age=40,
        age_spread=15,
        words=("kidney tumours", "milky fluid on drainage", "abdominal fullness"),
        levels={"spo2": -1.8},
    ),
    "cardiac_amyloidosis": Disease(
        women=-1.0,
        age=80,
        age_spread=14,
        words=("carpal tunnel surgery", "numb feet", "easy bruising"),
        levels={"nt_probnp": 1.3, "heart_rate": 2},
    ),
    "alveolar_proteinosis": Disease(
        women=-0.8,
        age=48,
        age_spread=14,
        words=("work with sand blasting", "gelatinous sputum", "clubbed fingers"),
        levels={"spo2": -2.2, "crp": -0.3},
    ),
}


@dataclass(frozen=True, kw_only=True)
class RareTruth:
    """The truth of n studies. Arrays over diseases are in the order of RARE_DISEASES.

    Attributes:
        present: [n, 5], the same in all studies of a patient.
        shown: [n, 5] severity that the picture shows: about 0 where absent, about 1 where present.
        notes: [n] a sentence that the indication ends with, or an empty text.
    """

    present: Bools
    shown: Floats
    notes: list[str]

    def level(self, analyte: str) -> Floats:
        """What the diseases add to all readings of an analyte [n], on the analyte's scale."""
        added = np.array([DISEASES[name].levels.get(analyte, 0.0) for name in RARE_DISEASES])
        result: Floats = self.present @ added
        return result


def draw_rare(studies: Studies, settings: SimulatorSettings, rng: np.random.Generator) -> RareTruth:
    """Draw who has which disease, what pictures show of it and what referrers write."""
    _, first, visits = np.unique(studies.patient, return_index=True, return_counts=True)
    columns = []
    for name in RARE_DISEASES:
        odds = DISEASES[name].odds(studies.sex[first], studies.age[first])
        chance = chances(odds, settings.share_with(name), weights=visits.astype(np.float64))
        columns.append(rng.random(len(first)) < chance)
    # Studies are sorted by patient, so each patient's row is repeated over that patient's visits.
    present = np.repeat(np.stack(columns, axis=1), visits, axis=0)
    shared = np.repeat(rng.standard_normal((len(first), len(RARE_DISEASES))), visits, axis=0)
    own = rng.standard_normal(present.shape)
    spread = SHOWN_SPREAD * (np.sqrt(PATIENT_SHARE) * shared + np.sqrt(1 - PATIENT_SHARE) * own)
    return RareTruth(present=present, shown=present + spread, notes=_notes(present, rng))


def _notes(present: Bools, rng: np.random.Generator) -> list[str]:
    """Phrases that were mentioned, drawn for each study and phrase on its own."""
    phrases = [(index, word) for index, name in enumerate(RARE_DISEASES) for word in DISEASES[name].words]
    owner = [index for index, _ in phrases]
    chance = np.where(present[:, owner], SAID_IN_DISEASE, SAID_BY_CHANCE)
    said = rng.random(chance.shape) < chance
    # In the order of the alphabet: the place of a phrase says nothing of the disease.
    order = sorted(range(len(phrases)), key=lambda column: phrases[column][1])
    words = [[phrases[column][1] for column in order if row[column]] for row in said]
    return [f"Also noted: {', '.join(row)}." if row else "" for row in words]
