"""An administrator invites and signs for the roles; whoever holds the link makes the account."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from core.errors import ConflictError, NotFoundError
from core.models import Invitation, LedgerEntry, Role, RoleGrant, User
from core.stepup import StepUp
from governance.services.invitations import accept_invitation, invite, withdraw_invitation
from models_registry.models import AISystem

pytestmark = pytest.mark.django_db
PASSWORD = "a long pass phrase 7"
SENT = {"email": "nora@hospital.example", "roles": ["auditor", "dpo"], "days": "7", "password": PASSWORD}
SAID = {"username": "nora", "first_name": "Nora", "last_name": "North", "password": "quite another phrase 8",
        "again": "quite another phrase 8"}  # fmt: skip


@pytest.fixture
def ada() -> User:
    cache.clear()
    person = User.objects.create_user("ada", password=PASSWORD, first_name="Ada")
    RoleGrant.objects.create(user=person, role=Role.ADMINISTRATOR)
    return person


@pytest.fixture
def office(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def link_of(page: Any) -> str:
    found = re.search(r"http://testserver(/invitation/[^<\"]+/)", page.content.decode())
    assert found is not None, page.content.decode()
    return found[1]


def made(ada: User, **told: Any) -> tuple[Invitation, str]:
    signed = StepUp(user_id=ada.pk, at=timezone.now())
    return invite(**{"email": "nora@hospital.example", "roles": [Role.AUDITOR], "by": ada, "signed": signed} | told)


def accept(secret: str, **told: str) -> User:
    asked = {"username": "nora", "first_name": "Nora", "last_name": "North", "password": SAID["password"]}
    return accept_invitation(secret=secret, **asked | told)


def test_from_the_invitation_to_the_first_sign_in(office: Client, client: Client) -> None:
    page = office.post("/administration/invitations/", SENT)
    link, body = link_of(page), str(mail.outbox[0].body)
    assert page.status_code == 200 and link in body and mail.outbox[0].to == ["nora@hospital.example"]
    assert link not in office.get("/administration/invitations/").content.decode()
    assert "Auditor" in client.get(link).content.decode()
    assert client.post(link, SAID)["Location"] == "/sign-in/"
    person = User.objects.get(username="nora")
    assert set(person.role_grants.values_list("role", flat=True)) == {"auditor", "dpo"}
    client.post("/sign-in/", {"username": "nora", "password": SAID["password"]})
    assert client.get("/systems/").status_code == 200
    acts = list(LedgerEntry.objects.order_by("index").values_list("act", "actor"))
    assert acts == [("invitation.made", "ada"), ("invitation.accepted", "nora")]
    told = str(list(LedgerEntry.objects.values_list("body", flat=True)))
    secret = link.split("/")[2]
    assert secret not in told and SAID["password"] not in told
    assert not Invitation.objects.filter(token_digest=secret).exists()
    # The same link a second time.
    assert client.get(link).status_code == 404 and client.post(link, SAID).status_code == 404


def test_roles_on_one_system_are_limited_to_it(ada: User) -> None:
    system = AISystem.objects.create(name="Chest", slug="chest", intended_purpose="Finds.", created_by=ada)
    _, secret = made(ada, system=system)
    assert list(accept(secret).role_grants.values_list("role", "system_key")) == [("auditor", system.pk)]
    with pytest.raises(ConflictError, match="cannot be limited"):
        made(ada, email="x@y.example", roles=[Role.ADMINISTRATOR], system=system)


def test_an_invitation_that_does_not_hold_says_nothing_of_why(ada: User, client: Client) -> None:
    row, secret = made(ada)
    pages = [client.get("/invitation/made-up/")]
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    pages.append(client.get(f"/invitation/{secret}/"))
    Invitation.objects.update(expires_at=timezone.now() + timedelta(days=1))
    withdraw_invitation(invitation=row, by=ada)
    pages.append(client.get(f"/invitation/{secret}/"))
    assert {page.status_code for page in pages} == {404}
    assert len({re.sub(r'value="[^"]+"', "", page.content.decode()).replace("made-up", secret) for page in pages}) == 1
    with pytest.raises(NotFoundError):
        accept(secret)
    with pytest.raises(ConflictError, match="withdrawn already"):
        withdraw_invitation(invitation=row, by=ada)


def test_who_invited_and_is_no_administrator_any_more_lets_nobody_in(ada: User) -> None:
    _, secret = made(ada)
    RoleGrant.objects.all().delete()
    with pytest.raises(NotFoundError):
        accept(secret)
    assert not User.objects.filter(username="nora").exists()


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"email": "no address"}, "no e-mail address"),
        ({"email": "ADA@hospital.example"}, "has an account"),
        ({"roles": []}, "opens nothing"),
        ({"days": 0}, "not possible"),
        ({"days": 31}, "not possible"),
    ],
)
def test_an_invitation_that_cannot_be_is_refused(ada: User, told: dict[str, Any], word: str) -> None:
    User.objects.filter(pk=ada.pk).update(email="ada@hospital.example")
    with pytest.raises(ConflictError, match=word):
        made(ada, **told)
    assert not Invitation.objects.exists() and not LedgerEntry.objects.exists()


def test_the_same_address_is_invited_once(ada: User) -> None:
    made(ada)
    with pytest.raises(ConflictError, match="invited already"):
        made(ada, email="NORA@hospital.example")


@pytest.mark.parametrize(
    ("told", "field", "word"),
    [
        ({"username": "ADA"}, "username", "taken"),
        ({"username": "a b"}, "username", "valid username"),
        ({"password": "short", "again": "short"}, "password", "too short"),
        ({"username": "nora.north.no", "password": "nora.north.no", "again": "nora.north.no"}, "password", "similar"),
        ({"again": "something else 9"}, "again", "not the same"),
        ({"first_name": ""}, "first_name", "First name"),
    ],
)  # fmt: skip
def test_what_was_typed_is_shown_again_with_the_reason(
    ada: User, client: Client, told: dict[str, str], field: str, word: str
) -> None:
    _, secret = made(ada)
    page = client.post(f"/invitation/{secret}/", SAID | told)
    text = page.content.decode()
    assert page.status_code == 422 and f'id="id_{field}_error"' in text and word in text
    assert 'value="North"' in text and SAID["password"] not in text
    assert User.objects.count() == 1 and Invitation.objects.get().accepted_at is None


def test_only_administrators_invite(client: Client, ada: User) -> None:
    other = User.objects.create_user("otto", password=PASSWORD)
    RoleGrant.objects.create(user=other, role=Role.COMMITTEE_CHAIR)
    client.force_login(other)
    assert client.get("/administration/invitations/").status_code == 403
    assert client.post("/administration/invitations/", SENT).status_code == 403
    assert not Invitation.objects.exists()


def test_without_mail_the_link_is_shown_and_the_page_says_so(office: Client, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    page = office.post("/administration/invitations/", SENT)
    assert "E-mail is not set up" in page.content.decode() and link_of(page)


def test_lists_narrow_by_state_and_a_withdrawn_one_says_so(office: Client, ada: User) -> None:
    row, _ = made(ada)
    assert "nora@hospital.example" in office.get("/administration/invitations/?state=open").content.decode()
    assert office.post(f"/administration/invitations/{row.pk}/withdraw/").status_code == 302
    assert "nora@" not in office.get("/administration/invitations/?state=open").content.decode()
    assert "Withdrawn" in office.get("/administration/invitations/?state=over").content.decode()
