"""What people stated, as blocks: points of a form and tables, with state and source, and gaps in their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.utils.translation import gettext as _

from governance.reports.blocks import Block, Note, Paragraph, Source, Table
from governance.reports.view import View
from governance.reports.wording import shown
from governance.rules import table_columns
from governance.rules.agreement import SAME
from governance.rules.values import plain, rows_of
from governance.statuses import State


@dataclass(frozen=True, kw_only=True)
class Point:
    """One line of a form: what it asks for and which required field answers it."""

    label: str
    requirement: str
    field: str


def points_of(view: View, requirement: str, *, number: str = "") -> tuple[Point, ...]:
    """Every required field of a requirement as a point; ``number`` stands before each label."""
    fields = view.judgement(requirement).requirement.required_fields
    labels = [view.catalogue.field_label(field.name) for field in fields]
    numbered = [f"{number} {label}".strip() for label in labels]
    return tuple(
        Point(label=label, requirement=requirement, field=field.name)
        for label, field in zip(numbered, fields, strict=True)
    )


def form(view: View, caption: str, points: Iterable[Point], *, named: bool = True) -> Block:
    """A form that was filled in as far as anybody stated it: item, content, state of the requirement behind it.

    Where no line of it is asked for, that is said once instead. ``named`` says in each line which requirement it is of,
    where they are several.
    """
    points = tuple(points)
    requirements = tuple(dict.fromkeys(point.requirement for point in points))
    judgements = [view.judgement(key) for key in requirements]
    if all(item.state is State.NOT_APPLICABLE for item in judgements):
        reasons = " ".join(dict.fromkeys(item.reason for item in judgements))
        told = {"what": caption, "ids": ", ".join(requirements), "reason": reasons}
        return Paragraph(text=_("%(what)s (%(ids)s). Not asked for: %(reason)s") % told)
    one = len(requirements) == 1
    return Table(
        caption=f"{caption} ({requirements[0]})" if one else caption,
        headers=(_("Item"), _("Content"), _("State")),
        rows=tuple(_line(view, point, named=named and not one) for point in points),
        sources=_sources(view, points),
        states=(2,),
    )


def _line(view: View, point: Point, *, named: bool) -> tuple[str, str, str]:
    state = view.judgement(point.requirement).state
    text = view.text(point.requirement, point.field)
    if not text and state is State.NOT_APPLICABLE:
        text = _("Not asked for; the reason stands with the requirement.")
    text = text or nothing_held(view, point.requirement)
    return f"{point.label} ({point.requirement})" if named else point.label, text, state.value


def nothing_held(view: View, requirement: str) -> str:
    """Why nothing stands in a place: it is missing, not asked for, or nobody knows whether it is."""
    judgement = view.judgement(requirement)
    if judgement.state is State.NOT_APPLICABLE:
        return _("Not asked for: %(reason)s") % {"reason": judgement.reason}
    if judgement.state is State.UNKNOWN:
        return _("Missing. Whether it is owed is not known: %(reason)s") % {"reason": judgement.reason}
    if judgement.state is State.COMPLETE:
        return _("Not needed here.")
    return _("Missing: nothing accepted is held.")


def _sources(view: View, points: Iterable[Point]) -> tuple[Source, ...]:
    found = (view.field(point.requirement, point.field) for point in points)
    return tuple(dict.fromkeys(source for value in found if value for source in view.field_source(value)))


def stated_table(view: View, requirement: str, field: str, caption: str) -> Block:
    """A field of type table as a table; where there is none, a gap or why none is asked for."""
    value = view.field(requirement, field)
    rows = rows_of(value.value) if value else []
    if value is None or not rows:
        return absence(view, requirement, caption)
    columns = [name.removesuffix("?") for name in table_columns(requirement, field)]
    columns += [name for name in dict.fromkeys(key for row in rows for key in row) if name not in columns]
    return Table(
        caption=caption,
        headers=tuple(view.catalogue.field_label(name) for name in columns),
        rows=tuple(tuple(shown(row[name]) if row.get(name) else "—" for name in columns) for row in rows),
        sources=view.field_source(value),
        wide=len(columns) > 3,
    )


def stated_text(view: View, requirement: str, field: str, what: str) -> Block:
    """A field as a paragraph with its source; where there is none, a gap or why none is asked for."""
    value = view.field(requirement, field)
    if value is None:
        return absence(view, requirement, what)
    return Paragraph(text=f"{what}: {shown(value.value)}", sources=view.field_source(value))


def absence(view: View, requirement: str, what: str) -> Block:
    """That something is not here: missing, or not asked for and why."""
    judgement = view.judgement(requirement)
    if judgement.state is State.NOT_APPLICABLE:
        told = {"what": what, "id": requirement, "reason": judgement.reason}
        return Paragraph(text=_("%(what)s (%(id)s) is not asked for: %(reason)s") % told)
    if judgement.state is State.COMPLETE:
        return Paragraph(text=_("%(what)s: not needed here.") % {"what": what})
    return view.gap(requirement, what)


def purposes(view: View) -> tuple[tuple[str, str, Source], ...]:
    """Every place that states the intended purpose: where, the text, the source."""
    found = []
    if registered := view.dossier["system"]["intended_purpose"]:
        found.append((_("Registered with the system"), registered, view.version_source()))
    if view.evidence is not None and view.evidence["system"]["intended_purpose"]:
        source = view.audit_source()
        where = _("As it was at the audit (%(run)s)") % {"run": source.name}
        found.append((where, view.evidence["system"]["intended_purpose"], source))
    for requirement, name in SAME["intended_purpose"]:
        value = view.field(requirement, name)
        if value is not None:
            title = view.judgement(requirement).requirement.title
            source = next(iter(view.field_source(value)), view.version_source())
            found.append((f"{title} ({requirement})", str(value.value), source))
    return tuple(found)


def purpose_blocks(view: View) -> Iterator[Block]:
    """The intended purpose, once where every place says the same; otherwise each text, and that they differ."""
    places = purposes(view)
    if not places:
        yield view.gap("AIA-Art13-3-b-i", _("The intended purpose"))
        return
    sources = tuple(source for _where, _text, source in places)
    if len({plain(text) for _where, text, _source in places}) == 1:
        yield Paragraph(text=places[0][1], sources=tuple(dict.fromkeys(sources)))
        return
    yield Note(
        title=_("The intended purpose is not the same everywhere"),
        text=_(
            "The texts below differ. They must be identical in the instructions for use, the technical documentation, "
            "the registration and the declaration."
        ),
        tone="fail",
    )
    yield Table(
        caption=_("Each place that states the intended purpose"),
        headers=(_("Where"), _("Text")),
        rows=tuple((where, text) for where, text, _source in places),
        sources=tuple(dict.fromkeys(sources)),
        wide=True,
    )
