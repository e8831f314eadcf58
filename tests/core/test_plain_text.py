"""A person's text: what is kept of it, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import AuscultError
from core.plain_text import MOST_TEXT, written


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  So.\n", "So."),
        ("one\r\ntwo\rthree\tfour", "one\ntwo\nthree\tfour"),
        ("<script>alert(1)</script> & “so”", "<script>alert(1)</script> & “so”"),
        ("x" * MOST_TEXT, "x" * MOST_TEXT),
        ("👩🏽‍⚕️ Ärztin", "👩🏽‍⚕️ Ärztin"),
    ],
)
def test_what_is_kept(text: str, kept: str) -> None:
    assert written(text, name="The reason") == kept


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        ("", {}, "The reason is empty."),
        (" \n\t", {}, "The reason is empty."),
        ("", {"missing": "A vote needs a reason."}, "A vote needs a reason."),
        ("a\0b", {}, "The reason holds a character that cannot be printed."),
        ("a\x1bb", {"least": 0}, "cannot be printed"),
        ("a\x7fb", {}, "cannot be printed"),
        ("a\ud800b", {}, "cannot be printed"),
        ("a\u2028b", {}, "cannot be printed"),
        ("x" * 10_001, {}, "The reason has 10,001 characters; 10,000 are the most."),
        ("short", {"least": 20, "most": 4000}, "The reason needs 20 to 4,000 characters; this has 5."),
        ("", {"least": 20, "most": 4000}, "The reason needs 20 to 4,000 characters; this has 0."),
    ],
)
def test_what_is_refused(text: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(AuscultError) as refused:
        written(text, name="The reason", column="reason", **given)
    assert words in refused.value.message and refused.value.remedy and refused.value.column == "reason"


def test_what_may_be_empty() -> None:
    assert written(" ", name="The site", least=0) == ""
