"""Optional judges of reports: models of others that say how well a report agrees with an expert's.

None comes with Auscult, and none is fetched. An operator puts the weights of a judge into a folder of its key below
``AUSCULT_JUDGES``; a judge without weights is absent, and the evidence says so. See ``docs/hallucination/judges.md``.
"""

from evaluation.engine.judges.base import JUDGES, Judge, JudgeFactory
from evaluation.engine.judges.supply import judge_share, judges_status

__all__ = ["JUDGES", "Judge", "JudgeFactory", "judge_share", "judges_status"]
