"""On a page in German no word is shown in English that the catalogue has in German."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.test import Client
from django.utils.translation.trans_real import translation as catalogue_of

from tests.pages import addresses, regulation_scene

SHOWN = re.compile(r"<(?:option|label|legend|th|dt|h[1-4]|button|summary)\b[^>]*>([^<]{3,200})<")
AS_IT_IS = {
    "English",  # Each language is named by its own name.
    "Male",  # How often: "mal" in German, and no sex.
    "Label",  # A column of a card that the model's author wrote.
    "Intended use",  # As above.
    "Status",  # German as well.
    "age",  # A column of the file that is imported.
}


def shown_in_english(text: str) -> set[str]:
    """What is shown as the catalogue has it in English, though it has it in German."""
    catalogue = catalogue_of("de")._catalog
    found = {html.unescape(words).strip() for words in SHOWN.findall(text)} - AS_IT_IS
    return {words for words in found if isinstance(said := catalogue.get(words), str) and said not in {"", words}}


@pytest.mark.parametrize("username", ["clara", "amir", "elena", "ada", "rita"])
def test_choices_heads_and_buttons_are_german(
    house: SimpleNamespace, sign_in: Callable[[str], Client], username: str
) -> None:
    regulation_scene.answers(house.system)
    client = sign_in(username)
    client.cookies["language"] = "de"
    left, looked_at = {}, 0
    for url in [*addresses.pages(house), *addresses.parts(house), *addresses.issued(house), *addresses.granted(house)]:
        if "/preview/" in url:  # A report has a language of its own.
            continue
        response = client.get(url)
        if response.status_code != 200 or "html" not in response["Content-Type"]:
            continue
        looked_at += 1
        if words := shown_in_english(response.content.decode()):
            left[url] = words
    assert {f"{url}: {word}" for url, words in left.items() for word in words} == set() and looked_at > 3
