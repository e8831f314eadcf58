"""The risks of an assessment: rated by people, measured by audits, put into bands, and what follows from the worst."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.reports import dpia_attacks
from governance.reports.blocks import Block, Facts, Gap, Heading, Note, Paragraph, Source, Table
from governance.reports.findings import primary_verdicts
from governance.reports.measured import verdict_table
from governance.reports.view import View
from governance.reports.wording import ABSENT, day, join_words, shown
from governance.standing.judging import Judging
from governance.standing.kinds import kinds_of
from governance.standing.risk_rows import RISKS, Rating, RiskRow, blocking, risk_rows

BANDS = {
    "low": gettext_lazy("low"),
    "medium": gettext_lazy("medium"),
    "high": gettext_lazy("high"),
    "very_high": gettext_lazy("very high"),
}
MOST_VERDICTS = 12
"""Verdicts of one audit printed under a risk; the worst come first, and the evidence holds all."""


def rows_of(view: View) -> tuple[RiskRow, ...]:
    """The rows of risks, worked out from the dossier alone."""
    judging = Judging(
        dossier=dict(view.dossier),
        evidence=None,
        catalogue=view.catalogue,
        conclusions=view.statuses.conclusions,
        applicability={item.requirement.id: item.applicability for item in view.statuses.items},
        as_of=datetime.fromisoformat(view.dossier["as_of"]),
    )
    return risk_rows(judging.facts)


def rated(rating: Rating) -> str:
    """``3 × 2 = 6, medium``; a rating that nobody gave is told as counting 4."""
    words = f"{rating.severity} × {rating.likelihood} = {rating.product}, {BANDS[rating.band]}"
    return words if rating.stated else _("%(rating)s (not rated by anybody; counts as 4)") % {"rating": words}


def consequence(view: View) -> Note:
    """What follows from the residual risks, by Article 36."""
    high = blocking(rows_of(view))
    if not high:
        text = _("No risk is rated high after measures, so Article 36 asks for no prior consultation.")
        return Note(title=_("No prior consultation"), text=text)
    unrated = [row.title for row in high if not row.residual.stated]
    named = [row.title for row in high if row.residual.stated]
    parts = []
    if named:
        parts.append(_("Rated high or very high after measures: %(risks)s.") % {"risks": join_words(named)})
        parts.append(_("The supervisory authority has to be consulted before the processing starts (Article 36)."))
    if unrated:
        parts.append(
            _("Not rated after measures, and therefore counted as 4 × 4: %(risks)s.") % {"risks": join_words(unrated)}
        )
    parts.append(_("As it stands, the system must not go live."))
    title = _("Prior consultation is due") if named else _("Risks are not rated, so they count as very high")
    return Note(title=title, text=" ".join(parts), tone="fail")


def risks(view: View) -> Iterator[Block]:
    """Chapter 4, Art. 35(7)(c): scales, the risks before measures, and what was measured of each."""
    matrix = view.catalogue.risk_matrix
    yield Paragraph(
        text=_(
            "Risks are rated from the side of the people concerned, on the scales of the CNIL: severity and "
            "likelihood from 1 to 4. The bands of their product are this platform's, not the CNIL's: 1 to 3 low, 4 to "
            "6 medium, 8 and 9 high, 12 and 16 very high. A rating that is missing counts as 4."
        ),
        sources=(view.catalogue_source(),),
    )
    yield Table(
        caption=_("The scales"),
        headers=(_("Step"), _("Severity"), _("Likelihood")),
        rows=tuple((str(step), matrix.severity[step], matrix.likelihood[step]) for step in (1, 2, 3, 4)),
        numeric=(0,),
    )
    found = rows_of(view)
    yield Table(
        caption=_("Risks before measures, severity × likelihood"),
        headers=(_("Risk"), _("Sources and threats"), _("Impact on people"), _("Rating")),
        rows=tuple(
            (
                row.title,
                "\n".join(text for text in (row.sources, row.threats) if text) or str(ABSENT),
                row.impacts or str(ABSENT),
                rated(row.inherent),
            )
            for row in found
        ),
        sources=_sources(view, found),
        wide=True,
    )
    yield from dpia_attacks.criteria_blocks(view)
    for row in found:
        yield from _risk(view, row)


def _risk(view: View, row: RiskRow) -> Iterator[Block]:
    """One risk: what was measured of it, audit by audit, and what is lacking or cannot be true."""
    yield Heading(text=row.title)
    for clash in row.clashes:
        yield Note(title=_("Contradiction"), text=clash, tone="fail")
    kinds = next((risk.evidence for risk in RISKS if risk.key == row.key), ())
    for item in row.measured:
        audit = next(one for one in view.dossier["audits"] if one["evidence_digest"] == item.reference.digest)
        evidence = view.document(audit["evidence_digest"])
        yield Paragraph(text=item.sentence, sources=(view.audit_source(audit),))
        if not item.counts:
            yield Note(
                title=_("It proves nothing about real patients"),
                text=_("The audit stands here for what it is; it neither lowers nor confirms a rating."),
                tone="gap",
            )
        shared = [kind for kind in kinds if kind in audit["kinds"]]
        if evidence is None:
            yield Gap(text=_("The evidence of audit %(run)s is not in the store.") % {"run": audit["run"]})
            continue
        if dpia_attacks.KIND in shared:
            yield from dpia_attacks.attack_blocks(view, audit, evidence, row.key)
        if others := [kind for kind in shared if kind != dpia_attacks.KIND]:
            yield from audit_blocks(view, audit, evidence, *others)
    if not row.measured and not row.inherent_gaps:
        yield Paragraph(text=_("No audit of this version measures this; the rating stands as people gave it."))
    if row.inherent_gaps:
        yield _gaps(row.inherent_gaps)


def audit_blocks(view: View, audit: Mapping[str, Any], evidence: dict[str, Any], *kinds: str) -> Iterator[Block]:
    """The primary verdicts of an audit that show one of these kinds of evidence, worst first."""
    suites = evidence["protocol"]["body"].get("suites", [])
    own = [item for item in primary_verdicts(evidence) if any(_shows(item, kind, suites) for kind in kinds)]
    if own:
        yield verdict_table(evidence, own[:MOST_VERDICTS], view.audit_source(audit))
    else:
        text = _("No primary criterion of audit %(run)s is about this alone; it counts by its outcome.")
        yield Paragraph(text=text % {"run": audit["run"]}, sources=(view.audit_source(audit),))


def _shows(verdict: dict[str, Any], kind: str, suites: Sequence[str]) -> bool:
    """Whether one verdict shows a kind of evidence; a comparison of groups shows no performance over all patients."""
    if kind == "performance_evaluation" and verdict["attribute"]:
        return False
    return kind in kinds_of(suites, [verdict])


def _sources(view: View, found: tuple[RiskRow, ...]) -> tuple[Source, ...]:
    references = dict.fromkeys(reference for row in found for reference in row.references)
    return tuple(dict.fromkeys(view.reference_source(reference) for reference in references))


def residual(view: View) -> Iterator[Block]:
    """Chapter 5, Art. 35(7)(d): measures, what remains, and what follows."""
    yield Paragraph(
        text=_(
            "A measure that is only planned lowers no rating. A residual rating below the first one counts only where "
            "a measure against that risk was done by the date of this document."
        )
    )
    found = rows_of(view)
    measures = [(row, measure) for row in found for measure in row.measures]
    if measures:
        yield Table(
            caption=_("Measures"),
            headers=(_("Risk"), view.catalogue.field_label("measure"), _("Owner"), _("Due"), _("Done")),
            rows=tuple(
                (
                    row.title,
                    measure.text,
                    measure.owner or str(ABSENT),
                    shown(measure.due),
                    day(measure.done_on) if measure.done_on else _("planned"),
                )
                for row, measure in measures
            ),
            sources=_sources(view, found),
            wide=True,
        )
    yield Table(
        caption=_("What remains, severity × likelihood"),
        headers=(_("Risk"), _("Before measures"), _("After measures"), _("Consequence")),
        rows=tuple((row.title, rated(row.inherent), rated(row.residual), _consequence(row)) for row in found),
        wide=True,
    )
    for row in found:
        if row.lowered:
            text = _("The rating stated after measures was set aside, because no measure against this risk is done.")
            yield Note(title=row.title, text=text, tone="fail")
    if gaps := [gap for row in found for gap in row.residual_gaps]:
        yield _gaps(gaps)


def _gaps(gaps: Sequence[str]) -> Gap:
    text = "; ".join(dict.fromkeys(gaps))
    return Gap(text=f"{text[:1].upper()}{text[1:]}.")


def _consequence(row: RiskRow) -> str:
    return _("consult the authority; no use") if row.consult else _("none by Article 36")


def consultation(view: View) -> Iterator[Block]:
    """Chapter 6: what follows by Article 36, and what is known of the authority's reply."""
    yield consequence(view)
    if not blocking(rows_of(view)):
        return
    sent, reply = view.text("GDPR-36", "submitted_on"), view.text("GDPR-36", "authority_reply")
    if not sent:
        yield Gap(text=_("When the authority was consulted."))
    rows = ((_("Submitted"), sent or str(ABSENT)), (_("Reply"), reply or str(ABSENT)))
    deadline = view.catalogue.deadlines["GDPR-36-2"]
    yield Facts(
        caption=_("The authority has %(limit)s from %(start)s (%(source)s)")
        % {"limit": deadline.limit, "start": deadline.clock_start, "source": deadline.source},
        rows=rows,
        sources=(view.catalogue_source(),),
    )


def risk_data(view: View) -> list[dict[str, Any]]:
    """The rows of risks as they stand in the report's JSON."""
    return [
        {
            "key": row.key,
            "title": row.title,
            "sources": row.sources,
            "threats": row.threats,
            "impacts": row.impacts,
            "controls": row.controls,
            "inherent": _rating(row.inherent),
            "residual": _rating(row.residual),
            "lowered": row.lowered,
            "prior_consultation": row.consult,
            "measures": [
                {
                    "text": item.text,
                    "owner": item.owner,
                    "due": item.due,
                    "done_on": item.done_on.isoformat() if item.done_on else None,
                }
                for item in row.measures
            ],
            "measured": [
                {
                    "outcome": item.outcome,
                    "sentence": item.sentence,
                    "counts": item.counts,
                    "audit": item.reference.href_id,
                    "evidence_digest": item.reference.digest,
                }
                for item in row.measured
            ],
            "lacking": [*row.inherent_gaps, *row.residual_gaps],
            "contradicted": list(row.clashes),
        }
        for row in rows_of(view)
    ]


def _rating(rating: Rating) -> dict[str, Any]:
    return {
        "severity": rating.severity,
        "likelihood": rating.likelihood,
        "product": rating.product,
        "band": rating.band,
        "stated": rating.stated,
    }
