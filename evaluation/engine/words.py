"""Numbers, groups and names as a committee reads them."""

from __future__ import annotations

from evaluation.engine.protocol import JOIN

PERSONS = {
    "f": "female patients",
    "female": "female patients",
    "m": "male patients",
    "male": "male patients",
}


def number(value: float, digits: int = 2) -> str:
    """``.44``, ``-.14``, ``1.00``: no zero before the point, as in clinical papers."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def group_words(attribute: str, group: str) -> str:
    """A group in words: ``female patients``, ``age band ≥60``, ``female patients, age band ≥60``."""
    parts = []
    for name, value in zip(attribute.split(JOIN), group.split(JOIN), strict=False):
        person = PERSONS.get(value.casefold()) if name.casefold() in {"sex", "gender"} else None
        parts.append(person or f"{plain(name)} {signs(value)}")
    return ", ".join(parts)


def signs(group: str) -> str:
    """``>=60`` as ``≥60``."""
    return group.replace(">=", "≥").replace("<=", "≤")


def plain(name: str) -> str:
    """A name from a file as words: ``airspace_opacity`` becomes ``airspace opacity``."""
    return name.replace("_", " ")
