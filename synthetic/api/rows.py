"""What a program may see of orders: one function for each kind, through which every operation gets its objects.

What does not exist and what the person may not see answer alike: while an operation is run, only the systems that its
person may see are in sight (``core.scope``), and of others nothing is found.
"""

from __future__ import annotations

from django.db.models import QuerySet

from core.api.requests import TokenRequest
from core.errors import NotFoundError
from synthetic.models import Generation, GeneratorTraining


def trainings_seen(request: TokenRequest) -> QuerySet[GeneratorTraining]:
    rows = GeneratorTraining.objects.select_related("system", "cohort__cohort", "requested_by", "result")
    return rows.defer("curves", "facts", "cohort__summary")


def training_of(request: TokenRequest, pk: int) -> GeneratorTraining:
    """The training of a generator by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = trainings_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such training.", remedy="Take its number from the list of generators.")
    return found


def orders_seen(request: TokenRequest) -> QuerySet[Generation]:
    rows = Generation.objects.filter(version__isnull=False)
    return rows.select_related("version__system", "requested_by", "result__cohort").defer("facts")


def order_of(request: TokenRequest, pk: int) -> Generation:
    """An order of patients by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = orders_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such order.", remedy="Take its number from the list of orders.")
    return found
