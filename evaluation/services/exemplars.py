"""The studies of a window that are least like the reference: patient-level, and each reading is in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from core import ledger
from core.errors import NotFoundError
from core.models import User
from core.reach import limited
from evaluation.access import check_may_read_patients
from evaluation.models import AuditRun, MonitorWindow
from models_registry.services.versions import model_store


@dataclass(frozen=True, kw_only=True)
class Exemplar:
    """A study, and how sure a classifier is that it comes from the window and not from the reference."""

    study_id: str
    probability: float


@limited
def open_exemplars(*, window: MonitorWindow, by: User) -> tuple[Exemplar, ...]:
    """The exemplars of a window. The ledger keeps that they were listed, and none of their names.

    Raises:
        DeniedError: ``by`` may not read patient-level content.
        NotFoundError: none were kept.
    """
    check_may_read_patients(by)
    store = model_store()
    digest = store.get_json(window.causes_digest).get("exemplars", "") if window.causes_digest else ""
    if not digest:
        raise NotFoundError(
            "No studies were kept for this window.",
            remedy="They are chosen with the causes, where a window and its reference have patients enough.",
        )
    kept: list[dict[str, Any]] = store.get_json(digest)["exemplars"]
    run = window.run_id
    with transaction.atomic():
        ledger.record(
            actor=by.username,
            act="studies.listed",
            subject=(AuditRun.__name__, run),
            payload={"filter": {"window": str(window.index)}, "studies": len(kept)},
        )
    return tuple(Exemplar(study_id=str(item["study_id"]), probability=float(item["probability"])) for item in kept)
