"""An audit of a generator, from the request to the files that leave the house."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import AuscultError, ConflictError, DeniedError, ProtocolError
from core.keys import signing_key
from evaluation.models import AuditRun, RunStatus
from evaluation.services.runs import request_audit
from governance.execution_releases import export_path, write_release
from governance.models import ReleaseExport, SyntheticRelease
from governance.services.exports import request_export
from governance.services.releases import cast_release_vote, request_release, revoke_release
from models_registry.execution import store_cohort
from models_registry.models import CohortVersion
from synthetic.generators.reading import write_linked
from synthetic.models import Generation, GeneratorTraining
from synthetic.release import verify_release
from synthetic.suites.audit import Audit
from synthetic.suites.figures import Figure
from synthetic.suites.privacy_meanings import GATES
from tests.evaluation.steps import finish
from tests.governance.signed import signed
from tests.registry.scene import acts, make_protocol
from tests.synthetic.fake_parts import studies_of
from tests.synthetic.generator_scene import calm, cohort, made, order, patients, trained

__all__ = ["calm", "cohort", "order", "trained"]
RULES = """
auscult_protocol: 1
name: privacy
title: Nothing is copied, nobody is told
suites: [privacy]
labels: []
linked: {attacks: 100}
criteria:
  - {id: copies, metric: copies, direction: at_most, margin: 0.01}
  - {id: domias, metric: domias_auc, direction: at_most, margin: 0.6}
"""
TERMS = {"publisher": "Example hospital", "contact": "data@example.org", "licence": "CC-BY-NC-4.0"}
ASKED = {"purpose": "Teaching at the university.", "recipients": "The institute of biometry."}


@pytest.fixture
def result(trained: GeneratorTraining, people: SimpleNamespace) -> CohortVersion:
    found = made(patients(people, trained, wish={"patients": 150})).result
    assert found is not None
    return found


@pytest.fixture
def control(people: SimpleNamespace, tmp_path: Path) -> CohortVersion:
    """Other patients of the same kind."""
    studies = studies_of(260, seed=9)
    names = {name: f"OTHER-{name}" for name in studies.patients}
    studies = replace(studies, patient_ids=studies.patient_ids.copy())
    studies.patient_ids[:] = [names[name] for name in studies.patient_ids]
    path = write_linked(studies, tmp_path / "control.parquet", metadata={})
    facts = {"name": "Ward B", "description": "", "simulated": False, "source": "", "licence": ""}
    return store_cohort(source=path, mapping=None, facts=facts, by=people.elena)


@pytest.fixture
def audit(trained: GeneratorTraining, result: CohortVersion, people: SimpleNamespace) -> Any:
    rules = make_protocol(people, RULES)

    def request(**changes: Any) -> AuditRun:
        facts: dict[str, Any] = {"version": trained.result, "cohort": result, "protocol": rules, "by": people.amir}
        return request_audit(**facts | changes)

    return request


def passing(self: Audit, suite: str, *, tell: Any) -> tuple[Figure, ...]:
    """Every figure well inside of its gate."""
    return tuple(
        Figure(metric=name, value=0.0 if where == "at_most" else 1.0, error=0.0, n=500, counted="patients", null=0.0)
        for name, (where, _) in GATES.items()
    )


def test_attacks_run_against_what_was_made_and_the_verdict_is_kept(
    audit: Any, control: CohortVersion, result: CohortVersion
) -> None:
    run = audit(settings={"control": control.digest})
    assert run.settings == {"control": control.digest, "seed": 0} and run.shards.count() == 1
    done = finish(run)
    assert (done.status, done.error) == (RunStatus.DONE, "")
    rows = {(row.metric, row.label): row for row in done.measurements.all()}
    assert rows["copies", "images"].value is not None and rows["domias_auc", "patients"].n
    assert rows["weights_auc", "patients"].reason == "no part of the generator tells a loss"
    assert {row.criterion for row in done.verdicts.all()} == {"copies", "domias"}
    assert done.shards.get().studies_done == result.n_studies
    again = finish(audit(settings={"control": control.digest}))
    assert again.result_digest == done.result_digest, "equal work gives equal figures"


def test_what_does_not_fit_is_refused_before_anything_runs(
    audit: Any, cohort: CohortVersion, control: CohortVersion, result: CohortVersion, people: SimpleNamespace
) -> None:
    with pytest.raises(ProtocolError, match="was not made by"):
        audit(cohort=control)
    with pytest.raises(ConflictError, match="is what the generator learnt from"):
        audit(settings={"control": cohort.digest})
    with pytest.raises(ConflictError, match="not registered"):
        audit(settings={"control": "0" * 64})
    with pytest.raises(ConflictError, match="made by a generator"):
        audit(settings={"control": result.digest})
    with pytest.raises(ProtocolError, match="no setting called batch_size"):
        audit(settings={"batch_size": 3})
    with pytest.raises(DeniedError):
        audit(by=people.elena)
    assert not AuditRun.objects.exists()


def test_a_suite_that_breaks_as_a_whole_blocks_the_verdict(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Audit, suite: str, tell: Any) -> Any:
        raise AuscultError("The sets share patients.", remedy="Give others.")

    monkeypatch.setattr(Audit, "_computed", broken)
    done = finish(audit())
    assert (done.status, done.outcome) == (RunStatus.DONE, "insufficient")
    assert all("The sets share patients" in row.statement for row in done.verdicts.all())


@pytest.fixture
def released(
    audit: Any, result: CohortVersion, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> SyntheticRelease:
    """A release that the data protection officer gave on an audit that passes."""
    monkeypatch.setattr(Audit, "figures", passing)
    run = finish(audit())
    assert run.outcome == "pass"
    release = request_release(cohort=result, run=run, by=people.amir, **ASKED)
    cast_release_vote(
        release=release, choice="approve", rationale="The attacks find nothing.", by=people.dora,
        signed=signed(people.dora),
    )  # fmt: skip
    release.refresh_from_db()
    return release


def test_without_an_audit_that_passes_the_officer_can_only_refuse(
    audit: Any, result: CohortVersion, people: SimpleNamespace
) -> None:
    release = request_release(cohort=result, by=people.amir, **ASKED)
    with pytest.raises(DeniedError, match="No audit was named"):
        cast_release_vote(
            release=release, choice="approve", rationale="It looks fine to me.", by=people.dora,
            signed=signed(people.dora),
        )  # fmt: skip
    with pytest.raises(DeniedError, match="no release to write files of"):
        request_export(release=release, by=people.dora, **TERMS)
    assert CohortVersion.objects.get(pk=result.pk).quarantined


def test_quarantine_ends_with_the_release_and_begins_again_when_it_is_revoked(
    released: SyntheticRelease, people: SimpleNamespace
) -> None:
    assert released.status == "approved" and not CohortVersion.objects.get(pk=released.cohort_id).quarantined
    revoke_release(release=released, reason="A recipient lost it.", by=people.dora)
    assert CohortVersion.objects.get(pk=released.cohort_id).quarantined


def test_files_are_written_signed_verified_and_say_synthetic(
    released: SyntheticRelease, people: SimpleNamespace, tmp_path: Path
) -> None:
    with pytest.raises(DeniedError):
        request_export(release=released, by=people.mina, **TERMS)
    with pytest.raises(AuscultError, match="publisher is empty"):
        request_export(release=released, by=people.elena, **TERMS | {"publisher": " "})
    export = request_export(release=released, by=people.elena, **TERMS)
    with pytest.raises(ConflictError, match="being written"):
        request_export(release=released, by=people.elena, **TERMS)
    write_release(export.pk)
    export = ReleaseExport.objects.get(pk=export.pk)
    assert (export.status, export.error) == ("issued", "")
    with zipfile.ZipFile(export_path(export)) as archive:
        archive.extractall(tmp_path)
    [folder] = [path for path in tmp_path.glob("SYNTHETIC-*") if path.is_dir()]
    key = signing_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert verify_release(folder, key) == []
    sheet = json.loads((folder / "datasheet.json").read_text())
    text = (folder / "datasheet.md").read_text()
    assert "Example hospital" in text and "Nobody is linked" not in text and "REAL-0" not in json.dumps(sheet)
    assert {"release.export_requested", "release.exported"} <= set(acts())
    write_release(export.pk)
    assert acts().count("release.exported") == 1, "delivered twice, it is issued once"
    revoke_release(release=released, reason="A recipient lost it.", by=people.dora)
    with pytest.raises(DeniedError, match="not released"):
        export_path(ReleaseExport.objects.get(pk=export.pk))


def test_files_that_cannot_be_written_say_why(
    released: SyntheticRelease, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = request_export(release=released, by=people.elena, **TERMS)
    Generation.objects.update(version=None)
    GeneratorTraining.objects.update(result=None)
    monkeypatch.setattr(
        "governance.execution_releases._generator_of", lambda cohort: (_ for _ in ()).throw(ConflictError("Gone."))
    )
    write_release(export.pk)
    export = ReleaseExport.objects.get(pk=export.pk)
    assert export.status == "failed" and "Gone." in export.error
    assert request_export(release=released, by=people.elena, **TERMS).pk != export.pk
