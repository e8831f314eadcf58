"""The clinician lead: an output overruled, an incident reported, its clocks seen, the use stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.pages.test_browser import CHROMIUM
from tests.stories.conftest import Settle, Town

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
TITLE = "A drained effusion was reported as absent"


def she_records_an_override(town: Town) -> None:
    lea = town.desk("lea")
    lea.go("/governance/deployments/?status=running")
    lea.leads(lea.page.locator("tbody th a").first)
    lea.go("/governance/deployments/1/overrides/")
    lea.follow("Record an override")
    lea.choose("What the clinician did", "Did not use the output")
    lea.choose("Why", "It missed what is there")
    lea.choose("Which finding", "effusion")
    lea.press("Record it")
    lea.reads("The override is recorded.")
    lea.go("/governance/deployments/1/overrides/?action=disregarded&reason=false_negative&q=effusion#records")
    expect(lea.page.locator("#records").locator("xpath=..").locator("tbody tr")).to_have_count(1)


def she_reports_an_incident_by_the_words_of_the_form(town: Town) -> None:
    lea = town.desk("lea")
    lea.go("/governance/incidents/")
    lea.follow("Record an incident")
    lea.choose("System", "Chest model")
    lea.press("Go on")
    lea.fill("In one line", TITLE)
    lea.fill("What happened", "The output said no effusion; the radiologist drained one litre the next day.")
    lea.choose("Member State and time zone", "Austria")
    lea.fill("When the provider became aware", f"{datetime.now(UTC) - timedelta(hours=3):%Y-%m-%dT%H:%M}")
    lea.choose("Where it ran", "Chest model")
    lea.page.get_by_label("serious harm to health").first.check()
    lea.press("Record the incident")
    lea.reads("Its clocks run from now on.")


def its_clocks_say_who_is_to_be_told_and_until_when(town: Town) -> None:
    lea = town.desk("lea")
    clocks = lea.page.locator("#clocks-part")
    expect(clocks).to_contain_text("left", use_inner_text=True)
    expect(clocks).to_contain_text("MDR Art. 87(3): serious incident, 15 days", use_inner_text=True)
    number = str(lea.page.url).rstrip("/").rsplit("/", 1)[1]
    lea.go("/governance/incidents/?q=drained&sort=left")
    row = lea.page.locator("tbody tr", has_text=TITLE)
    expect(row).to_contain_text("left", use_inner_text=True)
    lea.leads(row.get_by_role("link").first)
    assert str(lea.page.url).rstrip("/").endswith(number)


def she_stops_the_use_and_the_site_is_told(town: Town) -> None:
    lea = town.desk("lea")
    lea.go("/governance/deployments/1/")
    lea.unfold("Suspend")
    lea.fill("Reason", "An effusion was missed; nobody may rely on the output until it is understood.")
    lea.leads(lea.page.locator("details.confirm[open] button.button--danger, details.confirm[open] button").last)
    lea.reads("The deployment is suspended. Tell the site now: the notice stands below.")


def test_the_clinician_lead_reports_and_stops(settle: Settle) -> None:
    town = settle("clinic")
    she_records_an_override(town)
    she_reports_an_incident_by_the_words_of_the_form(town)
    its_clocks_say_who_is_to_be_told_and_until_when(town)
    she_stops_the_use_and_the_site_is_told(town)
    town.nobody_complained()
