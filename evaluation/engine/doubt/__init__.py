"""How sure a model is of what it says, and whether it rests on the study at all.

Texts drawn with chance are compared with one another (``entropy``) and their spread with the model's errors
(``selective``); answers to a study that was changed are compared with those to the study as it is (``answers``).
"""

from evaluation.engine.doubt.plan import not_perturbed, plan_perturbed, plan_samples, settled_rows

__all__ = ["not_perturbed", "plan_perturbed", "plan_samples", "settled_rows"]
