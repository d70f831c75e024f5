"""What the provider remembers, as frozen values: one class a table of ``schema.sql``, which explains the fields."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PASSWORD = "password"  # noqa: S105 - the provider id of e-mail and password
PHONE = "phone"
TOTP = "totp"
ANONYMOUS = "anonymous"
CUSTOM = "custom"


class CodeKind(enum.StrEnum):
    """Kinds of out-of-band code; the values are the wire's ``requestType``."""

    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105 - a wire constant
    VERIFY_EMAIL = "VERIFY_EMAIL"
    RECOVER_EMAIL = "RECOVER_EMAIL"
    EMAIL_SIGNIN = "EMAIL_SIGNIN"
    VERIFY_AND_CHANGE_EMAIL = "VERIFY_AND_CHANGE_EMAIL"


class KeyPurpose(enum.StrEnum):
    """Which kind of token a key set signs."""

    ID_TOKEN = "id_token"  # noqa: S105 - a column value
    SESSION_COOKIE = "session_cookie"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An identity at a federated provider that belongs to an account."""

    provider_id: str
    raw_id: str
    email: str | None = None
    display_name: str | None = None
    photo_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A second factor: a phone that gets codes, or an authenticator app that makes them."""

    factor_id: str
    enrolled_at_ms: int
    phone_number: str | None = None
    totp_secret: str | None = field(default=None, repr=False)
    totp_last_step: int | None = None
    display_name: str | None = None

    @property
    def kind(self) -> str:
        """``firebase.sign_in_second_factor`` of a session that used it."""
        return PHONE if self.phone_number is not None else TOTP


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account. ``custom_attributes`` is JSON text, exactly as it was set; ``tenant`` None is the project itself."""

    uid: str
    created_at_ms: int
    valid_since: int
    email: str | None = None
    email_verified: bool = False
    initial_email: str | None = None
    email_link_sign_in: bool = False
    password_hash: str | None = field(default=None, repr=False)
    password_updated_at_ms: int | None = None
    display_name: str | None = None
    photo_url: str | None = None
    phone_number: str | None = None
    disabled: bool = False
    custom_auth: bool = False
    custom_attributes: str | None = None
    last_login_at_ms: int | None = None
    last_refresh_at_ms: int | None = None
    links: tuple[Link, ...] = ()
    factors: tuple[Factor, ...] = ()
    tenant: str | None = None

    @property
    def anonymous(self) -> bool:
        """Whether nothing ties the account to a person yet."""
        return not (self.email or self.phone_number or self.links or self.custom_auth)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One sign-in, found by the hash of its refresh token."""

    token_hash: str = field(repr=False)
    uid: str
    sign_in_provider: str
    auth_time: int
    session_claims: Mapping[str, Any]
    created_at: int
    last_used_at: int
    ended_at: int | None = None
    second_factor: str | None = None
    second_factor_id: str | None = None
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRecord:
    """One out-of-band code, found by its hash."""

    code_hash: str = field(repr=False)
    kind: CodeKind
    uid: str | None
    email: str
    new_email: str | None = None
    continue_url: str | None = None
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One signing key as stored."""

    kid: str
    purpose: KeyPurpose
    private_pem: str = field(repr=False)
    certificate: str
    signs_from: int
