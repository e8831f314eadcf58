"""An issued bundle as a file and a row, and a grant for it: what regulator access needs, and no more."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from governance.models import Bundle, Grant, Review
from governance.services.grants import give_grant

CONTENT = b"PK what was issued"
PURPOSE = "Market surveillance under Article 74(12) of the AI Act, case 17/2026."


def issue(review: Review, home: Path, by: Any, *, content: bytes = CONTENT) -> Bundle:
    """A bundle that is issued, with its file."""
    name = f"auscult-review-{review.pk}.zip"
    (home / "bundles").mkdir(exist_ok=True)
    (home / "bundles" / name).write_bytes(content)
    return Bundle.objects.create(
        review=review,
        status=Bundle.Status.ISSUED,
        digest=hashlib.sha256(content).hexdigest(),
        file_name=name,
        key_id="ab" * 32,
        issued_by=by,
    )


def give(people: Any, bundle: Bundle, **other: Any) -> Grant:
    """A month of access for Rita, given by Dora."""
    terms = {
        "regulator": people.rita,
        "systems": [bundle.review.version.system],
        "expires_at": timezone.now() + timedelta(days=30),
        "purpose": PURPOSE,
        "by": people.dora,
    }
    return give_grant(**(terms | other))
