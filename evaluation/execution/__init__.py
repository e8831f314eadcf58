"""What workers do for an audit: run the model over shares of patients, then merge, measure and judge."""

from evaluation.execution.judging import judge, work_out_advice
from evaluation.execution.sequence import execute_shares, sketch_cached
from evaluation.execution.shards import execute_shard, finish_run
from evaluation.execution.sweep import requeue_work

__all__ = ["execute_shard", "execute_shares", "finish_run", "judge", "requeue_work", "sketch_cached", "work_out_advice"]
