"""What the templates of outlined reports print: blocks, requirements and cover as words and rows. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from governance.reports.annexes import (
    Chapter,
    SourceIndex,
    applies_from,
    digests,
    index_sources,
    sources_table,
)
from governance.reports.blocks import Block, Facts, Gap, Heading, Note, Paragraph, Picture, Source, Table
from governance.reports.render import unbroken
from governance.reports.view import View, field_text
from governance.reports.wording import ABSENT, STATES, VERDICTS, count, dated, day, inside, moment, shown
from governance.statuses import DONE, FieldValue, Judgement, State, count_states

if TYPE_CHECKING:
    from governance.reports.docx import Chapter as DocxChapter
    from governance.reports.outlined import OutlinedReport

CAUTIONS = {
    "secondary": gettext_lazy("Checked against secondary sources only."),
    "model_knowledge": gettext_lazy("Not checked against a text of the act."),
}
STATUSES = {
    "guidance": gettext_lazy("Guidance: it decides nothing about readiness."),
    "pending": gettext_lazy("Pending: it is no law yet and decides nothing about readiness."),
    "informative": gettext_lazy("Informative: it decides nothing about readiness."),
}
OWNERS = {
    "auditor": gettext_lazy("an auditor, by an audit"),
    "dpo": gettext_lazy("the data protection officer"),
    "ml_engineer": gettext_lazy("the provider's engineers"),
    "clinician_lead": gettext_lazy("the clinical lead of the deployer"),
    "committee_chair": gettext_lazy("the chair of the committee"),
}
"""Roles as a judgement names them; a person is named as they are."""
WORDS = {**STATES, **VERDICTS}


def page(report: OutlinedReport, view: View, data: Mapping[str, Any], chapters: Sequence[Chapter]) -> dict[str, Any]:
    """The template's context."""
    opening = tuple(report.opening(view))
    index = index_sources(opening, chapters, view)
    judged = [item for chapter in chapters for item in chapter.requirements]
    counts = data["counts"]
    others = len(judged) - sum(counts.values())
    return {
        **frame(report, view, data),
        "headline": unbroken(data.get("headline", "")),
        "tells_verdict": report.tells_verdict and view.evidence is not None,
        "outcome": data.get("outcome", ""),
        "outcome_word": VERDICTS.get(data.get("outcome", ""), ""),
        "states": [(key, word, counts[key]) for key, word in STATES.items()],
        "binding": sum(counts.values()),
        "not_binding": ngettext(
            "%(n)s further requirement is guidance or information and decides nothing.",
            "%(n)s further requirements are guidance or information and decide nothing.",
            others,
        )
        % {"n": count(others)}
        if others
        else "",
        "opening": shown_blocks(opening, index),
        "cover_facts": cover_facts(view),
        "chapters": [_chapter(chapter, index, view) for chapter in chapters],
        "figures": [
            (item.figure.anchor, item.figure.number, item.figure.title)
            for chapter in chapters
            for item in chapter.blocks
            if isinstance(item, Picture)
        ],
    }


def frame(report: Any, view: View, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the page around any report needs: language, name, dates."""
    return {
        "data": data,
        "subject": data["subject"],
        "language": view.language,
        "document_title": f"{report.title}: {view.dossier['system']['name']} {view.dossier['version']['label']}",
        "title": report.title,
        "series": getattr(report, "series", "") or report.title,
        "created": data["as_of"],
        "as_of": moment(view.as_of),
    }


def shown_blocks(blocks: Sequence[Block], index: SourceIndex) -> list[dict[str, Any]]:
    """Blocks as the partial template lays them out."""
    return [_shown(block, index) for block in blocks]


def _shown(block: Block, index: SourceIndex) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": type(block).__name__.lower(),
        "block": block,
        "sources": shown_sources(getattr(block, "sources", ()), index),
    }
    if isinstance(block, Table):
        told["headers"] = [(text, column in block.numeric) for column, text in enumerate(block.headers)]
        told["rows"] = [[_cell(text, column, block) for column, text in enumerate(row)] for row in block.rows]
    if isinstance(block, Facts):
        told["rows"] = [(name, text, name in block.digests) for name, text in block.rows]
    if isinstance(block, Paragraph | Note):
        told["text"] = unbroken(block.text)
    return told


def _cell(text: str, column: int, block: Table) -> dict[str, Any]:
    state = column in block.states and text in WORDS
    return {
        "text": WORDS[text] if state else text if column in block.numeric else unbroken(text),
        "state": text if state else "",
        "number": column in block.numeric,
        "head": column == 0,
        "empty": text == "",
    }


def shown_sources(sources: Sequence[Source], index: SourceIndex) -> list[dict[str, Any]]:
    """Sources as they are printed after a block: name, number in the annex, and the start of the digest."""
    return [
        {"number": index.number(item), "name": item.name, "kind": item.kind, "digest": item.digest[:12]}
        for item in dict.fromkeys(sources)
    ]


def _chapter(chapter: Chapter, index: SourceIndex, view: View) -> dict[str, Any]:
    counts = count_states(chapter.requirements)
    binding = sum(counts.values())
    held = binding - counts["missing"] - counts["unknown"]
    return {
        "number": chapter.number,
        "title": chapter.title,
        "anchor": chapter.anchor,
        "annex": chapter.annex,
        "first": chapter.number == "A" and chapter.annex,
        "states": [(key, inside(str(word)), counts[key]) for key, word in STATES.items() if counts[key]],
        "missing": bool(binding) and not held,
        "blocks": shown_blocks(chapter.blocks, index),
        "requirements": [
            requirement(item, index, view, with_fields=not chapter.tells_fields) for item in chapter.requirements
        ],
        "listing": [
            {"number": number, "name": source.name, "digests": digests(source)}
            for source, number in index.numbers.items()
        ]
        if chapter.sources
        else [],
        "sources": chapter.sources,
    }


def requirement(judgement: Judgement, index: SourceIndex, view: View, *, with_fields: bool = True) -> dict[str, Any]:
    """One requirement as it is printed; without its fields where the chapter has told them."""
    item, told = judgement.requirement, judgement.accepted or judgement.statement
    filled = [value for value in judgement.fields if with_fields and value.value is not None]
    open_state = judgement.state not in DONE
    return {
        "id": item.id,
        "title": item.title,
        "article": item.article,
        "rule": item.completeness_rule,
        "state": judgement.state.value,
        "word": STATES[judgement.state.value],
        "applies": applies_from(item.applies_from),
        "caution": CAUTIONS.get(item.verified, ""),
        "status": STATUSES.get(item.status, ""),
        "note": item.note,
        "reason": dated(judgement.reason),
        "held": [dated(text.rstrip(".")) for text in judgement.held],
        "lacking": [dated(text.rstrip(".")) for text in judgement.lacking],
        "contradicted": [dated(text) for text in judgement.contradicted],
        "stale": [dated(text) for text in judgement.stale],
        "references": shown_sources([view.reference_source(one) for one in judgement.references], index),
        "fields": [
            (value.label, field_text(value), shown_sources(view.field_source(value), index))
            for value in filled
            if not is_table(value.value)
        ],
        "tables": shown_blocks([_field_table(value, view) for value in filled if is_table(value.value)], index),
        "owner": str(OWNERS.get(judgement.owner, judgement.owner)) if open_state else "",
        "statement": _statement(told) if told and (told["text"] or told["status"] == "draft") else None,
        "draft": bool(told and told["status"] == "draft"),
        "generated": bool(told and told["generated"]),
    }


def is_table(value: Any) -> bool:
    """Whether a field's value is rows of named cells."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) and row for row in value)


def _field_table(value: FieldValue, view: View) -> Table:
    columns = list(dict.fromkeys(name for row in value.value for name in row))
    return Table(
        caption=value.label,
        headers=tuple(view.catalogue.field_label(name) for name in columns),
        rows=tuple(tuple(shown(row[name]) if name in row else "" for name in columns) for row in value.value),
        sources=view.field_source(value),
    )


def _statement(told: Mapping[str, Any]) -> dict[str, str]:
    said = {"person": told["author"], "moment": moment(told["written_at"]), "revision": told["revision"]}
    if told["status"] == "accepted":
        said |= {"decider": told["decided_by"], "decided": moment(told["decided_at"])}
        by = _("Written by %(person)s, %(moment)s; accepted by %(decider)s, %(decided)s (revision %(revision)s)")
        if told["generated"]:
            by = _(
                "Proposed by a program for %(person)s, %(moment)s; accepted by %(decider)s, %(decided)s "
                "(revision %(revision)s)"
            )
        return {"text": told["text"], "by": by % said, "state": "accepted"}
    by = _(
        "There is a draft by %(person)s, %(moment)s (revision %(revision)s). Nobody has accepted it: it is not "
        "printed and counts for nothing."
    )
    if told["generated"]:
        by = _(
            "There is a draft that a program proposed for %(person)s, %(moment)s (revision %(revision)s). Nobody has "
            "accepted it: it is not printed and counts for nothing."
        )
    return {"text": "", "by": by % said, "state": "draft"}


def cover_facts(view: View) -> list[tuple[str, str, bool]]:
    """Rows of the cover: name, text, whether it is a digest."""
    return list(_cover_facts(view))


def _cover_facts(view: View) -> Iterator[tuple[str, str, bool]]:
    system, version, cohort = (view.dossier[key] for key in ("system", "version", "cohort"))
    yield _("Provider"), system["provider"] or str(ABSENT), False
    yield _("Class, as declared"), system["risk_class"] or str(ABSENT), False
    label = _("%(label)s (adapter %(adapter)s)") % {"label": version["label"], "adapter": version["adapter"]}
    yield _("Version"), label, False
    yield _("Version digest"), version["digest"], True
    if view.evidence is not None:
        cohort, protocol = view.evidence["cohort"], view.evidence["protocol"]
        yield _("Audited cohort"), cohort_size(cohort), False
        yield _("Cohort digest"), cohort["digest"], True
        yield _("Protocol"), protocol["title"], False
        yield _("Protocol digest"), protocol["digest"], True
        yield _("Evidence digest"), view.evidence_digest, True
        yield _("Result digest"), view.evidence["result_digest"], True
    elif cohort:
        yield _("Newest audit's cohort"), cohort_size(cohort), False
        yield _("Cohort digest"), cohort["digest"], True
    yield _("Dossier digest"), view.dossier_digest, True
    yield _("As of"), moment(view.as_of), False
    yield _("Issued by"), view.issued_by, False
    ledger = view.dossier["ledger"]
    entries = _("%(n)s entries, root %(root)s") % {"n": count(ledger["size"]), "root": ledger["root"]}
    yield _("Ledger"), entries, True
    catalogue = view.catalogue
    told = {"version": catalogue.version, "day": day(catalogue.as_of), "digest": catalogue.digest}
    yield _("Requirements"), _("catalogue %(version)s of %(day)s") % told, False
    yield _("Catalogue digest"), catalogue.digest, True
    none = _("None on this file. A signed bundle, where one is issued, carries its SHA-256.")
    yield _("Signature"), view.certificate or none, False


def cohort_size(cohort: Mapping[str, Any]) -> str:
    """``Name: 5,210 studies of 2,000 patients``."""
    return _("%(name)s: %(studies)s studies of %(patients)s patients") % {
        "name": cohort["name"],
        "studies": count(cohort["n_studies"]),
        "patients": count(cohort["n_patients"]),
    }


def docx_chapters(view: View, opening: tuple[Block, ...], chapters: Sequence[Chapter]) -> list[DocxChapter]:
    """The same document as plain blocks, for a file that is edited."""
    from governance.reports.docx import Chapter as DocxChapter

    index = index_sources(opening, chapters, view)
    counts = count_states(tuple(item for chapter in chapters for item in chapter.requirements))
    told = [(str(word), count(counts[key])) for key, word in STATES.items()]
    facts = Facts(
        caption=_("What this document is about"), rows=tuple((name, text) for name, text, _digest in cover_facts(view))
    )
    cover = Facts(caption=_("States of the binding requirements"), rows=tuple(told))
    rows = [DocxChapter(number="", title=_("Summary"), blocks=(*opening, cover, facts))]
    for chapter in chapters:
        blocks = list(chapter.blocks)
        if chapter.sources:
            blocks = [sources_table(index)]
        for item in chapter.requirements:
            blocks += _as_blocks(item, index, view, with_fields=not chapter.tells_fields)
        rows.append(DocxChapter(number=chapter.number, title=chapter.title, blocks=tuple(blocks)))
    return rows


def _as_blocks(judgement: Judgement, index: SourceIndex, view: View, *, with_fields: bool) -> Iterator[Block]:
    told = requirement(judgement, index, view, with_fields=with_fields)
    yield Heading(text=f"{told['id']}: {told['title']}")
    rows: list[tuple[str, str]] = [(_("State"), str(told["word"]))]
    from_when = _("%(article)s, applies from %(date)s") % {"article": told["article"], "date": told["applies"]}
    rows.append((_("Rule"), f"{from_when}. {told['rule']}"))
    for name, texts in (
        (_("Reason"), [told["reason"]]),
        (_("Held"), told["held"]),
        (_("Lacking"), told["lacking"]),
        (_("Contradicted"), told["contradicted"]),
        (_("No longer current"), told["stale"]),
    ):
        if any(texts):
            rows.append((name, "\n".join(texts)))
    rows += [(label, text) for label, text, _sources in told["fields"]]
    sources = tuple(view.reference_source(one) for one in judgement.references)
    yield Facts(caption="", rows=tuple(rows), sources=sources)
    if with_fields:
        yield from (_field_table(value, view) for value in judgement.fields if is_table(value.value))
    if said := told["statement"]:
        yield from (Paragraph(text=text) for text in (said["text"], said["by"]) if text)
    elif told["state"] == State.MISSING.value:
        yield Gap(text=_("Nothing is held that shows this."))
