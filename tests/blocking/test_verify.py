"""blocking-functions.md sections 1.4 and 1.5: which tokens are an event for us."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.blocking.event import Event
from gateway.blocking.verify import MAX_EVENT_LENGTH, EventRules, EventVerifier, is_audience
from gateway.errors import (
    BadSignature,
    ForbiddenAlgorithm,
    KeysUnavailable,
    MalformedToken,
    TokenError,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
    WrongSubject,
)
from tests.support import events, forge
from tests.support.clock import NOW, FakeClock
from tests.support.events import ABSENT, PROJECT, URL
from tests.support.tokens import KnownKeys

RULES = EventRules(PROJECT, {URL: None})
UNSIGNED = EventRules(PROJECT, {URL: None}, unsigned=True)


def verifier(rules: EventRules = RULES, *kids: str) -> EventVerifier:
    return EventVerifier(rules, KnownKeys(*(kids or (forge.KID,))), FakeClock())


@pytest.mark.parametrize("event", list(Event))
async def test_a_good_event_verifies(event: Event) -> None:
    """... gives the claims of each kind of event that is signed for this function."""
    claims = events.claims(event.value)
    assert await verifier().verify(events.signed(claims)) == claims


CROOKED: list[tuple[str, dict[str, Any], type[TokenError]]] = [
    ("another function", {"aud": "https://hooks.example.test/other"}, WrongAudience),
    ("a longer address", {"aud": URL + "/"}, WrongAudience),
    ("the project", {"aud": PROJECT}, WrongAudience),
    ("an evil query", {"aud": "https://evil.test/?x=run.app"}, WrongAudience),
    ("a list", {"aud": [URL]}, WrongAudience),
    ("no audience", {"aud": ABSENT}, WrongAudience),
    ("a custom token's", {
        "aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"
    }, WrongAudience),
    ("another project", {"iss": "https://securetoken.google.com/other"}, WrongIssuer),
    ("a longer issuer", {"iss": f"https://securetoken.google.com/{PROJECT}/"}, WrongIssuer),
    ("http issuer", {"iss": f"http://securetoken.google.com/{PROJECT}"}, WrongIssuer),
    ("session cookie issuer", {"iss": f"https://session.firebase.google.com/{PROJECT}"}, WrongIssuer),
    ("no issuer", {"iss": ABSENT}, WrongIssuer),
    ("empty subject", {"sub": ""}, WrongSubject),
    ("long subject", {"sub": "x" * 129}, WrongSubject),
    ("number subject", {"sub": 7}, WrongSubject),
    ("no subject", {"sub": ABSENT}, WrongSubject),
    ("expired", {"exp": int(NOW)}, TokenExpired),
    ("long expired", {"exp": int(NOW) - 86_400}, TokenExpired),
    ("no expiry", {"exp": ABSENT}, MalformedToken),
    ("expiry a text", {"exp": str(int(NOW) + 600)}, MalformedToken),
    ("expiry true", {"exp": True}, MalformedToken),
    ("issued later", {"iat": int(NOW) + 3600}, TokenNotYetValid),
    ("no issue time", {"iat": ABSENT}, MalformedToken),
    ("not before", {"nbf": int(NOW) + 3600}, TokenNotYetValid),
]  # fmt: skip


@pytest.mark.parametrize(("top", "error"), [case[1:] for case in CROOKED], ids=[case[0] for case in CROOKED])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "emulator"])
async def test_a_crooked_event_is_refused(top: dict[str, Any], error: type[TokenError], signed: bool) -> None:
    """... refuses what is no event for this function, whoever signed it, in emulator mode too."""
    claims = events.claims(top=top)
    with pytest.raises(error):
        await verifier(UNSIGNED).verify(events.signed(claims) if signed else events.unsigned(claims))


@pytest.mark.parametrize("event", ["beforeSendEmail", "beforeSendSms"])
@pytest.mark.parametrize("sub", [ABSENT, "", "x" * 200, 7])
async def test_send_events_are_about_nobody(event: str, sub: Any) -> None:
    """... asks no subject of the two events that have no user."""
    assert await verifier().verify(events.token(event, top={"sub": sub}))


async def test_a_clock_slightly_behind_is_forgiven() -> None:
    """... takes an event that was issued a few seconds ahead of our clock."""
    assert await verifier().verify(events.token(top={"iat": int(NOW) + 9}))


async def test_an_id_token_is_no_event() -> None:
    """... refuses a user's own ID token, which has the same issuer and keys."""
    with pytest.raises(WrongAudience):
        await verifier().verify(forge.id_token())
    without = EventVerifier(EventRules(PROJECT, {}), KnownKeys(forge.KID), FakeClock())
    with pytest.raises(WrongAudience):
        await without.verify(forge.id_token())


def _hs256(claims: dict[str, Any]) -> str:
    return forge.raw(forge.header(alg="HS256"), claims, lambda data: b"\x01" * 32)


def _swapped(claims: dict[str, Any]) -> str:
    head, _, tail = events.signed(claims).split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "somebody-else"}).encode()).rstrip(b"=").decode()
    return f"{head}.{other}.{tail}"


DEEP = b'{"a":' * 50 + b"1" + b"}" * 50
TWICE = b'{"aud":"a","aud":"b"}'

SPOILED: list[tuple[str, Any, type[TokenError]]] = [
    ("unsigned", events.unsigned, ForbiddenAlgorithm),
    ("signature cut off", lambda c: events.signed(c).rpartition(".")[0] + ".", ForbiddenAlgorithm),
    ("none with a signature", lambda c: forge.raw({"alg": "none"}, c, lambda _: b"x"), ForbiddenAlgorithm),
    ("HS256", _hs256, ForbiddenAlgorithm),
    ("no key name", lambda c: forge.raw(forge.header(ABSENT), c, forge.private_key()), MalformedToken),
    ("unknown key", lambda c: events.signed(c, kid="never-published"), UnknownKey),
    ("other key", lambda c: forge.raw(forge.header(), c, forge.private_key("other")), BadSignature),
    ("payload swapped", _swapped, BadSignature),
    ("two segments", lambda c: events.signed(c).rpartition(".")[0], MalformedToken),
    ("four segments", lambda c: events.signed(c) + ".x", MalformedToken),
    ("padded", lambda c: events.signed(c) + "=", MalformedToken),
    ("not ASCII", lambda c: events.signed(c) + "é", MalformedToken),
    ("empty", lambda c: "", MalformedToken),
    ("dots", lambda c: "..", MalformedToken),
    ("no JSON", lambda c: forge.raw(forge.header(), b"{", forge.private_key()), MalformedToken),
    ("a list", lambda c: forge.raw(forge.header(), b"[]", forge.private_key()), MalformedToken),
    ("a member twice", lambda c: forge.raw(forge.header(), TWICE, forge.private_key()), MalformedToken),
    ("deep", lambda c: forge.raw(forge.header(), DEEP, forge.private_key()), MalformedToken),
    ("huge", lambda c: "a" * (MAX_EVENT_LENGTH + 1), MalformedToken),
    ("crit", lambda c: forge.raw(forge.header(crit=["x"]), c, forge.private_key()), MalformedToken),
    ("the embedded provider's key", lambda c: events.signed(c, kid="local-1"), UnknownKey),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error"), [case[1:] for case in SPOILED], ids=[case[0] for case in SPOILED])
async def test_a_spoiled_token_is_refused(make: Any, error: type[TokenError]) -> None:
    """... refuses what the service did not sign."""
    with pytest.raises(error):
        await verifier(RULES, forge.KID, "local-1").verify(make(events.claims()))


async def test_a_large_event_is_read() -> None:
    """... reads an event that carries long OAuth tokens and many groups."""
    top = {"oauth_id_token": "I" * 20_000, "oauth_access_token": "A" * 20_000, "raw_user_info": "x" * 40_000}
    assert await verifier().verify(events.token(top=top))


async def test_the_embedded_providers_key_needs_development() -> None:
    """... takes events of the embedded provider when it is told that this is development."""
    rules = EventRules(PROJECT, {URL: None}, accept_local_keys=True)
    assert await verifier(rules, "local-1").verify(events.token(kid="local-1"))


async def test_emulator_mode_takes_unsigned_events() -> None:
    """... takes the official emulator's events when it is told to, and signed ones as ever."""
    claims = events.claims()
    assert await verifier(UNSIGNED).verify(events.unsigned(claims)) == claims
    assert await verifier(UNSIGNED).verify(events.signed(claims)) == claims
    with pytest.raises(BadSignature):
        await verifier(UNSIGNED).verify(forge.raw(forge.header(), claims, forge.private_key("other")))


@pytest.mark.parametrize(
    "header", [{"alg": "none", "kid": "x"}, {"alg": "none", "jwk": {}}, {"alg": "None"}, {"alg": ["none"]}]
)
async def test_emulator_mode_takes_the_emulators_header_only(header: dict[str, Any]) -> None:
    """... refuses an unsigned event whose header is not the emulator's."""
    with pytest.raises((MalformedToken, ForbiddenAlgorithm)):
        await verifier(UNSIGNED).verify(forge.raw(header, events.claims(), None))


async def test_without_keys_nothing_signed_passes() -> None:
    """... refuses signed events where there is no key to check them with."""
    with pytest.raises(ForbiddenAlgorithm):
        await EventVerifier(UNSIGNED, None, FakeClock()).verify(events.token())
    with pytest.raises(KeysUnavailable):
        await EventVerifier(RULES, None, FakeClock()).verify(events.token())


AUDIENCES: list[tuple[str, bool]] = [
    ("https://before-create-abc123xyz-uc.a.run.app", True),
    ("https://before-create-abc123xyz-uc.a.run.app/", True),
    ("https://hooks-123456.europe-west1.run.app/any/path", True),
    ("https://hooks.a.run.app:443/x", True),
    ("https://us-central1-demo.cloudfunctions.net/beforeCreate", True),
    ("https://northamerica-northeast1-demo.cloudfunctions.net/fn", True),
    ("http://hooks.a.run.app/", False),
    ("https://hooks.a.run.app:8443/", False),
    ("https://hooks.a.run.app:/", False),
    ("https://HOOKS.a.run.app/", True),
    ("https://evil.test/?x=run.app", False),
    ("https://evil.test/run.app", False),
    ("https://evil.test#.run.app", False),
    ("https://evil.test\\.run.app", False),
    ("https://evilrun.app/", False),
    ("https://x.run.app.evil.test/", False),
    ("https://x.run.app@evil.test/", False),
    ("https://user@x.run.app/", False),
    ("https://x.run.app\n.evil.test", False),
    (" https://x.run.app", False),
    ("https://x.run.app:port/", False),
    ("https://us-central1-notdemo.cloudfunctions.net/fn", False),
    ("https://us-central1-demo.cloudfunctions.net.evil.test/fn", False),
    ("https://x-us-central1-demo.cloudfunctions.net/fn", False),
    ("https://us-central-demo.cloudfunctions.net/fn", False),
    ("https://us-central1-demo-2.cloudfunctions.net/fn", False),
    ("https://evil.test/us-central1-demo.cloudfunctions.net/", False),
    ("https://", False),
    ("https://[::1", False),
    ("demo", False),
    ("", False),
]


@pytest.mark.parametrize(("audience", "good"), AUDIENCES)
def test_platform_addresses_are_parsed(audience: str, good: bool) -> None:
    """... takes, where no address is configured, those whose host is on the platform, and nothing that resembles it."""
    assert is_audience(audience, {}, "demo") is good


@pytest.mark.parametrize(
    ("audience", "good"),
    [
        ("http://127.0.0.1:8081/", True), ("http://localhost:8081/hooks", True), ("http://[::1]:1/", True),
        ("https://x.a.run.app/", True), ("http://x.a.run.app/", False), ("http://127.0.0.1.evil.test/", False),
        ("http://evil.test/?127.0.0.1", False), ("http://127.0.0.1@evil.test/", False), ("demo", False),
    ],
)  # fmt: skip
def test_in_development_this_machine_is_an_address(audience: str, good: bool) -> None:
    """... takes addresses of this machine in development, and nothing that resembles them."""
    assert is_audience(audience, {}, "demo", local=True) is good
    assert not (is_audience(audience, {}, "demo") and "run.app" not in audience)


def test_configured_addresses_are_the_only_ones() -> None:
    """... takes no platform address when addresses are configured."""
    assert is_audience(URL, {URL: None}, "demo")
    assert not is_audience("https://x.a.run.app", {URL: None}, "demo")
