"""What is measured of a share, and what the evidence says of it."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evaluation.execution import energy, telemetry
from evaluation.execution.devices import Device
from evaluation.execution.environment import entry_points, full_environment, packages
from evaluation.execution.hardware import hardware
from evaluation.execution.telemetry import Meter, endpoint_usage
from evaluation.models import AuditRun
from models_registry.services.versions import model_store
from tests.evaluation.steps import finish, fresh

CPU = Device(name="cpu", title="A processor", memory_total=1 << 30, threads=2)


def rapl(root: Path, **packages: tuple[int, int]) -> Path:
    for name, (count, most) in packages.items():
        folder = root / name.replace("_", ":").replace("intel:", "intel-")
        folder.mkdir(parents=True)
        (folder / "energy_uj").write_text(f"{count}\n")
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return root


def test_energy_of_all_packages_is_added_and_their_parts_are_not(tmp_path: Path) -> None:
    root = rapl(tmp_path, intel_rapl_0=(1_000_000, 10**9), intel_rapl_1=(5_000_000, 10**9), intel_rapl_0_0=(7, 10**9))
    counter = energy._start_rapl(root)
    (root / "intel-rapl:0" / "energy_uj").write_text("3500000")
    (root / "intel-rapl:1" / "energy_uj").write_text("6000000")
    (root / "intel-rapl:0:0" / "energy_uj").write_text("999999999")
    found = counter.stop()
    assert found.joules == 3.5 and "processor" in found.source and found.reason == ""


def test_a_counter_that_began_again_is_unwound(tmp_path: Path) -> None:
    counter = energy._start_rapl(rapl(tmp_path, intel_rapl_0=(9_000_000, 10_000_000)))
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("2000000")
    assert counter.stop().joules == 3.0


def test_a_machine_without_counters_says_why(tmp_path: Path) -> None:
    found = energy._start_rapl(tmp_path).stop()
    assert found.joules is None and "no energy counter" in found.reason
    (tmp_path / "intel-rapl:0").mkdir()
    found = energy._start_rapl(tmp_path).stop()
    assert found.joules is None and "administrator" in found.reason


def test_a_counter_that_goes_away_gives_no_number(tmp_path: Path) -> None:
    counter = energy._start_rapl(rapl(tmp_path, intel_rapl_0=(1, 10)))
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    assert counter.stop().joules is None


def test_a_cuda_device_without_its_library_says_so() -> None:
    found = energy.start_counter("cuda:0").stop()
    assert found.joules is None and "nvidia-ml-py" in found.reason


def test_a_cuda_device_is_read_by_its_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import torch

    readings, asked = iter([5000, 12500]), []
    library = SimpleNamespace(
        NVMLError=OSError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid),
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(readings),
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="ab-1"))
    found = energy.start_counter("cuda:0").stop()
    assert (found.joules, asked) == (7.5, ["GPU-ab-1"])


def test_the_peak_is_that_of_the_share_where_the_system_lets_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert telemetry.peak_memory(CPU)["process"] > 1 << 20  # type: ignore[operator]
    monkeypatch.setattr(telemetry, "PROCESS", tmp_path)
    (tmp_path / "status").write_text("Name: x\nVmHWM:\t   2048 kB\n")
    telemetry.forget_peak(CPU)
    assert (tmp_path / "clear_refs").read_text() == "5"
    assert telemetry.peak_memory(CPU) == {"process": 2048 << 10, "device": None}
    (tmp_path / "status").unlink()
    assert telemetry.peak_memory(None)["process"] > 1 << 20  # type: ignore[operator]


def test_speed_is_undefined_before_the_first_study() -> None:
    meter = Meter()
    assert meter.speed is None
    meter.studies = 10
    meter.seconds |= {"inference": 1.5, "wait": 0.5, "load": 9.0}
    assert meter.speed == 5.0


def test_tokens_are_counted_for_each_share() -> None:
    adapter = SimpleNamespace(usage=Counter(requests=5, prompt_tokens=70), answered_by={"b", "a"})
    found = endpoint_usage(adapter, {"requests": 2, "prompt_tokens": 30})
    assert found == {"usage": {"prompt_tokens": 40, "requests": 3}, "answered_by": ["a", "b"]}
    assert endpoint_usage(object()) is None


def share(**changes: Any) -> dict[str, Any]:
    meter = Meter(device=CPU, precision="float32", batch_size=64, batch_size_wanted=64)
    meter.seconds |= {"inference": 2.0, "decode": 1.0}
    return meter.to_dict() | {"energy": {"joules": 2.5, "source": "RAPL", "reason": ""}} | changes


def test_a_run_is_the_sum_of_its_shares() -> None:
    smaller = share(batch_size=16, peak_memory={"process": 9 << 40, "device": 7})
    found = hardware([share(), smaller])
    assert found["devices"] == [CPU.to_dict()]
    assert (found["batch_sizes"], found["batch_size_wanted"], found["precision"]) == ([16, 64], [64], ["float32"])
    assert (found["seconds"]["inference"], found["seconds"]["decode"]) == (4.0, 2.0)
    assert found["peak_memory"] == {"process": 9 << 40, "device": 7}
    assert found["energy"] == {"joules": 5.0, "source": "RAPL", "reason": ""}
    assert found["endpoint"] is None


def test_energy_of_a_run_is_undefined_where_a_share_has_none() -> None:
    silent = share(energy={"joules": None, "source": "", "reason": "no counter"})
    assert hardware([share(), silent])["energy"] == {"joules": None, "source": "", "reason": "no counter"}
    assert hardware([share(), share(energy=None)])["energy"]["reason"] == "not every share was measured"
    assert hardware([])["energy"]["joules"] is None


def test_a_share_from_the_cache_counts_with_the_work_it_rests_on() -> None:
    cached = Meter(from_cache=True, made=share()).to_dict()
    found = hardware([cached])
    assert found["devices"] == [CPU.to_dict()] and found["energy"]["joules"] == 2.5
    assert (found["seconds"]["inference"], found["seconds_of_this_run"]["inference"]) == (2.0, 0.0)


def test_tokens_of_a_run_are_added() -> None:
    parts = [share(endpoint={"usage": {"requests": 2}, "answered_by": [name]}) for name in ("b", "a", "b")]
    assert hardware(parts)["endpoint"] == {"usage": {"requests": 6}, "answered_by": ["a", "b"]}


def test_every_installed_package_is_named() -> None:
    found = packages()
    assert found["torch"] == importlib.metadata.version("torch")
    assert {name.lower() for name in found} >= {"django", "celery", "numpy", "click", "pillow"}
    assert list(found) == sorted(found, key=str.lower)
    assert all(line.startswith("auscult.") for line in entry_points())
    assert len(set(entry_points())) == len(entry_points()), "a distribution that lies on the path twice is named once"


def test_the_evidence_tells_what_computed_it(run: AuditRun) -> None:
    done = finish(run)
    evidence = model_store().get_json(done.evidence_digest)
    judged, predicted = evidence["software"]["judged"], evidence["software"]["predicted"]
    assert len(predicted) == 1, "every share was run in one process"
    assert judged["packages"] == predicted[0]["packages"] == packages()
    assert "recorded" in judged["plugins"]["adapters"] and "fairness" in judged["plugins"]["suites"]
    hardware_told = evidence["execution"]["hardware"]
    assert hardware_told["devices"] == [], "a prediction log runs no weights"
    assert hardware_told["energy"]["joules"] is None and hardware_told["energy"]["reason"]
    assert hardware_told["seconds"]["total"] > 0
    told = run.shards.first().telemetry
    assert told["environment"] and model_store().get_json(told["environment"]) == predicted[0]
    assert (told["from_cache"], told["made"]) == (False, None)


def test_a_second_audit_rests_on_the_work_of_the_first(order: Callable[..., AuditRun]) -> None:
    finish(order())
    second = finish(order())
    told = second.shards.first().telemetry
    assert told["from_cache"] and told["made"]["studies_per_second"] > 0
    evidence = model_store().get_json(second.evidence_digest)
    assert evidence["software"]["predicted"][0]["packages"] == packages()
    assert evidence["execution"]["hardware"]["seconds_of_this_run"]["inference"] == 0.0
    assert evidence["execution"]["hardware"]["seconds"]["total"] > 0


def test_what_is_measured_does_not_change_the_result(
    order: Callable[..., AuditRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation.models import CachedPredictions

    first = finish(order())
    CachedPredictions.objects.all().delete()
    monkeypatch.setattr(Meter, "to_dict", lambda self: {"anything": 1})
    second = finish(order())
    assert fresh(first).result_digest == second.result_digest


def test_the_full_environment_holds_what_makes_numbers_repeatable() -> None:
    import torch

    full_environment.cache_clear()
    flags = full_environment()["determinism"]
    assert flags["threads"] == torch.get_num_threads()
    assert {"deterministic_algorithms", "cudnn_deterministic", "matmul_tf32", "float32_matmul_precision"} <= set(flags)
    assert "pythonhashseed" in full_environment()
    full_environment.cache_clear()


def test_what_was_asked_counts_with_the_seconds_of_when_it_was_asked() -> None:
    """Predictions of one day, answers of another, and a run that made neither."""
    predicted, asked = Meter(), Meter()
    predicted.seconds["inference"], asked.seconds["ask"] = 3.0, 7.0
    own = Meter(from_cache=True, made=predicted.to_dict(), asked=asked.to_dict())
    own.seconds["sketch"] = 0.5
    found = hardware([own.to_dict()])
    assert (found["seconds"]["inference"], found["seconds"]["ask"]) == (3.0, 7.0)
    assert (found["seconds_of_this_run"]["inference"], found["seconds_of_this_run"]["ask"]) == (0.0, 0.0)
    fresh = Meter(made=predicted.to_dict())
    fresh.seconds["ask"] = 2.0
    assert hardware([fresh.to_dict()])["seconds"]["ask"] == 2.0


def test_requests_for_predictions_and_for_answers_are_one_sum() -> None:
    meter = Meter()
    meter.count_endpoint(None)
    assert meter.endpoint is None
    meter.count_endpoint({"usage": {"requests": 3}, "answered_by": ["b"]})
    meter.count_endpoint({"usage": {"requests": 4, "cut_off": 1}, "answered_by": ["a", "b"]})
    assert meter.endpoint == {"usage": {"cut_off": 1, "requests": 7}, "answered_by": ["a", "b"]}
