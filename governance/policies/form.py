"""The written form of a policy: what a version must show before it is approved or deployed.

Every key is described in ``docs/governance/policies.md``. A policy is immutable: its digest is the SHA-256 of its
canonical form with all defaults filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

from core.digests import sha256_json
from core.models import Role
from governance.policies.monitoring import MONITORING, MonitoringRules, read_monitoring
from governance.policies.pins import problem
from governance.policies.reading import Path, PolicyError, Reader, read_text
from models_registry.models import CohortRole

ALL = "all"
REVIEWERS = (Role.COMMITTEE_MEMBER, Role.CLINICIAN_LEAD, Role.COMMITTEE_CHAIR, Role.DPO)
"""Roles of which a policy may ask for a vote."""
WAIVERS = (Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.COMMITTEE_MEMBER, Role.DPO, Role.CLINICIAN_LEAD)
"""Roles whose people a policy may let accept a lack of evidence: never those who make or only administer."""
APPROVAL, RISKS, OVERSIGHT, INCIDENTS, DOCUMENT = "approval", "risks", "oversight", "incidents", "document-"
IN_FORCE = "policy"
RESERVED = frozenset({APPROVAL, RISKS, OVERSIGHT, INCIDENTS, MONITORING, IN_FORCE})
ASKED = {
    APPROVAL: ("required", "not_required"),
    RISKS: ("acceptable", "not_asked"),
    OVERSIGHT: ("required", "not_asked"),
    INCIDENTS: ("none_open", "not_asked"),
}
"""For each of these keys: the word that asks for it, and the word that does not."""


@dataclass(frozen=True, kw_only=True)
class ReviewRules:
    """How a review under the policy decides: equal votes needed, and roles of which at least one has to vote."""

    quorum: int = 2
    required_roles: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"quorum": self.quorum, "required_roles": list(self.required_roles)}


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """Who may accept that an audit had too little evidence, and for how many days at most."""

    accepted_by: tuple[str, ...]
    at_most_days: int

    def to_dict(self) -> dict[str, Any]:
        return {"accepted_by": list(self.accepted_by), "at_most_days": self.at_most_days}


@dataclass(frozen=True, kw_only=True)
class AuditItem:
    """Evidence that is asked for: a passed audit.

    Attributes:
        protocols: Names, each with or without a pin (:mod:`governance.policies.pins`); an audit by any of them counts.
        cohort_roles: Values of ``CohortRole``; a cohort of any of them counts.
        max_age_days: The evidence counts while it is at most as old, from the end of the audit.
        min_patients: Fewer patients do not count.
        each_site: Evidence is asked for at every site where the system is deployed, on patients of that site.
        waiver: None: lack of evidence is never accepted.
    """

    id: str
    title: str
    protocols: tuple[str, ...]
    cohort_roles: tuple[str, ...]
    max_age_days: int
    min_patients: int = 1
    simulated_allowed: bool = False
    each_site: bool = False
    waiver: Waiver | None = None

    @property
    def after_deployment(self) -> bool:
        """Whether only evidence from use counts, which cannot be there before there is use."""
        return self.cohort_roles == (CohortRole.POST_DEPLOYMENT,)

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "protocols": list(self.protocols),
            "cohort_role": list(self.cohort_roles),
            "max_age_days": self.max_age_days,
            "min_patients": self.min_patients,
            "simulated": "allowed" if self.simulated_allowed else "refused",
            "sites": "each" if self.each_site else "any",
            "insufficient": self.waiver.to_dict() if self.waiver else "refused",
        }


@dataclass(frozen=True, kw_only=True)
class DocumentItem:
    """An issued report that is asked for; with ``ready``, one in which nothing obligatory is missing."""

    report: str
    max_age_days: int
    ready: bool = True

    @property
    def id(self) -> str:
        return f"{DOCUMENT}{self.report}"

    def to_dict(self) -> dict[str, Any]:
        return {"report": self.report, "ready": self.ready, "max_age_days": self.max_age_days}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The rules of a policy. ``applies_to`` holds slugs of systems; empty: every system.

    ``monitoring`` is None where the policy says nothing of it: then the key is no part of the canonical form, so that
    policies from before it keep their digests.
    """

    name: str
    title: str
    applies_to: tuple[str, ...]
    audits: tuple[AuditItem, ...]
    approval: bool
    risks: bool
    oversight: bool
    incidents: bool
    review: ReviewRules = ReviewRules()
    documents: tuple[DocumentItem, ...] = ()
    monitoring: MonitoringRules | None = None

    @classmethod
    def from_yaml(cls, text: str, *, source: str = "policy.yaml") -> Policy:
        """Read a policy from YAML.

        Raises:
            PolicyError: naming every problem with its line and key.
        """
        body, lines = read_text(text, source=source)
        return _read(body, Reader(source=source, lines=lines))

    @classmethod
    def from_dict(cls, body: Mapping[str, Any], *, source: str = "policy") -> Policy:
        """Read a policy from plain data, such as its canonical form. Checked as strictly as YAML."""
        return _read(body, Reader(source=source, lines={}))

    def to_dict(self) -> dict[str, Any]:
        """The canonical form, defaults filled in. ``from_dict`` reads it back to an equal policy."""
        body = {
            "auscult_policy": 1,
            "name": self.name,
            "title": self.title,
            "applies_to": list(self.applies_to) or ALL,
            "review": self.review.to_dict(),
            "audits": [item.to_dict() for item in self.audits],
            "documents": [item.to_dict() for item in self.documents],
        } | {key: words[0] if getattr(self, key) else words[1] for key, words in ASKED.items()}
        return body | ({MONITORING: self.monitoring.to_dict()} if self.monitoring else {})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form."""
        return sha256_json(self.to_dict())

    @property
    def for_all(self) -> bool:
        return not self.applies_to

    def applies(self, slug: str) -> bool:
        """Whether the system with this slug comes under it."""
        return self.for_all or slug in self.applies_to

    def audit(self, item: str) -> AuditItem | None:
        """The audit with this identifier, if there is one."""
        return next((audit for audit in self.audits if audit.id == item), None)


def bundled_names() -> tuple[str, ...]:
    """Names of the policies that come with Auscult, sorted."""
    folder = resources.files("governance.policies") / "bundled"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


def bundled_source(name: str) -> str:
    """The YAML of a policy that comes with Auscult, comments included.

    Raises:
        PolicyError: there is none of this name.
    """
    if name not in bundled_names():
        raise PolicyError(
            f"There is no bundled policy called '{name}'.", remedy=f"Use one of: {', '.join(bundled_names())}."
        )
    return (resources.files("governance.policies") / "bundled" / f"{name}.yaml").read_text(encoding="utf-8")


REQUIRED = ("name", "title", "applies_to", "audits", *ASKED)
OPTIONAL = ("auscult_policy", "review", "documents", MONITORING)


def _read(value: Any, reader: Reader) -> Policy:
    body = reader.mapping(value, (), required=REQUIRED, optional=OPTIONAL)
    if "auscult_policy" in body:
        reader.number(body["auscult_policy"], ("auscult_policy",), least=1, most=1)
    asked = {key: _asked(body, key, reader) for key in ASKED}
    made = Policy(
        name=reader.slug(body["name"], ("name",), most=80) if "name" in body else "",
        title=reader.text(body["title"], ("title",), most=200) if "title" in body else "",
        applies_to=_applies_to(body, reader),
        audits=_audits(body, reader),
        review=_review(body.get("review", {}), reader),
        documents=_documents(body.get("documents") or [], reader),
        monitoring=read_monitoring(body.get(MONITORING), reader),
        **asked,
    )
    reader.finish()
    return made


def _asked(body: Mapping[str, Any], key: str, reader: Reader) -> bool:
    return key not in body or reader.choice(body[key], (key,), ASKED[key]) == ASKED[key][0]


def _applies_to(body: Mapping[str, Any], reader: Reader) -> tuple[str, ...]:
    value, path = body.get("applies_to", ALL), ("applies_to",)
    if value == ALL:
        return ()
    if not isinstance(value, list):
        reader.wrong(path, "this is the word all, or a list of short names of systems, such as [chest-model].")
        return ()
    slugs = [reader.text(item, (*path, index), most=80) for index, item in enumerate(value)]
    reader.items(value, path, what="short names of systems", most=200)
    reader.once([slug for slug in slugs if slug], path, what="systems")
    return tuple(sorted(slugs))


def _review(value: Any, reader: Reader) -> ReviewRules:
    body = reader.mapping(value, ("review",), required=(), optional=("quorum", "required_roles"))
    roles = reader.chosen(
        body.get("required_roles", []), ("review", "required_roles"), REVIEWERS, what="roles that vote", least=0
    )
    quorum = reader.number(body.get("quorum", 2), ("review", "quorum"), least=2, most=20)
    return ReviewRules(quorum=quorum, required_roles=roles)


def _audits(body: Mapping[str, Any], reader: Reader) -> tuple[AuditItem, ...]:
    if "audits" not in body:
        return ()
    listed = reader.items(body["audits"], ("audits",), what="audits: a policy without one asks for no evidence")
    audits = tuple(_audit(item, ("audits", index), reader) for index, item in enumerate(listed))
    reader.once([item.id for item in audits if item.id], ("audits",), what="identifiers")
    return audits


AUDIT = ("id", "title", "protocols", "cohort_role", "max_age_days")


def _audit(value: Any, path: Path, reader: Reader) -> AuditItem:
    optional = ("min_patients", "simulated", "sites", "insufficient")
    body = reader.mapping(value, path, required=AUDIT, optional=optional)
    name = reader.slug(body["id"], (*path, "id")) if "id" in body else ""
    if name in RESERVED or name.startswith(DOCUMENT):
        reader.wrong((*path, "id"), f"'{name}' is the name of another part of a policy: choose another.")
    roles = body.get("cohort_role", CohortRole.values[0])
    simulated = reader.choice(body.get("simulated", "refused"), (*path, "simulated"), ("refused", "allowed"))
    sites = reader.choice(body.get("sites", "any"), (*path, "sites"), ("any", "each"))
    return AuditItem(
        id=name,
        title=reader.text(body["title"], (*path, "title"), most=200) if "title" in body else "",
        protocols=_protocols(body["protocols"], (*path, "protocols"), reader) if "protocols" in body else (),
        cohort_roles=reader.chosen(roles, (*path, "cohort_role"), CohortRole.values, what="cohort roles"),
        max_age_days=reader.number(body.get("max_age_days", 1), (*path, "max_age_days"), least=1, most=3650),
        min_patients=reader.number(body.get("min_patients", 1), (*path, "min_patients"), least=1, most=10_000_000),
        simulated_allowed=simulated == "allowed",
        each_site=sites == "each",
        waiver=_waiver(body.get("insufficient", "refused"), (*path, "insufficient"), reader),
    )


def _protocols(value: Any, path: Path, reader: Reader) -> tuple[str, ...]:
    listed = reader.items(value, path, what="names of protocols")
    names = [reader.text(item, (*path, index), most=120) for index, item in enumerate(listed)]
    for index, name in enumerate(names):
        if wrong := problem(name):
            reader.wrong((*path, index), wrong)
    reader.once([name for name in names if name], path, what="protocols")
    return tuple(names)


def _waiver(value: Any, path: Path, reader: Reader) -> Waiver | None:
    if value == "refused":
        return None
    if not isinstance(value, Mapping):
        reader.wrong(path, "this is the word refused, or the keys accepted_by and at_most_days.")
        return None
    body = reader.mapping(value, path, required=("accepted_by", "at_most_days"), optional=())
    roles = body.get("accepted_by", str(WAIVERS[0]))
    return Waiver(
        accepted_by=reader.chosen(roles, (*path, "accepted_by"), WAIVERS, what="roles"),
        at_most_days=reader.number(body.get("at_most_days", 1), (*path, "at_most_days"), least=1, most=365),
    )


def _documents(value: Any, reader: Reader) -> tuple[DocumentItem, ...]:
    from governance.reports.base import REPORTS  # the kinds of reports are found by importing them all

    known = REPORTS.keys()
    found = []
    for index, item in enumerate(reader.items(value, ("documents",), what="documents", least=0)):
        path: Path = ("documents", index)
        body = reader.mapping(item, path, required=("report", "max_age_days"), optional=("ready",))
        found.append(
            DocumentItem(
                report=reader.choice(body["report"], (*path, "report"), known) if "report" in body else "",
                ready=reader.truth(body.get("ready", True), (*path, "ready")),
                max_age_days=reader.number(body.get("max_age_days", 1), (*path, "max_age_days"), least=1, most=3650),
            )
        )
    reader.once([item.report for item in found if item.report], ("documents",), what="reports")
    return tuple(found)
