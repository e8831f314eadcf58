"""Checks of single settings. Whatever is wrong is named, with what it should be."""

from __future__ import annotations

from core.errors import CohortError
from synthetic.simulator.names import GROUP_VALUES


def wrong(name: str, value: object, expected: str) -> CohortError:
    return CohortError(f"The simulator's setting {name} is {value!r}.", remedy=f"Give {expected}.", column=name)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_number(name: str, value: object, least: float, most: float) -> None:
    if not is_number(value) or not least <= value <= most:  # type: ignore[operator]
        raise wrong(name, value, f"a number from {least:g} to {most:g}")


def check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise wrong(name, value, "true or false")


def check_whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise wrong(name, value, f"a whole number from {least} to {most}")


def check_shares(name: str, shares: object, known: tuple[str, ...], *, needed: tuple[str, ...] = ()) -> None:
    if not isinstance(shares, dict):
        raise wrong(name, shares, f"an object with a share for each of {', '.join(known)}")
    for key, share in shares.items():
        if key not in known:
            raise wrong(f"{name}.{key}", share, f"shares for {', '.join(known)}")
        check_number(f"{name}.{key}", share, 0, 1)
    if not set(needed) <= set(shares):
        raise wrong(name, shares, f"a share for every one of {', '.join(needed)}")


def check_prevalence(name: str, shares: dict[str, float]) -> None:
    if not all(0 < share < 1 for share in shares.values()):
        raise wrong(name, shares, "shares between 0 and 1, both excluded")


def check_scanners(name: str, shares: dict[str, float], known: tuple[str, ...]) -> None:
    check_shares(name, shares, known)
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise wrong(name, shares, "shares that add up to 1")


def check_group(name: str, attribute: str, value: str) -> None:
    if not isinstance(attribute, str) or attribute not in GROUP_VALUES:
        raise wrong(f"{name}.attribute", attribute, f"one of {', '.join(GROUP_VALUES)}")
    if value not in GROUP_VALUES[attribute]:
        raise wrong(f"{name}.value", value, f"one of {', '.join(GROUP_VALUES[attribute])}")


def check_some(name: str, values: object, known: tuple[str, ...]) -> None:
    """A tuple of at least one of the known names, each once."""
    if not isinstance(values, tuple) or not values or len({str(value) for value in values}) < len(values):
        raise wrong(name, values, f"a list of at least one of {', '.join(known)}, each once")
    for value in values:
        if value not in known:
            raise wrong(name, value, f"some of {', '.join(known)}")
