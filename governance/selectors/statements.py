"""Statements as pages show them: their history, the draft that is open, and those that wait for a second person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, QuerySet

from core.access import can
from core.errors import NotFoundError
from core.models import User
from governance.access import check_may_accept_statement
from governance.models import Statement
from governance.requirements import Catalogue, RequiredField, Requirement
from governance.rules import table_columns
from governance.standing.bindings import changes_since
from governance.standing.judgements import FieldValue
from models_registry.models import ModelVersion
from models_registry.selectors import get_version

PEOPLE = ("author", "decided_by", "version")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A field with its value as a page shows it: by kind, with the columns of a table."""

    name: str
    label: str
    kind: str
    value: Any
    columns: tuple[str, ...] = ()
    files: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One statement of a requirement, with what changed since it was written; empty where it is current."""

    statement: Statement
    fields: tuple[Shown, ...]
    stale: tuple[str, ...]

    @property
    def own_state(self) -> str:
        """``stale`` for an accepted one whose ground has changed, else its status."""
        accepted = self.statement.status == Statement.Status.ACCEPTED
        return "stale" if accepted and self.stale else str(self.statement.status)


@dataclass(frozen=True, kw_only=True)
class Awaiting:
    """How many drafts about one version wait for a second person, and since when."""

    version: ModelVersion
    n: int
    since: datetime


def history(
    version: ModelVersion, item: Requirement, dossier: Mapping[str, Any], catalogue: Catalogue
) -> list[Revision]:
    """Every statement about a requirement: of this version newest first, then those accepted for other versions."""
    rows = Statement.objects.filter(version__system=version.system_id, requirement=item.id)
    rows = rows.select_related(*PEOPLE).order_by("-pk")
    own = [row for row in rows if row.version_id == version.pk]
    others = [row for row in rows if row.version_id != version.pk and row.status == Statement.Status.ACCEPTED]
    return [_revision(row, item, dossier, catalogue) for row in (*own, *others[:3])]


def _revision(row: Statement, item: Requirement, dossier: Mapping[str, Any], catalogue: Catalogue) -> Revision:
    known = {field.name: field for field in item.required_fields}
    fields = tuple(
        shown(known.get(name) or RequiredField(name=name, type="text"), value, item.id, catalogue)
        for name, value in row.fields.items()
    )
    return Revision(statement=row, fields=fields, stale=changes_since(row.binding, dossier, item))


def shown(field: RequiredField | FieldValue, value: Any, requirement: str, catalogue: Catalogue) -> Shown:
    """A value by the kind of its field. A value of another kind is shown as plain text."""
    kind = field.type.partition("{")[0]
    if kind == "table" and isinstance(value, list):
        columns = [name.removesuffix("?") for name in table_columns(requirement, field.name)]
        extra = [key for row in value if isinstance(row, dict) for key in row if key not in columns]
        told = tuple(dict.fromkeys((*columns, *extra)))
        return Shown(name=field.name, label=catalogue.field_label(field.name), kind=kind, value=value, columns=told)
    files = tuple(value if isinstance(value, list) else [value]) if kind == "file" else ()
    whole = all(isinstance(file, dict) for file in files)
    plain = {"list": list, "signature": dict, "file": (dict, list)}
    if not whole or (kind in plain and not isinstance(value, plain[kind])):  # type: ignore[arg-type]
        kind = "text"
    return Shown(name=field.name, label=catalogue.field_label(field.name), kind=kind, value=value, files=files)


def open_draft(revisions: list[Revision], version: ModelVersion) -> Statement | None:
    """The draft about this version that nobody has decided; there is one at most."""
    drafts = (row.statement for row in revisions if row.statement.status == Statement.Status.DRAFT)
    return next((row for row in drafts if row.version_id == version.pk), None)


def to_carry(revisions: list[Revision]) -> Statement | None:
    """The newest accepted statement, where what it was written about has changed since."""
    accepted = (row for row in revisions if row.statement.status == Statement.Status.ACCEPTED)
    newest = max(accepted, key=lambda row: row.statement.pk, default=None)
    current = any(row.own_state == Statement.Status.ACCEPTED for row in revisions)
    return newest.statement if newest is not None and not current else None


def get_statement(slug: str, pk: int, requirement: str, statement: int) -> Statement:
    """One statement about a requirement, of any version of the system.

    Raises:
        NotFoundError: there is none.
    """
    version = get_version(slug, pk)
    rows = Statement.objects.filter(version__system=version.system_id, requirement=requirement, pk=statement)
    found = rows.select_related(*PEOPLE).first()
    if found is None:
        raise NotFoundError("There is no such statement.", remedy="Begin at the page of the requirement.")
    return found


def drafts_awaiting(user: User) -> list[Awaiting]:
    """Versions with drafts that this person may accept, longest wait first. Two queries, however many."""
    if not can(check_may_accept_statement, user, Statement()):
        return []
    drafts = Statement.objects.filter(status=Statement.Status.DRAFT).exclude(author=user)
    rows = list(drafts.order_by().values_list("version").annotate(n=Count("pk"), since=Min("written_at")))
    wanted: QuerySet[ModelVersion] = ModelVersion.objects.filter(pk__in=[version for version, _n, _since in rows])
    about = wanted.select_related("system").only("label", "system__name", "system__slug")
    versions = {version.pk: version for version in about}
    found = [Awaiting(version=versions[version], n=n, since=since) for version, n, since in rows]
    return sorted(found, key=lambda row: row.since)
