"""Regulator access: grants, what is opened under them, and links that give a bundle once.

Every view, every download and every refusal is an entry of the ledger about the grant. A refusal is recorded in a
transaction of its own, since what was refused leaves nothing else behind.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, BinaryIO

from django.db import transaction
from django.utils import timezone

from core import ledger
from core.access import check_role
from core.digests import sha256_bytes
from core.errors import AuscultError, ConflictError, DeniedError, DigestMismatchError, NotFoundError
from core.models import Role, User
from core.reach import service
from governance.access import check_may_grant, check_may_use_grant
from governance.models import Bundle, DownloadLink, Grant
from governance.selectors import bundle_path
from governance.selectors.grants import Standing, grants, standing_of
from models_registry.models import AISystem, ModelVersion, VersionStatus

LINK_MINUTES = 15
TOKEN_BYTES = 32
USED = "This link was used before. Each link gives the bundle once."
MAKE_ANOTHER = "Open the bundle on your access page and make a new link."


@dataclass(frozen=True, kw_only=True)
class OpenedBundle:
    """A bundle that a link gave: the file, open at its first byte and checked against its digest."""

    link: DownloadLink
    bundle: Bundle
    file: BinaryIO


def latest_end(today: date) -> date:
    """The last day that a grant given today may name: the same day of the next year."""
    try:
        return today.replace(year=today.year + 1)
    except ValueError:  # 29 February
        return today.replace(year=today.year + 1, day=28)


@service
def give_grant(*, regulator: User, systems: Iterable[AISystem], expires_at: datetime, purpose: str, by: User) -> Grant:
    """Let a regulator see what was issued about these systems, and the requirement status of their versions.

    Raises:
        DeniedError: ``by`` is neither chair nor data protection officer, or would grant to themselves.
        ConflictError: the person is no regulator, no system is named, the end is past or more than a year away, or
            the purpose is empty.
    """
    check_may_grant(by)
    chosen = sorted(set(systems), key=lambda system: system.pk)
    _check_person(regulator, by)
    _check_terms(chosen, expires_at, purpose)
    grant = Grant.objects.create(regulator=regulator, purpose=purpose.strip(), expires_at=expires_at, granted_by=by)
    grant.systems.set(chosen)
    ledger.record(
        actor=by.username,
        act="grant.given",
        subject=("Grant", grant.pk),
        payload={
            "grant": grant.pk,
            "regulator": regulator.username,
            "systems": [system.slug for system in chosen],
            "expires_at": _utc(expires_at),
            "purpose": grant.purpose,
        },
    )
    return grant


def _check_person(regulator: User, by: User) -> None:
    if regulator.pk == by.pk:
        raise DeniedError("Nobody gives access to themselves.", remedy="Ask the chair or the data protection officer.")
    if not (regulator.is_active and regulator.role_grants.filter(role=Role.REGULATOR).exists()):
        raise ConflictError(
            f"{regulator} is not a regulator with an open account.",
            remedy="Ask an administrator to give the account the role Regulator first.",
        )


def _check_terms(systems: list[AISystem], expires_at: datetime, purpose: str) -> None:
    if not systems:
        raise ConflictError("A grant needs at least one system.", remedy="Choose what the regulator may see.")
    if not purpose.strip():
        raise ConflictError(
            "A grant needs a purpose.", remedy="Write what the regulator asked for, and by which right."
        )
    if expires_at <= timezone.now():
        raise ConflictError("The end of the grant is past.", remedy="Choose a day in the future.")
    last = latest_end(timezone.localdate())
    if timezone.localdate(expires_at) > last:
        raise ConflictError(
            "A grant lasts one year at most.",
            remedy=f"Choose {last.day} {last:%b %Y} or a day before it; it can be given again then.",
        )


@service
def revoke_grant(*, grant: Grant, reason: str, by: User) -> Grant:
    """End a grant now. Open pages and unused links under it give nothing from this moment on.

    Raises:
        DeniedError: ``by`` is neither chair nor data protection officer.
        ConflictError: no reason is given, or it was revoked or expired before.
    """
    check_may_grant(by)
    reason = reason.strip()
    if not reason:
        raise ConflictError("A revocation needs a reason.", remedy="Write in a sentence why the access ends.")
    now = timezone.now()
    standing = Grant.objects.filter(pk=grant.pk, revoked_at__isnull=True, expires_at__gt=now)
    if not standing.update(revoked_at=now, revoked_by=by, revocation=reason):
        raise ConflictError("This grant has ended already.", remedy="Reload the page to see since when.")
    unused = DownloadLink.objects.filter(grant=grant.pk, used_at__isnull=True, expires_at__gt=now).count()
    ledger.record(
        actor=by.username,
        act="grant.revoked",
        subject=("Grant", grant.pk),
        payload={"grant": grant.pk, "reason": reason, "links_ended": unused},
    )
    return Grant.objects.get(pk=grant.pk)


def enter_grant(
    *, pk: int, page: str, by: User, version: ModelVersion | None = None, bundle: Bundle | None = None
) -> Grant:
    """Open one page under a grant: checks the grant as it is now, and records the view.

    Args:
        page: Which page, for the ledger: ``requirements``, ``bundle``, ``verifier``.
        version, bundle: What it shows, where it shows one thing.

    Raises:
        NotFoundError: there is no such grant, it is somebody else's, or what is asked for is not under it.
        DeniedError: it was revoked or has expired, or the person is no regulator any more.
    """
    about = {"page": page} | _about(version, bundle)
    with _refusals_recorded(pk, by, about):
        grant = _checked_grant(pk, by, version=version, bundle=bundle)
        _record("grant.viewed", grant, by, about)
    return grant


def enter_system(*, pk: int, slug: str, by: User) -> tuple[Grant, AISystem]:
    """Open the page of one system under a grant; as :func:`enter_grant`, with the system that has this slug."""
    about = {"page": "system", "system": slug}
    with _refusals_recorded(pk, by, about):
        grant = _checked_grant(pk, by)
        system = grant.systems.filter(slug=slug).first()
        if system is None:
            raise _elsewhere()
        _record("grant.viewed", grant, by, about)
    return grant, system


@contextmanager
def _refusals_recorded(pk: int, by: User, about: dict[str, Any]) -> Iterator[None]:
    """A transaction; where it is refused, that is recorded in one of its own, if there is such a grant."""
    try:
        with transaction.atomic():
            yield
    except AuscultError as refusal:
        if Grant.objects.filter(pk=pk).exists():
            _record_refusal("grant.refused", pk, by, about | {"why": refusal.message})
        raise


@service
def enter_overview(*, by: User) -> list[Grant]:
    """A regulator looks at what their grants cover: all they ever had. Each that stands gets its entry."""
    check_role(by, Role.REGULATOR, to="open what was granted to a regulator")
    own = list(grants().filter(regulator=by))
    seen = sorted(grant.pk for grant in own if standing_of(grant) == Standing.ACTIVE)
    about: list[Any] = [(("Grant", pk), {"grant": pk, "page": "overview"}) for pk in seen]
    ledger.record_each(actor=by.username, act="grant.viewed", about=about)
    return own


def create_link(*, grant: Grant, bundle: Bundle, by: User) -> tuple[DownloadLink, str]:
    """Make a link that gives this bundle once within a quarter of an hour. Answers the link and its token.

    The token is not kept: only its SHA-256 is, so nobody who reads the database can use it.

    Raises:
        NotFoundError: the grant is somebody else's, or the bundle is not issued or not under it.
        DeniedError: the grant was revoked or has expired.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        with transaction.atomic():
            grant = _checked_grant(grant.pk, by, bundle=bundle)
            link = DownloadLink.objects.create(
                grant=grant,
                bundle=bundle,
                token_digest=sha256_bytes(token.encode()),
                expires_at=timezone.now() + timedelta(minutes=LINK_MINUTES),
            )
            _record("link.made", grant, by, {"link": link.pk, "until": _utc(link.expires_at)} | _about(None, bundle))
    except AuscultError as refusal:
        _record_refusal("link.refused", grant.pk, by, _about(None, bundle) | {"why": refusal.message})
        raise
    return link, token


def use_link(*, token: str, by: User) -> OpenedBundle:
    """Take the bundle that a link stands for. Of two who use it at once, one gets the file.

    The file is opened and compared with its digest before the link counts as used, so a refusal uses nothing up.

    Raises:
        NotFoundError: no such link was made, or the bundle's file is gone.
        DeniedError: it was made for somebody else, or its grant was revoked or has expired.
        ConflictError: it was used before, or its time is over.
        DigestMismatchError: the file was changed after it was issued.
    """
    about = ("grant__regulator", "grant__granted_by", "bundle__review__version__system")
    link = DownloadLink.objects.select_related(*about).filter(token_digest=sha256_bytes(token.encode())).first()
    try:
        if link is None:
            raise NotFoundError("There is no such download link.", remedy=MAKE_ANOTHER)
        return _take(link, by)
    except AuscultError as refusal:
        facts: dict[str, Any] = {"why": refusal.message}
        if link is not None:
            facts |= {"link": link.pk} | _about(None, link.bundle)
        _record_refusal("download.refused", link.grant_id if link else None, by, facts)
        raise


def _take(link: DownloadLink, by: User) -> OpenedBundle:
    _check_link(link, by)
    file = _checked_file(link.bundle)
    try:
        with transaction.atomic():
            grant = _checked_grant(link.grant_id, by, bundle=link.bundle)
            now = timezone.now()
            unused = DownloadLink.objects.filter(pk=link.pk, used_at__isnull=True, expires_at__gt=now)
            if not unused.update(used_at=now):
                link.refresh_from_db(fields=["used_at", "expires_at"])
                _check_link(link, by)
                raise ConflictError(USED, remedy=MAKE_ANOTHER)
            facts = {"link": link.pk, "digest": link.bundle.digest} | _about(None, link.bundle)
            _record("bundle.downloaded", grant, by, facts)
    except BaseException:
        file.close()
        raise
    return OpenedBundle(link=link, bundle=link.bundle, file=file)


def _check_link(link: DownloadLink, by: User) -> None:
    """Whose it is and whether the grant stands, before what became of the link: the first is the graver reason."""
    if link.grant.regulator_id != by.pk:
        raise DeniedError(
            "This link was made for somebody else.",
            remedy="Sign in as the person who made it, or make a link of your own on your access page.",
        )
    check_may_use_grant(by, link.grant)
    if link.used_at is not None:
        raise ConflictError(USED, remedy=MAKE_ANOTHER)
    if link.expires_at <= timezone.now():
        raise ConflictError(f"This link has expired: it held for {LINK_MINUTES} minutes.", remedy=MAKE_ANOTHER)


def _checked_file(bundle: Bundle) -> BinaryIO:
    """The bundle's file, open, with the bytes that were issued. The very file that was hashed is the one handed on."""
    file = bundle_path(bundle).open("rb")
    if hashlib.file_digest(file, "sha256").hexdigest() != bundle.digest:
        file.close()
        raise DigestMismatchError(
            "The file of this bundle was changed after it was issued, so it is not handed out.",
            remedy="Tell the institution: it has to restore the file. Your link is not used up.",
        )
    file.seek(0)
    return file


def _elsewhere() -> NotFoundError:
    return NotFoundError("This is not under the grant.", remedy="Open your access page: it lists what is.")


def _checked_grant(pk: int, by: User, *, version: ModelVersion | None = None, bundle: Bundle | None = None) -> Grant:
    """The grant as it is now, locked where the database can, so that a revocation comes before or after, not during."""
    grant = (
        Grant.objects.select_for_update(of=("self",), no_key=True)
        .select_related("regulator", "granted_by")
        .filter(pk=pk)
        .first()
    )
    if grant is None or grant.regulator_id != by.pk:
        raise NotFoundError("You hold no such grant.", remedy="Open your access page: it lists every grant you hold.")
    check_may_use_grant(by, grant)
    if version is not None and version.status == VersionStatus.DRAFT:
        raise _elsewhere()
    if bundle is not None:
        if bundle.status != Bundle.Status.ISSUED:
            raise _elsewhere()
        version = bundle.review.version
    if version is not None and not grant.systems.filter(pk=version.system_id).exists():
        raise _elsewhere()
    return grant


def _about(version: ModelVersion | None, bundle: Bundle | None) -> dict[str, Any]:
    """What an entry is about; a bundle brings its version."""
    if bundle is not None:
        return {"bundle": bundle.pk, "version": bundle.review.version.digest}
    return {"version": version.digest} if version is not None else {}


def _record(act: str, grant: Grant, by: User, facts: dict[str, Any]) -> None:
    subject = ("Grant", grant.pk)
    ledger.record(actor=by.username, act=act, subject=subject, payload={"grant": grant.pk} | facts)


@transaction.atomic
def _record_refusal(act: str, grant: int | None, by: User, facts: dict[str, Any]) -> None:
    subject = ("Grant", grant) if grant is not None else ("DownloadLink", "unknown")
    ledger.record(actor=by.username, act=act, subject=subject, payload={"grant": grant} | facts)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
