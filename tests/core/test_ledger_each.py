"""Several entries of one act at once give the ledger that they give one after another."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import transaction
from django.utils import timezone

from core import ledger
from core.ledger_checks import HeadToCheck
from core.models import LedgerEntry, LedgerHead, LedgerNode

pytestmark = pytest.mark.django_db


def told(numbers: range) -> list[tuple[tuple[str, object], dict[str, object]]]:
    return [(("Thing", number), {"number": number}) for number in numbers]


def everything() -> tuple[list[str], dict[tuple[int, int], str]]:
    nodes = {(node.level, node.position): node.node_hash for node in LedgerNode.objects.all()}
    return list(LedgerEntry.objects.order_by("index").values_list("body", flat=True)), nodes


@pytest.mark.parametrize("before", [0, 1, 2, 3, 5, 7, 8, 13])
def test_at_once_is_as_one_after_another(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime.fromisoformat("2026-11-24T03:00:00+00:00")
    monkeypatch.setattr(timezone, "now", lambda: moment)
    for count in range(1, 12):
        kept = []
        for at_once in (False, True):
            with transaction.atomic():
                for subject, payload in told(range(before)) + ([] if at_once else told(range(before, before + count))):
                    ledger.record(actor="amir", act="thing.done", subject=subject, payload=payload)
                if at_once:
                    ledger.record_each(actor="amir", act="thing.done", about=told(range(before, before + count)))
                assert ledger.verify().intact
                kept.append((everything(), ledger.tree_head()))
                transaction.set_rollback(True)
        assert kept[0] == kept[1], count
        assert len(kept[1][0][0]) == before + count


def test_heads_from_within_are_those_of_the_tree() -> None:
    with transaction.atomic():
        ledger.record_each(actor="amir", act="thing.done", about=told(range(21)))
    told_of = [ledger.tree_head(size) for size in range(1, 22)]
    heads = [HeadToCheck(size=head.size, root=head.root, signed_at="now", source="here") for head in told_of]
    assert ledger.verify(heads=heads).intact


def test_nothing_is_nothing(django_assert_num_queries: object) -> None:
    with transaction.atomic():
        assert ledger.record_each(actor="amir", act="thing.done", about=[]) == []
    assert not LedgerEntry.objects.exists() and not LedgerHead.objects.filter(size__gt=0).exists()


def test_as_many_queries_for_many(django_assert_max_num_queries: object) -> None:
    with transaction.atomic():
        ledger.record_each(actor="amir", act="thing.done", about=told(range(3)))
        with django_assert_max_num_queries(6):  # type: ignore[operator]
            ledger.record_each(actor="amir", act="thing.done", about=told(range(3, 90)))
    assert ledger.verify().intact
