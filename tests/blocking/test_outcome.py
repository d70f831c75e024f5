"""blocking-functions.md sections 2.1 to 2.3: answers, their validation and what goes over the wire."""

from __future__ import annotations

import datetime as dt
import json
from types import MappingProxyType
from typing import Any

import pytest

from gateway.blocking.event import Event
from gateway.blocking.https_error import HttpsError
from gateway.blocking.json_text import compact, encode
from gateway.blocking.model import User
from gateway.blocking.outcome import (
    RESERVED_CLAIMS,
    UNSET,
    UserUpdate,
    merge,
    read_answer,
    units,
    updated,
    wire_body,
)

CREATE, SIGN_IN, EMAIL, SMS = Event


def sized(length: int, *, letter: str = "x") -> dict[str, str]:
    """Claims whose compact text has this many UTF-16 code units."""
    per_letter = len(letter.encode("utf-16-le")) // 2
    count, rest = divmod(length - len('{"a":""}'), per_letter)
    return {"a": letter * count + "y" * rest}


def on_wire(event: Event, answer: Any) -> dict[str, Any]:
    return wire_body(read_answer(event, answer))


def record(mask: str, **fields: Any) -> dict[str, Any]:
    return {"userRecord": {**fields, "updateMask": mask}}


GOOD: list[tuple[str, Event, Any, dict[str, Any]]] = [
    ("nothing", CREATE, None, {}),
    ("an empty dict", CREATE, {}, {}),
    ("an empty update", CREATE, UserUpdate(), {}),
    ("unset fields", CREATE, {"displayName": UNSET}, {}),
    ("name", CREATE, {"displayName": "Guest"}, record("displayName", displayName="Guest")),
    ("Python's name", CREATE, {"display_name": "Guest"}, record("displayName", displayName="Guest")),
    ("typed", CREATE, UserUpdate(display_name="Guest"), record("displayName", displayName="Guest")),
    ("read-only mapping", CREATE, MappingProxyType({"displayName": "G"}), record("displayName", displayName="G")),
    ("empty name", CREATE, {"displayName": ""}, record("displayName", displayName="")),
    ("name cleared", CREATE, {"displayName": None}, record("displayName", displayName=None)),
    ("name cleared, typed", SIGN_IN, UserUpdate(display_name=None), record("displayName", displayName=None)),
    ("disabled", CREATE, {"disabled": True}, record("disabled", disabled=True)),
    ("not disabled", SIGN_IN, {"disabled": False}, record("disabled", disabled=False)),
    ("verified", CREATE, {"emailVerified": True}, record("emailVerified", emailVerified=True)),
    ("photoURL", CREATE, {"photoURL": "https://p.test/a"}, record("photoUrl", photoUrl="https://p.test/a")),
    ("photoUrl", CREATE, {"photoUrl": "http://p.test"}, record("photoUrl", photoUrl="http://p.test")),
    ("photo_url", CREATE, {"photo_url": "https://p.test/ä"}, record("photoUrl", photoUrl="https://p.test/ä")),
    ("photo cleared", CREATE, {"photo_url": None}, record("photoUrl", photoUrl=None)),
    ("custom claims", CREATE, {"customClaims": {"tier": 1}}, record("customClaims", customClaims={"tier": 1})),
    ("no custom claims", CREATE, {"customClaims": {}}, record("customClaims", customClaims={})),
    ("null in claims", CREATE, {"customClaims": {"a": None}}, record("customClaims", customClaims={"a": None})),
    ("session claims", SIGN_IN, {"sessionClaims": {"ip": "x"}}, record("sessionClaims", sessionClaims={"ip": "x"})),
    (
        "tuple in claims",
        SIGN_IN,
        {"sessionClaims": {"a": (1, 2)}},
        record("sessionClaims", sessionClaims={"a": [1, 2]}),
    ),
    (
        "two fields",
        CREATE,
        {"displayName": "G", "customClaims": {"tier": 1}},
        record("displayName,customClaims", displayName="G", customClaims={"tier": 1}),
    ),
    ("override", SMS, {"recaptchaActionOverride": "BLOCK"}, {"recaptchaActionOverride": "BLOCK"}),
    ("override for mail", EMAIL, {"recaptcha_action_override": "ALLOW"}, {"recaptchaActionOverride": "ALLOW"}),
    ("typed override", SMS, UserUpdate(recaptcha_action_override="ALLOW"), {"recaptchaActionOverride": "ALLOW"}),
    ("no override", SMS, None, {}),
    (
        "override beside the record",
        SIGN_IN,
        {"disabled": False, "recaptchaActionOverride": "ALLOW"},
        record("disabled", disabled=False) | {"recaptchaActionOverride": "ALLOW"},
    ),
    ("1000 characters", CREATE, {"customClaims": sized(1000)}, record("customClaims", customClaims=sized(1000))),
    (
        "1000 characters beyond the BMP",
        CREATE,
        {"customClaims": sized(1000, letter="𝄞")},
        record("customClaims", customClaims=sized(1000, letter="𝄞")),
    ),
    (
        "1000 accented characters",
        SIGN_IN,
        {"sessionClaims": sized(1000, letter="é")},
        record("sessionClaims", sessionClaims=sized(1000, letter="é")),
    ),
    (
        "1000 combined",
        SIGN_IN,
        {"customClaims": {"a": "x" * 400}, "sessionClaims": {"b": "x" * 585}},
        record("customClaims,sessionClaims", customClaims={"a": "x" * 400}, sessionClaims={"b": "x" * 585}),
    ),
    (
        "equal keys count once",
        SIGN_IN,
        {"customClaims": sized(900), "sessionClaims": sized(1000)},
        record("customClaims,sessionClaims", customClaims=sized(900), sessionClaims=sized(1000)),
    ),
]


@pytest.mark.parametrize(("event", "answer", "body"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_an_answer_goes_over_the_wire(event: Event, answer: Any, body: dict[str, Any]) -> None:
    """... sends what a function returned, with a mask of exactly the fields that were set."""
    assert on_wire(event, answer) == body
    assert json.loads(encode(on_wire(event, answer))) == body


NOT_VALID = '"{0}" is not a valid response parameter for "{1}" event.'
RESERVED = 'The {0} claims "{1}" are reserved and cannot be specified.'
LONG = "The {0} payload should not exceed 1000 characters."
COMBINED = "The customClaims and sessionClaims payloads should not exceed 1000 characters combined."

BAD: list[tuple[str, Event, Any, str | None]] = [
    ("list", CREATE, ["displayName"], None),
    ("empty list", CREATE, [], None),
    ("text", CREATE, "ALLOW", None),
    ("number", CREATE, 1, None),
    ("true", CREATE, True, None),
    ("false", CREATE, False, None),
    ("unknown field", CREATE, {"nickname": "x"}, NOT_VALID.format("nickname", "beforeCreate")),
    ("unknown beside known", SIGN_IN, {"disabled": True, "email": "x"}, NOT_VALID.format("email", "beforeSignIn")),
    ("a number as name", CREATE, {7: 1}, NOT_VALID.format("7", "beforeCreate")),
    ("the wire's own", CREATE, {"updateMask": "x"}, NOT_VALID.format("updateMask", "beforeCreate")),
    ("userRecord", CREATE, {"userRecord": {}}, NOT_VALID.format("userRecord", "beforeCreate")),
    ("recaptchaPassed", SMS, {"recaptchaPassed": True}, NOT_VALID.format("recaptchaPassed", "beforeSendSms")),
    ("session at create", CREATE, {"sessionClaims": {"a": 1}}, NOT_VALID.format("sessionClaims", "beforeCreate")),
    (
        "typed session at create",
        CREATE,
        UserUpdate(session_claims={}),
        NOT_VALID.format("sessionClaims", "beforeCreate"),
    ),
    ("name for SMS", SMS, {"displayName": "x"}, NOT_VALID.format("displayName", "beforeSendSms")),
    ("claims for mail", EMAIL, {"customClaims": {}}, NOT_VALID.format("customClaims", "beforeSendEmail")),
    ("name a number", CREATE, {"displayName": 7}, '"displayName" must be a string.'),
    ("name a surrogate", CREATE, {"displayName": "\udc00"}, '"displayName" must be a string.'),
    ("disabled a text", CREATE, {"disabled": "true"}, '"disabled" must be a boolean.'),
    ("disabled a number", CREATE, {"disabled": 1}, '"disabled" must be a boolean.'),
    ("disabled null", CREATE, {"disabled": None}, '"disabled" must be a boolean.'),
    ("verified a text", CREATE, {"emailVerified": "yes"}, '"emailVerified" must be a boolean.'),
    ("photo a number", CREATE, {"photoUrl": 7}, '"photoUrl" must be a string.'),
    ("photo a path", CREATE, {"photoURL": "/guest.png"}, '"photoUrl" must be a valid URL.'),
    ("photo a script", CREATE, {"photoUrl": "javascript:alert(1)"}, '"photoUrl" must be a valid URL.'),
    ("photo inline", CREATE, {"photoUrl": "data:image/png;base64,AA"}, '"photoUrl" must be a valid URL.'),
    ("photo with a space", CREATE, {"photoUrl": "https://p.test/a b"}, '"photoUrl" must be a valid URL.'),
    ("photo without host", CREATE, {"photoUrl": "https:///a"}, '"photoUrl" must be a valid URL.'),
    ("photo with a broken port", CREATE, {"photoUrl": "https://p.test:x/"}, '"photoUrl" must be a valid URL.'),
    ("photo twice", CREATE, {"photoUrl": "https://a.test", "photoURL": "https://b.test"}, '"photoUrl" is given twice.'),
    ("claims null", CREATE, {"customClaims": None}, '"customClaims" must be an object.'),
    ("claims a text", CREATE, {"customClaims": "{}"}, '"customClaims" must be an object.'),
    ("claims a list", SIGN_IN, {"sessionClaims": []}, '"sessionClaims" must be an object.'),
    ("claims with a number as name", CREATE, {"customClaims": {1: 2}}, '"customClaims" must be an object.'),
    ("claims with a date", CREATE, {"customClaims": {"a": dt.date(2026, 1, 1)}}, None),
    ("claims with bytes", CREATE, {"customClaims": {"a": b"x"}}, None),
    ("claims with a set", CREATE, {"customClaims": {"a": {1}}}, None),
    ("claims with NaN", CREATE, {"customClaims": {"a": float("nan")}}, None),
    ("claims with infinity", CREATE, {"customClaims": {"a": float("inf")}}, None),
    ("claims with a surrogate", CREATE, {"customClaims": {"a": "\ud800"}}, None),
    ("claims with a number inside", CREATE, {"customClaims": {"a": {1: 2}}}, None),
    ("too long", CREATE, {"customClaims": sized(1001)}, LONG.format("customClaims")),
    ("session too long", SIGN_IN, {"sessionClaims": sized(1001)}, LONG.format("sessionClaims")),
    ("too long beyond the BMP", CREATE, {"customClaims": sized(1002, letter="𝄞")}, LONG.format("customClaims")),
    (
        "too long together",
        SIGN_IN,
        {"customClaims": {"a": "x" * 400}, "sessionClaims": {"b": "x" * 586}},
        COMBINED,
    ),
    (
        "two reserved",
        CREATE,
        {"customClaims": {"aud": 1, "ok": 1, "acr": 1}},
        RESERVED.format("customClaims", "acr,aud"),
    ),
    (
        "reserved in the session",
        SIGN_IN,
        {"sessionClaims": {"sub": 1, "acr": 1}},
        RESERVED.format("sessionClaims", "acr,sub"),
    ),
    ("override in lower case", SMS, {"recaptchaActionOverride": "allow"}, None),
    ("override null", SMS, {"recaptchaActionOverride": None}, None),
    ("override a flag", SMS, {"recaptchaActionOverride": True}, None),
]


@pytest.mark.parametrize(("event", "answer", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_wrong_answer_blocks(event: Event, answer: Any, message: str | None) -> None:
    """... refuses an answer that the service would refuse, ignore or misread, and says why."""
    with pytest.raises(HttpsError) as raised:
        read_answer(event, answer)
    assert (raised.value.http_status, raised.value.status) == (400, "INVALID_ARGUMENT")
    assert raised.value.message == message or (message is None and raised.value.message)


@pytest.mark.parametrize("name", RESERVED_CLAIMS)
@pytest.mark.parametrize(("event", "field"), [(CREATE, "customClaims"), (SIGN_IN, "sessionClaims")])
def test_no_claim_of_the_protocol_can_be_set(name: str, event: Event, field: str) -> None:
    """... refuses each of the sixteen names of the protocol."""
    with pytest.raises(HttpsError, match=RESERVED.format(field, name)):
        read_answer(event, {field: {name: "x"}})


def test_sixteen_names_are_reserved() -> None:
    """... reserves the fifteen names of the SDKs and the one that only the service refuses."""
    assert len(set(RESERVED_CLAIMS)) == 16
    assert "sub" in RESERVED_CLAIMS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": [True, None]}, '{"a":1,"b":[true,null]}'),
        ({"ä": "ö\u2028"}, '{"ä":"ö\u2028"}'),
        ({"a": 1.0, "b": -0.0, "c": 1e20}, '{"a":1,"b":0,"c":100000000000000000000}'),
        ({"a": 0.5, "b": 1e21}, '{"a":0.5,"b":1e+21}'),
        ({"a": '"\\\n\x01'}, '{"a":"\\"\\\\\\n\\u0001"}'),
    ],
)
def test_claims_are_counted_as_javascript_writes_them(value: dict[str, Any], text: str) -> None:
    """... counts claims as the service does: no spaces, nothing escaped, UTF-16."""
    assert compact(value) == text
    assert units(value) == len(text.encode("utf-16-le")) // 2


def test_claims_have_a_bounded_depth() -> None:
    """... refuses claims that are nested beyond reason."""
    value: dict[str, Any] = {}
    for _ in range(80):
        value = {"a": value}
    with pytest.raises(HttpsError, match="JSON"):
        read_answer(CREATE, {"customClaims": value})


MERGES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("later wins", [{"displayName": "a"}, {"displayName": "b"}], record("displayName", displayName="b")),
    ("nothing keeps", [{"displayName": "a"}, None], record("displayName", displayName="a")),
    ("None clears", [{"displayName": "a"}, {"displayName": None}], record("displayName", displayName=None)),
    (
        "claims by key",
        [{"customClaims": {"a": 1, "b": 1}}, {"customClaims": {"b": 2, "c": 3}}],
        record("customClaims", customClaims={"a": 1, "b": 2, "c": 3}),
    ),
    (
        "session claims by key",
        [{"sessionClaims": {"a": 1}}, {"sessionClaims": {"b": 2}}],
        record("sessionClaims", sessionClaims={"a": 1, "b": 2}),
    ),
    ("disabled stays", [{"disabled": True}, {"disabled": False}], record("disabled", disabled=True)),
    ("disabled later", [{"disabled": False}, {"disabled": True}], record("disabled", disabled=True)),
    (
        "BLOCK stays",
        [{"recaptchaActionOverride": "BLOCK"}, {"recaptchaActionOverride": "ALLOW"}],
        {"recaptchaActionOverride": "BLOCK"},
    ),
    (
        "BLOCK later",
        [{"recaptchaActionOverride": "ALLOW"}, {"recaptchaActionOverride": "BLOCK"}],
        {"recaptchaActionOverride": "BLOCK"},
    ),
]


@pytest.mark.parametrize(("answers", "body"), [case[1:] for case in MERGES], ids=[case[0] for case in MERGES])
def test_answers_merge(answers: list[Any], body: dict[str, Any]) -> None:
    """... merges the answers of several functions in their order; what is strict stands."""
    merged = UserUpdate()
    for answer in answers:
        merged = merge(merged, read_answer(SIGN_IN, answer))
    assert wire_body(merged) == body


def test_merged_claims_have_the_same_limit() -> None:
    """... refuses claims that only several functions together make too long."""
    first, then = ({"customClaims": {name: "x" * 600}} for name in "ab")
    with pytest.raises(HttpsError, match="customClaims payload should not exceed"):
        merge(read_answer(CREATE, first), read_answer(CREATE, then))


def test_the_next_function_sees_the_changes() -> None:
    """... shows the next function of an event the user as the ones before it left them."""
    update = read_answer(SIGN_IN, {"displayName": "Ada", "emailVerified": True, "sessionClaims": {"a": 1}})
    user = updated(User(uid="u", email="a@b.test"), update)
    assert user == User(uid="u", email="a@b.test", display_name="Ada", email_verified=True)


def test_unset_says_so() -> None:
    """... shows and counts an unset field as nothing."""
    assert repr(UNSET) == "UNSET"
    assert not UNSET
