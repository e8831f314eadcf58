"""What a program may see of audits and monitors: one function for each kind, through which operations get them.

What does not exist and what the person may not see answer alike: while an operation is run, only the systems that its
person may see are in sight (``core.scope``), and of others nothing is found.
"""

from __future__ import annotations

from django.db.models import QuerySet

from core.api.requests import TokenRequest
from core.errors import NotFoundError
from evaluation import selectors
from evaluation.models import AuditRun, Monitor, Protocol


def protocols_seen(request: TokenRequest) -> QuerySet[Protocol]:
    return Protocol.objects.select_related("locked_by", "approved_by")


def protocol_of(request: TokenRequest, pk: int) -> Protocol:
    """A protocol by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = protocols_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such protocol.", remedy="Take its number from the list of protocols.")
    return found


def runs_seen(request: TokenRequest) -> QuerySet[AuditRun]:
    return selectors.list_runs().select_related("version__submitted_by", "protocol__approved_by")


def run_of(request: TokenRequest, pk: int) -> AuditRun:
    """An audit by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = runs_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such audit.", remedy="Take its number from the list of audits.")
    return found


def monitors_seen(request: TokenRequest) -> QuerySet[Monitor]:
    related = ("deployment__version__system", "protocol", "reference_cohort__cohort", "owner", "escalate_to")
    return Monitor.objects.select_related(*related)


def monitor_of(request: TokenRequest, pk: int) -> Monitor:
    """A monitor by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = monitors_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such monitor.", remedy="Its number is in the address of its page.")
    return found
