"""A generator of linked patients: parts that are learnt in turn, and patients that are made by all of them together.

The patients of a cohort are split once: most teach the generator, some teach the critic, and on the rest gates and bars
are set. No patient is in two of them. A part that the data cannot teach is left out by name, with the reason.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import folder_manifest, manifest_digest, sha256_json
from core.errors import AuscultError, CohortError
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.statistics.threads import cores
from synthetic.generators.canaries import as_studies, canaries_of, with_canaries
from synthetic.generators.consistency import report_faults
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.keeping import CURVES, Finished, curve_writer, key_of, studies_digest
from synthetic.generators.parts import PARTS, Explains, Learning, Wish, Wishable
from synthetic.generators.persons import check_no_persons
from synthetic.generators.private.noise import Secret
from synthetic.generators.reading import REPORT
from synthetic.generators.rejection import Acceptance, Chosen, bars_of, choose_images
from synthetic.generators.settings import LEAST_PATIENTS, GeneratorSettings
from synthetic.generators.studies import LinkedStudies, Tell, split_patients

SCHEMA = "auscult/generator/1"
RECIPE = "3"
"""Raised whenever equal settings and data would give another generator."""
BODY = "generator.json"
SHARES = {"learning": 0.7, "critic": 0.15, "held out": 0.15}
ORDER = ("tables", "series", "critic", "image", "report")
WEIGHT = {"tables": 0.1, "series": 0.15, "critic": 0.15, "image": 0.35, "report": 0.25}
"""Share of a training's time that each part takes, about: for its progress."""
AT_ONCE = 256
"""Patients that are made together: their seeds depend on it, so that any number of workers makes the same."""
Log = Callable[[str, int, float], None]


@dataclass(frozen=True, kw_only=True)
class Made:
    """Patients that were made.

    Attributes:
        flags: ``image_unresolved``, ``report_unresolved`` -> bool [n]: what does not show or tell its plan, and stands.
        acceptance: What the critic said, by stratum of plans.
    """

    studies: LinkedStudies
    flags: dict[str, npt.NDArray[np.bool_]]
    acceptance: tuple[Acceptance, ...]


def train_generator(
    studies: LinkedStudies,
    folder: Path,
    settings: GeneratorSettings,
    *,
    tell: Tell | None = None,
    log: Log | None = None,
    resume: Path,
    secret: Secret | None = None,
) -> Generator:
    """Learn every part that the studies can teach, and write the generator to ``folder``; it appears when complete.

    Args:
        tell: Called often; may raise to stop. What was finished stays in ``resume``.
        log: Called with each point of a training curve; ``resume / curves.jsonl`` has them too.
        resume: Folder that survives an interruption. Called again with equal settings and studies, parts that were
            finished are not learnt again.
        secret: Of tests of differential privacy alone, which a known secret voids: where its noise comes from.

    Raises:
        CohortError: too few patients, no column to learn from, or texts that look as if they named a person.
        AuscultError: a gate of a part fails, or a loss runs away; with differential privacy: there is no domain, delta
            is too large, or a part cannot hold it.
    """
    _check_enough(studies)
    if settings.privacy is not None:
        body, finished = _learnt_privately(studies, settings, tell, resume, secret or Secret())
        _put_together(folder, finished, body)
        return load_generator(folder)
    if "report" in settings.parts:
        check_no_persons(studies)
    resume.mkdir(parents=True, exist_ok=True)
    parts = split_cohort(studies, settings)
    learning, critic, held_out = parts
    training = _Training(
        settings=settings, finished=Finished(resume), tell=tell or (lambda share, message: None),
        log=curve_writer(resume / CURVES, log or (lambda curve, step, value: None)), data=studies_digest(studies),
        canaries=canaries_of(learning, settings.canaries, rare_below=settings.rare_below, seed=settings.seed),
    )  # fmt: skip
    fitted, left_out = training.learn(learning, critic, held_out)
    seen = fitted.get("critic")
    body = {
        "schema": SCHEMA,
        "recipe": RECIPE,
        "settings": settings.to_dict(),
        "learnt_from": training.data,
        "patients": {name: len(part.patients) for name, part in zip(SHARES, parts, strict=True)},
        "studies": {name: len(part) for name, part in zip(SHARES, parts, strict=True)},
        "parts": {role: settings.parts[role] for role in fitted},
        "left_out": left_out,
        "canaries": training.canaries if "report" in fitted else [],
        "bars": bars_of(seen, held_out) if seen is not None and "image" in fitted else {},
        "facts": {role: part.facts for role, part in fitted.items()},
    }
    _put_together(folder, training.finished, body)
    return load_generator(folder)


def check_wish(folder: Path, wish: Wish) -> None:
    """Nothing where the generator in a folder understands a wish, as far as it can tell before it makes anybody.

    Reads the tables part alone: quick, whatever the other parts weigh.

    Raises:
        AuscultError: the wish names what was never learnt; or the folder holds no generator.
    """
    part = _part(folder, _body(folder), "tables")
    if isinstance(part, Wishable):
        part.check(wish)


def split_cohort(studies: LinkedStudies, settings: GeneratorSettings) -> list[LinkedStudies]:
    """Patients by :data:`SHARES`: those who are learnt from, those of the critic, those held out.

    With differential privacy the critic has none (see ``private.training.split_private``).
    """
    if settings.privacy is not None:
        from synthetic.generators.private.training import split_private

        return split_private(studies, seed=settings.seed)
    return split_patients(studies, list(SHARES.values()), seed=settings.seed)


def _learnt_privately(
    studies: LinkedStudies, settings: GeneratorSettings, tell: Tell | None, resume: Path, secret: Secret
) -> tuple[dict[str, Any], Finished]:
    """The body of a generator with differential privacy, and its parts. No curve is logged: losses tell of patients."""
    from synthetic.generators.private.training import learn_privately

    resume.mkdir(parents=True, exist_ok=True)
    finished = Finished(resume)
    learnt = learn_privately(studies, settings, finished, tell or (lambda share, message: None), secret)
    body = learnt.body | {
        "schema": SCHEMA,
        "recipe": RECIPE,
        "settings": settings.to_dict(),
        "parts": {role: settings.parts[role] for role in learnt.fitted},
        "left_out": learnt.left_out,
        "canaries": learnt.canaries,
        "bars": {},
        "facts": {role: part.facts for role, part in learnt.fitted.items()},
    }
    return body, finished


def load_generator(folder: Path) -> Generator:
    """The generator that :func:`train_generator` wrote.

    Raises:
        AuscultError: the folder is none, or of another version.
    """
    body = _body(folder)
    parts = {role: _part(folder, body, role) for role in body["parts"]}
    return Generator(body=body, parts=parts, digest=manifest_digest(folder_manifest(folder)))


def _body(folder: Path) -> dict[str, Any]:
    file = folder / BODY
    body: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    if body.get("schema") != SCHEMA:
        raise AuscultError(
            "The folder holds no generator that this version can read.", remedy="Train it again.", file=folder.name
        )
    return body


def _part(folder: Path, body: dict[str, Any], role: str) -> Any:
    return PARTS.get(f"{role}:{body['parts'][role]}").load(folder / "parts" / role)


class Generator:
    """A generator that has learnt.

    Attributes:
        body: What it was made of: settings, patients of each part of the data, facts of the parts, what is left out.
        parts: Role -> fitted part.
        digest: SHA-256 over every file of its folder.
    """

    def __init__(self, *, body: dict[str, Any], parts: dict[str, Any], digest: str) -> None:
        self.body, self.parts, self.digest = body, parts, digest

    def sample(self, wish: Wish, *, seed: int, tell: Tell | None = None) -> Made:
        """Make patients. Equal wishes and seeds give equal patients, however the work is shared out.

        Raises:
            AuscultError: the wish names what was never learnt, or what no patient can have.
        """
        made: list[Made] = []
        shares = range(ceil(wish.patients / AT_ONCE))
        with fixed_threads(), ThreadPoolExecutor(cores(), thread_name_prefix="patients") as pool:
            waiting = [pool.submit(self.share, wish, number, seed=seed) for number in shares]
            try:
                for number, item in enumerate(waiting):
                    made.append(item.result())
                    if tell:
                        done = min((number + 1) * AT_ONCE, wish.patients)
                        tell(done / wish.patients, f"{done:,} of {wish.patients:,} patients")
            finally:
                pool.shutdown(cancel_futures=True)
        return joined(made)

    def share(self, wish: Wish, number: int, *, seed: int) -> Made:
        """One share of a wish, from 0: what one worker makes."""
        count = min(AT_ONCE, wish.patients - number * AT_ONCE)
        own = int(generator(seed, "share", str(number)).integers(2**32))
        draft = self.parts["tables"].sample(replace(wish, patients=count), seed=own)
        # Other wishes make other patients, also with the same seed: no two patients share a key.
        wished = sha256_json(replace(wish, patients=1).to_dict())[:6]
        studies = _with_keys(draft, f"SYN-{self.digest[:8]}-{wished}-{seed}", first=number * AT_ONCE)
        if "series" in self.parts:
            studies = replace(studies, series=self.parts["series"].sample(studies, seed=own))
        chosen = self._with_images(studies, own)
        studies = replace(studies, images=chosen.images) if "image" in self.parts else studies
        return self._with_reports(studies, chosen, own)

    def losses(self, studies: LinkedStudies, *, seed: int) -> dict[str, npt.NDArray[np.float32]]:
        """How badly each part explains given studies, by role: float32 [n], the lower the better known.

        NaN where a study lacks what the part makes. A part that cannot tell is left out. What an attacker with the
        weights in hand can compute.
        """
        image = self.parts.get("image")
        latents = image.encode(studies.images) if image is not None and studies.images is not None else None
        return {
            role: part.losses(studies, latents, seed=seed)
            for role, part in self.parts.items()
            if isinstance(part, Explains)
        }

    @property
    def canaries(self) -> tuple[str, ...]:
        """The invented texts that the report part learnt."""
        return tuple(self.body["canaries"])

    def canary_losses(self, like: LinkedStudies, texts: list[str], *, seed: int) -> npt.NDArray[np.float32] | None:
        """Losses of the report part on texts; None where it has none, or cannot tell."""
        return self.losses(as_studies(like, texts), seed=seed).get("report")

    def _with_images(self, studies: LinkedStudies, seed: int) -> Chosen:
        nothing = np.zeros(len(studies), dtype=np.bool_)
        if "image" not in self.parts:
            return Chosen(images=np.zeros((len(studies), 0, 0), dtype=np.uint8), unresolved=nothing)
        return choose_images(
            self.parts["image"], self.parts.get("critic"), self.body["bars"], studies, seed=seed
        )  # fmt: skip

    def _with_reports(self, studies: LinkedStudies, chosen: Chosen, seed: int) -> Made:
        flags = {"image_unresolved": chosen.unresolved}
        if "report" in self.parts:
            image = self.parts.get("image")
            latents = image.encode(studies.images) if image is not None and studies.images is not None else None
            studies = replace(studies, texts=self.parts["report"].sample(studies, latents, seed=seed))
            if REPORT in studies.texts:
                flags["report_unresolved"] = report_faults(studies.texts[REPORT].tolist(), studies.plans).any
        return Made(studies=studies, flags=flags, acceptance=chosen.acceptance)


def joined(made: list[Made]) -> Made:
    """Shares of one wish, in their order."""
    total: dict[str, Acceptance] = {}
    for item in (one for share in made for one in share.acceptance):
        old = total.get(item.stratum)
        total[item.stratum] = item if old is None else replace(
            old, n=old.n + item.n, first=old.first + item.first, accepted=old.accepted + item.accepted
        )  # fmt: skip
    return Made(
        studies=LinkedStudies.joined([share.studies for share in made]),
        flags={name: np.concatenate([share.flags[name] for share in made]) for name in made[0].flags},
        acceptance=tuple(total[name] for name in sorted(total)),
    )


@dataclass(kw_only=True)
class _Training:
    """One training: which parts are finished, and how to learn those that are not."""

    settings: GeneratorSettings
    finished: Finished
    tell: Tell
    log: Log
    data: str
    canaries: list[str]

    def learn(
        self, learning: LinkedStudies, critic: LinkedStudies, held_out: LinkedStudies
    ) -> tuple[dict[str, Any], dict[str, str]]:
        fitted: dict[str, Any] = {}
        left_out: dict[str, str] = {}
        done = 0.0
        for role in ORDER:
            name = self.settings.parts.get(role)
            if name is None:
                left_out[role] = "the settings name no part for it"
                continue
            part, own = PARTS.get(f"{role}:{name}"), critic if role == "critic" else learning
            if reason := part.missing(own):
                left_out[role] = reason
            else:
                own = with_canaries(own, self.canaries) if role == "report" else own
                fitted[role] = self._fitted(role, part, own, done, fitted | {"held_out": held_out})
            done += WEIGHT[role]
            self.tell(min(done, 1.0), f"{role}: done" if role in fitted else f"{role}: left out, {left_out[role]}")
        if "tables" not in fitted:
            raise CohortError(
                f"Nothing can be learnt from this cohort: {left_out['tables']}.",
                remedy="Give a cohort with at least one attribute or label.",
            )
        return fitted, left_out

    def _fitted(self, role: str, part: Any, studies: LinkedStudies, done: float, others: dict[str, Any]) -> Any:
        key = key_of(
            recipe=RECIPE, settings=self.settings.to_dict(), data=self.data, role=role,
            others=sorted(name for name in others if name != "held_out"),
        )  # fmt: skip
        path = self.finished.path(role)
        if self.finished.has(role, key):
            return part.load(path)
        shutil.rmtree(path, ignore_errors=True)
        learning = Learning(
            settings=self.settings,
            tell=lambda share, message: self.tell(done + WEIGHT[role] * share, f"{role}: {message}"),
            log=self.log,
            resume=self.finished.folder,
        )
        found = part.fit(studies, learning, **others)
        path.mkdir(parents=True)
        found.save(path)
        self.finished.keep(role, key)
        return found


def _check_enough(studies: LinkedStudies) -> None:
    patients = len(studies.patients)
    if patients < LEAST_PATIENTS:
        raise CohortError(
            f"The cohort has {patients} patients; a generator learns from at least {LEAST_PATIENTS}.",
            remedy="Give a larger cohort: from so few, what is made would be copies, or nothing like them.",
        )


def _with_keys(studies: LinkedStudies, prefix: str, *, first: int) -> LinkedStudies:
    """Studies under keys of their own, which no real patient has."""
    number = {patient: first + place + 1 for place, patient in enumerate(studies.patients)}
    patients = [f"{prefix}-P{number[patient]:06d}" for patient in studies.patient_ids.tolist()]
    visits = studies.visits().tolist()
    named = [f"{patient}-{visit + 1}" for patient, visit in zip(patients, visits, strict=True)]
    return replace(
        studies, patient_ids=np.array(patients, dtype=object), study_ids=np.array(named, dtype=object)
    )  # fmt: skip


def _put_together(folder: Path, finished: Finished, body: dict[str, Any]) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for role in body["parts"]:
            shutil.copytree(finished.path(role), partial / "parts" / role)
        (partial / BODY).write_text(json.dumps(body, sort_keys=True, indent=1) + "\n")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
