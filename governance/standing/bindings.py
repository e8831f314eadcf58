"""What a statement or an audit is about, and whether that is still so.

A statement is bound to the version it was written for; to the cohort, where the requirement's evidence is about data;
to the sites, where it is about use at them; and to the entry of the timeline that says from when the requirement
applies. When any of them changes, it is stale: it may still be true, but a person has to say so again. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from governance.requirements import Requirement

ABOUT_DATA = frozenset(
    {
        "fairness_audit",
        "performance_evaluation",
        "calibration_report",
        "robustness_audit",
        "hallucination_check",
        "explainability_audit",
        "drift_monitoring",
        "synthetic_privacy_audit",
        "dataset_datasheet",
        "clinical_evaluation",
    }
)
"""Kinds of evidence that speak of a cohort."""
ABOUT_SITES = frozenset(
    {
        "deployment_record",
        "training_record",
        "access_control_record",
        "consultation_record",
        "processor_contract",
        "ropa_record",
    }
)
"""Kinds of evidence that speak of the places where the system is used."""


def binding_of(dossier: Mapping[str, Any], requirement: Requirement) -> dict[str, Any]:
    """What something written now about a requirement is bound to; kept with it as JSON.

    ``cohort`` and ``sites`` are None where the requirement does not speak of them; a cohort also where none was
    audited yet.
    """
    kinds, cohort, applies = set(requirement.evidence), dossier["cohort"], requirement.applies_from
    alternative = applies.alternative.isoformat() if applies.alternative else None
    return {
        "version": dossier["version"]["digest"],
        "cohort": cohort["digest"] if cohort and kinds & ABOUT_DATA else None,
        "sites": sorted(dossier["sites"]) if kinds & ABOUT_SITES else None,
        "timeline": [applies.ref, applies.date.isoformat(), alternative],
    }


def changes_since(binding: Mapping[str, Any], dossier: Mapping[str, Any], requirement: Requirement) -> tuple[str, ...]:
    """What changed since something was bound, one sentence each; empty where it is current."""
    if not binding:
        return (_("It is not known which version this was written about."),)
    now, found = binding_of(dossier, requirement), []
    if binding.get("version") != now["version"]:
        found.append(_version_changed(binding.get("version"), dossier))
    if binding.get("cohort") != now["cohort"]:
        found.append(_cohort_changed(binding.get("cohort"), now["cohort"], dossier))
    if binding.get("sites") != now["sites"]:
        found.append(_sites_changed(binding.get("sites") or [], now["sites"] or []))
    if list(binding.get("timeline") or []) != now["timeline"]:
        found.append(_timeline_changed(binding.get("timeline") or [], now["timeline"]))
    return tuple(found)


def _version_changed(old: Any, dossier: Mapping[str, Any]) -> str:
    version = dossier["version"]
    labels = {row["digest"]: row["label"] for row in dossier["versions"]}
    return _("The version changed from %(old)s to %(new)s on %(day)s.") % {
        "old": labels.get(old) or _short(old),
        "new": version["label"],
        "day": version["submitted_at"][:10],
    }


def _cohort_changed(old: Any, new: Any, dossier: Mapping[str, Any]) -> str:
    audits = [*dossier["audits"], *dossier["earlier_audits"]]
    names = {audit["cohort"]["digest"]: audit["cohort"]["name"] for audit in audits}
    if dossier["cohort"]:
        names[dossier["cohort"]["digest"]] = dossier["cohort"]["name"]
    told = {"old": _cohort_name(old, names), "new": _cohort_name(new, names)}
    if not old:
        return _("No cohort had been audited when this was written; now %(new)s has.") % told
    if not new:
        return _("This was written about the cohort %(old)s; no audit on it is finished for this version.") % told
    return _("The audited cohort changed from %(old)s to %(new)s.") % told


def _cohort_name(digest: Any, names: Mapping[str, str]) -> str:
    return f"{names[digest]} ({_short(digest)})" if digest in names else _short(digest)


def _sites_changed(old: list[str], new: list[str]) -> str:
    none = _("none")
    return _("The sites changed from %(old)s to %(new)s.") % {
        "old": ", ".join(old) or none,
        "new": ", ".join(new) or none,
    }


def _timeline_changed(old: list[Any], new: list[Any]) -> str:
    return _("The date from which this applies changed from %(old)s to %(new)s.") % {
        "old": _dates(old) or _("an unknown one"),
        "new": _dates(new),
    }


def _dates(entry: list[Any]) -> str:
    reference, *dates = entry or [""]
    told = _(" or ").join(str(one) for one in dates if one)
    return f"{told} ({reference})" if told else ""


def _short(digest: Any) -> str:
    return str(digest or "?")[:12]
