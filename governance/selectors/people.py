"""Reading people, their roles and their programs. Nothing here writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet

from core.errors import NotFoundError
from core.models import ApiToken, Invitation, LedgerEntry, Role, RoleGrant, User
from models_registry.models import AISystem


@dataclass(frozen=True, kw_only=True)
class Held:
    """A role that a person holds. ``system``: the one that it is limited to."""

    role: Role
    system: AISystem | None = None

    @property
    def value(self) -> str:
        """As a form sends it."""
        return f"{self.role.value}:{self.system.pk if self.system else 0}"

    @property
    def words(self) -> str:
        return f"{self.role.label} on {self.system.name}" if self.system else str(self.role.label)


def people() -> QuerySet[User]:
    """Everybody with an account, by name."""
    programs = Count("api_tokens", filter=Q(api_tokens__revoked_at=None), distinct=True)
    return User.objects.select_related("merged_into").annotate(n_tokens=programs).order_by("username")


def roles_held(rows: Sequence[User]) -> dict[int, list[Held]]:
    """Roles by person. Two queries, however many people."""
    grants = list(RoleGrant.objects.filter(user__in=rows).order_by("role", "system_key"))
    systems = AISystem.objects.in_bulk({row.system_key for row in grants if row.system_key})
    found: dict[int, list[Held]] = defaultdict(list)
    for row in grants:
        found[row.user_id].append(Held(role=Role(row.role), system=systems.get(row.system_key)))
    return found


def person_by_id(pk: int) -> User:
    """One person.

    Raises:
        NotFoundError: there is nobody with this number.
    """
    found = people().filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no person {pk}.", remedy="Open them from the list of people.")
    return found


def tokens() -> QuerySet[ApiToken]:
    """Tokens of programs, the newest first; never a secret."""
    return ApiToken.objects.select_related("user").order_by("-pk")


def entries_about(person: User) -> QuerySet[LedgerEntry]:
    """What the ledger has on a person's account, the newest first."""
    return LedgerEntry.objects.filter(subject_kind="User", subject_id=str(person.pk)).order_by("-index")


def invitations() -> QuerySet[Invitation]:
    """Invitations, the newest first; never a secret."""
    return Invitation.objects.select_related("invited_by", "accepted_by").order_by("-pk")


def invitation_by_id(pk: int) -> Invitation:
    """One invitation.

    Raises:
        NotFoundError: there is none with this number.
    """
    found = invitations().filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no invitation {pk}.", remedy="Open it from the list of invitations.")
    return found
