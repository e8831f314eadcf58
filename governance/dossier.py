"""The dossier of a version: everything that is known about it when a report is asked for, as plain JSON.

What applies and what is fulfilled is worked out from a dossier and nothing else; it is kept by its digest, so that a
judgement can be made again from what it was made from. Gathering it takes the same number of queries however much is
there. It reads no file, and of measurements only the accuracy that counted overrides are compared with.

Besides who and what: ``versions`` are this one and those registered before it; ``cohort`` is what the version is judged
on; ``answers`` are the newest by question; ``statements`` the newest and the newest accepted by requirement; ``audits``
the finished ones of this version and ``earlier_audits`` those of the version before; ``sites`` those that are answered
and those where this version runs or is suspended; ``reviews``, ``reports``,
the ``registers`` of the system and the head of the ``ledger`` as they are at the moment ``as_of``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from core import merkle
from core.digests import sha256_bytes
from core.kept import kept
from core.models import LedgerHead, LedgerNode
from evaluation.models import AuditRun, RunStatus, Shard, Verdict
from governance.dossier_registers import registers_of
from governance.models import Answer, Report, Review, Statement
from governance.requirements import load_requirements
from governance.standing.bindings import binding_of as binding_of
from governance.standing.bindings import changes_since as changes_since
from governance.standing.kinds import kinds_of
from governance.standing.places import sites_of
from models_registry.cards import ml_bom_bytes
from models_registry.lineage_selectors import list_origins
from models_registry.models import ModelVersion

SCHEMA = "auscult/dossier/1"
MOST_AUDITS = 24
"""Audits that passed or could not tell, beyond which only those on the cohort that is judged on are told."""


def gather_dossier(
    version: ModelVersion, *, run: AuditRun | None = None, as_of: datetime | None = None
) -> dict[str, Any]:
    """Everything that is known about a version.

    Args:
        run: The audit that a report is written from; it decides on which cohort the version is judged. Without it, the
            newest finished one does.
        as_of: The moment it speaks of; now unless told.
    """
    version = ModelVersion.objects.select_related("system", "submitted_by").get(pk=version.pk)
    moment = as_of or timezone.now()
    versions = _versions(version)
    previous = next((row for row in reversed(versions) if row["id"] != version.pk), None)
    chain = [version.pk, previous["id"]] if previous else [version.pk]
    runs = _finished_runs(chain, wanted=run.cohort_id if run else None)
    audits = _audits(runs)
    own = [audit for audit, row in zip(audits, runs, strict=True) if row.version_id == version.pk]
    answers, registers = _answers(version), registers_of(version, as_of=moment)
    return {
        "schema": SCHEMA,
        "as_of": _iso(moment),
        "catalogue": _catalogue(),
        "system": {
            name: getattr(version.system, name)
            for name in ("slug", "name", "provider", "intended_purpose", "risk_class")
        },
        "version": _version(version),
        "versions": [{name: row[name] for name in row if name != "id"} for row in versions],
        "previous": previous and {name: previous[name] for name in ("label", "digest", "submitted_at")},
        "cohort": _cohort(run, runs, version),
        "sites": sites_of(answers, registers["deployments"], version.digest),
        "answers": answers,
        "statements": _statements(version),
        "audits": own,
        "earlier_audits": [
            audit | {"version": {"label": row.version.label, "digest": row.version.digest}}
            for audit, row in zip(audits, runs, strict=True)
            if row.version_id != version.pk
        ],
        "reviews": _reviews(version),
        "reports": _reports(version),
        "run": {"id": run.pk} if run else None,
        "registers": registers,
        "ledger": _ledger(),
    }


def dossier_for_page(version: ModelVersion, *, run: AuditRun | None = None) -> dict[str, Any]:
    """The dossier for who looks at a page: as of the last act, and half a minute ago at most."""
    return kept("dossier", version.pk, run and run.pk, make=lambda: gather_dossier(version, run=run))


def _catalogue() -> dict[str, str]:
    catalogue = load_requirements()
    return {"version": catalogue.version, "as_of": catalogue.as_of.isoformat(), "digest": catalogue.digest}


def _version(version: ModelVersion) -> dict[str, Any]:
    void = {"at": _iso(version.void_at), "reason": version.void_reason} if version.void_at else None
    return {
        "label": version.label,
        "digest": version.digest,
        "adapter": version.adapter,
        "status": version.status,
        "submitted_by": version.submitted_by.username,
        "submitted_at": _iso(version.submitted_at),
        "card": version.card,
        "origins": list_origins(version),
        "config": version.config,
        "ml_bom_digest": sha256_bytes(ml_bom_bytes(version)),
        "void": void,
    }


def _versions(version: ModelVersion) -> list[dict[str, Any]]:
    """This version and those of its system that were registered before it, oldest first."""
    rows = ModelVersion.objects.filter(system=version.system_id, submitted_at__lte=version.submitted_at)
    rows = rows.filter(Q(submitted_at__lt=version.submitted_at) | Q(pk__lte=version.pk)).order_by("submitted_at", "pk")
    told = rows.values("id", "label", "digest", "submitted_at", "status")
    return [_dated(row, "submitted_at") for row in told]


def _finished_runs(versions: list[int], *, wanted: int | None) -> list[AuditRun]:
    """The newest finished run of each version by each protocol on each cohort, newest first.

    Of an earlier version only the newest by each protocol is kept: it is told to compare with, and proves nothing.
    Where there are very many, the failed ones are kept whatever their age, and of the others the newest.
    """
    rows = AuditRun.objects.filter(version__in=versions, status=RunStatus.DONE).exclude(outcome="")
    newest_first = rows.order_by("-finished_at", "-pk")
    kept: dict[tuple[Any, ...], tuple[int, int, str]] = {}
    for pk, version, protocol, cohort, outcome in newest_first.values_list(
        "pk", "version", "protocol", "cohort", "outcome"
    ):
        own = version == versions[0]
        kept.setdefault((own, protocol, cohort if own else None), (pk, cohort, outcome))
    judged_on = wanted or next((cohort for (own, *_), (_, cohort, _) in kept.items() if own), None)
    chosen = [
        pk
        for place, (pk, cohort, outcome) in enumerate(kept.values())
        if place < MOST_AUDITS or outcome == "fail" or cohort == judged_on
    ]
    about = ("version", "protocol__locked_by", "protocol__approved_by", "cohort__cohort", "requested_by")
    heavy = ("version__manifest", "version__sizes", "version__card", "version__config", "protocol__source")
    return list(newest_first.filter(pk__in=chosen).select_related(*about).defer(*heavy, "cohort__summary"))


def _audits(runs: list[AuditRun]) -> list[dict[str, Any]]:
    numbers = [run.pk for run in runs]
    verdicts: dict[int, list[dict[str, Any]]] = {number: [] for number in numbers}
    rows = Verdict.objects.filter(run__in=numbers).order_by("run", "position")
    for number, primary, detail in rows.values_list("run", "primary", "detail"):
        verdicts[number].append(detail | {"primary": primary})
    return [_audit(run, verdicts[run.pk], hardware) for run, hardware in zip(runs, _hardware(runs), strict=True)]


def _hardware(runs: list[AuditRun]) -> list[str]:
    """The device that ran the first share of each run, as its worker told; empty where none did."""
    rows = Shard.objects.filter(run__in=[run.pk for run in runs], index=0).values_list("run", "telemetry")
    told = {number: (telemetry.get("made") or telemetry).get("device") or {} for number, telemetry in rows}
    return [str(told.get(run.pk, {}).get("name", "")) for run in runs]


def _audit(run: AuditRun, verdicts: list[dict[str, Any]], hardware: str) -> dict[str, Any]:
    protocol, primary = run.protocol, [item for item in verdicts if item["primary"]]
    outcomes = [item.get("outcome") for item in primary]
    return {
        "run": run.pk,
        "attempt": run.attempt,
        "protocol": {
            "name": protocol.name,
            "title": protocol.title,
            "digest": protocol.digest,
            "locked_by": protocol.locked_by.username,
            "locked_at": _iso(protocol.locked_at),
            "approved_by": protocol.approved_by.username if protocol.approved_by else None,
            "approved_at": _iso(protocol.approved_at),
        },
        "cohort": _cohort_facts(run),
        "status": run.status,
        "outcome": run.outcome,
        "evidence_digest": run.evidence_digest,
        "result_digest": run.result_digest,
        "requested_by": run.requested_by.username,
        "requested_at": _iso(run.requested_at),
        "finished_at": _iso(run.finished_at),
        "hardware": hardware,
        "kinds": kinds_of(protocol.body.get("suites", []), verdicts),
        "attributes": sorted({item["attribute"] for item in verdicts if item.get("attribute")}),
        "primary": {
            "passed": outcomes.count("pass"),
            "failed": outcomes.count("fail"),
            "insufficient": outcomes.count("insufficient"),
        },
        "criteria": [
            {name: item.get(name) for name in ("id", "title", "metric", "direction", "margin")}
            for item in protocol.body.get("criteria", [])
            if item.get("primary", True)
        ],
        "without_value": _without_value(primary),
    }


def _without_value(verdicts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Primary criteria that lack a value, an interval or a sample size."""
    needed = ("value", "low", "high", "n")
    return sorted({str(item.get("criterion")) for item in verdicts if any(item.get(name) is None for name in needed)})


def _cohort(run: AuditRun | None, runs: list[AuditRun], version: ModelVersion) -> dict[str, Any] | None:
    """The cohort on which the version is judged: the run's, else that of its newest finished audit."""
    own = (row for row in runs if row.version_id == version.pk)
    if run is not None:
        found = next((row for row in runs if row.cohort_id == run.cohort_id), None)
        found = found or AuditRun.objects.select_related("cohort__cohort").get(pk=run.pk)
    else:
        found = next(own, None)
    if found is None:
        return None
    cohort = found.cohort
    return _cohort_facts(found) | {
        "n_studies": cohort.n_studies,
        "n_patients": cohort.n_patients,
        "source": cohort.cohort.source,
    }


def _cohort_facts(run: AuditRun) -> dict[str, Any]:
    cohort = run.cohort
    return {"name": cohort.cohort.name, "digest": cohort.digest, "simulated": cohort.cohort.simulated}


def _answers(version: ModelVersion) -> dict[str, dict[str, Any]]:
    """The newest answer to each question about the system; one that was taken back is left out."""
    rows = Answer.objects.filter(system=version.system_id).order_by("pk")
    told = rows.values("question", "value", "reason", "author__username", "answered_at")
    newest = {row["question"]: row for row in told}
    return {
        key: {
            "value": row["value"],
            "reason": row["reason"],
            "author": row["author__username"],
            "at": _iso(row["answered_at"]),
        }
        for key, row in sorted(newest.items())
        if row["value"] is not None
    }


def _statements(version: ModelVersion) -> list[dict[str, Any]]:
    """Of this version each requirement's newest and newest accepted statement; of others the newest accepted."""
    rows = Statement.objects.filter(version__system=version.system_id)
    kept: dict[tuple[Any, ...], int] = {}
    for pk, of, key, status in rows.order_by("pk").values_list("pk", "version", "requirement", "status"):
        own = of == version.pk
        if own:
            kept["newest", key] = pk
        if status == Statement.Status.ACCEPTED:
            kept["accepted", key, own] = pk
    plain = ("requirement", "revision", "status", "fields", "text", "generated", "remark", "binding")
    named = {"author": "author__username", "decided_by": "decided_by__username", "version": "version__label"}
    chosen = rows.filter(pk__in=set(kept.values())).order_by("pk")
    told = chosen.values_list("pk", *plain, "written_at", "decided_at", *named.values())
    names = ("id", *plain, "written_at", "decided_at", *named)
    return [_dated(dict(zip(names, row, strict=True)), "written_at", "decided_at") for row in told]


def _dated(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return dict(row) | {name: _iso(row[name]) for name in names}


def _reviews(version: ModelVersion) -> list[dict[str, Any]]:
    people = ("submitter", "runner", "protocol_approver")
    rows = Review.objects.filter(version=version).select_related("opened_by", *people).order_by("-pk")
    return [
        {
            "id": row.pk,
            "run": row.run_id,
            "status": row.status,
            "quorum": row.quorum,
            "opened_by": row.opened_by.username,
            "opened_at": _iso(row.opened_at),
            "closed_at": _iso(row.closed_at),
            "excluded": [getattr(row, name).username for name in people],
            "votes": [
                {
                    "voter": vote.voter.username,
                    "choice": vote.choice,
                    "rationale": vote.rationale,
                    "cast_at": _iso(vote.cast_at),
                }
                for vote in row.votes.all()
            ],
        }
        for row in rows.prefetch_related("votes__voter")
    ]


def _reports(version: ModelVersion) -> list[dict[str, Any]]:
    rows = Report.objects.filter(version=version, status=Report.Status.ISSUED).order_by("-pk")
    names = ("id", "kind", "language", "as_of", "pdf_digest", "json_digest", "dossier_digest", "ready")
    return [_dated(row, "as_of") for row in rows.values(*names)]


def _ledger() -> dict[str, Any]:
    """Size and root of the ledger, by two queries however large it is."""
    size = LedgerHead.objects.filter(pk=1).values_list("size", flat=True).first() or 0
    wanted: list[tuple[int, int]] = []

    def note(level: int, position: int) -> bytes:
        wanted.append((level, position))
        return b""

    merkle.subtree_root(0, size, note)
    where = Q(pk__in=[])
    for level, position in wanted:
        where |= Q(level=level, position=position)
    nodes = LedgerNode.objects.filter(where).values_list("level", "position", "node_hash")
    known = {(level, position): bytes.fromhex(node) for level, position, node in nodes}
    root = merkle.subtree_root(0, size, lambda level, position: known[level, position])
    return {"size": size, "root": root.hex()}


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
