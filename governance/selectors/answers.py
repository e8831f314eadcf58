"""The answers about a system: the newest of each question."""

from __future__ import annotations

from governance.models import Answer
from models_registry.models import AISystem


def newest_answers(system: AISystem) -> dict[str, Answer]:
    """The newest answer by question, taken-back ones (``value`` None) included, in one query."""
    rows = Answer.objects.filter(system=system).select_related("author").order_by("question", "pk")
    return {row.question: row for row in rows}
