"""An installation after years of use: forty systems, ten thousand audits, five million measurements.

What the pages' tests furnish is made once, with one audit by the engine itself, so that every room has real content;
then the database copies rows until there are as many as asked for. It is the same at every run. Only rows are many:
runs share the evidence of one audit, and nothing that is copied went through the services.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.web_rows import among, multiply, run_sql

HEADS = 100
NAMES = "(ARRAY['reference-model-v1','deterioration-24h-v1','a','b','c','d','e','f','g','h'])"
"""Of protocols: the policy in force names the first two."""
DIGEST = "md5('{0}' || g.n) || md5(g.n || '{0}')"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much there is. What is not named follows the number of runs."""

    runs: int = 10_000
    measurements: int = 5_000_000
    systems: int = 40
    versions: int = 400
    deployments: int = 60

    def share(self, number: int, least: int = 2) -> int:
        """A number that goes with ten thousand runs, at this size."""
        return max(least, number * self.runs // 10_000)


@dataclass(kw_only=True)
class House:
    """Keys of what the rows hang on, the largest first."""

    sizes: Sizes
    people: list[int]
    systems: list[int]
    versions: list[int]
    cohorts: list[int]
    protocols: list[int]
    runs: list[int]


def fill(sizes: Sizes) -> House:
    """Put everything into an empty, migrated database.

    Only a superuser of PostgreSQL can: rows are copied past triggers and foreign keys.
    """
    from benchmarks import web_committee, web_watch

    people = _furnish()
    _ledger(sizes)
    run_sql("SET session_replication_role = replica")
    run_sql("SET synchronous_commit = off")
    house = _registry(sizes, people)
    _runs(house)
    web_watch.fill(house)
    web_committee.fill(house)
    run_sql("SET session_replication_role = origin")
    run_sql("VACUUM ANALYZE")
    return house


def _furnish() -> list[int]:
    """The small house of the pages' tests, with the audits that have the most to show."""
    from core.models import Role, RoleGrant, User
    from evaluation.models import AuditRun

    scene, closer_scene, explorer_scene, governance_scene, lineage_scene, monitors_scene = (
        import_module(f"tests.pages.{name}")
        for name in ("scene", "closer_scene", "explorer_scene", "governance_scene", "lineage_scene", "monitors_scene")
    )
    governance_scene.furnish()
    run = AuditRun.objects.filter(outcome="fail").earliest("pk")
    lineage_scene.furnish(run.cohort, run.protocol)
    lineage_scene.intakes(run.version.system)
    lineage_scene.workers()
    closer_scene.enrich(run)
    monitors_scene.life()
    monitors_scene.others(monitors_scene.people())
    made = Path(tempfile.mkdtemp(prefix="auscult-bench-"))
    try:
        explorer_scene.explored(made)
        _largest_audit(run, made)
    finally:
        shutil.rmtree(made)
    limited = scene.person("nadia")
    RoleGrant.objects.get_or_create(user=limited, role=Role.AUDITOR, system_key=run.version.system_id)
    keys = list(User.objects.order_by("pk").values_list("pk", flat=True))
    more = multiply(User, 40, [scene.person("mina").pk], username="'person' || g.n", last_name="'Park ' || g.n")
    grant = RoleGrant.objects.get(user__username="mina")
    multiply(RoleGrant, len(more), [grant.pk], user_id=among(more))
    return keys + more


def _largest_audit(small: Any, folder: Path) -> None:
    """An audit of 15 labels by the engine, and the same one as far as a usual protocol goes."""
    from benchmarks.report_subjects import long_evidence
    from evaluation.execution.judging import store_rows

    scene = import_module("tests.pages.scene")
    told = long_evidence(small.version, small.cohort, folder)
    for name, labels in (("largest", 15), ("usual", 2)):
        run = scene.run(small.version, small.cohort, small.protocol, outcome="pass")
        run.measurements.all().delete()
        run.verdicts.all().delete()
        kept = {f"finding {number + 1}" for number in range(labels)} | {""}
        result = dict(told["result"])
        for part in ("measurements", "verdicts"):
            result[part] = [item for item in result[part] if item["label"] in kept]
        store_rows(run, result)
        run.evidence_digest = scene.store().put_json(told | {"result": result, "run": {"id": run.pk}})
        run.result_digest, run.outcome = scene.store().put_json(result), result["outcome"]
        run.settings = {"seed": 0, "bench": name}
        run.save()


def _registry(sizes: Sizes, people: list[int]) -> House:
    from evaluation.models import Protocol
    from models_registry.models import (
        AISystem,
        Cohort,
        CohortImport,
        CohortVersion,
        ModelVersion,
        Origin,
        TrainingJob,
        VersionIntake,
    )

    chest = AISystem.objects.get(slug="chest-model")
    systems = list(AISystem.objects.order_by("pk").values_list("pk", flat=True))
    systems += multiply(AISystem, sizes.systems - len(systems), [chest.pk], name="'System ' || to_char(g.n, 'FM000')",
                        slug="'system-' || to_char(g.n, 'FM000')")  # fmt: skip
    versions = list(ModelVersion.objects.order_by("pk").values_list("pk", flat=True))
    states = "(ARRAY['approved','deployed','in_audit','in_review','rejected','retired','submitted','conditional'])"
    templates = list(chest.versions.order_by("pk").values_list("pk", flat=True))
    versions += multiply(
        ModelVersion, sizes.versions - len(versions), templates, label="'3.' || g.n", digest=DIGEST.format("version"),
        system_id=f"CASE WHEN g.n % 5 = 0 THEN {chest.pk} ELSE {among(systems)} END", status=f"{states}[1 + g.n % 8]",
        submitted_at="now() - g.n * interval '2 days'", void_reason="''",
    )  # fmt: skip
    cohorts = list(CohortVersion.objects.order_by("pk").values_list("pk", flat=True))
    slug = "'ward-' || to_char(g.n, 'FM000')"
    parents = multiply(Cohort, 20, [CohortVersion.objects.get(pk=cohorts[0]).cohort_id], slug=slug,
                       name="'Ward ' || to_char(g.n, 'FM000')")  # fmt: skip
    cohorts += multiply(CohortVersion, sizes.share(400), cohorts[:2], digest=DIGEST.format("cohort"),
                        cohort_id=among(parents, "g.n % 7 * (g.n % 5)"))  # fmt: skip
    protocols = list(Protocol.objects.order_by("pk").values_list("pk", flat=True))
    protocols += multiply(Protocol, 30, protocols[:1], digest=DIGEST.format("protocol"), name=f"{NAMES}[1 + g.n % 10]")
    house = House(sizes=sizes, people=people, systems=[chest.pk, *(key for key in systems if key != chest.pk)],
                  versions=versions, cohorts=cohorts, protocols=protocols, runs=[])  # fmt: skip
    for model, number in ((VersionIntake, 300), (TrainingJob, 100), (CohortImport, 200)):
        of = list(model._default_manager.values_list("pk", flat=True))
        own = {"system_id": among(systems)} if model is not CohortImport else {}
        multiply(model, sizes.share(number), of, **own)
    one = Origin.objects.filter(source_cohort__isnull=False).values_list("pk", flat=True)[:1]
    multiply(Origin, len(versions), list(one), version_id=among(versions), source_cohort_id=among(cohorts))
    return house


def _runs(house: House) -> None:
    """Audits of the last years: most are done, a few failed or were cancelled, three are at work."""
    from evaluation.models import AuditRun, Measurement, Protocol, Shard, Verdict

    usual = AuditRun.objects.get(settings__bench="usual")
    ends = [AuditRun.objects.filter(status=status).earliest("pk").pk for status in ("failed", "running")]
    of = [usual.pk] * 99 + ends[:1]
    approved = list(Protocol.objects.filter(status="approved").order_by("pk").values_list("pk", flat=True))
    present = list(AuditRun.objects.order_by("pk").values_list("pk", flat=True))
    twin = house.versions[1]
    made = multiply(
        AuditRun, house.sizes.runs - len(present), of, spec_digest=DIGEST.format("spec"),
        version_id=f"CASE WHEN g.n % 20 = 0 THEN {twin} ELSE {among(house.versions)} END",
        cohort_id=among(house.cohorts, "g.n / 3"), protocol_id=among(approved, "g.n / 7"),
        requested_at="now() - (g.n + 1) * interval '1 hour'",
        started_at="now() - (g.n + 1) * interval '1 hour' + interval '5 seconds'",
        finished_at="now() - (g.n + 1) * interval '1 hour' + interval '100 seconds'",
    )  # fmt: skip
    house.runs = [*present, *made]
    done = list(AuditRun.objects.filter(pk__in=made, status="done").order_by("pk").values_list("pk", flat=True))
    _copy_to_runs(Verdict, usual.pk, done)
    _copy_to_runs(Shard, usual.pk, made)
    missing = house.sizes.measurements - Measurement.objects.count()
    each = usual.measurements.count()
    whole, rest = divmod(max(0, missing), max(1, len(done)))
    _copy_to_runs(Measurement, usual.pk, done, number=min(whole, each))
    if whole > each:  # the largest audits get what a usual one has no room for
        many = AuditRun.objects.get(settings__bench="largest").pk
        few = [key for key in done if key % 10 == 0]
        more = (missing - each * len(done)) // max(1, len(few))
        _copy_to_runs(Measurement, many, few, number=more, after=each)
    del rest


def _copy_to_runs(model: Any, of: int, runs: list[int], *, number: int = 0, after: int = 0) -> None:
    """What hangs on one run, hung on others too; ``number`` rows from ``after`` on, by position, or all of them."""
    from django.db import connection

    quote = connection.ops.quote_name
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    names = ", ".join(quote(field.column) for field in fields)
    values = ", ".join("r.key" if field.attname == "run_id" else f"t.{quote(field.column)}" for field in fields)
    table, place = quote(model._meta.db_table), "position" if hasattr(model, "position") else "index"
    bound = f' AND t."{place}" >= {after} AND t."{place}" < {after + number}' if number else ""
    run_sql(
        f"INSERT INTO {table} ({names}) SELECT {values} FROM unnest(%s::bigint[]) AS r(key) "  # noqa: S608
        f'JOIN {table} t ON t.run_id = %s{bound} ORDER BY r.key, t."{place}"',
        [runs, of],
    )


def _ledger(sizes: Sizes) -> None:
    """Ten entries for each audit, in the very form that the ledger writes, with a hundred signed heads on the way."""
    from benchmarks import ledger
    from core.heads import sign_head
    from core.models import LedgerHead

    begin = LedgerHead.objects.get(pk=1).size
    for stage in range(1, HEADS + 1):
        ledger.fill(begin + stage * 10 * sizes.runs // HEADS)
        sign_head()
