"""The pages of human oversight: measures by limb, the register of overrides, and the form that records one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from core.kept import forget
from evaluation.models import Measurement
from governance.models import Override, OversightMeasure
from governance.services.overrides import OutputItem, record_outputs
from models_registry.models import Deployment
from tests.governance.deployment_scene import began
from tests.pages import scene
from tests.pages.test_deployment_pages import put, text

SignIn = Callable[[str], Client]
SCRIPT = "<script>alert('x')</script>"
TEXT = "The radiologist sees the heat map beside the image and may switch it off."
SEEN = "Watched two reading sessions at North Hospital; the switch works."


@pytest.fixture
def row(house: SimpleNamespace) -> Deployment:
    with began(30):
        return put(house.twin)


def measure(client: Client, **given: Any) -> Any:
    facts = {"limb": "d", "kind": "built_in", "text": TEXT, "role": "radiologist", "moment": "while reading",
             "responsible": scene.person("lea").pk}  # fmt: skip
    return client.post(reverse("oversight-system", args=["chest-model"]), facts | given, follow=True)


def test_a_measure_is_recorded_verified_and_ended(house: SimpleNamespace, sign_in: SignIn) -> None:
    elena, clara = sign_in("elena"), sign_in("clara")
    assert "No measure is recorded." in text(elena.get(reverse("oversight-system", args=["chest-model"])))
    done = text(measure(elena, text=f"{TEXT} {SCRIPT}"))
    assert "It counts once somebody else has verified it." in done
    assert SCRIPT not in done and "&lt;script&gt;" in done
    made = OversightMeasure.objects.get()
    url = reverse("oversight-measure", args=[made.pk])
    assert "You recorded this measure, so you cannot verify it." in text(elena.get(url))
    today = timezone.localdate().isoformat()
    given = {"act": "verify", "verify-verification": SEEN, "verify-verified_on": today}
    assert elena.post(url, given).status_code == 403
    assert "The measure is verified." in text(clara.post(url, given, follow=True))
    assert "Verified" in text(clara.get(reverse("oversight")))
    ended = clara.post(url, {"act": "end", "end-reason": "The viewer was replaced this week."}, follow=True)
    assert "The measure is ended." in text(ended) and "What can be done now" not in text(ended)
    assert "The viewer was replaced" in text(clara.get(reverse("oversight-system", args=["chest-model"])))


def test_what_is_wrong_in_a_measure_is_kept_and_named(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = measure(sign_in("elena"), text="short", role="radiologist at night")
    assert response.status_code == 422
    words = text(response)
    assert "Describe it in at least 20 characters." in words and "radiologist at night" in words
    assert not OversightMeasure.objects.exists()
    refused = measure(sign_in("ada"))
    assert refused.status_code == 403 and not OversightMeasure.objects.exists()


def test_an_override_is_recorded_by_hand_without_a_patient(row: Deployment, sign_in: SignIn) -> None:
    client, url = sign_in("mina"), reverse("override-new", args=[row.pk])
    words = text(client.get(url))
    assert "no identifier, no date of birth, no free text" in words and "study" not in words.split("<form")[-1]
    moment = timezone.localtime(timezone.now() - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")
    given = {"happened_at": moment, "action": "changed", "reason": "false_negative", "label": "effusion", "sex": "F",
             "age_band": "60-79", "role": "radiologist", "key": "form-1"}  # fmt: skip
    assert "The override is recorded." in text(client.post(url, given, follow=True))
    assert "This override was recorded before." in text(client.post(url, given, follow=True))
    made = Override.objects.get()
    assert (made.label, made.group, made.recorded_by.username) == (
        "effusion",
        {"age_band": "60-79", "sex": "F"},
        "mina",
    )
    refused = client.post(url, given | {"key": "form-2", "role": f"{SCRIPT} 7"})
    assert refused.status_code == 422 and SCRIPT not in text(refused) and "The role is no function" in text(refused)
    assert sign_in("ada").post(url, given | {"key": "form-3"}).status_code == 403
    assert Override.objects.count() == 1


def test_an_override_of_this_very_minute_is_taken(house: SimpleNamespace, sign_in: SignIn) -> None:
    """The form counts in minutes: what is entered in the minute of the start must not be before it."""
    made = put(house.twin)
    client, url = sign_in("lea"), reverse("override-new", args=[made.pk])
    moment = timezone.localtime(made.started_at).strftime("%Y-%m-%dT%H:%M")
    given = {"happened_at": moment, "action": "stopped", "reason": "other", "key": "form-1"}
    assert "The override is recorded." in text(client.post(url, given, follow=True))


def test_the_register_shows_rates_and_hides_small_groups(row: Deployment, sign_in: SignIn) -> None:
    lea = scene.person("lea")
    day = (timezone.now() - timedelta(days=2)).date()
    items = [OutputItem(day=day, n=n, group={"sex": sex}) for sex, n in (("F", 400), ("M", 300), ("X", 5))]
    record_outputs(deployment=row, items=items, by=lea)
    words = text(sign_in("mina").get(reverse("overrides", args=[row.pk])))
    assert "0 of 705" in words and "By sex" in words and "400" in words
    assert "Not shown: fewer than 11 outputs" in words and '<td data-label="Outputs" class="num">300' not in words
    assert "No audit of this version measured how often its outputs are wrong" in words
    Measurement.objects.create(run=row.version.runs.get(), position=900, suite="fairness", metric="accuracy",
                               label="effusion", attribute="All", group="All", value=0.9)  # fmt: skip
    forget()  # an audit that ends is entered in the ledger
    marked = text(sign_in("mina").get(reverse("overrides", args=[row.pk])))
    assert "Automation bias suspected" in marked and "None of 705 outputs was overruled." in marked
    assert "Automation bias suspected" in text(sign_in("mina").get(reverse("deployment", args=[row.pk])))


def test_what_is_not_there_is_said_in_words(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    for url in (reverse("oversight-measure", args=[999]), reverse("overrides", args=[999]),
                reverse("override-new", args=[999]), reverse("oversight-system", args=["nobody"])):  # fmt: skip
        assert client.get(url).status_code == 404
    for url in (reverse("oversight"), reverse("deployments")):
        assert sign_in("rita").get(url).status_code == 403
