"""The Member States and the time zone in which their authorities' days begin and end."""

from __future__ import annotations

from zoneinfo import ZoneInfo

ZONES = {
    "AT": ("Austria", "Europe/Vienna"),
    "BE": ("Belgium", "Europe/Brussels"),
    "BG": ("Bulgaria", "Europe/Sofia"),
    "HR": ("Croatia", "Europe/Zagreb"),
    "CY": ("Cyprus", "Asia/Nicosia"),
    "CZ": ("Czechia", "Europe/Prague"),
    "DK": ("Denmark", "Europe/Copenhagen"),
    "EE": ("Estonia", "Europe/Tallinn"),
    "FI": ("Finland", "Europe/Helsinki"),
    "FR": ("France", "Europe/Paris"),
    "DE": ("Germany", "Europe/Berlin"),
    "GR": ("Greece", "Europe/Athens"),
    "HU": ("Hungary", "Europe/Budapest"),
    "IE": ("Ireland", "Europe/Dublin"),
    "IT": ("Italy", "Europe/Rome"),
    "LV": ("Latvia", "Europe/Riga"),
    "LT": ("Lithuania", "Europe/Vilnius"),
    "LU": ("Luxembourg", "Europe/Luxembourg"),
    "MT": ("Malta", "Europe/Malta"),
    "NL": ("Netherlands", "Europe/Amsterdam"),
    "PL": ("Poland", "Europe/Warsaw"),
    "PT": ("Portugal", "Europe/Lisbon"),
    "RO": ("Romania", "Europe/Bucharest"),
    "SK": ("Slovakia", "Europe/Bratislava"),
    "SI": ("Slovenia", "Europe/Ljubljana"),
    "ES": ("Spain", "Europe/Madrid"),
    "SE": ("Sweden", "Europe/Stockholm"),
    "IS": ("Iceland", "Atlantic/Reykjavik"),
    "LI": ("Liechtenstein", "Europe/Vaduz"),
    "NO": ("Norway", "Europe/Oslo"),
}
"""ISO 3166 code -> name, zone of the capital. The last three are of the European Economic Area."""


def zone_of(member_state: str) -> ZoneInfo | None:
    """The zone of a Member State named by its code or its name in English; None where it is not recognised."""
    told = member_state.strip().casefold()
    for code, (name, zone) in ZONES.items():
        if told in (code.casefold(), name.casefold()):
            return ZoneInfo(zone)
    return None
