"""Classes of errors by which studies are looked up, and which of them a metric counts."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.engine.registry import Basis, known_metrics

DIFFERENCE = "_difference"


@dataclass(frozen=True, kw_only=True)
class ErrorClass:
    """What a reader may filter by.

    Attributes:
        kinds: Kinds of marks, answers or flags that belong to it.
        error: It is an error of the model; otherwise it is only worth looking at.
    """

    key: str
    title: str
    kinds: tuple[str, ...]
    error: bool = True


NUMBERS = ("fabricated_number", "wrong_value", "wrong_unit", "wrong_flag", "wrong_time")
CLASSES: dict[str, ErrorClass] = {
    item.key: item
    for item in (
        ErrorClass(key="unsupported", title="Unsupported or contradicted", kinds=("unsupported", "contradicted")),
        ErrorClass(key="contradicted", title="Contradicted or denied", kinds=("contradicted", "denied")),
        ErrorClass(key="omitted", title="Omitted finding", kinds=("omitted",)),
        ErrorClass(key="wrong_side", title="Wrong side", kinds=("wrong_side",)),
        ErrorClass(key="wrong_severity", title="Wrong severity", kinds=("wrong_severity",)),
        ErrorClass(key="numbers", title="Wrong number, any kind", kinds=NUMBERS),
        ErrorClass(key="fabricated_number", title="Fabricated number", kinds=("fabricated_number",)),
        ErrorClass(key="wrong_value", title="Wrong value", kinds=("wrong_value",)),
        ErrorClass(key="wrong_unit", title="Wrong unit", kinds=("wrong_unit",)),
        ErrorClass(key="wrong_flag", title="Wrongly called high, low or normal", kinds=("wrong_flag",)),
        ErrorClass(key="wrong_time", title="Wrong time of a value", kinds=("wrong_time",)),
        ErrorClass(key="no_prior", title="Compares with no prior", kinds=("no_prior",)),
        ErrorClass(key="absent_modality", title="Cites what it was not given", kinds=("absent_modality",)),
        ErrorClass(key="answer_wrong", title="Wrong answer", kinds=("answer_wrong",)),
        ErrorClass(key="answer_refused", title="Refused to answer", kinds=("answer_refused",), error=False),
        ErrorClass(key="answer_unparseable", title="Unreadable answer", kinds=("answer_unparseable",)),
        ErrorClass(key="answer_truncated", title="Answer cut off", kinds=("answer_truncated",)),
        ErrorClass(key="answer_unmoved", title="Same answer without the study", kinds=("answer_unmoved",), error=False),
        ErrorClass(key="answer_reworded", title="Other answer to other words", kinds=("answer_reworded",), error=False),
        ErrorClass(key="uncertain", title="Uncertain", kinds=("uncertain",), error=False),
        ErrorClass(key="supported", title="Supported finding", kinds=("supported",), error=False),
        ErrorClass(key="truncated", title="Report cut off", kinds=("truncated",), error=False),
        ErrorClass(key="abstained", title="No report, or declined", kinds=("abstained",), error=False),
        ErrorClass(key="unsupported_language", title="Not in English", kinds=("unsupported_language",), error=False),
        ErrorClass(key="no_reference", title="No expert's report", kinds=("no_reference",), error=False),
    )
}
ERROR_KINDS = frozenset(kind for item in CLASSES.values() if item.error for kind in item.kinds)
ANY, NONE = "any", "none"
"""Keys of two further choices: any error at all, and studies without one."""

_OF_METRIC = {
    "chair_i": "unsupported",
    "chair_s": "unsupported",
    "chair_i_lenient": "unsupported",
    "chair_s_lenient": "unsupported",
    "omission": "omitted",
    "omission_lenient": "omitted",
    "report_underdiagnosis_rate": "omitted",
    "negation_flip": "contradicted",
    "laterality_error": "wrong_side",
    "severity_error": "wrong_severity",
    "severity_weighted_error": ANY,
    "entity_f1": ANY,
    "number_error": "numbers",
    "number_fabricated": "fabricated_number",
    "number_value": "wrong_value",
    "number_unit": "wrong_unit",
    "number_flag": "wrong_flag",
    "number_time": "wrong_time",
    "prior_hallucination": "no_prior",
    "absent_modality_claims": "absent_modality",
    "abstention": "abstained",
    "unsupported_language": "unsupported_language",
    "truncated": "truncated",
    "refusal_rate": "answer_refused",
    "unparseable_rate": "answer_unparseable",
    "truncated_rate": "answer_truncated",
    "at_limit_rate": "answer_truncated",
    "answer_change_paraphrase": "answer_reworded",
    "js_paraphrase": "answer_reworded",
    "sampled_error_rate": ANY,
    "accuracy_plain": "answer_wrong",
    "accuracy_paraphrase": "answer_wrong",
}
_OF_BASIS = {Basis.PROBES: "answer_wrong", Basis.PERTURBED: "answer_unmoved"}
_WITH_STUDIES = frozenset({Basis.REPORTS, Basis.PROBES, Basis.PERTURBED, Basis.SAMPLES})


def class_of_metric(metric: str) -> str | None:
    """The class of errors that a metric, or the difference of a metric between groups, counts.

    Returns:
        A key of :data:`CLASSES`, or ``any``; "" where single studies can be looked at and no class is the metric's own;
        None where a metric rests on no text.
    """
    info, base = known_metrics().get(metric), metric.removesuffix(DIFFERENCE)
    if info is None or info.basis not in _WITH_STUDIES:
        return None
    return _OF_METRIC.get(base, _OF_BASIS.get(info.basis, ""))
