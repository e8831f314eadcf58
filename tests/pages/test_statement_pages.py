"""The editor of statements: every kind of field, what is kept on errors, and files that nobody's browser opens."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.test import Client
from django.utils.datastructures import MultiValueDict

from core.digests import sha256_bytes
from core.models import LedgerEntry
from governance.models import Statement
from governance.pages import uploads
from governance.pages.statement_forms import PREFIX, StatementForm, shown_value
from governance.requirements import load_requirements
from governance.rules import table_columns
from governance.services import attachments
from governance.services.attachments import Attachment, plain_name, seal, unseal
from governance.standing.field_values import check_field
from models_registry.models import ModelVersion
from tests.governance.dossiers import valid_fields
from tests.pages import regulation_scene, scene

SignIn = Callable[[str], Client]
RISK, IMAGES = "CNIL-access", "AIA-AnnexIV-1-f"
SCRIPT = b"<html><script>alert(document.cookie)</script></html>"


@pytest.fixture
def ruled(db: None) -> SimpleNamespace:
    return SimpleNamespace(**regulation_scene.regulate(scene.house()))


def page(house: SimpleNamespace, requirement: str, of: ModelVersion | None = None) -> str:
    return f"/systems/chest-model/versions/{(of or house.twin).pk}/requirements/{requirement}/"


def typed(requirement: str, fields: dict[str, Any], version: ModelVersion) -> dict[str, Any]:
    """What a browser sends for these values."""
    data: dict[str, Any] = {}
    for one in load_requirements().requirement(requirement).required_fields:
        kind, name, value = one.type.partition("{")[0], PREFIX + one.name, fields.get(one.name)
        if value is None:
            continue
        if kind == "table":
            data[f"{name}-rows"] = str(len(value))
            data |= {f"{name}-{n}-{column}": cell for n, row in enumerate(value) for column, cell in row.items()}
        elif kind == "signature":
            data |= {f"{name}-{part}": text for part, text in value.items()}
        elif kind == "file":
            data[f"{name}-kept"] = seal(Attachment(**value), version=version, requirement=requirement)
        else:
            data[name] = shown_value(kind, value)
    return data


@pytest.mark.parametrize("item", load_requirements().requirements, ids=lambda item: item.id)
def test_every_requirement_has_a_form_that_gives_back_what_was_typed(item: Any) -> None:
    """All kinds of fields of the whole catalogue: valid values go through the form unchanged."""
    version, fields = ModelVersion(system_id=1), valid_fields(item.id)
    data = QueryDict(mutable=True)
    data.update(typed(item.id, fields, version))
    form = StatementForm(data, MultiValueDict(), asked=item, version=version, catalogue=load_requirements())
    assert form.is_valid(), form.errors
    expected = {
        one.name: check_field(
            one, fields[one.name], columns=table_columns(item.id, one.name) if one.type == "table" else ()
        )
        for one in item.required_fields
    }
    moments = [one.name for one in item.required_fields if one.type == "datetime"]
    stated = form.cleaned_data["fields"]
    assert {k: v for k, v in stated.items() if k not in moments} == {
        k: v for k, v in expected.items() if k not in moments
    }
    # 09:30+01:00 is typed as 08:30 in the zone of the page, which is UTC: the same point in time.
    assert all(stated[name] == "2026-11-20T08:30:00+00:00" for name in moments)
    assert len(form.controls({})) == len(item.required_fields)


def test_a_draft_is_kept_and_begins_the_next_one(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("lea"), page(ruled, RISK)
    data = {
        "v-risk_sources": "outsider\n\nemployee",
        "v-impacts-rows": "3",
        "v-impacts-0-impact": "health data become known",
        "v-impacts-0-whom": "patients",
        "v-impacts-2-impact": "a report is late",
        "v-severity": "3",
        "text": "Rated with the ward.",
    }
    response = client.post(f"{url}write/", data, follow=True)
    assert response.redirect_chain == [(url, 302)]
    made = Statement.objects.get(requirement=RISK, status="draft")
    assert made.fields == {
        "risk_sources": ["outsider", "employee"],
        "impacts": [{"impact": "health data become known", "whom": "patients"}, {"impact": "a report is late"}],
        "severity": "3",
    }
    assert (made.author.username, made.text, made.revision) == ("lea", "Rated with the ward.", 2)
    assert made.binding["version"] == ruled.twin.digest
    text = client.get(f"{url}write/").content.decode()
    assert "outsider\nemployee" in text and "a report is late" in text and "Rated with the ward." in text


def test_every_wrong_field_is_named_and_everything_typed_stays(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    url, before = f"{page(ruled, 'AIA-Art72-3')}write/", Statement.objects.count()
    asked = load_requirements().requirement("AIA-Art72-3")
    assert {one.type for one in asked.required_fields} >= {"signature"}
    wrong = {"v-approved_by-name": "Vera Muster", "v-approved_by-signed_on": "yesterday", "text": "Kept as it was."}
    response = sign_in("elena").post(url, wrong)
    text = response.content.decode()
    assert response.status_code == 422
    assert 'href="#id_v-approved_by"' in text and 'id="id_v-approved_by"' in text
    assert "Approved by must be a signature with a name and a day. Give the name of who signed, and the day." in text
    for kept in ("Vera Muster", "yesterday", "Kept as it was."):
        assert kept in text, kept
    several = {"v-retention_period": "soon", "v-justification": "x" * 20_001, "v-erasure_rule": "Each month."}
    text = sign_in("elena").post(f"{page(ruled, 'AIA-Art19')}write/", several).content.decode()
    assert 'href="#id_v-retention_period"' in text and 'href="#id_v-justification"' in text
    assert "6 months, 10 years" in text and 'value="soon"' in text and "Each month." in text
    assert Statement.objects.count() == before


def test_nothing_stated_is_refused(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("elena").post(f"{page(ruled, RISK)}write/", {"v-impacts-rows": "2", "text": "  "})
    assert response.status_code == 422 and "Nothing is stated." in response.content.decode()


def test_more_rows_come_without_a_script_and_nothing_is_written(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("elena"), f"{page(ruled, 'CNIL-loss')}write/"
    before = Statement.objects.count()
    table = next(item for item in client.get(url).context["controls"] if item.name == "impacts")
    data = {
        "v-impacts-rows": str(len(table.rows)),
        "v-impacts-0-impact": "late",
        "v-threats": "failure of a disk",
        "v-severity": "9",
        "more": "impacts",
    }
    response = client.post(url, data)
    text = response.content.decode()
    more = next(item for item in response.context["controls"] if item.name == "impacts")
    assert response.status_code == 200 and "error-summary" not in text
    assert len(more.rows) == len(table.rows) + 5 + 1 and more.rows[0]["impact"] == "late"
    assert "failure of a disk" in text
    assert Statement.objects.count() == before


def test_the_number_of_rows_is_not_what_a_sender_says(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    data = {"v-impacts-rows": "9" * 8, "v-impacts-0-impact": "late", "v-impacts-600-impact": "never"}
    sign_in("elena").post(f"{page(ruled, 'CNIL-loss')}write/", data)
    assert Statement.objects.latest("pk").fields["impacts"] == [{"impact": "late"}]


def test_the_editor_shows_what_it_will_be_bound_to(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("elena").get(f"{page(ruled, RISK)}write/").content.decode()
    for said in (ruled.twin.digest, "Simulated chest cohort", "Radiology North", "1 Feb 2018"):
        assert said in text, said
    assert "revision 1 by Elena Rossi (returned)" in text


def test_a_draft_of_somebody_else_is_not_overwritten(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("lea"), f"{page(ruled, 'AIA-Art3-1')}write/"
    text = client.get(url).content.decode()
    assert text.count("A draft of Elena Rossi is open.") == 2 and "button--primary" not in text
    response = client.post(url, {"v-qualification_reasoning": "Mine.", "text": ""})
    assert response.status_code == 409 and "Mine." in response.content.decode()
    assert Statement.objects.filter(requirement="AIA-Art3-1").count() == 1


def test_who_may_not_state_reads_why(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("ada"), f"{page(ruled, 'AIA-AnnexIV-1-f')}write/"
    assert "may write statements." in client.get(url).content.decode()
    file = SimpleUploadedFile("a.png", b"png")
    response = client.post(url, {"v-images": file, "text": "Kept words."})
    assert response.status_code == 403 and "Kept words." in response.content.decode()
    assert not LedgerEntry.objects.filter(act="attachment.kept").exists()


def test_the_form_needs_its_token(ruled: SimpleNamespace) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(scene.person("elena"))
    assert client.post(f"{page(ruled, RISK)}write/", {"text": "Forged."}).status_code == 403
    assert not Statement.objects.filter(text="Forged.").exists()


def upload(client: Client, url: str, *files: SimpleUploadedFile, **other: Any) -> Any:
    return client.post(f"{url}write/", {"v-applicable": "yes", "v-images": list(files)} | other)


def test_a_file_is_kept_by_its_digest_and_given_out_as_a_download(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("elena"), page(ruled, IMAGES)
    upload(client, url, SimpleUploadedFile("../outside.html", SCRIPT, content_type="text/html"))
    made = Statement.objects.get(requirement=IMAGES)
    digest = sha256_bytes(SCRIPT)
    assert made.fields["images"] == {"name": "outside.html", "digest": digest}
    assert digest in client.get(url).content.decode()
    response = sign_in("mina").get(f"{url}statements/{made.pk}/files/{digest}/")
    assert response.content == SCRIPT
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == 'attachment; filename="outside.html"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    kept = LedgerEntry.objects.get(act="attachment.kept")
    assert (kept.actor, kept.subject_id) == ("elena", digest) and "outside" not in kept.body
    assert LedgerEntry.objects.get(act="attachment.downloaded").actor == "mina"
    assert sign_in("rita").get(f"{url}statements/{made.pk}/files/{digest}/").status_code == 403


def test_files_survive_an_error_and_can_be_left_out(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("elena"), page(ruled, IMAGES)
    one, two = SimpleUploadedFile("one.png", b"first"), SimpleUploadedFile("two.png", b"second")
    response = upload(client, url, one, two, text="x" * 20_001)
    assert response.status_code == 422
    control = next(item for item in response.context["controls"] if item.name == "images")
    tokens = [token for token, _file in control.files]
    assert [file.name for _token, file in control.files] == ["one.png", "two.png"]
    sent = {"v-applicable": "yes", "v-images-kept": tokens, "v-images-drop": tokens[:1], "text": "Short."}
    assert client.post(f"{url}write/", sent).status_code == 302
    made = Statement.objects.get(requirement=IMAGES)
    assert made.fields["images"] == {"name": "two.png", "digest": sha256_bytes(b"second")}
    again = next(item for item in client.get(f"{url}write/").context["controls"] if item.name == "images")
    assert [file.name for _token, file in again.files] == ["two.png"]


def test_several_files_are_a_list(ruled: SimpleNamespace, sign_in: SignIn) -> None:
    files = [SimpleUploadedFile(f"{n}.png", b"%d" % n) for n in range(3)]
    upload(sign_in("elena"), page(ruled, IMAGES), *files)
    value = Statement.objects.get(requirement=IMAGES).fields["images"]
    assert [file["name"] for file in value] == ["0.png", "1.png", "2.png"]


def test_a_file_beyond_the_limit_is_thrown_away_and_named(
    ruled: SimpleNamespace, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LARGEST", 1000)
    client, url = sign_in("elena"), page(ruled, IMAGES)
    large, small = SimpleUploadedFile("large.png", b"x" * 1001), SimpleUploadedFile("small.png", b"x" * 1000)
    response = upload(client, url, large, small, text="Kept.")
    text = response.content.decode()
    assert response.status_code == 422 and 'href="#id_v-images"' in text
    assert "The file “large.png” is larger than 20 MB" in text and "small.png" in text and "Kept." in text
    assert not scene.store().has(sha256_bytes(b"x" * 1001))
    assert not Statement.objects.filter(requirement=IMAGES).exists()


def test_what_came_before_a_file_that_is_thrown_away_is_kept(
    ruled: SimpleNamespace, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LARGEST", 1000)
    client, url = sign_in("elena"), page(ruled, IMAGES)
    first, large = SimpleUploadedFile("first.png", b"first"), SimpleUploadedFile("large.png", b"x" * 5000)
    upload(client, url, first, large, SimpleUploadedFile("third.png", b"third"))
    kept = LedgerEntry.objects.filter(act="attachment.kept").values_list("subject_id", flat=True)
    assert set(kept) == {sha256_bytes(b"first"), sha256_bytes(b"third")}
    many = [SimpleUploadedFile(f"{number}.png", b"file %d" % number) for number in range(22)]
    response = upload(client, url, *many)
    refused = response.context["form"].errors["v-images"]
    assert ["“20.png”" in refused[0], "“21.png”" in refused[1], len(refused)] == [True, True, 2]
    assert LedgerEntry.objects.filter(act="attachment.kept").count() == 2 + 20


def test_the_service_refuses_an_empty_and_a_large_file(
    ruled: SimpleNamespace, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = upload(sign_in("elena"), page(ruled, IMAGES), SimpleUploadedFile("empty.png", b"")).content.decode()
    assert "The file “empty.png” is empty." in text
    monkeypatch.setattr(attachments, "LARGEST", 3)
    text = upload(sign_in("elena"), page(ruled, IMAGES), SimpleUploadedFile("four.png", b"four")).content.decode()
    assert "The file “four.png” is larger than 20 MB." in text
    assert not LedgerEntry.objects.filter(act="attachment.kept").exists()


def test_nobody_attaches_content_of_the_store_that_was_not_theirs_to_give(
    ruled: SimpleNamespace, sign_in: SignIn
) -> None:
    """A digest is no key: naming one in a form attaches nothing, and what never came as a file is not given out."""
    client, url = sign_in("elena"), page(ruled, IMAGES)
    secret = scene.digest_of("patients.parquet")
    forged = [secret, f'["patients.parquet","{secret}"]', "", "a:b:c"]
    forged.append(seal(Attachment(name="x", digest=secret), version=ruled.twin, requirement=RISK))
    client.post(f"{url}write/", {"v-applicable": "no", "v-images-kept": forged})
    made = Statement.objects.get(requirement=IMAGES)
    assert made.fields == {"applicable": False}
    assert client.get(f"{url}statements/{made.pk}/files/{secret}/").status_code == 404
    Statement.objects.filter(pk=made.pk).update(fields={"images": {"name": "x", "digest": secret}})
    assert client.get(f"{url}statements/{made.pk}/files/{secret}/").status_code == 404
    other = page(ruled, "AIA-Art3-1")
    assert client.get(f"{other}statements/{made.pk}/files/{secret}/").status_code == 404


def test_a_token_holds_for_its_system_and_requirement_only() -> None:
    file, version = Attachment(name="a.pdf", digest="0" * 64), ModelVersion(system_id=1)
    token = seal(file, version=version, requirement=IMAGES)
    assert unseal(token, version=version, requirement=IMAGES) == file
    assert unseal(token, version=ModelVersion(system_id=2), requirement=IMAGES) is None
    assert unseal(token, version=version, requirement=RISK) is None
    assert unseal(token[:-1], version=version, requirement=IMAGES) is None


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\vera\\scan.pdf", "scan.pdf"),
        ("Röntgen 1.png", "Röntgen 1.png"),
        ("a\r\nSet-Cookie: x.pdf", "a Set-Cookie x.pdf"),
        ("invoice\u202efdp.exe", "invoice fdp.exe"),
        ("...", "file"),
    ],
)
def test_names_of_files_are_plain(name: str, plain: str) -> None:
    assert plain_name(name) == plain
