"""Pages and their files go over the wire compressed, whether or not a proxy stands in front."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

TEXTS = ("text/", "application/json", "application/javascript", "image/svg+xml")


class CompressionMiddleware(GZipMiddleware):
    """Compresses texts. Pictures, archives and parts of files stay as they are.

    Django adds some random bytes to each answer, so that its size tells nothing of a secret in it.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        kind = response.headers.get("Content-Type", "")
        if response.status_code == 206 or not kind.startswith(TEXTS):
            return response
        return super().process_response(request, response)
