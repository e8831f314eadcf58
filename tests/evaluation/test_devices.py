"""What a worker computes on, and how it is kept to the same numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from core.errors import EnvironmentProblemError
from evaluation.execution import devices


@pytest.fixture(autouse=True)
def anew() -> None:
    devices.describe_device.cache_clear()


@pytest.mark.parametrize(
    ("text", "count"), [("1000", 1000), ("8G", 8 << 30), ("1.5 KiB", 1536), ("500mb", 500 << 20), (" 2 T ", 2 << 40)]
)
def test_amounts_of_memory(text: str, count: int) -> None:
    assert devices.byte_count(text) == count


@pytest.mark.parametrize("text", ["much", "-1G", "1 X", "", "8GG"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(EnvironmentProblemError, match="no amount of memory"):
        devices.byte_count(text)


def test_a_cpu_is_described(settings: Any) -> None:
    import psutil
    import torch

    settings.AUSCULT_DEVICE = "cpu"
    found = devices.describe_device(devices.device())
    assert (found.name, found.is_cuda, found.threads) == ("cpu", False, torch.get_num_threads())
    assert 0 < found.memory_total <= psutil.virtual_memory().total
    assert found.title
    assert devices.model_memory() == int(found.memory_total * devices.CPU_SHARE)
    settings.AUSCULT_MODEL_MEMORY = "1M"
    assert devices.model_memory() == 1 << 20


def test_a_container_has_less_memory_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(devices, "CGROUP", limit)
    whole = devices.machine_memory()
    limit.write_text("max\n")
    assert devices.machine_memory() == whole
    limit.write_text("1048576\n")
    assert devices.machine_memory() == 1 << 20


def test_a_device_that_is_not_there_is_told(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    settings.AUSCULT_DEVICE = "cpu"
    devices.check_device()
    settings.AUSCULT_DEVICE = "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentProblemError, match="sees 0 CUDA devices"):
        devices.check_device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(EnvironmentProblemError, match="sees 1 CUDA devices among CUDA_VISIBLE_DEVICES=3"):
        devices.check_device()
    settings.AUSCULT_DEVICE = "cuda"
    devices.check_device()


@pytest.mark.parametrize(
    ("wanted", "known", "device", "able", "found"),
    [
        ("float32", ("float32", "bfloat16"), "cuda", True, "float32"),
        ("bfloat16", ("float32",), "cpu", False, "bfloat16"),
        ("auto", ("float32", "bfloat16"), "cpu", True, "float32"),
        ("auto", ("float32",), "cuda", True, "float32"),
        ("auto", ("float32", "bfloat16"), "cuda", False, "float32"),
        ("auto", ("float32", "bfloat16"), "cuda:1", True, "bfloat16"),
    ],
)
def test_auto_is_bfloat16_where_device_and_adapter_have_it(
    settings: Any, monkeypatch: pytest.MonkeyPatch, wanted: str, known: tuple[str, ...], device: str, able: bool,
    found: str,
) -> None:  # fmt: skip
    import torch

    settings.AUSCULT_DEVICE = device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: able)
    assert devices.resolved_precision(wanted, known) == found


def test_the_flags_of_a_process_are_set_for_a_while(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv(devices.CUBLAS, raising=False)
    settings.AUSCULT_THREADS = 1
    before = devices.determinism()
    with devices.repeatable():
        inside = devices.determinism()
    assert inside["deterministic_algorithms"] and inside["warn_only"] and inside["cudnn_deterministic"]
    assert not (inside["cudnn_benchmark"] or inside["cudnn_tf32"] or inside["matmul_tf32"])
    assert inside["threads"] == 1 and inside["cublas_workspace_config"] == ":4096:8"
    assert os.environ.pop(devices.CUBLAS)
    assert devices.determinism() == before
    assert torch.get_num_threads() == before["threads"]


def test_a_worker_with_one_thread_decodes_in_line(settings: Any) -> None:
    settings.AUSCULT_DEVICE, settings.AUSCULT_THREADS = "cpu", 1
    assert devices.decodes_inline()
    settings.AUSCULT_DEVICE = "cuda"
    assert not devices.decodes_inline()
    settings.AUSCULT_DEVICE, settings.AUSCULT_THREADS = "cpu", 0
    assert not devices.decodes_inline()
