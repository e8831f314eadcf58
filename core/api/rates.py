"""How many requests a token may make in a minute. Counted in the shared cache; in each process where there is none."""

from __future__ import annotations

import time

from django.conf import settings
from django.core.cache import cache

from core.api.problems import TooManyError
from core.models import ApiToken

WINDOW = 60


def check_rate(token: ApiToken) -> None:
    """Count a request of a token, in windows of a minute. No limit where ``AUSCULT_API_RATE`` is 0.

    Raises:
        TooManyError: the token has made as many as it may, with the seconds until the next minute begins.
    """
    most = int(settings.AUSCULT_API_RATE)
    if not most:
        return
    now = time.time()
    key = f"api-rate:{token.token_digest}:{int(now // WINDOW)}"
    cache.add(key, 0, 2 * WINDOW)
    try:
        count = cache.incr(key)
    except ValueError:  # the cache threw it away between the two calls
        cache.set(key, 1, 2 * WINDOW)
        return
    if count > most:
        seconds = max(1, WINDOW - int(now % WINDOW))
        raise TooManyError(
            f"This token has made {most} requests in this minute.",
            remedy=f"Go on in {seconds} seconds, or send more items at once.",
            seconds=seconds,
        )
