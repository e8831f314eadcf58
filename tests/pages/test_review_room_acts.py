"""The review room: conditions, closing, lists, the version's page, and how much is asked of the database."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.kept import forget
from core.models import Role, RoleGrant
from governance.models import Condition, Recusal, Review
from tests.pages import scene
from tests.pages.review_room_steps import (
    ESCAPED,
    REASON,
    SCRIPT,
    SignIn,
    condition_of,
    conditional,
    more,
    passing,
    planted,
    proposal,
    text_of,
    url,
)
from tests.unguarded import without_trigger

__all__ = ["conditional", "passing"]


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
    forget()  # the sweep that does this enters it in the ledger
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


@pytest.mark.usefixtures("worked_out_anew")
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
    more(passing, house)
    assert counts() == before
    assert max(before) <= 30
