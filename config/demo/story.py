"""The main job, told once: every step through the services and the workers, and none of them twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from config.demo.decisions import ask_condition, put_policy_in_force, sign, tell_role, use_and_watch
from config.demo.display import DemoResult, Display
from config.demo.orders import (
    BACKBONE,
    DETERIORATION,
    PRETRAINING,
    PROTOCOLS,
    PURPOSES,
    RARE,
    REFERENCE,
    WRITTEN,
    HeadOrder,
)
from config.demo.padchest import PadchestReady, PadchestStory
from config.demo.regulation import DOCUMENTS, MORE_DOCUMENTS, grant_access, tell_regulation
from config.demo.smollm import Ready, SmollmStory
from config.demo.steps import Steps
from config.demo.ward import WardStory
from config.embedded.stack import Stack

TRAINING_PATIENTS = 2000
SHARE_ERASED = 0.5
NIH = "NIH text-mined chest X-ray labels"
BIASED, TWIN = "1.0-biased", "1.1"
TASKS = ("findings", "deterioration", "rare")
HELD_OUT = "Simulated held-out patients"
TRAINING = {
    BIASED: "Simulated training patients, labels as recorded (planted underdiagnosis)",
    TWIN: "Simulated training patients, labels as they are",
}


def tell_story(
    *,
    stack: Stack,
    display: Display,
    patients: int,
    smollm: Ready | None = None,
    padchest: PadchestReady | None = None,
) -> DemoResult:
    """Run the main job in the home folder of ``stack``; what an earlier call finished is not done again.

    Args:
        smollm: For the audit of a language model as well, once the rest is done.
        padchest: For the drill on real studies as well, after that.
    """
    import django

    django.setup()
    from config.demo.people import demo_password, ensure_people
    from config.demo.waiting import Waiter

    password = demo_password(stack.home)
    people, wait = ensure_people(password), Waiter(supervisor=stack.supervisor, display=display)
    story = _Story(home=stack.home, people=people, wait=wait, display=display)
    nih = story.audit_recorded_system()
    models = story.audit_reference_models(patients=patients)
    result = story.decide(nih=nih, models=models, written=story.audit_written_reports(), password=password)
    told: dict[str, Any] = {"home": stack.home, "people": people, "wait": wait, "display": display}
    WardStory(**told).watch(models[1].version)
    if smollm is not None:
        language = SmollmStory(**told)
        result = replace(result, runs=[*result.runs, language.judged(language.audit(smollm))])
    if padchest is not None:
        PadchestStory(**told).run_drill(padchest)
    return result


class _Story(Steps):
    # a. A real system on real data

    def audit_recorded_system(self) -> Any:
        """Register the NIH labeller and 4,376 real studies, and request the audit. The workers begin at once."""
        from evaluation.engine.protocol import bundled_source
        from models_registry.cohorts import write_nih_expert_cohort

        self.display.say("a. A real system on real data: the NIH labeller against expert radiologists")
        files = write_nih_expert_cohort(self.home / "sources" / "nih")
        system = self.system(
            NIH,
            provider="National Institutes of Health (labels mined from reports)",
            purpose="Label chest radiographs with findings mined from their text reports, for research and training.",
            risk="Not placed on the market as a device; audited as an example of a recorded system.",
        )
        cohort = self.cohort("NIH ChestX-ray14 studies with expert labels", files)
        tell_role(cohort, "external_test", people=self.people)
        version = self._recorded_version(system, files.predictions)
        protocol = self.protocol(bundled_source("nih-labels-v1"))
        return self.run(version, cohort, protocol)

    def _recorded_version(self, system: Any, predictions: Path) -> Any:
        from models_registry.services.versions import register_version

        if existing := system.versions.filter(label="2017").first():
            return existing
        folder = self.home / "sources" / "nih-predictions"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(predictions, folder / "predictions.parquet")
        return register_version(
            system=system,
            label="2017",
            adapter="recorded",
            folder=folder,
            notes="Prediction log.",
            by=self.people["elena"],
        )

    # b. A model that is really run

    def audit_reference_models(self, *, patients: int) -> list[Any]:
        """Simulate cohorts, pretrain one backbone, put light heads on it, and request an audit of each."""
        from evaluation.engine.protocol import bundled_source

        self.display.say("b. Models that are really run: one backbone, and four light heads on it")
        cohorts = self._generations(patients)
        orders = [
            HeadOrder(system=self._subject(REFERENCE), label=BIASED, task="findings", cohort=cohorts[TRAINING[BIASED]]),
            HeadOrder(system=self._subject(REFERENCE), label=TWIN, task="findings", cohort=cohorts[TRAINING[TWIN]]),
            HeadOrder(
                system=self._subject(DETERIORATION), label="1.0", task="deterioration", cohort=cohorts[TRAINING[TWIN]]
            ),
            HeadOrder(system=self._subject(RARE), label="1.0", task="rare", cohort=cohorts[TRAINING[TWIN]]),
        ]
        versions = self._heads(orders, backbone=self._backbone(cohorts[TRAINING[TWIN]]))
        protocols = {name: self.protocol(bundled_source(name)) for name in sorted(set(PROTOCOLS.values()))}
        put_policy_in_force(self.people)
        for name, cohort in cohorts.items():
            tell_role(cohort, "internal_test" if name == HELD_OUT else "training", people=self.people)
        return [
            self.run(version, cohorts[HELD_OUT], protocols[PROTOCOLS[order.task]])
            for order, version in zip(orders, versions, strict=True)
        ]

    def audit_written_reports(self) -> Any:
        """Hold the reports that the backbone writes against the experts', and ask for some of them again."""
        from evaluation.engine.protocol import bundled_source
        from models_registry.models import CohortVersion

        backbone = self._subject(BACKBONE, kind="backbone").versions.get(label="1.0")
        cohort = CohortVersion.objects.filter(cohort__name=HELD_OUT).latest("pk")
        return self.run(backbone, cohort, self.protocol(bundled_source(WRITTEN)))

    def _generations(self, patients: int) -> dict[str, Any]:
        from models_registry.models import JobStatus
        from synthetic.models import Generation
        from synthetic.services.generations import request_generation

        planted = {"attribute": "sex", "value": "F", "share": SHARE_ERASED}
        same = {"tasks": list(TASKS)}
        orders: dict[str, dict[str, Any]] = {
            TRAINING[BIASED]: {"patients": TRAINING_PATIENTS, "seed": 11, "underdiagnosis": planted, **same},
            TRAINING[TWIN]: {"patients": TRAINING_PATIENTS, "seed": 11, **same},
            HELD_OUT: {"patients": patients, "seed": 12, **same},
        }
        rows = [
            Generation.objects.filter(cohort_name=name).exclude(status=JobStatus.FAILED).first()
            or request_generation(cohort_name=name, settings=settings, by=self.people["elena"])
            for name, settings in orders.items()
        ]
        self.wait.until(rows, done={JobStatus.DONE}, title=lambda row: row.cohort_name)
        return {row.cohort_name: row.result for row in rows}

    def _backbone(self, cohort: Any) -> Any:
        """Pretrained without any label, so that no defect of recorded labels can be in it."""
        from models_registry.models import JobStatus
        from models_registry.services.training import request_training

        system = self._subject(BACKBONE, kind="backbone")
        row = system.trainings.filter(version_label="1.0").exclude(status=JobStatus.FAILED).first()
        row = row or request_training(
            system=system, version_label="1.0", cohort=cohort, settings=PRETRAINING, by=self.people["elena"]
        )
        self.wait.until([row], done={JobStatus.DONE}, title=lambda _: "Pretraining the backbone")
        return row.result

    def _heads(self, orders: list[HeadOrder], *, backbone: Any) -> list[Any]:
        from models_registry.models import JobStatus
        from models_registry.services.training import request_training
        from synthetic.simulator import TASKS as LABELS_OF

        rows = [
            order.system.trainings.filter(version_label=order.label).exclude(status=JobStatus.FAILED).first()
            or request_training(
                system=order.system,
                version_label=order.label,
                cohort=order.cohort,
                settings=order.settings(LABELS_OF[order.task]),
                backbone=backbone,
                by=self.people["elena"],
            )
            for order in orders
        ]
        self.wait.until(rows, done={JobStatus.DONE}, title=lambda row: f"Head of {row.system.name} {row.version_label}")
        return [row.result for row in rows]

    # c. Protocol first

    def _subject(self, name: str, *, kind: str = "system") -> Any:
        """One of the systems of our own making."""
        return self.system(
            name,
            provider="Auscult project",
            purpose=PURPOSES[name],
            risk="Test subject of this platform, on no market; answered for as a device of MDR class IIa.",
            kind=kind,
        )

    # d. Verdicts and decisions, e. Reports and bundle

    def decide(self, *, nih: Any, models: list[Any], written: Any, password: str) -> DemoResult:
        """Wait for the verdicts, let the committee vote, issue reports and bundles, and verify.

        Args:
            written: The audit of what the backbone writes. It is read and not voted on: a backbone is no system.
        """
        runs = [nih, *models]
        self.wait.runs([*runs, written])
        self.display.say("d. The committee reads the verdicts and votes")
        reviews = [self._review(run) for run in runs]
        ask_condition(reviews[3], people=self.people)
        for review in reviews[1:]:
            self._vote(review)
        self.display.say("e. What applies to the system, what is stated about it, reports and signed bundles")
        tell_regulation(reviews[2].version, people=self.people)
        bundles = self._documents(reviews[1:3])
        grant_access(reviews[2].version.system, people=self.people)
        self.display.say("f. What was approved is used, and watched")
        use_and_watch(reviews[2].version, people=self.people)
        path, verification = self._verify(bundles[-1])
        return DemoResult(
            bundle=path,
            verified=verification.ok,
            verification=[f"{'ok' if check.ok else 'FAILED'}: {check.title}" for check in verification.checks],
            runs=[self.judged(run) for run in (*runs, written)],
            decisions={self.name(review.run): review.get_status_display().lower() for review in reviews},
            password=password,
        )

    def _review(self, run: Any) -> Any:
        from governance.services.reviews import open_review

        return run.reviews.first() or open_review(run=run, by=self.people["clara"])

    def _vote(self, review: Any) -> None:
        from governance.models import Review, Vote
        from governance.services.reviews import cast_vote

        if review.run.outcome == "insufficient":
            return  # the review stays open: the committee waits for more patients
        approve = review.run.outcome == "pass"
        choice = Vote.Choice.APPROVE if approve else Vote.Choice.REJECT
        reason = (
            "Every primary criterion passes with its interval inside the margin."
            if approve
            else "A primary criterion fails: what the protocol asks for patients' sake is not reached."
        )
        for name in ("mina", "tom"):
            review.refresh_from_db()
            if review.status == Review.Status.OPEN and not review.votes.filter(voter=self.people[name]).exists():
                person = self.people[name]
                cast_vote(review=review, choice=choice, rationale=reason, by=person, signed=sign(person))
        review.refresh_from_db()

    def _documents(self, reviews: list[Any]) -> list[Any]:
        from governance.models import Bundle, Report
        from governance.services.bundles import request_bundle
        from governance.services.reports import request_report

        clara = self.people["clara"]
        reports = [
            review.run.reports.filter(kind=kind, language=language).exclude(status=Report.Status.FAILED).first()
            or request_report(kind=kind, version=review.version, run=review.run, language=language, by=clara)
            for review, wanted in zip(reviews, (DOCUMENTS, DOCUMENTS + MORE_DOCUMENTS), strict=True)
            for kind, language in wanted
        ]
        self.wait.until(reports, done={Report.Status.ISSUED}, title=lambda row: f"{row.kind} of {row.version}")
        bundles = [
            review.bundles.exclude(status=Bundle.Status.FAILED).first() or request_bundle(review=review, by=clara)
            for review in reviews
        ]
        self.wait.until(bundles, done={Bundle.Status.ISSUED}, title=lambda row: f"Bundle of {row.review.version}")
        return bundles

    def _verify(self, bundle: Any) -> tuple[Path, Any]:
        from governance.bundle.verify import verify_bundle

        path = self.home / "bundles" / bundle.file_name
        return path, verify_bundle(path)
