"""Repair of a planted gap: patients made for a group, the model trained again with them, audited again, compared.

python -m benchmarks.repair [--quick] [--json] [--keep FOLDER]

1. Two simulated cohorts at settings where nobody is perfect. In both, findings are fainter in pictures of women; in the
   one for training, four of five women are taken away.
2. The reference model learns from it and is audited by ``reference-model-v1`` on the other cohort. The failed gap
   between women and men is what is to be repaired.
3. A generator learns from the same cohort and makes women for that finding, as a repair on the platform asks for.
4. The model is trained again with them, with as many of its real women once more (oversampled), and with as many of the
   real women who were taken away, whom nobody has in earnest: what more patients could do at best. Each with the same
   settings and seeds, audited by the same protocol on the same patients, and compared pair by pair.

``--keep`` goes on with what an earlier run has finished there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.repair_sets import GROUP, Sizes, drawn, gone_of, judged, simulate
from benchmarks.result import publish

PROTOCOL, CRITERION = "reference-model-v1", "sex-tpr"
QUICK = Sizes(patients=700, kept=0.5, audited=300, added=40, effort=0.02, epochs=1, seeds=(0,))
BEFORE, SYNTHETIC, AS_THEY_ARE, AGAIN = "before", "synthetic, half and half", "synthetic, as they are", "oversampled"
OTHERS = "other real"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--keep", metavar="FOLDER", help="keep what is made there, and go on with what is there")
    asked = parser.parse_args(arguments)
    sizes = QUICK if asked.quick else Sizes()
    if asked.keep:
        found = measure(Path(asked.keep), sizes)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), sizes)
    publish([], as_json=asked.json, facts={"sizes": asdict(sizes), **found})


def measure(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Every arm with every seed; the seconds of each piece of work that was not finished before."""
    folder.mkdir(parents=True, exist_ok=True)
    work = _Work(folder, sizes)
    work.once("train", lambda to: simulate(to, sizes, patients=sizes.patients, seed=21, kept=sizes.kept))
    work.once("audited", lambda to: simulate(to, sizes, patients=sizes.audited, seed=22, kept=1.0))
    for seed in sizes.seeds:
        work.model(BEFORE, None, seed)
    label = work.failed_label()
    work.once("generator", work.generator)
    work.once("made", lambda to: work.make(to, label, balanced=True))
    work.once("made-plain", lambda to: work.make(to, label, balanced=False))
    share = work.settings(0).validation_share
    facts = {"label": label, "patients": sizes.added, "share": share}
    work.once("again", lambda to: drawn(folder / "train.parquet", to, again=True, **facts))
    work.once("others", lambda to: drawn(gone_of(folder / "train"), to, again=False, **facts))
    arms = ((SYNTHETIC, "made"), (AGAIN, "again"), (AS_THEY_ARE, "made-plain"), (OTHERS, "others"))
    for arm, beside in arms:
        for seed in sizes.seeds:
            work.model(arm, folder / beside, seed)
    return {"label": label, "seconds": work.seconds, "arms": work.compared(label)}


class _Work:
    """What lies in a folder, and how the rest is made."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        from evaluation.engine import load_protocol

        self.folder, self.sizes, self.protocol = folder, sizes, load_protocol(PROTOCOL)
        kept = folder / "seconds.json"
        self.seconds: dict[str, float] = json.loads(kept.read_text()) if kept.is_file() else {}

    def once(self, name: str, make: Any) -> None:
        """Make what is not there; a folder appears in one go."""
        if (self.folder / name).exists():
            return
        started = time.perf_counter()
        make(self.folder / name)
        self.seconds[name] = round(time.perf_counter() - started, 1)
        (self.folder / "seconds.json").write_text(json.dumps(self.seconds))

    def settings(self, seed: int) -> Any:
        from models_registry.reference.settings import TrainingSettings

        return TrainingSettings(epochs=self.sizes.epochs, head_epochs=self.sizes.epochs, seed=seed)

    def checkpoint(self, arm: str, seed: int) -> Path:
        return self.folder / f"model-{arm.replace(', ', '-').replace(' ', '-')}-{seed}"

    def model(self, arm: str, beside: Path | None, seed: int) -> None:
        from models_registry.reference.training import train_reference

        path = self.checkpoint(arm, seed)
        self.once(path.name, lambda to: train_reference(
            self.folder / "train", settings=self.settings(seed), destination=to, augmentation=beside
        ))  # fmt: skip

    def assessed(self, arm: str, seed: int) -> tuple[Any, Any]:
        """The table of an arm on the audited patients, and what the protocol makes of it."""
        from evaluation.engine import assess, sketch_shard

        table = judged(self.protocol, self.checkpoint(arm, seed), self.folder / "audited")
        found = assess(self.protocol, sketch_shard(self.protocol, table), cross_check=False, with_advice=False)
        return table, found

    def failed_label(self) -> str:
        """The label whose gap between women and men failed by most with the first seed.

        Raises:
            SystemExit: none failed: there is nothing to repair.
        """
        _, found = self.assessed(BEFORE, self.sizes.seeds[0])
        rows = [item for item in found.verdicts if item.criterion == CRITERION]
        failed = [item for item in rows if item.outcome == "fail"]
        if not failed and self.sizes != QUICK:
            raise SystemExit("No gap failed: " + "; ".join(item.statement for item in rows))
        return max(failed or rows, key=lambda item: abs(item.value or 0)).label

    def generator(self, to: Path) -> None:
        from models_registry.cohorts import open_cohort
        from synthetic.generators.linked import train_generator
        from synthetic.generators.reading import read_linked
        from synthetic.generators.settings import GeneratorSettings

        settings = GeneratorSettings(seed=1, effort=self.sizes.effort)
        studies = read_linked(open_cohort(self.folder / "train"), image_size=settings.image_size)
        train_generator(studies, to, settings, resume=self.folder / "work")

    def make(self, to: Path, label: str, *, balanced: bool) -> None:
        from models_registry.cohorts import convert_cohort
        from synthetic.generators.linked import joined, load_generator
        from synthetic.generators.reading import write_linked
        from synthetic.repairing.wishes import wishes_for

        generator = load_generator(self.folder / "generator")
        wishes = wishes_for(
            self.protocol, metric="equal_opportunity_difference", label=label, attribute=GROUP[0], group=GROUP[1],
            patients=self.sizes.added, findings={label} if balanced else set(),
        )  # fmt: skip
        made = joined([generator.sample(wish, seed=5) for wish in wishes])
        file = write_linked(made.studies, to.with_suffix(".parquet"), metadata={})
        convert_cohort(file, mapping=None, destination=to)

    def compared(self, label: str) -> list[dict[str, Any]]:
        """A row for each arm and seed: the gap, what it was before, and rates of the group."""
        from synthetic.repairing.comparing import Target, compare

        rows = []
        for seed in self.sizes.seeds:
            before, judged_before = self.assessed(BEFORE, seed)
            target = Target(
                criterion=CRITERION, metric="equal_opportunity_difference", label=label, attribute=GROUP[0],
                groups=("F", "M"), group=GROUP[1],
            )  # fmt: skip
            for arm in (BEFORE, SYNTHETIC, AS_THEY_ARE, AGAIN, OTHERS):
                after, judged_after = (before, judged_before) if arm == BEFORE else self.assessed(arm, seed)
                found = compare(
                    self.protocol, before, after, target=target,
                    verdicts=(_plain(judged_before), _plain(judged_after)),
                )  # fmt: skip
                rows.append({"arm": arm, "seed": seed, **found.to_dict()})
        return rows


def _plain(found: Any) -> list[dict[str, Any]]:
    return [item.to_dict() for item in found.verdicts]


if __name__ == "__main__":
    main()
