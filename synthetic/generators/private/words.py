"""Words of reports that are known before any report is read, and reports that are made of them alone.

From the platform's vocabulary of radiographs come the words of the findings that a domain names; then the words of
plans, a list of our own, and what the domain adds. A sentence with any other word is not learnt.
"""

from __future__ import annotations

import re

import numpy as np

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.canaries import WORDS as CANARY_WORDS
from synthetic.generators.kinds.report_words import END, PAD, Vocabulary
from synthetic.generators.plan_reading import ZONE_WORDS
from synthetic.generators.plans import PARTS, SIZES, ZONES, Plans
from synthetic.generators.private.domain import Domain

COMMON = """
a about above acute after again all along also an and any appear appears are area as associated at atelectasis be
bilateral blunting bone bones bony both breath but by cardiac cardiomediastinal catheter central changes chest chronic
clear clips consistent contour costophrenic cough day days degenerative demonstrated density device diaphragm
difficult disease dyspnea edema elevated enlarged enlargement evidence exam examination fever few film finding
findings focal follow for fracture free from further grossly has have haziness heart hemidiaphragm hilar history image
impression in increased indicates indication infiltrate intact interstitial interval is it large lateral left limits
line lobe low lower lung lungs mass mediastinal mediastinum mild mildly minimal moderate more most new no nodule
normal not noted now obscured of on opacities opacity or otherwise overlying pain patchy patient pattern pleural
portable position possible possibly post present prior probable probably process prominent pulmonary remain remains
right scarring seen series severe shadow shortness shows side sided silhouette since size small soft spine stable
status sternotomy structures study suggest suggesting surgical tenderness than that the there thickening this tip
tissue to tube unchanged unremarkable up upper vascular vascularity very view views visible visualized volume volumes
was well were with within without year years zone zones
"""
"""Words of reports and of why an image is asked for: a list of our own."""
SIGNS = (" ", "\n", ".", ",", ":", ";", "-", "/", "(", " (", ")", "?", *(str(digit) for digit in range(10)),
         *(f" {number}" for number in range(31)))  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def title_of(finding: str) -> str:
    """A finding in words: as the platform's vocabulary calls it, or its name."""
    from evaluation.engine.text.ontology import ontology

    return ontology().titles.get(finding, finding.replace("_", " "))


def words_of(domain: Domain) -> tuple[str, ...]:
    """Every word with a small letter in front, sorted."""
    from evaluation.engine.text.ontology import ontology

    found = {*_WORD.findall(COMMON), *domain.words, *(word for words in PARTS.values() for word in words)}
    found |= {word for words in ZONE_WORDS.values() for word in words}
    for name in domain.findings:
        found |= set(_WORD.findall(title_of(name)))
    for phrase, action in ontology().actions.items():
        if set(action.names) & set(domain.findings):
            found |= set(_WORD.findall(phrase))
    return tuple(sorted(found))


def vocabulary_of(domain: Domain) -> Vocabulary:
    """Each word with a space before it, and with a capital at the start of a sentence; signs and small numbers."""
    words = words_of(domain)
    tokens = {f" {word}" for word in words} | {word[:1].upper() + word[1:] for word in words} | set(SIGNS)
    return Vocabulary((PAD, END, *sorted(tokens)))


def reports_of(plans: Plans, rng: np.random.Generator) -> list[str]:
    """A report of plain sentences for each plan: it tells all that the plan tells, and nothing else."""
    return [" ".join(_sentences(plans, row, rng)) for row in range(len(plans))]


def _sentences(plans: Plans, row: int, rng: np.random.Generator) -> list[str]:
    made = []
    for column in rng.permutation(len(plans.findings)).tolist():
        title, state = title_of(plans.findings[column]), int(plans.present[row, column])
        if state == 0:
            made.append(str(rng.choice([f"No {title}.", f"No evidence of {title}.", f"There is no {title}."])))
        elif state == 1:
            made.append(_present(plans, row, column, title, rng))
    return made or ["Unremarkable."]


def _present(plans: Plans, row: int, column: int, title: str, rng: np.random.Generator) -> str:
    side, zone, size = (int(plans.part(name)[row, column]) for name in PARTS)
    words = [SIZES[size]] if size >= 0 else []
    words += [("left", "right", "bilateral")[side]] if side >= 0 else []
    words += [ZONES[zone], "zone"] if zone >= 0 else []
    told = " ".join([*words, title])
    if rng.random() < 0.3:
        return f"There is {told}."
    return f"{told[:1].upper()}{told[1:]}."


def public_canaries(domain: Domain, n: int, *, seed: int, purpose: str = "canaries") -> list[str]:
    """Invented texts of words of the vocabulary, in an order that nobody would write."""
    words = [word for word in words_of(domain) if word.isalpha()]
    rng = generator(seed, "private", purpose)
    made = [rng.choice(words, CANARY_WORDS, replace=False).tolist() for _ in range(n)]
    return [" ".join([item[0].capitalize(), *item[1:]]) + "." for item in made]
