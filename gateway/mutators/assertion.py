"""The signed assertion: who the gateway says is calling, in a form that a backend can verify by itself.

The rules this file obeys (RFC 8725; Google's page "Securing your app with signed headers", whose form is the second one
here):

1. **One algorithm, one curve.** ES256 only, and the header's ``kid`` is the key's RFC 7638 thumbprint, so that a name
   never means two keys.
2. **One audience.** An assertion is made for one backend and says so; another backend that is shown it must refuse it.
3. **Short.** It lives ten minutes at most, and never past the session's own credential; in that credential's last
   minute it lives a minute, or it could die on its way.
4. **A key is published before it signs and until nothing it signed is alive.** Whoever caches the key set for as long
   as its answer allows never meets a signature of a key that he cannot find.

Pure: no I/O, no clock. Moments are handed in as seconds since the epoch.
"""

from __future__ import annotations

import base64
import bisect
import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from gateway.core.session import Session

ALGORITHM: Final = "ES256"
MAX_LIFETIME: Final = 600
"""Seconds that an assertion lives at most; what Google's page lets a verifier expect."""
LEAST_LIFETIME: Final = 60
"""Seconds that it lives at least."""
CACHING: Final = 300
"""Seconds for which the answer with the key set may be cached."""
LEAD: Final = 2 * CACHING
"""Seconds for which a new key is published before it signs."""
LINGER: Final = MAX_LIFETIME + CACHING
"""Seconds for which a key is published after its successor began to sign: its last assertion, and a clock's error."""
IAP_ISSUER: Final = "https://cloud.google.com/iap"
_COORDINATE: Final = 32
"""Bytes of a P-256 coordinate (RFC 7518 section 6.2.1.2)."""
_CACHED: Final = 10_000
"""Assertions kept in a generation. Two generations are kept, so that what is used often is never made anew early."""
_OWN_CLAIMS: Final = ("email", "email_verified", "name")
_REGISTERED: Final = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti"})
"""Claims that speak of the ID token itself, and say something else in an assertion."""


class AssertionForm(enum.StrEnum):
    """How an assertion looks."""

    GATEWAY = "gateway"
    """``X-Gateway-Jwt-Assertion``; the subject is the user id."""
    IAP = "iap"
    """``X-Goog-IAP-JWT-Assertion`` with the claims of Identity-Aware Proxy for external identities."""

    @property
    def field(self) -> bytes:
        """Name of the header field."""
        return b"X-Gateway-Jwt-Assertion" if self is AssertionForm.GATEWAY else b"X-Goog-IAP-JWT-Assertion"


@dataclass(frozen=True, slots=True)
class AssertionKey:
    """A P-256 key. It signs from ``signs_from``, in seconds since the epoch, until a newer one does."""

    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    signs_from: int
    kid: str = field(init=False)

    def __post_init__(self) -> None:
        """Name the key by its thumbprint."""
        canonical = json.dumps(self._public_members(), separators=(",", ":"), sort_keys=True)
        object.__setattr__(self, "kid", _base64url(hashlib.sha256(canonical.encode("ascii")).digest()))

    @classmethod
    def generate(cls, signs_from: int) -> AssertionKey:
        """A fresh key."""
        return cls(ec.generate_private_key(ec.SECP256R1()), signs_from)

    @classmethod
    def from_pem(cls, pem: str, signs_from: int) -> AssertionKey:
        """Read back what :meth:`private_pem` wrote.

        :raises ValueError: it is no unencrypted P-256 key.
        """
        key = load_pem_private_key(pem.encode("ascii"), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("not a P-256 key")  # noqa: TRY004 - bad data, not a bad argument type
        return cls(key, signs_from)

    def private_pem(self) -> str:
        """The private key, PKCS #8 in PEM, not encrypted: whoever stores it protects the file."""
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")

    def public_pem(self) -> str:
        """The public key, SubjectPublicKeyInfo in PEM."""
        public = self.private_key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def public_jwk(self) -> dict[str, str]:
        """The public key as a JWK (RFC 7517)."""
        return self._public_members() | {"use": "sig", "alg": ALGORITHM, "kid": self.kid}

    def _public_members(self) -> dict[str, str]:
        numbers = self.private_key.public_key().public_numbers()
        x, y = (_base64url(number.to_bytes(_COORDINATE, "big")) for number in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


class KeyRing:
    """The keys of assertions, by the moment from which each signs.

    :raises ValueError: there is no key.
    """

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[AssertionKey, ...]) -> None:
        if not keys:
            raise ValueError("a key ring needs a key")
        self.keys: Final = tuple(sorted(keys, key=lambda key: (key.signs_from, key.kid)))

    @classmethod
    def fresh(cls, now: float) -> KeyRing:
        """A ring with one key, which signs at once: nobody can have cached a key set without it."""
        return cls((AssertionKey.generate(int(now)),))

    def signer(self, now: float) -> AssertionKey:
        """The key that signs now."""
        begun = bisect.bisect_right(self.keys, now, key=lambda key: key.signs_from)
        return self.keys[max(begun - 1, 0)]

    def published(self, now: float) -> tuple[AssertionKey, ...]:
        """The keys that a verifier may meet: the signer, those to come, and those whose assertions may be alive."""
        successors = (*(key.signs_from for key in self.keys[1:]), None)
        return tuple(key for key, end in zip(self.keys, successors, strict=True) if end is None or end + LINGER > now)

    def rotated(self, now: float) -> KeyRing:
        """With a new key that signs after :data:`LEAD` seconds, and without those that are not published any more."""
        return KeyRing((*self.published(now), AssertionKey.generate(int(now) + LEAD)))

    def jwks(self, now: float) -> dict[str, list[dict[str, str]]]:
        """The key set as a verifier fetches it (RFC 7517 section 5)."""
        return {"keys": [key.public_jwk() for key in self.published(now)]}

    def pems(self, now: float) -> dict[str, str]:
        """The same as a map of names to PEM, the other form that Google publishes the keys of its proxy in."""
        return {key.kid: key.public_pem() for key in self.published(now)}


@dataclass(frozen=True, slots=True)
class AssertionSettings:
    """What assertions say. ``lifetime`` is in seconds; ``claims`` names custom claims that are told as well."""

    issuer: str
    form: AssertionForm = AssertionForm.GATEWAY
    lifetime: int = MAX_LIFETIME
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assertion:
    """A signed assertion, and the second until which it is handed out."""

    token: bytes = field(repr=False)
    fresh_until: float
    payload: Mapping[str, Any] = field(repr=False)
    """Claims of the ID token that it speaks of."""


class Assertions:
    """Makes assertions and remembers them: one per session, backend and ID token, renewed at half its life."""

    def __init__(self, ring: KeyRing, settings: AssertionSettings) -> None:
        self.ring = ring
        """Replaced as a whole when keys are rotated; what was signed before stays valid."""
        self.settings: Final = settings
        self._young: dict[tuple[object, ...], Assertion] = {}
        self._old: dict[tuple[object, ...], Assertion] = {}

    def of(self, session: Session, audience: str, now: float) -> Assertion:
        """The assertion of ``session`` for one backend, at ``now`` seconds since the epoch."""
        claims = session.claims
        key = (audience, claims.principal, claims.auth_time, claims.issued_at, session.network)
        found = self._young.get(key) or self._old.get(key)
        # Two tokens of one session and second may still differ, in a custom claim that changed in between say.
        if found is None or found.fresh_until <= now or found.payload != claims.payload:
            found = self._sign(session, audience, now)
        if len(self._young) >= _CACHED and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = found
        return found

    def _sign(self, session: Session, audience: str, now: float) -> Assertion:
        issued = int(now)
        left = session.claims.expires_at - issued
        lifetime = max(min(self.settings.lifetime, MAX_LIFETIME, left), LEAST_LIFETIME)
        shape = _gateway_claims if self.settings.form is AssertionForm.GATEWAY else _iap_claims
        payload = {"aud": audience, "iat": issued, "exp": issued + lifetime}
        if self.settings.form is AssertionForm.IAP:
            payload["azp"] = audience
        payload |= shape(session, self.settings)
        key = self.ring.signer(now)
        token = jwt.encode(payload, key.private_key, algorithm=ALGORITHM, headers={"kid": key.kid})
        return Assertion(token.encode("ascii"), issued + lifetime / 2, session.claims.payload)


def _gateway_claims(session: Session, settings: AssertionSettings) -> dict[str, Any]:
    claims = session.claims
    firebase: dict[str, str | None] = {
        "tenant": claims.principal.tenant,
        "sign_in_provider": claims.sign_in_provider,
        "sign_in_second_factor": claims.second_factor,
    }
    told: dict[str, Any] = {
        "iss": settings.issuer,
        "sub": claims.principal.uid,
        "project": claims.principal.project,
        "auth_time": claims.auth_time,
        "firebase": {name: value for name, value in firebase.items() if value is not None},
        "network": session.network.value,
    }
    told |= {name: claims.payload[name] for name in _OWN_CLAIMS if name in claims.payload}
    custom = {
        name: claims.payload[name] for name in settings.claims if name in claims.payload and name not in _REGISTERED
    }
    return told | ({"claims": custom} if custom else {})


def _iap_claims(session: Session, settings: AssertionSettings) -> dict[str, Any]:
    """The claims of Identity-Aware Proxy with external identities: who vouches, then the ID token's own claims."""
    claims = session.claims
    principal = claims.principal
    source = "/".join(part for part in ("securetoken.google.com", principal.project, principal.tenant) if part)
    own = (*_OWN_CLAIMS, "auth_time", "firebase", "picture", "phone_number", "user_id", *settings.claims)
    inner = {name: claims.payload[name] for name in own if name in claims.payload and name not in _REGISTERED} | {
        "sub": principal.uid
    }
    told: dict[str, Any] = {
        "iss": IAP_ISSUER,
        "sub": f"{source}:{principal.uid}",
        "identity_source": "GCIP",
        "gcip": inner,
    }
    if claims.email is not None:
        told["email"] = f"{source}:{claims.email}"
    return told


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
