"""A version's way in, as pages: the form, uploads with and without a script, the checks, the decision."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from core.models import LedgerEntry
from models_registry import execution_intake
from models_registry.models import ModelVersion, SystemKind, VersionIntake
from models_registry.services.intakes import start_intake
from tests.pages import scene
from tests.pages.lineage_scene import furnish
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
FORM = "/systems/chest-model/versions/new/"
README = "---\nlicense: mit\ndatasets: [MIMIC-CXR]\n---\n# A log\n\n## Intended use\nFor <b>tests</b>.\n"
CHECK = {"code": "safe", "title": "No links, no pickles, no code", "message": "", "remedy": "", "file": ""}


def predictions() -> bytes:
    stream = io.BytesIO()
    pd.DataFrame({"study_id": ["s1", "s2"], "pred.effusion": [0, 1]}).to_parquet(stream, index=False)
    return stream.getvalue()


def archive(**files: bytes) -> SimpleUploadedFile:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for name, content in files.items():
            target.writestr(name.replace("__", "."), content)
    return SimpleUploadedFile("model.zip", stream.getvalue())


@pytest.fixture
def source(settings: Any) -> Path:
    """A prediction log with a card, in a folder that pages may read."""
    folder = Path(settings.AUSCULT_HOME) / "sources" / "log"
    folder.mkdir(parents=True)
    (folder / "predictions.parquet").write_bytes(predictions())
    (folder / "README.md").write_text(README)
    return folder


def intake(house: SimpleNamespace, **changes: Any) -> VersionIntake:
    facts = {"system": house.system, "label": "3.0", "adapter": "recorded", "kind": "folder", "source_path": "/x"}
    return VersionIntake.objects.create(**facts | {"created_by": scene.person("elena")} | changes)


def address(row: VersionIntake, name: str = "intake") -> str:
    return reverse(name, args=[row.system.slug, row.pk])


def well_made(text: str) -> str:
    page = Page(text)
    assert (page.faults, page.stack, page.tags["h1"], page.unnamed()) == ([], [], 1, [])
    assert [name for name, times in page.ids.items() if times > 1] == []
    return text


def test_an_empty_form_links_to_what_is_missing(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("elena").post(FORM, {"label": "", "kind": "upload"})
    text = well_made(response.content.decode())
    assert response.status_code == 422
    for name in ("label", "adapter", "upload"):
        assert f'href="#id_{name}"' in text
    assert not VersionIntake.objects.exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"kind": "folder", "folder": "models/a"}, "Give the whole path, beginning with /."),
        ({"kind": "archive"}, "Give the whole path, beginning with /."),
        ({"kind": "mlflow", "tracking": "/data/mlruns"}, "Give the run."),
        ({"kind": "carrier pigeon"}, "Select a valid choice"),
        ({"kind": "folder", "folder": "/etc", "adapter": "magic"}, "Select a valid choice"),
        ({"kind": "folder", "folder": "/etc", "backbone": "9999"}, "Select a valid choice"),
    ],
)
def test_what_is_typed_wrongly_is_said_at_its_field(
    house: SimpleNamespace, sign_in: SignIn, typed: dict[str, str], said: str
) -> None:
    response = sign_in("elena").post(FORM, {"label": "3.0", "adapter": "recorded"} | typed)
    assert response.status_code == 422 and said in well_made(response.content.decode())
    assert not VersionIntake.objects.exists()


def test_a_label_that_is_taken_keeps_what_was_typed(house: SimpleNamespace, sign_in: SignIn, source: Path) -> None:
    typed = {"label": "1.1", "adapter": "recorded", "kind": "folder", "folder": str(source), "notes": "A note."}
    response = sign_in("elena").post(FORM, typed)
    text = response.content.decode()
    assert response.status_code == 409 and "already has a version 1.1" in text
    assert "A note." in text and str(source) in text


def test_from_a_folder_to_a_version_by_way_of_the_checks(house: SimpleNamespace, sign_in: SignIn, source: Path) -> None:
    client = sign_in("elena")
    typed = {"label": "3.0", "adapter": "recorded", "kind": "folder", "folder": str(source)}
    answer = client.post(FORM, typed)
    row = VersionIntake.objects.get()
    assert answer.headers["Location"] == address(row)
    assert "Waiting to be checked" in well_made(client.get(address(row)).content.decode())

    execution_intake.check_intake(row.pk)
    text = well_made(client.get(address(row)).content.decode())
    assert "Ready to register" in text and "What will be registered" in text and "Confirm and register" in text
    assert "For &lt;b&gt;tests&lt;/b&gt;." in text and "predictions.parquet" in text and "MIT" in text
    assert "Confirm Chest model 3.0" in client.get("/").content.decode()
    assert "Confirm Chest model 3.0" not in sign_in("amir").get("/").content.decode()

    client.post(address(row, "intake-confirm"))
    assert "being registered" in client.get(address(row, "intake-checks")).content.decode()
    execution_intake.register_intake(row.pk)
    version = ModelVersion.objects.get(label="3.0")
    done = client.get(address(row))
    assert done.headers["Location"] == reverse("version", args=["chest-model", version.pk])
    page = client.get(done.headers["Location"] + "~content/").content.decode()
    assert "MIMIC-CXR" in page and str(source) in page
    assert LedgerEntry.objects.filter(act="version.registered", actor="elena").count() == 1


def test_without_a_script_an_archive_goes_with_the_form(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("elena")
    sent = archive(predictions__parquet=predictions(), README__md=README.encode())
    client.post(FORM, {"label": "3.0", "adapter": "recorded", "kind": "upload", "upload": sent})
    row = VersionIntake.objects.get()
    assert row.status == "queued"
    execution_intake.check_intake(row.pk)
    row.refresh_from_db()
    assert (row.status, sorted(row.findings["manifest"])) == ("ready", ["README.md", "predictions.parquet"])


def test_without_a_script_several_files_go_too(house: SimpleNamespace, sign_in: SignIn) -> None:
    files = [SimpleUploadedFile("predictions.parquet", predictions()), SimpleUploadedFile("README.md", b"# Hello")]
    sign_in("elena").post(FORM, {"label": "3.0", "adapter": "recorded", "kind": "upload", "upload": files})
    execution_intake.check_intake(VersionIntake.objects.get().pk)
    row = VersionIntake.objects.get()
    assert row.status == "ready" and len(row.findings["manifest"]) == 2
    licence = next(check for check in row.checks if check["code"] == "licence")
    text = sign_in("elena").get(address(row)).content.decode()
    assert licence["state"] == "warning" and "Look at this" in text and "No licence is named." in text


def test_a_refused_name_leaves_nothing_open(house: SimpleNamespace, sign_in: SignIn) -> None:
    twice = [SimpleUploadedFile("a.parquet", b"1"), SimpleUploadedFile("A.parquet", b"2")]
    response = sign_in("elena").post(FORM, {"label": "3.0", "adapter": "recorded", "kind": "upload", "upload": twice})
    assert response.status_code in {409, 422}
    assert not VersionIntake.objects.exclude(status="discarded").exists()


def test_a_script_sends_pieces_and_the_page_shows_what_has_arrived(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, data = sign_in("elena"), predictions()
    body = {
        "label": "3.0",
        "adapter": "recorded",
        "files": [{"path": "log/predictions.parquet", "size": len(data)}],
    }
    started = client.post(reverse("intake-start", args=["chest-model"]), json.dumps(body), "application/json")
    state = started.json()
    row = VersionIntake.objects.get()
    assert state["href"] == address(row)
    piece = f"{state['href']}files/?path=log/predictions.parquet&offset="
    client.put(piece + "0", data[:100], "application/octet-stream")
    text = well_made(client.get(state["href"]).content.decode())
    assert (
        "100 bytes" in text
        and "data-upload-resume" in text
        and "Go on with the upload of" in (client.get("/").content.decode())
    )
    other = well_made(sign_in("amir").get(state["href"]).content.decode())
    assert "data-upload-resume" not in other and "Only Elena Rossi, who began it" in other
    client.put(piece + "100", data[100:], "application/octet-stream")
    assert client.post(f"{state['href']}finish/").json()["status"] == "queued"
    execution_intake.check_intake(row.pk)
    row.refresh_from_db()
    assert row.status == "ready"


def test_errors_of_the_checks_stand_at_the_top_with_their_remedy(house: SimpleNamespace, sign_in: SignIn) -> None:
    found = CHECK | {"state": "error", "message": "Pickles <i>run</i> code.", "remedy": "Convert it.", "file": "a.bin"}
    row = intake(house, status="blocked", checks=[found, CHECK | {"state": "waiting"}])
    text = well_made(sign_in("elena").get(address(row)).content.decode())
    assert "Pickles &lt;i&gt;run&lt;/i&gt; code." in text and "What to do: Convert it." in text and "a.bin" in text
    assert text.index("Convert it.") < text.index("Checks</h2>")
    assert "Confirm and register" not in text and "Check it again" in text and "Discard" in text


def test_checking_again_takes_another_adapter_and_keeps_a_refusal(house: SimpleNamespace, sign_in: SignIn) -> None:
    row = intake(house, status="blocked")
    client, url = sign_in("elena"), address(row, "intake-recheck")
    taken = client.post(url, {"label": "1.1", "adapter": "recorded"})
    text = well_made(taken.content.decode())
    assert taken.status_code == 409 and "already has a version 1.1" in text and 'value="1.1"' in text
    wrong = client.post(url, {"label": "3.1", "adapter": "magic"})
    assert wrong.status_code == 422
    client.post(url, {"label": "3.1", "adapter": "fusion"})
    row.refresh_from_db()
    assert (row.status, row.label, row.adapter) == ("queued", "3.1", "fusion")


@pytest.mark.parametrize("status", ["queued", "checking", "registering"])
def test_the_checks_are_asked_for_until_there_is_nothing_to_wait_for(
    house: SimpleNamespace, sign_in: SignIn, status: str
) -> None:
    row = intake(house, status=status, progress=0.4, message="Reading every byte", checks=[CHECK | {"state": "ok"}])
    client, url = sign_in("elena"), address(row, "intake-checks")
    part = client.get(url, headers={"HX-Request": "true"})
    assert 'hx-trigger="every' in part.content.decode() and "HX-Refresh" not in part.headers
    VersionIntake.objects.filter(pk=row.pk).update(status="ready")
    ended = client.get(url, headers={"HX-Request": "true"})
    assert ended.headers["HX-Refresh"] == "true" and "hx-trigger" not in ended.content.decode()


def test_discarding_says_what_became_of_it(house: SimpleNamespace, sign_in: SignIn) -> None:
    row, client = intake(house, status="ready"), sign_in("elena")
    text = client.post(address(row, "intake-discard"), follow=True).content.decode()
    assert "It was discarded" in text
    assert "It was given up. Nothing was registered." in client.get(address(row)).content.decode()
    again = client.post(address(row, "intake-confirm"), follow=True).content.decode()
    assert "This was not done" in again


def test_whoever_may_not_register_reads_and_learns_why(house: SimpleNamespace, sign_in: SignIn) -> None:
    row, client = intake(house, status="ready", findings={"sizes": {"a": 1}}), sign_in("mina")
    text = well_made(client.get(address(row)).content.decode())
    reason = "Only people with the role ML engineer may register a model version."
    assert text.count(reason) >= 3 and "Confirm and register" not in text
    for name in ("intake-confirm", "intake-discard"):
        assert reason in client.post(address(row, name), follow=True).content.decode()
    denied = client.post(address(row, "intake-recheck"), {"label": "4", "adapter": "fusion"})
    assert denied.status_code == 403
    form = well_made(client.get(FORM).content.decode())
    assert reason in form
    assert client.post(FORM, {"label": "4", "adapter": "fusion", "kind": "folder", "folder": "/x"}).status_code == 403
    row.refresh_from_db()
    assert row.status == "ready"
    regulator = sign_in("rita")
    assert regulator.get(address(row)).status_code == regulator.get(address(row, "intake-checks")).status_code == 403
    assert all(client.get(address(row, name)).status_code == 405 for name in ("intake-confirm", "intake-discard"))


def test_confirming_a_changed_backbone_says_which_approvals_it_voids(
    house: SimpleNamespace, sign_in: SignIn, source: Path
) -> None:
    family = furnish(house.cohort, house.protocol)
    ModelVersion.objects.filter(pk__in=[head.pk for head in family.heads[:2]]).update(status="approved")
    elena = scene.person("elena")
    row = start_intake(
        system=family.first.system, label="2.0", adapter="recorded", kind="folder", source_path=source, by=elena
    )
    execution_intake.check_intake(row.pk)
    client = sign_in("elena")
    text = well_made(client.get(address(row)).content.decode())
    assert "Registering it voids 2 approvals" in text and "Chest findings 1.0" in text
    assert "<strong>2 approvals will be void</strong>" in text
    client.post(address(row, "intake-confirm"))
    execution_intake.register_intake(row.pk)
    statuses = ModelVersion.objects.filter(pk__in=[head.pk for head in family.heads[:2]]).values_list("status")
    assert {status for (status,) in statuses} == {"void"}


def test_the_system_lists_what_is_on_its_way_and_what_it_is(house: SimpleNamespace, sign_in: SignIn) -> None:
    intake(house, status="ready")
    text = sign_in("amir").get("/systems/chest-model/").content.decode()
    assert "On their way in" in text and "Ready to register" in text and "AI system" in text
    made = {"name": "General model", "intended_purpose": "Others build on it.", "kind": SystemKind.BACKBONE}
    client = sign_in("elena")
    client.post("/systems/~new/", made)
    assert "Backbone of other systems" in client.get("/systems/general-model/").content.decode()
    assert "Backbone of other systems" in client.get("/systems/").content.decode()
    wrong = client.post("/systems/~new/", made | {"name": "Other", "kind": "spine"})
    assert wrong.status_code == 422


def test_many_files_are_counted_not_listed(house: SimpleNamespace, sign_in: SignIn) -> None:
    row = intake(house, status="receiving", kind="upload")
    row.files.bulk_create(row.files.model(intake=row, path=f"{number:04}.json", size=10) for number in range(230))
    text = well_made(sign_in("elena").get(address(row)).content.decode())
    assert "30 more files" in text and "2.3 kB" in text
