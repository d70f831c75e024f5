"""The signed assertion: what it says, who can verify it, and how keys come and go."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
import time
from typing import Any

import google.auth.transport
import google.oauth2.id_token
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt as jose_jwt
from joserfc.jwk import KeySet

from gateway.core.session import NetworkLevel, Session
from gateway.mutators import assertion
from gateway.mutators.assertion import (
    CACHING,
    LEAD,
    LEAST_LIFETIME,
    LINGER,
    MAX_LIFETIME,
    AssertionForm,
    AssertionKey,
    Assertions,
    AssertionSettings,
    KeyRing,
)
from gateway.tokens.id_token import IdTokenRules, read_claims
from tests.support import forge
from tests.support.clock import NOW

GATEWAY = AssertionSettings("https://app.example")
IAP = AssertionSettings("https://app.example", AssertionForm.IAP)
AUDIENCE = "/projects/1234/global/backendServices/5678"


def session(network: NetworkLevel = NetworkLevel.SAME, now: float = NOW, **payload: Any) -> Session:
    """A session as the guard makes it, of a real ID token's claims."""
    tenants = frozenset({"t1"} if "tenant" in payload.get("firebase", {}) else ())
    claims = read_claims(forge.payload(now=now, **payload), IdTokenRules(forge.PROJECT, tenants), now)
    return Session(claims, ipaddress.ip_address("192.0.2.7"), network)


def made(settings: AssertionSettings = GATEWAY, now: float = NOW, **payload: Any) -> dict[str, Any]:
    """The payload of an assertion, verified by PyJWT."""
    assertions = Assertions(KeyRing.fresh(now), settings)
    token = assertions.of(session(**payload), "app", now).token.decode()
    key = assertions.ring.signer(now).private_key.public_key()
    options = {"verify_exp": False, "verify_iat": False}
    found: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], audience="app", options=options)  # type: ignore[arg-type]
    return found


def test_it_says_who_for_whom_and_until_when() -> None:
    """... tells subject, audience, issuer and the facts of the sign-in, for at most ten minutes."""
    told = made(role="admin")
    assert told["sub"] == forge.UID
    assert (told["iss"], told["aud"]) == ("https://app.example", "app")
    assert (told["iat"], told["exp"]) == (int(NOW), int(NOW) + MAX_LIFETIME)
    assert told["auth_time"] == int(NOW) - 600
    assert told["email"] == "ada@example.com"
    assert told["firebase"] == {"sign_in_provider": "password"}
    assert told["network"] == "same"
    assert "claims" not in told
    assert "role" not in told


def test_named_custom_claims_are_told() -> None:
    """... tells the custom claims that were asked for, and never lets one pose as a claim of the assertion."""
    settings = AssertionSettings("i", claims=("role", "sub", "exp", "absent"))
    told = made(settings, role=["admin"])
    assert told["claims"] == {"role": ["admin"]}
    assert told["sub"] == forge.UID
    assert told["exp"] == int(NOW) + MAX_LIFETIME


def test_the_other_form_is_that_of_identity_aware_proxy() -> None:
    """... writes the claims of Identity-Aware Proxy with external identities, tenant included."""
    told = made(IAP, firebase={"sign_in_provider": "password", "tenant": "t1"})
    assert told["iss"] == "https://cloud.google.com/iap"
    assert told["sub"] == f"securetoken.google.com/{forge.PROJECT}/t1:{forge.UID}"
    assert told["email"] == f"securetoken.google.com/{forge.PROJECT}/t1:ada@example.com"
    assert told["aud"] == told["azp"] == "app"
    assert told["identity_source"] == "GCIP"
    assert told["gcip"]["sub"] == told["gcip"]["user_id"] == forge.UID
    assert told["gcip"]["firebase"] == {"sign_in_provider": "password", "tenant": "t1"}
    assert not {"iss", "aud", "exp", "iat"} & set(told["gcip"])


@pytest.mark.parametrize(
    ("left", "lifetime"), [(3_600, MAX_LIFETIME), (300, 300), (LEAST_LIFETIME, LEAST_LIFETIME), (1, LEAST_LIFETIME)]
)
def test_it_does_not_outlive_the_credential(left: int, lifetime: int) -> None:
    """... ends an assertion with the ID token that it was made from, a minute at the least."""
    told = made(exp=int(NOW) + left)
    assert told["exp"] - told["iat"] == lifetime


@pytest.mark.parametrize(
    ("settings", "name"), [(GATEWAY, b"X-Gateway-Jwt-Assertion"), (IAP, b"X-Goog-IAP-JWT-Assertion")]
)
def test_each_form_has_its_header(settings: AssertionSettings, name: bytes) -> None:
    """... puts each form where its readers look for it."""
    assert settings.form.field == name


# ---- remembering ----


def test_one_is_made_per_session_and_backend() -> None:
    """... gives the same assertion again until half its life is over, and another one to another backend."""
    assertions = Assertions(KeyRing.fresh(NOW), GATEWAY)
    first = assertions.of(session(), "app", NOW)
    assert assertions.of(session(), "app", NOW + MAX_LIFETIME / 2 - 1) is first
    assert assertions.of(session(), "other", NOW).token != first.token
    assert assertions.of(session(network=NetworkLevel.ROAMED), "app", NOW).token != first.token
    later = assertions.of(session(), "app", NOW + MAX_LIFETIME / 2)
    assert later.token != first.token
    assert later.fresh_until == NOW + MAX_LIFETIME


def test_another_session_never_gets_it() -> None:
    """... keeps assertions apart by user, tenant, project, sign-in and ID token, and by what such a token says."""
    assertions = Assertions(KeyRing.fresh(NOW), GATEWAY)
    others: list[dict[str, Any]] = [
        {},
        {"sub": "eve", "user_id": "eve"},
        {"firebase": {"sign_in_provider": "password", "tenant": "t1"}},
        {"auth_time": int(NOW) - 601},
        {"iat": int(NOW) - 30},
        {"email": "another@example.com"},
        {"firebase": {"sign_in_provider": "google.com"}},
    ]
    tokens = {assertions.of(session(**one), "app", NOW).token for one in others}
    assert len(tokens) == len(others)


def test_memory_is_bounded_and_what_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """... forgets what nobody asked for since the table was last full, and nothing else."""
    monkeypatch.setattr(assertion, "_CACHED", 4)
    assertions = Assertions(KeyRing.fresh(NOW), GATEWAY)
    used = assertions.of(session(), "used", NOW)
    unused = assertions.of(session(), "unused", NOW)
    for number in range(20):
        assertions.of(session(), f"app-{number}", NOW)
        assert assertions.of(session(), "used", NOW) is used
    assert assertions.of(session(), "unused", NOW) is not unused
    assert len(assertions._young) + len(assertions._old) <= 8


# ---- three verifiers that know nothing of us ----


class Answers(google.auth.transport.Request):
    """google-auth's transport with one answer: the key document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.status, self.data = 200, json.dumps(document).encode()

    def __call__(self, *_args: Any, **_options: Any) -> Answers:
        return self


@pytest.mark.parametrize("document", ["jwks", "pems"])
def test_an_unmodified_check_of_identity_aware_proxy_accepts_it(document: str) -> None:
    """... is accepted by google-auth as it verifies the real proxy's assertions, with either form of the keys."""
    now = time.time()  # this verifier reads the clock itself
    assertions = Assertions(KeyRing.fresh(now), IAP)
    token = assertions.of(session(now=now), AUDIENCE, now).token
    keys: dict[str, Any] = getattr(assertions.ring, document)(now)
    told = google.oauth2.id_token.verify_token(token, Answers(keys), audience=AUDIENCE, certs_url="https://app.example")
    assert told["sub"].endswith(f":{forge.UID}")
    with pytest.raises((ValueError, jwt.InvalidAudienceError)):
        google.oauth2.id_token.verify_token(token, Answers(keys), audience="/projects/other")


def test_joserfc_accepts_it() -> None:
    """... is accepted by joserfc, with the key found by its name in the published set."""
    assertions = Assertions(KeyRing.fresh(NOW).rotated(NOW), GATEWAY)
    keys = KeySet.import_key_set(assertions.ring.jwks(NOW))  # type: ignore[arg-type] # plain dicts are fine
    token = jose_jwt.decode(assertions.of(session(), "app", NOW).token, keys, algorithms=["ES256"])
    jose_jwt.JWTClaimsRegistry(now=int(NOW), aud={"essential": True, "value": "app"}).validate(token.claims)
    assert token.claims["sub"] == forge.UID


def test_pyjwt_accepts_it() -> None:
    """... is accepted by PyJWT, with the key found by its name in the published set."""
    assertions = Assertions(KeyRing.fresh(NOW), GATEWAY)
    token = assertions.of(session(), "app", NOW).token
    keys = jwt.PyJWKSet.from_dict(assertions.ring.jwks(NOW))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    told = jwt.decode(
        token, key, algorithms=["ES256"], audience="app", options={"verify_exp": False, "verify_iat": False}
    )
    assert told["sub"] == forge.UID


# ---- keys ----


def test_a_key_is_named_by_its_thumbprint() -> None:
    """... names a key by the SHA-256 of its canonical public form (RFC 7638)."""
    key = AssertionKey.generate(0)
    jwk = key.public_jwk()
    canonical = '{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}' % (jwk["x"], jwk["y"])  # noqa: UP031 - braces
    digest = base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
    assert key.kid == jwk["kid"] == digest
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", jwk["x"]) is not None
    assert "d" not in jwk
    assert "PRIVATE" not in key.public_pem()


def test_a_key_survives_being_written_down() -> None:
    """... reads the same key back, and no other kind."""
    key = AssertionKey.generate(7)
    again = AssertionKey.from_pem(key.private_pem(), 7)
    assert (again.kid, again.signs_from) == (key.kid, 7)
    others = (ec.generate_private_key(ec.SECP384R1()), forge.private_key())
    for other in others:
        pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        with pytest.raises(ValueError, match="P-256"):
            AssertionKey.from_pem(pem, 0)


def test_a_rotation_invalidates_nothing() -> None:
    """... publishes a new key before it signs, and the old one until its last assertion is over."""
    ring = KeyRing.fresh(NOW)
    (old,) = ring.keys
    rotated = ring.rotated(NOW)
    new = rotated.keys[1]
    assert rotated.signer(NOW + LEAD - 1) is old
    assert rotated.signer(NOW + LEAD) is new
    assert {key["kid"] for key in rotated.jwks(NOW)["keys"]} == {old.kid, new.kid}
    last_assertion_ends = NOW + LEAD + MAX_LIFETIME
    assert old in rotated.published(last_assertion_ends + CACHING - 1)
    assert rotated.published(NOW + LEAD + LINGER) == (new,)
    assert old not in rotated.rotated(NOW + LEAD + LINGER).keys


def test_every_verifier_finds_every_key_through_many_rotations() -> None:
    """... loses no assertion through rotations at any distance, for verifiers that cache the key set to the limit."""
    now = int(NOW)
    assertions = Assertions(KeyRing.fresh(now), GATEWAY)
    cached: tuple[int, set[str]] = (now - CACHING, set())
    alive: list[tuple[str, int]] = []
    for second in range(now, now + 6_000, 20):
        if second % 700 < 20 or second % 1_900 < 20:
            assertions.ring = assertions.ring.rotated(second)
        if second - cached[0] >= CACHING:
            cached = second, {key["kid"] for key in assertions.ring.jwks(second)["keys"]}
        token = assertions.of(session(now=second), "app", second).token
        alive.append((jwt.get_unverified_header(token)["kid"], second + MAX_LIFETIME // 2))
        alive = [entry for entry in alive if entry[1] > second]
        assert {kid for kid, _ in alive} <= cached[1]


def test_a_ring_is_never_empty() -> None:
    """... has a key to sign with at any moment."""
    with pytest.raises(ValueError, match="needs a key"):
        KeyRing(())
    early = KeyRing((AssertionKey.generate(int(NOW) + 100),))
    assert early.signer(NOW) is early.keys[0]
