"""What the page of an audit shows besides its verdicts where synthetic patients were audited."""

from __future__ import annotations

from core.models import User
from core.pages.panels import Panel, panel
from evaluation.models import AuditRun, RunStatus
from synthetic import selectors_audits as selectors


@panel("run", rank=5)
def linked_patients(user: User, run: AuditRun) -> Panel | None:
    """Attacks in plain words, shapes of columns, and a map of pairs."""
    if run.status != RunStatus.DONE or not selectors.is_linked(run):
        return None
    figures = selectors.figures_of(run)
    context = {
        "attacks": selectors.attacks_of(run, figures),
        "shapes": selectors.shapes_of(figures),
        "pairs": selectors.pairs_of(figures),
    }
    return Panel(template="synthetic/_audit.html", context=context)
