"""Studies that somebody brings to a monitor, by the programming interface or by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.digests import sha256_file
from core.errors import CohortError, ConflictError
from core.models import User
from core.reach import limited
from evaluation.access_deliveries import check_may_deliver
from evaluation.models import Delivery, Monitor
from models_registry.cohorts import Mapping

LINES = (".ndjson", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A delivery, and whether the same content had not come before."""

    delivery: Delivery
    new: bool


@limited
def deliver_studies(*, monitor: Monitor, path: Path, name: str, by: User) -> Delivered:
    """Check a CSV, Parquet or NDJSON file of studies and keep them for the windows that they belong to.

    The whole file is taken or refused. The same content again is the same delivery; a study that comes again in other
    words is completed by the later ones until its window is collected.

    Args:
        name: For people; a refused delivery counts as mended once another one of that name is taken.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: the monitor has ended.
    """
    from evaluation.monitoring.deliveries import scratch, take
    from evaluation.monitoring.sources.base import Arrived
    from evaluation.monitoring.sources.rows import ndjson_rows, write_rows

    check_may_deliver(by, monitor)
    if monitor.status == Monitor.Status.ENDED:
        raise ConflictError("The monitor has ended.", remedy="Send the studies to the monitor that replaced it.")
    digest = sha256_file(path)
    known = Delivery.objects.filter(monitor=monitor, source_digest=digest).first()
    if known is not None:
        return Delivered(delivery=known, new=False)
    with scratch() as folder:
        source, fault = path, None
        if path.name.lower().endswith(LINES):
            lines = folder / "lines.parquet"
            try:
                with path.open("rb") as stream:
                    some = write_rows(ndjson_rows(stream, name=name), lines)
                source = lines if some else path  # with nothing in it the file itself says so best
            except CohortError as error:
                fault = error
        own = monitor.source_kind == Monitor.Source.API
        mapping = Mapping.from_dict(monitor.source.get("mapping") or {}) if own else Mapping()
        arrived = Arrived(name=name, digest=digest, path=source, mapping=mapping, fault=fault)
        return Delivered(delivery=take(monitor, arrived, by=by), new=True)
