"""Reviews to open in a browser, and the forms of their room."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from core.models import Role, RoleGrant
from evaluation.models import AuditRun
from governance.models import Comment, Condition, Recusal, Review, Risk, Vote
from models_registry.models import ModelVersion
from tests.pages import scene
from tests.unguarded import without_trigger

SignIn = Callable[[str], Client]
SCRIPT = "<script>alert('x')</script> in a text\nof two lines"
ESCAPED = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; in a text<br>of two lines"
REASON = "The evidence is clear in every group that was asked for."


def url(review: Review) -> str:
    return reverse("review", args=[review.pk])


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


@pytest.fixture
def passing(house: SimpleNamespace) -> Review:
    """An open review of a version whose audit passes."""
    version = scene.version("2.0", status="in_review")
    return scene.review(scene.run(version, house.cohort, house.protocol, outcome="pass"))


@pytest.fixture
def conditional(house: SimpleNamespace) -> Condition:
    """A condition of a version that is approved under it: Elena sees to it within ten days."""
    version = scene.version("2.1", status="in_review")
    run = scene.run(version, house.cohort, house.protocol, outcome="pass")
    review = scene.review(run, status="conditional", votes=(("tom", "approve"), ("mina", "approve")))
    ModelVersion.objects.filter(pk=version.pk).update(status="conditional")
    return condition_of(review, status="open")


def condition_of(review: Review, *, owner: str = "elena", days: float = 10.5, **given: Any) -> Condition:
    facts = {"text": "Publish the limits of use.", "proposed_by": scene.person("tom")} | given
    due_at = timezone.now() + timedelta(days=days)
    return Condition.objects.create(review=review, owner=scene.person(owner), due_at=due_at, **facts)


def ballot(choice: str = "reject", **given: str) -> dict[str, str]:
    return {"choice": choice, "rationale": REASON, "password": scene.PASSWORD} | given


def proposal(**given: Any) -> dict[str, Any]:
    due = (timezone.localdate() + timedelta(days=20)).isoformat()
    facts = {"text": "Publish the limits of use.", "owner": scene.person("elena").pk, "due_at": due} | given
    return {f"proposal-{name}": value for name, value in facts.items()}


def more(review: Review, house: SimpleNamespace) -> None:
    for number in range(6):
        Comment.objects.create(review=review, author=scene.person("mina"), text=f"Comment {number}")
        condition_of(review, owner=("amir", "elena", "lea")[number % 3], text=f"Condition {number}")
        scene.run(review.version, house.real, house.protocol, shards=2)
        scene.run(house.twin, house.real, house.protocol, shards=2)
        Risk.objects.create(
            system=house.system, number=90 + number, title="More", kind="clinical", hazard="h", cause="c", harm="m"
        )
    for username in ("tom", "lea"):
        Vote.objects.create(
            review=review,
            voter=scene.person(username),
            choice="reject",
            rationale=REASON,
            submitter=review.submitter,
            runner=review.runner,
            protocol_approver=review.protocol_approver,
        )
    for number in range(5):
        member = scene.person(f"member{number}")
        RoleGrant.objects.create(user=member, role=Role.COMMITTEE_MEMBER)
        if number % 2:
            Recusal.objects.create(review=review, person=member, reason=REASON, recorded_by=scene.person("clara"))


def planted(run: AuditRun, **changes: Any) -> None:
    """Evidence of a run in which one group is missed far more often, and a fact is declared otherwise."""
    evidence = scene.store().get_json(run.evidence_digest) | {"protocol": {"digest": "p"}, "cohort": {"digest": "c"}}
    evidence["version"] = {"digest": run.version.digest, "adapter": "fusion", "config": {"labels": ["effusion"]}}
    for name, value in changes.items():
        evidence[name] = evidence[name] | value
    digest = scene.store().put_json(evidence)
    AuditRun.objects.filter(pk=run.pk).update(evidence_digest=digest)
    with without_trigger("review_content_stays"):
        Review.objects.filter(run=run).update(evidence_digest=digest)
