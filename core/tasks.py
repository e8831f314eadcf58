"""Tasks take one identifier and hold no logic. Each may be delivered twice."""

from __future__ import annotations

from celery import shared_task


@shared_task
def deliver(notification_id: int) -> None:
    """Send one notification by e-mail. What fails is tried again by the sweep, so that a lost message loses nothing."""
    from core import mail

    mail.deliver_notification(notification_id)


@shared_task
def deliver_outgoing(mail_id: int) -> None:
    from core import mail

    mail.deliver_outgoing(mail_id)


@shared_task
def sweep() -> None:
    from core import account, digest, mail
    from core.api import idempotency

    mail.resend_due()
    digest.send_digests()
    idempotency.sweep()
    account.forget_ended()


@shared_task
def sign_head() -> None:
    """Sign the head of the ledger, if it has grown, and export it."""
    from core import heads

    heads.sign_and_export()


@shared_task
def verify_ledger() -> None:
    from core import verification

    verification.run_verification()
