"""The figures of an audit of a generator: what it made, held against those it learnt from and against others."""

from __future__ import annotations

import logging
from typing import Any

from core.errors import AuscultError, ConflictError, ProtocolError
from evaluation.engine import AuditSketch
from evaluation.engine import Protocol as Rules
from evaluation.engine.registry import Sketch
from evaluation.models import AuditRun
from models_registry.models import CohortVersion, ModelVersion
from models_registry.services.versions import model_store
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies, split_patients
from synthetic.selectors import cohort_of
from synthetic.suites.audit import Audit, Tell
from synthetic.suites.figures import AuditSets
from synthetic.suites.judged import Figures

log = logging.getLogger(__name__)
KNOWN = {"control", "seed"}
READERS = 0.4
"""Share of the controls from whom the audit's own encoders and critics learn; the others are held out."""
WEIGHT = {"fidelity": 0.3, "crossmodal": 0.2, "utility": 0.3, "privacy": 0.2}
READ = 0.1


class LinkedComputer:
    """Computes the figures of runs by protocols with the section ``linked``."""

    def settle(
        self, *, version: ModelVersion, cohort: CohortVersion, rules: Rules, settings: dict[str, Any]
    ) -> dict[str, Any]:
        """Complete settings: ``control`` is the digest of a cohort of patients that the generator never saw, or empty.

        Raises:
            ProtocolError: the version is no generator, or did not make the cohort.
            ConflictError: the control is not registered, is what the generator learnt from, or was made itself.
        """
        if version.adapter != "generator":
            raise ProtocolError(
                f"{version} is no generator of patients, and '{rules.name}' judges nothing else.",
                remedy="Choose a version of a generator, or another protocol.",
            )
        if cohort.generator_digest != version.digest:
            raise ProtocolError(
                f"{cohort} was not made by {version}.", remedy="Choose a cohort that this version has made."
            )
        if unknown := sorted(set(settings) - KNOWN):
            raise ProtocolError(
                f"This audit has no setting called {', '.join(unknown)}.", remedy=f"Use some of: {', '.join(KNOWN)}."
            )
        control = str(settings.get("control") or "")
        if control:
            _check_control(version, control)
        return {"control": control, "seed": int(settings.get("seed", 0))}

    def compute(self, run: AuditRun, rules: Rules, *, tell: Tell) -> AuditSketch:
        """Every figure of the protocol's suites.

        Raises:
            AuscultError: a cohort is not what it was when the generator learnt from it.
        """
        from synthetic.generators.linked import load_generator

        generator = load_generator(model_store().verified_folder(run.version.digest, run.version.manifest))
        sets = sets_of(run, generator, tell=lambda share, message: tell(READ * share, message))
        job = Audit(rules=rules, sets=sets, generator=generator)
        parts: dict[str, Sketch] = {}
        done = READ
        total = sum(WEIGHT[name] for name in rules.suites)
        for name in rules.suites:
            weight = (1 - READ) * WEIGHT[name] / total
            parts[name] = Figures(suite=name, figures=job.figures(name, tell=_within(tell, done, weight, name)))
            done += weight
        return AuditSketch(
            protocol_digest=rules.digest,
            n_studies=len(sets.synthetic),
            n_patients=len(sets.synthetic.patients),
            parts=parts,
        )


def sets_of(run: AuditRun, generator: Any, *, tell: Tell) -> AuditSets:
    """Who is held against whom.

    Raises:
        AuscultError: the generator's cohort is gone or reads otherwise than when it was learnt from.
    """
    from synthetic.execution_generators import read_cohort
    from synthetic.generators.keeping import studies_digest
    from synthetic.generators.linked import split_cohort

    settings = GeneratorSettings.from_dict(generator.body["settings"])
    parent = cohort_of(run.version)
    if parent is None:
        raise AuscultError(
            "The cohort that this generator learnt from is not registered here.", remedy="Train the generator here."
        )
    real = read_cohort(parent, settings, tell=tell)
    # With differential privacy a generator holds no digest of its patients: it would tell who knows all but one.
    if generator.body["learnt_from"] is not None and studies_digest(real) != generator.body["learnt_from"]:
        raise AuscultError(
            f"{parent} reads otherwise than when the generator learnt from it.",
            remedy="Train the generator again with this version of Auscult.",
        )
    learnt, _, unseen = split_cohort(real, settings)
    control = run.settings.get("control")
    if control:
        unseen = _without(read_cohort(CohortVersion.objects.get(digest=control), settings), real)
    readers, held_out = split_patients(unseen, [READERS, 1 - READERS], seed=settings.seed + 1)
    return AuditSets(
        learnt=learnt,
        readers=readers,
        held_out=held_out,
        synthetic=read_cohort(run.cohort, settings),
        seed=int(run.settings.get("seed", 0)),
    )


def _within(tell: Tell, start: float, weight: float, name: str) -> Tell:
    return lambda share, message: tell(start + weight * share, f"{name}: {message}")


def _check_control(version: ModelVersion, digest: str) -> None:
    control = CohortVersion.objects.filter(digest=digest).select_related("cohort").first()
    if control is None:
        raise ConflictError("The control cohort is not registered.", remedy="Give the digest of a registered cohort.")
    parent = cohort_of(version)
    if parent is not None and parent.pk == control.pk:
        raise ConflictError(
            f"{control} is what the generator learnt from, so it is no control.",
            remedy="Give a cohort of other patients, or none: then patients that the training held out are taken.",
        )
    if control.quarantined or control.parent_id is not None:
        raise ConflictError(
            f"{control} was made by a generator, so it is no control.", remedy="Give a cohort of real patients."
        )


def _without(studies: LinkedStudies, others: LinkedStudies) -> LinkedStudies:
    """The studies of patients who are not among others."""
    import numpy as np

    known = set(others.patients)
    return studies.rows(np.array([name not in known for name in studies.patient_ids], dtype=np.bool_))
