"""What the Annex IV template prints: the report's data as words and rows. Nothing is computed or judged here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from governance.reports.base import ReportContext
from governance.reports.cohort_facts import cohort_tables
from governance.reports.figures import Figure, draw_closer_figures, draw_figures
from governance.reports.findings import bare_statement, leading_verdict, metric_title, primary_verdicts
from governance.reports.render import unbroken
from governance.reports.statuses import Judgement, runs_weights, unbound_weights
from governance.reports.wording import (
    ABSENT,
    DECISIONS,
    STATES,
    VERDICTS,
    count,
    day,
    interval,
    levels,
    limit,
    measured,
    moment,
    number,
    spoken,
)
from governance.requirements import Catalogue, TimelineEntry

MOST_ROWS = 400
"""Measurements printed before the rest is left to the attached JSON."""
BODIES = {"0", "1", "2", "3", "6", "10"}
"""Chapters for which the platform holds material of its own to print before the requirements."""
CAUTIONS = {
    "secondary": "Checked against secondary sources only.",
    "model_knowledge": "Not checked against a text of the act.",
}
NAMES = {
    "sbom": "software bill of materials",
    "pmm report": "post-market monitoring report",
    "ui capture": "pictures of the user interface",
    "qms record": "record of the quality management system",
    "ropa record": "record of processing activities",
}


def pages(
    data: dict[str, Any],
    shown: dict[str, Any],
    judgements: Sequence[Judgement],
    catalogue: Catalogue,
    context: ReportContext,
) -> dict[str, Any]:
    """The template's context. ``shown`` is the evidence with small cells hidden."""
    figures = draw_figures(shown, primary_verdicts(shown))
    figures += draw_closer_figures(shown, leading_verdict(shown), after=len(figures))
    rows = _measurement_rows(shown)
    return {
        "data": data,
        "headline": unbroken(data["headline"]),
        "subject": data["subject"],
        "created": data["as_of"],
        "as_of": moment(context.as_of),
        "cover_facts": _cover_facts(data),
        "states": [(key, word, data["counts"][key]) for key, word in STATES.items()],
        "outcome": shown["result"]["outcome"],
        "outcome_word": VERDICTS[shown["result"]["outcome"]],
        "sections": [_section(section, judgements, figures) for section in data["sections"]],
        "figures": figures,
        "interval_word": levels(shown["result"]["measurements"]),
        "run_name": f"run {shown['run']['id']}",
        "criteria": [_criterion(row, shown) for row in shown["result"]["verdicts"]],
        "measurements": rows[:MOST_ROWS],
        "measurements_left": max(0, len(rows) - MOST_ROWS),
        "manifest": sorted(shown["version"]["manifest"].items()),
        "declared": list(flatten(_declared(shown))),
        "runs_weights": runs_weights(shown),
        "unbound_weights": unbound_weights(shown),
        "cohort_tables": cohort_tables(data["cohort"]["summary"]),
        "cohort_facts": _cohort_facts(shown),
        # What a protocol leaves out has no effect; its rows would only hide the others.
        "protocol_facts": [row for row in flatten(shown["protocol"]["body"], skip=("criteria",)) if row[1] != ABSENT],
        "execution_facts": list(flatten(shown["execution"])),
        "cross_checks": [_cross_check(row) for row in shown["result"].get("cross_checks", [])],
        "notes": shown["result"].get("notes", []),
        "review": _review(context),
        "dates": [_date_row(entry) for entry in _dates(judgements)],
        "feeding": [
            (item.id, item.title, catalogue.outline(item.report).title) for item in catalogue.feeding("annex_iv")
        ],
        "legend": catalogue.facts["verification_legend"],
        "disclaimer": catalogue.facts["disclaimer"],
    }


def flatten(value: Any, *, path: str = "", skip: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """A JSON value as rows of (path in words, text). Lists of plain values share one row; nothing is dropped."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if path or key not in skip:
                yield from flatten(item, path=f"{path} › {spoken(str(key))}" if path else spoken(str(key)))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for position, item in enumerate(value, start=1):
            yield from flatten(item, path=f"{path} {position}")
    else:
        yield path, str(value) if path.endswith("seed") else _plain(value)


def _cross_check(row: dict[str, Any]) -> str:
    return (
        f"The point values of {row['cells']:,} cells were computed again with {row['name']} {row['version']}; "
        f"the largest difference is {row['largest_difference']:.1g}."
    )


def _plain(value: Any) -> str:
    if value is None or value == "" or value == [] or value == {}:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return str(value)


def _cover_facts(data: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Rows of the cover: name, text, whether it is a digest."""
    subject = data["subject"]
    system, version, cohort, protocol = (subject[key] for key in ("system", "version", "cohort", "protocol"))
    size = f"{count(cohort['n_studies'])} studies of {count(cohort['n_patients'])} patients"
    return [
        ("Provider", system["provider"] or ABSENT, False),
        ("Class, as declared", system["risk_class"] or ABSENT, False),
        ("Version", f"{version['label']} (adapter {version['adapter']})", False),
        ("Version digest", version["digest"], True),
        ("Audited cohort", f"{cohort['name']}: {size}", False),
        ("Cohort digest", cohort["digest"], True),
        ("Protocol", protocol["title"], False),
        ("Protocol digest", protocol["digest"], True),
        ("Evidence digest", subject["evidence_digest"], True),
        ("Result digest", subject["result_digest"], True),
        ("As of", moment(data["as_of"]), False),
        ("Issued by", data["issued_by"], False),
        ("Ledger", f"{count(subject['ledger']['size'])} entries, root {subject['ledger']['root']}", True),
        (
            "Requirements",
            f"catalogue {data['catalogue']['version']} of {day(data['catalogue']['as_of'])}",
            False,
        ),
        ("Signature", "None on this file. A signed bundle, where one is issued, carries its SHA-256.", False),
    ]


def _section(section: dict[str, Any], judgements: Sequence[Judgement], figures: Sequence[Figure]) -> dict[str, Any]:
    own = [item for item in judgements if item.requirement.section == section["id"]]
    body = f"reports/annex_iv/chapter_{section['id']}.html" if section["id"] in BODIES else ""
    return {
        "id": section["id"],
        "title": section["title"],
        "body": body,
        "states": [(key, word, section["counts"][key]) for key, word in STATES.items() if section["counts"][key]],
        "empty": all(item.state in {"missing", "not_judged"} for item in own),
        "requirements": [_requirement(item) for item in own],
    }


def _requirement(judgement: Judgement) -> dict[str, Any]:
    item = judgement.requirement
    kinds = ", ".join(NAMES.get(spoken(kind), spoken(kind)) for kind in item.evidence)
    return {
        "id": item.id,
        "title": item.title,
        "article": item.article,
        "summary": item.summary,
        "rule": item.completeness_rule,
        "state": judgement.state.value,
        "word": STATES[judgement.state],
        "held": judgement.held,
        "lacking": judgement.lacking,
        "reason": judgement.reason,
        "kinds": kinds,
        "applies": _applies(item.applies_from),
        "caution": CAUTIONS.get(item.verified, ""),
        "note": item.note,
    }


def _applies(entry: TimelineEntry) -> str:
    other = f", by another reading {day(entry.alternative.isoformat())}" if entry.alternative else ""
    return f"{day(entry.date.isoformat())}{other}"


def _dates(judgements: Sequence[Judgement]) -> list[TimelineEntry]:
    """The dates that the printed requirements apply from, earliest first."""
    entries = {item.requirement.applies_from.ref: item.requirement.applies_from for item in judgements}
    return sorted(entries.values(), key=lambda entry: (entry.date, entry.ref))


def _date_row(entry: TimelineEntry) -> dict[str, str]:
    return {"when": _applies(entry), "what": entry.what, "basis": entry.basis, "confidence": entry.confidence}


def _criterion(verdict: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    titles = {item.get("id"): item.get("title") for item in shown["protocol"]["body"].get("criteria", [])}
    return {
        "name": titles.get(verdict["criterion"]) or metric_title(verdict["metric"]),
        "kind": "primary" if verdict["primary"] else "exploratory",
        "label": spoken(verdict["label"]),
        "attribute": spoken(verdict["attribute"]) or "all studies",
        "limit": limit(verdict),
        "value": number(verdict["value"]),
        "interval": interval(verdict["low"], verdict["high"]),
        "n": count(verdict["n"]),
        "outcome": verdict["outcome"],
        "word": VERDICTS[verdict["outcome"]],
        "statement": unbroken(bare_statement(verdict)),
        "needed": verdict.get("needed", ""),
    }


def _measurement_rows(shown: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "metric": metric_title(item["metric"]),
            "label": spoken(item["label"]),
            "attribute": spoken(item["attribute"]) or "all studies",
            "group": item["group"] or "none",
            "value": measured(item),
            "interval": interval(item["low"], item["high"]),
            "n": count(item["n"]),
            "patients": count(item.get("patients")),
            "reason": item["reason"] if item["value"] is None else "",
            "note": item["reason"] if item["value"] is not None else "",
        }
        for item in shown["result"]["measurements"]
    ]


def _declared(shown: dict[str, Any]) -> dict[str, Any]:
    """What the adapter declared of the version, details last and without their heading."""
    config = dict(shown["version"]["config"])
    details = config.pop("details", None)
    return config | (details if isinstance(details, dict) else {})


def _cohort_facts(shown: dict[str, Any]) -> list[tuple[str, str]]:
    cohort = shown["cohort"]
    return [
        ("Name", cohort["name"]),
        ("Patients", "simulated: no real patient is in it" if cohort["simulated"] else "real"),
        ("Studies", count(cohort["n_studies"])),
        ("Number of patients", count(cohort["n_patients"])),
        ("Source", cohort.get("source") or ABSENT),
        ("Licence", cohort.get("licence") or ABSENT),
    ]


def _review(context: ReportContext) -> dict[str, Any] | None:
    review = context.review
    if review is None:
        return None
    return {
        "status": review.status,
        "word": DECISIONS.get(review.status, review.status),
        "opened": f"{moment(review.opened_at)} by {review.opened_by}",
        "closed": moment(review.closed_at),
        "quorum": review.quorum,
        "excluded": ", ".join(review.excluded) or ABSENT,
        "votes": [
            {
                "voter": vote.voter,
                "word": DECISIONS.get(vote.choice, vote.choice),
                "rationale": vote.rationale,
                "cast": moment(vote.cast_at),
            }
            for vote in review.votes
        ],
    }
