"""What a report type may look at while it writes a chapter: evidence, dossier, statuses, and where each came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

from core.digests import sha256_json
from governance.questions import Question, load_questions
from governance.reports.blocks import Gap, Source
from governance.reports.wording import shown, spoken, yes_no
from governance.requirements import Catalogue
from governance.statuses import FieldValue, Judgement, Reference, Statuses


@dataclass(frozen=True, kw_only=True)
class View:
    """All that a report is written from, in its language.

    Attributes:
        evidence: Of the audit that the report is about, small cells hidden; None for a report without one.
        evidence_digest: SHA-256 of that evidence as it is kept.
        documents: Evidence of other audits of the dossier by digest, small cells hidden.
        dossier_digest: SHA-256 of the dossier.
    """

    kind: str
    evidence: dict[str, Any] | None
    evidence_digest: str
    documents: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    dossier: Mapping[str, Any]
    dossier_digest: str
    statuses: Statuses
    catalogue: Catalogue
    language: str
    as_of: datetime
    issued_by: str
    certificate: str = ""

    # Sources

    def audit_source(self, audit: Mapping[str, Any] | None = None) -> Source:
        """An audit of the dossier; without one, the audit that the report is about."""
        if audit is not None:
            protocol = audit["protocol"]["digest"]
            return Source(
                kind="audit", name=run_name(audit["run"]), digest=audit["evidence_digest"] or "", protocol=protocol
            )
        if self.evidence is None:
            raise LookupError(f"The report {self.kind} is about no audit.")
        protocol = self.evidence["protocol"]["digest"]
        name = run_name(self.evidence["run"]["id"])
        return Source(kind="audit", name=name, digest=self.evidence_digest, protocol=protocol)

    def answer_source(self, question: str) -> Source:
        """The answer to one question of the questionnaire."""
        known, told = self.questions.get(question), self.dossier["answers"].get(question)
        name = _("answer “%(question)s”") % {"question": known.label if known else question}
        return Source(kind="answer", name=name, digest=sha256_json(told) if told else "")

    def version_source(self) -> Source:
        """The version as it was registered."""
        version = self.dossier["version"]
        return Source(
            kind="version", name=_("version %(label)s") % {"label": version["label"]}, digest=version["digest"]
        )

    def dossier_source(self) -> Source:
        """What the platform knew: the system's description, what was declared of the version, former documents."""
        return Source(kind="dossier", name=_("dossier"), digest=self.dossier_digest)

    def cohort_source(self) -> Source:
        """The cohort of the audit that the report is about, else of the newest one."""
        cohort = self.evidence["cohort"] if self.evidence else self.dossier["cohort"]
        if cohort is None:
            raise LookupError("The version was audited on no cohort.")
        return Source(kind="cohort", name=_("cohort %(name)s") % {"name": cohort["name"]}, digest=cohort["digest"])

    def review_source(self, review: Mapping[str, Any]) -> Source:
        """A review of the committee."""
        return Source(kind="review", name=_("review %(id)s") % {"id": review["id"]})

    def catalogue_source(self) -> Source:
        """The catalogue of requirements."""
        name = _("catalogue of requirements %(version)s") % {"version": self.catalogue.version}
        return Source(kind="catalogue", name=name, digest=self.catalogue.digest)

    def ledger_source(self) -> Source:
        """The head of the ledger."""
        ledger = self.dossier["ledger"]
        return Source(
            kind="ledger", name=_("ledger of %(size)s entries") % {"size": ledger["size"]}, digest=ledger["root"]
        )

    def reference_source(self, reference: Reference) -> Source:
        """A reference of a judgement as a source; an audit's with its protocol, as everywhere else in the report."""
        if reference.kind == "audit":
            for audit in (*self.dossier["audits"], *self.dossier["earlier_audits"]):
                if str(audit["run"]) == reference.href_id:
                    return self.audit_source(audit)
        if reference.kind == "statement":
            for told in self.dossier["statements"]:
                if str(told["id"]) == reference.href_id:
                    return _of_statement(told)
        if reference.kind == "answer" and reference.href_id in self.dossier["answers"]:
            return self.answer_source(reference.href_id)
        if reference.kind == "version" and reference.digest == self.dossier["version"]["digest"]:
            return self.version_source()
        if reference.kind == "review":
            for review in self.dossier["reviews"]:
                if str(review["id"]) == reference.href_id:
                    return self.review_source(review)
        return Source(kind=reference.kind, name=reference.name, digest=reference.digest)

    # What was stated and answered

    def judgement(self, requirement: str) -> Judgement:
        """How a requirement stands."""
        return self.statuses.of(requirement)

    def field(self, requirement: str, name: str) -> FieldValue | None:
        """A required field with its value and where it came from; None where it is not filled."""
        found = (item for item in self.statuses.of(requirement).fields if item.name == name)
        value = next(found, None)
        return value if value is not None and value.value is not None else None

    def text(self, requirement: str, name: str) -> str:
        """A required field as text; empty where it is not filled."""
        value = self.field(requirement, name)
        return field_text(value) if value else ""

    def field_source(self, value: FieldValue) -> tuple[Source, ...]:
        """Where a field came from, as sources of a block."""
        return (self.reference_source(value.reference),) if value.reference else ()

    def answer(self, question: str) -> Any:
        """The value of an answer; None where the question was not answered."""
        told = self.dossier["answers"].get(question)
        return told["value"] if told else None

    def answer_text(self, question: str) -> str:
        """An answer as its question's options put it; ``not stated`` where it was not answered."""
        known = self.questions.get(question)
        options = {option.key: option.text for option in known.options} if known else {}
        value = self.answer(question)
        if isinstance(value, bool):
            return yes_no(value)
        told = [options.get(item, item) for item in value] if isinstance(value, list) else options.get(value, value)
        return shown(told)

    @cached_property
    def questions(self) -> Mapping[str, Question]:
        """Every question of the questionnaire, in the report's language."""
        return {item.key: item for item in load_questions(self.language)}

    def gap(self, requirement: str, what: str = "") -> Gap:
        """That something is missing here, and which requirement asks for it."""
        title = what or self.catalogue.requirement(requirement).title
        return Gap(text=_("%(what)s (%(id)s): nothing accepted is held.") % {"what": title, "id": requirement})

    # Audits

    def audits(self, kind: str = "") -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
        """Finished audits of this version whose evidence is at hand, newest first, with that evidence."""
        rows = [
            item for item in self.dossier["audits"] if item["evidence_digest"] and (not kind or kind in item["kinds"])
        ]
        for audit in sorted(rows, key=lambda item: item["finished_at"] or "", reverse=True):
            found = self.document(audit["evidence_digest"])
            if found is not None:
                yield audit, found

    def document(self, digest: str) -> dict[str, Any] | None:
        """Evidence by its digest, small cells hidden; None where it is not at hand."""
        if self.evidence is not None and digest == self.evidence_digest:
            return self.evidence
        return self.documents.get(digest)

    @property
    def review(self) -> Mapping[str, Any] | None:
        """The newest review of the audit that the report is about; without an audit, of the version."""
        rows = self.dossier["reviews"]
        if self.evidence is not None:
            rows = [item for item in rows if item["run"] == self.evidence["run"]["id"]]
        return max(rows, key=lambda item: item["opened_at"], default=None)


def field_text(value: FieldValue) -> str:
    """A required field as text; a choice in words and not as its key."""
    if value.type.startswith("enum") and isinstance(value.value, str) and value.value:
        return _(spoken(value.value))
    return shown(value.value)


def run_name(run: int) -> str:
    """``run 12`` in the report's language."""
    return _("run %(id)s") % {"id": run}


def _of_statement(told: Mapping[str, Any]) -> Source:
    """A statement of the dossier, named by requirement, revision and author, bound by the digest of its record."""
    words = {"id": told["requirement"], "revision": told["revision"], "author": told["author"]}
    name = _("statement %(id)s, revision %(revision)s, by %(author)s") % words
    return Source(kind="statement", name=name, digest=sha256_json(told))
