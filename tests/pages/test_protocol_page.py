"""The page of a protocol says what the newer keys ask for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from evaluation.engine import bundled_names
from evaluation.engine.protocol import bundled_source
from evaluation.services.protocols import lock_protocol
from tests.pages.scene import person

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", bundled_names())
def test_every_bundled_protocol_is_shown(sign_in: Callable[[str], Client], name: str) -> None:
    protocol = lock_protocol(source=bundled_source(name), by=person("amir"))
    text = sign_in("mina").get(f"/audits/protocols/{protocol.pk}/").content.decode()
    assert name in text
    if name == "report-generator-v1":
        assert "every finding of the ontology" in text and "whole reports" in text and ">none<" in text
    if name == "post-deployment-monthly-v1":
        assert ".004 over all primary criteria" in text and ".67 to 1.50" in text
