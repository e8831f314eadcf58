"""The pages of synthetic releases: asked for, read, decided, withdrawn, revoked; and what each person sees there."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from governance.models import ReleaseVote, SyntheticRelease
from models_registry.models import CohortVersion
from tests.pages import scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
SCRIPT = "<script>alert('x')</script> in a text of some length"
ESCAPED = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"


def release_of(cohort: CohortVersion, *, by: str = "amir", status: str = "open", **given: Any) -> SyntheticRelease:
    facts = {"purpose": "Teaching at the university.", "recipients": "The institute of biometry."} | given
    return SyntheticRelease.objects.create(
        cohort=cohort,
        cohort_digest=cohort.digest,
        submitter=cohort.registered_by,
        requester=scene.person(by),
        status=status,
        **facts,
    )


@pytest.fixture
def made(house: SimpleNamespace) -> SyntheticRelease:
    """A set made without real patients, whose release Amir asks for; Elena registered it."""
    CohortVersion.objects.filter(pk=house.cohort.pk).update(generator_digest="9" * 64)
    return release_of(CohortVersion.objects.get(pk=house.cohort.pk))


@pytest.fixture
def derived(house: SimpleNamespace) -> SyntheticRelease:
    child = scene.cohort("Derived set")
    CohortVersion.objects.filter(pk=child.pk).update(parent=house.real)
    return release_of(CohortVersion.objects.get(pk=child.pk))


def room(release: SyntheticRelease) -> str:
    return reverse("release", args=[release.pk])


def ballot(choice: str = "approve", **given: str) -> dict[str, str]:
    rationale = "The generator is on record and no patient went into it."
    return {"choice": choice, "rationale": rationale, "password": scene.PASSWORD} | given


def test_an_engineer_asks_and_the_officer_releases(house: SimpleNamespace, sign_in: SignIn) -> None:
    asked = {"cohort": house.cohort.pk, "purpose": SCRIPT, "recipients": SCRIPT, "quorum": "1", "run": ""}
    response = sign_in("amir").post(reverse("release-new"), asked, follow=True)
    assert "The release is asked for" in response.content.decode()
    release = SyntheticRelease.objects.get()
    officer = sign_in("dora")
    home = officer.get("/").content.decode()
    assert "may leave the house" in home and room(release) in home
    page = officer.get(room(release)).content.decode()
    assert "It was made without any real patient" in page
    assert ESCAPED in page and "<script>alert" not in page
    response = officer.post(room(release), ballot(rationale=SCRIPT), follow=True)
    text = response.content.decode()
    assert "Your vote is cast: release" in text and "<script>alert" not in text and ESCAPED in text
    release.refresh_from_db()
    assert release.status == "approved"
    assert room(release) not in officer.get("/").content.decode()


def test_a_derived_set_says_why_it_can_only_be_refused(derived: SyntheticRelease, sign_in: SignIn) -> None:
    officer = sign_in("dora")
    page = officer.get(room(derived)).content.decode()
    assert "It can only be refused" in page
    assert "It needs an audit of its privacy that passes. No audit was named." in page
    [approve] = re.findall(r"<input[^>]*value=.approve.[^>]*>", page)
    [reject] = re.findall(r"<input[^>]*value=.reject.[^>]*>", page)
    assert "disabled" in approve and "disabled" not in reject
    refused = officer.post(room(derived), ballot())
    assert refused.status_code == 403
    assert "real patients may show through" in refused.content.decode()
    assert not ReleaseVote.objects.exists()
    assert officer.post(room(derived), ballot("reject")).status_code == 302
    derived.refresh_from_db()
    assert derived.status == "rejected"


def test_a_wrong_password_signs_nothing(made: SyntheticRelease, sign_in: SignIn) -> None:
    response = sign_in("dora").post(room(made), ballot(password="not it"))
    text = response.content.decode()
    assert response.status_code == 403
    assert "This is not your password" in text
    assert "The generator is on record" in text  # what was typed stays
    assert not ReleaseVote.objects.exists()


def test_a_vote_without_a_reason_is_not_valid(made: SyntheticRelease, sign_in: SignIn) -> None:
    assert sign_in("dora").post(room(made), ballot(rationale="no")).status_code == 422


def test_a_vote_on_what_is_closed_comes_too_late(made: SyntheticRelease, sign_in: SignIn) -> None:
    SyntheticRelease.objects.filter(pk=made.pk).update(status="withdrawn", closing_reason="Not needed any more.")
    response = sign_in("dora").post(room(made), ballot())
    assert response.status_code == 409
    assert "Not needed any more." in response.content.decode()


@pytest.mark.parametrize("username", ["dora", "mina", "amir"])
@pytest.mark.parametrize("status", SyntheticRelease.Status.values)
def test_rooms_are_well_formed_in_every_state(
    username: str, status: str, made: SyntheticRelease, sign_in: SignIn
) -> None:
    SyntheticRelease.objects.filter(pk=made.pk).update(status=status, closing_reason=SCRIPT)
    response = sign_in(username).get(room(made))
    page = Page(response.content.decode())
    assert (response.status_code, page.faults, page.stack, page.unnamed(), page.tags["h1"]) == (200, [], [], [], 1)
    assert [name for name, times in page.ids.items() if times > 1] == []


WHY_NOT = {
    "elena": "You registered this cohort, so you cannot vote on its release.",
    "amir": "You asked for this release, so you cannot vote on it.",
    "ada": "may vote on the release of a synthetic cohort",
}


@pytest.mark.parametrize("username", WHY_NOT)
def test_who_may_not_vote_reads_why(username: str, made: SyntheticRelease, sign_in: SignIn) -> None:
    client = sign_in(username)
    text = client.get(room(made)).content.decode()
    assert WHY_NOT[username] in text and 'name="rationale"' not in text
    assert client.post(room(made), ballot()).status_code == 403


@pytest.mark.parametrize("address", ["releases", "release-new", "release"])
def test_a_regulator_opens_none_of_it(address: str, made: SyntheticRelease, sign_in: SignIn) -> None:
    url = reverse(address, args=[made.pk] if address == "release" else [])
    assert sign_in("rita").get(url).status_code == 403


def test_who_may_not_ask_reads_why(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    assert "may ask for the release" in client.get(reverse("releases")).content.decode()
    facts = {"cohort": house.cohort.pk, "purpose": SCRIPT, "recipients": "All", "quorum": "1"}
    assert client.post(reverse("release-new"), facts).status_code == 403


def test_a_real_cohort_is_not_on_offer(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("elena")
    assert "Emergency department 2024" not in client.get(reverse("release-new")).content.decode()
    facts = {"cohort": house.real.pk, "purpose": SCRIPT, "recipients": "All", "quorum": "1"}
    assert client.post(reverse("release-new"), facts).status_code == 422
    assert not SyntheticRelease.objects.exists()


def test_a_set_that_is_being_decided_is_not_on_offer(made: SyntheticRelease, sign_in: SignIn) -> None:
    text = sign_in("elena").get(reverse("release-new")).content.decode()
    assert "There is no cohort to choose" in text


def test_the_requester_withdraws_and_others_read_why_not(made: SyntheticRelease, sign_in: SignIn) -> None:
    url = reverse("release-withdraw", args=[made.pk])
    assert sign_in("elena").post(url, {"withdraw-reason": "It is not needed any more."}).status_code == 403
    assert sign_in("amir").post(url, {"withdraw-reason": "short"}).status_code == 422
    text = sign_in("amir").post(url, {"withdraw-reason": SCRIPT}, follow=True).content.decode()
    assert "The request was withdrawn" in text and ESCAPED in text and "<script>alert" not in text
    assert sign_in("amir").post(url, {"withdraw-reason": "It is not needed any more."}).status_code == 403


def test_an_officer_revokes(made: SyntheticRelease, sign_in: SignIn) -> None:
    SyntheticRelease.objects.filter(pk=made.pk).update(status="approved")
    url = reverse("release-revoke", args=[made.pk])
    assert "may revoke the release" in sign_in("mina").get(room(made)).content.decode()
    assert sign_in("mina").post(url, {"revoke-reason": "A name was found in it."}).status_code == 403
    text = sign_in("dora").post(url, {"revoke-reason": "A name was found in it."}, follow=True).content.decode()
    assert "This release is revoked" in text and "A name was found in it." in text


def test_the_page_of_a_cohort_says_whether_it_may_leave(house: SimpleNamespace, sign_in: SignIn) -> None:
    page = reverse("cohort-version", args=[house.cohort.cohort.slug, house.cohort.pk])
    text = sign_in("elena").get(page).content.decode()
    assert "nobody asked for its release" in text
    asking = f"{reverse('release-new')}?cohort={house.cohort.pk}"
    assert asking in text and "selected" in sign_in("elena").get(asking).content.decode()
    assert asking not in sign_in("mina").get(page).content.decode()
    release = release_of(house.cohort)
    text = sign_in("elena").get(page).content.decode()
    assert room(release) in text and asking not in text
    real = reverse("cohort-version", args=[house.real.cohort.slug, house.real.pk])
    assert "May it leave the house?" not in sign_in("elena").get(real).content.decode()


def test_the_list_filters_and_turns_its_pages(house: SimpleNamespace, sign_in: SignIn) -> None:
    for _ in range(51):
        release_of(house.cohort, status="rejected")
    client = sign_in("mina")
    first = client.get(reverse("releases")).content.decode()
    assert "1 to 50 of 51" in first
    assert "No release matches" in client.get(reverse("releases") + "?state=approved").content.decode()
    assert "state=rejected&amp;page=2" in client.get(reverse("releases") + "?state=rejected").content.decode()
    assert client.get(reverse("releases") + "?state=nonsense&page=x").status_code == 200


@pytest.mark.usefixtures("worked_out_anew")
@pytest.mark.parametrize("username", ["dora", "mina"])
def test_more_releases_and_votes_ask_no_more(
    username: str, made: SyntheticRelease, house: SimpleNamespace, sign_in: SignIn
) -> None:
    SyntheticRelease.objects.filter(pk=made.pk).update(quorum=9)
    client = sign_in(username)
    urls = ["/", reverse("releases"), room(made)]

    def votes(*names: str) -> None:
        for name in names:
            ReleaseVote.objects.create(
                release=made,
                voter=scene.person(name),
                choice="approve",
                rationale="Read it.",
                submitter=made.submitter,
                requester=made.requester,
            )

    def counts() -> list[int]:
        found = []
        for url in urls:
            with CaptureQueriesContext(connection) as asked:
                assert client.get(url).status_code == 200
            found.append(len(asked))
        return found

    votes("tom")
    release_of(house.cohort, status="rejected")
    before = counts()
    votes("lea", "clara")
    for number in range(5):
        release_of(scene.cohort(f"Further set {number}"))
        release_of(house.cohort, status="rejected")
    assert counts() == before
    # The home page also asks for monitors and for alerts.
    assert before[0] <= 27 and max(before[1:]) <= 25
