"""The attacks on the privacy of synthetic patients in an assessment: criterion of WP216, row of risks, verdict.

The Article 29 Working Party (Opinion 05/2014, WP216) asks three questions of anything called anonymous: can a person
be singled out, can records be linked, can something be inferred. Each attack answers one of them, or tells beyond them
what was memorised; each feeds at least one row of the table of risks. An attack that was not judged is named: it
answers nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from governance.reports.blocks import Block, Gap, Note, Paragraph, Table
from governance.reports.findings import RANK, metric_title, primary_verdicts
from governance.reports.measured import verdict_note, verdict_table
from governance.reports.view import View
from governance.reports.wording import count, interval, join_words, limit, number

KIND = "synthetic_privacy_audit"
"""The kind of evidence that holds attacks."""


def attack_blocks(view: View, audit: Mapping[str, Any], evidence: dict[str, Any], risk: str) -> Iterator[Block]:
    """The attacks of one audit that feed one risk: the criterion of each, and what it found."""
    from synthetic.suites.privacy_meanings import MEANINGS

    mine = {metric for metric, meaning in MEANINGS.items() if risk in meaning.rows}
    primary = primary_verdicts(evidence)
    judged = [item for item in primary if item["metric"] in mine]
    if judged:
        yield Table(
            caption=_("Attacks that feed this risk"),
            headers=(
                _("Attack"),
                _("Criterion (WP216)"),
                _("Allowed"),
                _("Value"),
                _("Interval"),
                "n",
                _("Verdict"),
            ),
            rows=tuple(_row(item) for item in judged),
            sources=(view.audit_source(audit),),
            numeric=(3, 4, 5),
            states=(6,),
            wide=True,
        )
        for item in judged:
            if item["outcome"] != "pass":
                yield verdict_note(item)
    # Criteria of the same protocol on anything else, such as attacks of an installed suite, stand under every risk.
    if others := [item for item in primary if item["metric"] not in MEANINGS]:
        yield verdict_table(evidence, others, view.audit_source(audit))
    if left := _titles(mine - {item["metric"] for item in judged}):
        text = _(
            "Attacks that audit %(run)s did not judge as primary criteria, and which therefore show nothing: %(a)s."
        )
        yield Gap(text=text % {"run": audit["run"], "a": left})


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    from synthetic.suites.privacy_meanings import MEANINGS

    return (
        metric_title(item["metric"]),
        criterion_word(MEANINGS[item["metric"]].criterion),
        limit(item),
        number(item["value"]),
        interval(item["low"], item["high"]),
        count(item["n"]),
        item["outcome"],
    )


def criteria_blocks(view: View) -> Iterator[Block]:
    """The three questions of WP216 with what the newest audit of each protocol answers; nothing where none attacked."""
    audits = _newest(view)
    if not audits:
        return
    yield Paragraph(
        text=_(
            "Opinion 05/2014 of the Article 29 Working Party (WP216) asks three questions of data that are called "
            "anonymous: can a person be singled out, can records of a person be linked, and can something be inferred "
            "about a person. Where one of them is not answered by no, the risks of identification have to be "
            "evaluated. An attack that failed to identify anybody is evidence, and no proof that none ever will."
        )
    )
    yield Table(
        caption=_("The criteria of WP216, and the worst verdict of the attacks on each"),
        headers=(_("Criterion (WP216)"), _("Audit"), _("Attacks"), _("Worst verdict")),
        rows=tuple(row for audit, evidence in audits for row in _answers(audit, evidence)),
        sources=tuple(view.audit_source(audit) for audit, _evidence in audits),
        states=(3,),
    )
    yield _meanings()
    for audit, evidence in audits:
        if opened := [row for row in attack_data(audit, evidence) if row["verdict"] not in ("pass", None)]:
            names = dict.fromkeys(criterion_word(row["criterion"]) for row in opened)
            yield Note(
                title=_("Not shown to be anonymous"),
                text=_(
                    "By audit %(run)s these criteria are not held: %(names)s. What was made must be handled as "
                    "personal data until they are, or until the risk was evaluated and accepted below."
                )
                % {"run": audit["run"], "names": join_words(list(names))},
                tone="fail" if any(row["verdict"] == "fail" for row in opened) else "gap",
            )


def _meanings() -> Table:
    """What each attack asks, and what would happen to a patient where it succeeds."""
    from synthetic.suites.privacy_meanings import MEANINGS

    return Table(
        caption=_("What each attack asks, and what it would mean for a patient"),
        headers=(_("Attack"), _("What it asks"), _("What would happen to a patient")),
        rows=tuple((metric_title(key), _(item.plainly), _(item.risk)) for key, item in MEANINGS.items()),
        wide=True,
    )


def _answers(audit: Mapping[str, Any], evidence: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    from synthetic.suites.privacy_meanings import CRITERIA

    rows = attack_data(audit, evidence)
    for criterion in CRITERIA:
        own = [row for row in rows if row["criterion"] == criterion]
        judged = [row for row in own if row["verdict"] is not None]
        told = _("%(judged)s of %(all)s judged") % {"judged": count(len(judged)), "all": count(len(own))}
        yield criterion_word(criterion), str(audit["run"]), told, _worst(judged)


def _worst(judged: Sequence[Mapping[str, Any]]) -> str:
    """The worst outcome; attacks that were not judged leave the question open."""
    return min((row["verdict"] for row in judged), key=lambda outcome: RANK[outcome], default="insufficient")


def attack_data(audit: Mapping[str, Any], evidence: dict[str, Any]) -> list[dict[str, Any]]:
    """Every attack as it stands in the report's JSON, those that the audit did not judge included."""
    from synthetic.suites.privacy_meanings import MEANINGS

    verdicts = {item["metric"]: item for item in reversed(primary_verdicts(evidence))}
    rows = []
    for metric, meaning in MEANINGS.items():
        found = verdicts.get(metric, {})
        rows.append({
            "audit": audit["run"],
            "metric": metric,
            "criterion": meaning.criterion,
            "risks": list(meaning.rows),
            "value": found.get("value"),
            "low": found.get("low"),
            "high": found.get("high"),
            "verdict": found.get("outcome"),
        })  # fmt: skip
    return rows


def all_attacks(view: View) -> list[dict[str, Any]]:
    """The attacks of the newest audit of each protocol."""
    return [row for audit, evidence in _newest(view) for row in attack_data(audit, evidence)]


def criterion_word(criterion: str) -> str:
    """A criterion of WP216 in a reader's words; what lies beyond the three is told as that."""
    words = {
        "singling out": _("singling out"),
        "linkability": _("linkability"),
        "inference": _("inference"),
        "other": _("beyond the three: membership and memorisation"),
    }
    return words[criterion]


def _newest(view: View) -> list[tuple[Mapping[str, Any], dict[str, Any]]]:
    found: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {}
    for audit, evidence in view.audits(KIND):
        found.setdefault(audit["protocol"]["digest"], (audit, evidence))
    return list(found.values())


def _titles(metrics: set[str]) -> str:
    return join_words(sorted(metric_title(metric) for metric in metrics))
