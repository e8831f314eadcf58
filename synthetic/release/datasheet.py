"""The datasheet of a release, after Gebru et al., "Datasheets for Datasets" (2021): as JSON, and the same in words.

Counts of real patients from 1 to 10 are never told. Where one share of the real cohort is that small, or what the
shares leave of the whole, none of the shares is told: it would follow from the others. Where the generator holds
differential privacy no count of them is told at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from synthetic.generators.studies import LinkedStudies
from synthetic.release.facts import GateFact, PrivacyFact, ReleaseFacts, SourceFact
from synthetic.release.naming import MARK, has_images

SCHEMA = "auscult/synthetic-datasheet/1"
LEAST = 11
FEWER = f"fewer than {LEAST}"
UNTOLD = "not told: it would be without noise"
WITHHELD = f"not told: it is of {FEWER}"
NOT_INTENDED = (
    "Diagnosis, treatment or any other decision about a person.",
    "Finding out anything about the persons whom the generator learnt from, or whether somebody is one of them.",
    "Showing that a model is safe or good enough for patients: that takes real patients.",
    "Mixing with real records without keeping the mark SYNTHETIC on each row.",
)
"""What no release is for, whatever else its facts name."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What is in the release.

    Attributes:
        files: Path -> what it holds.
        left_out: Path or format -> why it is not there.
        studies_digest: Of the studies that were written.
    """

    files: Mapping[str, str]
    left_out: Mapping[str, str]
    studies_digest: str


def count_told(n: int) -> int | str:
    """A count of real patients or studies as it may leave the house."""
    return FEWER if 0 <= n < LEAST else n


def datasheet_body(facts: ReleaseFacts, studies: LinkedStudies, written: Written) -> dict[str, Any]:
    """The datasheet as JSON."""
    generator = facts.generator
    return {
        "schema": SCHEMA,
        "synthetic": MARK,
        "name": facts.name,
        "date": facts.date,
        "motivation": {"purpose": facts.purpose, "publisher": facts.publisher},
        "composition": _composition(studies, facts)
        | {"files": dict(written.files), "not there": dict(written.left_out), "studies_digest": written.studies_digest},
        "collection": {
            "learnt_from": _source(facts.source, private=generator.privacy is not None),
            "suppressed": [asdict(item) for item in facts.suppressed],
            "generator": {
                "name": generator.name,
                "digest": generator.digest,
                "settings": dict(generator.settings),
                "parts": dict(generator.parts),
                "left_out": dict(generator.left_out),
                "differential_privacy": _privacy(generator.privacy),
                "all_generators_of_the_cohort": generator.beside,
            },
        },
        "audit": {
            "outcome": facts.outcome(),
            "evidence": facts.evidence,
            "protocol": facts.protocol,
            "gates": [_gate(gate) for gate in facts.gates],
            "attacks": [
                {"name": item.name, "asks": item.asks, "criterion": item.criterion, "found": _gate(item.gate)}
                for item in facts.attacks
            ],
        },
        "uses": {"intended": list(facts.intended), "not_intended": [*NOT_INTENDED, *facts.not_intended]},
        "limits": list(facts.limits),
        "distribution": {"licence": facts.licence, "decision": asdict(facts.decision)},
        "maintenance": {"contact": facts.contact},
    }


def _composition(studies: LinkedStudies, facts: ReleaseFacts) -> dict[str, Any]:
    """Counts of synthetic patients, which tell nothing of a real one."""
    return {
        "cohort": asdict(facts.cohort),
        "patients": len(studies.patients),
        "studies": len(studies),
        "images": int(studies.has_image.sum()) if has_images(studies) else 0,
        "attributes": sorted(studies.attributes),
        "labels": {
            name: {"present": int((v == 1).sum()), "absent": int((v == 0).sum()), "unknown": int((v < 0).sum())}
            for name, v in sorted(studies.labels.items())
        },
        "series": {
            name: {
                "studies": sum(item is not None for item in values),
                "unit": facts.units.get(name) or studies.units.get(f"series.{name}", ""),
            }
            for name, values in sorted(studies.series.items())
        },
        "texts": {name: int(np.sum(v != np.array(None))) for name, v in sorted(studies.texts.items())},
        "flags": dict(facts.flags),
    }


def _source(source: SourceFact, *, private: bool) -> dict[str, Any]:
    """The real cohort. Counts without noise are no part of what differential privacy promises, so they are not told."""
    if private:
        return {"name": source.name, "digest": source.digest} | dict.fromkeys(("patients", "studies", "shares"), UNTOLD)
    told: dict[str, Any] = {
        "name": source.name,
        "digest": source.digest,
        "patients": count_told(source.patients),
        "studies": count_told(source.studies),
    }
    rest = source.patients - sum(source.shares.values())
    small = any(0 <= n < LEAST for n in source.shares.values()) or 0 < rest < LEAST
    shares = f"not told: one of them, or what they leave, has {FEWER} patients" if small else dict(source.shares)
    return told | {"shares": shares}


def _privacy(privacy: PrivacyFact | None) -> Any:
    return "none" if privacy is None else asdict(privacy) | {"stages": list(privacy.stages)}


def _gate(gate: GateFact) -> dict[str, Any]:
    body = asdict(gate)
    if gate.n is not None and gate.n < LEAST:
        body |= {"n": FEWER, "reason": WITHHELD, "says": ""} | dict.fromkeys(("value", "low", "high", "null"))
    return body


def datasheet_markdown(body: Mapping[str, Any]) -> str:
    """The datasheet in words, for people: nothing is in it that is not in the JSON."""
    parts = [
        f"# {MARK}: datasheet of {plain(body['name'])}",
        "**No person in these files exists or existed. Every patient, image, value and report was computed.**",
        f"Date: {body['date']}. The same as data: `datasheet.json`. The questions are those of Gebru et al.,"
        ' "Datasheets for Datasets" (2021).',
        *_motivation_and_composition(body),
        *_collection(body["collection"]),
        *_audit(body["audit"]),
        *_uses(body),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: Any) -> str:
    """Text from elsewhere as one line that Markdown takes as words."""
    line = " ".join(str(text).split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(plain(item) if row is not lines[1] else item for item in row) + " |"
                     for row in lines)  # fmt: skip


def _list(items: Any, none: str) -> str:
    return "\n".join(f"- {plain(item)}" for item in items) or none


def _pairs(items: Mapping[str, Any], none: str) -> str:
    return _list([f"{name}: {value}" for name, value in items.items()], none)


def _motivation_and_composition(body: Mapping[str, Any]) -> list[str]:
    made = body["composition"]
    counts = [("patients", made["patients"]), ("studies", made["studies"]), ("images", made["images"])]
    counts += [(f"studies with text '{name}'", n) for name, n in made["texts"].items()]
    counts += [
        (f"studies with series '{name}' ({item['unit'] or 'unit not told'})", item["studies"])
        for name, item in made["series"].items()
    ]
    labels = [(name, item["present"], item["absent"], item["unknown"]) for name, item in made["labels"].items()]
    flags = {name: f"{100 * share:.1f} % of studies" for name, share in made["flags"].items()}
    return [
        "## Motivation",
        f"{plain(body['motivation']['purpose'])} Made by {plain(body['motivation']['publisher'])}.",
        "## Composition",
        f"Synthetic cohort {plain(made['cohort']['name'])}, `{made['cohort']['digest']}`. Counts are of synthetic"
        " patients.",
        _table(("What", "How many"), counts),
        "Attributes: " + (", ".join(plain(name) for name in made["attributes"]) or "none") + ".",
        *([_table(("Label", "present", "absent", "unknown"), labels)] if labels else []),
        "### Flagged",
        _pairs(flags, "Nothing is flagged."),
        "### Files",
        _pairs(made["files"], "none"),
        "### Not there",
        _pairs(made["not there"], "Nothing is left out."),
    ]


def _collection(body: Mapping[str, Any]) -> list[str]:
    source, generator = body["learnt_from"], body["generator"]
    shares, privacy = source["shares"], generator["differential_privacy"]
    return [
        "## Collection and preprocessing",
        f"Nothing was collected for this set. The generator learnt from the cohort {plain(source['name'])}"
        f" (`{source['digest']}`; patients: {source['patients']}; studies: {source['studies']}), which is no part of"
        " it.",
        f"Shares of its patients: {shares}."
        if isinstance(shares, str)
        else "Shares of its patients:\n\n" + _pairs(shares, "not told"),
        "### What the generator was not shown",
        _list([f"{item['column']}: {item['reason']}" for item in body["suppressed"]], "Nothing was suppressed."),
        "### Generator",
        f"{plain(generator['name'])}, `{generator['digest']}`.",
        _pairs(generator["parts"], "Its parts are not told."),
        "Parts that it lacks:\n\n" + _pairs(generator["left_out"], "none"),
        "Settings: see `datasheet.json`.",
        "### Differential privacy",
        "None: nothing bounds what the generator may have kept of one person. See the attacks below."
        if isinstance(privacy, str)
        else f"epsilon {privacy['epsilon']:g}, delta {privacy['delta']:g}, per {plain(privacy['unit'])}. Covered:"
        f" {plain(', '.join(privacy['stages']) or 'nothing')}; what is not named here is not covered. The figures"
        " of the audit below were computed on the real patients, without noise: they are not covered.",
        *(
            [f"Of the same cohort learnt: {plain(generator['all_generators_of_the_cohort'])}"]
            if generator["all_generators_of_the_cohort"]
            else []
        ),
    ]


def _audit(body: Mapping[str, Any]) -> list[str]:
    told = ("Criterion", "Outcome", "Figure", "Limit", "Of", "With real patients in their place")
    attacks = [(item["name"], item["asks"], item["criterion"], *_cells(item["found"])[1:]) for item in body["attacks"]]
    return [
        "## Audit",
        f"Outcome: **{body['outcome']}**. Evidence `{body['evidence']}`, protocol `{body['protocol']}`.",
        _table(told, [_cells(gate) for gate in body["gates"]]),
        _list([f"{gate['criterion']}: {gate['says']}" for gate in _gates(body) if gate["says"]], ""),
        "### Attacks on privacy",
        "Each was tried by the auditor, who knew the real cohort. An attack that found nothing does not show that no"
        " attack can.",
        _table(("Attack", "What an attacker asks", "Risk", *told[1:]), attacks),
    ]


def _gates(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*body["gates"], *(item["found"] for item in body["attacks"])]


def _cells(gate: Mapping[str, Any]) -> tuple[Any, ...]:
    figure = gate["reason"] or "not computed"
    if gate["value"] is not None:
        limits = ("", "")
        if gate["low"] is not None and gate["high"] is not None:
            limits = (f" ({100 * gate['level']:g} % interval ", f"{gate['low']:.3f} to {gate['high']:.3f})")
        figure = f"{gate['value']:.3f}" + "".join(limits)
    outcome = gate["outcome"] if gate["primary"] else f"{gate['outcome']} (decides nothing)"
    of = "" if gate["n"] is None else f"{gate['n']} {gate['counted']}".strip()
    null = "" if gate["null"] is None else f"{gate['null']:.3f}"
    return gate["criterion"], outcome, figure, gate["margin"], of, null


def _uses(body: Mapping[str, Any]) -> list[str]:
    uses, decision = body["uses"], body["distribution"]["decision"]
    return [
        "## Uses",
        "Intended:\n\n" + _list(uses["intended"], "No use is named."),
        "Not intended:\n\n" + _list(uses["not_intended"], "none"),
        "### Known limits",
        _list(body["limits"], "None is named."),
        "## Distribution",
        f"Licence: {plain(body['distribution']['licence'])}. Decision: {plain(decision['outcome'])}, by"
        f" {plain(decision['by'])} ({plain(decision['office'])}), {plain(decision['at'])}: {plain(decision['reason'])}",
        "Conditions:\n\n" + _list(decision["conditions"], "none"),
        "## Maintenance",
        f"Contact: {plain(body['maintenance']['contact'])}. The files do not change; a new set is a new release.",
    ]
