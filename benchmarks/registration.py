"""Registering a checkpoint, beside ``sha256sum`` of the same files, and the memory that a 20 GB checkpoint takes.

Both sides read files that lie in memory already (read once before), so that the disk is not what is measured. The
checkpoint is a language model that the adapter ``text_generation`` accepts: every check of a registration is done.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.result import Target, publish

REPEATS = 3
WORDS = ["<pad>", "<s>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz "]
PIECE = 64 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="Size of the checkpoint that is timed.")
    parser.add_argument("--sparse", type=float, default=20.0, help="Size of the sparse checkpoint, in GB.")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="auscult-bench-", dir=os.environ.get("AUSCULT_BENCH_FOLDER")))
    os.environ["AUSCULT_HOME"] = str(home / "home")
    os.environ["AUSCULT_IMPORT_ROOTS"] = str(home)
    os.environ.setdefault("AUSCULT_LOG_LEVEL", "WARNING")
    try:
        targets, facts = measure(home, gigabytes=arguments.gigabytes, sparse=arguments.sparse)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    publish(targets, as_json=arguments.json, facts=facts)


def measure(home: Path, *, gigabytes: float, sparse: float) -> tuple[list[Target], dict[str, Any]]:
    """Alternate between the two sides, so that whatever else the machine does meets both."""
    from config.cli import open_installation

    open_installation()
    register = _Registry()
    register.time(write_checkpoint(home / "tiny", layers=1, hidden=64, holes=False))  # imports what an adapter needs
    whole = write_checkpoint(home / "whole", layers=max(1, round(gigabytes * 7.45)), hidden=2048, holes=False)
    ours, theirs = [], []
    for _ in range(REPEATS):
        theirs.append(sha256sum(whole))
        ours.append(register.time(whole))
    shutil.rmtree(whole)
    hollow = write_checkpoint(home / "hollow", layers=max(1, round(sparse * 1.862)), hidden=4096, holes=True)
    seconds, grown, peak, disk = register.in_a_process_of_its_own(hollow)
    facts = {
        "checkpoint_gb": gigabytes,
        "register_seconds": round(statistics.median(ours), 2),
        "sha256sum_seconds": round(statistics.median(theirs), 2),
        "sparse_gb": round(_size(hollow) / 1e9, 2),
        "sparse_seconds": round(seconds, 1),
        "sparse_process_peak_mb": round(peak / 1e6),
        "sparse_on_disk_mb": round(disk / 1e6, 1),
        "repeats": REPEATS,
    }
    return [
        Target(
            name=f"registering a checkpoint of {gigabytes:g} GB",
            value=statistics.median(ours) / statistics.median(theirs),
            unit="x",
            op="<=",
            goal=1.2,
            peer="sha256sum of its files",
        ),
        Target(
            name=f"memory for registering a sparse checkpoint of {sparse:g} GB",
            value=grown / 1e6,
            unit="MB",
            op="<=",
            goal=200.0,
            peer="what the process had before, with a tiny one registered",
        ),
    ], facts


class _Registry:
    """Registers folders, each for a system of its own, in an installation made for this."""

    def __init__(self) -> None:
        from core.models import Role, RoleGrant, User

        self.person, _ = User.objects.get_or_create(username="elena")
        RoleGrant.objects.get_or_create(user=self.person, role=Role.ML_ENGINEER)
        self.count = 0

    def time(self, folder: Path) -> float:
        """Seconds to register a folder; what was stored is removed afterwards, so that the next time is like it."""
        from models_registry.services.systems import create_system
        from models_registry.services.versions import model_store, register_version

        name = f"Benchmark {os.getpid()} {self.count}"
        self.count += 1
        system = create_system(name=name, provider="", intended_purpose="Speed.", risk_class="", by=self.person)
        started = time.perf_counter()
        version = register_version(system=system, label="1", adapter="text_generation", folder=folder, by=self.person)
        seconds = time.perf_counter() - started
        self.stored_bytes = _on_disk(model_store().folder_path(version.digest))
        shutil.rmtree(model_store().folder_path(version.digest))
        return seconds

    @staticmethod
    def in_a_process_of_its_own(folder: Path) -> tuple[float, int, int, int]:
        """Seconds, growth of the peak memory, that peak, and bytes on disk: measured where nothing came before."""
        tiny = folder.parent / "tiny"
        command = [sys.executable, "-m", "benchmarks.registration", "--child", str(tiny), str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        seconds, grown, peak, disk = json.loads(done.stdout.splitlines()[-1])
        return seconds, grown, peak, disk


def child(tiny: Path, folder: Path) -> None:
    from config.cli import open_installation

    open_installation()
    register = _Registry()
    register.time(tiny)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again from here
    before = _memory("VmRSS")
    seconds = register.time(folder)
    print(json.dumps([seconds, _memory("VmHWM") - before, _memory("VmHWM"), register.stored_bytes]))


def write_checkpoint(folder: Path, *, layers: int, hidden: int, holes: bool) -> Path:
    """A checkpoint of a Llama of this size in bfloat16: random bytes, or holes where nothing is written."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=16,
        vocab_size=len(WORDS),
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in LlamaForCausalLM(config).state_dict().items()}
    _write_tensors(folder / "model.safetensors", shapes, holes=holes)
    _write_tokenizer(folder)
    wishes = {
        "prompt": "{text.indication}",
        "format": "plain",
        "text_inputs": ["text.indication"],
        "generation": {"max_new_tokens": 8},
    }
    (folder / "auscult.json").write_text(json.dumps(wishes))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nintended_use: None.\n---\nMade for a benchmark.\n")
    return folder


def _write_tensors(path: Path, shapes: dict[str, tuple[int, ...]], *, holes: bool) -> None:
    header, place = {}, 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    head = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        if not holes:
            piece = random.Random(0).randbytes(PIECE)
            for start in range(0, place, PIECE):
                file.write(piece[: min(PIECE, place - start)])
        file.truncate(8 + len(head) + place)


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(vocab={word: place for place, word in enumerate(WORDS)}, merges=[], unk_token="<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def sha256sum(folder: Path) -> float:
    """Seconds that the system's own tool takes for all files of a folder."""
    files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    started = time.perf_counter()
    subprocess.run(["sha256sum", *files], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _memory(name: str) -> int:
    """What the kernel says of this process, in bytes: ``VmRSS`` is its memory now, ``VmHWM`` its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        begun = time.monotonic()
        main()
        print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
