"""blocking-functions.md scenarios 4.6 and 4.11."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.blocking.ready_made import default_display_name, map_claims
from gateway.errors import ConfigError
from tests.support import events
from tests.support.events import ABSENT

SAML = "saml.my-provider-id"
ATTRIBUTES = {"employeeid": "E42", "role": "eng", "groups": ["a", "b"], "shoe": None}


async def answer(event: str, top: dict[str, Any], **user: Any) -> Any:
    functions = events.functions()
    mapped = map_claims(SAML, custom={"eid": "employeeid"}, session={"role": "role", "groups": "groups", "s": "shoe"})
    functions.before_create(mapped)
    functions.before_sign_in(mapped)
    async with functions:
        status, body = await functions.respond(events.token(event, top=top, **user))
    assert status == 200
    return body.get("userRecord")


def saml(**attributes: Any) -> dict[str, Any]:
    return {"sign_in_method": SAML, "sign_in_attributes": attributes}


async def test_attributes_become_claims() -> None:
    """... stores what does not change and puts the rest into the session, which beforeCreate does not have."""
    assert await answer("beforeCreate", saml(**ATTRIBUTES)) == {
        "customClaims": {"eid": "E42"},
        "updateMask": "customClaims",
    }
    assert await answer("beforeSignIn", saml(**ATTRIBUTES)) == {
        "customClaims": {"eid": "E42"},
        "sessionClaims": {"role": "eng", "groups": ["a", "b"]},
        "updateMask": "customClaims,sessionClaims",
    }


async def test_what_is_missing_is_left_out() -> None:
    """... sends no claim for an attribute that is missing or null."""
    record = await answer("beforeSignIn", saml(role="eng", employeeid=None))
    assert record == {"sessionClaims": {"role": "eng"}, "updateMask": "sessionClaims"}
    assert await answer("beforeSignIn", saml()) is None


async def test_other_claims_of_the_account_stay() -> None:
    """... keeps custom claims that somebody else set, and takes a mapped one away with its attribute."""
    stored = {"custom_claims": {"admin": True, "eid": "E1"}}
    record = await answer("beforeSignIn", saml(employeeid="E42"), **stored)
    assert record["customClaims"] == {"admin": True, "eid": "E42"}
    record = await answer("beforeSignIn", saml(role="eng"), **stored)
    assert record["customClaims"] == {"admin": True}


@pytest.mark.parametrize(
    "top",
    [
        {"sign_in_method": "saml.other", "sign_in_attributes": ATTRIBUTES},
        {"sign_in_method": SAML, "oauth_id_token": "I"},
        {"sign_in_method": SAML},
        {"sign_in_method": "password"},
    ],
)
@pytest.mark.parametrize("event", ["beforeCreate", "beforeSignIn"])
async def test_other_sign_ins_are_left_alone(event: str, top: dict[str, Any]) -> None:
    """... changes nothing for another provider, or one that sent no attributes."""
    assert await answer(event, top) is None


@pytest.mark.parametrize(
    ("provider", "mappings"),
    [
        (SAML, {}),
        ("", {"custom": {"a": "b"}}),
        (SAML, {"session": {"sub": "uid"}}),
        (SAML, {"custom": {"aud": "x"}}),
        ("google.com", {"custom": {"a": "b"}}),
    ],
)
def test_a_mapping_maps_something(provider: str, mappings: dict[str, Any]) -> None:
    """... refuses a mapping of nothing, of what is never sent, or onto a claim of the protocol."""
    with pytest.raises(ConfigError):
        map_claims(provider, **mappings)


@pytest.mark.parametrize(("name", "expected"), [(ABSENT, "Guest"), ("", "Guest"), ("Ada", "Ada")])
async def test_nobody_is_nameless(name: Any, expected: str) -> None:
    """... gives an account without a name the default one, and leaves others theirs."""
    functions = events.functions()
    functions.before_create(default_display_name())
    async with functions:
        _, body = await functions.respond(events.token(display_name=name))
    assert body == {"userRecord": {"displayName": expected, "updateMask": "displayName"}}
    with pytest.raises(ConfigError):
        default_display_name(" ")
