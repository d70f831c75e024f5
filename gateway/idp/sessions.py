"""Sessions: what a sign-in starts, a refresh continues and a revocation ends.

The rules this file obeys (identity-toolkit.md sections 3, 4, 6.12 and 12):

* A refresh token is opaque, random and stored as a hash only; nobody who reads the database can use one.
* ``auth_time`` belongs to the session. A refresh never changes it, so "signed in before valid-since" keeps its meaning.
* A session is dead for ever once its account was revoked, changed its password or address, was disabled or deleted.
  The comparison ``auth_time < valid_since`` has a resolution of one second; ``ended_at`` closes that second for
  refresh tokens.
* An ID token that is presented to us is verified like anybody's: RS256, our key, our project, not expired, its session
  not revoked. Session claims and provider are taken from the stored session and never from the token, because a token
  also carries custom claims that may have been withdrawn since.

Synchronous; lives on the store's thread.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import jwt

from gateway.core.ports import Clock
from gateway.idp.claims import ID_TOKEN_ISSUER, SESSION_COOKIE_ISSUER, id_token_payload
from gateway.idp.errors import WireError
from gateway.idp.records import Account, Factor, SessionRecord
from gateway.idp.signing_keys import MAX_COOKIE_LIFETIME, KeyRing
from gateway.idp.store import Store
from gateway.tokens.mint import ALGORITHM, sign

REFRESH_TOKEN_BYTES: Final = 48
"""Random bytes of a refresh token: 384 bits, 64 characters."""

MIN_COOKIE_LIFETIME: Final = 300
"""Seconds (identity-toolkit.md section 4.2)."""

RECENT_SIGN_IN: Final = 300
"""Changing address or password and deleting the account want a sign-in at most this old, seconds (section 6.5)."""

DEAD_SESSIONS_KEPT: Final = 30 * 24 * 3_600
"""Ended sessions are remembered this long, seconds, so that their tokens are refused by the right name."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in or refresh answers."""

    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Presented:
    """An ID token that was verified: its account, its payload, and the session it came from (None: ended long ago)."""

    account: Account
    payload: Mapping[str, Any] = field(repr=False)
    session: SessionRecord | None

    @property
    def session_claims(self) -> Mapping[str, Any]:
        """Claims that belong to the session."""
        return {} if self.session is None else self.session.session_claims


class Sessions:
    """Starts, refreshes and verifies."""

    def __init__(
        self,
        store: Store,
        id_keys: KeyRing,
        cookie_keys: KeyRing,
        clock: Clock,
        project_id: str,
        tenant: str | None = None,
    ) -> None:
        self._tenant = tenant
        self._store = store
        self._id_keys = id_keys
        self._cookie_keys = cookie_keys
        self._clock = clock
        self._project_id = project_id

    def start(
        self,
        account: Account,
        *,
        sign_in_provider: str,
        session_claims: Mapping[str, Any] | None = None,
        factor: Factor | None = None,
        attributes: Mapping[str, Any] | None = None,
        auth_time: int | None = None,
    ) -> Tokens:
        """A new session of ``account``, signed in now.

        :param factor: the second factor that was used.
        :param auth_time: when the credential was presented, seconds, if that was not now.
        :param attributes: what a SAML or OpenID Connect provider said (``firebase.sign_in_attributes``).
        """
        now = int(self._clock.now())
        refresh_token = secrets.token_urlsafe(REFRESH_TOKEN_BYTES)
        session = SessionRecord(
            token_hash=hash_secret(refresh_token),
            uid=account.uid,
            sign_in_provider=sign_in_provider,
            auth_time=now if auth_time is None else auth_time,
            session_claims=dict(session_claims or {}),
            created_at=now,
            last_used_at=now,
            second_factor=None if factor is None else factor.kind,
            second_factor_id=None if factor is None else factor.factor_id,
            attributes=attributes,
        )
        self._store.put_session(session)
        return Tokens(self._issue(account, session), refresh_token)

    def renew(
        self,
        presented: Presented,
        account: Account,
        *,
        provider: str | None = None,
        factor: Factor | None = None,
        proved: bool = True,
    ) -> Tokens:
        """A new session in place of the one that ``presented`` came from, because the account changed.

        It keeps that session's claims, attributes and second factor.

        :param provider: the sign-in provider, where it is another one now.
        :param factor: a second factor that was enrolled just now.
        :param proved: whether something was presented that proves who it is; an ID token alone does not, and must not
            become a recent sign-in.
        """
        before = presented.session
        used = before.second_factor_id if before is not None else None
        return self.start(
            account,
            sign_in_provider=provider or presented.payload["firebase"]["sign_in_provider"],
            session_claims=presented.session_claims,
            factor=factor or next((kept for kept in account.factors if kept.factor_id == used), None),
            attributes=before.attributes if before is not None else None,
            auth_time=None if proved else presented.payload["auth_time"],
        )

    def refresh(self, refresh_token: str) -> tuple[Tokens, Account]:
        """A fresh ID token for a live session; the refresh token stays the same.

        :raises WireError: ``INVALID_REFRESH_TOKEN``, ``USER_NOT_FOUND``, ``USER_DISABLED`` or ``TOKEN_EXPIRED``.
        """
        session = self._store.session(hash_secret(refresh_token))
        if session is None:
            raise WireError("INVALID_REFRESH_TOKEN")
        account = self._store.account(session.uid)
        if account is None:
            raise WireError("USER_NOT_FOUND")
        if account.disabled:
            raise WireError("USER_DISABLED")
        if session.ended_at is not None or session.auth_time < account.valid_since:
            raise WireError("TOKEN_EXPIRED")
        self._store.touch_session(session.token_hash, int(self._clock.now()))
        return Tokens(self._issue(account, session), refresh_token), account

    def present(self, id_token: str) -> Presented:
        """Verify an ID token that a client acts with.

        :raises WireError: ``INVALID_ID_TOKEN``, ``USER_NOT_FOUND``, ``TOKEN_EXPIRED`` or ``USER_DISABLED``.
        """
        payload = self._verified(id_token)
        uid, auth_time = payload["sub"], payload["auth_time"]
        account = self._store.account(uid)
        if account is None:
            raise WireError("USER_NOT_FOUND")
        if payload["exp"] <= self._clock.now() or auth_time < account.valid_since:
            raise WireError("TOKEN_EXPIRED")
        if account.disabled:
            raise WireError("USER_DISABLED")
        return Presented(account, payload, self._session_of(payload))

    def require_recent(self, presented: Presented) -> None:
        """Refuse a sensitive operation of a session that signed in too long ago.

        :raises WireError: ``CREDENTIAL_TOO_OLD_LOGIN_AGAIN``.
        """
        if self._clock.now() - presented.payload["auth_time"] > RECENT_SIGN_IN:
            raise WireError("CREDENTIAL_TOO_OLD_LOGIN_AGAIN")

    def cookie(self, id_token: str, duration: int) -> str:
        """A session cookie with the claims of an ID token, for ``duration`` seconds (0: the longest).

        :raises WireError: as :meth:`present`, or ``INVALID_DURATION``.
        """
        lifetime = duration or MAX_COOKIE_LIFETIME
        if not MIN_COOKIE_LIFETIME <= lifetime <= MAX_COOKIE_LIFETIME:
            raise WireError("INVALID_DURATION")
        presented = self.present(id_token)
        now = int(self._clock.now())
        payload = dict(presented.payload)
        payload |= {"iss": SESSION_COOKIE_ISSUER + self._project_id, "iat": now, "exp": now + lifetime}
        return sign(payload, self._cookie_keys.signer())

    def _issue(self, account: Account, session: SessionRecord) -> str:
        now = self._clock.now()
        self._store.put_account(replace(account, last_refresh_at_ms=int(now * 1_000)))
        payload = id_token_payload(account, session, project_id=self._project_id, now=int(now))
        return sign(payload, self._id_keys.signer())

    def _verified(self, id_token: str) -> dict[str, Any]:
        """Signature, issuer, audience and shape; expiry is the caller's, who knows the order of errors."""
        try:
            key = self._id_keys.find(jwt.get_unverified_header(id_token).get("kid"))
            if key is None:
                raise WireError("INVALID_ID_TOKEN")
            payload: dict[str, Any] = jwt.decode(
                id_token,
                key.private_key.public_key(),
                algorithms=[ALGORITHM],
                audience=self._project_id,
                issuer=ID_TOKEN_ISSUER + self._project_id,
                options={
                    "require": ["exp", "iat", "sub", "auth_time"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise WireError("INVALID_ID_TOKEN") from None
        if payload["firebase"].get("tenant") != self._tenant:
            # A uid means somebody else in another tenant.
            raise WireError("TENANT_ID_MISMATCH")
        return payload

    def _session_of(self, payload: Mapping[str, Any]) -> SessionRecord | None:
        """The session that a token of ours came from.

        The token names none, but account, second and provider do, and its session's claims all stand in it. Where
        several sessions of one second fit, the one with the most claims is taken: dropping a sign-in address would
        loosen a check.
        """
        provider = payload["firebase"]["sign_in_provider"]
        fitting = [
            session
            for session in self._store.sessions_at(payload["sub"], payload["auth_time"])
            if session.sign_in_provider == provider
            and session.second_factor_id == payload["firebase"].get("second_factor_identifier")
            and all(payload.get(name) == value for name, value in session.session_claims.items())
        ]
        return max(fitting, key=lambda session: len(session.session_claims), default=None)


def tenant_claim(id_token: str | None) -> str | None:
    """The tenant that an ID token says it is of. Not verified: it only tells where to look."""
    if not id_token:
        return None
    try:
        payload = jwt.decode(id_token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    firebase = payload.get("firebase")
    tenant = firebase.get("tenant") if isinstance(firebase, dict) else None
    return tenant if isinstance(tenant, str) and tenant else None


def hash_secret(secret: str) -> str:
    """SHA-256 of a random secret, in hexadecimal. Enough for secrets with more entropy than the hash has bits."""
    return hashlib.sha256(secret.encode("utf-8")).hexdigest()
