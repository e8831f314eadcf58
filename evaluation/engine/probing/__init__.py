"""Questions whose answers the cohort knows: which are asked, in which words, and what is made of the answers.

Source: Li et al. (2023), EMNLP 292 (POPE), for random, popular and adversarial negatives.
"""

from evaluation.engine.probing.answers import Answer, parse_answer, read_answers
from evaluation.engine.probing.plan import not_asked, plan_probes
from evaluation.engine.probing.truth import truth_rows
from evaluation.engine.probing.wording import options_of, questions_for

__all__ = [
    "Answer",
    "not_asked",
    "options_of",
    "parse_answer",
    "plan_probes",
    "questions_for",
    "read_answers",
    "truth_rows",
]
