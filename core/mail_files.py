"""Mails as files, one each, where no mail server is set up: any mail program opens them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.utils import timezone


class FileBackend(BaseEmailBackend):
    """Writes each mail into ``EMAIL_FILE_PATH``. Django's own backend may put two mails of a second into one file."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Write them. Raises OSError where the folder cannot be written to."""
        folder = Path(str(settings.EMAIL_FILE_PATH))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for message in email_messages:
            name = f"{timezone.now():%Y%m%d-%H%M%S}-{secrets.token_hex(6)}.eml"
            (folder / name).write_bytes(message.message().as_bytes())
        return len(email_messages)
