"""The DPIA's table of risks: the three feared events of the CNIL, and what an AI system adds to them.

Ratings are what people stated and somebody else accepted, on the CNIL's scales of 1 to 4; the product is put into the
bands of the catalogue. Beside each stands what audits of this version measured. Nothing is rated here, and nothing is
made milder:

- a rating that is missing counts as 4;
- of two statements that rate the same risk, the graver counts, and the difference is told;
- a residual rating below the inherent one counts only where a measure was done by then: a planned one lowers nothing;
- the risk register counts beside what is stated: the graver of the two, and a difference is told. Of the register a
  control is done when somebody else verified it, and a risk that nobody rated counts as 4 by 4;
- where no audit measured a risk, the row says so. A failed audit contradicts a likelihood below 3: it was seen.

Where a residual product is 8 or more, Art. 36 of the GDPR asks for prior consultation, and the system does not go live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from governance.rules import Facts, Reference
from governance.standing.register_facts import Row, register_rows
from governance.standing.risk_statements import (
    INHERENT,
    MEASURES,
    Measure,
    cells,
    grouped,
    joined,
    measures_of,
    whole,
)

MISSING = 4
CONSULT = 8
SEEN = 3
"""The least likelihood that agrees with an audit in which the effect was measured: 3 means feasible."""


@dataclass(frozen=True, kw_only=True)
class Risk:
    """A row that every DPIA here has.

    Attributes:
        requirement: The CNIL's feared event that is stated on its own, if any.
        evidence: Kinds of audit that measure it.
        measurable: A rating without any such audit is a guess about the model: the row lacks one.
        needed: Its row is there even where nobody stated anything about it.
    """

    key: str
    requirement: str = ""
    evidence: tuple[str, ...] = ()
    measurable: bool = False
    needed: bool = True


RISKS = (
    Risk(key="illegitimate_access", requirement="CNIL-access", evidence=("synthetic_privacy_audit",)),
    Risk(key="unwanted_modification", requirement="CNIL-change", evidence=("hallucination_check", "robustness_audit")),
    Risk(key="disappearance", requirement="CNIL-loss"),
    Risk(key="bias", evidence=("fairness_audit",), measurable=True),
    Risk(key="wrong_output", evidence=("hallucination_check", "performance_evaluation"), measurable=True),
    Risk(key="model_inference", evidence=("synthetic_privacy_audit",), measurable=True),
    Risk(key="function_creep", needed=False),
)

KINDS = (*(risk.key for risk in RISKS), "clinical", "use", "security", "other")
"""What a risk in the register is about: the rows of the DPIA, and what does not belong into a DPIA."""


def risk_title(key: str) -> str:
    """A risk in a reader's words."""
    titles = {
        "illegitimate_access": _("Illegitimate access to data"),
        "unwanted_modification": _("Unwanted modification of data"),
        "disappearance": _("Disappearance of data"),
        "bias": _("Discriminatory output"),
        "wrong_output": _("Wrong or invented output"),
        "model_inference": _("Memorisation by the model, or inference from it"),
        "function_creep": _("Use beyond the purpose"),
        "clinical": _("Harm to health"),
        "use": _("Error in use"),
        "security": _("Attack on the system"),
        "other": _("Another risk"),
    }
    return titles.get(key, key.replace("_", " "))


@dataclass(frozen=True, kw_only=True)
class Rating:
    """Severity and likelihood as they count. ``stated`` is whether both were stated; a missing one counts as 4."""

    severity: int
    likelihood: int
    band: str
    stated: bool

    @property
    def product(self) -> int:
        return self.severity * self.likelihood


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one audit says about a risk. ``counts`` is False where it cannot show anything about real patients."""

    outcome: str
    sentence: str
    counts: bool
    reference: Reference


@dataclass(frozen=True, kw_only=True)
class RiskRow:
    """One risk as the DPIA prints it.

    Attributes:
        measured: What audits of this version found; empty where none did, which ``inherent_gaps`` then say.
        lowered: A residual rating was stated below the inherent one though no measure is done; it does not count.
        inherent_gaps, residual_gaps: What the row lacks as the risk itself, and as its measures and what remains.
        clashes: Sentences on what cannot be true together: ratings that differ, a mild one beside a failed audit.
        references: Statements and audits that it rests on.
    """

    key: str
    title: str
    sources: str
    threats: str
    impacts: str
    controls: str
    inherent: Rating
    residual: Rating
    measures: tuple[Measure, ...]
    measured: tuple[Measured, ...]
    lowered: bool
    inherent_gaps: tuple[str, ...]
    residual_gaps: tuple[str, ...]
    clashes: tuple[str, ...]
    references: tuple[Reference, ...]

    @property
    def lacking(self) -> tuple[str, ...]:
        return self.inherent_gaps + self.residual_gaps

    @property
    def consult(self) -> bool:
        """Whether what remains asks for prior consultation and blocks the use."""
        return self.residual.product >= CONSULT


def risk_rows(facts: Facts) -> tuple[RiskRow, ...]:
    """The rows in their order, then every further risk that people stated. Pure."""
    stated, register = grouped(facts.values(INHERENT).get("risk_entries")), register_rows(facts)
    further = tuple(Risk(key=key, needed=False) for key in stated if key not in {risk.key for risk in RISKS})
    return tuple(
        _row(facts, risk, stated.get(risk.key, []), register.get(risk.key))
        for risk in (*RISKS, *further)
        if risk.needed or stated.get(risk.key) or risk.key in register
    )


def blocking(rows: Sequence[RiskRow]) -> tuple[RiskRow, ...]:
    """Rows whose residual risk asks for prior consultation."""
    return tuple(row for row in rows if row.consult)


def _row(facts: Facts, risk: Risk, entries: list[Mapping[str, Any]], kept: Row | None) -> RiskRow:
    event = facts.values(risk.requirement) if risk.requirement else {}
    measures = measures_of(facts, risk.key) + (kept.measures if kept else ())
    inherent, clashes = _inherent(facts, risk, event, entries, kept)
    residual, lowered = _residual(facts, risk.key, inherent, measures)
    if kept:
        residual, lowered = _graver(facts, risk.key, residual, kept), lowered or kept.lowered
    told = [*entries, *(kept.texts if kept else ())]
    measured = tuple(_measured(facts, risk))
    return RiskRow(
        key=risk.key,
        title=risk_title(risk.key),
        sources=joined(event.get("risk_sources"), told, "source"),
        threats=joined(event.get("threats"), told, "threat"),
        impacts=joined(cells(event.get("impacts")), told, "impact"),
        controls=joined(event.get("existing_controls"), [], ""),
        inherent=inherent,
        residual=residual,
        measures=measures,
        measured=measured,
        lowered=lowered,
        inherent_gaps=_inherent_gaps(risk, inherent, measured),
        residual_gaps=_residual_gaps(risk, residual, measures),
        clashes=clashes + _milder_than_measured(facts, risk, residual if residual.stated else inherent),
        references=(
            *_statements(facts, risk, entries),
            *(kept.references if kept else ()),
            *(item.reference for item in measured),
        ),
    )


def _inherent(
    facts: Facts, risk: Risk, event: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], kept: Row | None
) -> tuple[Rating, tuple[str, ...]]:
    """The gravest rating before measures that was stated or stands in the register, and where they differ."""
    clashes, found = [], {}
    for axis, word in (("severity", _("severity")), ("likelihood", _("likelihood"))):
        rated = [whole(row.get(axis)) for row in (event, *entries) if row]
        rated += [getattr(kept.before, axis, None)] if kept else []
        known = [rating for rating in rated if rating is not None]
        found[axis] = None if None in rated or not known else max(known)
        if len(set(known)) > 1:
            told = {"axis": word, "risk": risk_title(risk.key), "ratings": ", ".join(map(str, sorted(set(known))))}
            clashes.append(_("The %(axis)s of “%(risk)s” is stated as %(ratings)s; the gravest counts.") % told)
    return _rating(facts, found["severity"], found["likelihood"]), tuple(clashes)


def _rating(facts: Facts, severity: int | None, likelihood: int | None) -> Rating:
    counted = (severity or MISSING, likelihood or MISSING)
    band = facts.catalogue.risk_matrix.band(*counted)
    return Rating(
        severity=counted[0],
        likelihood=counted[1],
        band=band,
        stated=severity is not None and likelihood is not None,
    )


def _residual(facts: Facts, key: str, inherent: Rating, measures: Sequence[Measure]) -> tuple[Rating, bool]:
    """What remains, and whether a stated rating was set aside because nothing is done yet that could lower it."""
    rows = grouped(facts.values(MEASURES).get("residual_ratings")).get(key, [])
    done, lowered = any(measure.done_on for measure in measures), False
    counted: list[int | None] = []
    for axis, before in (("severity", inherent.severity), ("likelihood", inherent.likelihood)):
        rated = [whole(row.get(axis)) for row in rows]
        known = [rating for rating in rated if rating is not None]
        after = max(known) if known and None not in rated else None
        if after is not None and after < before and not done:
            after, lowered = before, True
        counted.append(after)
    return _rating(facts, *counted), lowered


def _graver(facts: Facts, key: str, stated: Rating, kept: Row) -> Rating:
    """What remains by statements and by the register: the graver of the two on each axis."""
    if not grouped(facts.values(MEASURES).get("residual_ratings")).get(key):
        severity, likelihood, told = kept.after.severity, kept.after.likelihood, kept.after_stated
    else:
        severity = max(stated.severity, kept.after.severity)
        likelihood = max(stated.likelihood, kept.after.likelihood)
        told = stated.stated and kept.after_stated
    band = facts.catalogue.risk_matrix.band(severity, likelihood)
    return Rating(severity=severity, likelihood=likelihood, band=band, stated=told)


def _measured(facts: Facts, risk: Risk) -> list[Measured]:
    """The newest finished audit of each protocol that shows one of the risk's kinds of evidence."""
    found: dict[str, Measured] = {}
    for kind in risk.evidence:
        for audit in facts.audits(kind):
            found.setdefault(audit["protocol"]["digest"], _audited(facts, audit, kind))
    return list(found.values())


def failed_at(audit: Mapping[str, Any], kind: str) -> bool:
    """Whether a primary criterion that shows this kind of evidence failed, and not merely some other one."""
    failed = audit.get("failed_kinds")
    return kind in failed if failed is not None else audit["outcome"] == "fail" and kind in audit["kinds"]


def _audited(facts: Facts, audit: Mapping[str, Any], kind: str) -> Measured:
    primary, cohort = audit["primary"], audit["cohort"]
    outcome = "fail" if failed_at(audit, kind) else audit["outcome"]
    words = {"pass": _("passed"), "fail": _("failed"), "insufficient": _("had not enough evidence")}
    sentence = _(
        "Audit %(run)s by the protocol %(protocol)s on the cohort %(cohort)s %(outcome)s: of its primary criteria "
        "%(passed)s passed, %(failed)s failed and %(open)s could not be judged."
    ) % {
        "run": audit["run"],
        "protocol": audit["protocol"]["name"],
        "cohort": cohort["name"],
        "outcome": words[audit["outcome"]],
        "passed": primary["passed"],
        "failed": primary["failed"],
        "open": primary["insufficient"],
    }
    if cohort["simulated"]:
        sentence += " " + _("Its patients are simulated: it shows nothing about real ones.")
    reference = Reference(
        kind="audit",
        name=_("Audit %(run)s") % {"run": audit["run"]},
        digest=audit["evidence_digest"],
        href_id=str(audit["run"]),
    )
    runs = bool(facts.version["config"].get("runs_weights"))
    counts = runs and not cohort["simulated"] and audit["outcome"] != "insufficient"
    return Measured(outcome=outcome, sentence=sentence, counts=counts, reference=reference)


def _inherent_gaps(risk: Risk, inherent: Rating, measured: Sequence[Measured]) -> tuple[str, ...]:
    """What the risk itself lacks, each as a noun."""
    title, gaps = {"risk": risk_title(risk.key)}, []
    if not inherent.stated:
        gaps.append(_("an accepted rating before measures of “%(risk)s”; what is missing counts as 4") % title)
    if risk.measurable and not measured:
        gaps.append(_measurement_of(risk.key) % title)
    elif risk.measurable and not any(item.counts for item in measured):
        gaps.append(_("a measurement of “%(risk)s” with the model itself, on enough real patients") % title)
    return tuple(gaps)


def _residual_gaps(risk: Risk, residual: Rating, measures: Sequence[Measure]) -> tuple[str, ...]:
    """What its treatment lacks, each as a noun."""
    title, gaps = {"risk": risk_title(risk.key)}, []
    if not residual.stated:
        gaps.append(_("an accepted rating after measures of “%(risk)s”; what is missing counts as 4") % title)
    if not measures:
        gaps.append(_("measures against “%(risk)s”") % title)
    if any(not (measure.owner and measure.due) for measure in measures):
        gaps.append(_("owner and date of every measure against “%(risk)s”") % title)
    return tuple(gaps)


def _measurement_of(key: str) -> str:
    """What is missing where no audit measured a risk."""
    if key in ("illegitimate_access", "model_inference"):
        return _("a privacy attack on this version (extraction, membership inference): none was run; “%(risk)s”")
    if key == "bias":
        return _("a fairness audit of this version; “%(risk)s” was not measured")
    return _("an audit of this version that measures “%(risk)s”: none is held")


def _milder_than_measured(facts: Facts, risk: Risk, rating: Rating) -> tuple[str, ...]:
    """A sentence for each audit that measured the effect, where its likelihood is rated as hardly feasible."""
    if not rating.stated or rating.likelihood >= SEEN:
        return ()
    told = {"risk": risk_title(risk.key), "rating": rating.likelihood}
    words = _("The likelihood of “%(risk)s” is rated %(rating)s, yet audit %(run)s failed on it.")
    failed = (audit for kind in risk.evidence for audit in facts.audits(kind) if failed_at(audit, kind))
    return tuple(dict.fromkeys(words % (told | {"run": audit["run"]}) for audit in failed))


def _statements(facts: Facts, risk: Risk, entries: Sequence[Mapping[str, Any]]) -> list[Reference]:
    """The accepted statements that say something about a risk."""
    residual = grouped(facts.values(MEASURES).get("measures_per_risk")).get(risk.key)
    named = (risk.requirement, INHERENT if entries else "", MEASURES if residual else "")
    found = []
    for key in named:
        statement = facts.accepted.get(key)
        if statement:
            name = _("%(requirement)s, revision %(revision)s") % {"requirement": key, "revision": statement["revision"]}
            found.append(Reference(kind="statement", name=name, href_id=str(statement["id"])))
    return found
