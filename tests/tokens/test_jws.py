"""The signature layer: every spelling, every algorithm."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.errors import BadSignature, ForbiddenAlgorithm, MalformedToken, TokenError
from gateway.tokens.jws import (
    MAX_JSON_DEPTH,
    MAX_KID_LENGTH,
    MAX_TOKEN_LENGTH,
    _read_canonical,
    _usual_type,
    decode_segment,
    payload_of,
    read_header,
    read_object,
    split,
    verify_compact,
)
from tests.support import forge

KEY = forge.private_key()
JWK = forge.jwk()
GOOD = forge.id_token()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


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
    ("cty null", {"cty": None}),
    ("typ", {"typ": "JOSE+JSON"}),
    ("typ not text", {"typ": 1}),
    ("kid null", {"kid": None}),
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


def test_only_the_public_function_takes_a_token_that_names_no_key() -> None:
    """... needs a key's name to choose a key, and none where the caller has chosen."""
    token = forge.raw(forge.header(kid=forge.ABSENT), forge.payload(), KEY)
    assert json.loads(verify_compact(token, JWK)) == forge.payload()
    with pytest.raises(MalformedToken, match="kid"):
        read_header(token.split(".")[0].encode())


def test_an_empty_payload_is_a_payload() -> None:
    """... verifies the signature over an empty payload, and never takes it for claims."""
    assert verify_compact(forge.raw(forge.header(), b"", KEY), JWK) == b""
    header, _, signature = GOOD.split(".")
    with pytest.raises(BadSignature):
        verify_compact(f"{header}..{signature}", JWK)
    with pytest.raises(MalformedToken):
        read_object(b"", "payload")


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


# ---- the fast way and the long way -----------------------------------------------------------------------------------

BIGGEST = 2**53 - 1

SCALARS: list[Any] = ["x", "é", True, False, None, 0, -1, 1.5, BIGGEST, -BIGGEST]

USUAL: list[dict[str, Any]] = [
    {},
    *({"a": value} for value in [*SCALARS, [], {}]),
    *({"a": [value]} for value in [*SCALARS, [], {}]),
    *({"a": {"b": value}} for value in [*SCALARS, [], {}]),
    {"a": [[[{"x": 1}]]]},
    {"a": {"b": {"c": {"d": [1]}}}},
]


@pytest.mark.parametrize("value", USUAL)
def test_what_issuers_write_takes_the_fast_way(value: dict[str, Any]) -> None:
    """... reads every kind of value at every usual depth without the slow reader."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert _read_canonical(text) == value == read_object(text, "payload")
    assert msgspec.json.decode(text, type=_usual_type()) == value


@pytest.mark.parametrize("inner", [b"%d", b"[%d]", b'{"b":%d}', b'[{"b":[%d]}]'])
@pytest.mark.parametrize("number", [BIGGEST + 1, -BIGGEST - 1, 2**63, 2**64, -(10**30)])
def test_the_fast_way_knows_the_bounds_itself(inner: bytes, number: int) -> None:
    """... does not take integers that a double cannot hold on the fast way, at any depth."""
    text = b'{"a":' + inner % number + b"}"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=_usual_type())
    with pytest.raises(MalformedToken):
        read_object(text, "payload")


def test_the_fast_way_has_one_depth() -> None:
    """... takes five levels on the fast way and leaves six to the long one."""
    assert msgspec.json.decode(b'{"a":[[[[]]]]}', type=_usual_type()) == {"a": [[[[]]]]}
    for text in (b'{"a":[[[[[]]]]]}', b'{"a":{"a":{"a":{"a":{"a":{}}}}}}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(text, type=_usual_type())


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":9007199254740992}',
        b'{"a":-9007199254740992}',
        b'{"a":[9007199254740992]}',
        b'{"a":{"b":-9007199254740992}}',
        b'{"a":99999999999999999999999}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a": 1}',
        b'{"a":1.50}',
        b'{"a":"\\u0061"}',
        b'{"a":[[[[[1]]]]]}',
        b"[1]",
        b"null",
        b"",
        b"\xff",
    ],
)
def test_what_could_be_read_in_two_ways_takes_the_long_way(text: bytes) -> None:
    """... leaves all that is not written as issuers write to the slow reader."""
    assert _read_canonical(text) is None


@pytest.mark.parametrize("number", [BIGGEST, -BIGGEST])
def test_the_largest_exact_integers_are_read_either_way(number: int) -> None:
    """... takes the largest integers that a double holds, however they are written."""
    assert (
        read_object(b'{"a":%d}' % number, "payload") == read_object(b'{"a": %d}' % number, "payload") == {"a": number}
    )


def test_depth_has_one_bound_for_objects_and_lists() -> None:
    """... counts objects and lists alike, and takes no string for either."""
    for start, end in ((b'{"a":', b"}"), (b"[", b"]")):
        inner = MAX_JSON_DEPTH - 1
        good = b'{"a":' + start * inner + b"1" + end * inner + b"}"
        assert "a" in read_object(good, "payload")
        with pytest.raises(MalformedToken, match="nested"):
            read_object(b'{"a":' + start * (inner + 1) + b"1" + end * (inner + 1) + b"}", "payload")
    crowded = {"a": "]}[{" * 20, "b": [{}] * 20, 'c"': '"[' * 20, "d": "\\"}
    assert read_object(json.dumps(crowded).encode(), "payload") == crowded


@pytest.mark.parametrize(
    "text",
    [b'"' + b'\\"' * 8_000, b'{"a":' * 3_000, b"[]" * 8_000, b'["' + b"\\" * 16_000, b"[" * 16_000, b"]" * 16_000],
)
def test_hostile_json_is_refused_quickly(text: bytes) -> None:
    """... spends no more than milliseconds on JSON that was made to be slow."""
    start = time.perf_counter()
    for padding_ in (b"", b"[" * 20):
        with pytest.raises(MalformedToken):
            read_object(padding_ + text, "payload")
    assert time.perf_counter() - start < 0.25


@pytest.mark.parametrize("length", range(1, 9))
def test_payloads_of_every_length_are_read_again(length: int) -> None:
    """... reads the payload of a token again, whatever its length and letters."""
    for data in (b"\xfb\xef\xbe" * length, b"\xff" * length, bytes(range(length))):
        token = f"{forge.b64(b'head')}.{forge.b64(data)}.{forge.b64(b'-')}".encode()
        assert payload_of(token) == data == split(token).payload


def test_a_kid_may_have_its_full_length() -> None:
    """... reads a kid of the greatest length, and a typ in small letters."""
    kid = "k" * MAX_KID_LENGTH
    header = json.dumps({"alg": "RS256", "kid": kid, "typ": "jwt"}).encode()
    assert read_header(forge.b64(header).encode()) == kid


def test_each_unused_bit_counts() -> None:
    """... takes exactly one last letter for each ending, in segments of either length."""
    for data in (b"a", b"ab"):
        segment = forge.b64(data)
        letters = [letter for letter in LETTERS if _reads(segment[:-1] + letter)]
        assert len(letters) == (4 if len(data) == 1 else 16)
        assert segment[-1] in letters


def _reads(segment: str) -> bool:
    try:
        decode_segment(segment.encode())
    except MalformedToken:
        return False
    return True
