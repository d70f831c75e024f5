"""Known flaws of token verifiers, each tried on ours and named for the advisory.

Tokens go through the whole verifier, or through the whole guard where the flaw was beside the verifier. Advisories of
gateways (paths, headers, redirects) have tests of their own beside what they concern.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway import reasons
from gateway.core.client_ip import AddressResolver
from gateway.core.context import Headers, RequestContext
from gateway.core.decision import Allow, Challenge
from gateway.core.target import parse_target
from gateway.errors import (
    BadSignature,
    ForbiddenAlgorithm,
    KeysUnavailable,
    MalformedToken,
    TokenError,
    UnknownKey,
    WrongIssuer,
    WrongKind,
    WrongTenant,
)
from gateway.guard import SessionGuard
from gateway.policy.routes import Auth, Route, RouteTable
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.keys import key_from_jwk, parse_key_document
from gateway.tokens.session_cookie import session_cookie_rules
from gateway.tokens.verifier import IdTokenVerifier, SessionCookieVerifier
from tests.support import forge
from tests.support.clock import NOW, FakeClock
from tests.support.tokens import KnownKeys

KEY = forge.private_key()


def verifier(rules: IdTokenRules | None = None, keys: Any = None) -> IdTokenVerifier:
    return IdTokenVerifier(rules or IdTokenRules(forge.PROJECT), keys or KnownKeys(forge.KID), FakeClock())


async def refusal(token: str, judge: Any = None) -> type[TokenError]:
    """The leaf that a token is refused with, twice: what is remembered must not change it."""
    judge = judge or verifier()
    found = []
    for _ in range(2):
        with pytest.raises(TokenError) as caught:
            await judge.verify(token)
        found.append(type(caught.value))
    assert found[0] is found[1]
    return found[0]


# ---- PyJWT -----------------------------------------------------------------------------------------------------------


def _public_forms() -> dict[str, bytes]:
    public = KEY.public_key()
    encoding, form = serialization.Encoding, serialization.PublicFormat
    pem = public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo)
    return {
        "pem": pem,
        "pem stripped": pem.strip(),
        "pem, other line ends": pem.replace(b"\n", b"\r\n"),
        "pkcs1 pem": public.public_bytes(encoding.PEM, form.PKCS1),
        "der": public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "openssh": public.public_bytes(encoding.OpenSSH, form.OpenSSH),
        "certificate": forge.certificate().encode(),
        "jwk": json.dumps(forge.jwk()).encode(),
        "jwk set": forge.jwks(),
        "kid": forge.KID.encode(),
        "empty": b"",
    }


@pytest.mark.parametrize("form", _public_forms())
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
async def test_pyjwt_cve_2017_11424_and_cve_2022_29217_hmac_with_a_public_key(form: str, digest: str) -> None:
    """... has no HMAC that a public key could be the secret of, in whatever format (also GHSA-xgmm-8j9v-c9wx)."""
    secret = _public_forms()[form]
    token = forge.raw(
        forge.header(alg=f"HS{digest[3:]}"),
        forge.payload(),
        lambda data: hmac.digest(secret, data, getattr(hashlib, digest)),
    )
    assert await refusal(token) is ForbiddenAlgorithm
    disguised = forge.raw(
        forge.header(), forge.payload(), lambda data: hmac.digest(secret, data, getattr(hashlib, digest))
    )
    assert await refusal(disguised) is BadSignature


@pytest.mark.parametrize("crit", [["exp"], ["b64"], ["unknown"], [], "exp", None, {"exp": True}])
async def test_pyjwt_cve_2026_32597_crit_is_not_ignored(crit: Any) -> None:
    """... refuses every token that says that something must be understood."""
    assert await refusal(forge.id_token(headers={"crit": crit})) is MalformedToken


def _signed(alg: str) -> Callable[[bytes], bytes]:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    return {
        "RS384": lambda data: KEY.sign(data, padding.PKCS1v15(), hashes.SHA384()),
        "RS512": lambda data: KEY.sign(data, padding.PKCS1v15(), hashes.SHA512()),
        "PS256": lambda data: KEY.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
        "ES256": lambda data: elliptic.sign(data, ec.ECDSA(hashes.SHA256())),
    }[alg]


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256", "ES256"])
async def test_pyjwt_ghsa_jq35_7prp_9v3f_algorithm_is_bound_to_the_key(alg: str) -> None:
    """... uses a key with the one algorithm that it is for, whatever the header claims and however it was signed."""
    assert await refusal(forge.raw(forge.header(alg=alg), forge.payload(), _signed(alg))) is ForbiddenAlgorithm
    assert await refusal(forge.raw(forge.header(), forge.payload(), _signed(alg))) is BadSignature
    with pytest.raises(ValueError, match="meant"):
        key_from_jwk(forge.jwk(alg=alg))


@pytest.mark.parametrize("field", ["jku", "x5u", "jwk", "x5c", "kid", "iss"])
async def test_pyjwt_ghsa_993g_76c3_p5m4_nothing_in_a_token_is_fetched(
    field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """... opens no file and no connection that a token names (file:// key addresses, key servers, key paths)."""
    attacker = forge.private_key("attacker")
    keys = tmp_path / "keys"
    keys.write_bytes(forge.jwks("attacker"))

    def forbidden(*_: Any, **__: Any) -> None:
        pytest.fail("the verifier reached out")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr("builtins.open", forbidden)
    for value in (keys.as_uri(), str(keys), "https://evil.test/keys", "//evil.test", "http://127.0.0.1:1/"):
        if field == "iss":
            assert await refusal(forge.id_token(signed_with=attacker, iss=value)) is WrongIssuer
        elif field == "kid":
            assert await refusal(forge.id_token(signed_with=attacker, kid=value)) is UnknownKey
        else:
            material = {"jwk": forge.jwk("attacker"), "x5c": [value]}.get(field, value)
            assert await refusal(forge.id_token(signed_with=attacker, headers={field: material})) is BadSignature


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "x' OR '1'='1", "a\r\nb", "a\x00", "k" * 129, "k" * 10_000, "", "*", ".", "é"]
)
async def test_kid_injection_finds_nothing(kid: str) -> None:
    """... takes kid for a name in a dictionary, and for nothing that could be followed or executed."""
    assert await refusal(forge.id_token(kid=kid, signed_with=KEY)) in {UnknownKey, MalformedToken}


async def test_pyjwt_ghsa_fhv5_28vv_h8m8_junk_asks_for_no_keys() -> None:
    """... asks the key source only for tokens whose claims are all in order, so that junk brings no fetch about."""

    class Counting(KnownKeys):
        asked = 0

        async def key(self, kid: str) -> RSAPublicKey | None:
            self.asked += 1
            return await super().key(kid)

    keys = Counting()
    judge = verifier(keys=keys)
    for token in (
        forge.id_token(kid="a", signed_with=KEY, exp=int(NOW) - 1),
        forge.id_token(kid="b", signed_with=KEY, aud="x"),
        forge.id_token(kid="c", signed_with=KEY, headers={"alg": "RS384"}),
        "a.b.c",
    ):
        await refusal(token, judge)
    assert keys.asked == 0
    await refusal(forge.id_token(kid="d", signed_with=KEY), judge)
    assert keys.asked == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"<html>", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AA"}]}'])
def test_pyjwt_a_bad_fetch_never_empties_the_keys(body: bytes) -> None:
    """... refuses a broken key document as a whole, so that the good keys stay (the cache was cleared on error)."""
    with pytest.raises(ValueError, match=r"JSON|no usable"):
        parse_key_document(body)


async def test_pyjwt_pysec_2026_178_detached_payload_costs_nothing() -> None:
    """... does no work for b64=false and detached payloads: they are refused from the header on."""
    header, payload, signature = forge.id_token(headers={"b64": False, "crit": ["b64"]}).split(".")
    assert await refusal(f"{header}..{signature}") is MalformedToken
    assert await refusal(f"{header}.{payload}.{signature}") is MalformedToken


@pytest.mark.parametrize(
    "issuer",
    [forge.ISSUER[:-1], forge.ISSUER[1:], forge.ISSUER + "x", "https://", "", [forge.ISSUER], [*forge.ISSUER], None, 0],
)
async def test_pyjwt_cve_2024_53861_issuer_is_equal_not_contained(issuer: Any) -> None:
    """... compares the issuer as a whole: a part of it, a list with it and a list of its letters are others."""
    assert await refusal(forge.id_token(iss=issuer)) is WrongIssuer


# ---- firebase-admin --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None])
async def test_firebase_admin_emulator_mode_is_no_environment_variable(
    alg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """... takes no unsigned token because of an environment variable."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    header, payload, _ = forge.raw(forge.header(alg=alg), forge.payload(), None).split(".")
    assert await refusal(f"{header}.{payload}.") is MalformedToken
    assert await refusal(f"{header}.{payload}.AAAA") is ForbiddenAlgorithm


@pytest.mark.parametrize("value", [forge.ABSENT, None, True, "1", [], -1])
async def test_firebase_admin_auth_time_is_checked(value: Any) -> None:
    """... refuses a token without a sign-in time: revocation would have nothing to compare."""
    assert await refusal(forge.id_token(auth_time=value)) is MalformedToken


async def test_firebase_admin_tenants_are_not_optional() -> None:
    """... refuses a tenant's user unless tenants are configured, and others' users where they are."""
    tenant = forge.id_token(firebase={"tenant": "t1", "sign_in_provider": "password"})
    assert await refusal(tenant) is WrongTenant
    assert await refusal(tenant, verifier(IdTokenRules(forge.PROJECT, frozenset({"t2"})))) is WrongTenant
    assert await refusal(forge.id_token(), verifier(IdTokenRules(forge.PROJECT, frozenset({"t1"})))) is WrongTenant


async def test_genuine_tokens_of_other_kinds_are_refused() -> None:
    """... takes neither a session cookie, a custom token nor an event for an ID token, nor an ID token for a cookie."""
    assert await refusal(forge.session_cookie()) is WrongKind
    event = forge.id_token(aud="https://fn.test/hook", event_type="providers/cloud.auth/eventTypes/user.beforeSignIn")
    assert await refusal(event) is WrongKind
    custom = forge.id_token(
        iss="sa@x.iam.gserviceaccount.com",
        aud="https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
    )
    assert await refusal(custom) is WrongKind
    cookies = SessionCookieVerifier(session_cookie_rules(forge.PROJECT), KnownKeys(forge.KID), FakeClock())
    assert await refusal(forge.id_token(), cookies) is WrongKind


# ---- Oathkeeper, Traefik: caches -------------------------------------------------------------------------------------


async def test_oathkeeper_cve_2021_32701_and_cve_2026_33496_the_cache_knows_the_policy() -> None:
    """... remembers nothing across policies: each verifier has entries of its own, under names that hold the policy."""
    token = forge.id_token()
    lenient, strict = verifier(), verifier(IdTokenRules(forge.PROJECT, frozenset({"t1"})))
    await lenient.verify(token)
    assert await refusal(token, strict) is WrongTenant
    assert lenient._cache.name(token.encode()) != strict._cache.name(token.encode())


async def test_traefik_cve_2026_71326_one_users_verdict_is_never_anothers() -> None:
    """... tells tokens apart that share header and signature, header and payload, prefix or suffix with a good one."""
    judge = verifier()
    ada, eve = forge.id_token(uid="ada"), forge.id_token(uid="eve")
    assert (await judge.verify(ada)).principal.uid == "ada"
    a, e = ada.split("."), eve.split(".")
    for mixed in ([a[0], e[1], a[2]], [a[0], a[1], e[2]], [e[0], e[1], a[2]]):
        assert await refusal(".".join(mixed), judge) is BadSignature
    assert (await judge.verify(eve)).principal.uid == "eve"
    assert (await judge.verify(ada)).principal.uid == "ada"


# ---- Envoy -----------------------------------------------------------------------------------------------------------


def _guard(judge: Any, auth: Auth) -> SessionGuard:
    routes = RouteTable([Route(name="r", pattern="/**", upstream="u", auth=auth)])
    return SessionGuard(
        routes=routes, verifier=judge, revocation=None, addresses=AddressResolver([]), clock=FakeClock()
    )


def _request(*authorization: str) -> RequestContext:
    headers = Headers(tuple((b"Authorization", f"Bearer {token}".encode()) for token in authorization))
    return RequestContext(
        method="GET", target=parse_target("/"), host="app.test", scheme="https", headers=headers, peer="203.0.113.9"
    )


async def test_envoy_cve_2022_29226_a_token_is_no_proof() -> None:
    """... takes the presence of a token for nothing: it must verify."""
    for token in ("x", "a.b.c", forge.id_token(signed_with="attacker"), forge.id_token(exp=1)):
        decision = await _guard(verifier(), Auth.REQUIRED).judge(_request(token))
        assert isinstance(decision, Challenge)


async def test_envoy_cve_2021_21378_missing_is_allowed_but_not_invalid_believed() -> None:
    """... lets a bad token pass where none is needed, as nobody, and says that it did."""
    guard = _guard(verifier(), Auth.OPTIONAL)
    missing = await guard.judge(_request())
    invalid = await guard.judge(_request(forge.id_token(signed_with="attacker")))
    good = await guard.judge(_request(forge.id_token()))
    assert isinstance(missing, Allow)
    assert isinstance(invalid, Allow)
    assert isinstance(good, Allow)
    assert (missing.session, missing.reason) == (None, reasons.ANONYMOUS)
    assert (invalid.session, invalid.reason) == (None, reasons.CREDENTIAL_IGNORED)
    assert good.session is not None


async def test_traefik_cve_2026_54762_without_keys_nobody_passes() -> None:
    """... fails closed while it has no keys, for good tokens and forged ones alike."""

    class NoKeys(KnownKeys):
        async def key(self, kid: str) -> RSAPublicKey | None:
            raise KeysUnavailable("no certificates yet")

    for token in (forge.id_token(), forge.id_token(signed_with="attacker")):
        decision = await _guard(verifier(keys=NoKeys()), Auth.REQUIRED).judge(_request(token))
        assert decision.reason is reasons.KEYS_UNAVAILABLE
