"""How a person wants to be told by e-mail: by topic, at which hour, in which time zone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from django.conf import settings

from core import ledger
from core.access import check_role
from core.digests import sha256_bytes
from core.errors import ConflictError
from core.letters import MailRefusedError, check_address
from core.models import NotificationPreference, Role, Topic, User
from core.reach import service

AS_IT_COMES = ""
"""What waits for the person at once, the rest in the digest: no row."""
HOURS = range(24)


def zone_of(user: User) -> ZoneInfo:
    """The person's time zone; that of the installation where none, or none that still exists, was chosen."""
    try:
        return ZoneInfo(user.time_zone or settings.TIME_ZONE)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo(settings.TIME_ZONE)


@cache
def zones() -> tuple[str, ...]:
    """Every IANA name that this machine knows, in order; read once, since it asks the disk for each."""
    return tuple(sorted(name for name in available_timezones() if name not in ("localtime", "Factory")))


@service
def choose_language(*, by: User, language: str) -> None:
    """Write to a person in the language in which they read. A habit of theirs: the ledger does not tell of it.

    Raises:
        ConflictError: there is no such language.
    """
    _check_language(language)
    User.objects.filter(pk=by.pk).update(language=language)


def _check_language(language: str) -> None:
    if language and language not in dict(settings.LANGUAGES):
        raise ConflictError(f"Auscult does not speak '{language}'.", remedy="Choose one of the list.")


def chosen_by(user: User) -> dict[str, str]:
    """For each topic what the person chose; ``AS_IT_COMES`` where nothing."""
    rows = dict(NotificationPreference.objects.filter(user=user).values_list("topic", "mail"))
    return {topic: rows.get(topic, AS_IT_COMES) for topic in Topic.values}


def wants_no_digest(chosen: Mapping[str, str]) -> bool:
    """Whether a person has taken every topic off: then nothing but what is urgent is sent."""
    return all(mail == NotificationPreference.Mail.NEVER for mail in chosen.values())


@service
def set_preferences(
    *, by: User, chosen: Mapping[str, str], digest_hour: int, time_zone: str, language: str = ""
) -> None:
    """Keep what a person chose. A habit of theirs and no act of governance: the ledger does not tell of it.

    Args:
        chosen: By topic ``at_once``, ``digest``, ``never``, or ``AS_IT_COMES``.
        time_zone: IANA name; empty: that of the installation.
        language: Of mails, such as ``de``; empty: that of the installation.

    Raises:
        ConflictError: an unknown topic, choice, hour, time zone or language.
    """
    unknown = set(chosen) - set(Topic.values) or set(chosen.values()) - {*NotificationPreference.Mail.values, ""}
    if unknown:
        raise ConflictError(f"'{sorted(unknown)[0]}' is no topic and no choice.", remedy="Reload the page.")
    if digest_hour not in HOURS:
        raise ConflictError(f"There is no hour {digest_hour}.", remedy="Choose an hour from 0 to 23.")
    if time_zone and time_zone not in zones():
        raise ConflictError(f"'{time_zone}' is no time zone.", remedy="Choose one of the list, such as Europe/Vienna.")
    _check_language(language)
    by_default = [topic for topic, mail in chosen.items() if mail == AS_IT_COMES]
    NotificationPreference.objects.filter(user=by, topic__in=by_default).delete()
    NotificationPreference.objects.bulk_create(
        [
            NotificationPreference(user=by, topic=topic, mail=mail)
            for topic, mail in chosen.items()
            if mail != AS_IT_COMES
        ],
        update_conflicts=True,
        unique_fields=["user", "topic"],
        update_fields=["mail"],
    )
    User.objects.filter(pk=by.pk).update(digest_hour=digest_hour, time_zone=time_zone, language=language)


@service
def set_address(*, person: User, address: str, by: User) -> None:
    """Set where a person's mails go. Administrators may, for anybody.

    Raises:
        DeniedError: ``by`` is no administrator.
        ConflictError: it is no e-mail address.
    """
    check_role(by, Role.ADMINISTRATOR, to="set the e-mail address of a person")
    try:
        check_address(address)
    except MailRefusedError as refusal:
        raise ConflictError(refusal.message, remedy="Give an address such as name@hospital.example.") from refusal
    User.objects.filter(pk=person.pk).update(email=address)
    ledger.record(
        actor=by.username,
        act="account.address_set",
        subject=("User", person.pk),
        payload={"user": person.username, "address_sha256": sha256_bytes(address.encode())},
    )
