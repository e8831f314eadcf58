"""Reading orders for simulated or generated patients. Nothing here writes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from core.errors import NotFoundError
from core.models import User
from models_registry.models import AISystem, CohortVersion, JobStatus, ModelVersion, SystemKind
from synthetic.generators.private.proposal import Proposal, propose_domain
from synthetic.generators.settings import LEAST_PATIENTS
from synthetic.models import Generation, GeneratorTraining

SMALL = 11
"""Counts below are not told."""


def generations_under_way() -> QuerySet[Generation]:
    return Generation.objects.filter(status__in=[JobStatus.QUEUED, JobStatus.RUNNING]).select_related("requested_by")


def failed_generations(user: User) -> QuerySet[Generation]:
    """Failed orders of this person, unless the same order has succeeded since."""
    done = Generation.objects.filter(cohort_name=OuterRef("cohort_name"), status=JobStatus.DONE, pk__gt=OuterRef("pk"))
    return Generation.objects.filter(~Exists(done), requested_by=user, status=JobStatus.FAILED)


def failed_trainings(user: User) -> QuerySet[GeneratorTraining]:
    """Failed trainings of this person, unless the same label was trained since."""
    done = GeneratorTraining.objects.filter(
        system=OuterRef("system"), version_label=OuterRef("version_label"), status=JobStatus.DONE
    )
    rows = GeneratorTraining.objects.filter(~Exists(done), requested_by=user, status=JobStatus.FAILED)
    return rows.select_related("system").defer("curves", "facts")


ABANDONED_DAYS = 30
"""After so many days, work that failed or was cancelled leaves the lists, and what it had finished is deleted."""
SHARES = {"learn": 0.7, "teach the critic": 0.15, "set gates and bars": 0.15}
PRIVATE_SHARES = {"learn": 0.85, "are held out for the audit": 0.15}
MOST_ATTRIBUTES = 16
"""Attributes with a field of their own in an order; lines take the others."""


def order_of(version: CohortVersion) -> Generation | None:
    """The first order that made a cohort; None where no generator of this installation did."""
    rows = Generation.objects.filter(result=version, version__isnull=False)
    return rows.select_related("version__system").order_by("pk").first()


def cohort_of(version: ModelVersion) -> CohortVersion | None:
    """The registered cohort that a generator learnt from; None where it was trained elsewhere."""
    training = GeneratorTraining.objects.filter(result=version).select_related("cohort__cohort").first()
    return training.cohort if training else None


def generators() -> QuerySet[ModelVersion]:
    """Versions that make patients, newest first."""
    rows = ModelVersion.objects.filter(adapter="generator").exclude(status__in=("rejected", "void", "retired"))
    return rows.select_related("system").order_by("-submitted_at", "-pk")


def generators_with_cohorts() -> list[ModelVersion]:
    """The same, each with ``learnt_from`` and ``made`` (cohort versions). Three queries, however many there are."""
    orders = Generation.objects.filter(status=JobStatus.DONE, result__isnull=False).select_related("result__cohort")
    trainings = GeneratorTraining.objects.select_related("cohort__cohort").defer("curves", "facts", "cohort__summary")
    rows = list(
        ModelVersion.objects.filter(adapter="generator")
        .select_related("system")
        .prefetch_related(Prefetch("generations", queryset=orders), Prefetch("made_by", queryset=trainings))
        .order_by("-submitted_at", "-pk")
    )
    for row in rows:
        training = next(iter(row.made_by.all()), None)
        row.learnt_from = training.cohort if training else None  # type: ignore[attr-defined]
        row.made = [order.result for order in row.generations.all()]  # type: ignore[attr-defined]
    return rows


def open_trainings() -> QuerySet[GeneratorTraining]:
    """Trainings that wait, run, or were cancelled or failed of late."""
    rows = GeneratorTraining.objects.filter(_open())
    return rows.select_related("system", "cohort__cohort", "requested_by").defer("curves", "facts")


def open_orders() -> QuerySet[Generation]:
    """Orders to generators that wait, run, or were cancelled or failed of late."""
    rows = Generation.objects.filter(_open(), version__isnull=False)
    return rows.select_related("version__system", "requested_by")


def _open() -> Q:
    late = timezone.now() - timedelta(days=ABANDONED_DAYS)
    recent = Q(finished_at__gte=late) | Q(finished_at=None, requested_at__gte=late)
    ended = Q(status__in=(JobStatus.FAILED, JobStatus.CANCELLED)) & recent
    return Q(status__in=(JobStatus.QUEUED, JobStatus.RUNNING)) | ended


def made_cohorts() -> QuerySet[CohortVersion]:
    """Cohorts that generators made, newest first, each with its ``orders``."""
    rows = CohortVersion.objects.filter(generated_by__version__isnull=False).distinct()
    orders = Prefetch("generated_by", Generation.objects.filter(version__isnull=False).order_by("pk"), to_attr="orders")
    rows = rows.select_related("cohort", "parent__cohort").prefetch_related(orders)
    return rows.defer("summary").order_by("-registered_at", "-pk")


def learnable_cohorts() -> QuerySet[CohortVersion]:
    """Cohorts that a generator may learn from, newest first; a week of a monitor is no cohort to learn from."""
    rows = CohortVersion.objects.filter(quarantined=False, n_patients__gte=LEAST_PATIENTS, windows=None)
    return rows.select_related("cohort").defer("summary").order_by("-registered_at", "-pk")


def systems_of_generators() -> QuerySet[AISystem]:
    return AISystem.objects.filter(kind=SystemKind.SYSTEM).order_by("name")


def plan_of(cohort: CohortVersion, *, private: bool = False) -> dict[str, Any]:
    """What a generator will learn from a cohort, and what it will leave out and why.

    With differential privacy it learns of these what its domain names, and has no critic.
    """
    there = {name for name, coverage in cohort.summary.get("modalities", {}).items() if coverage}
    has = {
        "image": "image" in there,
        "series": any(name.startswith("series.") for name in there),
        "report": any(name.startswith("text.") for name in there),
    }
    labels = sorted(cohort.summary.get("labels", {}))
    learnt = ["rows: attributes, visits, labels and what is missing"]
    learnt += ["series of values over time"] if has["series"] else []
    learnt += [f"images{'' if private else ', with a critic from other patients'}"] if has["image"] else []
    learnt += ["texts"] if has["report"] else []
    words = {"image": "images", "series": "series", "report": "texts"}
    return {
        "cohort": cohort,
        "learnt": learnt,
        "left_out": [f"{words[name]}: the cohort has none" for name, found in has.items() if not found],
        "lacking": _lacking(has, labels),
        "findings": labels,
        "shares": PRIVATE_SHARES if private else SHARES,
    }


def proposed_domain(cohort: CohortVersion) -> Proposal:
    """What may be public of a cohort's columns, for somebody to correct: by their names, and no value."""
    summary = cohort.summary
    labels = [f"label.{name}" for name in summary.get("labels", {})]
    return propose_domain([*summary.get("attributes", {}), *labels, *summary.get("modalities", {})])


def _lacking(has: dict[str, bool], labels: list[str]) -> dict[str, str]:
    """Role -> why a cohort cannot teach it."""
    found = {
        "image": "The cohort has no images.",
        "series": "The cohort has no series.",
        "report": "The cohort has no texts.",
    }
    lacking = {role: reason for role, reason in found.items() if not has[role]}
    if not (has["image"] and labels):
        lacking["critic"] = lacking.get("image", "The cohort has no labels, so there is nothing to read in an image.")
    return lacking


def attributes_of(version: ModelVersion) -> list[dict[str, Any]]:
    """What patients of a generator can be asked by: name, and values with studies, or the least and the most.

    Of the cohort that it learnt from, as its summary tells it; values of few studies are not told.
    """
    cohort = cohort_of(version)
    found = []
    for name, told in (cohort.summary.get("attributes", {}) if cohort else {}).items():
        values = [(value, count) for value, count in told.get("values", {}).items() if isinstance(count, int)]
        if len(values) > 1:
            found.append({"name": name, "values": values})
        elif told.get("min") is not None and told["min"] < told["max"]:
            found.append({"name": name, "values": [], "least": told["min"], "most": told["max"]})
    return found[:MOST_ATTRIBUTES]


def findings_of(version: ModelVersion) -> list[str]:
    """Findings that the plans of a generator tell, in their order."""
    wanted = version.config.get("details", {}).get("settings", {}).get("findings", [])
    cohort = cohort_of(version)
    return list(wanted) or sorted(cohort.summary.get("labels", {}) if cohort else {})


def number_columns(version: ModelVersion) -> frozenset[str]:
    """Attributes that the cohort of a generator holds as numbers."""
    cohort = cohort_of(version)
    attributes = cohort.summary.get("attributes", {}) if cohort else {}
    return frozenset(name for name, told in attributes.items() if told.get("type") in ("integer", "number", "float"))


def training_by_id(pk: int) -> GeneratorTraining:
    """One training.

    Raises:
        NotFoundError: there is none with this number.
    """
    rows = GeneratorTraining.objects.select_related("system", "cohort__cohort", "requested_by", "result__system")
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no training {pk}.", remedy="Open it from the page of synthetic patients.")
    return found


def order_by_id(pk: int) -> Generation:
    """One order to a generator.

    Raises:
        NotFoundError: there is none with this number.
    """
    rows = Generation.objects.filter(version__isnull=False)
    found = rows.select_related("version__system", "requested_by", "result__cohort").filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no order {pk}.", remedy="Open it from the page of synthetic patients.")
    return found


def wish_in_words(wish: dict[str, Any]) -> list[str]:
    """What an order asks for, line by line."""
    said = [f"{name} is {value}" for name, value in wish.get("attributes", {}).items()]
    said += [f"{name} is at least {value}" for name, value in wish.get("least", {}).items()]
    said += [f"{name} is at most {value}" for name, value in wish.get("most", {}).items()]
    said += [f"at least one study has {name}: {word}" for name, word in wish.get("findings", {}).items()]
    return said


def strata_of(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """What the critic accepted, by what is the matter; few studies are not counted out."""
    rows = sorted(facts.get("acceptance", []), key=lambda row: -row["n"])
    return [
        {
            "name": row["stratum"].replace("+", " and ").replace("_", " "),
            "n": row["n"] if row["n"] >= SMALL else None,
            "first": row["first"] / row["n"] if row["n"] >= SMALL else None,
            "accepted": row["accepted"] / row["n"] if row["n"] >= SMALL else None,
        }
        for row in rows
    ]
