"""The training of a generator with differential privacy: what is spent is settled first, and nothing else is told.

Neighbours are cohorts that differ in one patient with all studies, who is there or not. What is written into the
generator's folder is (epsilon, delta)-differentially private. Taken as public: the settings with the domain, the names
of the cohort's columns, and that it has enough patients for the checks below to pass. Not public, and told with noise
alone: how many patients and studies there are. No digest of the data, no loss and no gate is written.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import AuscultError, CohortError
from synthetic.generators.canaries import with_canaries
from synthetic.generators.keeping import Finished, key_of, studies_digest
from synthetic.generators.parts import PARTS, HoldsPrivacy, Learning, refuse_privacy
from synthetic.generators.private.accounting import SHARES, Account, Mechanism, Need, allot
from synthetic.generators.private.learning import UNIT, domain_of
from synthetic.generators.private.noise import Secret
from synthetic.generators.private.words import public_canaries
from synthetic.generators.settings import GeneratorSettings, Privacy
from synthetic.generators.studies import LinkedStudies, Tell

ORDER = ("tables", "series", "image", "report")
WEIGHT = {"tables": 0.05, "series": 0.25, "image": 0.35, "report": 0.35}
LEARNING = 0.85
"""Share of the patients who are learnt from; the others are held out for audits."""
NO_CRITIC = "no critic learns with differential privacy: it would take a share of epsilon from the others"
ASSUMED = [
    "the settings with the domain, and the names of the cohort's columns, are public",
    "the cohort is known to have at least 200 patients, and fewer than one over delta",
    "two cohorts are neighbours where one patient with all studies is there or not",
]


def split_private(studies: LinkedStudies, *, seed: int) -> list[LinkedStudies]:
    """Patients who are learnt from, none for a critic, and those held out.

    On which side a patient is follows from the seed and the patient's own key alone. Were patients shuffled and cut as
    without differential privacy, one patient more would send many others to another side.
    """
    chance = {name: _chance(seed, name) for name in studies.patients}
    own = np.array([chance[name] for name in studies.patient_ids.tolist()], dtype=np.float64)
    return [studies.rows(rows) for rows in (own < LEARNING, np.zeros(len(studies), dtype=np.bool_), own >= LEARNING)]


def _chance(seed: int, patient: str) -> float:
    digest = hashlib.sha256(f"side of a patient\0{seed}\0{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """Parts that were learnt, and the facts of them all.

    Attributes:
        body: What of the generator's body tells of patients: counts with noise, privacy asked and spent.
    """

    fitted: dict[str, Any]
    left_out: dict[str, str]
    canaries: list[str]
    body: dict[str, Any]


def check_delta(privacy: Privacy, patients: int) -> None:
    """Refuse a delta at which the promise would allow to publish somebody whole.

    Raises:
        AuscultError: delta is not below one over the number of patients.
    """
    if privacy.delta >= 1 / patients:
        raise AuscultError(
            f"A delta of {privacy.delta:g} is not below one over the number of patients: a generator that publishes one"
            " of them at random would keep the promise.",
            remedy="Give a smaller delta, such as 1e-6: a tenth of one over the number of patients, or less.",
            column="privacy.delta",
        )


def check_promise(settings: GeneratorSettings, patients: int) -> None:
    """Refuse settings with which differential privacy cannot be held, before anything is learnt.

    Raises:
        AuscultError: there is no domain, delta is too large for so many patients, or a part cannot hold it.
    """
    assert settings.privacy is not None
    domain_of(settings)
    check_delta(settings.privacy, patients)
    for role, name in settings.parts.items():
        part = PARTS.get(f"{role}:{name}")
        if role not in ORDER or not isinstance(part, HoldsPrivacy):
            refuse_privacy(Learning(settings=settings), f"{role}:{name}")


def learn_privately(
    studies: LinkedStudies, settings: GeneratorSettings, finished: Finished, tell: Tell, secret: Secret
) -> Learnt:
    """Learn every part that the domain and the columns allow.

    Raises:
        AuscultError: there is no domain, delta is too large, or a part cannot hold differential privacy.
        CohortError: there is nothing that tables could be learnt of.
    """
    assert settings.privacy is not None
    check_promise(settings, len(studies.patients))
    learning = split_private(studies, seed=settings.seed)[0]
    needs, left_out = _needs(studies, settings)
    allowed = allot(settings.privacy.epsilon, settings.privacy.delta, needs, SHARES)
    canaries = public_canaries(domain_of(settings), settings.canaries, seed=settings.seed) if "report" in needs else []
    job = _Job(settings=settings, finished=finished, tell=tell, secret=secret, data=studies_digest(studies))
    fitted: dict[str, Any] = {}
    account = Account(delta=settings.privacy.delta)
    done = 0.0
    for role in ORDER:
        if role in needs:
            own = with_canaries(learning, canaries) if role == "report" else learning
            fitted[role] = job.fitted(role, own, allowed[role], done, dict(fitted))
            account.spend(role, _spent(role, fitted[role], allowed[role]))
        done += WEIGHT[role]
        tell(min(done, 1.0), f"{role}: done" if role in fitted else f"{role}: left out, {left_out[role]}")
    return Learnt(
        fitted=fitted, left_out=left_out, canaries=canaries, body=_body(settings.privacy, account, fitted["tables"])
    )  # fmt: skip


def _needs(studies: LinkedStudies, settings: GeneratorSettings) -> tuple[dict[str, Need], dict[str, str]]:
    """What each part asks, and why others are left out. The names of columns decide, and not what is in them."""
    needs: dict[str, Need] = {}
    left_out = {"critic": NO_CRITIC}
    for role in ORDER:
        if role not in settings.parts:
            left_out[role] = "the settings name no part for it"
            continue
        part: Any = PARTS.get(f"{role}:{settings.parts[role]}")
        if reason := part.missing(studies) or part.lacks(settings, studies):
            left_out[role] = reason
        else:
            needs[role] = part.need(settings)
    if "tables" not in needs:
        raise CohortError(
            f"Nothing can be learnt from this cohort: {left_out['tables']}.",
            remedy="Give a cohort and a domain with at least one attribute or label in common.",
            column="privacy.domain",
        )
    return needs, left_out


def _spent(role: str, part: Any, allowed: Mechanism) -> Mechanism:
    """What a part says that it spent; it has to be what it was allowed."""
    told = part.facts["privacy"]
    spent = Mechanism(noise=told["noise"], rate=told["rate"], steps=told["steps"])
    if spent != allowed:
        raise ArithmeticError(f"the part {role} spent {spent} and was allowed {allowed}")
    return spent


def _body(privacy: Privacy, account: Account, tables: Any) -> dict[str, Any]:
    return {
        "patients": {"learning": round(tables.patients)},
        "studies": {},
        "learnt_from": None,
        "privacy": {
            "asked": {"epsilon": privacy.epsilon, "delta": privacy.delta},
            "spent": {"epsilon": account.epsilon, "delta": privacy.delta},
            "unit": UNIT,
            "accountant": "Renyi divergences at whole orders, added over all parts",
            "mechanisms": {role: item.to_dict() for role, item in account.spent.items()},
            "counts": "with noise",
            "assumed": ASSUMED,
        },
    }


@dataclass(kw_only=True)
class _Job:
    """One training: parts that are finished are not learnt, and not paid for, again."""

    settings: GeneratorSettings
    finished: Finished
    tell: Tell
    secret: Secret
    data: str

    def fitted(self, role: str, studies: LinkedStudies, allowed: Mechanism, done: float, others: dict[str, Any]) -> Any:
        name = f"{role}:{self.settings.parts[role]}"
        part, path = PARTS.get(name), self.finished.path(role)
        key = key_of(settings=self.settings.to_dict(), data=self.data, role=role, allowed=allowed.to_dict())
        if self.finished.has(role, key):
            return part.load(path)
        shutil.rmtree(path, ignore_errors=True)
        learning = Learning(
            settings=self.settings, allowed=allowed, noise=self.secret.of(name),
            tell=lambda share, message: self.tell(done + WEIGHT[role] * share, f"{role}: {message}"),
        )  # fmt: skip
        found = part.fit(studies, learning, **others)
        path.mkdir(parents=True)
        found.save(path)
        self.finished.keep(role, key)
        return found
