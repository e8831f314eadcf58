"""The engine: measures a cohort's predictions and judges them by a protocol. A library without Django.

from evaluation.engine import load_protocol, run_audit

result = run_audit(protocol=load_protocol("imaging-classifier-v1"), predictions=Path("predictions.csv"))
print(result.assessment.outcome)
"""

from evaluation.engine.assessment import advise, assess
from evaluation.engine.protocol import Protocol, bundled_names, load_protocol
from evaluation.engine.records import Advice, Assessment, Measurement, Outcome, ShardTable, Verdict
from evaluation.engine.runner import AuditResult, run_audit
from evaluation.engine.sketch import AuditSketch, sketch_shard
from evaluation.engine.warming import warm_up

__all__ = [
    "Advice",
    "Assessment",
    "AuditResult",
    "AuditSketch",
    "Measurement",
    "Outcome",
    "Protocol",
    "ShardTable",
    "Verdict",
    "advise",
    "assess",
    "bundled_names",
    "load_protocol",
    "run_audit",
    "sketch_shard",
    "warm_up",
]
