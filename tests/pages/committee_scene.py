"""The committee's story, for a browser: a version with a passing audit, and people of whom one had a part in it."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from django.utils import timezone

from core.models import Role, RoleGrant
from governance.sweeps import run_sweeps
from models_registry.models import ModelVersion
from tests.pages.scene import house, person, run, store, version

LABEL = "2.0"


def furnish() -> None:
    """Elena submitted the version and sits on the committee too: a second role that must not help her."""
    furnished = house()
    made = run(version(LABEL), furnished["cohort"], furnished["protocol"], outcome="pass")
    evidence = store().get_json(made.evidence_digest)
    evidence |= {"version": {"digest": made.version.digest}, "cohort": {"digest": made.cohort.digest}}
    made.evidence_digest = store().put_json(evidence)
    made.save(update_fields=["evidence_digest"])
    RoleGrant.objects.create(user=person("elena"), role=Role.COMMITTEE_MEMBER)


def let_time_pass() -> None:
    """Forty days pass, and the worker sweeps. The database would refuse an earlier day for a condition."""
    later = timezone.now() + timedelta(days=40)
    with mock.patch("django.utils.timezone.now", lambda: later):
        run_sweeps()


def status() -> str:
    return str(ModelVersion.objects.get(label=LABEL).status)
