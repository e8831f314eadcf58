"""One of everything that the rooms of governance keep, for a browser: with long words, so that narrow pages show it."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from config.demo.decisions import use_and_watch
from core.heads import sign_head
from governance.models import Review
from governance.policies.form import bundled_source
from governance.services.conditions import propose_condition
from governance.services.deployments import deploy, suspend_deployment
from governance.services.policies import approve_policy, propose_policy
from governance.services.releases import request_release
from governance.services.risks import RiskReport, record_risk
from models_registry.models import ModelVersion
from tests.governance.signed import signed
from tests.pages import regulation_scene
from tests.pages.scene import PEOPLE, house, person

LONG = "Herz-und-Lungenultraschalluntersuchungsdokumentation"


def furnish() -> None:
    """Addresses with the number 1 are of what this makes first; deployment 2 is suspended, and review 1 is open."""
    made = house()
    people = {name: person(name) for name in PEOPLE}
    version: ModelVersion = made["twin"]
    regulation_scene.answers(version.system)
    report = RiskReport(
        title=f"Effusions are missed in images taken in bed: {LONG}",
        kind="bias",
        hazard="Images taken in bed are judged by what was learned from others.",
        cause="Too few of them were among the training patients.",
        harm="A drainage comes late.",
    )
    record_risk(system=version.system, report=report, by=people["elena"])
    use_and_watch(version, people=people)
    other = deploy(
        version=version,
        site=LONG,
        unit="",
        share=100,
        contact_name="Ines Vogel",
        contact_email="ines@example.org",
        by=people["clara"],
        signed=signed(people["clara"]),
    )
    suspend_deployment(deployment=other, reason=f"Two were missed in one day. {LONG}", by=people["lea"])
    source = bundled_source("reference-systems-v1").replace("reference-multimodal-chest-model", version.system.slug)
    policy = propose_policy(source=source, by=people["amir"])
    approve_policy(policy=policy, by=people["clara"], signed=signed(people["clara"]))
    review: Review = made["review"]
    due = timezone.now() + timedelta(days=60)
    propose_condition(
        review=review, text=f"Repeat the audit. {LONG}", owner=people["elena"], due_at=due, by=people["mina"]
    )
    purpose, recipients = f"Teaching students how audits are read. {LONG}", f"The faculty of {LONG}"
    request_release(cohort=made["cohort"], purpose=purpose, recipients=recipients, by=people["elena"])
    sign_head()
