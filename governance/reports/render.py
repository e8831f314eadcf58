"""Template to HTML, HTML to PDF/A-3a. No network, no clock: equal input gives equal bytes.

PDF/A-3a is the archive format that is tagged for accessibility and may carry files; the report's JSON travels in
it as associated data. WeasyPrint lays out with the fonts of the machine: bytes are equal on machines with equal
fonts and an equal WeasyPrint.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from core.digests import canonical_json
from core.errors import AuscultError, EnvironmentProblemError

VARIANT = "pdf/a-3a"
FRACTION = re.compile(r"[-−±]?(?<!\d)\.\d+")
SVG_DATA = "data:image/svg+xml;base64,"


@dataclass(frozen=True, kw_only=True)
class Pages:
    """A laid-out document."""

    pdf: bytes
    count: int


def render_html(template: str, context: dict[str, Any]) -> str:
    """Fill ``templates/reports/<template>``. Everything in ``context`` is escaped unless it was made safe here."""
    return render_to_string(f"reports/{template}", context)


def unbroken(text: str) -> SafeString:
    """Text, escaped, in which no line ends inside a number such as ``.10`` or ``-.22``."""
    return mark_safe(FRACTION.sub(r'<span class="unbroken">\g<0></span>', escape(text)))


def render_pdf(html: str, *, name: str, data: dict[str, Any], as_of: datetime) -> Pages:
    """Lay out a page of HTML as PDF/A-3a with ``data`` attached as ``<name>.json``.

    Args:
        as_of: Becomes the date of the attachment; the document's own dates are in the HTML's head.

    Raises:
        AuscultError: the HTML asks for something outside itself.
        EnvironmentProblemError: the libraries that WeasyPrint draws with are not installed.
    """
    weasyprint = _weasyprint()
    for chatty in ("fontTools", "weasyprint.progress"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    when = as_of.astimezone(UTC)
    attachment = weasyprint.Attachment(
        string=canonical_json(data),
        name=f"{name}.json",
        description="What this report says, as JSON; the schema is published with the platform.",
        created=when,
        modified=when,
        relationship="Data",
    )
    try:
        options = {"pdf_variant": VARIANT, "pdf_tags": True, "attachments": [attachment]}
        document = weasyprint.HTML(string=html, url_fetcher=_sealed_fetcher(weasyprint)).render(**options)
        pdf = document.write_pdf(finisher=_name_attachments_once, **options)
    except weasyprint.urls.FatalURLFetchingError as error:
        raise AuscultError(
            f"The report asks for a file from outside: {error}",
            remedy="Take the reference out of its template.",
        ) from error
    return Pages(pdf=pdf, count=len(document.pages))


def _name_attachments_once(document: Any, pdf: Any) -> None:
    """WeasyPrint 70 lists each attachment twice among the associated files; the archive format wants it once."""
    files = pdf.catalog["AF"]
    files[:] = dict.fromkeys(files)


def _weasyprint() -> Any:
    try:
        import weasyprint
        import weasyprint.urls
    except OSError as error:
        raise EnvironmentProblemError(
            f"The library that draws PDF files cannot be loaded: {error}",
            remedy="On Debian: apt-get install libpango-1.0-0 libpangoft2-1.0-0.",
        ) from error
    return weasyprint


def _sealed_fetcher(weasyprint: Any) -> Any:
    """A fetcher that gives out nothing but pictures that stand in the page itself."""

    class SealedFetcher(weasyprint.urls.URLFetcher):  # type: ignore[misc, name-defined]
        def fetch(self, url: str, headers: dict[str, str] | None = None) -> Any:
            if not url.startswith(SVG_DATA):
                raise weasyprint.urls.FatalURLFetchingError(f"{url[:80]} is refused.")
            return super().fetch(url, headers)

    return SealedFetcher()
