"""Blocking functions that run in process: what they are told, what they may change, how they refuse.

Events and answers have the shapes of the wire (blocking-functions.md sections 1.6, 1.8, 3.5 and 3.7), so that a
function can move behind a URL without change. The rules this file obeys: **a function that fails, stalls or answers
nonsense blocks the sign-in**, and the text of an unexpected exception stays in our log.

An exception with the attributes of :class:`Refusal` is a refusal whose message the person who signs in may read.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from gateway.core.client_ip import IPAddress
from gateway.core.ports import Clock, SignInHook
from gateway.idp.claims import ID_TOKEN_ISSUER, check_claims, custom_claims
from gateway.idp.errors import WireError
from gateway.idp.records import PASSWORD, PHONE, Account

DEADLINE: Final = 7.0
"""Seconds that a function has (https://cloud.google.com/identity-platform/docs/blocking-functions)."""

EVENT_LIFETIME: Final = 600
"""``exp`` - ``iat`` of an event, seconds, as the emulator's."""

AUDIENCE: Final = "urn:session-gateway:in-process"
"""``aud`` of an event that never leaves the process; a function behind a URL has that URL here."""

_PREFIX: Final = "BLOCKING_FUNCTION_ERROR_RESPONSE : "
_log = logging.getLogger(__name__)


@runtime_checkable
class Refusal(Protocol):
    """An exception by which a function refuses: HTTP status, status name and a message for the person."""

    http_status: int
    status: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """How somebody signs in: method as in ``sign_in_method``, and what their client told us."""

    method: str
    address: IPAddress | None = None
    user_agent: str | None = None
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a function wants changed: fields of the :class:`Account` and, for this session only, claims in the token."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    session_claims: Mapping[str, Any] | None = None


class Hooks:
    """Calls the two functions, if there are any."""

    def __init__(
        self,
        project_id: str,
        clock: Clock,
        *,
        before_create: SignInHook | None = None,
        before_sign_in: SignInHook | None = None,
    ) -> None:
        self._project_id = project_id
        self._clock = clock
        self._before_create = before_create
        self._before_sign_in = before_sign_in

    async def before_create(self, candidate: Account, circumstances: Circumstances) -> Overlay:
        """Ask about an account that is about to be created.

        :raises WireError: refused, late or malformed.
        """
        return await self._ask(self._before_create, "beforeCreate", candidate, circumstances)

    async def before_sign_in(self, account: Account, circumstances: Circumstances) -> Overlay:
        """Ask about somebody who proved who they are and is about to get tokens.

        :raises WireError: refused, late or malformed.
        """
        return await self._ask(self._before_sign_in, "beforeSignIn", account, circumstances)

    async def _ask(
        self, hook: SignInHook | None, event_type: str, account: Account, circumstances: Circumstances
    ) -> Overlay:
        if hook is None:
            return Overlay()
        event = self._event(event_type, account, circumstances)
        try:
            async with asyncio.timeout(DEADLINE):
                answer: object = await hook(event)
        except TimeoutError:
            raise WireError(f"{_PREFIX}Cloud function deadline exceeded.") from None
        except Exception as error:  # noqa: BLE001 - whatever a function raises blocks the sign-in
            raise _refused(error, event_type) from None
        return _overlay(answer, session=event_type == "beforeSignIn")

    def _event(self, event_type: str, account: Account, circumstances: Circumstances) -> dict[str, Any]:
        now = int(self._clock.now())
        event: dict[str, Any] = {
            "iss": ID_TOKEN_ISSUER + self._project_id,
            "aud": AUDIENCE,
            "sub": account.uid,
            "iat": now,
            "exp": now + EVENT_LIFETIME,
            "event_id": secrets.token_urlsafe(12),
            "event_type": event_type,
            "sign_in_method": circumstances.method,
            "user_record": user_record(account),
        }
        if circumstances.address is not None:
            event["ip_address"] = str(circumstances.address)
        if circumstances.user_agent is not None:
            event["user_agent"] = circumstances.user_agent
        if circumstances.locale is not None:
            event["locale"] = circumstances.locale
        return event


def user_record(account: Account) -> dict[str, Any]:
    """``user_record`` of an event (blocking-functions.md section 1.8): metadata in ms, valid-since in s."""
    metadata = {"creation_time": account.created_at_ms}
    if account.last_login_at_ms is not None:
        metadata["last_sign_in_time"] = account.last_login_at_ms
    record: dict[str, Any] = {
        "uid": account.uid,
        "email_verified": account.email_verified,
        "disabled": account.disabled,
        "metadata": metadata,
        "provider_data": _provider_data(account),
        "custom_claims": custom_claims(account),
        "tokens_valid_after_time": account.valid_since,
    }
    for name in ("email", "display_name", "photo_url", "phone_number"):
        if (value := getattr(account, name)) is not None:
            record[name] = value
    return record


def _provider_data(account: Account) -> list[dict[str, str]]:
    entries: list[dict[str, str | None]] = []
    if account.email and (account.password_hash or account.email_link_sign_in):
        entries.append(
            {
                "provider_id": PASSWORD,
                "uid": account.email,
                "email": account.email,
                "display_name": account.display_name,
                "photo_url": account.photo_url,
            }
        )
    if account.phone_number:
        entries.append({"provider_id": PHONE, "uid": account.phone_number, "phone_number": account.phone_number})
    entries += [
        {
            "provider_id": link.provider_id,
            "uid": link.raw_id,
            "email": link.email,
            "display_name": link.display_name,
            "photo_url": link.photo_url,
        }
        for link in account.links
    ]
    return [{name: value for name, value in entry.items() if value is not None} for entry in entries]


def _refused(error: Exception, event_type: str) -> WireError:
    """The documented text: HTTP status, status name and message of the function's answer."""
    if isinstance(error, Refusal):
        code, status, message = error.http_status, error.status, error.message
    else:
        _log.error("%s failed: %s", event_type, type(error).__name__, exc_info=error)
        code, status, message = 500, "INTERNAL", "An unexpected error occurred."
    return WireError(
        f'{_PREFIX}HTTP Cloud Function returned an error. Code: {code}, Status: "{status}", '
        f"Message: {json.dumps(message, ensure_ascii=False)}"
    )


def _overlay(answer: object, *, session: bool) -> Overlay:
    if not isinstance(answer, Mapping):
        raise WireError(f"{_PREFIX}((Response body is not a JSON object.))")
    record = answer.get("userRecord")
    if record is None:
        return Overlay()
    mask = record.get("updateMask") if isinstance(record, Mapping) else None
    if not isinstance(mask, str) or not mask:
        raise WireError(f"{_PREFIX}((Response UserRecord is missing updateMask.))")
    changes: dict[str, Any] = {}
    session_claims: dict[str, Any] | None = None
    for name in mask.split(","):
        # photoURL is the SDKs' spelling, photoUrl the wire's.
        value = record.get(name)
        if name == "displayName":
            changes["display_name"] = _text(value)
        elif name in {"photoUrl", "photoURL"}:
            changes["photo_url"] = _text(value)
        elif name == "disabled":
            changes["disabled"] = bool(value)
        elif name == "emailVerified":
            changes["email_verified"] = bool(value)
        elif name == "customClaims":
            claims = check_claims(value)
            changes["custom_attributes"] = (
                json.dumps(claims, separators=(",", ":"), ensure_ascii=False) if claims else None
            )
        elif name == "sessionClaims" and session:
            session_claims = check_claims(value)
    return Overlay(changes, session_claims)


def _text(value: object) -> str | None:
    """What a text field becomes: text stays, numbers and booleans are written out, anything else clears the field."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) and value != "" else None
