"""The pages of deployments: what they show, what their forms do, what they refuse in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.stepup import StepUp
from governance.pages import shared
from governance.policies.findings import State
from governance.selectors.gates_now import GatesNow
from governance.services import starting
from governance.services.deployments import deploy, suspend_version
from models_registry.models import Deployment, ModelVersion, VersionStatus
from tests.governance.deployment_scene import PLACE, WHY, findings
from tests.pages import scene

SignIn = Callable[[str], Client]
SCRIPT = "<script>alert('x')</script>"


def put(version: ModelVersion, site: str = "North Hospital", **given: Any) -> Deployment:
    clara = scene.person("clara")
    signed = StepUp(user_id=clara.pk, at=timezone.now())
    return deploy(version=version, site=site, by=clara, signed=signed, **(PLACE | given))


@pytest.fixture
def row(house: SimpleNamespace) -> Deployment:
    return put(house.twin)


def page(client: Client, row: Deployment, **given: Any) -> Any:
    url = reverse("deployment", args=[row.pk])
    return client.post(url, given, follow=True) if given else client.get(url)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_the_list_says_what_runs_where(row: Deployment, sign_in: SignIn) -> None:
    words = text(sign_in("mina").get(reverse("deployments")))
    for part in ("North Hospital", "Chest model 1.1", "100 %", "Ines Vogel", "no outputs reported", "Running"):
        assert part in words
    assert "Only people with the role committee chair or clinician lead may deploy a version" in words


def test_an_empty_list_says_what_to_do(house: SimpleNamespace, sign_in: SignIn) -> None:
    assert "Nothing is deployed" in text(sign_in("clara").get(reverse("deployments")))


def test_a_version_is_deployed_with_the_password(house: SimpleNamespace, sign_in: SignIn, monkeypatch: Any) -> None:
    from governance.pages import deployments as pages

    monkeypatch.setattr(pages, "findings_of", lambda version: [findings(version)])
    monkeypatch.setattr(starting, "findings_of", lambda version, site: [findings(version)])
    client, url = sign_in("clara"), f"{reverse('deployment-new')}?version={house.twin.pk}"
    words = text(client.get(url))
    assert "Local acceptance" in words and "The audit on local data is there." in words
    given = {"site": "North Hospital", "unit": "", "share": "40", **{name: PLACE[name] for name in
             ("contact_name", "contact_email")}}  # fmt: skip
    refused = client.post(url, given | {"password": "wrong"})
    assert refused.status_code == 403 and "This is not your password" in text(refused)
    assert not Deployment.objects.exists()
    done = client.post(url, given | {"password": scene.PASSWORD}, follow=True)
    assert "Chest model 1.1 runs at North Hospital from now on." in text(done)
    made = Deployment.objects.get()
    assert (made.share, made.started_by.username) == (40, "clara")
    taken = client.post(url, given | {"share": "61", "unit": "Radiology"})
    assert taken.status_code == 409 and "at most 60 per cent" in text(taken) and 'value="61"' in text(taken)


def test_a_gate_that_does_not_pass_disables_the_form(house: SimpleNamespace, sign_in: SignIn, monkeypatch: Any) -> None:
    from governance.pages import deployments as pages

    monkeypatch.setattr(pages, "findings_of", lambda version: [findings(version, State.MISSING)])
    words = text(sign_in("clara").get(f"{reverse('deployment-new')}?version={house.twin.pk}"))
    assert "A gate does not pass" in words and "No audit on local data is there." in words
    assert 'name="site"' not in words


def test_only_versions_that_may_run_are_offered(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    words = text(client.get(reverse("deployment-new")))
    assert "Chest model 1.1" in words and "Chest model 1.0-biased" not in words
    assert client.get(f"{reverse('deployment-new')}?version={house.version.pk}").status_code == 200
    ModelVersion.objects.filter(pk=house.twin.pk).update(status=VersionStatus.RETIRED)
    assert "No version can be deployed" in text(client.get(reverse("deployment-new")))


def test_one_person_suspends_and_the_notice_is_there_to_copy(row: Deployment, sign_in: SignIn) -> None:
    client = sign_in("amir")
    assert "Suspend now" in text(page(client, row))
    short = page(client, row, act="suspend", **{"suspend-reason": "short"})
    assert short.status_code == 422 and 'href="#id_suspend-reason"' in text(short)
    done = text(page(client, row, act="suspend", **{"suspend-reason": f"{WHY} {SCRIPT}"}))
    assert "The deployment is suspended" in done and "Notice to the site" in done and "Dear Ines Vogel" in done
    assert SCRIPT not in done and "&lt;script&gt;" in done
    assert "deployment.suspended" in done
    row.refresh_from_db()
    assert (row.status, row.suspended_by.username) == ("suspended", "amir")
    assert "North Hospital has not confirmed that Chest model 1.1 is stopped" in text(sign_in("dora").get("/"))


def test_the_site_confirms_and_another_resumes(row: Deployment, sign_in: SignIn) -> None:
    clara, lea = sign_in("clara"), sign_in("lea")
    page(clara, row, act="suspend", **{"suspend-reason": WHY})
    words = text(page(clara, row))
    assert "You suspended this deployment, so you cannot resume it." in words
    done = text(page(clara, row, act="acknowledge", **{"acknowledge-name": f"Ines {SCRIPT}"}))
    assert "confirmed at" in done and SCRIPT not in done
    resumed = page(lea, row, act="resume", **{"resume-reason": WHY, "resume-password": scene.PASSWORD})
    assert "The deployment runs again." in text(resumed)
    row.refresh_from_db()
    assert row.status == "running"


def test_a_rollback_leads_to_the_new_deployment(house: SimpleNamespace, row: Deployment, sign_in: SignIn) -> None:
    client = sign_in("lea")
    refused = page(client, row, act="rollback", **{"rollback-reason": WHY, "rollback-password": scene.PASSWORD})
    assert refused.status_code == 409 and "No version can take the place of" in text(refused)
    older = scene.version("1.05", status="approved")
    scene.review(scene.run(older, house.cohort, house.protocol, outcome="pass"), status="approved",
                 votes=(("tom", "approve"), ("mina", "approve")))  # fmt: skip
    done = page(client, row, act="rollback", **{"rollback-reason": WHY})
    assert done.redirect_chain[-1][0] == reverse("deployment", args=[row.pk + 1])
    assert "Took the place of" in text(done) and "Chest model 1.05" in text(done)


def test_an_ended_one_offers_nothing(row: Deployment, sign_in: SignIn) -> None:
    client = sign_in("clara")
    done = text(page(client, row, act="end", **{"end-reason": WHY}))
    assert "The deployment is ended." in done and "What can be done now" not in done
    assert page(client, row, act="nonsense").status_code == 200


def test_a_version_is_suspended_and_lifted_on_its_page(
    house: SimpleNamespace, row: Deployment, sign_in: SignIn
) -> None:
    url = reverse("version-use", args=[house.twin.system.slug, house.twin.pk])
    put(house.twin, "South Hospital")
    done = sign_in("dora").post(url, {"act": "suspend", "suspend-reason": WHY}, follow=True)
    assert "The version is suspended everywhere." in text(done)
    assert set(Deployment.objects.values_list("status", flat=True)) == {"suspended"}
    assert "You suspended Chest model 1.1, so you cannot lift its suspension." in text(sign_in("dora").get(url))
    given = {"act": "lift", "lift-reason": WHY, "lift-password": scene.PASSWORD}
    assert "The suspension is lifted." in text(sign_in("clara").post(url, given, follow=True))
    assert ModelVersion.objects.get(pk=house.twin.pk).status == VersionStatus.APPROVED


@pytest.mark.parametrize("who", ["elena", "mina", "ada"])
def test_who_may_not_sees_why(row: Deployment, sign_in: SignIn, who: str) -> None:
    client = sign_in(who)
    assert "may suspend a deployment." in text(page(client, row))
    refused = page(client, row, act="suspend", **{"suspend-reason": WHY})
    assert refused.status_code == 403
    row.refresh_from_db()
    assert row.status == "running"


def test_panels_show_where_a_version_and_a_system_run(house: SimpleNamespace, row: Deployment, sign_in: SignIn) -> None:
    client = sign_in("clara")
    room = reverse("version-room-use", args=["chest-model", house.twin.pk])
    for url in (room, reverse("system", args=["chest-model"])):
        words = text(client.get(url))
        assert "Where it runs" in words and "North Hospital" in words
    assert "Where it runs" not in text(client.get(reverse("version", args=["chest-model", house.version.pk]) + "~use/"))


def test_chairs_are_told_of_versions_in_use_whose_gate_closed(
    house: SimpleNamespace, row: Deployment, sign_in: SignIn, monkeypatch: Any
) -> None:
    from governance.models import Policy

    version = row.version
    now = GatesNow(
        versions={version.pk: version},
        running=frozenset({version.pk}),
        newest=(),
        policies={},
        proposed=(),
        found={(version.pk, 1): findings(version, State.STALE)},
        runs={},
    )
    monkeypatch.setattr(shared, "gates_now", lambda: now)
    assert "is in use and does not pass imaging any more" in text(sign_in("clara").get("/"))
    assert "is in use and does not pass" not in text(sign_in("lea").get("/"))
    assert not Policy.objects.exists()


def test_findings_that_are_gone_from_the_store_are_said_to_be(row: Deployment, sign_in: SignIn) -> None:
    scene.store().path(row.gate_digest).unlink()
    assert "The store holds nothing with the digest" in text(page(sign_in("clara"), row))
    assert sign_in("clara").get(reverse("deployment", args=[9999])).status_code == 404


def test_pages_ask_no_more_when_there_is_more(house: SimpleNamespace, row: Deployment, sign_in: SignIn) -> None:
    client = sign_in("clara")
    urls = [reverse("deployments"), reverse("deployment", args=[row.pk]), reverse("oversight"),
            reverse("oversight-system", args=["chest-model"]), reverse("overrides", args=[row.pk]),
            reverse("version-use", args=["chest-model", house.twin.pk])]  # fmt: skip

    def counts() -> dict[str, int]:
        found = {}
        for url in urls:
            with CaptureQueriesContext(connection) as asked:
                assert client.get(url).status_code == 200
            found[url] = len(asked)
        return found

    put(house.twin, "Site 0")
    before = counts()
    for number in range(1, 8):
        put(house.twin, f"Site {number}")
    assert counts() == before
    assert max(before.values()) <= 40


def test_a_suspension_of_a_day_ago_is_marked(house: SimpleNamespace, row: Deployment, sign_in: SignIn) -> None:
    suspend_version(version=house.twin, reason=WHY, by=None)
    Deployment.objects.update(suspended_at=timezone.now() - timedelta(hours=25))
    words = text(sign_in("clara").get(reverse("deployments")))
    assert "not confirmed by the site" in words and "Sites have not confirmed that they stopped" in words
    assert "by the platform" in text(page(sign_in("clara"), row))
