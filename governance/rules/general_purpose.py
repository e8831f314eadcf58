"""Articles 53 to 55: models of others that the system uses, and models that are general-purpose themselves."""

from __future__ import annotations

from django.utils.translation import gettext as _

from governance.conditions.truth import Truth
from governance.rules import Facts, Finding, judged_by
from governance.rules.annex_iv_development import outside_components
from governance.rules.notes import Notes

SYSTEMIC_FLOP = 1e25
"""Art. 51(2): training compute above which systemic risk is presumed."""
SHARE = 1 / 3
"""Share of the original compute above which a modification makes its maker the model's provider (guidelines, 2025)."""


@judged_by("AIA-Art53-status")
def modification(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art53-status")
    components = outside_components(facts)
    if components:
        notes.hold(_("what the version was built on: %(names)s") % {"names": ", ".join(components)})
    original, modified = (notes.stated.get(f"{name}_compute_flop") for name in ("original", "modification"))
    if isinstance(original, int | float) and isinstance(modified, int | float) and original > 0:
        beyond = modified > SHARE * original
        conclusion = notes.stated.get("conclusion")
        notes.contradict(
            _("The modification took more than a third of the original compute, so its maker is a model provider."),
            when=beyond and conclusion == "system_only",
        )
    return notes.finding()


@judged_by("AIA-AnnexXI-2-de")
def compute(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexXI-2-de")
    flop = notes.stated.get("flop")
    if isinstance(flop, int | float):
        above = flop > SYSTEMIC_FLOP
        notes.hold(_("compared with 1e25 FLOP: above") if above else _("compared with 1e25 FLOP: not above"))
        notes.contradict(
            _("Above 1e25 FLOP systemic risk is presumed (Art. 51(2)), but it was denied."),
            when=above and facts.truth("gpai_systemic") is Truth.NO,
        )
    return notes.finding()
