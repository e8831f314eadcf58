"""What leaves the house: the forms of issued reports, and bundles. Every download is entered in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core import ledger
from core.errors import NotFoundError
from core.models import User
from core.reach import service
from governance.models import Bundle, Report
from governance.selectors import bundle_path
from governance.selectors.documents import FORMS
from models_registry.services.versions import model_store


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file, with its name and type."""

    name: str
    content_type: str
    body: bytes


@service
def record_download(*, act: str, subject: tuple[str, int], digest: str, by: User) -> None:
    """Enter a download in the ledger."""
    ledger.record(actor=by.username, act=act, subject=subject, payload={"digest": digest})


@service
def download_report(*, report: Report, form: str, by: User) -> Download:
    """One form of an issued report, checked against its digest before a byte leaves.

    Raises:
        NotFoundError: it is not issued, or not in this form.
        DigestMismatchError: it was changed in the store.
    """
    digest = getattr(report, f"{form}_digest", "") if form in FORMS else ""
    if report.status != Report.Status.ISSUED or not digest:
        raise NotFoundError("There is no such report.", remedy="Open it from the list of reports.")
    body = model_store().get_bytes(digest)
    record_download(act="report.downloaded", subject=("Report", report.pk), digest=digest, by=by)
    language = "" if report.language == "en" else f"-{report.language}"
    name = f"{report.kind}{language}-{report.version.system.slug}-{report.version.label}.{form}"
    return Download(name=_plain(name), content_type=FORMS[form][1], body=body)


@service
def download_bundle(*, bundle: Bundle, by: User) -> Path:
    """The file of an issued bundle.

    Raises:
        NotFoundError: it is not issued, or its file was taken away.
    """
    path = bundle_path(bundle)
    record_download(act="bundle.downloaded", subject=("Bundle", bundle.pk), digest=bundle.digest, by=by)
    return path


def _plain(name: str) -> str:
    """A file name of letters, digits, dot, dash and underscore only: safe in a header and on every disk."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in name)
