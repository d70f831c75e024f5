"""A verification mail at registration, and no sign-in before. By configuration: ``[functions.verification_mail]``.

The program that imports this has called ``firebase_admin.initialize_app()``.
"""

from __future__ import annotations

import asyncio

from firebase_admin import auth

from gateway.blocking import BlockingFunctions
from gateway.blocking.ready_made import NoAccountYet, demand_verified_email, send_verification_mail


async def link(email: str, locale: str | None, tenant: str | None) -> str:  # noqa: ARG001 - what the mail may depend on
    """Make a link; the account is stored after our answer only, so it may not be there yet."""
    try:
        return str(await asyncio.to_thread(auth.generate_email_verification_link, email))
    except auth.UserNotFoundError:
        raise NoAccountYet from None


def send(email: str, link: str, locale: str | None) -> None:
    """Put your mailer here."""
    print(f"to {email} in {locale}: {link}")  # noqa: T201 - it stands for the mailer


functions = BlockingFunctions("my-project")
functions.before_create(send_verification_mail(link, send))
functions.before_sign_in(demand_verified_email())
