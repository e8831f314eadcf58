"""Registering AI systems."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from core import ledger
from core.errors import ConflictError
from core.models import User
from core.reach import service
from models_registry.access import check_may_create_system
from models_registry.models import AISystem, SystemKind


@service
def create_system(
    *,
    name: str,
    provider: str,
    intended_purpose: str,
    risk_class: str,
    kind: str = SystemKind.SYSTEM,
    by: User,
) -> AISystem:
    """Register a system, or a backbone of other systems, under a name that is not taken.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: the name, or its short form, is taken or empty, or there is no such kind.
    """
    check_may_create_system(by)
    name, slug = name.strip(), slugify(name)[:80]
    if not slug or not intended_purpose.strip():
        raise ConflictError("A system needs a name and an intended purpose.", remedy="Fill in both.")
    if kind not in SystemKind.values:
        raise ConflictError(f"'{kind}' is no kind of system.", remedy=f"Use one of: {', '.join(SystemKind.values)}.")
    try:
        with transaction.atomic():
            system = AISystem.objects.create(
                kind=kind,
                name=name,
                slug=slug,
                provider=provider.strip(),
                intended_purpose=intended_purpose.strip(),
                risk_class=risk_class.strip(),
                created_by=by,
            )
    except IntegrityError as error:
        raise ConflictError(
            f"There is already a system called '{name}'.", remedy="Open it and register a new version there."
        ) from error
    ledger.record(
        actor=by.username,
        act="system.registered",
        subject=("AISystem", system.pk),
        payload={"name": name, "slug": slug, "kind": str(kind)},
    )
    return system
