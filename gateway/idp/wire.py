"""Requests and replies as they look on the wire: fields, user records, the error envelope.

identity-toolkit.md sections 1 to 3. Reading a field either answers or raises a refusal, whatever a client sends.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.idp import foreign_hashes
from gateway.idp.errors import WireError, invalid_argument
from gateway.idp.records import PASSWORD, PHONE, Account, Factor
from gateway.idp.sessions import Tokens
from gateway.idp.signing_keys import ID_TOKEN_LIFETIME

REDACTED_HASH: Final = "UkVEQUNURUQ="
"""What stands for a password hash where it may not be seen: base64 of ``REDACTED``, as in production."""

SHOWN_DIGITS: Final = 4
"""Last digits of a masked phone number that stay readable (identity-toolkit.md section 7)."""

_URL_SAFE: Final = str.maketrans("+/", "-_")
_SNAKE: Final = re.compile(r"_([a-z0-9])")


class Fields:
    """A request body. Takes snake_case names, numbers for text, and text for numbers and booleans, as clients do."""

    __slots__ = ("_values", "_where")

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self._values = {camel(name): value for name, value in values.items() if value is not None}
        self._where = where

    @classmethod
    def of_json(cls, body: bytes) -> Fields:
        """Read a JSON object; an empty body is an empty object.

        :raises WireError: it is anything else.
        """
        if not body.strip():
            return cls({})
        try:
            values = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise invalid_argument("The body is not valid JSON.") from None
        if not isinstance(values, dict):
            raise invalid_argument("The body must be an object.")
        return cls(values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def names(self) -> list[str]:
        """The names that are there."""
        return list(self._values)

    def items(self) -> list[tuple[str, str]]:
        """Names and values of a flat body or query, all text."""
        return [(name, str(value)) for name, value in self._values.items()]

    def text(self, name: str) -> str | None:
        """Text; numbers are written out. None when absent.

        :raises WireError: any other type.
        """
        value = self._values.get(name)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and _fits(value)):
            return str(value)
        raise self._wrong(name, "a string")

    def flag(self, name: str) -> bool | None:
        """A boolean, or its name as text.

        :raises WireError: any other value.
        """
        value = self._values.get(name)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and value in {"true", "false"}:
            return value == "true"
        raise self._wrong(name, "a boolean")

    def number(self, name: str) -> int | None:
        """A whole number of at most 64 bits, or its digits as text.

        :raises WireError: any other value.
        """
        value = self._values.get(name)
        if value is None:
            return None
        digits = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII) is not None
        if digits or (isinstance(value, float) and value.is_integer()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not _fits(value):
            raise self._wrong(name, "an integer")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts; a single one counts as a list.

        :raises WireError: any other type.
        """
        value = self._values.get(name)
        if value is None:
            return []
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(v, str) or (isinstance(v, int) and not isinstance(v, bool) and _fits(v)) for v in values):
            raise self._wrong(name, "a list of strings")
        return [str(v) for v in values]

    def choice(self, name: str, choices: Sequence[str | None]) -> str | None:
        """A name, or its index in ``choices`` (Android sends enums as numbers); unknown names stay as they are."""
        value = self._values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
            return choices[value]
        return self.text(name)

    def child(self, name: str) -> Fields | None:
        """An object inside the object.

        :raises WireError: any other type.
        """
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return Fields(value, f"{self._where}/{name}")

    def children(self, name: str) -> list[Fields]:
        """A list of objects.

        :raises WireError: any other type.
        """
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise self._wrong(name, "a list of objects")
        return [Fields(v, f"{self._where}/{name}/{i}") for i, v in enumerate(value)]

    def _wrong(self, name: str, expected: str) -> WireError:
        return invalid_argument(f"{self._where}/{name} must be {expected}.")


def _fits(value: int) -> bool:
    """Whether a number is an int64, the widest the protocol knows."""
    return -(2**63) <= value < 2**63


def camel(name: str) -> str:
    """A snake_case name, or a path of such, as the wire spells it; others stay as they are."""
    return _SNAKE.sub(lambda match: match.group(1).upper(), name) if "_" in name else name


def envelope(error: WireError) -> dict[str, Any]:
    """The body of every failure (identity-toolkit.md section 2; blocking-functions.md section 3.6)."""
    entry = {"message": error.message, "reason": "invalid", "domain": "global"}
    if error.reason is not None:
        entry = {"message": error.message, "reason": error.reason}
    body: dict[str, Any] = {"code": error.code, "message": error.message, "errors": [entry]}
    if error.status is not None:
        body["status"] = error.status
    return {"error": body}


def token_fields(tokens: Tokens) -> dict[str, str]:
    """``idToken``, ``refreshToken`` and ``expiresIn`` of a sign-in's reply."""
    return {"idToken": tokens.id_token, "refreshToken": tokens.refresh_token, "expiresIn": str(ID_TOKEN_LIFETIME)}


def provider_user_info(account: Account) -> list[dict[str, Any]]:
    """``providerUserInfo`` of a user record (identity-toolkit.md section 3)."""
    entries: list[dict[str, Any]] = []
    if account.email and (account.password_hash or account.email_link_sign_in):
        entries.append(
            {
                "providerId": PASSWORD,
                "email": account.email,
                "federatedId": account.email,
                "rawId": account.email,
                "displayName": account.display_name,
                "photoUrl": account.photo_url,
            }
        )
    if account.phone_number:
        entries.append({"providerId": PHONE, "phoneNumber": account.phone_number, "rawId": account.phone_number})
    entries += [
        {
            "providerId": link.provider_id,
            "rawId": link.raw_id,
            "federatedId": link.raw_id,
            "email": link.email,
            "displayName": link.display_name,
            "photoUrl": link.photo_url,
        }
        for link in account.links
    ]
    return [compact(entry) for entry in entries]


def user_record(account: Account, *, export_hash: bool = False) -> dict[str, Any]:
    """A user record (identity-toolkit.md section 3).

    :param export_hash: put the real password hash in, for a privileged export; otherwise its place is marked only.
    """
    record: dict[str, Any] = {
        "localId": account.uid,
        "email": account.email,
        "emailVerified": account.email_verified,
        "initialEmail": account.initial_email,
        "displayName": account.display_name,
        "photoUrl": account.photo_url,
        "phoneNumber": account.phone_number,
        "disabled": account.disabled,
        "customAuth": account.custom_auth or None,
        "emailLinkSignin": account.email_link_sign_in or None,
        "customAttributes": account.custom_attributes,
        "passwordUpdatedAt": account.password_updated_at_ms,
        "validSince": str(account.valid_since),
        "createdAt": str(account.created_at_ms),
        "lastLoginAt": None if account.last_login_at_ms is None else str(account.last_login_at_ms),
        "lastRefreshAt": None if account.last_refresh_at_ms is None else _rfc3339(account.last_refresh_at_ms),
        "providerUserInfo": provider_user_info(account) or None,
        "mfaInfo": [mfa_info(factor) for factor in account.factors] or None,
        "tenantId": account.tenant,
    }
    if account.password_hash is not None:
        hash_, salt = _exported(account.password_hash) if export_hash else (REDACTED_HASH, None)
        record |= {"passwordHash": hash_, "salt": salt}
    return compact(record)


def mfa_info(factor: Factor, *, masked: bool = False) -> dict[str, Any]:
    """One entry of ``mfaInfo`` (identity-toolkit.md sections 3 and 7).

    :param masked: hide the number, as in the reply to a first factor: every digit but the last four.
    """
    number = factor.phone_number
    shown = number
    if number is not None and masked:
        digits = number.removeprefix("+")
        shown = "+" + "*" * (len(digits) - SHOWN_DIGITS) + digits[-SHOWN_DIGITS:]
    return compact(
        {
            "mfaEnrollmentId": factor.factor_id,
            "displayName": factor.display_name,
            "enrolledAt": _rfc3339(factor.enrolled_at_ms),
            "phoneInfo": shown,
            "unobfuscatedPhoneInfo": None if masked else number,
            "totpInfo": {} if number is None else None,
        }
    )


def compact(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same without absent fields: the wire omits, it never says null."""
    return {name: value for name, value in values.items() if value is not None}


def _exported(stored: str) -> tuple[str, str | None]:
    """Hash and salt as an export shows them; an imported hash as it came, and without the key that it was made with."""
    if foreign_hashes.is_foreign(stored):
        foreign = foreign_hashes.decode(stored)
        return foreign.hash.translate(_URL_SAFE), foreign.salt.translate(_URL_SAFE) or None
    # PHC string format: $argon2id$v=19$m=..,t=..,p=..$salt$hash
    parts = stored.split("$")
    return _urlsafe(stored), parts[4] if len(parts) == 6 else None  # noqa: PLR2004 - the number of its parts


def _rfc3339(milliseconds: int) -> str:
    moment = dt.datetime.fromtimestamp(milliseconds / 1_000, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _urlsafe(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii")
