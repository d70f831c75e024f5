"""Blocking functions from the caller's side: who is asked what, in which order, and what comes of it.

An event goes first to the function that the program itself brought along (in process, a
:class:`~gateway.core.ports.SignInHook`), then to the one that is registered under a URL, which sees what the first one
changed. Events and answers have the shapes of the wire (blocking-functions.md sections 1.6, 1.8, 3.5 and 3.7), so that
a function can move behind a URL without change.

The rules this file obeys: **a function that fails, stalls or answers nonsense blocks the sign-in**, and the text of an
unexpected exception stays in our log.

An exception with the attributes of :class:`Refusal` is a refusal whose message the person who signs in may read.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, runtime_checkable

from gateway.core.ports import Clock, SignInHook
from gateway.idp import answers, events
from gateway.idp.answers import ALLOW, BLOCK, Overlay
from gateway.idp.errors import WireError
from gateway.idp.events import BEFORE_CREATE, BEFORE_EMAIL, BEFORE_SIGN_IN, BEFORE_SMS, Circumstances
from gateway.idp.functions import Caller, Registry
from gateway.idp.records import Account

AUDIENCE: Final = "urn:session-gateway:in-process"
"""``aud`` of an event that never leaves the process; a function behind a URL has that URL here."""

LEAST_SCORE: Final = 0.5
"""The provider's own reCAPTCHA verdict: scores below it are refused, unless a function says otherwise."""

RECAPTCHA_REFUSED: Final = "RECAPTCHA_SCORE_TOO_LOW"
"""What a client is told when reCAPTCHA's verdict, or a function's word on it, blocks (section 3.9)."""

Signer = Callable[[Mapping[str, Any]], Awaitable[str]]
"""Makes a JWT of an event with the provider's key."""

_log = logging.getLogger(__name__)


@runtime_checkable
class Refusal(Protocol):
    """An exception by which a function refuses: HTTP status, status name and a message for the person."""

    http_status: int
    status: str
    message: str


class Hooks:
    """Calls the functions, if there are any."""

    def __init__(
        self,
        project_id: str,
        clock: Clock,
        registry: Registry,
        caller: Caller,
        signer: Signer,
        *,
        before_create: SignInHook | None = None,
        before_sign_in: SignInHook | None = None,
    ) -> None:
        self.registry: Final = registry
        self._project_id = project_id
        self._clock = clock
        self._caller = caller
        self._signer = signer
        self._own = {BEFORE_CREATE: before_create, BEFORE_SIGN_IN: before_sign_in}

    async def before_create(self, candidate: Account, circumstances: Circumstances) -> Overlay:
        """Ask about an account that is about to be created.

        :raises WireError: refused, late or malformed.
        """
        return await self._ask_about(BEFORE_CREATE, candidate, circumstances)

    async def before_sign_in(self, account: Account, circumstances: Circumstances) -> Overlay:
        """Ask about somebody who proved who they are and is about to get tokens.

        :raises WireError: refused, late or malformed.
        """
        return await self._ask_about(BEFORE_SIGN_IN, account, circumstances)

    async def before_email(
        self, email: str, email_type: str, circumstances: Circumstances, *, tenant: str | None
    ) -> None:
        """Ask before a link leaves by mail.

        :raises WireError: refused, late or malformed, or reCAPTCHA's verdict stands.
        """
        claims = events.about_email(email, email_type, circumstances, tenant=tenant)
        check_recaptcha(circumstances, (await self._call(BEFORE_EMAIL, claims)).recaptcha)

    async def before_sms(self, number: str, sms_type: str, circumstances: Circumstances, *, tenant: str | None) -> None:
        """Ask before a code leaves by SMS.

        :raises WireError: refused, late or malformed, or reCAPTCHA's verdict stands.
        """
        claims = events.about_sms(number, sms_type, circumstances, tenant=tenant)
        check_recaptcha(circumstances, (await self._call(BEFORE_SMS, claims)).recaptcha)

    # ---- asking ----------------------------------------------------------------------------------------------------

    async def _ask_about(self, event_type: str, account: Account, circumstances: Circumstances) -> Overlay:
        overlay = Overlay()
        forward = self.registry.forward
        own = self._own[event_type]
        if own is not None:
            about = events.about_user(event_type, account, circumstances, forward=forward)
            overlay = await self._ask_own(own, event_type, about)
        if self.registry.uri(event_type) is not None:
            account = replace(account, **overlay.changes)
            about = events.about_user(event_type, account, circumstances, forward=forward)
            overlay = overlay.then(await self._call(event_type, about))
        return overlay

    async def _ask_own(self, hook: SignInHook, event_type: str, about: Mapping[str, Any]) -> Overlay:
        words = self.registry.words
        try:
            async with asyncio.timeout(self.registry.settings.deadline):
                answer: object = await hook(self._event(about, AUDIENCE))
        except TimeoutError:
            raise words.late(AUDIENCE) from None
        except Exception as error:  # noqa: BLE001 - whatever a function raises blocks the sign-in
            code, body = _failure(error, event_type)
            raise words.refused(AUDIENCE, code, body) from None
        return words.overlay(answer, session=event_type == BEFORE_SIGN_IN)

    async def _call(self, event_type: str, about: Mapping[str, Any]) -> Overlay:
        """Ask the function that is registered for an event; nothing changes when there is none."""
        uri = self.registry.uri(event_type)
        if uri is None:
            return Overlay()
        words = self.registry.words
        event = self._event(about, uri)
        token = unsigned(event) if self.registry.settings.unsigned else await self._signer(event)
        try:
            async with asyncio.timeout(self.registry.settings.deadline):
                status, body = await self._caller.post(uri, token)
        except TimeoutError:
            _log.warning("%s: %s did not answer in time", event_type, uri)
            raise words.late(uri) from None
        except Exception as error:  # noqa: BLE001 - whatever goes wrong on the way blocks the sign-in
            _log.warning("%s: %s could not be called: %s", event_type, uri, error)
            raise words.unreachable(uri) from None
        return words.read(uri, status, body, session=event_type == BEFORE_SIGN_IN)

    def _event(self, about: Mapping[str, Any], audience: str) -> dict[str, Any]:
        now = int(self._clock.now())
        return events.addressed(about, project_id=self._project_id, audience=audience, now=now)


def check_recaptcha(circumstances: Circumstances, override: str | None) -> None:
    """Apply reCAPTCHA's verdict and a function's word on it, which counts more.

    :raises WireError: blocked.
    """
    bad = circumstances.score is not None and circumstances.score < LEAST_SCORE
    if override == BLOCK or (bad and override != ALLOW):
        raise WireError(RECAPTCHA_REFUSED)


def doubtful(circumstances: Circumstances, override: str | None) -> bool:
    """Whether only a function that is still to be asked could let this pass."""
    return circumstances.score is not None and circumstances.score < LEAST_SCORE and override != ALLOW


def unsigned(event: Mapping[str, Any]) -> str:
    """An event as the emulator sends it: ``alg`` none and an empty signature (section 1.4)."""

    def part(value: object) -> str:
        text = json.dumps(value, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode("ascii")).rstrip(b"=").decode("ascii")

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(event)}."


def _failure(error: Exception, event_type: str) -> tuple[int, bytes]:
    """HTTP status and body of a function in process that raised."""
    if isinstance(error, Refusal):
        return error.http_status, answers.refusal_body(error.status, error.message)
    _log.error("%s failed: %s", event_type, type(error).__name__, exc_info=error)
    return 500, answers.refusal_body("INTERNAL", "An unexpected error occurred.")
