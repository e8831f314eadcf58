"""Facts that must be the same wherever they are stated: each group names the fields that hold one fact."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from governance.rules import Facts
from governance.rules.values import date_of, is_empty, plain

SAME: dict[str, tuple[tuple[str, str], ...]] = {
    "intended_purpose": (
        ("AIA-AnnexIV-1-a", "intended_purpose"),
        ("AIA-Art13-3-b-i", "intended_purpose"),
        ("AIA-AnnexVIII-A-5", "purpose"),
        ("AIA-AnnexVIII-B", "purpose"),
    ),
    "retention_period": (("AIA-Art19", "retention_period"), ("AIA-Art26-6", "retention_period")),
    "mdr_class": (
        ("AIA-Art6-1", "mdr_class"),
        ("MDR-R11", "mdr_class"),
        ("MDR-86", "mdr_class"),
        ("AIA-Art47-3", "mdr_class"),
    ),
    "version": (("AIA-AnnexIV-1-a", "version"), ("AIA-AnnexV-1", "version")),
    "provider_name": (("AIA-AnnexIV-1-a", "provider_name"), ("AIA-AnnexV-2", "name")),
    "provider_address": (("AIA-AnnexIV-1-a", "provider_address"), ("AIA-AnnexV-2", "address")),
    "provider_contact": (("AIA-Art13-3-a", "provider_contact"), ("AIA-AnnexVIII-A-1", "provider_contact")),
    "trade_name": (
        ("AIA-AnnexV-1", "system_name"),
        ("AIA-AnnexVIII-A-4", "trade_name"),
        ("AIA-AnnexVIII-B", "trade_name"),
    ),
    "condition": (("AIA-Art6-3", "condition"), ("AIA-AnnexVIII-B", "condition")),
    "first_placing_date": (("AIA-Art111-2", "first_placing_date"), ("AIA-Art50-2", "first_placing_date")),
    "threat_model": (("AIA-AnnexIV-2-h", "threat_model"), ("AIA-Art15-5", "threat_model")),
    "ropa_entry": (("AIA-Art4a", "ropa_entry"), ("GDPR-30", "ropa_entry")),
    "basic_udi_di": (("AIA-Art47-3", "basic_udi_di"), ("MDR-29", "basic_udi_di")),
    "udi_di": (("AIA-AnnexV-1", "udi_di"), ("MDR-29", "udi_di")),
    "nb_number": (("AIA-AnnexV-7", "nb_number"), ("AIA-Art48", "nb_number"), ("AIA-Art43-3", "notified_body_id")),
    "certificate_no": (("AIA-AnnexV-7", "certificate_no"), ("AIA-AnnexVIII-A-8", "certificate_no")),
    "declaration": (("AIA-AnnexIV-8", "declaration"), ("AIA-AnnexVIII-A-11", "declaration")),
    "annex_iii_point": (("AIA-Art27-1-scope", "annex_iii_point"), ("AIA-Art49-1", "annex_iii_point")),
    "ifu_version_used": (("AIA-Art26-9", "ifu_version_used"), ("AIA-Art27-1-d", "ifu_version_used")),
}
"""Fact -> the fields that state it, by requirement."""


def disagreements(facts: Facts) -> dict[str, tuple[str, ...]]:
    """For each requirement whose accepted statement differs from another's about the same fact: one sentence each."""
    found: dict[str, tuple[str, ...]] = {}
    for fact, places in SAME.items():
        told = [(key, name, facts.values(key).get(name)) for key, name in places]
        told = [(key, name, value) for key, name, value in told if not is_empty(value)]
        if len({_comparable(fact, value) for _key, _name, value in told}) < 2:
            continue
        words = _("%(field)s is not the same everywhere: %(places)s.") % {
            "field": facts.catalogue.field_label(told[0][1]),
            "places": "; ".join(f"{key} “{value}”" for key, _name, value in told),
        }
        for key, _name, _value in told:
            found[key] = (*found.get(key, ()), words)
    return found


def _comparable(fact: str, value: Any) -> str:
    text = plain(value)
    return text.removeprefix("class ") if fact == "mdr_class" else text


PAST = frozenset(
    {
        "advice_date",
        "aware_at",
        "checked_on",
        "complete_sent_at",
        "completed_on",
        "decided_on",
        "detected_at",
        "informed_on",
        "initial_sent_at",
        "last_psur",
        "last_review",
        "last_session",
        "last_test",
        "legal_status_checked_on",
        "link_established_at",
        "mandate_date",
        "mapping_checked_on",
        "notified_at",
        "notified_on",
        "oj_check_date",
        "provider_informed_at",
        "received_on",
        "reported_at",
        "review_date",
        "signed_on",
        "submitted_on",
        "suspected_at",
        "thresholds_fixed_on",
    }
)
"""Fields that tell of what has happened: a day after the dossier's own contradicts them."""


def lies_ahead(facts: Facts, name: str, value: Any) -> bool:
    """Whether a field tells as done what has not happened yet. A signature's day counts like a date."""
    told = value.get("signed_on") if isinstance(value, dict) else value
    day = date_of(told) if name in PAST or isinstance(value, dict) else None
    return day is not None and day > facts.as_of.date()
