"""Audits open risks: what a planted failure becomes, what comes of it later, and what an audit may not do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from core import ledger
from core.models import LedgerEntry, LedgerReader, Notification
from evaluation.models import AuditRun, Outcome, Verdict
from governance import execution_findings
from governance.execution_findings import MOST_KEY, finding_key, follow_findings
from governance.models import Risk, RiskAcceptance, RiskFinding
from governance.selectors.risks import later_verdicts, unacceptable_risks
from governance.services.risks import close_risk
from tests.governance.conftest import record
from tests.governance.risk_scene import accepted, hand_over, rated, register, verified

Audited = Callable[..., AuditRun]
SENTENCE = "Fails: effusion is missed more often in women over 80: .61 against .88, n = 589 studies of 402 patients."


def plant(run: AuditRun, *rows: dict[str, Any]) -> AuditRun:
    """Verdicts of a run; each a failure of one primary criterion by sex unless it says otherwise."""
    start = run.verdicts.count()
    for place, row in enumerate(rows, start=start):
        known = {"criterion": "tpr-gap", "label": "effusion", "attribute": "sex", "outcome": "fail", "primary": True}
        known |= {"statement": SENTENCE} | row
        metric = known.pop("metric", "tpr_difference")
        detail = known | {"metric": metric, "value": -0.27}
        Verdict.objects.create(run=run, position=place, detail=detail, **known)
    return run


def again(first: AuditRun, *, outcome: str = "fail", days: int = 1) -> AuditRun:
    """A later audit of the same version by the same protocol, judged."""
    values = {name: getattr(first, name) for name in ("version", "cohort", "protocol", "spec_digest", "settings")}
    values |= {"status": "done", "outcome": outcome, "n_studies": 500, "attempt": first.attempt + days}
    values |= {"version_submitted_by": first.version_submitted_by, "requested_by": first.requested_by}
    values |= {"protocol_approved_by": first.protocol_approved_by, "evidence_digest": f"{days}" * 64}
    values["finished_at"] = timezone.now()
    run = AuditRun.objects.create(**values)
    record(None, "run.judged", run, {"outcome": outcome})
    return run


def test_each_failed_primary_criterion_and_attribute_is_one_risk(audited: Audited) -> None:
    run = plant(
        audited(outcome="fail"),
        {},
        {"label": "pneumothorax", "statement": "Fails: pneumothorax too."},
        {"attribute": "age"},
        {"criterion": "sensitivity", "attribute": "", "metric": "tpr"},
        {"criterion": "side", "primary": False},
        {"criterion": "fine", "outcome": "pass"},
        {"criterion": "thin", "outcome": "insufficient"},
    )
    assert follow_findings() == 1
    rows = list(Risk.objects.order_by("number"))
    assert [(row.number, row.finding_key, row.kind) for row in rows] == [
        (1, "tpr-gap|sex", "bias"),
        (2, "tpr-gap|age", "bias"),
        (3, "sensitivity|", "wrong_output"),
    ]
    first = rows[0].findings.get()
    assert (first.n_failed, first.run, first.evidence_digest) == (2, run, run.evidence_digest)
    assert first.statement == f"{SENTENCE}\nFails: pneumothorax too."
    assert all(row.origin == "finding" and row.owner is None and row.opened_by is None for row in rows)
    assert all(row.hazard and row.cause and row.harm for row in rows)
    assert "effusion, pneumothorax between groups by sex" in rows[0].hazard
    assert [line.after.product for line in register(run.version.system)] == [16, 16, 16]
    assert unacceptable_risks(run.version.system) == rows


def test_invented_findings_are_wrong_output_whatever_the_group(audited: Audited) -> None:
    plant(audited(outcome="fail"), {"criterion": "chair", "metric": "chair_i_difference"}, {"criterion": "tpr"})
    follow_findings()
    kinds = dict(Risk.objects.values_list("finding_key", "kind"))
    assert kinds == {"tpr|sex": "bias", "chair|sex": "wrong_output"}


def test_chairs_auditors_and_the_submitter_are_told_once(people: SimpleNamespace, audited: Audited) -> None:
    run = plant(audited(outcome="fail"), {}, {"attribute": "age"})
    follow_findings()
    told = Notification.objects.filter(key=f"findings:{run.pk}:entered")
    assert {row.recipient for row in told} == {people.clara, people.amir, people.elena}
    assert "2 opened" in told[0].title and told[0].href == "/governance/risks/?system=chest-model"


def test_a_second_reading_changes_nothing(audited: Audited) -> None:
    run = plant(audited(outcome="fail"), {})
    follow_findings()
    before = LedgerEntry.objects.count(), Notification.objects.count()
    LedgerReader.objects.update(next_index=0)
    assert follow_findings() == 1
    with transaction.atomic():
        execution_findings.open_risks_of(run)
    assert (Risk.objects.count(), RiskFinding.objects.count()) == (1, 1)
    assert (LedgerEntry.objects.count(), Notification.objects.count()) == before


def test_a_later_failure_is_added_and_a_later_pass_closes_nothing(audited: Audited) -> None:
    run = plant(audited(outcome="fail"), {})
    follow_findings()
    plant(again(run), {})
    passed = plant(again(run, outcome="pass", days=2), {"outcome": "pass"})
    thin = plant(again(run, outcome="insufficient", days=3), {"outcome": "insufficient"}, {"outcome": "pass"})
    assert follow_findings() == 3
    risk = Risk.objects.get()
    assert (risk.status, risk.findings.count()) == ("open", 2)
    line = register(risk.system)[0]
    assert [(one.run, one.outcome) for one in later_verdicts(risk, line.findings)] == [
        (thin.pk, Outcome.INSUFFICIENT),
        (passed.pk, Outcome.PASS),
    ]


def test_lack_of_evidence_opens_nothing(audited: Audited) -> None:
    plant(audited(outcome="insufficient"), {"outcome": "insufficient"})
    assert follow_findings() == 1
    assert not Risk.objects.exists() and not Notification.objects.exists()


def test_a_finding_ends_an_acceptance_and_opens_what_was_closed(people: SimpleNamespace, audited: Audited) -> None:
    run = plant(audited(outcome="fail"), {}, {"attribute": "age"})
    follow_findings()
    kept, shut = Risk.objects.order_by("number")
    hand_over(kept, people.mina, people.clara)
    rated(kept, people, "before", 3, 3)
    verified(kept, people)
    rated(kept, people, "after", 2, 2)
    accepted(kept, people.lea)
    close_risk(risk=shut, reason="The label was taken out.", hazard_gone=True, by=people.dora)
    later = plant(again(run), {}, {"attribute": "age"})
    assert follow_findings() == 1
    assert list(Risk.objects.order_by("number").values_list("status", "closing_reason")) == [("open", "")] * 2
    ended = RiskAcceptance.objects.get()
    assert ended.ending == f"Audit {later.pk} found it again."
    rows = LedgerEntry.objects.filter(subject_kind="Risk", index__gt=0).order_by("index")
    assert list(rows.values_list("act", flat=True))[-4:] == [
        "risk.finding_added",
        "risk.acceptance_ended",
        "risk.finding_added",
        "risk.reopened",
    ]
    told = Notification.objects.get(key=f"findings:{later.pk}:entered", recipient=people.mina)
    assert "2 opened again" in told.title


def test_a_ledger_that_fails_leaves_the_run_to_the_next_reading(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(audited(outcome="fail"), {}, {"attribute": "age"})
    kept = ledger.record
    calls = {"n": 0}

    def third_fails(**given: Any) -> LedgerEntry:
        calls["n"] += 1
        if calls["n"] == 3:
            raise RuntimeError("the disk is full")
        return kept(**given)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "record", third_fails)
        with pytest.raises(RuntimeError, match="the disk is full"):
            follow_findings()
    assert not Risk.objects.exists() and not RiskFinding.objects.exists() and not Notification.objects.exists()
    assert follow_findings() == 1
    assert Risk.objects.count() == 2 and ledger.verify().intact


def test_two_systems_have_a_risk_each_and_long_names_a_key_that_fits(audited: Audited) -> None:
    names = [("c" * 120, "a" * 120), ("c" * 120, "a" * 119 + "b"), ("tpr", "sex")]
    keys = [finding_key(*name) for name in names]
    assert len(set(keys)) == 3 and max(map(len, keys)) <= MOST_KEY
    plant(audited(outcome="fail"), {"criterion": names[0][0], "attribute": names[0][1]})
    follow_findings()
    assert Risk.objects.get().finding_key == keys[0] and len(Risk.objects.get().title) <= 200


def test_a_run_that_is_gone_or_not_done_is_passed_over(audited: Audited) -> None:
    run = plant(audited(outcome="fail"), {})
    AuditRun.objects.filter(pk=run.pk).update(status="failed")
    with transaction.atomic():
        ledger.record(actor="system", act="run.judged", subject=("AuditRun", 9_999))
    assert follow_findings() == 2
    assert not Risk.objects.exists()


def test_a_finding_is_never_changed(audited: Audited) -> None:
    plant(audited(outcome="fail"), {})
    follow_findings()
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        RiskFinding.objects.update(n_failed=0)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        RiskFinding.objects.all()._raw_delete("default")
