"""How one requirement is judged: its statement, its rule, its audits, and what speaks against another statement.

``governance.statuses`` says what the states mean. Judgements are made on demand and kept, so that a rule may ask for
the state of another requirement. Pure: nothing here reads the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core.errors import AuscultError
from governance.applicability import Applicability, Conclusion, Truth
from governance.requirements import Catalogue, RequiredField, Requirement
from governance.rules import Facts, Finding, Reference, rules, table_columns
from governance.rules.agreement import disagreements, lies_ahead
from governance.rules.notes import audit_reference, version_reference
from governance.rules.values import is_empty, problem_of, same_text
from governance.standing.bindings import changes_since
from governance.standing.judgements import FieldValue, Judgement, State
from governance.standing.kinds import AUDIT_KINDS

NOTHING = Finding()
ROLES = {
    "controller": "dpo",
    "processor": "dpo",
    "data_user": "dpo",
    "covered_entity": "dpo",
    "deployer": "clinician_lead",
}
"""Who answers for a duty bearer's requirements; the provider's are the engineer's."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The required fields of a requirement with what is wrong with them."""

    values: tuple[FieldValue, ...]
    lacking: tuple[str, ...]
    contradicted: tuple[str, ...]


class Judging:
    """One dossier, judged requirement by requirement."""

    def __init__(
        self,
        *,
        dossier: dict[str, Any],
        evidence: dict[str, Any] | None,
        catalogue: Catalogue,
        conclusions: Mapping[str, Conclusion],
        applicability: Mapping[str, Applicability],
        as_of: datetime,
    ) -> None:
        self._requirements = {item.id: item for item in catalogue.requirements}
        self._applicability = applicability
        self._made: dict[str, Judgement] = {}
        self._asking: list[str] = []
        self._accepted: dict[str, dict[str, Any]] = {}
        self._raw: dict[str, Mapping[str, Any]] = {}
        self._stale: dict[str, tuple[str, ...]] = {}
        self._newest: dict[str, dict[str, Any]] = {}
        self._sort_statements(dossier)
        self.facts = Facts(
            dossier=dossier,
            evidence=evidence,
            catalogue=catalogue,
            conclusions=conclusions,
            applicability=applicability,
            as_of=as_of,
            accepted=self._accepted,
            state_of=lambda key: self.judgement(key).state.value,
        )
        self._earlier = self._earlier_facts()
        self._disagreements = disagreements(self.facts)

    def judgement(self, key: str) -> Judgement:
        """The judgement of one requirement.

        Raises:
            AuscultError: rules ask for one another's state in a circle.
        """
        if key not in self._made:
            if key in self._asking:
                circle = " → ".join([*self._asking, key])
                raise AuscultError(f"Rules ask for one another's state: {circle}.", remedy="Break the circle.")
            self._asking.append(key)
            try:
                self._made[key] = self._judge(self._requirements[key])
            finally:
                self._asking.pop()
        return self._made[key]

    def _sort_statements(self, dossier: dict[str, Any]) -> None:
        """Keep, of each requirement, the newest statement of this version and the newest accepted one."""
        own = dossier["version"]["label"]
        ranked = sorted(dossier["statements"], key=lambda row: (row["version"] == own, row["id"]))
        newest_accepted = {row["requirement"]: row for row in ranked if row["status"] == "accepted"}
        for row in ranked:
            if row["version"] == own and row["status"] in ("draft", "accepted", "returned"):
                self._newest[row["requirement"]] = row
        for key, row in newest_accepted.items():
            requirement = self._requirements.get(key)
            if requirement is None:
                continue
            changes = changes_since(row["binding"], dossier, requirement)
            if changes:
                self._stale[key] = changes
            else:
                self._raw[key] = row["fields"]
                self._accepted[key] = row | {"fields": _readable(requirement, row["fields"])}

    def _earlier_facts(self) -> Facts | None:
        """The facts as they would be if earlier audits were about this version; None where there are none."""
        dossier = self.facts.dossier
        cohort = dossier["cohort"]
        old = [item for item in dossier["audits"] if not self.facts.counts(item)] + dossier["earlier_audits"]
        if not old:
            return None
        moved = [item | {"cohort": cohort or old[0]["cohort"]} for item in old]
        version = dossier["version"] | {"void": None}
        seen = dossier | {"audits": moved, "cohort": cohort or old[0]["cohort"], "version": version}
        return replace(self.facts, dossier=seen, evidence=None)

    def _judge(self, item: Requirement) -> Judgement:
        applies = self._applicability[item.id]
        base = Judgement(
            requirement=item,
            applicability=applies,
            state=State.NOT_APPLICABLE if applies.applies is Truth.NO else State.UNKNOWN,
            reason=applies.reason,
            fields=self._bare_fields(item),
            statement=self._newest.get(item.id),
            accepted=self._accepted.get(item.id),
            owner=self._owner(item),
        )
        if applies.applies is not Truth.YES:
            return base
        finding = self._finding(item, self.facts)
        filled = self._fill(item, finding)
        audits = self._audits_of(item) if finding.rests_on_audit else []
        contradicted = finding.contradicted + filled.contradicted + self._disagreements.get(item.id, ())
        failed = tuple(_failed_words(audit) for audit in audits if audit["outcome"] == "fail")
        gaps = self._audit_gaps(item, audits) if audits else ()
        lacking = finding.lacking + filled.lacking + gaps + self._acceptance(item, finding)
        stale = self._staleness(item, finding)
        held = finding.held + self._held_statement(item)
        return replace(
            base,
            state=self._state(item, finding, held, lacking, contradicted + failed, stale),
            reason="",
            held=held,
            lacking=_once(lacking),
            contradicted=_once(contradicted + failed),
            stale=stale,
            fields=filled.values,
            references=_once(finding.references + tuple(map(audit_reference, audits)) + self._statement_source(item)),
        )

    def _state(
        self,
        item: Requirement,
        finding: Finding,
        held: tuple[str, ...],
        lacking: tuple[str, ...],
        contradicted: tuple[str, ...],
        stale: tuple[str, ...],
    ) -> State:
        accepted = item.id in self._accepted
        if contradicted:
            return State.NONCONFORM
        if held and not lacking and (accepted or finding.settled):
            return State.COMPLETE
        if stale and not accepted and (item.id in self._stale or not held):
            return State.STALE
        if not held:
            return State.MISSING
        return State.PARTIAL

    def _finding(self, item: Requirement, facts: Facts) -> Finding:
        rule = rules().get(item.id)
        return rule(facts) if rule else NOTHING

    # what the fields hold

    def _bare_fields(self, item: Requirement) -> tuple[FieldValue, ...]:
        return tuple(self._field(one) for one in item.required_fields)

    def _field(self, one: RequiredField, value: Any = None, reference: Reference | None = None) -> FieldValue:
        label = self.facts.catalogue.field_label(one.name)
        return FieldValue(name=one.name, type=one.type, label=label, value=value, reference=reference)

    def _fill(self, item: Requirement, finding: Finding) -> Filled:
        """Every required field from the accepted statement or, where it is silent, from the platform."""
        stated, source = self._raw.get(item.id, {}), self._source(item)
        values, lacking, contradicted, absent = [], [], [], []
        for one in item.required_fields:
            told, own = stated.get(one.name), finding.filled.get(one.name)
            label = self.facts.catalogue.field_label(one.name)
            value = own if is_empty(told) else told
            if is_empty(value):
                if one.name not in finding.waived:
                    absent.append(label)
                values.append(self._field(one))
                continue
            if problem := problem_of(one.type, value, columns=table_columns(item.id, one.name)):
                lacking.append(_("%(field)s %(problem)s") % {"field": label, "problem": problem})
                values.append(self._field(one))
                continue
            if not is_empty(told) and not is_empty(own) and not same_text(told, own):
                words = _("%(field)s is stated as “%(told)s”, but the platform holds “%(own)s”.")
                contradicted.append(words % {"field": label, "told": spoken(told), "own": spoken(own)})
            if lies_ahead(self.facts, one.name, value):
                contradicted.append(_("%(field)s lies in the future.") % {"field": label})
            values.append(self._field(one, value, self._own_source(finding, one.name) if is_empty(told) else source))
        if absent:
            lacking.append(_("facts that nobody has stated: %(fields)s") % {"fields": ", ".join(absent)})
        return Filled(values=tuple(values), lacking=tuple(lacking), contradicted=tuple(contradicted))

    def _own_source(self, finding: Finding, name: str) -> Reference:
        return finding.sources.get(name) or version_reference(self.facts)

    def _source(self, item: Requirement) -> Reference | None:
        row = self._accepted.get(item.id)
        return statement_reference(row) if row else None

    def _statement_source(self, item: Requirement) -> tuple[Reference, ...]:
        source = self._source(item)
        return (source,) if source else ()

    def _held_statement(self, item: Requirement) -> tuple[str, ...]:
        row = self._accepted.get(item.id)
        if row is None:
            return ()
        told = {"author": row["author"], "by": row["decided_by"], "day": str(row["decided_at"])[:10]}
        return (_("a statement by %(author)s, accepted by %(by)s on %(day)s") % told,)

    def _acceptance(self, item: Requirement, finding: Finding) -> tuple[str, ...]:
        """What keeps the statement from counting, where one is needed."""
        if item.id in self._accepted or finding.settled:
            return ()
        row = self._newest.get(item.id)
        if row is not None and row["status"] == "draft":
            kind = _("a draft that a program proposed") if row["generated"] else _("a draft")
            told = {"kind": kind, "author": row["author"]}
            return (_("acceptance by a second person: %(kind)s by %(author)s does not count") % told,)
        if row is not None and row["status"] == "returned":
            return (_("a new statement: the last one was returned (%(remark)s)") % {"remark": row["remark"]},)
        return (_("a statement that a second person accepted"),)

    # what audits show

    def _audits_of(self, item: Requirement) -> list[dict[str, Any]]:
        """Audits that show a kind of evidence the requirement names; of each protocol the newest."""
        kinds = AUDIT_KINDS & set(item.evidence)
        newest: dict[str, dict[str, Any]] = {}
        for audit in self.facts.audits():
            if kinds & set(audit["kinds"]):
                newest.setdefault(audit["protocol"]["digest"], audit)
        return list(newest.values())

    def _audit_gaps(self, item: Requirement, audits: list[dict[str, Any]]) -> tuple[str, ...]:
        """What keeps an audit from completing anything, whatever the requirement."""
        gaps = []
        if any(audit["outcome"] == "insufficient" for audit in audits):
            gaps.append(_("enough studies to judge every primary criterion"))
        if any(audit["cohort"]["simulated"] for audit in audits):
            gaps.append(_("an audit on real patients: this cohort is simulated"))
        if not self.facts.version["config"].get("runs_weights"):
            gaps.append(_("a run of the system itself: only its recorded predictions were judged"))
        for audit in self.facts.dossier["audits"]:
            if audit["outcome"] == "fail" and not self.facts.counts(audit) and set(item.evidence) & set(audit["kinds"]):
                told = {"run": audit["run"], "cohort": audit["cohort"]["name"]}
                gaps.append(_("an answer to audit %(run)s of this version, which failed on %(cohort)s") % told)
        return tuple(gaps)

    def _staleness(self, item: Requirement, finding: Finding) -> tuple[str, ...]:
        found = () if item.id in self._accepted else self._stale.get(item.id, ())
        if finding.rests_on_audit or self._earlier is None or not AUDIT_KINDS & set(item.evidence):
            return found
        if not self._finding(item, self._earlier).rests_on_audit:
            return found
        return found + self._stale_audits(item)

    def _stale_audits(self, item: Requirement) -> tuple[str, ...]:
        dossier, kinds = self.facts.dossier, set(item.evidence)
        told = []
        for audit in dossier["earlier_audits"]:
            if kinds & set(audit["kinds"]):
                words = _("Audit %(run)s was of version %(old)s; none of this kind is finished for version %(new)s.")
                labels = {"old": audit["version"]["label"], "new": dossier["version"]["label"]}
                told.append(words % ({"run": audit["run"]} | labels))
        for audit in dossier["audits"]:
            if kinds & set(audit["kinds"]) and not self.facts.counts(audit):
                told.append(self._why_not_counted(audit))
        return tuple(told[:3])

    def _why_not_counted(self, audit: Mapping[str, Any]) -> str:
        if self.facts.voided(audit):
            return _("Audit %(run)s is older than what made the approval of this version void.") % audit
        words = _("Audit %(run)s was on the cohort %(old)s; none of this kind is finished on %(new)s.")
        names = {"old": audit["cohort"]["name"], "new": self.facts.dossier["cohort"]["name"]}
        return words % ({"run": audit["run"]} | names)

    def _owner(self, item: Requirement) -> str:
        row = self._newest.get(item.id)
        return str(row["author"]) if row else owning_role(item)


def _readable(item: Requirement, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The required fields whose values are of their type, so that no rule meets another."""
    types = {one.name: one.type for one in item.required_fields}
    return {name: value for name, value in fields.items() if name in types and not problem_of(types[name], value)}


def owning_role(item: Requirement) -> str:
    """The role that can mend a requirement: the first duty bearer's; of audits alone, the auditor's."""
    if set(item.evidence) <= AUDIT_KINDS:
        return "auditor"
    return ROLES.get(item.duty_bearer[0], "ml_engineer")


def statement_reference(row: Mapping[str, Any]) -> Reference:
    """A statement, as what something rests on."""
    name = _("Statement by %(author)s, revision %(revision)s") % {"author": row["author"], "revision": row["revision"]}
    return Reference(kind="statement", name=name, href_id=str(row["id"]))


def spoken(value: Any) -> str:
    """A field's value within a sentence."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)


def _failed_words(audit: Mapping[str, Any]) -> str:
    failed = audit["primary"]["failed"]
    words = ngettext(
        "Audit %(run)s failed: %(failed)s primary criterion of “%(protocol)s” is not met.",
        "Audit %(run)s failed: %(failed)s primary criteria of “%(protocol)s” are not met.",
        failed,
    )
    return words % {"run": audit["run"], "protocol": audit["protocol"]["title"], "failed": failed}


def _once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))
