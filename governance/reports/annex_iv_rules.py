"""What the evidence of one audit shows about each requirement of Annex IV, and what it does not show.

A requirement without a rule here is missing: the platform holds nothing that bears on it. Each rule follows
the requirement's completeness rule and required fields in ``requirements.yaml``, and names what of them is
lacking.
"""

from __future__ import annotations

from typing import Any

from governance.reports.base import ReportContext
from governance.reports.statuses import Finding, judged_by, runs_weights
from governance.reports.wording import day, in_order, join_words


def _details(evidence: dict[str, Any]) -> dict[str, Any]:
    details = evidence["version"]["config"].get("details")
    return details if isinstance(details, dict) else {}


def _attributes(evidence: dict[str, Any]) -> str:
    names = {item["attribute"] for item in evidence["result"]["verdicts"] if item["attribute"]}
    return join_words(sorted(names)) or "no attribute"


@judged_by("AIA-AnnexIV-1-a")
def purpose_and_version(evidence: dict[str, Any], context: ReportContext) -> Finding:
    held = ["the version's digest and label"]
    lacking = ["instructions for use to compare the purpose with", "the provider's address"]
    if evidence["version"].get("origins"):
        held.append("what the version was made from: backbone, base model, training cohort")
    else:
        lacking.append("the parent version")
    for key, word in (("intended_purpose", "the intended purpose"), ("provider", "the provider's name")):
        (held if evidence["system"][key] else lacking).append(word)
    return Finding(held=tuple(held), lacking=tuple(lacking))


@judged_by("AIA-AnnexIV-1-c")
def software_versions(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if not runs_weights(evidence):
        return Finding()
    return Finding(
        held=(
            "versions of the software that the audit ran the model with",
            "a CycloneDX bill of materials of the model, kept with the version",
        ),
        lacking=("a bill of materials of the released build", "requirements on updates"),
    )


@judged_by("AIA-AnnexIV-1-e")
def hardware(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if not runs_weights(evidence) or not evidence["execution"].get("device"):
        return Finding()
    return Finding(
        held=("the hardware that the audit ran on",),
        lacking=("the declared minimum hardware", "the hardware that the provider validated"),
    )


@judged_by("AIA-AnnexIV-2-a")
def development(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if not runs_weights(evidence) or not _details(evidence):
        return Finding()
    held = ["the architecture and settings that the weights were registered with"]
    lacking = ["a description of the development steps", "supplier and licence of every pre-trained component"]
    if licence := evidence["version"].get("card", {}).get("licence"):
        held.append(f"the licence that the model's card states: {licence}")
    return Finding(held=tuple(held), lacking=tuple(lacking))


@judged_by("AIA-AnnexIV-2-c")
def architecture(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if "architecture" not in _details(evidence):
        return Finding()
    held, lacking = ["the declared architecture"], ["a component diagram"]
    if evidence["execution"].get("hardware", {}).get("seconds"):
        held.append("compute of testing, measured: device, seconds, memory, and energy where the device tells it")
        lacking.append("compute of development, training and validation, with method")
    else:
        lacking.append("compute of development, training, testing and validation, with method")
    return Finding(held=tuple(held), lacking=tuple(lacking))


@judged_by("AIA-AnnexIV-2-d")
def datasheets(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if not _details(evidence).get("training"):
        return Finding()
    return Finding(
        held=(
            "facts of the training data that the weights were registered with",
            "counts of the audited cohort",
        ),
        lacking=("a datasheet of every training set: provenance, selection, labelling, cleaning, licence",),
    )


@judged_by("AIA-Art10-2-b")
def origin_of_data(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if not evidence["cohort"].get("source"):
        return Finding()
    return Finding(
        held=("the origin of the audited cohort",),
        lacking=("origin, collection method and original purpose of the training data",),
    )


@judged_by("AIA-Art10-2-fg")
def bias_examination(evidence: dict[str, Any], context: ReportContext) -> Finding:
    return Finding(
        held=(f"a fairness audit of this version by {_attributes(evidence)}",),
        lacking=(
            "the provider's list of groups, to compare the audited groups with",
            "an examination of the training data themselves",
            "measures against bias and a signed decision on what remains",
        ),
        rests_on_audit=True,
    )


@judged_by("AIA-Art10-2-h")
def data_gaps(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if not evidence["result"].get("notes"):
        return Finding()
    return Finding(
        held=("gaps that the audit noted in the audited cohort",),
        lacking=("gaps of the training data", "how each gap is handled"),
    )


@judged_by("AIA-Art10-3-4")
def representativeness(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if not evidence["cohort"]["summary"]:
        return Finding()
    return Finding(
        held=("counts of the audited cohort per attribute",),
        lacking=(
            "the declared target population and setting",
            "coverage by site",
            "counts of the training data",
        ),
    )


@judged_by("AIA-Art9-6")
def thresholds_beforehand(evidence: dict[str, Any], context: ReportContext) -> Finding:
    protocol, run = evidence["protocol"], evidence["run"]
    lacking = ["an assessment of effects on minors", "an assessment of further vulnerable groups"]
    dates = (protocol["locked_at"], protocol["approved_at"], run["requested_at"])
    if None in dates or not in_order(*dates):
        lacking.insert(0, "thresholds that were locked and approved before the test was requested")
        return Finding(held=("thresholds in a locked protocol",), lacking=tuple(lacking), rests_on_audit=True)
    held = f"thresholds locked on {day(dates[0])} and approved on {day(dates[1])}, before the test was requested"
    return Finding(held=(held,), lacking=tuple(lacking), rests_on_audit=True)


@judged_by("AIA-AnnexIV-2-g")
def validation_and_testing(evidence: dict[str, Any], context: ReportContext) -> Finding:
    result = evidence["result"]
    primary = [item for item in result["verdicts"] if item["primary"]]
    bare = [item["criterion"] for item in primary if None in (item["value"], item["low"], item["high"], item["n"])]
    suites = {item.get("suite") for item in result["measurements"]}
    lacking = [] if primary else ["primary criteria in the protocol"]
    if bare:
        lacking.append(f"value, interval or sample size of {join_words(sorted(set(bare)))}")
    lacking += [f"a {name} audit of this version" for name in ("robustness",) if name not in suites]
    return Finding(
        held=("protocol, results with intervals and sample sizes, digests of version and cohort",),
        lacking=tuple(lacking),
        rests_on_audit=True,
    )


@judged_by("AIA-AnnexIV-2-g-reports")
def signed_reports(evidence: dict[str, Any], context: ReportContext) -> Finding:
    return Finding(
        held=("a dated test record with the person who requested it, bound to the ledger",),
        lacking=("a signature of the person responsible for the test",),
    )


@judged_by("AIA-AnnexIV-3-performance")
def performance(evidence: dict[str, Any], context: ReportContext) -> Finding:
    rows = evidence["result"]["measurements"]
    silent = [row for row in rows if row["value"] is None and not row["reason"]]
    lacking = ["the provider's statement of limitations and list of groups"]
    if silent:
        lacking.append(f"a value or a reason for {len(silent)} measurements")
    return Finding(
        held=(f"performance per group with intervals, by {_attributes(evidence)}",),
        lacking=tuple(lacking),
        rests_on_audit=True,
    )


@judged_by("AIA-AnnexIV-3-input")
def input_data(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if not evidence["version"]["config"].get("modalities"):
        return Finding()
    return Finding(
        held=("the inputs that the model reads, and which it cannot do without",),
        lacking=(
            "format, quality and range of each input",
            "exclusions",
            "what happens to input that is rejected",
        ),
    )


@judged_by("AIA-Art15-1")
def accuracy(evidence: dict[str, Any], context: ReportContext) -> Finding:
    return Finding(
        held=("the judgement of this version against the thresholds of the protocol",),
        lacking=("levels of accuracy declared to users", "monitoring in use"),
        rests_on_audit=True,
    )


@judged_by("AIA-Art11-1")
def current_file(evidence: dict[str, Any], context: ReportContext) -> Finding:
    return Finding(
        held=("this document, bound to the version's digest and dated",),
        lacking=("the deployed version and its release date", "the owner of this file"),
    )


@judged_by("AIA-AnnexIV-6")
def changes(evidence: dict[str, Any], context: ReportContext) -> Finding:
    if context.review is None or context.review.closed_at is None:
        return Finding()
    return Finding(
        held=("the committee's decision on this version",),
        lacking=("the list of changes since the first release", "for each, whether it is substantial"),
    )
