"""The signature layer: every spelling, every algorithm."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.errors import BadSignature, ForbiddenAlgorithm, MalformedToken, TokenError
from gateway.tokens.jws import MAX_JSON_DEPTH, MAX_KID_LENGTH, MAX_TOKEN_LENGTH, read_object, verify_compact
from tests.support import forge

KEY = forge.private_key()
JWK = forge.jwk()
GOOD = forge.id_token()


def test_a_genuine_token_verifies() -> None:
    """... returns the payload of a token signed with the key."""
    assert json.loads(verify_compact(GOOD, JWK))["sub"] == forge.UID
    assert verify_compact(GOOD.encode(), JWK) == verify_compact(GOOD, JWK)


def test_another_keys_token_is_refused() -> None:
    """... refuses a token signed with another key under the same name."""
    with pytest.raises(BadSignature):
        verify_compact(forge.id_token(signed_with="other"), JWK)


ALGORITHMS: list[Any] = [
    "none", "None", "NONE", "nOnE", "", " RS256", "rs256", "RS256 ", "RS384", "RS512", "PS256", "ES256", "HS256",
    "EdDSA",     None, ["RS256"], {"alg": "RS256"}, 0, True, forge.ABSENT,
]  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_only_the_string_rs256_is_an_algorithm(algorithm: object) -> None:
    """... refuses every other algorithm even when the signature is genuine RS256."""
    with pytest.raises(ForbiddenAlgorithm):
        verify_compact(forge.raw(forge.header(alg=algorithm), forge.payload(), KEY), JWK)


def _secrets() -> list[bytes]:
    pem = forge.certificate().encode()
    numbers = KEY.public_key().public_numbers()
    return [pem, pem.strip(), json.dumps(JWK).encode(), forge.KID.encode(), b"", str(numbers.n).encode()]


@pytest.mark.parametrize("secret", _secrets())
def test_hmac_with_public_material_is_refused(secret: bytes) -> None:
    """... has no HMAC to be confused with the public key (CVE-2022-29217 and its kin)."""
    token = forge.raw(
        forge.header(alg="HS256"), forge.payload(), lambda data: hmac.digest(secret, data, hashlib.sha256)
    )
    with pytest.raises(ForbiddenAlgorithm):
        verify_compact(token, JWK)


def _other_signatures() -> list[tuple[str, Any]]:
    def sign(how: Any, digest: Any) -> Any:
        return lambda data: KEY.sign(data, how, digest)

    return [
        ("sha384", sign(padding.PKCS1v15(), hashes.SHA384())),
        ("sha512", sign(padding.PKCS1v15(), hashes.SHA512())),
        ("sha1", sign(padding.PKCS1v15(), hashes.SHA1())),  # noqa: S303 - a forgery
        ("pss", sign(padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())),
        ("empty", lambda _: b"\x00"),
        ("short", lambda data: forge.rs256(data, KEY)[:-1]),
        ("long", lambda data: forge.rs256(data, KEY) + b"\x00"),
        ("leading zero", lambda data: b"\x00" + forge.rs256(data, KEY)),
        ("modulus added", lambda data: _plus_modulus(forge.rs256(data, KEY))),
        ("zero", lambda _: b"\x00" * 256),
    ]


def _plus_modulus(signature: bytes) -> bytes:
    number = int.from_bytes(signature, "big") + KEY.public_key().public_numbers().n
    return number.to_bytes(257, "big")


@pytest.mark.parametrize(("name", "signer"), _other_signatures())
def test_other_signatures_under_rs256_are_refused(name: str, signer: Any) -> None:
    """... refuses signatures of the right key made another way."""
    with pytest.raises(BadSignature):
        verify_compact(forge.raw(forge.header(), forge.payload(), signer), JWK)


def _respelled() -> list[tuple[str, str]]:
    header, payload, signature = GOOD.split(".")
    unused = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = unused[(unused.index(signature[-1]) + 1) % 64]
    return [
        ("padding", f"{header}.{payload}.{signature}=="),
        ("padding on the payload", f"{header}.{payload}=.{signature}"),
        ("unused bits", f"{header}.{payload}.{signature[:-1]}{last}"),
        ("trailing newline", GOOD + "\n"),
        ("leading space", " " + GOOD),
        ("inner space", f"{header} .{payload}.{signature}"),
        ("standard alphabet", GOOD.replace("-", "+").replace("_", "/") + "+"),
        ("junk character", f"{header}.{payload}!.{signature}"),
        ("leading dot", "." + GOOD),
        ("trailing dot", GOOD + "."),
        ("two segments", f"{header}.{payload}"),
        ("five segments", f"{header}.{payload}.{signature}.a.b"),
        ("empty header", f".{payload}.{signature}"),
        ("empty payload", f"{header}..{signature}"),
        ("empty signature", f"{header}.{payload}."),
        ("only dots", ".."),
        ("7000 dots", "." * 7000),
        ("nothing", ""),
        ("one over", f"{header}.{payload}.{signature[:4]}A"),
        ("not ascii", GOOD[:-1] + "é"),
        ("full width dot", GOOD.replace(".", "\uff0e", 1)),
        ("JSON serialisation", json.dumps({"payload": payload, "signatures": []})),
        ("too long", GOOD + "A" * MAX_TOKEN_LENGTH),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "token"), _respelled())
def test_a_token_has_one_spelling(name: str, token: str) -> None:
    """... refuses every spelling but the canonical one."""
    assert token != GOOD
    with pytest.raises(MalformedToken):
        verify_compact(token, JWK)


HEADERS: list[tuple[str, Any]] = [
    ("crit", {"crit": ["exp"]}),
    ("empty crit", {"crit": []}),
    ("b64", {"b64": False}),
    ("zip", {"zip": "DEF"}),
    ("enc", {"enc": "A256GCM"}),
    ("cty", {"cty": "JWT"}),
    ("typ", {"typ": "JOSE+JSON"}),
    ("typ not text", {"typ": 1}),
    ("no kid", {"kid": forge.ABSENT}),
    ("kid not text", {"kid": 1}),
    ("kid list", {"kid": [forge.KID]}),
    ("kid empty", {"kid": ""}),
    ("kid long", {"kid": "k" * (MAX_KID_LENGTH + 1)}),
]


@pytest.mark.parametrize(("name", "fields"), HEADERS)
def test_headers_that_change_the_meaning_are_refused(name: str, fields: dict[str, Any]) -> None:
    """... refuses a header that asks for more than a key's name."""
    with pytest.raises(MalformedToken):
        verify_compact(forge.raw(forge.header(**fields), forge.payload(), KEY), JWK)


def test_key_material_in_the_header_is_never_used() -> None:
    """... verifies with its own key whatever key the token brings along."""
    attacker = forge.private_key("attacker")
    fields: dict[str, Any] = {
        "jwk": forge.jwk("attacker"),
        "jku": "https://evil.test/k",
        "x5u": "https://evil.test/c",
        "x5c": ["MII="],
    }
    with pytest.raises(BadSignature):
        verify_compact(forge.raw(forge.header(**fields), forge.payload(), attacker), JWK)


JSON_TEXTS = [
    b'{"a":1,"a":2}',
    b'{"a":{"b":1,"b":1}}',
    b'{"a":[{"b":1,"b":1}]}',
    b'{"a":1,"\\u0061":2}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e400}',
    b'{"a":9007199254740992}',
    b'{"a":' + b"9" * 400 + b"}",
    b'{"a":' + b"9" * 10_000 + b"}",
    b'{"a":"\\ud800"}',
    b'{"\\udfff":1}',
    b'{"a":"\x00"}',
    b'{"a":"\xff"}',
    b"\xef\xbb\xbf{}",
    '{"a":1}'.encode("utf-16"),
    b"[]",
    b"null",
    b'"text"',
    b"1",
    b"",
    b"{",
    b"{}{}",
    b"{} x",
    b'{"a":01}',
    b"{'a':1}",
    b'{"a":' + b"[" * (MAX_JSON_DEPTH + 1) + b"]" * (MAX_JSON_DEPTH + 1) + b"}",
    b'{"a":' + b"[" * 20_000,
    b'{"a":' * 5_000,
]


@pytest.mark.parametrize("text", JSON_TEXTS)
def test_json_has_one_meaning(text: bytes) -> None:
    """... refuses JSON that two readers could take differently, or that costs too much."""
    with pytest.raises(MalformedToken):
        read_object(text, "payload")


def test_ordinary_json_is_read() -> None:
    """... reads what real tokens hold, brackets in text and shallow lists included."""
    value = {"a": ["[{" * 50, '\\"[' * 20], "b": [[1], [2]] * 10, "c": 1.5, "d": "é€😀", "e": -(2**53) + 1}
    assert read_object(json.dumps(value).encode(), "payload") == value
    assert read_object(json.dumps(value, ensure_ascii=False).encode(), "payload") == value


def test_a_payload_deep_within_the_bound_is_read() -> None:
    """... counts depth, not brackets."""
    depth = MAX_JSON_DEPTH - 1
    text = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    assert "a" in read_object(text, "payload")


def test_mutated_tokens_are_refused() -> None:
    """... accepts none of 3,000 tokens with one byte changed, removed or added."""
    generator = random.Random(20_261_122)  # noqa: S311 - the same mutants on each run
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ "
    accepted = []
    for _ in range(3_000):
        place = generator.randrange(len(GOOD))
        letter = generator.choice(alphabet)
        kind = generator.randrange(3)
        mutant = GOOD[:place] + ("" if kind == 1 else letter) + GOOD[place + (0 if kind == 2 else 1) :]
        if mutant == GOOD:
            continue
        try:
            verify_compact(mutant, JWK)
        except TokenError:
            continue
        accepted.append(mutant)
    assert accepted == []


def test_the_public_function_wants_an_rsa_key() -> None:
    """... refuses a key that cannot verify RS256 as a fault of the caller's code, not of the token."""
    secret = base64.urlsafe_b64encode(b"s" * 32).decode()
    for jwk in (
        {"kty": "oct", "k": secret},
        {"kty": "EC", "crv": "P-256"},
        {},
        forge.jwk(alg="PS256"),
        forge.jwk(use="enc"),
    ):
        with pytest.raises(ValueError, match=r"kty|meant"):
            verify_compact(GOOD, jwk)


def test_small_keys_are_refused() -> None:
    """... does not verify with a key below 2048 bits."""
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    jwk = {"kty": "RSA", "n": forge._b64_int(numbers.n), "e": forge._b64_int(numbers.e)}
    with pytest.raises(ValueError, match="1024 bits"):
        verify_compact(GOOD, jwk)
