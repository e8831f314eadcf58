"""The pages of policies: proposed with errors beside the lines, approved, withdrawn; versions held against them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.models import LedgerEntry
from governance.models import Acceptance, Policy
from governance.pages.policy_views import marked_lines
from governance.policies.form import bundled_names
from governance.policies.reading import PolicyError
from governance.services.policies import approve_policy, propose_policy
from models_registry.models import Cohort
from tests.governance.policy_scene import WAIVER, audit_body, written
from tests.governance.signed import signed
from tests.pages import scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
SCRIPT = "<script>alert('x')</script> in a text of some length"
ESCAPED = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"
REASON = {"reason": "Forty more studies are on their way; until then every output is read twice."}


def in_force(*audits: dict[str, Any], **given: Any) -> Policy:
    policy = propose_policy(source=written(*audits, **given), by=scene.person("amir"))
    return approve_policy(policy=policy, by=scene.person("clara"), signed=signed(scene.person("clara")))


@pytest.fixture
def strict(house: SimpleNamespace) -> Policy:
    """A policy in force, and a version with too little evidence under it, of a real cohort of another hospital."""
    Cohort.objects.filter(pk=house.real.cohort_id).update(role="external_test")
    house.short_of = scene.version("5.0")
    house.gap = scene.run(house.short_of, house.real, house.protocol, outcome="insufficient")
    return in_force(audit_body(insufficient=WAIVER, min_patients=1))


def address(house: SimpleNamespace, policy: Policy) -> str:
    return reverse("version-policy", args=[house.system.slug, house.short_of.pk, policy.name])


def gap(house: SimpleNamespace, policy: Policy) -> str:
    return reverse("gap-accept", args=[house.system.slug, house.short_of.pk, policy.name, "fairness"])


def typed(**given: str) -> dict[str, str]:
    day = timezone.localdate() + timedelta(days=30)
    return REASON | {"expires_at": day.isoformat(), "password": scene.PASSWORD} | given


def proposed(**given: Any) -> Policy:
    return propose_policy(source=written(**given), by=scene.person("amir"))


# Proposing


def test_a_policy_is_pasted_or_uploaded(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    response = client.post(reverse("policy-new"), {"source": written()}, follow=True)
    policy = Policy.objects.get()
    assert response.redirect_chain == [(reverse("policy", args=[policy.pk]), 302)]
    assert "chest-use no. 1 is proposed" in response.content.decode()
    file = SimpleUploadedFile("mine.yaml", written(name="uploaded").encode())
    client.post(reverse("policy-new"), {"upload": file})
    assert Policy.objects.get(name="uploaded").number == 1


def test_what_is_wrong_stands_beside_its_line(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = f"title: \"{SCRIPT}\"\nnonsense: 1\nrisks: '<i>'\n"
    response = sign_in("amir").post(reverse("policy-new"), {"source": text})
    page = response.content.decode()
    assert response.status_code == 422 and not Policy.objects.exists()
    assert '<tr id="line-2" class="marked__wrong">' in page and 'href="#line-2"' in page
    assert "unknown key &#x27;nonsense&#x27;" in page and "&#x27;&lt;i&gt;&#x27; is not known here" in page
    assert ESCAPED in page and "<script>alert" not in page and "missing: name" in page
    assert Page(page).faults == []


def test_a_file_that_is_no_text_or_nothing_at_all_is_told(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    for sent, words in (
        ({}, "Choose a file, or paste the text below."),
        ({"upload": SimpleUploadedFile("x.yaml", b"\xff\xfe\x00")}, "is not UTF-8 text"),
        ({"upload": SimpleUploadedFile("x.yaml", b"a" * 1_000_001)}, "larger than 1 MB"),
        ({"source": "name: ["}, "this is not valid YAML"),
        ({"source": "x" * 65_000}, "65,000 characters"),
    ):
        response = client.post(reverse("policy-new"), sent)
        assert response.status_code == 422 and words in response.content.decode()


def test_equal_rules_are_409_and_a_wrong_role_403(house: SimpleNamespace, sign_in: SignIn) -> None:
    proposed()
    response = sign_in("dora").post(reverse("policy-new"), {"source": written()})
    assert response.status_code == 409 and "known already, as chest-use no. 1" in response.content.decode()
    response = sign_in("elena").post(reverse("policy-new"), {"source": written(name="other")})
    assert response.status_code == 403 and "may propose a policy" in response.content.decode()
    assert Policy.objects.count() == 1


def test_bundled_policies_can_be_begun_with(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    for name in bundled_names():
        page = client.get(f"{reverse('policy-new')}?from={name}").content.decode()
        assert f"name: {name}" in page
    assert client.get(f"{reverse('policy-new')}?from=../../x").status_code == 200


def test_of_a_long_text_only_the_wrong_lines_are_shown() -> None:
    error = PolicyError("Line 3, x: wrong.\nmissing: name.\nLine 9999, y: nowhere.")
    assert [line.number for line in marked_lines("a\nb\nc\nd", error)] == [1, 2, 3, 4]
    assert [(line.number, line.problems) for line in marked_lines("a\n" * 500, error)] == [(3, ["x: wrong."])]
    assert marked_lines("a", None) == []


# Deciding


def test_a_chair_signs_and_the_policy_is_in_force(house: SimpleNamespace, sign_in: SignIn) -> None:
    policy, client = proposed(), sign_in("clara")
    assert f"Approve the policy {policy}?" in client.get("/").content.decode()
    page = reverse("policy", args=[policy.pk])
    assert "Sign and approve" in client.get(page).content.decode()
    response = client.post(reverse("policy-approve", args=[policy.pk]), {"password": "wrong"})
    assert response.status_code == 403 and "This is not your password" in response.content.decode()
    response = client.post(reverse("policy-approve", args=[policy.pk]), {"password": scene.PASSWORD}, follow=True)
    assert "The policy is in force." in response.content.decode()
    policy.refresh_from_db()
    assert policy.status == "approved" and policy.approved_by == scene.person("clara")
    again = client.post(reverse("policy-approve", args=[policy.pk]), {"password": scene.PASSWORD})
    assert again.status_code == 409
    assert f"Approve the policy {policy}?" not in client.get("/").content.decode()


def test_the_proposer_and_others_see_why_they_cannot_approve(house: SimpleNamespace, sign_in: SignIn) -> None:
    policy = proposed()
    url = reverse("policy-approve", args=[policy.pk])
    for username, words in (("amir", "You proposed this policy"), ("mina", "committee chair may approve")):
        client = sign_in(username)
        assert words in client.get(reverse("policy", args=[policy.pk])).content.decode()
        assert client.post(url, {"password": scene.PASSWORD}).status_code == 403
        assert f"Approve the policy {policy}?" not in client.get("/").content.decode()
    policy.refresh_from_db()
    assert policy.status == "proposed"


def test_withdrawing_tells_the_reason_as_text(house: SimpleNamespace, sign_in: SignIn) -> None:
    policy, client = in_force(), sign_in("clara")
    url = reverse("policy-withdraw", args=[policy.pk])
    assert client.post(url, {"w-reason": " "}).status_code == 422
    page = client.post(url, {"w-reason": SCRIPT}, follow=True).content.decode()
    assert "The policy is withdrawn." in page and ESCAPED in page and "<script>alert" not in page
    assert client.post(url, {"w-reason": SCRIPT}).status_code == 409
    assert sign_in("mina").post(url, {"w-reason": SCRIPT}).status_code == 403


def test_a_number_shows_what_it_changes_and_what_the_installation_lacks(
    house: SimpleNamespace, sign_in: SignIn
) -> None:
    in_force()
    later = proposed(audits=[audit_body(max_age_days=30, protocols=["nowhere-v1"])], applies_to=["nobody"])
    page = sign_in("mina").get(reverse("policy", args=[later.pk])).content.decode()
    assert '<span class="difference__removed">-   max_age_days: 365</span>' in page
    assert '<span class="difference__added">+   max_age_days: 30</span>' in page
    assert "What it changes in number 1" in page
    assert "The protocol nowhere-v1 is not locked and approved here" in page
    assert "There is no system with the short name nobody" in page
    assert Page(page).faults == []


def test_titles_are_text(house: SimpleNamespace, sign_in: SignIn) -> None:
    policy = in_force(audit_body(title=SCRIPT), title=SCRIPT)
    client = sign_in("mina")
    for url in (reverse("policies"), reverse("policy", args=[policy.pk]), reverse("version-policy",
                args=[house.system.slug, house.candidate.pk, policy.name]),
                reverse("version-room-requirements", args=[house.system.slug, house.candidate.pk])):  # fmt: skip
        page = client.get(url).content.decode()
        assert ESCAPED in page and "<script>alert" not in page and Page(page).faults == []


# A version under a policy


def test_what_is_missing_and_who_can_mend_it(house: SimpleNamespace, sign_in: SignIn, strict: Policy) -> None:
    page = sign_in("mina").get(address(house, strict)).content.decode()
    assert "not enough evidence" in page and "Auditor: " in page and "Amir Haddad" in page
    assert "Committee chair: " in page and "Clara Weiss" in page
    assert "Only people with the role committee chair may accept" in page
    room = reverse("version-room-requirements", args=[house.system.slug, house.short_of.pk])
    panel = sign_in("mina").get(room).content.decode()
    assert address(house, strict) in panel and "chest-use no. 1" in panel


def test_a_gap_is_accepted_with_a_signature_and_shown_with_its_name(
    house: SimpleNamespace, sign_in: SignIn, strict: Policy
) -> None:
    client = sign_in("clara")
    assert "Too little evidence: Fair to women and men" in client.get("/").content.decode()
    assert "lets you accept" not in sign_in("mina").get("/").content.decode()
    assert "The policy allows 90 days at most" in client.get(gap(house, strict)).content.decode()
    response = client.post(gap(house, strict), typed(reason=SCRIPT), follow=True)
    page = response.content.decode()
    assert response.redirect_chain == [(address(house, strict), 302)]
    assert "Clara Weiss accepts that until" in page and ESCAPED in page and "<script>alert" not in page
    assert "It passes only because somebody accepts that evidence is lacking" in page
    assert "Pass, with an accepted gap" in page and "Gap accepted" in page
    assert "Everything that the policy asks for is there." not in page
    row = Acceptance.objects.get()
    local = timezone.localtime(row.expires_at)
    assert (local.date(), f"{local:%H:%M:%S}") == (timezone.localdate() + timedelta(days=30), "23:59:59")
    assert "Too little evidence" not in client.get("/").content.decode()
    assert client.post(gap(house, strict), typed()).status_code == 409
    assert LedgerEntry.objects.filter(act="acceptance.given").count() == 1


def test_what_is_wrong_with_an_acceptance_is_told(house: SimpleNamespace, sign_in: SignIn, strict: Policy) -> None:
    client = sign_in("clara")
    for sent, status, words in (
        (typed(password="wrong"), 403, "This is not your password"),
        (typed(reason="short"), 422, "at least 20 characters"),
        (typed(expires_at="soon"), 422, "Give the last day as a date."),
        (typed(expires_at="2020-01-01"), 409, "a day that is to come"),
        (typed(expires_at="9999-12-31"), 409, "at most 90 days"),
    ):
        response = client.post(gap(house, strict), sent)
        assert (response.status_code, words in response.content.decode()) == (status, True), words
    assert sign_in("mina").post(gap(house, strict), typed()).status_code == 403
    assert sign_in("amir").post(gap(house, strict), typed()).status_code == 403
    assert not Acceptance.objects.exists()


def test_an_acceptance_is_revoked(house: SimpleNamespace, sign_in: SignIn, strict: Policy) -> None:
    client = sign_in("clara")
    client.post(gap(house, strict), typed())
    url = reverse("acceptance-revoke", args=[Acceptance.objects.get().pk])
    assert url in client.get(address(house, strict)).content.decode()
    assert url not in sign_in("mina").get(address(house, strict)).content.decode()
    assert sign_in("mina").post(url, {"reason": "No."}).status_code == 403
    assert client.post(url, {"reason": ""}).status_code == 422
    page = client.post(url, {"reason": SCRIPT}, follow=True).content.decode()
    assert "ended at this moment" in page and "Revoked" in page and ESCAPED in page and "<script>alert" not in page
    assert client.post(url, {"reason": "Again."}).status_code == 409


def test_what_is_not_there_is_404(house: SimpleNamespace, sign_in: SignIn, strict: Policy) -> None:
    client, slug, pk = sign_in("clara"), house.system.slug, house.short_of.pk
    in_force(name="elsewhere", applies_to=["another"])
    for url in (
        reverse("policy", args=[9999]),
        reverse("version-policy", args=[slug, pk, "nothing"]),
        reverse("version-policy", args=[slug, pk, "elsewhere"]),
        reverse("version-policy", args=[slug, 9999, strict.name]),
        reverse("gap-accept", args=[slug, pk, strict.name, "nothing"]),
        reverse("gap-accept", args=[slug, pk, strict.name, "risks"]),
        reverse("acceptance-revoke", args=[9999]),
    ):
        assert client.get(url).status_code == 404, url
    for url in (reverse("policy-approve", args=[9999]), reverse("policy-withdraw", args=[9999])):
        assert client.post(url).status_code == 404, url
        assert client.get(url).status_code == 405, url


def test_every_page_is_well_formed_for_everyone_and_closed_to_regulators(
    house: SimpleNamespace, sign_in: SignIn, strict: Policy
) -> None:
    waiting = proposed(name="waiting")
    ended = proposed(name="ended")
    Policy.objects.filter(pk=ended.pk).update(status="withdrawn", ended_at=timezone.now())
    sign_in("clara").post(gap(house, strict), typed())
    row = Acceptance.objects.get()
    urls = [
        reverse("policies"),
        reverse("policy-new"),
        *(reverse("policy", args=[policy.pk]) for policy in (strict, waiting, ended)),
        address(house, strict),
        gap(house, strict),
        reverse("acceptance-revoke", args=[row.pk]),
        reverse("cohort-role", args=[house.real.cohort.slug]),
    ]
    for username in ("amir", "clara", "elena", "ada"):
        client = sign_in(username)
        for url in urls:
            response = client.get(url)
            page = Page(response.content.decode())
            assert (response.status_code, page.faults, page.tags["h1"], page.unnamed()) == (200, [], 1, []), url
            assert [name for name, times in page.ids.items() if times > 1] == [], url
    for url in urls:
        assert sign_in("rita").get(url).status_code == 403


def test_pages_ask_as_many_queries_for_many_as_for_few(house: SimpleNamespace, sign_in: SignIn, strict: Policy) -> None:
    client = sign_in("clara")
    urls = ["/", reverse("policies"), reverse("policy", args=[strict.pk]), address(house, strict),
            reverse("version-room-requirements", args=[house.system.slug, house.short_of.pk])]  # fmt: skip

    def count(url: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(url).status_code == 200
        return len(asked)

    proposed(name="first")
    sign_in("clara").post(gap(house, strict), typed())
    scene.run(scene.version("6.0"), house.real, house.protocol, outcome="insufficient")
    before = {url: count(url) for url in urls}
    for number in range(5):
        one = scene.run(scene.version(f"7.{number}"), house.real, house.protocol, outcome="insufficient")
        scene.run(one.version, house.cohort, house.protocol, outcome="fail")
        scene.run(house.short_of, house.cohort, house.protocol, outcome="pass")
        proposed(name=f"further-{number}")
        in_force(name=f"in-force-{number}", applies_to=[f"nobody-{number}"])
    cache.clear()  # what was worked out before is not to hide that it grew
    assert {url: count(url) for url in urls} == before
    assert count(urls[-1]) <= 12


# Cohort roles


def test_a_role_is_set_on_the_page_of_a_cohort(house: SimpleNamespace, sign_in: SignIn) -> None:
    cohort = scene.cohort("Community hospital", simulated=False).cohort
    client, url = sign_in("amir"), reverse("cohort-role", args=[cohort.slug])
    assert client.post(url, {"role": "", "site": ""}).status_code == 422
    assert client.post(url, {"role": "local", "site": " "}).status_code == 409
    page = client.post(url, {"role": "local", "site": "<b>Graz</b>"}, follow=True).content.decode()
    assert "Local acceptance, at one site, patients of &lt;b&gt;Graz&lt;/b&gt;" in page
    assert sign_in("elena").post(url, {"role": "tuning", "site": ""}).status_code == 403
    assert "none yet" not in client.get(reverse("cohort", args=[cohort.slug])).content.decode()
    assert "Local acceptance" in client.get(reverse("cohorts")).content.decode()
