"""What a program may see of governance: one function for each kind, through which every operation gets its objects.

What does not exist and what the person may not see answer alike: while an operation is run, only the systems that its
person may see are in sight (``core.scope``), and of others nothing is found.
"""

from __future__ import annotations

from django.db.models import QuerySet

from core.api.requests import TokenRequest
from core.errors import NotFoundError
from governance import selectors
from governance.models import Bundle, Report, Review
from governance.selectors.deployments import deployment_by_id
from models_registry.models import Deployment


def deployment_of(request: TokenRequest, pk: int) -> Deployment:
    """A deployment by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    return deployment_by_id(pk)


def reviews_seen(request: TokenRequest) -> QuerySet[Review]:
    return selectors.reviews()


def review_of(request: TokenRequest, pk: int) -> Review:
    """A review by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = reviews_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such review.", remedy="Take its number from the list of reviews.")
    return found


def reports_seen(request: TokenRequest) -> QuerySet[Report]:
    return Report.objects.select_related("version__system", "run", "issued_by")


def report_of(request: TokenRequest, pk: int) -> Report:
    """A report by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = reports_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such report.", remedy="Take its number from the list of reports.")
    return found


def bundles_seen(request: TokenRequest) -> QuerySet[Bundle]:
    return Bundle.objects.select_related("review__version__system", "issued_by")


def bundle_of(request: TokenRequest, pk: int) -> Bundle:
    """A bundle by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = bundles_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such bundle.", remedy="Take its number from the list of bundles.")
    return found
