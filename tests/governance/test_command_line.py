"""The verifier as its readers run it, and the key that signs."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from config.cli.verify import verify
from core.errors import EnvironmentProblemError
from core.keys import signing_key
from governance import execution, selectors
from governance.bundle.layout import key_id
from governance.models import Bundle

VERIFIER = Path(execution.__file__).parent / "bundle" / "verify.py"


def test_the_verifier_stands_alone(bundle: Bundle, tmp_path: Path) -> None:
    """Copied to another folder, with an import of Django or of Auscult made impossible."""
    away = tmp_path / "away"
    away.mkdir()
    for path in VERIFIER.parent.glob("*.py"):
        if path.name not in ("build.py", "__init__.py"):
            (away / path.name).write_bytes(path.read_bytes())
    poison = tmp_path / "poison"
    for name in ("django", "core", "governance", "numpy"):
        (poison / name).mkdir(parents=True)
        (poison / name / "__init__.py").write_text("raise ImportError('the verifier must not need this')")
    command = [sys.executable, str(away / "verify.py"), str(selectors.bundle_path(bundle)), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(poison)})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ok"] is True


def test_the_verifier_runs_where_it_lies(bundle: Bundle, tmp_path: Path) -> None:
    """Beside the modules of governance, none of which it may take for one of Python's own."""
    command = [sys.executable, str(VERIFIER), str(selectors.bundle_path(bundle)), "--trust", bundle.key_id]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "VERIFIED  Chest model, version 1.0" in done.stdout


def test_the_command_line(bundle: Bundle, tmp_path: Path, home: Path) -> None:
    path = selectors.bundle_path(bundle)
    runner = CliRunner()
    plain = runner.invoke(verify, [str(path)])
    assert plain.exit_code == 0
    for words in ("VERIFIED, BUT THE KEY WAS NOT COMPARED", "not who that is", bundle.key_id):
        assert words in plain.output
    public = home / "keys" / "signing.pub.pem"
    for trusted in (bundle.key_id, bundle.key_id.upper(), str(public)):
        known = runner.invoke(verify, [str(path), "--trust", trusted])
        assert known.exit_code == 0 and "not who that is" not in known.output
    stranger = runner.invoke(verify, [str(path), "--trust", "0" * 64, "--json"])
    assert stranger.exit_code == 1
    assert json.loads(stranger.output)["files"] == ["key.pem"]
    changed = tmp_path / "changed.zip"
    changed.write_bytes(path.read_bytes().replace(b"The evidence is clear.", b"The evidence is cle4r."))
    damaged = runner.invoke(verify, [str(changed)])
    assert damaged.exit_code == 1
    assert "NOT VERIFIED" in damaged.output and "review.json" in damaged.output
    for unreadable in (tmp_path / "none.zip", tmp_path, VERIFIER):
        assert runner.invoke(verify, [str(unreadable)]).exit_code == 3
    assert runner.invoke(verify, [str(path), "--trust", "no-such-file"]).exit_code == 3
    assert runner.invoke(verify, [str(path), "--trust", str(VERIFIER)]).exit_code == 3
    assert runner.invoke(verify, [str(path), "--trust-tsa", "12:34"]).exit_code == 3
    unstamped = runner.invoke(verify, [str(path), "--trust-tsa", ":".join(["ab"] * 32)])
    assert unstamped.exit_code == 1 and "timestamp.tsr: is missing" in unstamped.output


def test_the_key_is_private_and_stays(home: Path) -> None:
    first = key_id(signing_key().public_key())
    path = home / "keys" / "signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(item.name for item in path.parent.iterdir()) == ["signing.pem", "signing.pub.pem"]
    assert key_id(signing_key().public_key()) == first


def test_production_makes_no_key(home: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PRODUCTION = True
    with pytest.raises(EnvironmentProblemError, match="AUSCULT_SIGNING_KEY_FILE is not set"):
        signing_key()
    for content in (b"no key", VERIFIER.read_bytes()):
        (home / "key.pem").write_bytes(content)
        monkeypatch.setenv("AUSCULT_SIGNING_KEY_FILE", str(home / "key.pem"))
        with pytest.raises(EnvironmentProblemError, match="not an unencrypted private key"):
            signing_key()
    monkeypatch.setenv("AUSCULT_SIGNING_KEY_FILE", str(home / "missing.pem"))
    with pytest.raises(EnvironmentProblemError, match="cannot be read"):
        signing_key()
