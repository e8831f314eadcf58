"""Runs a judged audit again, model and all, and says which of its numbers come out the same.

The audit is one of this installation, or one that evidence from elsewhere tells of, whose model and cohort are here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from core.digests import canonical_json
from core.errors import ConflictError, NotFoundError
from evaluation.engine import Protocol as Rules
from evaluation.engine.planning import asks, count_cohort, plan_share, predicts
from evaluation.engine.protocol import Reproduction as Tolerances
from evaluation.engine.runner import merge_all
from evaluation.execution.asking import ask_share
from evaluation.execution.devices import describe_device, determinism, device
from evaluation.execution.environment import environment, full_environment
from evaluation.execution.evidence import work_digest
from evaluation.execution.frames import frame_of
from evaluation.execution.loading import inference_of, load_adapter
from evaluation.execution.shards import predict_share
from evaluation.execution.streams import read_streams
from evaluation.execution.tables import nothing, sketch_share
from evaluation.execution.watching import assess_run
from evaluation.models import AuditRun, RunStatus
from models_registry.cohorts import open_cohort
from models_registry.models import CohortVersion, ModelVersion
from models_registry.services.versions import model_store

KEYS = ("suite", "metric", "label", "attribute", "group")
FIGURES = ("value", "low", "high")
COUNTS = ("n", "patients", "reason", "method")


class Sameness(StrEnum):
    """How a measurement of the second time compares with the first."""

    EQUAL = "equal"
    WITHIN = "within tolerance"
    DIFFERENT = "different"
    GONE = "measured only then"
    NEW = "measured only now"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One measurement, then and now. ``largest`` is the largest difference of value and interval; None if undefined."""

    suite: str
    metric: str
    label: str
    attribute: str
    group: str
    sameness: Sameness
    then: float | None
    now: float | None
    largest: float | None


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What came out.

    Attributes:
        identical: The digest of the whole result is the same, to the last digit.
        verdicts: Criteria whose verdict changed, as ``criterion label: then, now``.
        environment: What computes now and did not then, as ``name: then, now``.
        tolerance: Largest difference that counted as the same; ``tolerances`` are those of single metrics.
    """

    run: int
    identical: bool
    measurements: tuple[Compared, ...]
    verdicts: tuple[str, ...]
    environment: tuple[str, ...]
    tolerance: float
    tolerances: dict[str, float]

    @property
    def reproduced(self) -> bool:
        """No verdict changed, and every measurement of then is there and differs by no more than the tolerance."""
        bad = {Sameness.DIFFERENT, Sameness.GONE}
        return not self.verdicts and all(item.sameness not in bad for item in self.measurements)

    def count(self, sameness: Sameness) -> int:
        return sum(item.sameness is sameness for item in self.measurements)

    def to_dict(self) -> dict[str, Any]:
        counts = {item.value: self.count(item) for item in Sameness}
        return {**asdict(self), "reproduced": self.reproduced, "counts": counts}


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """An audit as it was judged: what to run again, by which rules, and what came out.

    Attributes:
        run: Its number where it was judged.
        cohort, protocol: Their digests.
        body: The protocol in canonical form.
    """

    run: int
    version: ModelVersion
    cohort: str
    protocol: str
    body: Mapping[str, Any]
    settings: Mapping[str, Any]
    evidence: Mapping[str, Any]
    result_digest: str

    @property
    def frame(self) -> str:
        """Digest of the frame that streams were read through; empty where none were."""
        return str(self.evidence["execution"].get("drift", {}).get("frame") or "")

    @property
    def reference(self) -> str:
        """Digest of the drift sketch that the run was compared with; empty where there was none."""
        return str(self.evidence["execution"].get("drift", {}).get("reference") or "")

    def digest_of(self, result: dict[str, Any]) -> str:
        """What the digest of the result is, were this the result."""
        return work_digest(
            version=self.version.digest,
            cohort=self.cohort,
            protocol=self.protocol,
            settings=dict(self.settings),
            result=result,
        )


def reproduce(
    run_id: int, *, tolerance: float | None = None, progress: Callable[[int, int], None] = lambda done, total: None
) -> Reproduction:
    """Run the model again over every share, without the cache of predictions, and judge again. Writes nothing.

    Args:
        tolerance: Measurements are "within" when value and interval differ by at most this much. Left out, it is
            what the run's protocol says.
        progress: Told the studies done, and how many there are.

    Raises:
        ConflictError: the run was not judged.
        DigestMismatchError: model, cohort or evidence in the store is not what was registered.
    """
    run = _judged(run_id)
    sealed = Sealed(
        run=run.pk,
        version=run.version,
        cohort=run.cohort.digest,
        body=run.protocol.body,
        protocol=run.protocol.digest,
        settings=run.settings,
        evidence=model_store().get_json(run.evidence_digest),
        result_digest=run.result_digest,
    )
    return _repeat(sealed, tolerance, progress)


def reproduce_evidence(
    evidence: Mapping[str, Any],
    *,
    tolerance: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reproduction:
    """Run the audit that evidence tells of again, on the model and the cohort with its digests. Writes nothing.

    Args:
        evidence: A whole evidence document; whoever gives it has checked where it comes from.
        tolerance, progress: As for :func:`reproduce`.

    Raises:
        NotFoundError: the model or the cohort is not in this installation; the message says which, by digest.
        DigestMismatchError: model or cohort in the store is not what was registered.
    """
    sealed = Sealed(
        run=evidence["run"]["id"],
        version=_version_here(evidence),
        cohort=_cohort_here(evidence),
        body=evidence["protocol"]["body"],
        protocol=evidence["protocol"]["digest"],
        settings=evidence["execution"]["settings"],
        evidence=evidence,
        result_digest=evidence["result_digest"],
    )
    return _repeat(sealed, tolerance, progress)


def _version_here(evidence: Mapping[str, Any]) -> ModelVersion:
    """The same files, registered here under whatever name, and run by the same adapter."""
    told = evidence["version"]
    rows = ModelVersion.objects.filter(digest=told["digest"]).select_related("system").order_by("-pk")
    found = rows.filter(adapter=told["adapter"]).first()
    if found is not None:
        return found
    name = f"{evidence['system']['name']} {told['label']}"
    if rows.exists():
        raise NotFoundError(
            f"The model {name} is registered here, but not for the adapter '{told['adapter']}' that ran it then.",
            remedy="Register it with that adapter.",
        )
    raise NotFoundError(
        f"The model {name} is not in this installation: no version has the digest {told['digest']}.",
        remedy="Get its files from the issuer and register them; equal files have an equal digest.",
    )


def _cohort_here(evidence: Mapping[str, Any]) -> str:
    told = evidence["cohort"]
    digest: str = told["digest"]
    registered = CohortVersion.objects.filter(digest=digest).exists()
    if not registered or not model_store().folder_path(digest).is_dir():
        raise NotFoundError(
            f"The cohort {told['name']} is not in this installation: none has the digest {digest}.",
            remedy="It can be run again only where its patients' data are: ask the issuer, or import the same files.",
        )
    return digest


def _repeat(sealed: Sealed, tolerance: float | None, progress: Callable[[int, int], None]) -> Reproduction:
    rules = Rules.from_dict(sealed.body)
    settings = inference_of(sealed.version, dict(sealed.settings) | _precision(sealed.evidence))
    reader = open_cohort(model_store().folder_path(sealed.cohort))
    adapter = load_adapter(sealed.version, settings)
    truth = count_cohort(rules, reader) if asks(rules) else None
    sketches, before, total = [], 0, sum(part.n_studies for part in reader.shards)
    for part in reader.shards:
        told = partial(_told, progress, before, total)
        if predicts(rules):
            answers = predict_share(adapter, reader, part, batch_size=settings.batch_size, after_batch=told)
        else:
            answers = nothing(reader, part)
        said = None
        if truth is not None:
            plan = plan_share(rules, reader, part, truth, declared=sealed.version.config)
            said = ask_share(adapter, reader, part, plan, batch_size=settings.batch_size)
        streams = None
        if sealed.frame:
            how: dict[str, Any] = {"adapter": lambda: adapter, "frame": frame_of(sealed.frame)}
            streams = read_streams(rules, reader, part, answers, batch_size=settings.batch_size, **how)
        sketches.append(sketch_share(rules, reader, part, answers, said, streams))
        before += part.n_studies
    then = sealed.evidence["result"]
    advised = bool(then.get("advice"))
    merged = merge_all(sketches)
    found = assess_run(rules, merged, frame=sealed.frame, reference=sealed.reference, with_advice=advised)
    result = json.loads(canonical_json(found.to_dict()))
    allowed = rules.reproduction if tolerance is None else Tolerances(tolerance=tolerance)
    return Reproduction(
        run=sealed.run,
        identical=sealed.digest_of(result) == sealed.result_digest,
        measurements=tuple(_compared(then["measurements"], result["measurements"], allowed)),
        verdicts=tuple(_changed(_outcomes(then), _outcomes(result))),
        environment=tuple(_changed(*_environments(sealed.evidence))),
        tolerance=allowed.tolerance,
        tolerances=dict(allowed.metrics),
    )


def _precision(evidence: Mapping[str, Any]) -> dict[str, str]:
    """What ``auto`` meant then: on another device it would mean something else."""
    ran = evidence["execution"].get("hardware", {}).get("precision", [])
    return {"precision": ran[0]} if len(ran) == 1 else {}


def _told(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _judged(run_id: int) -> AuditRun:
    run = AuditRun.objects.select_related("version__system", "cohort__cohort", "protocol").filter(pk=run_id).first()
    if run is None or run.status != RunStatus.DONE:
        state = "does not exist" if run is None else f"is {run.get_status_display().lower()}"
        raise ConflictError(
            f"Audit {run_id} {state}, so there is nothing to compare with.",
            remedy="Give the number of an audit that is done; it stands on the audit's page.",
        )
    return run


def _compared(then: list[dict[str, Any]], now: list[dict[str, Any]], allowed: Tolerances) -> Iterator[Compared]:
    """Every measurement of either time, by what it measures; repeated keys in their order."""
    old, new = _by_key(then), _by_key(now)
    for key in dict.fromkeys([*old, *new]):
        one, two = old.get(key), new.get(key)
        suite, metric, label, attribute, group, _ = key
        largest = _largest(one, two) if one and two else None
        yield Compared(
            suite=suite, metric=metric, label=label, attribute=attribute, group=group,
            sameness=_sameness(one, two, largest, allowed.of(metric)), largest=largest,
            then=one["value"] if one else None, now=two["value"] if two else None,
        )  # fmt: skip


def _by_key(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key, place = tuple(row[name] for name in KEYS), 0
        while (*key, place) in found:
            place += 1
        found[(*key, place)] = row
    return found


def _largest(one: dict[str, Any], two: dict[str, Any]) -> float | None:
    """None where only one of them has a figure."""
    gaps = [0.0]
    for name in FIGURES:
        if (one[name] is None) != (two[name] is None):
            return None
        gaps.append(abs((one[name] or 0.0) - (two[name] or 0.0)))
    return max(gaps)


def _sameness(
    one: dict[str, Any] | None, two: dict[str, Any] | None, largest: float | None, tolerance: float
) -> Sameness:
    if one is None or two is None:
        return Sameness.NEW if one is None else Sameness.GONE
    if largest is None:
        return Sameness.DIFFERENT
    if one == two:
        return Sameness.EQUAL
    same_counts = all(one[name] == two[name] for name in COUNTS)
    return Sameness.WITHIN if same_counts and largest <= tolerance else Sameness.DIFFERENT


def _outcomes(result: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{item['criterion']} {item['label']}".strip(): item["outcome"] for item in result["verdicts"]}


def _environments(evidence: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What computed then, as far as the evidence tells it, and what computes now."""
    told = evidence.get("software", {})
    then: dict[str, Any] = dict((told.get("predicted") or [told.get("judged") or {}])[0])
    packages = then.get("packages", {}) | evidence["execution"]["environment"]["packages"]
    then |= evidence["execution"]["environment"] | {"packages": packages}
    now = full_environment() | environment()
    now["packages"] = {name: full_environment()["packages"].get(name, now["packages"].get(name)) for name in packages}
    now |= {"determinism": determinism()} if then.get("determinism") else {}
    devices = [item["title"] for item in evidence["execution"].get("hardware", {}).get("devices", [])]
    if devices:
        then |= {"device": ", ".join(devices)}
        now |= {"device": describe_device(device()).title}
    return _flat(then), _flat({name: value for name, value in now.items() if name in then})


def _flat(body: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in body.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            yield f"{name}: {then.get(name, 'nothing')}, now {now.get(name, 'nothing')}"
