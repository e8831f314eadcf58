"""One window of a monitor: its verdict in words, what was odd, causes, another library's report, single studies."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse

from core.models import LedgerEntry
from tests.pages.monitors_scene import (
    ALARM_WINDOW,
    EMPTY_WINDOW,
    EVIDENTLY,
    FEW_WINDOW,
    OPEN_WINDOW,
    REFUSED_WINDOW,
    life,
)

SignIn = Callable[[str], Client]
pytestmark = pytest.mark.django_db


@pytest.fixture
def told(db: None) -> SimpleNamespace:
    return life()


def window(client: Client, told: SimpleNamespace, index: int, query: str = "") -> str:
    response = client.get(reverse("monitor-window", args=[told.monitor.pk, index]) + query)
    assert response.status_code == 200
    return response.content.decode()


def test_a_window_is_told_verdict_first(told: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    text = window(client, told, ALARM_WINDOW)
    order = ["Alarm</h2>", "Changed: Scanner maker. The change most likely began in window 5.", "90<small>",
             "What was odd about the data", "Where the change comes from", ">Streams</h2>", "Beside it: Evidently",
             "How it was made"]  # fmt: skip
    places = [text.index(item) for item in order]
    assert places == sorted(places)
    assert "an alarm is due at 20" in text and "210<small>of 200 patients" in text
    assert "Any false alarm, ever, with probability at most .05." in text
    assert reverse("alert", args=[told.alert.pk]) in text
    assert "&lt;script&gt;alert(&#x27;unit&#x27;)&lt;/script&gt;" in text and "<script>alert" not in text
    assert text.index("mg/dL") < text.index("Four studies came late."), "the graver finding first"
    assert "81.0 % of the change" in text and "Philips 12 % before, 97 % now." in text


def test_streams_have_interval_margin_evidence_and_n(told: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    text = window(client, told, ALARM_WINDOW).split(">Streams</h2>")[1]
    assert text.index("Scanner maker</a>") < text.index("Age</a>"), "those of the alarm first"
    assert ".30 (.27–.33)" in text and "3.0 ×" in text
    assert "so estimates are not valid" in text and ">.00" not in text, "undefined has a reason and is never 0"
    assert "Also part of the alarm" in text and "Age (Sex: F)" in text
    grouped = window(client, told, ALARM_WINDOW, "?by=sex").split(">Streams</h2>")[1]
    assert "Sex: F" in grouped and "Sex: M" in grouped and ".60 (.57–.63)" in grouped
    assert "Also part of the alarm" in grouped and "Scanner maker (All studies)" in grouped
    assert "Sex: F" not in window(client, told, ALARM_WINDOW, "?by=nothing").split("<tbody>")[-2]


@pytest.mark.parametrize(
    ("index", "word", "said"),
    [
        (EMPTY_WINDOW, "No studies", "No study of this window arrived"),
        (REFUSED_WINDOW, "Data refused", "The column crp holds text."),
        (FEW_WINDOW, "Insufficient evidence", "It holds too few patients"),
        (OPEN_WINDOW, "Being audited", "A worker runs the model"),
        (1, "No alarm", "Evidence of a change is .67; an alarm is due at 20."),
    ],
)
def test_every_end_of_a_window_has_its_words(
    told: SimpleNamespace, sign_in: SignIn, index: int, word: str, said: str
) -> None:
    text = window(sign_in("mina"), told, index)
    assert f"{word}</h2>" in text and said in text
    if index == REFUSED_WINDOW:
        assert "column <strong>crp</strong>" in text and "Export it as a number." in text
        assert "first in row 17, 204 rows" in text
    if index in (EMPTY_WINDOW, REFUSED_WINDOW):
        assert ">Streams</h2>" not in text and "Beside it: Evidently" not in text


def test_certain_but_small_is_no_alarm_and_says_so(told: SimpleNamespace, sign_in: SignIn) -> None:
    quiet = told.windows[1]
    quiet.log_e, quiet.look = 6.0, quiet.look | {"log_e": 6.0, "log_e_over_margin": 0.1}
    quiet.save()
    assert "no stream that changed is beyond its margin" in window(sign_in("mina"), told, 1)


def test_very_few_patients_are_not_counted_out(told: SimpleNamespace, sign_in: SignIn) -> None:
    told.windows[FEW_WINDOW].n_studies, told.windows[FEW_WINDOW].n_patients = 9, 7
    told.windows[FEW_WINDOW].findings = [{"kind": "few", "severity": "warning", "message": "Too few patients."}]
    told.windows[FEW_WINDOW].save()
    client, pk = sign_in("mina"), told.monitor.pk
    urls = (reverse("monitors"), reverse("monitor", args=[pk]), reverse("monitor-window", args=[pk, FEW_WINDOW]))
    for url in urls:
        text = client.get(url).content.decode()
        assert "&lt; 11" in text, url
        for exact in (">9<", ">7<", "9 studies", "7 patients"):
            assert exact not in text, (url, exact)


def test_evidently_stands_beside_in_a_frame_that_can_do_nothing(told: SimpleNamespace, sign_in: SignIn) -> None:
    client, pk = sign_in("mina"), told.monitor.pk
    response = client.get(reverse("monitor-window", args=[pk, ALARM_WINDOW]))
    text = response.content.decode()
    assert "Evidently 0.7.23, single-look" in text and "Drift of single columns" in text
    assert "1 of 2 columns by its thresholds" in text
    frame = reverse("window-evidently", args=[pk, ALARM_WINDOW])
    assert f'sandbox="allow-scripts" loading="lazy" src="{frame}"' in text
    policy = response.headers["Content-Security-Policy"]
    assert "frame-src 'self'" in policy and "unsafe" not in policy
    framed = client.get(frame)
    policy = framed.headers["Content-Security-Policy"]
    assert framed.content.decode() == EVIDENTLY
    assert "default-src 'none'" in policy and policy.endswith("sandbox allow-scripts")
    assert "same-origin" not in policy and "connect-src" not in policy and "frame-ancestors 'self'" in policy
    assert framed.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "Its report is being made" in window(client, told, 1)
    told.windows[1].evidently = {"note": "No column has 30 values."}
    told.windows[1].save()
    assert "There is no report. No column has 30 values." in window(client, told, 1)


def test_single_studies_are_for_readers_of_patients_and_on_record(told: SimpleNamespace, sign_in: SignIn) -> None:
    url = reverse("window-cases", args=[told.monitor.pk, ALARM_WINDOW])
    mina, lea = sign_in("mina"), sign_in("lea")
    before = LedgerEntry.objects.count()
    denied = mina.get(url)
    assert denied.status_code == 403 and b"secret-study-1" not in denied.content
    assert LedgerEntry.objects.count() == before
    assert "Only people with the role reader of patient-level content" in window(mina, told, ALARM_WINDOW)
    answer = lea.get(url)
    assert "secret-study-1" in answer.content.decode() and "97.0 %" in answer.content.decode()
    assert "no-store" in answer.headers["Cache-Control"]
    entry = LedgerEntry.objects.order_by("-index")[0]
    assert (entry.act, entry.actor) == ("studies.listed", "lea") and "secret-study-1" not in entry.body
    assert lea.get(reverse("window-cases", args=[told.monitor.pk, 1])).status_code == 404
    for name in ("amir", "lea"):
        for index in told.windows:
            assert "secret-study-1" not in window(sign_in(name), told, index)


def test_documents_come_byte_for_byte(told: SimpleNamespace, sign_in: SignIn) -> None:
    client, pk = sign_in("mina"), told.monitor.pk
    answer = client.get(reverse("window-file", args=[pk, ALARM_WINDOW, "evidence"]))
    assert answer.content == b'{"window":6}'
    assert answer.headers["Content-Disposition"] == f'attachment; filename="monitor-{pk}-window-6-evidence.json"'
    assert client.get(reverse("window-file", args=[pk, 1, "evidence"])).status_code == 404
