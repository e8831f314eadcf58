"""What may be said of a patient in an override: coarse attributes, and nothing that tells who it was.

A value is refused if it looks like an identifier, a date, an age in years, or a sentence. What is refused is never
repeated in the message: it may be a name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from core.errors import AuscultError

SEXES = ("F", "M", "X", "unknown")
LONGEST = 40
MOST_KEYS = 4
NARROWEST_BAND = 5
BAND = re.compile(r"(?:<(?P<below>\d{1,3})|(?:>=|≥)(?P<from>\d{1,3})|(?P<low>\d{1,3})[-–](?P<high>\d{1,3})|unknown)")
WORD = re.compile(r"[A-Za-zÀ-ÿ<>=≥][A-Za-zÀ-ÿ0-9 /&<>=≥+._-]*")
KEY = re.compile(r"[a-z][a-z0-9_]{0,29}")
MARKS = (
    re.compile(r"\d{3,}"),
    re.compile(r"\d{1,4}\s?[./-]\s?\d{1,2}\s?[./-]\s?\d{1,4}"),
    re.compile(r"@"),
    re.compile(r"[A-Za-z]+\d+[A-Za-z0-9]*\d"),
)
"""Long numbers, dates, addresses, and letters mixed with digits as in an accession number."""
FUNCTION = re.compile(r"[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ /()&.,-]{0,79}")
KEYS = ("sex", "age_band")


class CoarseError(AuscultError):
    """Something that would say too much of a patient, or that is no coarse attribute."""


def check_group(group: Mapping[str, Any], *, allowed: Collection[str]) -> dict[str, str]:
    """The group in one form: keys in order, values without blanks around them.

    Args:
        allowed: Further keys than sex and age band that the installation has named.

    Raises:
        CoarseError: a key is not allowed, or a value is not coarse.
    """
    if not isinstance(group, Mapping):
        raise CoarseError("The group is no mapping of attributes to values.", remedy='Give {"sex": "F"}, say.')
    if len(group) > MOST_KEYS:
        raise CoarseError(
            f"A group has {len(group)} attributes; at most {MOST_KEYS} are taken.",
            remedy="Leave some out: many attributes together tell who a patient is.",
        )
    known = (*KEYS, *allowed)
    if any(key not in known for key in group):
        raise CoarseError(
            "A group has an attribute that is not allowed.",
            remedy=f"Use {', '.join(known)}. An administrator allows more with AUSCULT_GROUP_ATTRIBUTES.",
        )
    return {key: _value(key, group[key]) for key in sorted(group)}


def _value(key: str, value: Any) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text or len(text) > LONGEST:
        raise CoarseError(f"The value of {key} has no text of up to {LONGEST} characters.", remedy="Give a coarse one.")
    if key == "sex":
        return _choice(text)
    return _band(text) if key == "age_band" else check_coarse(text, what=f"value of {key}")


def _choice(text: str) -> str:
    if text not in SEXES:
        raise CoarseError("The value of sex is unknown to the platform.", remedy=f"Use one of {', '.join(SEXES)}.")
    return text


def _band(text: str) -> str:
    found = BAND.fullmatch(text)
    width = int(found["high"]) - int(found["low"]) + 1 if found and found["low"] else NARROWEST_BAND
    if found is None or width < NARROWEST_BAND:
        raise CoarseError(
            f"The value of age_band is no band of at least {NARROWEST_BAND} years.",
            remedy="Write it as <40, 40-59, 60-79 or >=80. An age in years, or a date of birth, is not taken.",
        )
    return text


def check_coarse(text: str, *, what: str, longest: int = LONGEST) -> str:
    """A name of a class: few words, no identifier, no date, no sentence.

    Raises:
        CoarseError: it is something else. The message does not repeat it.
    """
    text = " ".join(text.split())
    plain = len(text) <= longest and WORD.fullmatch(text) and len(text.split()) <= 4
    if not plain or any(mark.search(text) for mark in MARKS):
        raise CoarseError(
            f"The {what} looks like an identifier, a date or free text, so it was not recorded.",
            remedy="Use the name of a class, such as a finding or a ward. Nothing about one patient is taken.",
        )
    return text


def check_function(text: str) -> str:
    """The function of a clinician: words, without digits.

    Raises:
        CoarseError: it is something else.
    """
    text = " ".join(text.split())
    if text and not FUNCTION.fullmatch(text):
        raise CoarseError(
            "The role is no function in up to 80 letters.", remedy="Write, for example, radiologist; not a name."
        )
    return text
