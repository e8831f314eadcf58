"""How an operation is declared, and what stands before each: token, rate, scope, form of the body, once or again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial, wraps
from typing import Any, TypeVar

from django.http.response import HttpResponseBase
from ninja import Router
from ninja.decorators import decorate_view
from ninja.errors import AuthenticationError
from ninja.operation import Operation

from core.api.idempotency import asked_once, once
from core.api.requests import Streamed, TokenRequest, json_digest, to_disk
from core.bearer import Bearer
from core.models import ApiToken, User
from core.reach import serving

F = TypeVar("F", bound=Callable[..., Any])
Run = Callable[..., HttpResponseBase]
Scope = ApiToken.Scope


class HouseRouter(Router):
    """Operations of one group, such as ``Systems``. Each names its scope."""

    def __init__(self, group: str) -> None:
        super().__init__(tags=[group])

    def operation(
        self,
        method: str,
        path: str,
        *,
        scope: ApiToken.Scope,
        gives: Any = None,
        status: int = 200,
        name: str = "",
        content: Mapping[str, Any] | None = None,
        stream: Streamed | None = None,
        raw: bool = False,
        may: Callable[[User], None] | None = None,
        whole: bool = True,
        example: Any = None,
        refuses: tuple[str, ...] = (),
    ) -> Callable[[F], F]:
        """Declare an operation.

        Args:
            gives: Schema of the answer; None where the function answers itself, and then ``content`` says what.
            name: Of the address, where another than the function's.
            stream: The body is no JSON and is put on disk before the operation begins.
            raw: The operation reads the body itself.
            may: What is checked of the person before anything else, such as before a body is taken. What belongs to
                no system is read by people whose roles count everywhere: ``check_may_read``.
            whole: See :func:`core.api.idempotency.once`.
            example: A body, for the documentation.
            refuses: Slugs of problems besides those that every operation may answer with.
        """

        def declare(view: F) -> F:
            bearer = Bearer(scope)
            title = (view.__doc__ or "").strip().partition(".")[0]
            told: dict[str, Any] = {"scope": str(scope), "refuses": list(refuses)}
            told |= (
                {"stream": sorted(stream.forms)} if stream else {"stream": ["application/octet-stream"]} if raw else {}
            )
            told |= {"content": dict(content)} if content else {}
            told |= {"example": example} if example is not None else {}
            before = partial(_guarded, bearer=bearer, stream=stream, raw=raw, may=may, whole=whole)
            return self.api_operation(
                [method],
                path,
                auth=bearer,
                response={status: gives},
                operation_id=view.__name__,
                summary=title,
                url_name=name or view.__name__.replace("_", "-"),
                openapi_extra={"x-auscult": told},
            )(decorate_view(before)(view))

        return declare


def _guarded(
    run: Run,
    *,
    bearer: Bearer,
    stream: Streamed | None,
    raw: bool,
    may: Callable[[User], None] | None,
    whole: bool,
) -> Run:
    """What an operation is run by, with everything that stands before it. Refusals become problems as its own do."""
    operation: Operation = run.__self__  # type: ignore[attr-defined]
    has_body = any(model.__ninja_param_source__ == "body" for model in operation.models)

    @wraps(run)
    def answered(request: TokenRequest, **kwargs: Any) -> HttpResponseBase:
        request.answer_headers = {}
        try:
            person = bearer(request)
            if person is None:
                raise AuthenticationError
            if may is not None:
                may(person)
            with ExitStack() as stack:
                digest = ""
                if stream is not None:
                    request.received = stack.enter_context(to_disk(request, stream))
                    digest = request.received.digest
                elif not raw and request.method != "GET":
                    digest = json_digest(request, expected=has_body)
                asked = asked_once(request, person, body=digest) if request.method == "POST" else None
                stack.enter_context(serving(person))
                work = partial(_answer, run, request, **kwargs)
                response = once(asked, work, whole=whole) if asked else work()
        except Exception as error:  # noqa: BLE001 - the handlers of the interface know every kind
            return operation.api.on_exception(request, error)
        response.setdefault("Cache-Control", "private, no-store")
        return response

    return answered


def _answer(run: Run, request: TokenRequest, **kwargs: Any) -> HttpResponseBase:
    """What the operation answers, with the headers that it asked for."""
    response = run(request, **kwargs)
    for name, value in request.answer_headers.items():
        response[name] = value
    return response
