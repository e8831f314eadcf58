"""The places where a version is used: as people answered, and as the register of deployments says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

HELD = ("running", "suspended")
"""A suspended deployment keeps its place: it may come back, and what is said about the site must still hold."""


def answered_sites(answers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The sites that the questionnaire names, sorted, each once."""
    value = answers.get("sites", {}).get("value") or []
    sites = value.splitlines() if isinstance(value, str) else value
    return sorted({str(site).strip() for site in sites if str(site).strip()})


def held_of(deployments: Iterable[Mapping[str, Any]], digest: str) -> list[Mapping[str, Any]]:
    """Deployments of the version with this digest that run or are suspended."""
    return [row for row in deployments if row["version"]["digest"] == digest and row["status"] in HELD]


def sites_of(
    answers: Mapping[str, Mapping[str, Any]], deployments: Iterable[Mapping[str, Any]], digest: str
) -> list[str]:
    """The answered sites, and those at which the version is deployed though nobody answered them.

    A statement about use is bound to these, so it becomes stale when the version goes live elsewhere; not when it goes
    live at a site that was named before, nor when it is suspended there. Upper and lower case are one name.
    """
    answered = answered_sites(answers)
    return sorted({*answered, *unanswered(answered, (str(row["site"]) for row in held_of(deployments, digest)))})


def unanswered(answered: Iterable[str], sites: Iterable[str]) -> list[str]:
    """Those of some sites that no answer names, each once."""
    known = {name.strip().casefold() for name in answered}
    found = {site.strip().casefold(): site.strip() for site in sites if site.strip()}
    return sorted(site for key, site in found.items() if key not in known)
