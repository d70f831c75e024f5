"""The kit without HTTP: events in, answers out."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from gateway.blocking import BlockingFunctions, ErrorCode, Event, EventContext, HttpsError, User, UserUpdate
from gateway.blocking.functions import UNEXPECTED
from gateway.errors import ConfigError, KeysUnavailable
from tests.support import events, forge
from tests.support.clock import FakeClock
from tests.support.events import ABSENT, PROJECT, URL
from tests.support.issuer import KeyServer

OK: tuple[int, dict[str, Any]] = (200, {})


def error(status: int, name: str, message: str, **more: Any) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": status, "message": message, "status": name, **more}}


UNVERIFIED = error(401, "UNAUTHENTICATED", "The event could not be verified.")


async def test_async_and_plain_functions_answer() -> None:
    """... calls async functions on the loop and plain ones in a thread, with user and context."""
    functions = events.functions()
    seen: list[Any] = []

    @functions.before_create
    async def on_loop(user: User, context: EventContext) -> dict[str, Any]:
        seen.append((user.email, context.ip_address, threading.current_thread() is threading.main_thread()))
        return {"displayName": "Guest"}

    @functions.before_sign_in
    def in_thread(context: EventContext) -> UserUpdate:
        assert context.data is not None
        seen.append((context.data.uid, threading.current_thread() is threading.main_thread()))
        return UserUpdate(session_claims={"ip": context.ip_address})

    async with functions:
        record = {"displayName": "Guest", "updateMask": "displayName"}
        assert await functions.respond(events.body(events.token())) == (200, {"userRecord": record})
        session = {"sessionClaims": {"ip": "203.0.113.9"}, "updateMask": "sessionClaims"}
        assert await functions.respond(events.token("beforeSignIn")) == (200, {"userRecord": session})
    assert seen == [("ada@example.com", "203.0.113.9", True), ("u1", False)]


async def test_several_functions_see_each_others_changes() -> None:
    """... runs the functions of an event in order; each sees the user as the ones before it left them."""
    functions = events.functions()

    @functions.before_create
    def trust(user: User, context: EventContext) -> dict[str, Any]:
        return {"email_verified": True, "custom_claims": {"a": 1}}

    @functions.before_create
    def demand(user: User, context: EventContext) -> dict[str, Any]:
        assert (user.email_verified, user.custom_claims) == (True, {"a": 1})
        assert context.data == user
        return {"custom_claims": {"b": 2}}

    async with functions:
        record = {"emailVerified": True, "customClaims": {"a": 1, "b": 2}, "updateMask": "emailVerified,customClaims"}
        assert await functions.respond(events.token()) == (200, {"userRecord": record})


async def test_a_refusal_ends_the_event() -> None:
    """... answers with the refusal and its details, calls no further function and changes nothing."""
    functions = events.functions()
    called: list[str] = []

    @functions.before_create
    def rename(user: User, context: EventContext) -> dict[str, Any]:
        context.defer(called.append, "deferred")
        return {"display_name": "x"}

    @functions.before_create
    def refuse(user: User, context: EventContext) -> None:
        raise HttpsError(ErrorCode.PERMISSION_DENIED, "Not today.", {"until": "tomorrow"})

    @functions.before_create
    def never(user: User, context: EventContext) -> None:
        called.append("never")

    async with functions:
        expected = error(403, "PERMISSION_DENIED", "Not today.", details={"until": "tomorrow"})
        assert await functions.respond(events.token()) == expected
    assert called == []


def leave() -> None:
    raise SystemExit(3)


async def cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("failure", [lambda: 1 / 0, leave, lambda: None.x, cancelled])  # type: ignore[attr-defined]
async def test_an_unexpected_failure_has_a_fixed_text(failure: Any, caplog: pytest.LogCaptureFixture) -> None:
    """... blocks with a fixed text when a function fails, and logs the cause."""
    functions = events.functions()
    functions.before_create(lambda user, context: failure())
    async with functions:
        assert await functions.respond(events.token()) == error(500, "INTERNAL", UNEXPECTED)
    assert "failed on event event-" in caplog.text
    assert UNEXPECTED == "An unexpected error occurred."


async def test_a_wrong_answer_is_told() -> None:
    """... refuses the event when a function answers what the service would not take."""
    functions = events.functions()
    functions.before_create(lambda user, context: {"sessionClaims": {}})
    async with functions:
        message = '"sessionClaims" is not a valid response parameter for "beforeCreate" event.'
        assert await functions.respond(events.token()) == error(400, "INVALID_ARGUMENT", message)


BODIES: list[tuple[str, Any]] = [
    ("empty", b""),
    ("not JSON", b"{"),
    ("not UTF-8", b'{"data":{"jwt":"\xff"}}'),
    ("deep", b'{"data":' + b"[" * 50_000),
    ("a list", b"[]"),
    ("null", b"null"),
    ("no data", b"{}"),
    ("data a text", b'{"data":"x"}'),
    ("data null", b'{"data":null}'),
    ("no jwt", b'{"data":{}}'),
    ("jwt empty", b'{"data":{"jwt":""}}'),
    ("jwt null", b'{"data":{"jwt":null}}'),
    ("jwt a number", b'{"data":{"jwt":7}}'),
    ("jwt an object", b'{"data":{"jwt":{"a":1}}}'),
]


@pytest.mark.parametrize("body", [case[1] for case in BODIES], ids=[case[0] for case in BODIES])
async def test_what_is_no_call_is_refused(body: bytes) -> None:
    """... refuses a body that holds no token."""
    async with events.functions() as functions:
        status, answer = await functions.respond(body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


FORGED: list[tuple[str, Any]] = [
    ("wrong audience", lambda: events.token(top={"aud": "https://evil.test/?x=run.app"})),
    ("look-alike project", lambda: events.token(top={"aud": "https://us-central1-notdemo.cloudfunctions.net/fn"})),
    ("an ID token", forge.id_token),
    ("a session cookie", forge.session_cookie),
    ("expired", lambda: events.token(top={"exp": 1})),
    ("future", lambda: events.token(top={"iat": 4_000_000_000, "exp": 4_000_000_600})),
    ("unsigned", lambda: events.unsigned(events.claims())),
    ("another key", lambda: forge.raw(forge.header(), events.claims(), forge.private_key("other"))),
    ("nonsense", lambda: "abc.def.ghi"),
    ("long", lambda: "a" * 250_000),
]


@pytest.mark.parametrize("make", [case[1] for case in FORGED], ids=[case[0] for case in FORGED])
async def test_forged_events_are_refused_in_general_words(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """... refuses a forged event with a text that tells nothing; the log tells why, without the token."""
    functions = events.functions()
    functions.before_create(lambda user, context: None)
    token = make()
    async with functions:
        assert await functions.respond(events.body(token)) == UNVERIFIED
    assert "refused what is no event for us" in caplog.text
    assert token not in caplog.text


CHOICES: list[tuple[str, list[str], dict[str, Any], Any, str]] = [
    ("another event", ["before_create"], {}, "beforeSignIn", 'Expected "beforeCreate" but received "beforeSignIn".'),
    ("by path", ["before_create", "before_sign_in"], {"expected": "before-create"}, "beforeSignIn",
     'Expected "beforeCreate" but received "beforeSignIn".'),
    ("two of four", ["before_create", "before_sms"], {}, "beforeSignIn",
     'Expected "beforeCreate" or "beforeSendSms" but received "beforeSignIn".'),
    ("unknown", ["before_create"], {}, "beforeTea", 'Expected "beforeCreate" but received "beforeTea".'),
    ("no type", ["before_create"], {}, ABSENT, 'Expected "beforeCreate" but received "undefined".'),
    ("control characters", ["before_create"], {}, "a\nb\x1b\u2028", 'Expected "beforeCreate" but received "a?b??".'),
    ("a list", ["before_create"], {}, ["beforeCreate"], 'Expected "beforeCreate" but received "undefined".'),
    ("no function", ["before_sms"], {"expected": "beforeCreate"}, "beforeCreate",
     'No function is registered for "beforeCreate".'),
    ("no function at all", [], {}, "beforeCreate", 'No function is registered for "beforeCreate".'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("registered", "options", "event_type", "message"),
    [case[1:] for case in CHOICES],
    ids=[case[0] for case in CHOICES],
)
async def test_another_event_is_refused(
    registered: list[str], options: dict[str, Any], event_type: Any, message: str
) -> None:
    """... refuses an event that has no function here, or is not the one of this address."""
    functions = events.functions()
    for name in registered:
        getattr(functions, name)(lambda *arguments: None)
    claims = events.claims("beforeCreate") | {"event_type": event_type}
    claims = {name: value for name, value in claims.items() if value is not ABSENT}
    async with functions:
        answer = await functions.respond(events.body(events.signed(claims)), **options)
    assert answer == error(400, "INVALID_ARGUMENT", message)


async def test_an_address_may_be_tied_to_an_event() -> None:
    """... refuses an event that was sent to the address of another one."""
    functions = events.functions(audiences={"before_create": URL, "beforeUserSignedIn": URL + "/in"})
    functions.before_create(lambda user, context: None)
    functions.before_sign_in(lambda user, context: None)
    async with functions:
        assert await functions.respond(events.token()) == OK
        assert await functions.respond(events.token("beforeSignIn", top={"aud": URL + "/in"})) == OK
        status, answer = await functions.respond(events.token("beforeSignIn"))
    assert (status, answer["error"]["message"]) == (400, 'Expected "beforeCreate" but received "beforeSignIn".')


async def test_an_address_may_be_tied_to_several_events() -> None:
    """... takes each event that is registered at an address, and no other."""
    functions = events.functions(audiences=dict.fromkeys(("before_create", "before_sign_in", "before_email"), URL))
    functions.before_create(lambda user, context: None)
    functions.before_sign_in(lambda user, context: None)
    functions.before_sms(lambda context: None)
    async with functions:
        assert await functions.respond(events.token()) == OK
        assert await functions.respond(events.token("beforeSignIn")) == OK
        _, none = await functions.respond(events.token("beforeSendEmail"))
        _, other = await functions.respond(events.token("beforeSendSms"))
    assert none["error"]["message"] == 'No function is registered for "beforeSendEmail".'
    wanted = '"beforeCreate" or "beforeSignIn" or "beforeSendEmail"'
    assert other["error"]["message"] == f'Expected {wanted} but received "beforeSendSms".'


HANDLED: list[tuple[str, dict[str, Any], int]] = [
    ("no record", {"user_record": ABSENT}, 400),
    ("record null", {"user_record": None}, 400),
    ("record a text", {"user_record": "x"}, 400),
    ("no metadata", {"user_record": {"uid": "u1"}}, 200),
    ("bare record", {"user_record": {"uid": "u1", "email": None, "metadata": None, "provider_data": None}}, 200),
    ("strange profile", {"raw_user_info": "{{"}, 200),
    ("strange score", {"recaptcha_score": {"a": 1}}, 200),
    ("no id", {"event_id": ABSENT}, 200),
    ("id a number", {"event_id": 7}, 400),
    ("new claim", {"brand_new": [1]}, 200),
]


@pytest.mark.parametrize(("top", "status"), [case[1:] for case in HANDLED], ids=[case[0] for case in HANDLED])
async def test_strange_events_are_refused_or_handled(top: dict[str, Any], status: int) -> None:
    """... answers signed events of a strange shape without failing."""
    functions = events.functions()
    functions.before_create(lambda user, context: None)
    async with functions:
        assert (await functions.respond(events.token(top=top)))[0] == status


async def test_keys_that_cannot_be_had_are_no_refusal() -> None:
    """... answers 503 while no certificates can be fetched, which is nobody's fault but ours."""

    class Down:
        def peek(self, kid: str) -> None:
            return None

        async def key(self, kid: str) -> None:
            raise KeysUnavailable("down", retry_after=1)

    functions = events.functions(keys=Down())
    functions.before_create(lambda user, context: None)
    async with functions:
        assert await functions.respond(events.token()) == error(503, "UNAVAILABLE", "Service unavailable.")


async def test_certificates_are_fetched_ahead_and_once() -> None:
    """... fetches the certificates before the first event, and not again for the next ones."""
    async with KeyServer() as issuer:
        functions = BlockingFunctions(PROJECT, audiences=[URL], certificates=issuer.url, clock=FakeClock())
        functions.before_create(lambda user, context: None)
        assert functions.fault() is None
        async with functions:
            assert issuer.fetches == 1
            assert functions.fault() is None
            assert [await functions.respond(events.token()) for _ in range(5)] == [OK] * 5
            await functions.start()
        assert issuer.fetches == 1


async def test_unreachable_certificates_are_told() -> None:
    """... starts without certificates, says so, and refuses nobody for good."""
    async with KeyServer() as issuer:
        issuer.status = 500
        functions = BlockingFunctions(PROJECT, audiences=[URL], certificates=issuer.url, clock=FakeClock())
        functions.before_create(lambda user, context: None)
        async with functions:
            assert "no usable keys" in (functions.fault() or "")
            assert (await functions.respond(events.token()))[0] == 503


async def test_claims_of_ones_own_need_no_token() -> None:
    """... answers an event that the same process made, by the same rules."""
    functions = events.functions()
    functions.before_create(lambda user, context: {"displayName": context.event_type})
    async with functions:
        _, answer = await functions.respond_to_claims(events.claims())
        assert answer["userRecord"]["displayName"].endswith("user.beforeCreate:password")
        assert (await functions.respond_to_claims(events.claims("beforeSendSms")))[0] == 400


async def test_the_log_names_event_and_status(caplog: pytest.LogCaptureFixture) -> None:
    """... logs one line for each event, with neither address nor token in it."""
    functions = events.functions()
    functions.before_create(lambda user, context: None)
    with caplog.at_level(logging.INFO):
        async with functions:
            await functions.respond(events.token(top={"event_id": "event-x", "oauth_access_token": "A-secret"}))
    assert "event event-x (beforeCreate): 200 in" in caplog.text
    assert "ada@example.com" not in caplog.text
    assert "A-secret" not in caplog.text


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ((), {}),
        (("acme",), {"emulator": True}),
        (("acme",), {"deadline": 7.0}),
        (("acme",), {"deadline": 0}),
        (("acme",), {"audiences": "acme"}),
        (("acme",), {"certificates": "http://keys.example.com/"}),
        (("acme",), {"audiences": ["https://a.test", ""]}),
        (("acme",), {"audiences": {"beforeTea": "https://a.test"}}),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    arguments: tuple[str, ...], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """... refuses to be made without a project, for an emulator of a real project, or with a useless setting."""
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(ConfigError):
        BlockingFunctions(*arguments, **settings)


def test_the_platform_names_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """... takes the project from the environment where the program does not name it."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")
    assert BlockingFunctions().project_id == "acme"
    assert BlockingFunctions("other", audiences="https://a.test").project_id == "other"
    assert Event("beforeCreate") is Event.BEFORE_CREATE


async def test_the_emulators_events_need_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """... takes unsigned events with the switch only; the environment of an emulator changes nothing."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    token = events.unsigned(events.claims())
    for emulator, expected in ((True, OK), (False, UNVERIFIED)):
        functions = events.functions(emulator=emulator)
        functions.before_create(lambda user, context: None)
        async with functions:
            assert await functions.respond(token) == expected
