"""What the registers show of use: where this version runs, who watches it, and how often outputs are overruled.

A measure counts once somebody else verified it; one that nobody verified is told as lacking that. That override rates
are monitored is so where both outputs and overrides are really counted at every site that runs, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from governance.rules import Facts, Reference
from governance.rules.checking import moment_of
from governance.rules.incident_register import Known
from governance.rules.notes import Notes
from governance.standing.places import answered_sites, held_of, unanswered

Row = Mapping[str, Any]
BIAS = "automation_bias"


def deployments_of(facts: Facts) -> list[Row]:
    """Every deployment of this version, ended ones too; none where the dossier is older than the register."""
    rows = facts.dossier.get("registers", {}).get("deployments", [])
    return [row for row in rows if row["version"]["digest"] == facts.version["digest"]]


def held_deployments(facts: Facts) -> list[Row]:
    """Deployments of this version that run or are suspended."""
    return held_of(deployments_of(facts), facts.version["digest"])


def running(facts: Facts) -> list[Row]:
    return [row for row in deployments_of(facts) if row["status"] == "running"]


def deployment_reference(row: Row) -> Reference:
    """A deployment, as what something rests on."""
    name = _("Register of deployments, %(site)s") % {"site": place_of(row)}
    return Reference(kind="deployment", name=name, digest=row["gate_digest"], href_id=str(row["id"]))


def place_of(row: Row) -> str:
    """The site with its unit."""
    return f"{row['site']}, {row['unit']}" if row["unit"] else str(row["site"])


def hold_sites(notes: Notes) -> list[str]:
    """Note where this version is deployed, and which of these sites no answer names. Answers the sites."""
    rows = held_deployments(notes.facts)
    for state, words in (
        ("running", _("the register of deployments: this version runs at %(sites)s")),
        ("suspended", _("the register of deployments: this version is suspended at %(sites)s")),
    ):
        here = [row for row in rows if row["status"] == state]
        if here:
            notes.hold(words % {"sites": _joined(map(place_of, here))}, *map(deployment_reference, here))
    sites = [str(row["site"]) for row in rows]
    words = _("an answer to the question about sites that names %(names)s: this version is deployed there")
    notes.lack_those(unanswered(answered_sites(notes.facts.dossier["answers"]), sites), words)
    return list(dict.fromkeys(sites))


def hold_suspension(notes: Notes, incident: Known) -> None:
    """Whether use was suspended after an incident, from the deployments at its site; of all, where it names none."""
    site = str(incident.told["site"]).casefold()
    here = [row for row in deployments_of(notes.facts) if not site or str(row["site"]).casefold() == site]
    aware = incident.at("deployer_aware_at") or incident.at("aware_at")
    stopped = [row for row in here if row["status"] != "running" and _since(row, aware)]
    runs_on = [row for row in here if row["status"] == "running"]
    if stopped and not runs_on:
        notes.hold(_("use is suspended or ended at %(sites)s") % {"sites": _joined(map(place_of, stopped))})
        if notes.has("use_suspended"):
            words = _("Use is said to go on, but it is suspended or ended at %(sites)s.")
            told = {"sites": _joined(map(place_of, stopped))}
            notes.contradict(words % told, when=notes.stated["use_suspended"] is False)
        elif not incident.open:
            notes.fill("use_suspended", True, deployment_reference(stopped[0]))
    never = [row for row in runs_on if row["suspended_at"] is None]
    words = _("Use is said to be suspended, but this version runs at %(sites)s and was never suspended there.")
    told = {"sites": _joined(map(place_of, never))}
    notes.contradict(words % told, when=bool(never) and notes.stated.get("use_suspended") is True)


def _since(row: Row, aware: Any) -> bool:
    at = moment_of(row["suspended_at"] or row["ended_at"])
    return at is not None and (aware is None or at >= aware)


def first_use(facts: Facts) -> Row | None:
    """The deployment of this version that began first."""
    rows = [row for row in deployments_of(facts) if moment_of(row["started_at"])]
    return min(rows, key=lambda row: str(row["started_at"]), default=None)


def measures_of(facts: Facts, *limbs: str) -> list[Row]:
    """Measures of oversight in the register that serve these limbs of Art. 14(4); of all limbs where none is named."""
    rows = facts.dossier.get("registers", {}).get("oversight", [])
    return [row for row in rows if not limbs or row["limb"] in limbs]


def measure_reference(row: Row) -> Reference:
    """A measure of oversight, as what something rests on."""
    name = _("Register of oversight, Art. 14(4)(%(limb)s): %(text)s") % {"limb": row["limb"], "text": brief(row)}
    return Reference(kind="measure", name=name)


def brief(row: Row) -> str:
    text = " ".join(str(row["text"]).split())
    return text if len(text) <= 80 else text[:79].rstrip() + "…"


def hold_measures(notes: Notes, *limbs: str) -> list[Row]:
    """Note verified measures as held, and that the others lack verification. Answers the verified ones.

    What is built in counts for a version only when it was verified since that was registered.
    """
    found, registered = measures_of(notes.facts, *limbs), str(notes.facts.version["submitted_at"])[:10]
    verified = [row for row in found if row["verified_on"]]
    done = [row for row in verified if row["by"] != "built_in" or row["verified_on"] >= registered]
    for row in done:
        told = {"text": brief(row), "role": row["role"], "day": row["verified_on"]}
        words = _("a measure in the register of oversight, verified on %(day)s: “%(text)s” (%(role)s)")
        notes.hold(words % told, measure_reference(row))
    open_ones = [f"“{brief(row)}”" for row in found if not row["verified_on"]]
    notes.lack_those(open_ones, _("a verification by somebody else of what the register of oversight names: %(names)s"))
    older = [f"“{brief(row)}”" for row in verified if row not in done]
    notes.lack_those(older, _("a new verification of what is built in: this version is younger than that of %(names)s"))
    return done


def fill_text(notes: Notes, name: str, done: Iterable[Row]) -> None:
    """A field of text from verified measures, where nobody stated it."""
    rows = list(done)
    if rows:
        notes.fill_if_silent(name, "\n".join(str(row["text"]) for row in rows), measure_reference(rows[0]))


def hold_overrides(notes: Notes) -> None:
    """Whether override rates are monitored: what is counted at the sites where this version runs, and its signals."""
    here = running(notes.facts)
    if not here:
        return
    counts = {row["deployment"]: row for row in notes.facts.dossier["registers"].get("overrides", [])}
    kept = [row for row in here if _counted(counts.get(row["id"]))]
    if kept:
        words = _("outputs and overrides are counted at %(sites)s")
        notes.hold(words % {"sites": _joined(map(place_of, kept))}, *map(deployment_reference, kept))
    bare = [row for row in here if row not in kept]
    notes.fill("override_rate_monitoring", not bare, deployment_reference(bare[0] if bare else kept[0]))
    words = _("counts of outputs and of overrides at %(names)s: without both there is no rate")
    notes.lack_those(map(place_of, bare), words)
    for row in here:
        mark = (counts.get(row["id"]) or {}).get("mark")
        if mark and mark["kind"] == BIAS:
            notes.contradict(bias_words(mark, place_of(row)))


def _counted(row: Row | None) -> bool:
    """Outputs enough for a rate, and at least one override: none at all may be none that was ever sent."""
    return row is not None and row["rate"] is not None and bool(row["overrides"])


def bias_words(mark: Row, site: str) -> str:
    """What a signal of automation bias says, with its numbers."""
    words = _(
        "Automation bias is suspected at %(site)s: %(overrides)s of %(outputs)s outputs were overruled in 90 days, "
        "while %(source)s found at least %(error)s %% of the outputs wrong (Art. 14(4)(b))."
    )
    told = {"site": site, "overrides": mark["overrides"], "outputs": mark["outputs"], "source": mark["source"]}
    return words % (told | {"error": f"{100 * mark['error_low']:.2g}"})


def _joined(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
