"""What the page of an audit shows besides its verdicts where synthetic patients were audited."""

from __future__ import annotations

from core.models import User
from core.pages.panels import Panel, panel
from evaluation.models import AuditRun, RunStatus
from synthetic import selectors_audits as selectors
from synthetic.pages.audit_pictures import map_pictures, shape_picture


@panel("run", rank=5)
def linked_patients(user: User, run: AuditRun) -> Panel | None:
    """Attacks in plain words, shapes of columns, a map of pairs, and where patients lie."""
    if run.status != RunStatus.DONE or not selectors.is_linked(run):
        return None
    figures = selectors.figures_of(run)
    context = {
        "attacks": selectors.attacks_of(run, figures),
        "shapes": shape_picture(selectors.shapes_of(figures), selectors.margins_of(run)),
        "pairs": selectors.pairs_of(figures),
        "maps": map_pictures(figures),
    }
    return Panel(template="synthetic/_audit.html", context=context)
