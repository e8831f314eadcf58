"""What ``benchmarks.inference`` audits: a cohort, the reference model and a vision transformer, in a running stack."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from config.embedded.stack import ROOT, Stack

LABELS = ("effusion", "pneumothorax", "consolidation", "cardiomegaly")
OTHER_PROTOCOL = """\
auscult_protocol: 1
name: another-v1
title: Ranking and sensitivity by sex
labels: [{name: effusion}, {name: pneumothorax}, {name: consolidation}, {name: cardiomegaly}]
attributes: [{name: sex, values: [F, M]}]
criteria:
  - {id: ranking, metric: auroc, direction: at_least, margin: 0.5}
  - {id: sex-tpr, metric: equal_opportunity_difference, attribute: sex, direction: at_most, margin: 0.1}
""".replace(
    "LABELS", "\n".join(f"  - {{name: {name}, threshold: {{value: 0.5, source: the middle}}}}" for name in LABELS)
)
QUICK = {"epochs": 1, "head_epochs": 1}
VIT = {
    "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536,
    "image_size": 224, "patch_size": 16, "num_channels": 3, "num_labels": len(LABELS),
}  # fmt: skip
PIXELS = {"size": 224, "channels": 3, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


class Bench:
    """A stack with people and protocols, which orders work of its workers and waits for it.

    Attributes:
        steps: Seconds of each step of the last audit: summed over its shares, and what came after the last of them.
        workers: How many worked on it.
        processor: Processor seconds of the last audit (all workers) and of the last bare loop: where other work holds
            the processor too, they say more than the clock.
    """

    def __init__(self, stack: Stack) -> None:
        from config.demo.display import Display
        from config.demo.people import ensure_people
        from config.demo.waiting import Waiter
        from evaluation.engine.protocol import bundled_source

        self.stack = stack
        self.steps: dict[str, float] = {}
        self.workers = 0
        self.processor: dict[str, float] = {}
        self.people = ensure_people("benchmark-only")
        self.wait = Waiter(supervisor=stack.supervisor, display=Display(quiet=True))
        self.protocol = self._protocol(bundled_source("reference-model-v1"))
        self.other_protocol = self._protocol(OTHER_PROTOCOL)

    def cohort(self, *, name: str, patients: int, image_size: int) -> Any:
        from models_registry.models import JobStatus
        from synthetic.services.generations import request_generation

        settings = {"patients": patients, "seed": 5, "image_size": image_size}
        order: Any = request_generation(cohort_name=name, settings=settings, by=self.people["elena"])
        self.wait.until([order], done={JobStatus.DONE}, title=lambda row: row.cohort_name)
        return order.result

    def audit(self, subject: Subject, *, cached: bool = False) -> float:
        """Seconds from the first claim to the last verdict.

        Args:
            cached: By another protocol, from the predictions of the audit before. Else every share is run anew.
        """
        from evaluation.models import CachedPredictions
        from evaluation.services.runs import request_audit

        if not cached:
            CachedPredictions.objects.all().delete()
        run: Any = request_audit(
            version=subject.version, cohort=subject.cohort, by=self.people["amir"],
            protocol=self.other_protocol if cached else self.protocol,
        )  # fmt: skip
        before = self._spent()
        self.wait.runs([run])
        self.processor["audit"] = self._spent() - before
        self.steps = _steps(run)
        self.workers = len({share.worker for share in run.shards.all()})
        return float((run.finished_at - run.started_at).total_seconds())

    def bare_loop(self, subject: Subject, *, threads: int = 0) -> float:
        """Seconds of a loop in a process of its own over the same batches, after one pass to warm it up."""
        from models_registry.execution import cohort_folder

        command = [sys.executable, "-m", "benchmarks.inference_loop", subject.loop, str(subject.eager)]
        command += [str(cohort_folder(subject.cohort)), str(threads)]
        environment = self.stack.environment
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
        seconds, self.processor["bare_loop"] = map(float, done.stdout.split()[-2:])
        return seconds

    def _spent(self) -> float:
        """Processor seconds of all workers until now."""
        spent = 0.0
        for name, service in self.stack.supervisor.services.items():
            if name.startswith("worker") and service.process is not None:
                times = psutil.Process(service.process.pid).cpu_times()
                spent += times.user + times.system
        return spent

    def _protocol(self, source: str) -> Any:
        from evaluation.services.protocols import approve_protocol, lock_protocol

        clara = self.people["clara"]
        return approve_protocol(protocol=lock_protocol(source=source, by=clara), by=clara)


def _steps(run: Any) -> dict[str, float]:
    shares = list(run.shards.all())
    found = {step: sum(share.telemetry["seconds"][step] for share in shares) for step in shares[0].telemetry["seconds"]}
    found["judging"] = (run.finished_at - max(share.finished_at for share in shares)).total_seconds()
    return {step: round(seconds, 2) for step, seconds in found.items()}


class Subject:
    """A registered version, the cohort that it is audited on, and how a bare loop runs the same weights.

    Attributes:
        loop: Name of the loop in ``benchmarks.inference_loop``. eager: the folder that it loads.
    """

    version: Any
    cohort: Any
    loop: str
    eager: Path


class Reference(Subject):
    """The reference model, trained for one epoch: weights do not change the speed."""

    loop = "fusion"

    def __init__(self, bench: Bench, *, patients: int) -> None:
        from models_registry.models import JobStatus
        from models_registry.services.systems import create_system
        from models_registry.services.training import request_training
        from models_registry.services.versions import model_store

        elena = bench.people["elena"]
        self.cohort = bench.cohort(name="Benchmark", patients=patients, image_size=64)
        small = bench.cohort(name="Benchmark training", patients=200, image_size=64)
        system = create_system(name="Reference", provider="", intended_purpose="Speed.", risk_class="", by=elena)
        job: Any = request_training(system=system, version_label="1", cohort=small, settings=QUICK, by=elena)
        bench.wait.until([job], done={JobStatus.DONE}, title=lambda _: "One epoch of training")
        self.version = job.result
        self.eager = model_store().folder_path(self.version.digest)


class VisionTransformer(Subject):
    """A ViT of 21.7 million random parameters at 224 px: exported for the audit, eager for the bare loop."""

    loop = "vit"

    def __init__(self, bench: Bench, *, patients: int) -> None:
        from models_registry.services.systems import create_system
        from models_registry.services.versions import register_version

        elena, home = bench.people["elena"], bench.stack.home / "sources"
        self.cohort = bench.cohort(name="Benchmark of pictures", patients=patients, image_size=128)
        self.eager = home / "vit-eager"
        command = [sys.executable, "-m", "benchmarks.inference_subjects", str(home / "vit"), str(self.eager)]
        subprocess.run(command, check=True, cwd=ROOT, env=bench.stack.environment)
        system = create_system(name="ViT", provider="", intended_purpose="Speed.", risk_class="", by=elena)
        self.version = register_version(system=system, label="1", adapter="torch_export", folder=home / "vit", by=elena)
        shutil.rmtree(home / "vit")


def save_vit(exported: Path, eager: Path) -> None:
    """The same random weights twice: as a program of torch.export with its wishes, and as a transformers checkpoint."""
    import torch
    from torch import Tensor, nn
    from transformers import ViTConfig, ViTForImageClassification

    class Logits(nn.Module):  # type: ignore[misc]
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.model(pixel_values=pixels).logits
            return logits

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(**VIT)).eval()
    model.save_pretrained(eager)
    exported.mkdir(parents=True)
    shapes = {"pixels": {0: torch.export.Dim("studies", min=1, max=256)}}
    with torch.no_grad():
        program = torch.export.export(Logits(model).eval(), (torch.zeros(2, 3, 224, 224),), dynamic_shapes=shapes)
    program.example_inputs = None  # kept as a pickle, which is not read
    torch.export.save(program, exported / "model.pt2")
    wishes = {
        "labels": list(LABELS), "input": PIXELS, "activation": "sigmoid", "threshold_source": "the middle",
        "thresholds": dict.fromkeys(LABELS, 0.5),
    }  # fmt: skip
    (exported / "auscult.json").write_text(json.dumps(wishes))


if __name__ == "__main__":
    save_vit(Path(sys.argv[1]), Path(sys.argv[2]))
