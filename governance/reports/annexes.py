"""What stands at the end of every report: answers, statements, dates, words, and where everything came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from governance.reports.blocks import Block, Facts, Gap, Paragraph, Source, Table
from governance.reports.view import View
from governance.reports.wording import ABSENT, day, moment
from governance.requirements import TimelineEntry
from governance.statuses import Judgement

CERTAINTY = {"high": gettext_lazy("high"), "medium": gettext_lazy("medium"), "low": gettext_lazy("low")}
STATEMENT_STATES = {
    "draft": gettext_lazy("Draft: it counts for nothing yet"),
    "accepted": gettext_lazy("Accepted"),
    "returned": gettext_lazy("Returned"),
    "withdrawn": gettext_lazy("Withdrawn"),
}


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One chapter or annex: its blocks, then its requirements.

    Attributes:
        sources: This is the annex that lists every source.
        annex: It is no chapter of the catalogue's outline.
        tells_fields: Its blocks give every stated field, so that the requirements do not repeat them.
    """

    number: str
    title: str
    anchor: str
    blocks: tuple[Block, ...] = ()
    requirements: tuple[Judgement, ...] = ()
    sources: bool = False
    annex: bool = False
    tells_fields: bool = False


def lettered(annexes: Iterable[Chapter | tuple[str, tuple[Block, ...]]]) -> tuple[Chapter, ...]:
    """Annexes as chapters A, B, C and on."""
    rows = []
    for position, item in enumerate(annexes):
        letter = chr(ord("A") + position)
        chapter = item if isinstance(item, Chapter) else Chapter(number="", title=item[0], blocks=item[1], anchor="")
        rows.append(replace(chapter, number=letter, anchor=f"annex-{letter.lower()}", annex=True))
    return tuple(rows)


def common_annexes(view: View, chapters: Sequence[Chapter]) -> Iterator[Chapter | tuple[str, tuple[Block, ...]]]:
    """The annexes that every report has."""
    judged = [item for chapter in chapters for item in chapter.requirements]
    if judged:
        yield _("Answers that decided what applies"), tuple(_answers(view, judged))
        yield _("Statements by people"), tuple(_statements(view, judged))
        yield _("Dates and how certain they are"), tuple(_dates(view, judged))
    yield Chapter(number="", title=_("Sources"), anchor="", sources=True)
    yield _("Words used here"), (_glossary(),)


def applies_from(entry: TimelineEntry) -> str:
    """A date of the timeline, with the other reading where there are two."""
    if entry.alternative is None:
        return day(entry.date)
    return _("%(date)s, by another reading %(other)s") % {"date": day(entry.date), "other": day(entry.alternative)}


def _answers(view: View, judged: Sequence[Judgement]) -> Iterator[Block]:
    texts = {key: item.text for key, item in view.questions.items()}
    keys = dict.fromkeys(key for item in judged for key in item.applicability.questions)
    rows = [_answer(view, key, texts.get(key, key)) for key in keys if key in view.dossier["answers"]]
    left = [texts.get(key, key) for key in keys if key not in view.dossier["answers"]]
    if rows:
        yield Table(
            caption=_("Answers to the questionnaire"),
            headers=(_("Question"), _("Answer"), _("Reason"), _("By"), _("On")),
            rows=tuple(rows),
            wide=True,
        )
    if left:
        yield Gap(text=_("Not answered: %(questions)s") % {"questions": " ".join(left)})


def _answer(view: View, key: str, text: str) -> tuple[str, ...]:
    told = view.dossier["answers"][key]
    return (
        text,
        view.answer_text(key),
        told["reason"] or str(ABSENT),
        told["author"],
        moment(told["at"]),
    )


def _statements(view: View, judged: Sequence[Judgement]) -> Iterator[Block]:
    rows = []
    for item in judged:
        told = item.accepted or item.statement
        if told is None:
            continue
        decided = ""
        if told["decided_by"]:
            decided = _("%(person)s, %(moment)s") % {"person": told["decided_by"], "moment": moment(told["decided_at"])}
        rows.append(
            (
                item.requirement.id,
                str(told["revision"]),
                str(STATEMENT_STATES[told["status"]]),
                told["version"],
                _("%(person)s, %(moment)s") % {"person": told["author"], "moment": moment(told["written_at"])},
                decided or "—",
            )
        )
    if not rows:
        yield Gap(text=_("Nobody has stated anything on a requirement of this document."))
        return
    yield Table(
        caption=_("Statements on the requirements of this document, each written by one person and decided by another"),
        headers=(
            _("Requirement"),
            _("Revision"),
            _("State"),
            pgettext("of a model", "Version"),
            _("Written"),
            _("Decided"),
        ),
        rows=tuple(rows),
        numeric=(1,),
        wide=True,
    )


def _dates(view: View, judged: Sequence[Judgement]) -> Iterator[Block]:
    facts = view.catalogue.facts
    yield Paragraph(
        text=_("Legal base: %(base)s. Newest check of the dates: %(check)s. %(disclaimer)s")
        % {"base": facts["legal_base"], "check": facts["newest_check"], "disclaimer": facts["disclaimer"]},
        sources=(view.catalogue_source(),),
    )
    entries = {item.requirement.applies_from.ref: item.requirement.applies_from for item in judged}
    yield Table(
        caption=_("Dates from which the requirements above apply; where there are two readings, both are given"),
        headers=(_("Date"), _("What"), _("Basis"), _("Certainty")),
        rows=tuple(
            (applies_from(entry), entry.what, entry.basis, str(CERTAINTY[entry.confidence]))
            for entry in sorted(entries.values(), key=lambda entry: (entry.date, entry.ref))
        ),
        wide=True,
    )
    legend = facts["verification_legend"]
    yield Facts(
        caption=_("How the requirements were checked against the law"),
        rows=(
            (_("Full text"), legend["primary_text"]),
            (_("Secondary sources only"), legend["secondary"]),
            (_("Not checked"), legend["model_knowledge"]),
        ),
    )


def _glossary() -> Facts:
    words = (
        (_("Cohort"), _("The patients and studies that the version was audited on, fixed by a digest.")),
        (
            _("Criterion"),
            _(
                "A limit for one metric, fixed in the protocol before the audit. Primary criteria decide the outcome; "
                "exploratory ones inform."
            ),
        ),
        (_("Digest"), _("SHA-256 of the content: a name that changes when a single byte does.")),
        (_("Dossier"), _("What was known of the version when this document was asked for, fixed by a digest.")),
        (
            _("Evidence"),
            _("The record of one audit: what was run, on what, by which rules, with every measurement and verdict."),
        ),
        (
            _("Insufficient evidence"),
            _(
                "The data are too few, or the interval too wide, to say whether a criterion holds. "
                "It is never counted as a pass."
            ),
        ),
        (
            _("Interval"),
            _(
                "A range made so that it would hold the true value in the stated share of repeated audits. "
                "The evidence names the method."
            ),
        ),
        (_("Ledger"), _("An append-only record of every act, whose root hash changes when any entry does.")),
        ("n", _("Number of studies that a number rests on.")),
        (
            _("Protocol"),
            _(
                "The rules of an audit, locked to a digest and approved by a person who neither submitted the version "
                "nor ran the audit."
            ),
        ),
        (_("Statement"), _("What a person wrote to show a requirement. It counts once another person accepted it.")),
        (_("Study"), _("One examination of one patient.")),
        (_("Withheld"), _("A count of 1 to 10, or a number that would give one away.")),
    )
    return Facts(caption="", rows=words)


@dataclass
class SourceIndex:
    """Every source of a document once, numbered in the order in which it is first named."""

    numbers: dict[Source, int] = field(default_factory=dict)

    def number(self, source: Source) -> int:
        return self.numbers.setdefault(source, len(self.numbers) + 1)


def index_sources(opening: Sequence[Block], chapters: Sequence[Chapter], view: View) -> SourceIndex:
    """The sources of a document."""
    index = SourceIndex()
    for blocks, judged in [(opening, ()), *((chapter.blocks, chapter.requirements) for chapter in chapters)]:
        for block in blocks:
            for source in getattr(block, "sources", ()):
                index.number(source)
        for item in judged:
            for reference in item.references:
                index.number(view.reference_source(reference))
            for value in item.fields:
                for source in view.field_source(value):
                    index.number(source)
    return index


def sources_table(index: SourceIndex) -> Table:
    """The index as a table, for forms without links."""
    return Table(
        caption=_("Where the numbers and texts of this document come from"),
        headers=(_("No."), _("Source"), _("SHA-256")),
        rows=tuple((str(number), source.name, digests(source)) for source, number in index.numbers.items()),
        wide=True,
    )


def digests(source: Source) -> str:
    """The digests of a source in words; a dash where it has none."""
    told = [source.digest]
    if source.protocol:
        told = [
            _("evidence %(digest)s") % {"digest": source.digest},
            _("protocol %(digest)s") % {"digest": source.protocol},
        ]
    return "\n".join(item for item in told if item) or "—"
