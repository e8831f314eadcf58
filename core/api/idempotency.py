"""A request that may be sent again: with a key of the sender's, it is carried out once and answered alike.

The key and the digest of the request are kept keyed with the installation's secret: a sender may use the number of an
examination as its key. The answer is kept in the transaction of the act, so that either both are there or neither.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.crypto import salted_hmac

from core.api.problems import InFlightError, KeyUsedError
from core.errors import AuscultError, ConflictError
from core.models import ApiRequest, User

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY = re.compile(r"[\x21-\x7e]{1,200}")
KEPT = timedelta(hours=24)
LEASE = timedelta(minutes=10)
"""A request that has not been answered for so long is taken for lost: its process died, and with it its transaction."""
HEADERS = ("Content-Type", "Location", "Cache-Control")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request with a key: whose it is, and what it asks."""

    person: User
    key: str
    method: str
    path: str
    digest: str


def asked_once(request: HttpRequest, person: User, *, body: str) -> Asked | None:
    """The request with its key; None where it has none.

    Args:
        body: SHA-256 of the body.

    Raises:
        AuscultError: the key is too long, or has characters beyond ASCII or blanks.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not KEY.fullmatch(key):
        raise AuscultError(
            f"The header {HEADER} is not as asked for.",
            remedy="Send 1 to 200 visible ASCII characters, such as a UUID.",
        )
    what = "\n".join((request.method or "", request.get_full_path(), request.content_type or "", body))
    return Asked(
        person=person,
        key=_keyed("key", key),
        method=request.method or "",
        path=request.path[:300],
        digest=_keyed("request", what),
    )


def _keyed(kind: str, value: str) -> str:
    return salted_hmac(f"auscult.api.{kind}", value, algorithm="sha256").hexdigest()


def once(asked: Asked, work: Callable[[], HttpResponseBase], *, whole: bool) -> HttpResponseBase:
    """Carry a request out, unless it was: then its answer is given again. What was refused did nothing: it is not kept.

    Args:
        whole: Whether act and answer are one transaction. Not for what works long: it has to know itself what came
            before.

    Raises:
        InFlightError: it is being answered right now.
        KeyUsedError: the key was used for something else.
    """
    claim = uuid.uuid4().hex
    kept = _claim(asked, claim)
    if kept is not None:
        return _again(kept)
    try:
        with transaction.atomic() if whole else nullcontext():
            response = work()
            if response.status_code < 300 and isinstance(response, HttpResponse):
                _keep(asked, claim, response)
            elif response.status_code >= 500 and whole:
                transaction.set_rollback(True)
    except BaseException:
        _release(asked, claim)
        raise
    if response.status_code >= 300:
        _release(asked, claim)
    return response


def _rows(asked: Asked) -> Any:
    return ApiRequest.objects.filter(user=asked.person, key=asked.key)


def _claim(asked: Asked, claim: str) -> ApiRequest | None:
    """Take the key for this request, or what is kept under it: the row of a request that was answered.

    Raises:
        InFlightError, KeyUsedError: as :func:`once`.
    """
    now = timezone.now()
    _rows(asked).filter(created_at__lt=now - KEPT).delete()
    facts = {"method": asked.method, "path": asked.path, "digest": asked.digest, "claim": claim, "created_at": now}
    try:
        with transaction.atomic():
            ApiRequest.objects.create(user=asked.person, key=asked.key, **facts)
        return None
    except IntegrityError:
        kept = _rows(asked).first()
    if kept is None:  # given back at this very moment
        raise InFlightError("The request with this key has just ended.", remedy="Send it again.")
    if kept.digest != asked.digest:
        raise KeyUsedError(
            "This key was used for another request in the last 24 hours.", remedy="Take a new key for each request."
        )
    if kept.status is not None:
        return ApiRequest(status=kept.status, headers=kept.headers, body=kept.body)
    lost = _rows(asked).filter(claim=kept.claim, status=None, created_at__lt=now - LEASE)
    if lost.update(claim=claim, created_at=now):
        return None
    raise InFlightError(
        "The request with this key is being answered right now.", remedy="Wait a moment, then send it again."
    )


def _keep(asked: Asked, claim: str, response: HttpResponse) -> None:
    headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
    mine = _rows(asked).filter(claim=claim)
    if not mine.update(status=response.status_code, headers=headers, body=response.content.decode()):
        raise ConflictError("The request took too long and was taken over.", remedy="Send it again.")


def _release(asked: Asked, claim: str) -> None:
    _rows(asked).filter(claim=claim, status=None).delete()


def _again(kept: ApiRequest) -> HttpResponse:
    response = HttpResponse(kept.body, status=kept.status, headers=kept.headers)
    response[REPLAYED] = "true"
    return response


def sweep() -> int:
    """Forget requests of more than a day ago. Returns how many."""
    return ApiRequest.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]
