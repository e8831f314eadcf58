"""Rendering reaches for nothing outside the page; words and numbers have one form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.utils import translation

from core.errors import AuscultError, NotFoundError
from governance.reports import wording
from governance.reports.base import REPORTS, schema_of
from governance.reports.render import render_pdf, unbroken
from tests.reports.conftest import AS_OF
from tests.reports.pdf import read_pdf

PAGE = (
    '<!doctype html><html lang="en"><head><title>T</title><meta name="author" content="a">{head}</head>'
    "<body>{body}</body></html>"
)


def page(*, head: str = "", body: str = "<p>x</p>") -> str:
    dates = '<meta name="dcterms.created" content="2026-11-22T14:05:00+00:00">'
    return PAGE.format(head=dates + head, body=body)


@pytest.mark.parametrize(
    "reference",
    ["http://127.0.0.1:9/p.png", "file:///etc/passwd", "ftp://x/y", "data:text/html;base64,PGI+"],
)
def test_a_picture_from_outside_the_page_is_refused(reference: str) -> None:
    with pytest.raises(AuscultError, match="from outside"):
        render_pdf(page(body=f'<img alt="x" src="{reference}">'), name="x", data={}, as_of=AS_OF)


@pytest.mark.parametrize(
    "head", ['<link rel="stylesheet" href="file:///etc/hosts">', '<style>@import "http://x/y";</style>']
)
def test_a_stylesheet_from_outside_the_page_is_refused(head: str) -> None:
    with pytest.raises(AuscultError, match="from outside"):
        render_pdf(page(head=head), name="x", data={}, as_of=AS_OF)


def test_data_are_attached_in_canonical_form() -> None:
    pages = render_pdf(page(), name="x", data={"b": [1.5, None], "a": "é"}, as_of=AS_OF)
    assert pages.count == 1
    assert read_pdf(pages.pdf).attachments == {"x.json": {"a": "é", "b": [1.5, None]}}


def test_the_drawing_library_is_not_loaded_before_a_report_is_drawn() -> None:
    program = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; import django; django.setup();"
        "from governance.reports.base import REPORTS; REPORTS.keys();"
        "sys.exit(', '.join(sorted({'weasyprint', 'altair', 'vl_convert', 'pandas', 'torch'} & set(sys.modules))) or 0)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_report_is_registered_and_publishes_a_schema_that_is_whole() -> None:
    kinds = {"annex_iv", "committee_one_pager", "dpia", "fria"}
    assert kinds <= set(REPORTS.keys())
    for kind in REPORTS.keys():  # noqa: SIM118 (a registry is no dictionary)
        schema = schema_of(kind)
        assert schema["properties"]["kind"] == {"const": kind}
        assert {"head", "document", "requirement", "subject"} <= schema["$defs"].keys()
    for name in ("horoscope", "outlined"):
        with pytest.raises(NotFoundError):
            schema_of(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5834, ".583"),
        (-0.0519, "−.052"),
        (1.0, "1.000"),
        (0.0, ".000"),
        (-0.0001, ".000"),
        (12.4, "12.400"),
        (None, "—"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert wording.number(value) == text


def test_no_line_ends_inside_a_number_and_markup_stays_text() -> None:
    shown = unbroken("a<b> margin .10, -.22, 1.5 & x.")
    assert shown == (
        'a&lt;b&gt; margin <span class="unbroken">.10</span>, <span class="unbroken">-.22</span>, 1.5 &amp; x.'
    )


def test_dates_are_in_utc_whatever_zone_they_came_in() -> None:
    assert wording.moment("2026-11-22T15:05:00+01:00") == "22 Nov 2026 14:05 UTC"
    assert wording.day("2026-11-22T00:30:00+01:00") == "21 Nov 2026"
    assert wording.moment(None) == "not stated"


def test_order_of_dates_is_of_moments_and_not_of_texts() -> None:
    assert wording.in_order("2026-11-22T10:00:00+02:00", "2026-11-22T09:00:00+00:00")
    assert not wording.in_order("2026-11-22T09:00:00+00:00", "2026-11-22T10:00:00+02:00")


def test_small_words() -> None:
    assert wording.join_words(["a", "b", "c"]) == "a, b and c"
    assert wording.sized(1, 1) == "1 study of 1 patient"
    assert wording.sized(1204, None) == "1,204 studies"
    assert wording.interval(0.1, None) == "—"


@pytest.mark.parametrize(
    ("value", "text"), [(0.5834, "0,583"), (-0.0519, "−0,052"), (1.0, "1,000"), (12.4, "12,400"), (None, "—")]
)
def test_german_numbers(value: float | None, text: str) -> None:
    with translation.override("de"):
        assert wording.number(value) == text


def test_german_counts_and_dates() -> None:
    with translation.override("de"):
        assert wording.count(1204567) == "1.204.567"
        assert wording.moment("2026-11-22T15:05:00+01:00") == "22.11.2026 14:05 UTC"
        assert wording.day("2026-08-02") == "02.08.2026"
        assert wording.shown(0.9113) == "0,9113"


def test_values_of_fields_are_shown_for_readers() -> None:
    assert wording.shown(True) == "yes"
    assert wording.shown("2026-11-22") == "22 Nov 2026"
    assert wording.shown("2026-11-22T15:05:00+01:00") == "22 Nov 2026 14:05 UTC"
    assert wording.shown("2026-11 was wet") == "2026-11 was wet"
    assert wording.shown([{"risk": "loss", "severity": 2}, {"risk": "bias"}]) == "risk: loss; severity: 2\nrisk: bias"
    assert wording.shown(["a", "b"]) == "a, b"
    assert wording.shown([]) == "not stated"
