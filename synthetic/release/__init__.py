"""What leaves the house when a set of synthetic patients is released: its files, its datasheet, its signed statement.

Knows no Django. ``verify.py`` knows nothing else of Auscult either, so that a receiver can read all that checks a set.
"""

from synthetic.release.export import FORMATS, ReleaseManifest, export_release
from synthetic.release.facts import (
    AttackFact,
    CohortFact,
    DecisionFact,
    GateFact,
    GeneratorFact,
    PrivacyFact,
    ReleaseFacts,
    SourceFact,
    Suppressed,
)
from synthetic.release.statement import sign_release
from synthetic.release.verify import verify_release

__all__ = [
    "FORMATS",
    "AttackFact",
    "CohortFact",
    "DecisionFact",
    "GateFact",
    "GeneratorFact",
    "PrivacyFact",
    "ReleaseFacts",
    "ReleaseManifest",
    "SourceFact",
    "Suppressed",
    "export_release",
    "sign_release",
    "verify_release",
]
