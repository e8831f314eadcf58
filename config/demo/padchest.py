"""The drill on PadChest: real studies of 2011 to 2017, month by month, watched by a monitor of a small reader. Opt-in.

Every alarm is closed by accepting the change, as the auditor of a registry would once its cause is known: later months
are compared with those since the change. What came out is written down as it came out.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from config.demo.decisions import put_in_use, sign, tell_role
from config.demo.padchest_reader import LAST, REPLAY, Drill, months_of, write_drill, write_month
from config.demo.watching import Watching
from models_registry.cohorts.padchest import PadchestStudies, read_padchest

ZONE = "Europe/Madrid"
SYSTEM = "Reader of PadChest reports"
COHORT = "PadChest 2009 and 2010, patients the reader was not fitted on"
SITE = "San Juan, Alicante (replay of published data)"
MONITOR = "Month by month"
LEADING = 3
UNEXPLAINED = "unexplained"


@dataclass(frozen=True, kw_only=True)
class PadchestReady:
    """What the drill needs, made before any service is started."""

    studies: PadchestStudies
    drill: Drill


def prepare(*, home: Path, accept_licence: bool) -> PadchestReady:
    """Read the studies, fit the reader and write its files.

    Raises:
        EnvironmentProblemError: the licence is not accepted, or the file is not on this machine.
        DigestMismatchError: the file is another one.
    """
    studies = read_padchest(accept_licence=accept_licence)
    return PadchestReady(studies=studies, drill=write_drill(studies, home / "sources" / "padchest"))


class PadchestStory(Watching):
    """Registers the reader and its reference, has it approved and deployed, and replays the months."""

    def run_drill(self, ready: PadchestReady, *, months: int | None = None) -> list[dict[str, Any]]:
        """What happened in each month, as it came out; also written to ``padchest-drill.json`` in the home folder."""
        self.display.say("h. A drill on real studies: PadChest, 2011 to 2017, month by month")
        deployment = put_in_use(self._approved(ready), site=SITE, share=100, people=self.people)
        drop = self.home / "sources" / "padchest-drop"
        drop.mkdir(parents=True, exist_ok=True)
        monitor = self.monitor(
            deployment,
            name=MONITOR,
            protocol=self.protocol_of("padchest-drill-v1.yaml"),
            reference_cohort=self._cohort(ready),
            source_kind="folder",
            source={"path": str(drop), "settle_seconds": 0},
            window_unit="month",
            window_size=1,
            first_opens_at=datetime.fromisoformat(REPLAY).replace(tzinfo=ZoneInfo(ZONE)),
            zone=ZONE,
            crontab="0 6 1 * *",
        )
        told = []
        for index, month in enumerate(ready.drill.months[:months], start=1):
            told.append(self._month(monitor, ready, index, month, drop))
            (self.home / "padchest-drill.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return told

    def _month(self, monitor: Any, ready: PadchestReady, index: int, month: str, drop: Path) -> dict[str, Any]:
        if not monitor.windows.filter(index=index).exists():
            write_month(ready.studies, month, drop / f"{month}.parquet")
        following = months_of(month, "2100-01-01", most=2)[1]
        moment = datetime.fromisoformat(following).replace(hour=6, tzinfo=ZoneInfo(ZONE))
        window = self.judged_window(monitor, index, until=moment)
        leading = [item["sentence"] for item in window.causes[:LEADING]]
        told = {
            "month": month[:7],
            "status": window.status,
            "studies": window.n_studies,
            "log_e": window.log_e,
            "alarm": window.alarm,
            "onset": window.look.get("onset"),
            "streams": [item["stream"] for item in window.look.get("alarming", [])[:5]],
            "causes": [item["feature"] for item in window.causes[:LEADING]],
            "sentences": leading,
            "evidently": {name: window.evidently.get(name) for name in ("drift", "any", "drifted", "columns")},
        }
        if window.alarm:
            why = "; ".join(leading) or UNEXPLAINED
            self.display.say(f"   {month[:7]}: alarm. {why}")
            self.accept(monitor, window, why=f"Drill: accepted as the new state. {why}")
        return told

    def _cohort(self, ready: PadchestReady) -> Any:
        files = SimpleNamespace(
            cohort=ready.drill.reference,
            description=ready.studies.description,
            source=ready.studies.source,
            licence=ready.studies.licence,
        )
        cohort = self.cohort(COHORT, files)
        tell_role(cohort, "internal_test", people=self.people)
        return cohort

    def _approved(self, ready: PadchestReady) -> Any:
        """The reader, judged on the reference and approved by the committee."""
        from governance.services.reviews import cast_vote, open_review

        version = self._version(ready.drill)
        run = self.run(version, self._cohort(ready), self.protocol_of("padchest-reader-v1.yaml"))
        self.wait.runs([run])
        run.refresh_from_db()
        review = run.reviews.first() or open_review(run=run, by=self.people["clara"])
        for name in ("mina", "tom"):
            review.refresh_from_db()
            if review.status == "open" and not review.votes.filter(voter=self.people[name]).exists():
                person = self.people[name]
                why = "Sees what the reports say, in women and men alike. For the drill on published data only."
                cast_vote(review=review, choice="approve", rationale=why, by=person, signed=sign(person))
        version.refresh_from_db()
        return version

    def _version(self, drill: Drill) -> Any:
        from models_registry.services.versions import register_version

        system = self.system(
            SYSTEM,
            provider="Auscult project",
            purpose="Name four findings in chest X-ray reports in Spanish, for a registry; made for a drill.",
            risk="Not placed on the market as a device; a bag of words, audited as a recorded system.",
        )
        if existing := system.versions.filter(label="1.0").first():
            return existing
        folder = self.home / "sources" / "padchest-predictions"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copyfile(drill.predictions, folder / "predictions.parquet")
        return register_version(
            system=system,
            label="1.0",
            adapter="recorded",
            folder=folder,
            notes=f"Logistic regression on words and pairs of words, fitted on {drill.fitted:,} patients of 2009 and "
            f"2010. Replayed until {LAST}.",
            by=self.people["elena"],
        )
