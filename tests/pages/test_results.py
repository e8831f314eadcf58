"""What a run found: progress, order, filter, charts and downloads."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core import ledger
from core.models import LedgerEntry
from core.templatetags.figures import fact, headline, kind_words, pairs, particulars
from evaluation.charts import ChartPlan
from evaluation.models import Measurement
from evaluation.pages.runs import POLL_SECONDS
from evaluation.selectors import progress_of, verdicts_of
from evaluation.templatetags.metrics import accepts
from tests.pages import scene

SignIn = Callable[[str], Client]


def test_progress_asks_less_and_less_often(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{house.running.pk}/progress/"
    first, later = client.get(url).content.decode(), client.get(f"{url}?n=500").content.decode()
    assert 'hx-trigger="every 2s"' in first and "?n=1" in first
    assert f'hx-trigger="every {POLL_SECONDS[-1]}s"' in later
    assert client.get(f"{url}?n=-1;x").status_code == 200


def test_progress_stops_with_the_run_and_loads_the_page(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    going = client.get(f"/audits/{house.running.pk}/progress/", headers={"HX-Request": "true"})
    ended = client.get(f"/audits/{house.broken.pk}/progress/", headers={"HX-Request": "true"})
    assert "HX-Refresh" not in going.headers
    assert ended.headers["HX-Refresh"] == "true" and "hx-get" not in ended.content.decode()


def test_progress_counts_rate_and_time_left(house: SimpleNamespace) -> None:
    found = progress_of(house.running)
    size = 5210 // 6
    assert (found.shards_done, found.shards_total) == (3, 6)
    assert found.studies_done == 3 * size + size // 3
    assert found.rate == pytest.approx(found.studies_done / 95, rel=0.05)
    assert found.eta_seconds == pytest.approx((5210 - found.studies_done) / found.rate, rel=0.01)


def test_a_run_served_from_the_cache_has_no_rate(house: SimpleNamespace) -> None:
    house.running.shards.update(from_cache=True)
    found = progress_of(house.running)
    assert (found.rate, found.eta_seconds) == (None, None)


def test_a_failed_run_says_why_and_what_to_do(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("amir").get(f"/audits/{house.broken.pk}/").content.decode()
    assert "does not match its digest" in text and "Resume" in text and "hx-get" not in text
    head = text[: text.index("</h1>") + 400]
    assert "Did not finish" in head and "status--fail" not in head, "an audit that broke looks like one that failed"


def test_the_decisive_verdict_leads_wherever_it_stands(house: SimpleNamespace) -> None:
    found = verdicts_of(house.fail)
    assert found.lead is not None and (found.lead.outcome, found.lead.position) == ("fail", 2)
    assert [row.outcome for row in found.primary] == ["fail", "insufficient", "pass"]
    house.fail.verdicts.filter(outcome="fail").update(primary=False)
    found = verdicts_of(house.fail)
    assert found.lead is not None and found.lead.outcome == "insufficient"
    assert (found.failed, [row.outcome for row in found.exploratory]) == (0, ["fail"])


def test_lack_of_evidence_is_never_green(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("amir").get(f"/audits/{house.short.pk}/").content.decode()
    assert "verdict-banner--insufficient" in text and "status--pass" not in text
    assert "about 140 more studies" in text


def test_measurements_are_filtered_together(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{house.fail.pk}/"
    rows = client.get(url, {"label": "effusion", "metric": "tpr"}).context["listing"].page.object_list
    assert {row.label for row in rows} == {"effusion"} and len(rows) == 4
    assert "No measurement matches" in client.get(url, {"label": "nothing"}).content.decode()


def test_undefined_is_a_reason_never_zero(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("amir").get(f"/audits/{house.fail.pk}/", {"label": "=effusion"}).content.decode()
    assert "suppressed: fewer than 11 patients" in text and ".000" not in text


def read_csv(client: Client, url: str) -> list[dict[str, str]]:
    response = client.get(url)
    assert response.headers["Content-Disposition"].startswith("attachment")
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


def test_the_csv_holds_what_the_filter_leaves_and_every_digit(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{house.fail.pk}/measurements.csv"
    rows = read_csv(client, f"{url}?label=effusion")
    assert [row["group"] for row in rows] == ["F & <60", "F & 60-79", "F & >=80", "M & <60"]
    assert (rows[0]["value"], rows[0]["n"], rows[0]["method"]) == ("0.87", "412", "patient-cluster bootstrap")
    assert len(read_csv(client, url)) == 13


def test_no_cell_of_the_csv_is_a_formula(house: SimpleNamespace, sign_in: SignIn) -> None:
    row = read_csv(sign_in("amir"), f"/audits/{house.fail.pk}/measurements.csv?label=%3Deffusion")[0]
    assert (row["label"], row["group"], row["value"]) == ("'=effusion", "'@all", "")


def test_parquet_holds_the_same_rows_with_types_and_unchanged_text(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{house.fail.pk}/measurements"
    for query in ("", "?label=effusion&sort=-n", "?undefined=yes", "?q=80", "?label=nothing"):
        table = pq.read_table(io.BytesIO(client.get(f"{url}.parquet{query}").content))
        rows = read_csv(client, f"{url}.csv{query}")
        assert [str(value) for value in table.column("n").to_pylist()] == [row["n"] for row in rows]
        assert table.column("group").to_pylist() == [row["group"].removeprefix("'") for row in rows]
        types = {name: str(table.schema.field(name).type) for name in ("value", "n", "label")}
        assert types == {"value": "double", "n": "int64", "label": "string"}
    table = pq.read_table(io.BytesIO(client.get(f"{url}.parquet?undefined=yes").content))
    assert set(table.column("value").to_pylist()) == {None} and "=effusion" in table.column("label").to_pylist()


@pytest.mark.parametrize(
    ("query", "number"),
    [("", 13), ("undefined=yes", 1), ("undefined=no", 12), ("label=effusion", 4), ("label=effusion&undefined=yes", 0),
     ("suite=fairness&metric=tpr&attribute=sex+%26+age", 13), ("q=%3C60", 6), ("suite=drift", 0)],
)  # fmt: skip
def test_the_number_of_measurements_is_that_of_the_rows(
    house: SimpleNamespace, sign_in: SignIn, query: str, number: int
) -> None:
    listing = sign_in("amir").get(f"/audits/{house.fail.pk}/?{query}").context["listing"]
    assert listing.page.paginator.count == number == listing.rows.count()


def test_lists_of_other_things_on_the_page_keep_their_own_heads(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("amir").get(f"/audits/{getattr(house, 'pass').pk}/").content.decode()
    reports = text[text.index('aria-label="Reports"') :].partition("</thead>")[0]
    assert "As of" in reports and "aria-sort" not in reports


def test_measurements_are_sorted_with_the_undefined_last(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{house.fail.pk}/"
    for sort in ("value", "-value"):
        values = [row.value for row in client.get(url, {"sort": sort}).context["listing"].page]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=sort.startswith("-")) and values[-1] is None


def test_a_run_under_way_says_what_happened(house: SimpleNamespace, sign_in: SignIn) -> None:
    shard = house.broken.shards.get(status="failed")
    house.broken.shards.filter(pk=shard.pk).update(attempts=3, started_at=house.broken.started_at)
    with transaction.atomic():
        ledger.record(actor="amir", act="run.resumed", subject=("AuditRun", house.broken.pk))
    text = sign_in("amir").get(f"/audits/{house.broken.pk}/").content.decode()
    part = text[text.index("What happened so far") :]
    assert "Amir let it go on" in part and f"Share {shard.index} failed: the checkpoint" in part
    assert f"Share {shard.index} was taken up by gpu@node-1, attempt 3" in part
    assert "Request it anew" in text


def test_a_finished_run_asks_at_most_twelve_questions(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")

    def count(pk: int) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(f"/audits/{pk}/").status_code == 200
        return len(asked)

    client.get(f"/audits/{house.fail.pk}/")  # its reviews and reports are worked out once after each act
    before = count(house.fail.pk)
    rows = [Measurement(run=house.fail, position=1000 + place, suite="fairness", metric="tpr", label=f"l{place}",
                        value=0.5, n=100, patients=90) for place in range(500)]  # fmt: skip
    Measurement.objects.bulk_create(rows)
    assert (count(house.fail.pk), before <= 12) == (before, True), before


def test_negative_numbers_stay_numbers_in_the_csv(house: SimpleNamespace, sign_in: SignIn) -> None:
    house.fail.measurements.filter(position=0).update(value=-0.25)
    assert read_csv(sign_in("amir"), f"/audits/{house.fail.pk}/measurements.csv")[0]["value"] == "-0.25"


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_charts_are_drawn_in_every_theme_and_once(
    house: SimpleNamespace, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, theme: str
) -> None:
    client, url = sign_in("amir"), f"/audits/{house.fail.pk}/charts/2.svg?theme={theme}"
    first = client.get(url)
    assert first.content.startswith(b"<svg")
    with monkeypatch.context() as patch:
        patch.setattr(ChartPlan, "draw", None)
        assert client.get(url).content == first.content
        with pytest.raises(TypeError):  # What was not drawn before would have to be.
            client.get(f"/audits/{house.fail.pk}/charts/1.svg?theme={theme}")


def test_a_reader_who_chose_a_theme_gets_that_picture_only(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    url = f"/audits/{house.fail.pk}/"
    assert "?theme=dark" in client.get(url).content.decode() and "?theme=light" in client.get(url).content.decode()
    client.cookies["theme"] = "dark"
    text = client.get(url).content.decode()
    assert "?theme=dark" in text and "?theme=light" not in text


def test_the_numbers_behind_a_chart_come_as_part_and_as_page(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), f"/audits/{house.fail.pk}/charts/2/"
    part = client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "<table" in part and "<html" not in part
    assert "<h1>" in client.get(url).content.decode()


def test_evidence_leaves_byte_for_byte(house: SimpleNamespace, sign_in: SignIn) -> None:
    body = sign_in("amir").get(f"/audits/{house.fail.pk}/evidence.json").content
    assert body == scene.store().get_bytes(house.fail.evidence_digest)


def test_evidence_that_was_changed_on_disk_is_not_shown_as_evidence(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    path: Path = scene.store().path(house.fail.evidence_digest)
    path.write_bytes(path.read_bytes().replace(b"fail", b"pass", 1))
    assert "was changed on disk" in client.get(f"/audits/{house.fail.pk}/").content.decode()
    response = client.get(f"/audits/{house.fail.pk}/evidence.json")
    assert response.status_code == 500
    assert "do not use what depends on it" in response.content.decode()


@pytest.mark.parametrize(("url", "act"), [("report", "report.downloaded"), ("bundle", "bundle.downloaded")])
def test_every_download_is_in_the_ledger(house: SimpleNamespace, sign_in: SignIn, url: str, act: str) -> None:
    address = {
        "report": f"/reports/{house.report.pk}/pdf/",
        "bundle": f"/reports/bundles/{house.bundle.pk}/download/",
    }[url]
    response: Any = sign_in("mina").get(address)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    assert body in {b"%PDF-1.7 test", b"PK test"}
    entry = LedgerEntry.objects.get(act=act)
    digest = house.report.pdf_digest if url == "report" else house.bundle.digest
    assert entry.actor == "mina" and digest in entry.body


def test_what_is_not_issued_cannot_be_downloaded(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    assert client.get(f"/reports/{house.report_failed.pk}/pdf/").status_code == 404
    house.bundle.status = "queued"
    house.bundle.save()
    assert client.get(f"/reports/bundles/{house.bundle.pk}/download/").status_code == 404
    assert not LedgerEntry.objects.filter(act__endswith="downloaded").exists()


def test_simulated_patients_are_called_so(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    assert "Simulated patients" in client.get("/cohorts/simulated-chest-cohort/").content.decode()
    assert "Simulated patients" not in client.get("/cohorts/emergency-department-2024/").content.decode()
    assert "Judged on simulated patients" in client.get(f"/governance/reviews/{house.review.pk}/").content.decode()


def test_a_pass_is_led_by_what_is_nearest_to_its_limit(house: SimpleNamespace, sign_in: SignIn) -> None:
    run = getattr(house, "pass")
    comfortable = run.verdicts.get(primary=True)
    known = {"metric": "equal_opportunity_difference", "margin": 0.1, "direction": "at_most"}
    comfortable.detail |= known | {"low": -0.02, "high": 0.03}
    comfortable.save()
    near = run.verdicts.get(pk=comfortable.pk)
    near.pk, near.position = None, 1000
    near.detail |= {"low": -0.09, "high": 0.01}
    near.save()
    assert verdicts_of(run).lead == near
    text = sign_in("mina").get(f"/audits/{run.pk}/").content.decode()
    assert "All 2 criteria that decide hold." in text and "Nearest to its limit: " in text
    near.detail |= {"low": 0.01, "high": 0.01}
    near.save()
    assert verdicts_of(run).lead == comfortable


@pytest.mark.parametrize(
    ("criterion", "words"),
    [
        ({"metric": "fpr_difference", "direction": "at_most", "margin": 0.1}, "within ±.10"),
        ({"metric": "tpr", "direction": "at_least", "margin": 0.8}, "at least .80"),
        ({"metric": "of_another_suite", "direction": "at_most", "margin": 2}, "at most 2.00"),
    ],
)
def test_what_is_accepted_is_said_as_it_is_judged(criterion: dict[str, Any], words: str) -> None:
    assert accepts(criterion) == words


def test_numbers_in_sentences_are_written_as_beside_them() -> None:
    statement = "Fails: effusion is missed more often in age band 50-69: difference -.20 (95% interval -.25 to -.14)."
    assert particulars(statement) == "Difference −.20 (95% interval −.25 to −.14)."
    assert headline(statement).endswith("50-69")


def test_declared_facts_are_flat_short_and_in_words() -> None:
    declared = {"n_training": 42600, "auroc": {"effusion": 0.947123456}, "of": "a" * 64, "flags": [True, "x"]}
    shown = {name: fact(value) for name, value in pairs(declared)}
    assert shown == {"n training": "42,600", "of": "a" * 12 + "…", "flags": "yes, x", "auroc: effusion": "0.9471"}
    assert [kind_words(name) for name in ("ModelVersion", "AISystem", "Vote")] == ["Model version", "AI system", "Vote"]
