"""Our judgement beside firebase-admin's and joserfc's, on thousands of generated tokens.

Two libraries that were written by others judge the same tokens with the same keys, the same clock and the same skew.
Wherever somebody differs from us, a row of one of the tables below must say why, by looking at the token and not at how
it was made. What no row explains fails, and so does a row that explains nothing any more.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import firebase_admin
import google.auth._helpers
import pytest
from firebase_admin import _auth_client, auth
from google.auth.credentials import AnonymousCredentials
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet, RSAKey

from gateway.errors import TokenError
from gateway.tokens.id_token import DEFAULT_SKEW, IdTokenRules
from gateway.tokens.jws import MAX_JSON_DEPTH, MAX_KID_LENGTH, MAX_TOKEN_LENGTH
from gateway.tokens.verifier import IdTokenVerifier
from tests.support import forge
from tests.support.clock import NOW, FakeClock
from tests.support.tokens import KnownKeys, mutate

TOKENS: Final = 3_000
MUTANTS: Final = 100_000

T: Final = int(NOW)


# ---- the judges ------------------------------------------------------------------------------------------------------


class Certificates:
    """Answers firebase-admin's request for certificates: ours, without a network."""

    status = 200
    data = forge.certificates(forge.KID)

    def __call__(self, url: str, method: str = "GET", **_: Any) -> Certificates:
        return self


class NobodysCredential(firebase_admin.credentials.Base):  # type: ignore[misc] # because firebase-admin is untyped
    """firebase-admin wants a credential even for what needs none."""

    def get_credential(self) -> AnonymousCredentials:
        return AnonymousCredentials()  # type: ignore[no-untyped-call] # because google-auth is half typed


Judge = Callable[[str], dict[str, Any] | None]
"""The payload of a token that is good, None for one that is refused."""


@pytest.fixture(scope="module")
def firebase() -> Iterator[Judge]:
    app = firebase_admin.initialize_app(NobodysCredential(), {"projectId": forge.PROJECT}, name="differential")
    client = auth._get_client(app)
    assert isinstance(client, _auth_client.Client)
    client._token_verifier.request = Certificates()

    def judge(token: str) -> dict[str, Any] | None:
        try:
            claims = dict(client.verify_id_token(token, clock_skew_seconds=DEFAULT_SKEW))
        except Exception:  # noqa: BLE001 - it crashes on some; a crash is no session either
            return None
        del claims["uid"]
        return claims

    moment = dt.datetime.fromtimestamp(NOW, dt.UTC).replace(tzinfo=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(google.auth._helpers, "utcnow", lambda: moment)
        yield judge
    firebase_admin.delete_app(app)


@pytest.fixture(scope="module")
def joserfc() -> Judge:
    keys = KeySet([RSAKey.import_key(forge.jwk())])
    registry = joserfc_jwt.JWTClaimsRegistry(
        now=T,
        leeway=DEFAULT_SKEW,
        iss={"essential": True, "value": forge.ISSUER},
        aud={"essential": True, "value": forge.PROJECT},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )

    def judge(token: str) -> dict[str, Any] | None:
        try:
            decoded = joserfc_jwt.decode(token, keys, algorithms=["RS256"])
            registry.validate(decoded.claims)
        except Exception:  # noqa: BLE001 - as above
            return None
        return dict(decoded.claims)

    return judge


@pytest.fixture
def ours() -> Judge:
    verifier = IdTokenVerifier(IdTokenRules(forge.PROJECT), KnownKeys(forge.KID), FakeClock(), cache_bytes=0)

    def judge(token: str) -> dict[str, Any] | None:
        try:
            claims = verifier.peek(token)
        except TokenError:
            return None
        return None if claims is None else dict(claims.payload)

    return judge


# ---- what a difference may be explained by ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A token as a lenient reader takes it apart; members by their last mention, as most readers have it."""

    text: str
    header: dict[str, Any]
    payload: dict[str, Any]
    pairs_repeat: bool

    @classmethod
    def of(cls, text: str) -> Seen:
        repeats: list[bool] = []

        def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
            repeats.append(len(dict(found)) != len(found))
            return dict(found)

        parts = text.split(".")
        header, payload = (json.loads(_lenient(part), object_pairs_hook=pairs) for part in parts[:2])
        return cls(text, header, payload, any(repeats))


def _lenient(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _is_canonical(text: str) -> bool:
    return all(forge.b64(_lenient(part)) == part for part in text.split("."))


def _is_no_time(value: object) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _numbers(member)
    elif isinstance(value, list):
        for member in value:
            yield from _numbers(member)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _depth(value: object) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max((_depth(member) for member in members), default=0)


def _has_surrogate(value: object) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in json.dumps(value, ensure_ascii=False))


WE_REFUSE: Final[dict[str, Callable[[Seen], bool]]] = {
    "a token has one spelling": lambda seen: not _is_canonical(seen.text),
    "no member twice, at any level": lambda seen: seen.pairs_repeat,
    "numbers are finite and exact": lambda seen: any(
        not math.isfinite(n) or (isinstance(n, int) and abs(n) > 2**53 - 1) for n in _numbers(seen.payload)
    ),
    "text is Unicode": lambda seen: _has_surrogate(seen.payload),
    "JSON has no byte order mark": lambda seen: _lenient(seen.text.split(".")[1]).startswith(b"\xef\xbb\xbf"),
    "depth is bounded": lambda seen: _depth(seen.payload) > MAX_JSON_DEPTH,
    "size is bounded": lambda seen: len(seen.text) > MAX_TOKEN_LENGTH,
    "a header that changes the meaning is refused": lambda seen: bool(
        {"crit", "b64", "zip", "enc", "cty"} & seen.header.keys()
    ),
    "typ is JWT": lambda seen: str(seen.header.get("typ", "JWT")).upper() != "JWT",
    "kid names a key, in 1 to 128 characters": lambda seen: (
        not isinstance(seen.header.get("kid"), str) or not 0 < len(seen.header["kid"]) <= MAX_KID_LENGTH
    ),
    "iss and aud are strings": lambda seen: (
        not (isinstance(seen.payload.get("iss"), str) and isinstance(seen.payload.get("aud"), str))
    ),
    "exp has no leniency": lambda seen: seen.payload["exp"] <= T,
    "times are numbers": lambda seen: any(_is_no_time(seen.payload.get(name)) for name in ("exp", "iat")),
    "auth_time is a number": lambda seen: _is_no_time(seen.payload.get("auth_time")),
    "auth_time is not in the future": lambda seen: seen.payload["auth_time"] > T + DEFAULT_SKEW,
    "nbf is honoured": lambda seen: (
        "nbf" in seen.payload and (_is_no_time(seen.payload["nbf"]) or seen.payload["nbf"] > T + DEFAULT_SKEW)
    ),
    "sub is 1 to 128 visible ASCII characters": lambda seen: (
        not isinstance(seen.payload.get("sub"), str)
        or not 0 < len(seen.payload["sub"]) <= 128
        or not all("!" <= letter <= "~" for letter in seen.payload["sub"])
    ),
    "user_id equals sub": lambda seen: "user_id" in seen.payload and seen.payload["user_id"] != seen.payload["sub"],
    "the firebase claim is an object": lambda seen: not isinstance(seen.payload.get("firebase", {}), dict),
    "no tenant unless configured": lambda seen: seen.payload["firebase"].get("tenant") is not None,
}
"""Rules of ours that another library does not have, and how to see that one of them is at work."""

THEY_REFUSE: Final[dict[str, Callable[[Seen], bool]]] = {
    "joserfc wants claims of its types": lambda seen: any(
        name in seen.payload and not isinstance(seen.payload[name], kind)
        for name, kind in (("exp", int), ("iat", int), ("nbf", int), ("jti", str))
    ),
    "joserfc reads key material in headers, if only to check its form": lambda seen: bool(
        {"jwk", "jku", "x5u", "x5c"} & seen.header.keys()
    ),
    "joserfc takes no header field that it does not know": lambda seen: "extra" in seen.header,
}
"""Rules of others that we do not have, each harmless."""


# ---- the tokens ------------------------------------------------------------------------------------------------------

CLAIMS: Final[list[dict[str, Any]]] = [
    *({name: value} for name in ("exp", "iat", "auth_time", "nbf") for value in (
        forge.ABSENT, None, True, "1800000000", -1, 0, 1.5, T - 3600, T - 60, T - 5, T, T + 1, T + 5.5, T + 10,
        T + 11, T + 60, T + 3600, [], {}, 2**53, float("nan"), float("inf"),
    )),
    *({"iss": value} for value in (
        forge.ABSENT, None, "", [forge.ISSUER], {}, forge.ISSUER + "/", forge.ISSUER.upper(), "accounts.google.com",
        forge.ISSUER.replace("https", "http"), forge.ISSUER.replace("securetoken", "session.firebase"),
    )),
    *({"aud": value} for value in (
        forge.ABSENT, None, "", [forge.PROJECT], [forge.PROJECT, "x"], {}, forge.PROJECT + "x", forge.PROJECT[:-1],
        forge.PROJECT.upper(), "https://fn.test/",
    )),
    *({name: value} for name in ("sub", "user_id") for value in (
        forge.ABSENT, None, "", "a" * 128, "a" * 129, "a b", "a\r\nb", "\x00", "ü", 5, ["a"], "another", " uid-of-ada",
    )),
    *({"sub": value, "user_id": value} for value in ("x", "a" * 128, "a" * 129, "a b", "é", "~!")),
    *({"firebase": value} for value in (
        forge.ABSENT, None, "x", [], {}, {"tenant": "t1"}, {"tenant": None}, {"tenant": ["t1"]}, {"tenant": ""},
    )),
    *({name: value} for name in ("email", "email_verified", "name", "jti", "custom", "signInIpAddress") for value in (
        forge.ABSENT, None, True, 0, "x", "é€😀", "\ud800", "a\u0000b", [1, [2, {"a": []}]], 2**53 - 1, -(2**53), 1e308,
        10**30, float("-inf"), {"a": {"a": {"a": 1}}},
    )),
    {"deep": json.loads("[" * 14 + "]" * 14)},
    {"deep": json.loads("[" * 15 + "]" * 15)},
    {"deep": json.loads("[" * 16 + "]" * 16)},
    {"pad": "x" * 11_000},
    {"pad": "x" * 13_000},
]  # fmt: skip

HEADERS: Final[list[dict[str, Any]]] = [
    *({"alg": value} for value in (
        "none", "None", "", "rs256", "RS384", "HS256", "ES256", None, ["RS256"], forge.ABSENT,
    )),
    *({"kid": value} for value in (forge.ABSENT, None, "", "other", 1, [forge.KID], "k" * 129, "../" + forge.KID)),
    *({"typ": value} for value in (forge.ABSENT, "jwt", "JWS", "at+jwt", "", None, 1)),
    *({name: value} for name in ("crit", "b64", "zip", "enc", "cty", "jku", "x5u", "jwk", "x5c", "extra") for value in (
        ["exp"], [], False, "DEF", "https://evil.test/keys", {"kty": "RSA"},
    )),
]  # fmt: skip

SPELLINGS: Final[list[Callable[[str], str]]] = [
    lambda t: t + "=",
    lambda t: t + "==",
    lambda t: t[:-1] + chr(ord(t[-1]) ^ 1),
    lambda t: t + "\n",
    lambda t: " " + t,
    lambda t: t.replace(".", ".\n", 1),
    lambda t: t.replace(".", "!.", 1),
    lambda t: t.replace("-", "+").replace("_", "/"),
    lambda t: t + ".",
    lambda t: t.rsplit(".", 1)[0] + ".",
    lambda t: t.rsplit(".", 1)[0],
    lambda t: t[: len(t) // 2],
    lambda t: t.upper(),
    lambda t: ".".join([t.split(".")[0], *forge.id_token(uid="someone-else").split(".")[1:]]),
    lambda t: ".".join([*t.split(".")[:2], forge.id_token(uid="someone-else").split(".")[2]]),
    lambda t: ".".join([t.split(".")[0], forge.id_token(uid="someone-else").split(".")[1], t.split(".")[2]]),
]


def _texts(generator: random.Random) -> bytes:
    """A payload as text that no writer would write."""
    good = json.dumps(forge.payload(), separators=(",", ":"))
    return generator.choice(
        [
            good.replace("{", '{"sub":"first",', 1),
            good[:-1] + ',"sub":"uid-of-ada"}',
            good[:-1] + ',"\\u0073ub":"last"}',
            good.replace('"firebase":{', '"firebase":{"tenant":"t1","tenant":null,'),
            good.replace(":", " : "),
            good.replace("{", "{ \n\t"),
            good.replace("a", "\\u0061"),
            good + " ",
            good + "{}",
            good.replace('"', "'"),
            "\ufeff" + good,
            good[:-1] + ',"n":1E5}',
            good[:-1] + ',"n":-0.0}',
            good[:-1] + ',"n":12345678901234567.5}',
            good[:-1] + ',"n":"12345678901234567890"}',
            good[:-1] + ',"n":[12345678901234567890]}',
            good[:-1] + ',"n":[1,-12345678901234567890]}',
            good[:-1] + ',"n":1e400}',
            good[:-1] + ',"n":Infinity}',
            good[:-1] + ',"n":01}',
            good[:-1] + ',"n":"\x01"}',
            good[:-1] + ',"n":"\\ud83d\\ude00"}',
            good[:-1] + ',"n":"\\ud83d"}',
        ]
    ).encode("utf-8")


def generate(generator: random.Random) -> str:
    """One token: good, or with one or two things about it that are not usual, signed as it then stands."""
    claims: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    text: bytes | None = None
    spelling: Callable[[str], str] | None = None
    for _ in range(generator.choice((0, 1, 1, 1, 2))):
        kind = generator.randrange(10)
        if kind < 5:
            claims |= generator.choice(CLAIMS)
        elif kind < 7:
            fields |= generator.choice(HEADERS)
        elif kind < 9:
            text = _texts(generator)
        else:
            spelling = generator.choice(SPELLINGS)
    signer = forge.private_key("another" if generator.randrange(40) == 0 else forge.KID)
    token = forge.raw(forge.header(**fields), text or forge.payload(**claims), signer)
    return spelling(token) if spelling is not None else token


# ---- the comparison --------------------------------------------------------------------------------------------------


def _same(left: object, right: object) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@pytest.mark.slow
def test_every_difference_has_a_reason(ours: Judge, firebase: Judge, joserfc: Judge) -> None:
    """... differs from firebase-admin and joserfc only where a rule of the tables says so, and each rule is needed."""
    generator = random.Random(20_261_122)  # noqa: S311 - the same tokens on each run
    used: Counter[str] = Counter()
    unexplained: list[str] = []
    counts: Counter[str] = Counter()
    for _ in range(TOKENS):
        token = generate(generator)
        mine = ours(token)
        for other, judge in (("firebase-admin", firebase), ("joserfc", joserfc)):
            theirs = judge(token)
            if (mine is None) == (theirs is None):
                counts[f"{other} agrees: {'refused' if mine is None else 'good'}"] += 1
                if mine is not None and not _same(mine, theirs):
                    unexplained.append(f"{other} reads other claims: {mine} {theirs}")
                continue
            table = WE_REFUSE if mine is None else THEY_REFUSE
            seen = Seen.of(token)
            rule = next((name for name, holds in table.items() if holds(seen)), None)
            counts[f"{other} differs"] += 1
            if rule is None:
                unexplained.append(f"{other} {'refuses' if theirs is None else 'takes'} {seen.header} {seen.payload}")
            else:
                used[rule] += 1
    assert unexplained == []
    assert used.keys() == WE_REFUSE.keys() | THEY_REFUSE.keys(), "a rule of the table explains nothing"
    for other in ("firebase-admin", "joserfc"):
        assert counts[f"{other} agrees: good"] > TOKENS // 10
        assert counts[f"{other} agrees: refused"] > TOKENS // 10


@pytest.mark.slow
def test_no_mutated_token_is_accepted() -> None:
    """... accepts none of 100,000 tokens that were changed after they were signed."""
    generator = random.Random(7)  # noqa: S311 - the same mutants on each run
    keys = KnownKeys(forge.KID, "second")
    verifier = IdTokenVerifier(IdTokenRules(forge.PROJECT), keys, FakeClock())
    originals = [forge.id_token(), forge.id_token(uid="other", name="é"), forge.id_token(kid="second")]
    for good in originals:
        assert verifier.peek(good) is not None
    accepted, judged = [], 0
    while judged < MUTANTS:
        mutant = mutate(generator, originals)
        if mutant in originals:
            continue
        judged += 1
        try:
            if verifier.peek(mutant) is not None:
                accepted.append(mutant)
        except TokenError:
            continue
    assert accepted == []
    assert verifier.remembered == len(originals)
