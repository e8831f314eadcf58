"""The programming interface: who gets in, what is refused, that sending twice records once, that nothing leaks."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.case_keys import keyed_digest
from core.digests import sha256_bytes
from core.errors import ConflictError
from core.models import ApiToken, LedgerEntry
from core.tokens import issue_token, revoke_token
from governance.models import OutputCount, Override
from governance.services import overrides
from governance.services.deployments import suspend_deployment
from models_registry.models import Deployment
from tests.governance.deployment_scene import WHY, approved, began, put

STUDY = "ACC-2026-0047113"
PATIENT = "Rosalind Quincey"


@pytest.fixture(autouse=True)
def static(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()


@pytest.fixture
def deployment(people: SimpleNamespace, home: Path) -> Deployment:
    with began(30):
        return put(approved(people, home), people.clara)


@pytest.fixture
def secret(people: SimpleNamespace) -> str:
    return token(people.lea)


def token(user: Any, *scopes: str, days: int = 30) -> str:
    return issue_token(user=user, name="PACS", scopes=scopes or ("oversight", "gate"), days=days, by=None)[1]


def item(**given: Any) -> dict[str, Any]:
    moment = (timezone.now() - timedelta(hours=3)).isoformat()
    return {"key": "a-1", "happened_at": moment, "action": "changed", "reason": "false_positive"} | given


def post(row: Deployment | int, secret: str | None, items: Any, what: str = "overrides", client: Any = None) -> Any:
    pk = row if isinstance(row, int) else row.pk
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    body = items if isinstance(items, str) else json.dumps({"items": items})
    url = f"/api/v1/deployments/{pk}/{what}"
    return (client or Client(enforce_csrf_checks=True)).post(url, body, "application/json", headers=headers)


def check_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], bool(body["title"]), bool(body["detail"])) == (status, True, True)
    return body


def test_overrides_are_recorded_and_sending_twice_records_once(deployment: Deployment, secret: str) -> None:
    items = [item(group={"sex": "F", "age_band": "60-79"}, study_id=STUDY, role="radiologist"), item(key="a-2")]
    before = LedgerEntry.objects.count()
    response = post(deployment, secret, items)
    assert (response.status_code, response.json()) == (200, {"new": 2, "known": 0})
    again = post(deployment, secret, items)
    assert (again.status_code, again.json()) == (200, {"new": 0, "known": 2})
    assert post(deployment, secret, [*items, item(key="a-3")]).json() == {"new": 1, "known": 2}
    assert Override.objects.count() == 3
    assert LedgerEntry.objects.count() == before + 2
    first = Override.objects.get(case_digest__gt="")
    assert (first.group, first.role, first.recorded_by.username) == ({"age_band": "60-79", "sex": "F"},
                                                                     "radiologist", "lea")  # fmt: skip


def test_a_study_is_kept_as_a_keyed_digest_only(
    deployment: Deployment, secret: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    response = post(deployment, secret, [item(key=STUDY, study_id=STUDY)])
    row = Override.objects.get()
    assert row.case_digest == keyed_digest("study", "chest-model", STUDY)
    assert row.case_digest != sha256_bytes(STUDY.encode())
    assert STUDY not in row.key and STUDY not in response.content.decode() and STUDY not in caplog.text
    assert all(STUDY not in entry.body for entry in LedgerEntry.objects.all())
    assert STUDY not in repr(overrides.OverrideItem(**item(study_id=STUDY, happened_at=timezone.now())))
    key = home / "keys" / "cases.key"
    assert oct(key.stat().st_mode & 0o777) == "0o600" and len(bytes.fromhex(key.read_text())) == 32
    key.write_text("00" * 32)
    assert keyed_digest("study", "chest-model", STUDY) != row.case_digest


def test_no_refusal_repeats_what_was_sent(
    deployment: Deployment, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = [
        item(label=PATIENT + " born 12.04.1951"),
        item(role=PATIENT + " 7"),
        item(group={"sex": PATIENT}),
        item(group={PATIENT: "F"}),
        item(group={"age_band": "1951-04-12"}),
        item(group={"age_band": PATIENT * 9}),
        item(group={"sex": {PATIENT: 1}}),
        item(**{PATIENT: PATIENT}),
        item(action=PATIENT),
        item(reason=PATIENT),
        item(happened_at=PATIENT),
        item(happened_at="2026-11-22T10:00:00"),
        item(key=PATIENT * 40),
        item(study_id=PATIENT * 40),
        item(study_id=[PATIENT]),
    ]
    for given in wrong:
        body = check_problem(post(deployment, secret, [given]), 422)
        assert "Rosalind" not in json.dumps(body) and "1951" not in json.dumps(body)
    for text in (f'{{"items": "{PATIENT}"}}', f'{{"{PATIENT}": []}}', '{"items": []}', "[]"):
        assert "Rosalind" not in json.dumps(check_problem(post(deployment, secret, text), 422))
    assert "Rosalind" not in json.dumps(check_problem(post(deployment, secret, f"{{{PATIENT}"), 400))
    assert not Override.objects.exists()
    assert "Rosalind" not in caplog.text


@pytest.mark.parametrize(
    ("group", "taken"),
    [
        ({"sex": "F"}, True),
        ({"sex": "female"}, False),
        ({"age_band": "60-79"}, True),
        ({"age_band": "<40"}, True),
        ({"age_band": ">=80"}, True),
        ({"age_band": "unknown"}, True),
        ({"age_band": "67"}, False),
        ({"age_band": "66-68"}, False),
        ({"age_band": "79-60"}, False),
        ({"ward": "Emergency"}, False),
        ({"sex": ""}, False),
        ({"sex": " F "}, True),
    ],
)
def test_groups_are_coarse(deployment: Deployment, secret: str, group: dict[str, str], taken: bool) -> None:
    assert post(deployment, secret, [item(group=group)]).status_code == (200 if taken else 422)


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("Emergency", True),
        ("CT 2", True),
        ("non-native speaker", True),
        ("Ward 4711", False),
        ("12.04.1951", False),
        ("1951-4-12", False),
        ("AB12C3", False),
        ("a@b.example", False),
        ("she came in at night with pain", False),
        ("x" * 41, False),
        ("<script>alert(1)</script>", False),
    ],
)
def test_a_site_may_name_further_attributes(
    deployment: Deployment, secret: str, settings: Any, value: str, taken: bool
) -> None:
    settings.AUSCULT_GROUP_ATTRIBUTES = ["ward"]
    assert post(deployment, secret, [item(group={"ward": value})]).status_code == (200 if taken else 422)


def test_labels_are_those_that_the_version_declares(deployment: Deployment, secret: str) -> None:
    version = deployment.version
    version.config = {"labels": ["effusion", "COVID-19 grade 3"]}
    version.save()
    assert post(deployment, secret, [item(label="effusion")]).status_code == 200
    assert post(deployment, secret, [item(key="b", label="COVID-19 grade 3")]).status_code == 200
    body = check_problem(post(deployment, secret, [item(key="c", label="fracture")]), 422)
    assert "effusion" in body["remedy"] and "fracture" not in json.dumps(body)


def test_all_items_or_none(deployment: Deployment, secret: str) -> None:
    before = LedgerEntry.objects.count()
    body = check_problem(post(deployment, secret, [item(), item(key="b", group={"sex": "?"})]), 422)
    assert body["detail"].startswith("Item 2:")
    assert (Override.objects.count(), LedgerEntry.objects.count()) == (0, before)


def test_a_key_is_of_one_override(deployment: Deployment, secret: str) -> None:
    first = item()
    post(deployment, secret, [first])
    check_problem(post(deployment, secret, [first | {"reason": "other"}]), 409)
    check_problem(post(deployment, secret, [item(key="z", reason="other"), item(key="z")]), 409)
    assert Override.objects.count() == 1


def test_numbers_of_outputs(deployment: Deployment, secret: str) -> None:
    day = (timezone.now() - timedelta(days=2)).date().isoformat()
    items = [{"day": day, "n": 40, "group": {"sex": "F"}}, {"day": day, "n": 51, "group": {"sex": "M"}}]
    assert post(deployment, secret, items, "outputs").json() == {"new": 2, "known": 0}
    assert post(deployment, secret, items, "outputs").json() == {"new": 0, "known": 2}
    check_problem(post(deployment, secret, [items[0] | {"n": 41}], "outputs"), 409)
    for n in (-1, 10_000_001, 1.5, True, "40"):
        check_problem(post(deployment, secret, [{"day": day, "n": n}], "outputs"), 422)
    far = (timezone.now() + timedelta(days=2)).date().isoformat()
    early = (timezone.now() - timedelta(days=40)).date().isoformat()
    for other in (far, early):
        check_problem(post(deployment, secret, [{"day": other, "n": 4}], "outputs"), 409)
    assert sorted(OutputCount.objects.values_list("n", flat=True)) == [40, 51]
    payload = json.loads(LedgerEntry.objects.get(act="outputs.recorded").body)["payload"]
    assert (payload["items"], payload["outputs"]) == (2, 91)


def test_what_happened_while_it_did_not_run_is_refused(
    deployment: Deployment, secret: str, people: SimpleNamespace
) -> None:
    long_ago = (timezone.now() - timedelta(days=31)).isoformat()
    soon = (timezone.now() + timedelta(hours=1)).isoformat()
    for moment in (long_ago, soon):
        check_problem(post(deployment, secret, [item(happened_at=moment)]), 409)
    suspend_deployment(deployment=deployment, reason=WHY, by=people.clara)
    assert post(deployment, secret, [item()]).status_code == 200  # It happened before, and came in late.
    Deployment.objects.filter(pk=deployment.pk).update(suspended_at=timezone.now() - timedelta(hours=6))
    check_problem(post(deployment, secret, [item(key="b")]), 409)


def test_who_is_let_in(deployment: Deployment, people: SimpleNamespace) -> None:
    for given in (None, "", "auscult_", "wrong", "auscult_" + "x" * 43, "Ω" * 12):
        response = post(deployment, given, [item()])
        check_problem(response, 401)
        assert response.headers["WWW-Authenticate"] == "Bearer"
    expired = token(people.lea)
    ApiToken.objects.update(expires_at=timezone.now())
    check_problem(post(deployment, expired, [item()]), 401)
    made, revoked = issue_token(user=people.lea, name="PACS", scopes=["oversight"], days=1, by=None)
    assert post(deployment, revoked, [item()]).status_code == 200
    revoke_token(token=made, by=None)
    check_problem(post(deployment, revoked, [item()]), 401)
    closed = token(people.tom)
    people.tom.is_active = False
    people.tom.save()
    check_problem(post(deployment, closed, [item()]), 401)
    check_problem(post(deployment, token(people.lea, "gate"), [item()]), 403)
    check_problem(post(deployment, token(people.rita), [item()]), 403)
    check_problem(post(deployment, token(people.ada), [item()]), 403)
    assert Override.objects.count() == 1


def test_a_session_lets_nobody_in(deployment: Deployment, people: SimpleNamespace) -> None:
    client = Client()
    client.force_login(people.lea)
    check_problem(post(deployment, None, [item()], client=client), 401)
    assert client.get("/api/v1/gate?version=x&policy=y").status_code == 401


def test_what_is_not_there(deployment: Deployment, secret: str) -> None:
    check_problem(post(9999, secret, [item()]), 404)
    assert Client().get("/api/v1/docs").status_code in (302, 404)
    assert Client().get("/api/v1/").status_code in (302, 404)


def test_a_thousand_items_at_once_and_no_more(deployment: Deployment, secret: str) -> None:
    items = [item(key=str(number)) for number in range(1001)]
    check_problem(post(deployment, secret, items), 422)
    assert post(deployment, secret, items[:1000]).json() == {"new": 1000, "known": 0}
    with pytest.raises(ConflictError, match="1 to 1,000"):
        overrides.record_overrides(deployment=deployment, items=[None] * 1001, by=deployment.started_by)  # type: ignore[list-item]


def test_a_body_that_is_too_large(deployment: Deployment, secret: str, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 200
    check_problem(post(deployment, secret, [item(role="a" * 400)]), 413)


def test_a_failure_that_nobody_foresaw_says_nothing(
    deployment: Deployment, secret: str, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**given: Any) -> None:
        raise RuntimeError(f"cannot write {PATIENT}")

    monkeypatch.setattr(overrides.ledger, "record", broken)
    check_problem(post(deployment, secret, [item()]), 500)
    assert "RuntimeError" in caplog.text and PATIENT not in caplog.text
    assert not Override.objects.exists()


def test_the_gate_answers_as_the_command_does(
    deployment: Deployment, secret: str, people: SimpleNamespace, monkeypatch: Any
) -> None:
    from governance.api import gate as module
    from governance.policies.findings import State
    from tests.governance.deployment_scene import findings

    headers = {"Authorization": f"Bearer {secret}"}
    missing = Client().get("/api/v1/gate?version=chest-model/1.0&policy=nothing", headers=headers)
    assert "no policy called" in check_problem(missing, 404)["detail"]
    check_problem(Client().get("/api/v1/gate?version=chest-model/9&policy=nothing", headers=headers), 404)
    check_problem(Client().get("/api/v1/gate?policy=nothing", headers=headers), 422)
    monkeypatch.setattr(module, "policy_called", lambda name: SimpleNamespace(name=name))
    monkeypatch.setattr(module, "rules_of", lambda policy: SimpleNamespace(applies=lambda slug: True))
    for state, code in ((State.MET, 0), (State.FAILED, 1), (State.STALE, 2)):
        monkeypatch.setattr(module, "gate", lambda row, rules, site, found=state: findings(row, found))
        body = Client().get("/api/v1/gate?version=chest-model/1.0&policy=imaging", headers=headers).json()
        assert (body["exit"], body["outcome"]) == (code, ["pass", "fail", "insufficient"][code])
    only = {"Authorization": f"Bearer {token(people.lea, 'oversight')}"}
    check_problem(Client().get("/api/v1/gate?version=chest-model/1.0&policy=imaging", headers=only), 403)


def test_tokens_are_issued_and_end(people: SimpleNamespace, home: Path) -> None:
    made, secret = issue_token(user=people.lea, name=" PACS  north ", scopes=["gate"], days=365, by=people.ada)
    assert (made.name, made.scopes) == ("PACS north", ["gate"])
    assert made.token_digest == sha256_bytes(secret.encode()) and secret not in json.dumps(made.scopes)
    body = LedgerEntry.objects.get(act="token.issued").body
    assert secret not in body and made.token_digest not in body
    revoke_token(token=made, by=people.ada)
    with pytest.raises(ConflictError, match="revoked already"):
        revoke_token(token=made, by=people.ada)
    for wrong in ({"days": 0}, {"days": 366}, {"scopes": []}, {"scopes": ["root"]}, {"name": " "}):
        with pytest.raises(ConflictError):
            issue_token(**{"user": people.lea, "name": "x", "scopes": ["gate"], "days": 1, "by": None} | wrong)
