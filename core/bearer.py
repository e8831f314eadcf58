"""Who a program acts for: a bearer token, never a session. No cookie is read, so no form of another site can act."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.security import HttpBearer

from core.api.rates import check_rate
from core.models import ApiToken, User
from core.pages.readers import check_may_read_some
from core.tokens import check_scope, token_of


class Bearer(HttpBearer):
    """The token of the request, if it holds and has the scope. Missing, unknown, expired and revoked are alike: 401."""

    def __init__(self, scope: ApiToken.Scope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        """The person that the program acts for, looked up once for each request.

        Raises:
            DeniedError: the token was made for something else, or the person may not read here any more.
            TooManyError: the token has been used too often in this minute.
        """
        asking: Any = request
        kept: User | None = getattr(asking, "auth", None)
        if isinstance(kept, User):
            return kept
        found = token_of(token)
        if found is None:
            return None
        check_rate(found)
        check_scope(found, self.scope)
        check_may_read_some(found.user)
        asking.token, asking.auth = found, found.user
        return found.user
