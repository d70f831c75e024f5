"""Answers of blocking functions: what they change, and in which words a refusal reaches the client.

blocking-functions.md sections 2, 3.5 to 3.7 and 3.9. The rule this file obeys: **whatever is not exactly an answer
blocks the sign-in**. Only masked fields count, reserved claims are refused, and a status other than 200 is a refusal.

Pure: bytes in, an overlay or a refusal out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from gateway.idp.claims import check_claims
from gateway.idp.errors import WireError

ErrorFormat: TypeAlias = Literal["documented", "raw", "emulator"]
"""The three forms in which clients have seen a function's refusal (section 3.6)."""

ERROR_FORMATS: Final = get_args(ErrorFormat)

ALLOW: Final = "ALLOW"
BLOCK: Final = "BLOCK"

PREFIX: Final = "BLOCKING_FUNCTION_ERROR_RESPONSE : "
"""Clients split a message here, so it is part of the protocol."""

MAX_RAW: Final = 8_192
"""Characters of a function's body that a client gets to see; a function that is no function may answer with a site."""

_RETURNED: Final = "HTTP Cloud Function returned an error"
_OK: Final = 200
_SUCCESS: Final = range(200, 300)
_INTERNAL: Final = 500


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a function wants changed: fields of the account, claims of this session, and its word on reCAPTCHA.

    ``changes`` has the names of the fields of :class:`~gateway.idp.records.Account`.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    session_claims: Mapping[str, Any] | None = None
    recaptcha: str | None = None

    def then(self, later: Overlay) -> Overlay:
        """Both, one after the other: the later wins field by field; of session claims, name by name."""
        claims = self.session_claims
        if later.session_claims is not None:
            claims = {**(claims or {}), **later.session_claims}
        return Overlay({**self.changes, **later.changes}, claims, later.recaptcha or self.recaptcha)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How refusals are written for clients.

    :param any_success: take every 2xx for a success, as the emulator does; by default 200 alone is one.
    """

    form: ErrorFormat = "documented"
    any_success: bool = False

    def read(self, url: str, status: int, body: bytes, *, session: bool) -> Overlay:
        """What an answer changes.

        :param session: whether session claims count: those of beforeSignIn do, others are ignored.
        :raises WireError: it is a refusal, or no answer at all.
        """
        if status != _OK and not (self.any_success and status in _SUCCESS):
            raise self.refused(url, status, body)
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise self._broken("((Response body is not valid JSON.))", "Unexpected end of JSON input") from None
        return self.overlay(answer, session=session)

    def overlay(self, answer: object, *, session: bool) -> Overlay:
        """What the body of a 200 reply changes.

        :raises WireError: it is malformed, or asks for claims that nobody may set.
        """
        if not isinstance(answer, Mapping):
            raise self._broken("((Response body is not a JSON object.))", "Cannot read the response")
        recaptcha = answer.get("recaptchaActionOverride")
        # A tuple, because what is looked up in it may be anything that JSON can say.
        if recaptcha not in (None, ALLOW, BLOCK):
            # A function that meant to block and misspelt it must not be taken for one that said nothing.
            raise WireError(f"{PREFIX}((Response recaptchaActionOverride is neither ALLOW nor BLOCK.))")
        record = answer.get("userRecord")
        if record is None:
            return Overlay(recaptcha=recaptcha)
        mask = record.get("updateMask") if isinstance(record, Mapping) else None
        if not isinstance(mask, str) or not mask:
            raise WireError(f"{PREFIX}((Response UserRecord is missing updateMask.))")
        changes, session_claims = _masked(record, mask, session=session)
        return Overlay(changes, session_claims, recaptcha)

    def refused(self, url: str, status: int, body: bytes) -> WireError:
        """The function said no, or somebody on the way did."""
        raw = body.decode("utf-8", "replace")[:MAX_RAW]
        if self.form == "emulator":
            return WireError(f"{PREFIX}((HTTP request to {url} returned HTTP error {status}: {raw}))")
        told = _told(body) if self.form == "documented" else None
        if told is None:
            return WireError(f"{PREFIX}{_RETURNED}: {raw}")
        name, message = told
        # Word for word, inner quotes too: the message comes last, so it ends at the last quote.
        return WireError(f'{PREFIX}{_RETURNED}. Code: {status}, Status: "{name}", Message: "{message}"')

    def late(self, url: str) -> WireError:
        """The function did not answer in time."""
        if self.form == "emulator":
            return self._broken(f"((Deadline exceeded making request to {url}.))", "The user aborted a request.")
        return WireError(f"{PREFIX}Cloud function deadline exceeded.")

    def unreachable(self, url: str) -> WireError:
        """There was no HTTP answer."""
        if self.form == "emulator":
            return self._broken(f"((Failed to make request to {url}.))", "Failed to make request")
        return WireError(f"{PREFIX}{_RETURNED}: the function could not be reached")

    def _broken(self, text: str, reason: str) -> WireError:
        if self.form == "emulator":
            return WireError(f"{PREFIX}{text}", code=_INTERNAL, status="INTERNAL", reason=reason)
        return WireError(f"{PREFIX}{text}")


def refusal_body(status: str, message: str) -> bytes:
    """The body by which a function refuses (section 2.4)."""
    return json.dumps({"error": {"message": message, "status": status}}, ensure_ascii=False).encode("utf-8", "replace")


def _told(body: bytes) -> tuple[str, str] | None:
    """Status name and message of an error object; None when the body is none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return None
    name, message = error.get("status"), error.get("message")
    if not isinstance(name, str) or not isinstance(message, str):
        return None
    # Half a surrogate pair passes for JSON, and no client can be told it.
    return name.encode("utf-8", "replace").decode("utf-8"), message.encode("utf-8", "replace").decode("utf-8")


def _masked(record: Mapping[str, Any], mask: str, *, session: bool) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    changes: dict[str, Any] = {}
    session_claims: dict[str, Any] | None = None
    for name in map(str.strip, mask.split(",")):
        value = record.get(name)
        if name == "displayName":
            changes["display_name"] = _text(value)
        elif name in {"photoUrl", "photoURL"}:
            # photoURL is the SDKs' spelling, photoUrl the wire's.
            changes["photo_url"] = _text(record.get("photoUrl", record.get("photoURL")))
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
    return changes, session_claims


def _text(value: object) -> str | None:
    """What a text field becomes: text stays, numbers and booleans are written out, anything else clears the field."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value) if isinstance(value, (str, int, float)) and value != "" else None
    try:
        # Half a surrogate pair passes for JSON, and can be stored nowhere.
        (text or "").encode("utf-8")
    except UnicodeEncodeError:
        raise WireError(f"{PREFIX}((Response body is not valid JSON.))") from None
    return text
