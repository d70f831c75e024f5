"""What comes from outside."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.blocking.event import Event
from gateway.blocking.https_error import HttpsError
from gateway.blocking.intake import addresses, named, read_body, shown
from gateway.errors import ConfigError


def test_a_token_is_found() -> None:
    """... reads the token out of a body with more in it, or takes a token as it is."""
    assert read_body(b' {"data":{"jwt":"x","more":1},"extra":true}') == "x"
    assert read_body('{"data":{"jwt":"x"}}') == "x"
    assert read_body("token") == "token"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", '{"data":[]}', b'{"data":{"jwt":""}}'])
def test_what_holds_no_token_is_refused(body: bytes | str) -> None:
    """... refuses a body without a token as a wrong argument."""
    with pytest.raises(HttpsError) as raised:
        read_body(body)
    assert raised.value.status == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("beforeCreate", Event.BEFORE_CREATE), ("before-create", Event.BEFORE_CREATE),
        ("beforeUserSignedIn", Event.BEFORE_SIGN_IN), ("before_email", Event.BEFORE_SEND_EMAIL),
        ("beforeEmailSent", Event.BEFORE_SEND_EMAIL), ("beforeSms", Event.BEFORE_SEND_SMS),
        (Event.BEFORE_SEND_SMS, Event.BEFORE_SEND_SMS), (None, None),
    ],
)  # fmt: skip
def test_events_have_many_names(name: Any, event: Event | None) -> None:
    """... knows the events by the names of the wire and of all SDKs."""
    assert named(name) is event


def test_other_names_are_told() -> None:
    """... refuses the name of an event that does not exist, and what is no address."""
    with pytest.raises(ConfigError, match="beforeTea"):
        named("beforeTea")
    with pytest.raises(ConfigError, match="no address"):
        addresses(["hooks.example.test"])


def test_addresses_come_in_three_forms() -> None:
    """... takes one address, several, or one for each event."""
    assert addresses("https://a.test") == {"https://a.test": None}
    assert addresses(["https://a.test", "http://b.test"]) == {"https://a.test": None, "http://b.test": None}
    assert addresses({"before_sms": "https://a.test"}) == {"https://a.test": {Event.BEFORE_SEND_SMS}}


def test_one_address_may_serve_several_events() -> None:
    """... ties an address to every event that is registered there."""
    url = "https://a.test"
    given = {"before_create": url, Event.BEFORE_SIGN_IN: url, "beforeSms": "https://b.test"}
    assert addresses(given) == {
        url: {Event.BEFORE_CREATE, Event.BEFORE_SIGN_IN},
        "https://b.test": {Event.BEFORE_SEND_SMS},
    }
    assert addresses(()) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [("abc", "abc"), ("a\nb\x1b[2J", "a?b?[2J"), ("x" * 99, "x" * 64), (None, "undefined"), ([], "undefined")],
)
def test_strange_texts_are_shown_plainly(value: object, text: str) -> None:
    """... shows what somebody sent without control characters and not at length."""
    assert shown(value) == text
