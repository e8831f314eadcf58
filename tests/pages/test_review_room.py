"""The review room: what a committee finds there, in which order, what each person may do, and what is refused."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from evaluation.models import AuditRun
from governance.models import Comment, Condition, Policy, Recusal, Review, Risk, Vote
from governance.policies.form import Policy as Rules
from governance.policies.form import bundled_names, bundled_source
from tests.pages import scene
from tests.pages.review_room_steps import (
    ESCAPED,
    REASON,
    SCRIPT,
    SignIn,
    ballot,
    condition_of,
    conditional,
    more,
    passing,
    planted,
    proposal,
    text_of,
    url,
)
from tests.pages.test_markup import Page
from tests.unguarded import without_trigger

__all__ = ["conditional", "passing"]


# ---- What is there


def test_the_room_is_read_from_the_question_to_the_papers(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = text_of(sign_in("mina").get(url(house.review)))
    titles = ["May Chest model 1.0-biased be used?", "What the audit found", "What changed since the last approval",
              "Conditions", "Discussion", "Votes", "Who does not vote", "Your vote", "Close without a decision",
              "Reports and bundles"]  # fmt: skip
    places = [re.search(rf"<h2[^>]*>{re.escape(title)}</h2>", text) for title in titles]
    assert None not in places
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)
    assert "Léa Martin, Mina Park" in text  # whom it waits for
    assert "Elena Rossi</strong> submitted this version" in text
    assert "Age of the evidence" in text


def test_every_link_within_the_page_leads_somewhere(passing: Review, sign_in: SignIn) -> None:
    text = sign_in("mina").get(url(passing)).content.decode()
    inside = set(re.findall(r'href="#([\w-]+)"', text))
    assert inside >= {"question", "found", "changed", "conditions", "discussion", "votes", "ballot", "papers"}
    assert inside - set(re.findall(r'id="([\w-]+)"', text)) == set()


@pytest.mark.parametrize("username", ["clara", "mina", "elena"])
def test_full_rooms_are_well_formed(
    username: str, passing: Review, conditional: Condition, house: SimpleNamespace, sign_in: SignIn
) -> None:
    """With claims to confirm, conditions to take back, comments, recusals and a difference to the last version."""
    planted(passing.run)
    condition_of(conditional.review, status="claimed", claim="Done.", claimed_by=scene.person("elena"))
    condition_of(passing)
    more(passing, house)
    for review in (passing, conditional.review):
        page = Page(sign_in(username).get(url(review)).content.decode())
        assert (page.faults, page.stack, page.unnamed(), page.tags["h1"]) == ([], [], [], 1)
        assert [name for name, times in page.ids.items() if times > 1] == []


@pytest.mark.parametrize("username", ["amir", "clara", "mina", "elena", "dora", "ada"])
def test_everybody_of_the_house_reads_open_and_decided_rooms(
    username: str, house: SimpleNamespace, sign_in: SignIn
) -> None:
    client = sign_in(username)
    assert client.get(url(house.review)).status_code == client.get(url(house.decided)).status_code == 200
    assert client.get(reverse("conditions")).status_code == 200


def test_a_regulator_reads_none_of_it(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("rita")
    assert {client.get(path).status_code for path in (url(house.review), reverse("conditions"))} == {403}
    assert client.post(reverse("comment-new", args=[house.review.pk]), {"comment-text": "Hello"}).status_code == 403


# ---- What changed


def measured(value: float) -> dict[str, Any]:
    facts = {"suite": "fairness", "metric": "tpr", "label": "effusion", "attribute": "sex", "group": "F & >=80"}
    return facts | {"value": value, "low": value - 0.05, "high": value + 0.05, "level": 0.95, "n": 188}


def verdict(outcome: str) -> dict[str, Any]:
    facts = {"criterion": "tpr-gap", "metric": "tpr_difference", "label": "effusion", "attribute": "sex"}
    return facts | {"outcome": outcome, "primary": True, "statement": "Fails: women over 80 are missed: .27"}


def test_a_planted_change_is_told_and_what_is_within_noise_is_counted(
    house: SimpleNamespace, passing: Review, sign_in: SignIn
) -> None:
    Review.objects.filter(pk=house.decided.pk).update(closed_at=timezone.now() - timedelta(days=30))
    other = measured(0.9) | {"group": "M & <60"}
    before = {"verdicts": [verdict("pass")], "measurements": [measured(0.88), other]}
    planted(getattr(house, "pass"), result=before, version={"digest": "a" * 64})
    after = {"verdicts": [verdict("fail")], "measurements": [measured(0.61), other | {"value": 0.89}]}
    planted(passing.run, result=after, version={"digest": "b" * 64, "adapter": "recorded"})
    Risk.objects.create(
        system=house.system, number=1, title="Missed in old women", kind="clinical", hazard="h", cause="c", harm="m"
    )
    text = text_of(sign_in("mina").get(url(passing)))
    assert "Compared with" in text and "Chest model 1.1</a>" in text
    assert "1 measurement beyond noise" in text and "F &amp; ≥80" in text and "−.270" in text
    assert "<dt>Verdicts that changed</dt><dd>1 <small>of 1</small>" in text
    assert "recorded" in text and "Adapter" in text and "aaaaaaaaaaaa…" in text
    assert "Missed in old women" in text


def test_other_rules_are_not_compared_and_the_page_says_so(
    house: SimpleNamespace, passing: Review, sign_in: SignIn
) -> None:
    Review.objects.filter(pk=house.decided.pk).update(closed_at=timezone.now() - timedelta(days=30))
    planted(getattr(house, "pass"), protocol={"digest": "q", "name": "imaging-v0"})
    planted(passing.run, protocol={"digest": "p", "name": "imaging-v1"})
    text = text_of(sign_in("mina").get(url(passing)))
    assert "What was measured cannot be compared" in text and "imaging-v0" in text
    assert "Measurements beyond noise" not in text


def test_another_audit_of_the_same_kind_is_compared_instead(
    house: SimpleNamespace, passing: Review, sign_in: SignIn
) -> None:
    """The approved version was reviewed on other patients; its other audit was on the same ones."""
    Review.objects.filter(pk=house.decided.pk).update(closed_at=timezone.now() - timedelta(days=30))
    reviewed = house.decided.run
    AuditRun.objects.filter(pk=reviewed.pk).update(cohort=house.real)
    like = scene.run(house.twin, house.cohort, house.protocol, outcome="pass")
    text = text_of(sign_in("mina").get(url(passing)))
    assert f">audit {like.pk}</a> of that one" in text and f">audit {reviewed.pk}</a> of that one" not in text


def test_evidence_that_is_gone_is_named(house: SimpleNamespace, passing: Review, sign_in: SignIn) -> None:
    Review.objects.filter(pk=house.decided.pk).update(closed_at=timezone.now() - timedelta(days=30))
    scene.store().path(getattr(house, "pass").evidence_digest).unlink()
    planted(passing.run)
    response = sign_in("mina").get(url(passing))
    assert response.status_code == 200 and "The two cannot be compared" in text_of(response)


def test_without_an_earlier_approval_there_is_nothing_to_compare(house: SimpleNamespace, sign_in: SignIn) -> None:
    Review.objects.filter(pk=house.decided.pk).update(closed_at=timezone.now() + timedelta(days=1))
    assert "there is nothing to compare with" in text_of(sign_in("mina").get(url(house.review)))


# ---- The policy


def test_what_the_policy_asks_stands_item_by_item(passing: Review, sign_in: SignIn) -> None:
    source = bundled_source(bundled_names()[0])
    rules = Rules.from_yaml(source)
    policy = Policy.objects.create(
        name=rules.name,
        number=1,
        title=rules.title,
        digest=rules.digest,
        source=source,
        body=rules.to_dict(),
        status="approved",
        proposed_by=scene.person("amir"),
        approved_by=scene.person("clara"),
        approved_at=timezone.now(),
    )
    with without_trigger("review_content_stays"):
        Review.objects.filter(pk=passing.pk).update(policy=policy)
    client = sign_in("mina")
    text = text_of(client.get(url(passing)))
    assert "What the policy asks" in text and rules.title in text
    assert all(audit.title in text for audit in rules.audits)
    assert "not met, so the version cannot be approved now" in text
    assert "is not met." in text and client.post(url(passing), ballot("approve")).status_code == 403
    with CaptureQueriesContext(connection) as asked:
        client.get(url(passing))
    assert len(asked) <= 60


# ---- Voting


def test_approving_under_a_condition_by_two_members(passing: Review, sign_in: SignIn) -> None:
    mina, tom = sign_in("mina"), sign_in("tom")
    made = mina.post(reverse("condition-new", args=[passing.pk]), proposal(text=SCRIPT), follow=True)
    assert "The condition is proposed" in text_of(made)
    assert ESCAPED in text_of(made) and "<script>alert" not in text_of(made)
    cast = mina.post(url(passing), ballot("approve", rationale=SCRIPT), follow=True)
    assert "Your vote is cast: approve." in text_of(cast)
    assert ESCAPED in text_of(cast) and "<script>alert" not in text_of(cast)
    assert "Somebody has voted to approve under" in text_of(tom.get(url(passing)))
    assert tom.post(reverse("condition-new", args=[passing.pk]), proposal()).status_code == 409
    assert tom.post(url(passing), ballot("approve")).status_code == 302
    passing.refresh_from_db()
    assert (passing.status, passing.version.status) == ("conditional", "conditional")
    assert Condition.objects.get().status == "open"


def test_a_wrong_password_signs_nothing_and_keeps_what_was_typed(passing: Review, sign_in: SignIn) -> None:
    response = sign_in("mina").post(url(passing), ballot("approve", password="not it"))
    assert response.status_code == 403 and "This is not your password" in text_of(response)
    assert REASON in text_of(response) and not Vote.objects.filter(review=passing).exists()


def test_a_fresh_proof_is_asked_for_once(passing: Review, house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    assert 'name="password"' in client.get(url(passing)).content.decode()
    assert client.post(url(passing), ballot("approve")).status_code == 302
    assert 'name="password"' not in client.get(url(house.review)).content.decode()
    assert client.post(url(house.review), {"choice": "reject", "rationale": REASON}).status_code == 302


def test_a_vote_after_the_close_comes_too_late(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("lea").post(url(house.decided), ballot())
    assert response.status_code == 409 and "closed" in text_of(response)


def test_a_vote_of_somebody_without_one_is_refused_before_anything(house: SimpleNamespace, sign_in: SignIn) -> None:
    for username in ("elena", "amir", "clara", "ada", "dora"):
        assert sign_in(username).post(url(house.review), {"choice": "reject"}).status_code == 403


# ---- Recusal


def test_a_member_takes_no_part_and_has_no_vote_then(passing: Review, sign_in: SignIn) -> None:
    client, path = sign_in("mina"), reverse("recuse", args=[passing.pk])
    assert client.post(path, {"recusal-reason": "short"}).status_code == 422
    text = text_of(client.post(path, {"recusal-reason": SCRIPT}, follow=True))
    assert ESCAPED in text and "<script>alert" not in text
    assert "You take no part in this review, so you cannot vote on it." in text
    assert client.post(url(passing), ballot("approve")).status_code == 403
    assert client.post(reverse("comment-new", args=[passing.pk]), {"comment-text": "Still here"}).status_code == 403


def test_a_chair_records_a_conflict_and_others_may_not(passing: Review, sign_in: SignIn) -> None:
    path = reverse("recuse-member", args=[passing.pk])
    facts = {"member-person": scene.person("tom").pk, "member-reason": "A co-author of the developers."}
    assert sign_in("mina").post(path, facts).status_code == 403
    assert "may recuse somebody else" in text_of(sign_in("mina").get(url(passing)))
    text = text_of(sign_in("clara").post(path, facts, follow=True))
    assert "Tom Okafor takes no part" in text and "recorded by Clara Weiss" in text
    assert sign_in("clara").post(path, facts).status_code == 409
    assert Recusal.objects.get().recorded_by.username == "clara"


def test_who_has_voted_is_not_recused(house: SimpleNamespace, sign_in: SignIn) -> None:
    path = reverse("recuse-member", args=[house.review.pk])
    facts = {"member-person": scene.person("tom").pk, "member-reason": "A co-author of the developers."}
    assert sign_in("clara").post(path, facts).status_code == 409


# ---- Discussion


def test_the_discussion_shows_text_as_text_oldest_first(passing: Review, sign_in: SignIn) -> None:
    path = reverse("comment-new", args=[passing.pk])
    for username, said in (("mina", SCRIPT), ("amir", "Nothing of the kind was seen.")):
        assert sign_in(username).post(path, {"comment-text": said}).status_code == 302
    text = text_of(sign_in("elena").get(url(passing)))
    assert ESCAPED in text and "<script>alert" not in text
    assert text.index("&lt;script") < text.index("Nothing of the kind")


@pytest.mark.parametrize(("username", "said", "status"), [("mina", "  ", 422), ("ada", "Hello there", 403)])
def test_what_may_not_be_said(username: str, said: str, status: int, passing: Review, sign_in: SignIn) -> None:
    path = reverse("comment-new", args=[passing.pk])
    assert sign_in(username).post(path, {"comment-text": said}).status_code == status
    assert not Comment.objects.exists()
