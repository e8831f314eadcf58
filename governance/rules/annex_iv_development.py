"""Annex IV, chapter 2: how the version was made, on which data, how it was tested, and how it is protected."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from governance.conditions.truth import Truth
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.annex_iv import attributes_of, details_of, hold_audits, runs_weights
from governance.rules.notes import Notes, audit_reference, uncovered, version_reference
from governance.rules.values import plain, texts_of

FAILURES = ("noise", "missing modality", "out of distribution", "interface failure")
ATTACKS = ("data poisoning", "model poisoning", "adversarial examples", "confidentiality attacks", "model flaws")
ABILITIES = tuple("abcde")

declare_table("AIA-Art10-2-h", "gaps", "gap", "handling")
declare_table("AIA-Art10-3-4", "target_population", "attribute", "target", "dataset")
declare_table("AIA-Art10-3-4", "coverage_by_site", "site", "coverage")
declare_table("AIA-AnnexIV-2-a", "pretrained_components", "component", "supplier", "version", "licence", "adaptation")
declare_table("AIA-AnnexIV-2-b", "key_choices", "choice", "reason")
declare_table("AIA-AnnexIV-2-f", "change_envelope", "change", "verification?")
declare_table("AIA-AnnexIV-2-f", "limits", "change", "limit")
declare_table("AIA-AnnexIV-2-h", "controls", "threat", "control")
declare_table("AIA-Art15-1", "acceptance_thresholds", "metric", "threshold")
declare_table("AIA-Art15-4", "failure_modes", "mode", "result")
declare_table("AIA-Art15-5-ai", "attack_coverage", "attack", "result")


def training_digests(facts: Facts) -> list[str]:
    """Digests of the data that the version was trained on, as far as they are registered."""
    training = details_of(facts).get("training") or {}
    told = [training.get("cohort_digest", "")] if isinstance(training, dict) else []
    trained = [edge["digest"] for edge in facts.version["origins"] if edge["relation"] == "Trained on"]
    return sorted({digest for digest in [*told, *trained] if digest})


def outside_components(facts: Facts) -> list[str]:
    """What the version was built on or fine-tuned from."""
    kinds = ("Built on", "Fine-tuned from")
    return sorted({edge["source"] for edge in facts.version["origins"] if edge["relation"] in kinds})


@judged_by("AIA-AnnexIV-2-a")
def development(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-2-a")
    if runs_weights(facts) and details_of(facts):
        notes.hold(_("the architecture and settings that the weights were registered with"), version_reference(facts))
        if licence := facts.version["card"].get("licence"):
            notes.hold(_("the licence that the model's card states: %(name)s") % {"name": licence})
    notes.cover(
        "pretrained_components",
        "component",
        outside_components(facts),
        _("supplier, version, licence and adaptation of %(names)s"),
    )
    if not notes.has("pretrained_components") and not outside_components(facts):
        denied = facts.answer("third_party_model") is False
        notes.waive("pretrained_components", when=denied and facts.truth("uses_third_party_model") is Truth.NO)
    return notes.finding()


@judged_by("AIA-AnnexIV-2-c")
def architecture(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-2-c")
    if "architecture" in details_of(facts):
        notes.hold(_("the declared architecture"), version_reference(facts))
    measured = [audit for audit in facts.audits() if audit["hardware"]]
    hold_audits(notes, measured, _("compute of testing, as the workers measured it"))
    return notes.finding()


@judged_by("AIA-AnnexIV-2-d")
def datasheets(facts: Facts) -> Finding:
    notes, digests = Notes(facts, "AIA-AnnexIV-2-d"), training_digests(facts)
    if digests:
        notes.hold(_("digests of the data that the version was trained on"), version_reference(facts))
    else:
        notes.lack(_("the digests of the data that the version was trained on"))
    told = " ".join(texts_of(notes.stated.get("datasheets")))
    if told:
        absent = [digest[:12] for digest in digests if digest[:12] not in told]
        notes.lack_those(absent, _("a datasheet that names the digest %(names)s"))
    return notes.finding()


@judged_by("AIA-Art10-2-b")
def origin_of_data(facts: Facts) -> Finding:
    notes, cohort = Notes(facts, "AIA-Art10-2-b"), facts.dossier["cohort"]
    if cohort and cohort.get("source"):
        notes.hold(_("the origin of the audited cohort"))
    told = " ".join(texts_of(facts.values("AIA-AnnexIV-2-d").get("datasheets")))
    absent = [digest[:12] for digest in training_digests(facts) if digest[:12] not in told]
    notes.lack_those(absent, _("a datasheet of the training data %(names)s"))
    return notes.finding()


@judged_by("AIA-Art10-2-fg")
def bias_examination(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art10-2-fg"), facts.audits("fairness_audit")
    audited = attributes_of(audits)
    names = {"attributes": ", ".join(name.replace("_", " ") for name in audited)}
    hold_audits(notes, audits, _("a fairness audit of this version by %(attributes)s") % names)
    notes.lack(_("a fairness audit of this version"), when=not audits)
    told = texts_of(notes.stated.get("protected_attributes"))
    left_out = uncovered([{"name": name} for name in audited], "name", told)
    notes.lack_those(left_out, _("a fairness audit by %(names)s"))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art10-3-4")
def representativeness(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art10-3-4")
    if facts.dossier["cohort"]:
        notes.hold(_("counts of the audited cohort"))
    notes.cover("coverage_by_site", "site", facts.dossier["sites"], _("coverage of the sites %(names)s"))
    return notes.finding()


@judged_by("AIA-AnnexIV-2-e")
def oversight_assessment(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-2-e")
    absent = [f"14(4)({one})" for one in ABILITIES if not facts.values(f"AIA-Art14-4-{one}")]
    notes.lack_those(absent, _("an assessed measure for Art. %(names)s"))
    return notes.finding()


@judged_by("AIA-AnnexIV-2-g")
def validation_and_testing(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-AnnexIV-2-g"), facts.audits("performance_evaluation")
    if not audits:
        notes.lack(_("a finished audit of this version"))
        return notes.finding()
    hold_audits(notes, audits, _("protocol, results with intervals and sample sizes, digests of version and cohort"))
    plans = "; ".join(f"{one['protocol']['name']} ({one['protocol']['digest'][:12]})" for one in audits)
    notes.fill_if_silent("test_plan", plans, audit_reference(audits[0]))
    criteria = list(dict.fromkeys(item["title"] or item["id"] for one in audits for item in one["criteria"]))
    notes.fill_if_silent("primary_endpoints", criteria, audit_reference(audits[0]))
    notes.lack(_("primary criteria in the protocol"), when=not criteria)
    bare = [name for one in audits for name in one["without_value"]]
    notes.lack_those(bare, _("value, interval or sample size of %(names)s"))
    notes.lack(_("a robustness audit of this version"), when=not facts.audits("robustness_audit"))
    return notes.finding(rests_on_audit=True, settled=True)


@judged_by("AIA-AnnexIV-2-g-reports")
def signed_reports(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-2-g-reports")
    hold_audits(notes, facts.audits(), _("dated test records with who requested them, bound to the ledger"))
    notes.lack(_("a finished audit of this version"), when=not facts.audits())
    return notes.finding()


@judged_by("AIA-Art9-6")
def thresholds_beforehand(facts: Facts) -> Finding:
    """Art. 9(6) to (8): the thresholds were fixed before the test, and each has a result."""
    notes, audits = Notes(facts, "AIA-Art9-6"), facts.audits("performance_evaluation")
    if not audits:
        notes.lack(_("a test against thresholds that were fixed beforehand"))
        return notes.finding()
    newest = audits[0]
    protocol = newest["protocol"]
    notes.fill_if_silent("thresholds_file", f"{protocol['name']} ({protocol['digest']})", audit_reference(newest))
    notes.fill("thresholds_fixed_on", protocol["locked_at"][:10], audit_reference(newest))
    late = [str(one["run"]) for one in audits if not _in_time(one)]
    if late:
        hold_audits(notes, audits, _("thresholds in a locked protocol"))
        notes.lack_those(late, _("thresholds locked and approved before the test was requested, in audit %(names)s"))
    else:
        hold_audits(notes, audits, _("thresholds locked and approved before the test was requested"))
    notes.lack_those([one for audit in audits for one in audit["without_value"]], _("a result of %(names)s"))
    return notes.finding(rests_on_audit=True)


def _in_time(audit: dict[str, Any]) -> bool:
    protocol = audit["protocol"]
    dates = (protocol["locked_at"], protocol["approved_at"], audit["requested_at"])
    return None not in dates and list(dates) == sorted(dates)


@judged_by("AIA-Art15-1")
def accuracy(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art15-1"), facts.audits("performance_evaluation")
    notes.lack(_("an audit of the performance of this version"), when=not audits)
    if audits:
        hold_audits(notes, audits, _("the judgement of this version against the thresholds of the protocol"))
        rows = [
            {"metric": item["metric"], "threshold": f"{item['direction']} {item['margin']}"}
            for item in audits[0]["criteria"]
        ]
        notes.fill_if_silent("acceptance_thresholds", rows, audit_reference(audits[0]))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art15-4")
def robustness(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art15-4"), facts.audits("robustness_audit")
    hold_audits(notes, audits, _("a robustness audit of this version"))
    notes.lack(_("a robustness audit of this version"), when=not audits)
    notes.cover("failure_modes", "mode", FAILURES, _("a result for %(names)s"))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art15-5")
def cybersecurity(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art15-5")
    notes.contradict(
        _("The Cyber Resilience Act does not apply to devices under the MDR, so nothing can be presumed from it."),
        when=notes.stated.get("cra_claimed") is True and facts.truth("mdr_device") is Truth.YES,
    )
    return notes.finding()


@judged_by("AIA-Art15-5-ai")
def attacks(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art15-5-ai"), facts.audits("robustness_audit")
    hold_audits(notes, audits, _("a robustness audit of this version"))
    notes.cover("attack_coverage", "attack", ATTACKS, _("a test of, or a reasoned exclusion of, %(names)s"))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art25-4")
def suppliers(facts: Facts) -> Finding:
    notes, components = Notes(facts, "AIA-Art25-4"), outside_components(facts)
    if components:
        notes.hold(_("what the version was built on: %(names)s") % {"names": ", ".join(components)})
    told = plain(f"{notes.stated.get('component_version', '')} {facts.text(notes.id)}")
    if told:
        notes.lack_those(
            [name for name in components if plain(name) not in told],
            _("in the statement, an agreement or open-source exception for %(names)s"),
        )
    return notes.finding()
