"""Two acts that meet on a real database: each ends, one after the other, and no deadlock ends either."""

from __future__ import annotations

import json
from pathlib import Path

from tests.governance.test_concurrency import address, run

__all__ = ["address"]

BOTH, SECOND_REFUSED = ["done", "done"], ["done", "ConflictError"]
EXPECTED = {
    "two_release_votes": {"results": SECOND_REFUSED, "is": "approved", "votes": 1, "decided": 1},
    "two_policy_approvals": {"results": SECOND_REFUSED, "in_force": ["strict"]},
    "two_deployments": {"results": SECOND_REFUSED, "shares": [100]},
    "confirm_then_lapse": {"results": BOTH, "condition": "met", "runs": "running", "version": "deployed"},
    "lapse_then_confirm": {
        "results": SECOND_REFUSED,
        "condition": "lapsed",
        "runs": "suspended",
        "version": "suspended",
    },
    "overrides_then_lapse": {"results": BOTH},
    "lapse_then_overrides": {"results": BOTH},
    "resume_and_suspend": {"results": BOTH, "runs": "suspended", "version": "suspended"},
    "vote_during_a_merge": {"results": ["done", "DeniedError"], "votes": 0, "is": "open"},
    "merge_during_a_vote": {"results": BOTH, "votes": 1, "is": "withdrawn"},
    "suspend_while_rolled_back_to": {"results": BOTH, "run": [], "version": "suspended"},
    "intact": True,
}


def test_of_two_acts_that_meet_each_ends_and_nothing_is_left_half_done(address: str, tmp_path: Path) -> None:
    assert json.loads(run("two_acts", address, tmp_path)) == EXPECTED
