"""The plain reader that the extractor is measured beside: blank spaCy, a list of synonyms, negspacy as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from evaluation.engine.text.records import Assertion

SYNONYMS = {
    "atelectasis": ["atelectasis", "atelectatic", "atelectases"],
    "cardiomegaly": ["cardiomegaly", "enlarged heart", "heart is enlarged", "enlarged cardiac silhouette"],
    "effusion": ["effusion", "effusions"],
    "infiltration": ["infiltrate", "infiltrates", "infiltration"],
    "mass": ["mass", "masses"],
    "nodule": ["nodule", "nodules"],
    "pneumonia": ["pneumonia"],
    "pneumothorax": ["pneumothorax", "pneumothoraces"],
    "consolidation": ["consolidation", "consolidations"],
    "edema": ["edema"],
    "emphysema": ["emphysema", "emphysematous"],
    "fibrosis": ["fibrosis", "fibrotic"],
    "pleural_thickening": ["pleural thickening"],
    "hernia": ["hernia"],
}


@cache
def plain_pipeline() -> Any:
    """Tokens, sentences, synonyms and negation."""
    import spacy
    from negspacy import negation  # noqa: F401 - its import registers the component

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler", config={"phrase_matcher_attr": "LOWER"})
    ruler.add_patterns([{"label": name, "pattern": text} for name, texts in SYNONYMS.items() for text in texts])
    nlp.add_pipe("negex", config={"ent_types": list(SYNONYMS)})
    return nlp


def read_plainly(texts: Iterable[str]) -> Iterator[dict[str, Assertion]]:
    """What each text says of each finding: present where a mention is not negated."""
    for document in plain_pipeline().pipe(texts):
        found: dict[str, Assertion] = {}
        for entity in document.ents:
            if not entity._.negex:
                found[entity.label_] = Assertion.PRESENT
            else:
                found.setdefault(entity.label_, Assertion.ABSENT)
        yield found
