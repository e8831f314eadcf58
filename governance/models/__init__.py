"""What governance keeps: decisions, policies, risks, incidents, oversight, statements, documents, grants."""

from governance.models.documents import Bundle, Report
from governance.models.grants import DownloadLink, Grant
from governance.models.incidents import Incident, IncidentClock, IncidentEvent
from governance.models.oversight import OutputCount, Override, OversightMeasure
from governance.models.policies import Acceptance, Policy
from governance.models.releases import ReleaseExport, ReleaseVote, SyntheticRelease
from governance.models.reviews import Comment, Condition, Recusal, Review, Vote
from governance.models.risks import Control, Risk, RiskAcceptance, RiskFinding, RiskRating
from governance.models.statements import Answer, Statement

__all__ = [
    "Acceptance",
    "Answer",
    "Bundle",
    "Comment",
    "Condition",
    "Control",
    "DownloadLink",
    "Grant",
    "Incident",
    "IncidentClock",
    "IncidentEvent",
    "OutputCount",
    "Override",
    "OversightMeasure",
    "Policy",
    "Recusal",
    "ReleaseExport",
    "ReleaseVote",
    "Report",
    "Review",
    "Risk",
    "RiskAcceptance",
    "RiskFinding",
    "RiskRating",
    "Statement",
    "SyntheticRelease",
    "Vote",
]
