"""A hospital's messy export, from the upload to the registered cohort, by the pages alone (workers run in between)."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from types import SimpleNamespace

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from models_registry import execution
from models_registry.models import CohortImport, CohortVersion

SignIn = Callable[[str], Client]
HEADER = ",Patient ID ,Accession,PTX,Gender,Age"
ROWS = "\n".join(f"{n},p{n // 2},A{n},{'YES' if n % 3 == 0 else 'NO'},{'FM'[n % 2]},{30 + n}" for n in range(60))
EXPORT = f"{HEADER}\n{ROWS}\n".encode()


def fields(text: str) -> dict[str, list[str]]:
    """What the mapping's form would send as the page came."""
    form = text[text.index('aria-label="Columns"') :].partition("</form>")[0]
    found: dict[str, list[str]] = {"original": [], "name": [], "values": [], "role": []}
    for name, value in re.findall(r'<input[^>]*name="(original|name|values)" value="([^"]*)"', form):
        found[name].append(html.unescape(value))
    for select in re.findall(r"<select.*?</select>", form, flags=re.S):
        found["role"].append(re.findall(r'value="(\w+)" selected', select)[0])
    return found


def test_from_upload_to_cohort(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("elena")
    client.post("/cohorts/~import/", {"name": "Ward 7", "upload": SimpleUploadedFile("ward.csv", EXPORT)})
    row = CohortImport.objects.latest("pk")
    page = f"/cohorts/~import/{row.pk}/"
    execution.inspect_import(row.pk)
    text = client.get(page).content.decode()
    assert "column <strong>patient_id</strong>" in text or "column <strong>study_id</strong>" in text
    assert f"{page}confirm/" not in text

    typed = fields(text)
    place = typed["original"].index("PTX")
    typed["role"][place], typed["name"][place] = "label", "pneumothorax"
    typed["values"][place] = "YES = 1, NO = 0"
    assert client.post(f"{page}mapping/", typed).status_code == 302
    execution.inspect_import(row.pk)
    text = client.get(page).content.decode()
    assert f"{page}confirm/" in text and "Has errors" not in text

    client.post(f"{page}confirm/")
    execution.register_import(row.pk)
    made = CohortVersion.objects.latest("pk")
    assert (made.n_studies, made.n_patients, made.summary["labels"]["pneumothorax"]["positive"]) == (
        60,
        30,
        20,
    )
    text = client.get("/cohorts/ward-7/").content.decode()
    assert "pneumothorax" in text and "33.3 %" in text
    assert "Registered" in client.get(page).content.decode()
