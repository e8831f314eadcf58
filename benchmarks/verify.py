"""Verifying a bundle of 1 GB, beside ``sha256sum`` of the same file, and the memory that it takes.

Both read a file that lies in memory already (read once before), so that the disk is not what is measured, and they
take turns, so that whatever else the machine does meets both. The time of each side is that of its whole process, the
start of Python included. ``sha256sum`` of some distributions does not use the SHA instructions of the processor;
``openssl dgst -sha256`` does, so the bundle is timed beside that as well.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.result import Target, publish
from governance.bundle.build import bundle_pieces
from governance.bundle.verify import __file__ as verifier
from tests.governance.sealing import made_content

REPEATS = 5
PIECE = 1 << 20
MEASURED = """
import pathlib, resource, sys
path, verifier = sys.argv[1:]
sys.path.insert(0, str(pathlib.Path(verifier).resolve().parents[2]))
from governance.bundle.verify import main
status = main([path])
with open("/proc/self/status") as lines:
    print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="Size of the bundle.")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="auscult-bench-", dir=os.environ.get("AUSCULT_BENCH_FOLDER")))
    try:
        targets, facts = measure(home, gigabytes=arguments.gigabytes)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    publish(targets, as_json=arguments.json, facts=facts)


def measure(home: Path, *, gigabytes: float) -> tuple[list[Target], dict[str, Any]]:
    """Time the three sides in turn, and take the peak memory of a verification that is not timed."""
    path = write_bundle(home, round(gigabytes * 1e9))
    sides = {
        "verify": [sys.executable, verifier, str(path)],
        "sha256sum": ["sha256sum", str(path)],
        "openssl": ["openssl", "dgst", "-sha256", str(path)],
    }
    for command in sides.values():
        seconds(command)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(REPEATS):
        for name, command in sides.items():
            times[name].append(seconds(command))
    middle = {name: statistics.median(values) for name, values in times.items()}
    peak = int(run([sys.executable, "-c", MEASURED, str(path), verifier]).split()[-1]) * 1024
    facts = {
        "bundle_gb": round(path.stat().st_size / 1e9, 3),
        **{f"{name}_seconds": round(value, 2) for name, value in middle.items()},
        "beside_openssl": round(middle["verify"] / middle["openssl"], 2),
        "peak_memory_mb": round(peak / 1e6),
        "repeats": REPEATS,
    }
    name = f"verifying a bundle of {gigabytes:g} GB"
    ratio = middle["verify"] / middle["sha256sum"]
    return [
        Target(name=name, value=ratio, unit="x", op="<=", goal=1.3, peer="sha256sum of it"),
        Target(name="its peak memory", value=peak / 1e6, unit="MB", op="<=", goal=200, peer="the size of the bundle"),
    ], facts


def write_bundle(home: Path, size: int) -> Path:
    """A bundle that verifies, nearly all of which is one attachment of random bytes."""
    attachment, path = home / "sketches.bin", home / "bundle.zip"
    with attachment.open("wb") as stream:
        for at in range(0, size, PIECE):
            stream.write(os.urandom(min(PIECE, size - at)))
    content = made_content(attachments=[(attachment.name, attachment)])
    with path.open("wb") as stream:
        for piece in bundle_pieces(content, Ed25519PrivateKey.generate()):
            stream.write(piece)
    return path


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    run(command)
    return time.perf_counter() - started


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
