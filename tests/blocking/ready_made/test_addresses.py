"""blocking-functions.md scenarios 4.1, 4.2, 4.3 (sign-in) and 4.4."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.blocking.ready_made import (
    allow_domains,
    demand_verified_email,
    refuse_unverified_email,
    trust_providers,
)
from gateway.blocking.ready_made.addresses import NO_EMAIL
from gateway.errors import ConfigError
from tests.support import events
from tests.support.events import ABSENT


async def answer(function: Any, event: str = "beforeCreate", **fields: Any) -> tuple[int, Any]:
    functions = events.functions()
    (functions.before_create if event == "beforeCreate" else functions.before_sign_in)(function)
    async with functions:
        status, body = await functions.respond(events.token(event, **fields))
    return status, body if status == 200 else (body["error"]["status"], body["error"]["message"])


def refused(message: str) -> tuple[int, Any]:
    return 400, ("INVALID_ARGUMENT", message)


DOMAINS: list[tuple[Any, bool]] = [
    ("ann@example.com", True),
    ("Ann@EXAMPLE.COM", True),
    ('"odd@name"@example.com', True),
    ("ann@example.org", True),
    ("bob@evil.test", False),
    ("x@example.com.evil.test", False),
    ("x@sub.example.com", False),
    ("x@notexample.com", False),
    ("x@example.com.", False),
    ("x@example.com@evil.test", False),
    ("@example.com", False),
    ("example.com", False),
    ("x@e\uff58ample.com", False),
    ("x@\u212aelvin.test", False),
    ("x@kelvin.test", True),
    ("x@bücher.test", True),
    ("x@", False),
]


@pytest.mark.parametrize(("email", "good"), DOMAINS)
async def test_domains_are_compared_whole(email: str, good: bool) -> None:
    """... lets in whose domain is listed, in any case, and nobody whose address merely holds its name."""
    function = allow_domains("Example.com", "@example.org", "kelvin.test", "bücher.test")
    expected = (200, {}) if good else refused(f'Unauthorized email "{email}"')
    assert await answer(function, email=email) == expected


@pytest.mark.parametrize("email", [ABSENT, None, ""])
async def test_people_without_an_address_have_no_domain(email: Any) -> None:
    """... refuses people without an e-mail address in words that make sense to them."""
    assert await answer(allow_domains("example.com"), email=email) == refused(NO_EMAIL)


@pytest.mark.parametrize(
    "domains",
    [(), ("",), ("a@b",), (".com",), ("a b.com",), ("example.com.",), ("*.com",), ("https://a.b",), ("a..b",)],
)
def test_a_domain_is_a_name(domains: tuple[str, ...]) -> None:
    """... refuses a list of domains that could never let anybody in."""
    with pytest.raises(ConfigError):
        allow_domains(*domains)


UNVERIFIED: list[tuple[str, dict[str, Any], bool]] = [
    ("password", {}, False),
    ("verified by Google", {"email_verified": True, "top": {"sign_in_method": "google.com"}}, True),
    ("e-mail link", {"email_verified": True, "top": {"sign_in_method": "emailLink"}}, True),
    ("phone", {"email": ABSENT, "top": {"sign_in_method": "phone"}}, True),
]


@pytest.mark.parametrize(("fields", "good"), [case[1:] for case in UNVERIFIED], ids=[case[0] for case in UNVERIFIED])
async def test_unverified_addresses_do_not_register(fields: dict[str, Any], good: bool) -> None:
    """... refuses accounts whose address nobody has verified, and accounts without one never."""
    expected = (200, {}) if good else refused('Unverified email "ada@example.com"')
    assert await answer(refuse_unverified_email(), **fields) == expected
    wait = (200, {}) if good else refused('"ada@example.com" needs to be verified before access is granted.')
    assert await answer(demand_verified_email(), "beforeSignIn", **fields) == wait


VERIFIED = {"userRecord": {"emailVerified": True, "updateMask": "emailVerified"}}

TRUST: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("trusted", {"top": {"sign_in_method": "facebook.com"}}, VERIFIED),
    ("verified already", {"email_verified": True, "top": {"sign_in_method": "facebook.com"}}, {}),
    ("no address", {"email": ABSENT, "top": {"sign_in_method": "facebook.com"}}, {}),
    ("another provider", {"top": {"sign_in_method": "twitter.com"}}, {}),
    ("a longer name", {"top": {"sign_in_method": "oidc.facebook.com"}}, {}),
    ("a password", {}, {}),
]


@pytest.mark.parametrize(("fields", "body"), [case[1:] for case in TRUST], ids=[case[0] for case in TRUST])
async def test_a_trusted_provider_verifies(fields: dict[str, Any], body: dict[str, Any]) -> None:
    """... takes the address of a trusted provider as verified, told by its exact id."""
    assert await answer(trust_providers("facebook.com"), **fields) == (200, body)


@pytest.mark.parametrize("providers", [(), ("password",), ("emailLink",), ("facebook",), ("facebook.com", "")])
def test_a_trusted_provider_verifies_addresses(providers: tuple[str, ...]) -> None:
    """... refuses to trust what verifies no address."""
    with pytest.raises(ConfigError):
        trust_providers(*providers)
