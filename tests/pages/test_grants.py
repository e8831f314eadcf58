"""The house lets a regulator in, watches, and shows them out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.models import LedgerEntry, RoleGrant
from governance.models import Grant
from tests.pages import scene

SignIn = Callable[[str], Client]
PURPOSE = "Market surveillance under Article 74(12) of the AI Act, case 18/2026."


def typed(house: SimpleNamespace, **other: object) -> dict[str, object]:
    day = timezone.localdate() + timedelta(days=60)
    facts = {
        "regulator": scene.person("rita").pk,
        "systems": [house.system.pk],
        "expires_at": day.isoformat(),
        "purpose": PURPOSE,
    }
    return facts | other


@pytest.mark.parametrize("username", ["clara", "dora"])
def test_access_is_given_for_a_purpose_until_the_end_of_a_day(
    house: SimpleNamespace, sign_in: SignIn, username: str
) -> None:
    response = sign_in(username).post("/governance/grants/new/", typed(house), follow=True)
    made = Grant.objects.latest("pk")
    assert response.redirect_chain == [(f"/governance/grants/{made.pk}/", 302)]
    text = response.content.decode()
    assert "Rita Lind has access now." in text and PURPOSE in text and "Chest model" in text
    local = timezone.localtime(made.expires_at)
    assert (local.date(), f"{local:%H:%M:%S}") == (timezone.localdate() + timedelta(days=60), "23:59:59")
    assert LedgerEntry.objects.get(act="grant.given").actor == username


def test_what_is_wrong_is_told_beside_its_field_and_nothing_is_lost(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    wrong = {"regulator": "", "systems": [], "expires_at": "soon", "purpose": "because"}
    response = client.post("/governance/grants/new/", wrong)
    text = response.content.decode()
    assert response.status_code == 422
    for name in wrong:
        assert f'href="#id_{name}"' in text
    assert "because" in text and 'value="soon"' in text
    past = client.post("/governance/grants/new/", typed(house, expires_at="2020-01-01"))
    assert past.status_code == 409 and "Choose a day in the future." in past.content.decode()
    far = client.post("/governance/grants/new/", typed(house, expires_at=f"{timezone.localdate().year + 2}-01-01"))
    assert far.status_code == 409 and "one year at most" in far.content.decode() and PURPOSE in far.content.decode()
    nobody = client.post("/governance/grants/new/", typed(house, regulator=scene.person("amir").pk))
    assert nobody.status_code == 422 and 'href="#id_regulator"' in nobody.content.decode()
    assert Grant.objects.count() == 1


@pytest.mark.parametrize("username", ["amir", "mina", "elena", "ada"])
def test_who_may_not_give_or_revoke_reads_why(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client, page = sign_in(username), f"/governance/grants/{house.grant.pk}/"
    why = "Only people with the role committee chair or data protection officer may give and revoke regulator access."
    for url in ("/governance/grants/", "/governance/grants/new/", page):
        assert why in client.get(url).content.decode(), url
    assert 'name="confirmation"' not in client.get(page).content.decode()
    assert client.post("/governance/grants/new/", typed(house)).status_code == 403
    ended = client.post(page, {"reason": "The case was closed.", "confirmation": "rita"})
    assert ended.status_code == 403 and why in ended.content.decode()
    assert Grant.objects.filter(revoked_at__isnull=True).count() == 1


def test_nobody_gives_access_to_themselves(house: SimpleNamespace, sign_in: SignIn) -> None:
    RoleGrant.objects.create(user=scene.person("dora"), role="regulator")
    response = sign_in("dora").post("/governance/grants/new/", typed(house, regulator=scene.person("dora").pk))
    assert response.status_code == 403 and "Nobody gives access to themselves." in response.content.decode()


def test_revoking_takes_a_reason_and_the_typed_name(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, page = sign_in("clara"), f"/governance/grants/{house.grant.pk}/"
    slip = client.post(page, {"reason": "The case was closed.", "confirmation": "Rita"})
    text = slip.content.decode()
    assert slip.status_code == 422
    assert "Type rita to confirm whose access ends." in text and "The case was closed." in text
    assert '<details class="confirm" open>' in text
    assert client.post(page, {"reason": "short", "confirmation": "rita"}).status_code == 422
    assert Grant.objects.get().revoked_at is None
    done = client.post(page, {"reason": "The case was closed.", "confirmation": "rita"}, follow=True).content.decode()
    assert "The access of Rita Lind ended at this moment." in done
    assert "Revoked" in done and "by Clara Weiss: The case was closed." in done
    assert 'id="revoke"' not in done
    again = client.post(page, {"reason": "The case was closed.", "confirmation": "rita"})
    assert again.status_code == 409 and "This grant has ended already." in again.content.decode()


def test_the_house_reads_what_was_opened_and_refused(house: SimpleNamespace, sign_in: SignIn) -> None:
    rita = sign_in("rita")
    bundle = f"/portal/grants/{house.grant.pk}/bundles/{house.bundle.pk}/"
    rita.get("/portal/")
    rita.get(bundle)
    address = rita.post(f"{bundle}link/").context["address"]
    list(rita.get(address).streaming_content)
    rita.get(address)
    text = sign_in("mina").get(f"/governance/grants/{house.grant.pk}/").content.decode()
    for said in (
        "Viewed the list of versions and bundles",
        "Viewed the page of a bundle",
        "Made a download link",
        "Downloaded a bundle",
        "A download was refused: This link was used before.",
        house.bundle.file_name,
    ):
        assert said in text, said
    row = sign_in("mina").get("/governance/grants/").context["listing"].rows[0]
    assert (row.views, row.downloads) == (2, 1)


def test_an_ended_grant_says_how_it_ended(house: SimpleNamespace, sign_in: SignIn) -> None:
    expired = scene.grant(house.system, days=-3)
    revoked = scene.grant(house.system, revoked=True)
    client = sign_in("clara")
    rows = client.get("/governance/grants/").context["listing"].rows
    assert [row.standing for row in rows] == ["active", "revoked", "expired"]
    assert "3 days ago" in client.get(f"/governance/grants/{expired.pk}/").content.decode()
    assert "by Clara Weiss: The case was closed." in client.get(f"/governance/grants/{revoked.pk}/").content.decode()


def test_empty_states_say_what_is_missing(db: None, sign_in: SignIn) -> None:
    client = sign_in("dora")
    assert "No regulator has access" in client.get("/governance/grants/").content.decode()
    assert "There is no regulator to choose" in client.get("/governance/grants/new/").content.decode()
    scene.person("rita")
    assert "There is no system to choose" in client.get("/governance/grants/new/").content.decode()


def test_what_is_typed_is_shown_as_text(house: SimpleNamespace, sign_in: SignIn) -> None:
    script = "<script>alert(1)</script> and twenty characters"
    sign_in("dora").post("/governance/grants/new/", typed(house, purpose=script))
    made = Grant.objects.latest("pk")
    for username, url in (
        ("dora", f"/governance/grants/{made.pk}/"),
        ("dora", "/governance/grants/"),
        ("rita", "/portal/"),
    ):
        text = sign_in(username).get(url).content.decode()
        assert "<script>alert" not in text and "&lt;script&gt;" in text, url


def test_the_list_asks_no_more_when_there_is_more(house: SimpleNamespace, sign_in: SignIn) -> None:
    def count(username: str, url: str) -> int:
        client = sign_in(username)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(url).status_code == 200
        # The ledger's own upkeep apart: how many hashes an entry completes depends on its number.
        return len([query for query in asked if "core_ledger" not in query["sql"] or "COUNT" in query["sql"]])

    before = count("clara", "/governance/grants/")
    for number in range(6):
        scene.grant(scene.system(f"Further {number}"), days=-1)
    assert count("clara", "/governance/grants/") == before
    portal = count("rita", "/portal/")
    for number in range(6):
        version = scene.version(f"7.{number}", status="approved")
        scene.bundle(scene.review(scene.run(version, house.cohort, house.protocol), status="approved"))
    assert count("rita", "/portal/") == portal
