"""Two deciding votes at once, on a real database file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.governance.two_voters import ROUNDS


def test_of_two_deciding_votes_at_once_exactly_one_counts(tmp_path: Path) -> None:
    environment = os.environ | {"AUSCULT_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-m", "tests.governance.two_voters", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    expected = {
        "results": ["This review is closed: approved.", "counted"],
        "votes": 2,
        "status": "approved",
        "decided": 1,
        "intact": True,
    }
    assert rounds == [expected] * ROUNDS
