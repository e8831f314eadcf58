"""Who fills which required role, when each person fills one at most. Pure: no database is asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def filled(required: Sequence[str], held: Sequence[Collection[str]]) -> dict[str, int]:
    """The most of the required roles that these people can fill: each role with the index of whoever fills it.

    A bipartite matching by augmenting paths, so that somebody who holds two roles is put where nobody else can stand.

    Args:
        required: Roles, each to be filled by another person.
        held: The roles that each person holds.
    """
    taken: dict[int, str] = {}

    def place(role: str, tried: set[int]) -> bool:
        for index, roles in enumerate(held):
            if role not in roles or index in tried:
                continue
            tried.add(index)
            if index not in taken or place(taken[index], tried):
                taken[index] = role
                return True
        return False

    for role in required:
        place(role, set())
    return {role: index for index, role in taken.items()}
