"""After the warm-up an audit of a process loads nothing that takes long."""

from __future__ import annotations

import subprocess
import sys

SLOW = ("pandas", "scipy.optimize", "sklearn.linear_model", "sklearn.metrics", "fairlearn.metrics", "threadpoolctl")


def test_the_warm_up_loads_what_an_audit_takes() -> None:
    code = (
        "import sys, evaluation.engine as engine\n"
        "assert 'fairlearn' not in sys.modules\n"
        "engine.warm_up()\n"
        f"missing = [name for name in {SLOW} if name not in sys.modules]\n"
        "assert not missing, missing\n"
        "known = set(sys.modules)\n"
        "engine.warm_up()\n"
        "assert set(sys.modules) == known\n"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
