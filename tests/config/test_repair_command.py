"""``auscult repair``: what can be repaired, an order, and how bad input ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

import config.cli as cli
from evaluation.models import AuditRun
from synthetic.models import GeneratorTraining, Repair
from tests.config.test_cli import Ended, auscult
from tests.registry.fixtures import files, home, people, sent
from tests.synthetic.generator_scene import calm, cohort, order, trained
from tests.synthetic.repair_scene import failed, group_of, learnt, others, trainings, warm

__all__ = [
    "auscult", "calm", "cohort", "failed", "files", "home", "learnt", "order", "others", "people", "sent", "trained",
    "trainings", "warm",
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
ROOT = Path(__file__).parents[2]
Auscult = Callable[..., Ended]


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "open_installation", lambda: connection.ensure_connection())
    monkeypatch.delenv("AUSCULT_USER", raising=False)


def test_what_failed_is_listed_and_a_repair_ordered(
    auscult: Auscult, failed: AuditRun, trained: GeneratorTraining, people: SimpleNamespace
) -> None:
    listed = auscult("repair", failed.pk)
    assert listed.code == 0 and "sex-tpr\t--label 'effusion' --attribute 'sex'" in listed.output
    assert trained.result is not None
    name = f"{trained.result.system.slug}/{trained.result.label}"
    facts = ["--label", "effusion", "--attribute", "sex", "--group", group_of(failed), "--generator", name,
             "--patients", "40", "--version-label", "1.1"]  # fmt: skip
    denied = auscult("repair", failed.pk, *facts, "--by", "amir")
    assert denied.code != 0 and "ML engineer" in denied.errors and not Repair.objects.exists()
    ended = auscult("repair", failed.pk, *facts, "--by", "elena")
    job = Repair.objects.get()
    assert (ended.code, job.patients) == (0, 40) and f"Repair {job.pk} of audit {failed.pk}" in ended.output
    told = json.loads(auscult("repair", failed.pk, "--json").output)
    assert [(row["repair"], row["status"], row["answer"]) for row in told["repairs"]] == [(job.pk, "making", None)]
    assert told["findings"][0]["groups"] == [group_of(failed)]
    again = auscult("repair", failed.pk, *facts, "--by", "elena")
    assert again.code == 3 and "what another repair is to be called" in again.errors


def test_an_order_that_lacks_something_says_what(auscult: Auscult, failed: AuditRun) -> None:
    ended = auscult("repair", failed.pk, "--label", "effusion", "--group", "F")
    assert ended.code == 3
    assert "lacks --attribute, --generator, --version-label, --by" in ended.errors
    assert auscult("repair", 999).code == 3


def test_in_a_process_and_an_installation_of_its_own(tmp_path: Path) -> None:
    environment: dict[str, Any] = {
        name: value for name, value in os.environ.items() if not name.startswith(("AUSCULT_", "DJANGO_"))
    }
    environment |= {"AUSCULT_HOME": str(tmp_path), "AUSCULT_DEBUG": "1", "DJANGO_SETTINGS_MODULE": "config.settings"}
    ended = subprocess.run(
        [sys.executable, "-m", "config.cli", "repair", "7"], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 3 and "There is no such audit." in ended.stderr
    assert "Traceback" not in ended.stderr
