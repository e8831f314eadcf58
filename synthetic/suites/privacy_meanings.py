"""What each attack on privacy means, which risk it feeds, where it is published, and where its gate lies."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.engine.registry import MetricInfo, MetricKind

CRITERIA = SINGLING, LINKING, INFERRING, OTHER = "singling out", "linkability", "inference", "other"
"""Criteria of the Article 29 Working Party, Opinion 05/2014 (WP216), and what lies beyond them."""
PUBLISHED = ("illegitimate_access",)
"""Row of a data protection impact assessment that an attack feeds which tells who somebody is, or what he has."""
MEMORISED = ("model_inference",)
"""Row that an attack feeds which tells what the generator has kept of those it learnt from."""
BOTH = PUBLISHED + MEMORISED
"""Rows of a copy: a person's record is published because the generator kept it."""


def _(text: str) -> str:
    """Mark a text that reports translate. This package knows no Django, which finds the mark."""
    return text


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What an attack tells.

    Attributes:
        plainly: In plain words.
        criterion: Of WP216, or ``other``.
        risk: What would happen to a patient, in one sentence.
        rows: Keys of the rows of a data protection impact assessment that it feeds.
        source: Where it is published.
    """

    plainly: str
    criterion: str
    risk: str
    rows: tuple[str, ...]
    source: str


def _rate(title: str, counted: str) -> MetricInfo:
    return MetricInfo(title=title, kind=MetricKind.RATE, counted=counted)


MADE = "synthetic patients"
METRICS: dict[str, MetricInfo] = {
    "dcr_share": _rate("share of synthetic patients nearer to a learnt patient than to one held out", MADE),
    "dcr_tail": _rate(
        "distance to the nearest learnt patient over that to the nearest held out (5th percentile)", MADE
    ),
    "near_copies": _rate("near copies of learnt patients, beyond those of patients held out", MADE),
    "copies": _rate("exact copies of learnt patients, beyond those of patients held out", MADE),
    "domias_auc": _rate("area under the curve of telling learnt patients by densities", "patients"),
    "domias_tpr": _rate("share of learnt patients told by densities at 1 % false alarms", "patients"),
    "singling_out": _rate("risk of singling out, beyond controls", "attacked patients"),
    "linkability": _rate("risk of linking two parts of a record, beyond controls", "attacked patients"),
    "inference": _rate("risk of inferring what is not known of a patient, beyond controls", "attacked patients"),
    "image_copies": _rate("copied images by a copy finder, beyond those of patients held out", MADE),
    "text_copies": _rate("texts repeated whole, beyond those of patients held out", MADE),
    "text_overlap": _rate("share of 13 words in a row that repeat a text, beyond that of patients held out", MADE),
    "text_longest_run": _rate("share of a text that repeats one text, beyond that of patients held out", MADE),
    "canaries_extracted": _rate("planted canaries that synthetic texts repeat", "planted canaries"),
    "weights_auc": _rate("area under the curve of telling learnt patients by the weights' losses", "patients"),
    "weights_tpr": _rate("share of learnt patients told by the weights' losses at 1 % false alarms", "patients"),
    "canary_exposure": _rate("area under the curve of telling planted canaries by the weights' losses", "canaries"),
}

GATES: dict[str, tuple[str, float]] = {
    "dcr_share": ("at_most", 0.55),
    "dcr_tail": ("at_least", 0.95),
    "near_copies": ("at_most", 0.01),
    "copies": ("at_most", 0.01),
    "domias_auc": ("at_most", 0.60),
    "domias_tpr": ("at_most", 0.05),
    "singling_out": ("at_most", 0.09),
    "linkability": ("at_most", 0.09),
    "inference": ("at_most", 0.09),
    "image_copies": ("at_most", 0.01),
    "text_copies": ("at_most", 0.03),
    "text_overlap": ("at_most", 0.05),
    "text_longest_run": ("at_most", 0.02),
    "canaries_extracted": ("at_most", 0.001),
    "weights_auc": ("at_most", 0.60),
    "weights_tpr": ("at_most", 0.05),
    "canary_exposure": ("at_most", 0.60),
}
"""Direction and margin that a protocol proposes; an interval must lie inside as a whole. None is a regulator's but .09,
which the European Medicines Agency and Health Canada take for clinical reports that are published."""

_DCR = "Platzer and Reutterer (2021), Frontiers in Big Data 4:679939; its limits: Yao et al. (2025), arXiv:2505.01524"
_ANONYMETER = "Giomi, Boenisch, Wehmeyer and Tasnádi (2023), PoPETs 2023(2):312"
_DOMIAS = (
    "van Breugel, Sun, Qian and van der Schaar (2023), Membership inference attacks against synthetic data, AISTATS"
)
_LOSSES = "Yeom et al. (2018), CSF; Carlini et al. (2022), IEEE S&P; EDPB Opinion 28/2024"
_TEXTS = "Carlini et al. (2021), USENIX Security; Carlini et al. (2023), ICLR"
_AT_1 = "Carlini et al. (2022), Membership inference attacks from first principles, IEEE S&P"

MEANINGS: dict[str, Meaning] = {
    "dcr_share": Meaning(
        plainly=_(
            "Half of the synthetic patients lie nearer to a learnt patient than to another when nothing was learnt"
            " by heart. A screening only: sets that pass it have fallen to other attacks."
        ),
        criterion=OTHER,
        risk=_("Synthetic patients resemble the real ones they were learnt from."),
        rows=MEMORISED,
        source=_DCR,
    ),
    "dcr_tail": Meaning(
        plainly=_("The nearest one in twenty synthetic patients is no nearer to learnt patients than to others."),
        criterion=OTHER,
        risk=_("A few synthetic patients are near doubles of real ones."),
        rows=MEMORISED,
        source=_DCR,
    ),
    "near_copies": Meaning(
        plainly=_("How many synthetic patients lie as near to a learnt patient as one in a hundred others does."),
        criterion=SINGLING,
        risk=_("A patient is recognised in a synthetic one that was changed a little."),
        rows=BOTH,
        source=_DCR,
    ),
    "copies": Meaning(
        plainly=_("How many synthetic patients have a study or an image that equals a learnt one, value by value."),
        criterion=SINGLING,
        risk=_("A real record or image is published as a synthetic one."),
        rows=BOTH,
        source=_DCR,
    ),
    "domias_auc": Meaning(
        plainly=_(
            "How well somebody who holds real patients of the same kind can tell whether a given patient was learnt"
            " from; .5 is chance. Patients unlike all others are shown apart."
        ),
        criterion=OTHER,
        risk=_("It becomes known that a patient was treated at the hospital."),
        rows=BOTH,
        source=_DOMIAS,
    ),
    "domias_tpr": Meaning(
        plainly=_("How many learnt patients such an attacker names while wrong about one in a hundred others."),
        criterion=OTHER,
        risk=_("For some patients it becomes certain that the hospital treated them."),
        rows=BOTH,
        source=_AT_1,
    ),
    "singling_out": Meaning(
        plainly=_("How often what describes exactly one synthetic patient describes exactly one learnt patient."),
        criterion=SINGLING,
        risk=_("A patient is isolated in the real data by means of the synthetic."),
        rows=PUBLISHED,
        source=_ANONYMETER,
    ),
    "linkability": Meaning(
        plainly=_("How often two parts of a patient's record, held by two people, lead to the same synthetic patient."),
        criterion=LINKING,
        risk=_("Two data sets are joined on a patient by means of the synthetic."),
        rows=PUBLISHED,
        source=_ANONYMETER,
    ),
    "inference": Meaning(
        plainly=_(
            "How often the most similar synthetic patient has the findings or readings that are not known of a patient."
        ),
        criterion=INFERRING,
        risk=_("A diagnosis is inferred from what is known of a patient."),
        rows=PUBLISHED,
        source=_ANONYMETER,
    ),
    "image_copies": Meaning(
        plainly=_("How many synthetic images show a learnt image again, also moved, or of another exposure."),
        criterion=SINGLING,
        risk=_("A patient's image is published as a synthetic one."),
        rows=BOTH,
        source="Dar et al. (2025), Nature Biomedical Engineering; Pizzi et al. (2022), CVPR",
    ),
    "text_copies": Meaning(
        plainly=_("How many synthetic patients have a text that repeats a learnt text as a whole."),
        criterion=SINGLING,
        risk=_("A patient's report is published as a synthetic one."),
        rows=BOTH,
        source=_TEXTS,
    ),
    "text_overlap": Meaning(
        plainly=_("How many of a synthetic text's 13 words in a row appear in a learnt text."),
        criterion=SINGLING,
        risk=_("Sentences about a patient are published."),
        rows=BOTH,
        source=_TEXTS,
    ),
    "text_longest_run": Meaning(
        plainly=_("How much of a synthetic text is one piece of a learnt text."),
        criterion=SINGLING,
        risk=_("Long passages about a patient are published."),
        rows=BOTH,
        source=_TEXTS,
    ),
    "canaries_extracted": Meaning(
        plainly=_("Sentences that were planted in one report each before the training, and appear in synthetic texts."),
        criterion=OTHER,
        risk=_("What only one report says comes out of the generator."),
        rows=MEMORISED,
        source="Carlini et al. (2019), The secret sharer, USENIX Security",
    ),
    "weights_auc": Meaning(
        plainly=_("How well somebody who holds the generator itself can tell whether a given patient was learnt from."),
        criterion=OTHER,
        risk=_("The weights are personal data and may not leave the hospital."),
        rows=MEMORISED,
        source=_LOSSES,
    ),
    "weights_tpr": Meaning(
        plainly=_(
            "How many learnt patients somebody who holds the generator names, wrong about one in a hundred others."
        ),
        criterion=OTHER,
        risk=_("For some patients the weights prove that the hospital treated them."),
        rows=MEMORISED,
        source=_AT_1,
    ),
    "canary_exposure": Meaning(
        plainly=_("Whether the generator knows sentences that were planted better than others of the same form."),
        criterion=INFERRING,
        risk=_("What only one report says can be read off the weights."),
        rows=MEMORISED,
        source="Carlini et al. (2019), The secret sharer, USENIX Security",
    ),
}
