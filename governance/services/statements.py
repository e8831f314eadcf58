"""Statements: what people state to show a requirement. Written as a draft, decided once, by somebody else.

A decided statement is never changed (the database refuses it): what follows it is another revision. The ledger holds
digests of what was written, never the words, because a statement may name people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from core import ledger
from core.digests import sha256_json, sha256_text
from core.errors import RELOAD, AuscultError, ConflictError
from core.models import User
from core.reach import service
from governance.access import check_may_accept_statement, check_may_state, check_may_withdraw_statement
from governance.dossier import gather_dossier
from governance.models import Statement
from governance.requirements import Requirement, load_requirements
from governance.rules import table_columns
from governance.standing.bindings import binding_of, changes_since
from governance.standing.field_values import check_field, check_text
from models_registry.models import ModelVersion

Status = Statement.Status
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.DRAFT: frozenset({Status.ACCEPTED, Status.RETURNED, Status.WITHDRAWN}),
    Status.ACCEPTED: frozenset(),
    Status.RETURNED: frozenset(),
    Status.WITHDRAWN: frozenset(),
}


@service
def write_statement(
    *,
    version: ModelVersion,
    requirement: str,
    fields: Mapping[str, Any],
    text: str,
    generated: bool = False,
    by: User,
) -> Statement:
    """Write a draft about one requirement for one version. The author's own open draft is withdrawn for it.

    Args:
        fields: Values of the requirement's required fields; some may lack, none may be unknown.
        generated: A program proposed the text. It counts as little as any draft until a person accepts it.

    Raises:
        DeniedError: ``by`` may not state.
        AuscultError: the requirement is unknown, a field is unknown or not of its type, the text is too long, or
            nothing is stated at all.
        ConflictError: somebody else's draft is open.
    """
    check_may_state(by)
    asked = load_requirements().requirement(requirement)
    content = _checked(asked, fields, text)
    statement, replaced = _create(asked, version=version, content=content, generated=generated, by=by)
    payload = _about(statement) | {"generated": generated, "replaces": replaced, "binding": statement.binding}
    _record(statement, "statement.written", payload, by=by)
    return statement


@service
def carry_over(*, statement: Statement, version: ModelVersion, by: User) -> Statement:
    """Write an accepted statement again as a draft of the newest facts, for this version of the same system.

    It counts for nothing until somebody else has checked that it is true of the new version too.

    Raises:
        DeniedError: ``by`` may not state.
        ConflictError: it was not accepted, is of another system, is still current, or a draft is open.
        AuscultError: what it states no longer fits the requirement.
    """
    check_may_state(by)
    if statement.status != Status.ACCEPTED:
        raise ConflictError("Only an accepted statement is carried over.", remedy="Write a new one.")
    if statement.version.system_id != version.system_id:
        raise ConflictError("This statement is about another system.", remedy="Write a new one.")
    asked = load_requirements().requirement(statement.requirement)
    if not changes_since(statement.binding, gather_dossier(version), asked):
        raise ConflictError("This statement is still current.", remedy="Nothing needs to be done.")
    content = _checked(asked, statement.fields, statement.text)
    copy, replaced = _create(asked, version=version, content=content, generated=statement.generated, by=by)
    payload = _about(copy) | {"from": statement.pk, "replaces": replaced, "binding": copy.binding}
    _record(copy, "statement.carried_over", payload, by=by)
    return copy


@service
def accept_statement(*, statement: Statement, remark: str, by: User) -> Statement:
    """Accept a draft: from now on it counts. ``remark`` says what was checked.

    Raises:
        DeniedError: ``by`` wrote it, or may not accept.
        ConflictError: it is no open draft, or what it was written about has changed since.
        AuscultError: the remark is empty or too long.
    """
    check_may_accept_statement(by, statement)
    asked = load_requirements().requirement(statement.requirement)
    if changed := changes_since(statement.binding, gather_dossier(statement.version), asked):
        raise ConflictError(
            f"What this draft was written about has changed. {' '.join(changed)}",
            remedy="Return it, so that it is written again for what stands now.",
        )
    return _decide(statement, to=Status.ACCEPTED, remark=remark, by=by)


@service
def return_statement(*, statement: Statement, remark: str, by: User) -> Statement:
    """Return a draft to its author. ``remark`` says why.

    Raises:
        DeniedError: ``by`` wrote it, or may not decide.
        ConflictError: it is no open draft.
        AuscultError: the remark is empty or too long.
    """
    check_may_accept_statement(by, statement)
    return _decide(statement, to=Status.RETURNED, remark=remark, by=by)


@service
def withdraw_statement(*, statement: Statement, by: User) -> Statement:
    """Take one's own draft back. Raises DeniedError for anybody else's, ConflictError where it is no open draft."""
    check_may_withdraw_statement(by, statement)
    _close(statement, to=Status.WITHDRAWN, remark="", by=by)
    _record(statement, "statement.withdrawn", _about(statement), by=by)
    return statement


def _checked(asked: Requirement, fields: Mapping[str, Any], text: str) -> tuple[dict[str, Any], str]:
    """What is stated, each field checked against its type."""
    known = {field.name: field for field in asked.required_fields}
    if unknown := sorted(set(fields) - set(known)):
        raise AuscultError(
            f"{asked.id} has no field '{unknown[0]}'.", remedy=f"Its fields are {', '.join(known)}.", column=unknown[0]
        )
    checked = {
        name: check_field(field, fields[name], columns=table_columns(asked.id, name) if field.type == "table" else ())
        for name, field in known.items()
        if fields.get(name) is not None
    }
    words = check_text(text, name="text")
    if not checked and not words:
        raise AuscultError("Nothing is stated.", remedy="Fill a field or write a text.")
    return checked, words


def _create(
    asked: Requirement, *, version: ModelVersion, content: tuple[dict[str, Any], str], generated: bool, by: User
) -> tuple[Statement, int | None]:
    """The new draft, and the author's own draft that it took the place of."""
    fields, text = content
    mine = Statement.objects.filter(version=version, requirement=asked.id)
    open_draft = mine.filter(status=Status.DRAFT).select_related("author").first()
    if open_draft is not None:
        if open_draft.author_id != by.pk:
            raise ConflictError(
                f"A draft of {open_draft.author} about {asked.id} is open.",
                remedy="Accept or return it first, or ask its author to withdraw it.",
            )
        _close(open_draft, to=Status.WITHDRAWN, remark="", by=by)
    last = mine.aggregate(last=Max("revision"))["last"] or 0
    try:
        with transaction.atomic():
            statement = Statement.objects.create(
                version=version,
                requirement=asked.id,
                revision=last + 1,
                fields=fields,
                text=text,
                generated=generated,
                binding=binding_of(gather_dossier(version), asked),
                author=by,
            )
    except IntegrityError as error:
        raise ConflictError(f"Somebody else wrote about {asked.id} at this moment.", remedy=RELOAD) from error
    return statement, open_draft.pk if open_draft else None


def _decide(statement: Statement, *, to: str, remark: str, by: User) -> Statement:
    words = check_text(remark, name="remark")
    if not words:
        raise AuscultError(
            "A decision needs a remark.", remedy="Write what you checked, or what has to change.", column="remark"
        )
    _close(statement, to=to, remark=words, by=by)
    payload = _about(statement) | {"author": statement.author.username, "remark_sha256": sha256_text(words)}
    _record(statement, f"statement.{to}", payload, by=by)
    return statement


def _close(statement: Statement, *, to: str, remark: str, by: User) -> None:
    """Leave the state of a draft, once: of two people who decide at the same time, one is too late."""
    before = Statement.objects.filter(pk=statement.pk, status=Status.DRAFT)
    try:
        with transaction.atomic():
            done = before.update(status=to, decided_by=by, decided_at=timezone.now(), remark=remark)
    except IntegrityError as error:
        raise ConflictError("The database refuses this decision: its author took it.", remedy=RELOAD) from error
    if not done:
        raise ConflictError("This statement is no open draft any more.", remedy=RELOAD)
    statement.refresh_from_db()


def _about(statement: Statement) -> dict[str, Any]:
    """What every ledger entry of a statement is bound to."""
    return {
        "version": statement.version.digest,
        "requirement": statement.requirement,
        "revision": statement.revision,
        "content": sha256_json({"fields": statement.fields, "text": statement.text}),
    }


def _record(statement: Statement, act: str, payload: dict[str, Any], *, by: User) -> None:
    ledger.record(actor=by.username, act=act, subject=("Statement", statement.pk), payload=payload)
