"""A verification mail for each new account (blocking-functions.md scenario 4.3).

The rule this file obeys: **the mail is sent when the account is stored**, not while it is being created. Until then
the account service knows nobody of that address and makes no link (the published samples ask at once, and fail). So
the work is deferred, asks again while the account is not there yet, and gives up quietly when it never comes, because
another function may still have refused it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from gateway.blocking.background import call
from gateway.blocking.model import EventContext, User
from gateway.blocking.ready_made.addresses import Function
from gateway.blocking.threads import Threads
from gateway.errors import DependencyError

WAITS: Final = (0.1, 0.4, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between attempts. The service stores an account at the latest when its own seven seconds for each of two
events are over; half a minute leaves room for a slow one."""

_THREADS: Final = 4
_log = logging.getLogger(__name__)


class NoAccountYet(Exception):
    """Raised by a link source while the account service knows nobody of that address."""


LinkSource: TypeAlias = Callable[[str, str | None, str | None], Awaitable[str]]
"""``(email, locale, tenant)`` to the link that verifies the address."""

Send: TypeAlias = Callable[[str, str, str | None], Any]
"""Sends ``(email, link, locale)``; may be async."""


def send_verification_mail(
    link: LinkSource,
    send: Send,
    *,
    waits: Sequence[float] = WAITS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Function:
    """Have a verification mail sent to each new account whose address is not verified (beforeCreate).

    :param link: makes the link; raises :class:`NoAccountYet` while it cannot.
    :param send: sends the mail; a plain function runs in a thread.
    :param waits: seconds before each attempt.
    :param sleep: waits a number of seconds.
    """
    threads = Threads(_THREADS, "verification mail")

    async def mail(email: str, locale: str | None, tenant: str | None, event_id: str | None) -> None:
        for wait in waits:
            await sleep(wait)
            try:
                address = await link(email, locale, tenant)
            except NoAccountYet:
                continue
            except DependencyError as error:
                _log.warning("no link for a verification mail yet: %s", error)
                continue
            await call(send, (email, address, locale), threads)
            return
        _log.warning("no verification mail for event %s: the account was not stored in time", event_id)

    async def send_later(user: User, context: EventContext) -> None:
        if user.email and not user.email_verified:
            context.defer(mail, user.email, context.locale, user.tenant_id, context.event_id)

    return send_later
