"""Public vector files can be run on the public function; here on one of our own in the same form."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MalformedToken
from gateway.tokens.jws import decode_segment
from tests.house.tree import ROOT
from tests.support import forge

PAGE = ROOT / "docs" / "how-to" / "run-test-vectors.md"

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
FOREIGN = sorted(set(range(256)) - set(ALPHABET))

KEY = forge.private_key()
NO_KEY = {"kty": "oct", "alg": "HS256", "k": forge.b64(b"s" * 32)}


def _case(number: int, comment: str, jws: str, result: str) -> dict[str, Any]:
    return {"tcId": number, "comment": comment, "jws": jws, "result": result, "flags": []}


def _rs256() -> dict[str, Any]:
    good = forge.raw(b'{"alg":"RS256","kid":"k"}', b"foo", KEY)
    header, payload, signature = good.split(".")
    rest = forge.rs256(f"{header}.{payload}".encode(), KEY)
    padded = base64.urlsafe_b64encode(rest).decode()
    cases = [
        ("valid", good, "valid"),
        ("no kid", forge.raw(b'{"alg":"RS256"}', b"foo", KEY), "valid"),
        ("empty payload", forge.raw(b'{"alg":"RS256","kid":"k"}', b"", KEY), "valid"),
        ("binary payload", forge.raw(b'{"alg":"RS256"}', bytes(range(256)), KEY), "valid"),
        ("white space in the header", forge.raw(b'{ "alg" :\r\n "RS256" }', b"foo", KEY), "valid"),
        ("modified signature", f"{header}.{payload}.{forge.b64(b'?' + rest[1:])}", "invalid"),
        ("modified payload", f"{header}.WG9v.{signature}", "invalid"),
        ("payload left out", f"{header}..{signature}", "invalid"),
        ("signature left out", f"{header}.{payload}.", "invalid"),
        ("two parts", f"{header}.{payload}", "invalid"),
        ("four parts", good + ".", "invalid"),
        ("padded", f"{header}.{payload}.{padded}", "invalid"),
        ("PKCS1 padding with another digest", forge.raw(b'{"alg":"RS256"}', b"foo", _sha384), "invalid"),
        ("none", forge.raw(b'{"alg":"none"}', b"foo", None), "invalid"),
        ("critical extension", forge.raw(b'{"alg":"RS256","crit":["x"],"x":1}', b"foo", KEY), "invalid"),
        ("another key", forge.raw(b'{"alg":"RS256"}', b"foo", forge.private_key("other")), "invalid"),
        (
            "JSON serialisation",
            f'{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}',
            "invalid",
        ),
        ("nothing", "", "invalid"),
    ]
    return {
        "type": "JsonWebSignature",
        "public": forge.jwk(),
        "tests": [_case(number, *case) for number, case in enumerate(cases, 1)],
    }


def _sha384(data: bytes) -> bytes:
    return KEY.sign(data, padding.PKCS1v15(), hashes.SHA384())


def _others() -> list[dict[str, Any]]:
    curve = ec.generate_private_key(ec.SECP256R1())
    numbers = curve.public_key().public_numbers()
    elliptic = {"kty": "EC", "crv": "P-256", "x": forge._b64_int(numbers.x), "y": forge._b64_int(numbers.y)}
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signed: list[tuple[str, dict[str, Any], forge.Signer]] = [
        ("ES256", elliptic, lambda data: curve.sign(data, ec.ECDSA(hashes.SHA256()))),
        ("PS256", forge.jwk(alg="PS256"), lambda data: KEY.sign(data, pss, hashes.SHA256())),
        ("PS256", forge.jwk(alg=forge.ABSENT), lambda data: KEY.sign(data, pss, hashes.SHA256())),
        ("RS384", forge.jwk(alg="RS384"), _sha384),
        ("RS384", forge.jwk(alg=forge.ABSENT), _sha384),
        ("HS256", NO_KEY, lambda data: data[:32].ljust(32, b"0")),
    ]
    return [
        {
            "type": "JsonWebSignature",
            "public": jwk,
            "tests": [_case(1, "valid", forge.raw(f'{{"alg":"{alg}"}}'.encode(), b"foo", signer), "valid")],
        }
        for alg, jwk, signer in signed
    ]


def _documented() -> dict[str, Any]:
    """The functions of the program in the documentation, as a reader would have them."""
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {"__name__": "documented"}
    exec(block[1], names)  # noqa: S102 - our own page, to keep it true
    return names


def test_the_documented_program_runs_a_vector_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... agrees with a vector file about RS256 and refuses all else, by the program in the documentation."""
    file = tmp_path / "json_web_signature_test.json"
    file.write_text(json.dumps({"testGroups": [_rs256(), *_others()]}), encoding="utf-8")
    assert _documented()["run"](file) == 0
    assert capsys.readouterr().out == "RS256: 18 of 18 as the file says\nother algorithms: 6 of 6 refused\n"


def test_the_documented_program_notices_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... is shown to agree by a program that would say so if it did not."""
    group = _rs256()
    group["tests"][0]["result"] = "invalid"
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({"testGroups": [group]}), encoding="utf-8")
    assert _documented()["run"](file) == 1
    assert "1 valid: taken, but the file says invalid" in capsys.readouterr().out


@given(st.binary(min_size=1, max_size=200))
def test_segments_are_read_as_everybody_reads_them(data: bytes) -> None:
    """... decodes base64url as the standard library does."""
    assert decode_segment(base64.urlsafe_b64encode(data).rstrip(b"=")) == data


@given(st.binary(min_size=1, max_size=60))
def test_a_segment_that_is_read_is_the_canonical_one(text: bytes) -> None:
    """... decodes only what encodes to the same text again."""
    try:
        data = decode_segment(text)
    except MalformedToken:
        return
    assert base64.urlsafe_b64encode(data).rstrip(b"=") == text


@pytest.mark.parametrize("code", FOREIGN)
def test_each_foreign_character_is_refused(code: int) -> None:
    """... refuses every byte that the alphabet does not have, wherever it stands."""
    for place in range(8):
        segment = bytearray(b"AAAAAAAA")
        segment[place] = code
        with pytest.raises(MalformedToken):
            decode_segment(bytes(segment))
