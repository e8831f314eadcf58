"""Whether the sections on what a model writes make sense: reports, probing, sampling, perturbation, judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import AuscultError

if TYPE_CHECKING:
    from evaluation.engine.text.ontology import Ontology

Path = tuple[str | int, ...]
Problem = tuple[Path, str]
SECTIONS = ("reports", "probing", "sampling", "perturbation")
SUITE = "hallucination"
JUDGED = frozenset({"text.reference", "text.generated"})
BASES = {
    "reports": "reports",
    "probes": "probing",
    "samples": "sampling",
    "perturbed": "perturbation",
    "streams": "drift",
    "linked": "linked",
}
"""What a metric is computed from -> the section that it needs."""

WHOLE = {
    "reports": "whole reports",
    "probes": "all questions",
    "samples": "all samples",
    "perturbed": "all changed studies",
    "streams": "every stream of its family",
    "linked": "all synthetic patients",
}


def text_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of the sections, each with the path of its key. Their shapes were checked."""
    others = any(body.get(name) is not None for name in ("drift", "linked"))
    if not body["labels"] and not others and not any(body.get(name) for name in ("reports", "probing")):
        yield (
            ("labels",),
            "name at least one label, or declare 'reports' for a model that writes them, 'probing' for one that "
            "answers questions, or 'drift' to watch what it is given.",
        )
    yield from _report_problems(body)
    yield from _probing_problems(body)
    yield from _sampling_problems(body)
    yield from _perturbation_problems(body)
    yield from _judge_problems(body)
    suites = body.get("suites", ["fairness"])
    wanted = [name for name in (*SECTIONS[1:], "judges") if body.get(name) is not None and body.get(name) != []]
    if SUITE not in suites:
        for name in wanted:
            yield (name,), f"this is measured by the suite '{SUITE}': name it in 'suites'."
    elif not wanted and not body.get("reports"):
        yield ("suites",), f"the suite '{SUITE}' measures nothing without one of: {', '.join(SECTIONS)}."


def basis_problem(item: Mapping[str, Any], info: Any, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Problems of a criterion on a metric that is not computed on labels: (key, message)."""
    section = BASES.get(info.basis)
    if section is None:
        if not body["labels"]:
            yield "metric", f"'{item['metric']}' is computed on labels, and the protocol has none."
        return
    if body.get(section) is None:
        yield "metric", f"'{item['metric']}' needs the section '{section}'."
    if item.get("labels", ["*"]) != ["*"]:
        yield "labels", f"'{item['metric']}' is computed on {WHOLE[info.basis]}: leave 'labels' out."


def _report_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    reports = body.get("reports")
    if not reports:
        return
    try:
        words = _vocabulary(reports)
    except AuscultError as error:
        yield ("reports", "vocabulary"), f"{error.message} {error.remedy}"
        return
    for name in reports.get("findings", []):
        if name != "*" and name not in words.findings:
            yield (
                ("reports", "findings"),
                f"'{name}' is not in the ontology. {_known(words.findings)} Use \"*\" for all.",
            )
    if reports.get("prior") in JUDGED:
        yield ("reports", "prior"), f"'{reports['prior']}' is what is judged, no earlier study."
    yield from _number_problems(reports.get("numbers", []))


def _vocabulary(reports: Mapping[str, Any]) -> Ontology:
    from evaluation.engine.text.ontology import ontology

    if not reports.get("vocabulary"):
        return ontology()
    from evaluation.engine.text.ontology import vocabulary_of

    return vocabulary_of(reports["vocabulary"])


def _number_problems(rules: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    if not rules:
        return
    from evaluation.engine.text.analytes import analyte_words, conversion

    known = analyte_words().analytes
    twice = Counter(rule["analyte"] for rule in rules)
    for index, rule in enumerate(rules):
        path: Path = ("reports", "numbers", index)
        name = rule["analyte"]
        if name not in known:
            yield (*path, "analyte"), f"there is no analyte '{name}'. {_known(known)}"
            continue
        if twice[name] > 1:
            yield (*path, "analyte"), f"'{name}' is named {twice[name]} times; a number is held against one series."
        units = known[name].units
        try:
            convertible = conversion(name, rule["unit"], units[0]) is not None
        except AuscultError:
            convertible = False
        if not convertible:
            yield (*path, "unit"), f"'{rule['unit']}' is no UCUM unit of '{name}'. It is stated in: {', '.join(units)}."
        if "low" in rule and "high" in rule and rule["low"] >= rule["high"]:
            yield (*path, "high"), "the reference range must rise: 'low' lies below 'high'."


def _probing_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    probing = body.get("probing")
    if not probing:
        return
    from evaluation.engine.probing.wording import SEPARATOR, phrase_of

    for name in probing["findings"]:
        try:
            phrase_of(name)
        except AuscultError as error:
            yield ("probing", "findings"), f"{error.message} {error.remedy}"
        if SEPARATOR in name:
            yield ("probing", "findings"), f"'{name}' has a '{SEPARATOR}' in its name, which joins options: rename it."
    yield from _modality_problems(("probing", "modality"), probing.get("modality", "image"))
    if "wrong_image" in probing.get("kinds", []) and probing.get("modality", "image") != "image":
        yield ("probing", "kinds"), "'wrong_image' shows another patient's image: the modality must be 'image'."


def _sampling_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    sampling = body.get("sampling")
    if sampling is not None:
        yield from _needs("sampling", sampling.get("of", "reports"), body)


def _perturbation_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    perturbation = body.get("perturbation")
    if perturbation is None:
        return
    yield from _needs("perturbation", perturbation.get("of", "answers"), body)
    modality, dropped = perturbation.get("modality", "image"), perturbation.get("dropped", [])
    yield from _modality_problems(("perturbation", "modality"), modality)
    if not perturbation.get("kinds", ["blank"]) and not dropped:
        yield ("perturbation", "kinds"), "nothing is perturbed: name a kind, or a modality to be dropped."
    for name in dropped:
        if name in JUDGED:
            yield ("perturbation", "dropped"), f"'{name}' is what is judged: no model is given it."
        if name == modality:
            yield (
                ("perturbation", "dropped"),
                f"'{name}' is the modality that is made blank: 'dropped' takes others away.",
            )


def _judge_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    judges = body.get("judges") or []
    if not judges:
        return
    from evaluation.engine.judges import JUDGES

    if not body.get("reports"):
        yield ("judges",), "judges read reports: declare the section 'reports'."
    for index, name in enumerate(judges):
        if name not in JUDGES.keys():  # noqa: SIM118 - a Registry is no mapping
            yield ("judges", index), f"there is no judge '{name}'. {_known(JUDGES.keys())}"


def _needs(section: str, kind: str, body: Mapping[str, Any]) -> Iterator[Problem]:
    needed = "probing" if kind == "answers" else "reports"
    if not body.get(needed):
        yield (section, "of"), f"'{kind}' needs the section '{needed}'."


def _modality_problems(path: Path, modality: str) -> Iterator[Problem]:
    if modality in JUDGED:
        yield path, f"'{modality}' is what is judged: no model is given it."
    elif modality != "image" and not modality.startswith(("text.", "series.")):
        yield path, f"'{modality}' is no modality that can be made blank or swapped: use image, text.* or series.*."


def _known(names: Any) -> str:
    return f"Known: {', '.join(names)}."
