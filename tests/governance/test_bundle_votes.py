"""Bundles of decisions under a policy, with conditions, recusals and accepted gaps; and what a forger may try."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from governance import execution_bundles
from governance.bundle.build import build_bundle
from governance.bundle.verify import verify_bytes
from governance.models import Review
from governance.services.bundles import request_bundle
from governance.services.conditions import propose_condition
from governance.services.policies import accept_insufficiency
from governance.services.reviews import cast_vote, open_review, recuse
from models_registry.models import ModelVersion
from tests.governance.conftest import make_version
from tests.governance.forging import KEY, edited, set_, unpack
from tests.governance.machine_scene import audit, make_scene, put_in_force
from tests.governance.signed import signed


@pytest.fixture
def scene(db: None, home: Path, plain_report: Any) -> SimpleNamespace:
    return make_scene()


@pytest.fixture
def issued(scene: SimpleNamespace, home: Path) -> Callable[..., bytes]:
    """Makes the bundle of a decision."""

    def make(*, policy: bool = True, outcome: str = "pass", conditions: int = 0) -> bytes:
        rules = put_in_force(scene, signed) if policy else None
        version = ModelVersion.objects.get(pk=make_version(scene, "1.0").pk)
        run = audit(version, home, outcome=outcome, by=scene.amir, people=scene)
        if outcome == "insufficient" and rules:
            until = timezone.now() + timedelta(days=30)
            facts = {"item": "fairness", "reason": "A rare disease.", "expires_at": until}
            accept_insufficiency(version=version, policy=rules, **facts, by=scene.cora, signed=signed(scene.cora))
        review = open_review(run=run, by=scene.clara)
        for number in range(conditions):
            due_at = timezone.now() + timedelta(days=30)
            propose_condition(review=review, text=f"Do {number}.", owner=scene.elena, due_at=due_at, by=scene.mina)
        recuse(review=review, person=scene.tom, reason="My own unit.", by=scene.tom)
        for voter in (scene.mina, scene.lea):
            cast_vote(review=review, choice="approve", rationale="I read it.", by=voter, signed=signed(voter))
        review = Review.objects.select_related("policy").get(pk=review.pk)
        bundle = request_bundle(review=review, by=scene.clara)
        return build_bundle(execution_bundles.gather(bundle), KEY)

    return make


def problems(raw: bytes) -> list[str]:
    return [problem.message for check in verify_bytes(raw).checks for problem in check.problems]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"policy": False}, "evidence pass, approved with 2 votes."),
        ({}, "evidence pass, approved with 2 votes."),
        ({"conditions": 1}, "evidence pass, approved under 1 condition with 2 votes."),
        ({"conditions": 2, "policy": False}, "evidence pass, approved under 2 conditions with 2 votes."),
    ],
)
def test_a_decision_verifies_and_is_told_in_words(given: dict[str, Any], words: str, issued: Any) -> None:
    raw = issued(**given)
    assert problems(raw) == [] and verify_bytes(raw).summary.endswith(words)


def test_an_accepted_gap_is_carried_and_told(issued: Any) -> None:
    raw = issued(outcome="insufficient")
    summary, until = verify_bytes(raw).summary, (timezone.now() + timedelta(days=30)).date().isoformat()
    assert problems(raw) == []
    assert summary.endswith(f"evidence insufficient (accepted by cora until {until}), approved with 2 votes.")


FORGERIES: dict[str, tuple[dict[str, Any], Callable[[Any], None], str]] = {
    "no acceptance": ({"outcome": "insufficient"}, set_("acceptances", []), "whose evidence does not pass"),
    "an acceptance of other evidence": (
        {"outcome": "insufficient"}, set_("acceptances", 0, "evidence", "0" * 64), "whose evidence does not pass",
    ),
    "an acceptance by the runner": (
        {"outcome": "insufficient"}, set_("acceptances", 0, "accepted_by", "amir"), "whose evidence does not pass",
    ),
    "an acceptance that had ended": (
        {"outcome": "insufficient"}, set_("acceptances", 0, "expires_at", "2020-01-01"), "whose evidence does not pass",
    ),
    "an acceptance by somebody else": (
        {"outcome": "insufficient"}, set_("acceptances", 0, "accepted_by", "lea"), "knows nothing of the acceptance",
    ),
    "a gate that passed": (
        {"outcome": "insufficient"}, set_("gate", "items", 0, "state", "met"), "is not what the ledger states",
    ),
    "a milder policy": ({}, set_("policy", "body", "review", "required_roles", []), "do not have the digest"),
    "no policy": ({}, set_("policy", None), "was held under another policy"),
    "no gate": ({}, set_("gate", None), "does not say how this version stood"),
    "a condition left out": ({"conditions": 2}, lambda body: body["conditions"].pop(), "conditions are not those"),
    "no condition at all": ({"conditions": 1}, set_("conditions", []), "do not give the decision"),
    "a milder condition": ({"conditions": 1}, set_("conditions", 0, "text", "Nothing."), "conditions are not those"),
    "a later day": ({"conditions": 1}, set_("conditions", 0, "due_at", "2099-01-01"), "conditions are not those"),
    "another role": ({}, set_("roles", {"clinician_lead": "mina"}), "the roles that it states are not those"),
    "a role of nobody": ({}, set_("roles", {}), "a role that the policy requires is not among"),
    "a recusal left out": ({}, set_("recusals", []), "other recusals than these"),
    "a recusal of a voter": ({}, set_("recusals", 0, "person", "mina"), "mina voted, but is recused"),
    "another moment of signing": ({}, set_("votes", 0, "signed_at", "2020-01-01"), "one entry 'vote.cast' by mina"),
    "other terms of a vote": ({}, set_("votes", 0, "terms", "0" * 64), "under other conditions than these"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_what_was_changed_is_named(name: str, issued: Any) -> None:
    given, change, words = FORGERIES[name]
    found = problems(edited(unpack(issued(**given)), "review.json", change))
    assert any(words in message for message in found), found
