"""Synthetic patients as FHIR R4: one Bundle of the type ``collection`` a patient, one Bundle a line (NDJSON).

Each patient has a Patient; each study an Encounter, an ImagingStudy, a DiagnosticReport, Observations of the series,
and a Condition for each label that is present. Each of these resources and the bundle are marked HTEST and SYNTHETIC.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np

from synthetic.generators.reading import REPORT
from synthetic.generators.studies import LinkedStudies
from synthetic.release.codes import BASE, HL7, META, RACE, STUDY_REPORT, UCUM, label_concept, series_concept
from synthetic.release.facts import ReleaseFacts
from synthetic.release.naming import MARK, has_image, moment_of, uid_of
from synthetic.release.tables import patients_of, unit_of

FILE = f"{MARK}_patients.ndjson"
GENDER = {"M": "male", "F": "female", "O": "other"}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
IMPRESSION, INDICATION = "impression", "indication"
ATTRIBUTE = f"{BASE}/StructureDefinition/attribute"
Resource = dict[str, Any]


def write_bundles(studies: LinkedStudies, folder: Path, facts: ReleaseFacts, *, tell: Callable[[float], None]) -> None:
    """Write one line of JSON a patient. Memory holds one patient at a time."""
    folder.mkdir()
    with (folder / FILE).open("w", encoding="utf-8", newline="\n") as stream:
        for number, rows in enumerate(patients_of(studies)):
            stream.write(_json(patient_bundle(studies, rows, facts)) + "\n")
            if number % 50 == 49:
                tell((rows[-1] + 1) / len(studies))


def _json(body: Resource) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def patient_bundle(studies: LinkedStudies, rows: range, facts: ReleaseFacts) -> Resource:
    """Everything about the patient of these rows."""
    resources = [_patient(studies, rows), *(item for row in rows for item in _Study(studies, row, facts).resources())]
    entries = [
        {"fullUrl": f"{BASE}/{item['resourceType']}/{item['id']}", "resource": _marked(item)} for item in resources
    ]
    return {
        "resourceType": "Bundle", "id": studies.patient_ids[rows[0]], "meta": META, "type": "collection",
        "entry": entries,
    }  # fmt: skip


def bulk_files(bundles: Path, folder: Path) -> dict[str, Path]:
    """Take bundles apart into one NDJSON file for each kind of resource, as bulk exports and imports have them.

    Returns:
        Kind -> its file in ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Path] = {}
    streams: dict[str, IO[str]] = {}
    with bundles.open(encoding="utf-8") as lines, ExitStack() as open_files:
        for line in lines:
            for entry in json.loads(line)["entry"]:
                kind = entry["resource"]["resourceType"]
                if kind not in streams:
                    made[kind] = folder / f"{MARK}_{kind}.ndjson"
                    streams[kind] = open_files.enter_context(made[kind].open("w", encoding="utf-8", newline="\n"))
                streams[kind].write(_json(entry["resource"]) + "\n")
    return made


def _marked(item: Resource) -> Resource:
    head = {name: item[name] for name in ("resourceType", "id")}
    return {**head, "meta": META, **{name: value for name, value in item.items() if value not in (None, [], {})}}


def _patient(studies: LinkedStudies, rows: range) -> Resource:
    """Sex, race, and a day of birth that makes the age of the first study come out; invented like all else."""
    first = rows[0]
    key = studies.patient_ids[first]
    race = _plain(studies.attributes.get("race"), first)
    return {
        "resourceType": "Patient",
        "id": key,
        "identifier": [{"system": f"{BASE}/patient", "value": key}],
        "name": [{"use": "anonymous", "family": MARK, "given": [key]}],
        "gender": GENDER.get(str(_plain(studies.attributes.get("sex"), first))),
        "birthDate": _born(moment_of(studies.times[first]), _plain(studies.attributes.get("age"), first)),
        "extension": [] if race is None else [{"url": RACE, "extension": [{"url": "text", "valueString": str(race)}]}],
    }


def _born(moment: datetime | None, years: Any) -> str | None:
    if moment is None or not isinstance(years, int | float) or not 0 <= years < moment.year:
        return None
    day = moment.date()
    if (day.month, day.day) == (2, 29):
        day = day.replace(day=28)
    return day.replace(year=day.year - int(years)).isoformat()


def _plain(values: Any, row: int) -> Any:
    """A value as JSON has it; None where it is missing."""
    value = None if values is None else values[row]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


class _Study:
    """The resources of one study."""

    def __init__(self, studies: LinkedStudies, row: int, facts: ReleaseFacts) -> None:
        self.studies, self.row, self.facts = studies, row, facts
        self.key: str = studies.study_ids[row]
        self.moment = moment_of(studies.times[row])
        self.subject = {"reference": f"Patient/{studies.patient_ids[row]}"}
        self.encounter = {"reference": f"Encounter/{self.key}"}
        self.texts = {name: str(texts[row]) for name, texts in studies.texts.items() if texts[row] is not None}
        self.present = {name: bool(v[row]) for name, v in studies.labels.items() if v[row] >= 0}

    def resources(self) -> Iterator[Resource]:
        yield self._encounter()
        yield self._imaging()
        if self.texts.keys() - {INDICATION} or self.present:
            yield self._report()
        yield from self._conditions()
        yield from self._observations()

    def _about(self, kind: str, key: str) -> Resource:
        return {"resourceType": kind, "id": key, "subject": self.subject, "encounter": self.encounter}

    def _encounter(self) -> Resource:
        told = self.texts.get(INDICATION)
        return {
            "resourceType": "Encounter", "id": self.key, "status": "finished", "subject": self.subject,
            "class": {"system": f"{HL7}/v3-NullFlavor", "code": "UNK"},
            "period": {"start": _instant(self.moment)} if self.moment else None,
            "reasonCode": [{"text": told}] if told else [],
        }  # fmt: skip

    def _imaging(self) -> Resource:
        origin = self.facts.origin
        coding = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": self.facts.modality}
        instance = {
            "uid": uid_of(origin, "image", self.key), "number": 1,
            "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{SECONDARY_CAPTURE}"},
        }  # fmt: skip
        series = {
            "uid": uid_of(origin, "series", self.key), "number": 1, "modality": coding, "instance": [instance],
        }  # fmt: skip
        shown = has_image(self.studies, self.row)
        uid = {"system": "urn:dicom:uid", "value": f"urn:oid:{uid_of(origin, 'study', self.key)}"}
        return self._about("ImagingStudy", self.key) | {
            "identifier": [uid] if shown else [],
            "status": "available",
            "modality": [coding],
            "started": _instant(self.moment) if self.moment else None,
            "description": MARK,
            "numberOfInstances": int(shown),
            "series": [series] if shown else [],
            "extension": [
                _attribute(name, value)
                for name, values in self.studies.attributes.items()
                if (value := _plain(values, self.row)) is not None
            ],
        }

    def _report(self) -> Resource:
        """Texts in plain form, that of the expert first; labels that are present as codes of the conclusion."""
        names = sorted(self.texts.keys() - {INDICATION}, key=lambda name: (name != REPORT, name))
        forms = [
            {
                "contentType": "text/plain; charset=utf-8",
                "data": base64.b64encode(self.texts[name].encode()).decode(),
                "title": f"{MARK} {name}",
            }
            for name in names
        ]
        time = _instant(self.moment) if self.moment else None
        return self._about("DiagnosticReport", self.key) | {
            "status": "final",
            "code": STUDY_REPORT,
            "effectiveDateTime": time,
            "issued": time,
            "imagingStudy": [{"reference": f"ImagingStudy/{self.key}"}],
            "conclusion": self.texts.get(IMPRESSION),
            "conclusionCode": [label_concept(name, self.facts) for name, there in self.present.items() if there],
            "presentedForm": forms,
        }

    def _conditions(self) -> Iterator[Resource]:
        for place, name in enumerate(self.studies.labels):
            if self.present.get(name):
                yield self._about("Condition", f"{self.key}-c{place}") | {
                    "clinicalStatus": _coded(f"{HL7}/condition-clinical", "active"),
                    "verificationStatus": _coded(f"{HL7}/condition-ver-status", "confirmed"),
                    "code": label_concept(name, self.facts),
                    "recordedDate": _instant(self.moment) if self.moment else None,
                    "evidence": [{"detail": [{"reference": f"DiagnosticReport/{self.key}"}]}],
                }

    def _observations(self) -> Iterator[Resource]:
        """One for each reading. Without a time of the study there is none: hours from nowhere are no time."""
        if self.moment is None:
            return
        for place, (name, values) in enumerate(self.studies.series.items()):
            unit = unit_of(name, self.studies, self.facts)
            concept, readings = series_concept(name, unit, self.facts), values[self.row]
            for number, (hours, value) in enumerate([] if readings is None else readings.tolist()):
                if not np.isfinite((hours, value)).all():
                    continue
                measured = {"unit": unit, "system": UCUM, "code": unit} if unit else {}
                yield self._about("Observation", f"{self.key}-o{place}-{number}") | {
                    "status": "final",
                    "code": concept,
                    "effectiveDateTime": _instant(self.moment + timedelta(hours=hours)),
                    "valueQuantity": {"value": value, **measured},
                }


def _instant(moment: datetime) -> str:
    """FHIR's dateTime in UTC; parts of a second where there are some."""
    told = moment.isoformat(timespec="milliseconds" if moment.microsecond >= 500 else "seconds")
    return told.replace("+00:00", "Z")


def _coded(system: str, code: str) -> Mapping[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _attribute(name: str, value: Any) -> Resource:
    """A further attribute of the study, under its own name."""
    kind = {bool: "valueBoolean", int: "valueInteger", float: "valueDecimal"}.get(type(value), "valueString")
    told = value if isinstance(value, int | float) else str(value)
    return {"url": ATTRIBUTE, "extension": [{"url": "name", "valueString": name}, {"url": "value", kind: told}]}
