"""The review room: what a committee finds there, in which order, what each person may do, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.models import Role, RoleGrant
from evaluation.models import AuditRun
from governance.models import Comment, Condition, Policy, Recusal, Review, Risk, Vote
from governance.policies.form import Policy as Rules
from governance.policies.form import bundled_names, bundled_source
from models_registry.models import ModelVersion
from tests.pages import scene
from tests.pages.test_markup import Page
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
    _more(passing, house)
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


# ---- Conditions


@pytest.mark.parametrize(
    ("given", "status"),
    [({"owner": ""}, 422), ({"owner": "9999"}, 422), ({"due_at": "soon"}, 422), ({"text": " "}, 422),
     ({"due_at": "2020-01-01"}, 409)],
)  # fmt: skip
def test_a_condition_without_owner_day_or_words_is_refused(
    given: dict[str, str], status: int, passing: Review, sign_in: SignIn
) -> None:
    assert sign_in("mina").post(reverse("condition-new", args=[passing.pk]), proposal(**given)).status_code == status
    assert not Condition.objects.exists()


def test_who_submitted_proposes_no_condition(passing: Review, sign_in: SignIn) -> None:
    assert sign_in("elena").post(reverse("condition-new", args=[passing.pk]), proposal()).status_code == 403
    assert "so you cannot set conditions for it" in text_of(sign_in("elena").get(url(passing)))


def test_a_proposed_condition_is_taken_back_by_who_proposed_it(passing: Review, sign_in: SignIn) -> None:
    condition = condition_of(passing)
    path = reverse("condition-remove", args=[condition.pk])
    assert "This was not done" in text_of(sign_in("mina").post(path, follow=True))
    assert "The condition is taken back." in text_of(sign_in("tom").post(path, follow=True))
    condition.refresh_from_db()
    assert condition.status == "removed"


def act_on(client: Client, condition: Condition, act: str, **fields: Any) -> Any:
    sent = {f"{act}-{condition.pk}-{name}": value for name, value in fields.items()}
    return client.post(reverse("condition-act", args=[condition.pk, act]), sent)


def test_a_condition_is_claimed_returned_claimed_and_confirmed_by_another(
    conditional: Condition, sign_in: SignIn
) -> None:
    owner, member = sign_in("elena"), sign_in("mina")
    page = reverse("review", args=[conditional.review_id])
    assert "Only Elena Rossi may say that this condition is met." in text_of(member.get(page))
    assert act_on(member, conditional, "claim", claim="Done it.").status_code == 403
    assert act_on(owner, conditional, "claim", claim=" ").status_code == 422
    assert act_on(owner, conditional, "claim", claim=SCRIPT).status_code == 302
    text = text_of(member.get(page))
    assert ESCAPED in text and "<script>alert" not in text
    assert act_on(owner, conditional, "confirm", remark="Mine.", password=scene.PASSWORD).status_code == 403
    assert act_on(member, conditional, "return", reason="The page is not there yet.").status_code == 302
    assert act_on(owner, conditional, "claim", claim="Now it is there.").status_code == 302
    assert act_on(member, conditional, "confirm", remark="I read it.", password="wrong").status_code == 403
    assert act_on(member, conditional, "confirm", remark="I read it.", password=scene.PASSWORD).status_code == 302
    conditional.refresh_from_db()
    assert (conditional.status, conditional.review.version.status) == ("met", "approved")
    assert act_on(owner, conditional, "claim", claim="Once more.").status_code == 409


def test_a_chair_hands_a_condition_over(conditional: Condition, sign_in: SignIn) -> None:
    owner = scene.person("amir").pk
    assert act_on(sign_in("mina"), conditional, "reassign", owner=owner).status_code == 403
    assert act_on(sign_in("clara"), conditional, "reassign", owner=owner).status_code == 302
    conditional.refresh_from_db()
    assert conditional.owner.username == "amir"
    assert sign_in("clara").post(reverse("condition-act", args=[conditional.pk, "burn"])).status_code == 404


def test_what_awaits_somebody_stands_on_their_home_page(
    conditional: Condition, house: SimpleNamespace, sign_in: SignIn
) -> None:
    """The owner first what has a day; whoever may confirm once it is claimed; a voter with the age of the evidence."""
    home = text_of(sign_in("elena").get("/"))
    title = f"Meet a condition of {conditional.review.version}"
    assert title in home and "due in 10 days" in home and "You own it: Publish the limits of use." in home
    queue = home[home.index('<ol class="queue"') : home.index("</ol>")]
    assert queue.index("due in 10 days") < queue.index("waiting ")
    assert "Its evidence is" in text_of(sign_in("mina").get("/"))
    assert "Confirm a condition of" not in text_of(sign_in("mina").get("/"))
    act_on(sign_in("elena"), conditional, "claim", claim="It is on page 4.")
    assert "Confirm a condition of" in text_of(sign_in("mina").get("/"))
    assert title not in text_of(sign_in("elena").get("/"))
    assert "Confirm a condition of" not in text_of(sign_in("amir").get("/"))


# ---- Closing without a decision


def test_a_chair_closes_a_review_without_a_decision(passing: Review, sign_in: SignIn) -> None:
    path = reverse("review-withdraw", args=[passing.pk])
    assert sign_in("mina").post(path, {"withdrawal-reason": "A newer audit is there."}).status_code == 403
    assert sign_in("clara").post(path, {"withdrawal-reason": "no"}).status_code == 422
    text = text_of(sign_in("clara").post(path, {"withdrawal-reason": SCRIPT}, follow=True))
    assert "Closed without a decision" in text and "<script>alert" not in text
    passing.refresh_from_db()
    assert passing.status == "withdrawn"
    assert sign_in("clara").post(path, {"withdrawal-reason": "A newer audit is there."}).status_code == 409


def test_a_withdrawn_review_can_be_followed_by_another(passing: Review, sign_in: SignIn) -> None:
    client = sign_in("clara")
    client.post(reverse("review-withdraw", args=[passing.pk]), {"withdrawal-reason": "A vote was missing."})
    planted(passing.run)
    audit = reverse("audit", args=[passing.run_id])
    assert "Put it before the committee" in text_of(client.get(audit))
    client.post(reverse("review-open", args=[passing.run_id]))
    assert Review.objects.filter(run=passing.run_id, status="open").count() == 1


# ---- The list


def test_the_list_says_whom_a_review_waits_for_and_filters_the_decided(
    house: SimpleNamespace, conditional: Condition, sign_in: SignIn
) -> None:
    client = sign_in("mina")
    text = text_of(client.get(reverse("reviews")))
    assert "Léa Martin, Mina Park" in text and "Tom Okafor" not in text
    assert "1 condition is still to be met" in text and "due in 10 days" in text
    decided = text_of(client.get(reverse("reviews") + "?state=conditional"))
    assert "Chest model 2.1" in decided and ">Chest model 1.1<" not in decided
    assert "No decided review matches" in text_of(client.get(reverse("reviews") + "?q=nothing"))
    assert ">Chest model 1.1<" in text_of(client.get(reverse("reviews") + "?q=chest+1.1"))
    assert client.get(reverse("reviews") + "?state=nonsense&page=x&q=%00").status_code == 200


def test_decided_reviews_turn_their_pages(house: SimpleNamespace, sign_in: SignIn) -> None:
    for _ in range(50):
        scene.review(house.decided.run, status="rejected")
    first = text_of(sign_in("mina").get(reverse("reviews")))
    assert "1 to 50 of 51" in first and "page=2" in first


def test_open_conditions_of_all_versions_stand_by_their_day(
    conditional: Condition, house: SimpleNamespace, sign_in: SignIn
) -> None:
    sooner = condition_of(conditional.review, days=2, status="claimed", owner="amir", text=SCRIPT)
    condition_of(conditional.review, status="met", confirmed_by=scene.person("mina"), claimed_by=scene.person("elena"))
    text = text_of(sign_in("mina").get(reverse("conditions")))
    assert text.index(f"#condition-{sooner.pk}") < text.index(f"#condition-{conditional.pk}")
    assert text.count("#condition-") == 2 and "<script>alert" not in text


# ---- The page of the version


def test_the_version_says_how_its_approval_stands(
    conditional: Condition, house: SimpleNamespace, sign_in: SignIn
) -> None:
    version = conditional.review.version
    page = reverse("version", args=[version.system.slug, version.pk])
    text = text_of(sign_in("elena").get(page))
    assert "The approval stands" in text and "Publish the limits of use." in text
    Condition.objects.filter(pk=conditional.pk).update(status="lapsed")
    assert "was not met in time" in text_of(sign_in("elena").get(page))
    candidate = reverse("version", args=[house.system.slug, house.candidate.pk])
    assert "was never approved" in text_of(sign_in("elena").get(candidate))


def test_a_draft_is_submitted_by_who_registered_it(house: SimpleNamespace, sign_in: SignIn) -> None:
    draft = scene.version("3.0", status="draft")
    path = reverse("version-submit", args=[house.system.slug, draft.pk])
    RoleGrant.objects.create(user=scene.person("amir"), role=Role.ML_ENGINEER)
    assert "Only Elena Rossi may submit this draft." in text_of(sign_in("amir").post(path, follow=True))
    assert "It is submitted" in text_of(sign_in("elena").post(path, follow=True))
    draft.refresh_from_db()
    assert draft.status == "submitted"


def test_a_chair_retires_a_version_with_a_reason(house: SimpleNamespace, sign_in: SignIn) -> None:
    path = reverse("version-retire", args=[house.system.slug, house.twin.pk])
    reason = {"retire-reason": "Superseded by version 2.0 since November."}
    assert "may retire a version" in text_of(sign_in("mina").post(path, reason, follow=True))
    assert "Give the reason" in text_of(sign_in("clara").post(path, {"retire-reason": ""}, follow=True))
    assert "It is retired." in text_of(sign_in("clara").post(path, reason, follow=True))
    house.twin.refresh_from_db()
    assert house.twin.status == "retired"


# ---- Queries


def _more(review: Review, house: SimpleNamespace) -> None:
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


@pytest.mark.parametrize("username", ["mina", "clara", "elena"])
def test_a_full_room_asks_no_more_than_an_empty_one(
    username: str, passing: Review, house: SimpleNamespace, sign_in: SignIn
) -> None:
    with without_trigger("review_content_stays"):
        Review.objects.filter(pk=passing.pk).update(quorum=5)
    Review.objects.filter(pk=house.decided.pk).update(closed_at=timezone.now() - timedelta(days=30))
    client = sign_in(username)
    client.get(url(passing))

    def counts() -> list[int]:
        found = []
        for path in (url(passing), reverse("reviews")):
            with CaptureQueriesContext(connection) as asked:
                assert client.get(path).status_code == 200
            found.append(len(asked))
        return found

    Recusal.objects.create(
        review=passing, person=scene.person("dora"), reason=REASON, recorded_by=scene.person("clara")
    )
    condition_of(passing)
    before = counts()
    _more(passing, house)
    assert counts() == before
    assert max(before) <= 30
