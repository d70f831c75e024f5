"""What gets into tokens: scenarios 4.5 to 4.8 and 4.11 of blocking-functions.md, through the whole chain."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest

from gateway.blocking import BlockingFunctions, ErrorCode, EventContext, HttpsError, User
from tests.support.chain import chain, claims
from tests.support.idp import PASSWORD

BLOCKED = ipaddress.ip_network("198.51.100.0/24")


def block_addresses(kit: BlockingFunctions) -> None:
    @kit.before_sign_in
    def check(user: User, context: EventContext) -> None:
        address = ipaddress.ip_address(context.ip_address or "0.0.0.0")
        mapped = getattr(address, "ipv4_mapped", None)
        if (mapped or address) in BLOCKED:
            raise HttpsError(ErrorCode.PERMISSION_DENIED, "Unauthorized access!")


async def test_4_5_blocked_addresses() -> None:
    """the provider issues no tokens to a blocked address, in whichever form it comes, and does to another."""
    async with chain(block_addresses, "beforeSignIn") as api:
        await api.sign_up()
        for address in ("198.51.100.7", "::ffff:198.51.100.7"):
            api.address = address
            reply = await api.sign_in()
            assert reply.status == 400
            assert reply.error.endswith('Code: 403, Status: "PERMISSION_DENIED", Message: "Unauthorized access!"')
        api.address = "2001:db8::7"
        assert (await api.sign_in()).ok["idToken"]


SAML = {"assertion": {"subject": {"nameId": "ann@example.com"}, "attributeStatements": {}}}
ATTRIBUTES = {"employeeid": "E42", "role": "eng", "groups": ["a", "b"]}


def claims_from_saml(kit: BlockingFunctions) -> None:
    def attributes(context: EventContext) -> dict[str, Any]:
        credential = context.credential
        if credential is None or credential.provider_id != "saml.my-provider-id":
            return {}
        return dict(credential.claims or {})

    @kit.before_create
    def create(user: User, context: EventContext) -> dict[str, Any]:
        eid = attributes(context).get("employeeid")
        return {"customClaims": {"eid": eid}} if eid else {}

    @kit.before_sign_in
    def sign_in(user: User, context: EventContext) -> dict[str, Any]:
        told = attributes(context)
        if not told:
            return {}
        session = {name: told[name] for name in ("role", "groups") if name in told}
        eid = told.get("employeeid")
        return {**({"customClaims": {"eid": eid}} if eid else {}), "sessionClaims": session}


async def test_4_6_claims_from_saml() -> None:
    """the provider stores custom claims with the account and keeps session claims to the session."""
    async with chain(claims_from_saml, "beforeCreate", "beforeSignIn") as api:
        identity: dict[str, Any] = json.loads(json.dumps(SAML))
        identity["assertion"]["attributeStatements"] = ATTRIBUTES
        user = (await api.idp("saml.my-provider-id", identity)).ok
        payload = claims(user["idToken"])
        assert (payload["eid"], payload["role"], payload["groups"]) == ("E42", "eng", ["a", "b"])
        assert payload["firebase"]["sign_in_attributes"] == ATTRIBUTES
        account = await api.account(user["localId"])
        assert json.loads(account["customAttributes"]) == {"eid": "E42"}
        refreshed = claims((await api.refresh(user["refreshToken"])).ok["id_token"])
        assert (refreshed["role"], refreshed["firebase"]["sign_in_attributes"]) == ("eng", ATTRIBUTES)

        await api.admin("/accounts:update", localId=user["localId"], password=PASSWORD)
        payload = claims((await api.sign_in("ann@example.com")).ok["idToken"])
        assert payload["eid"] == "E42"
        assert "role" not in payload
        assert "groups" not in payload


async def test_4_6_missing_attributes_and_other_providers() -> None:
    """the provider's tokens hold no claim for an attribute that is missing, and none from another provider."""
    async with chain(claims_from_saml, "beforeCreate", "beforeSignIn") as api:
        identity: dict[str, Any] = json.loads(json.dumps(SAML))
        identity["assertion"]["attributeStatements"] = {"role": "eng"}
        payload = claims((await api.idp("saml.my-provider-id", identity)).ok["idToken"])
        assert payload["role"] == "eng"
        assert not {"eid", "groups"} & set(payload)
        payload = claims((await api.idp("saml.other", SAML)).ok["idToken"])
        assert not {"eid", "role", "groups"} & set(payload)
        user = await api.sign_up("bob@example.com")
        assert not {"eid", "role", "groups"} & set(claims(user["idToken"]))


def track_address(kit: BlockingFunctions) -> None:
    @kit.before_sign_in
    def track(user: User, context: EventContext) -> dict[str, Any]:
        return {"sessionClaims": {"signInIpAddress": context.ip_address}}


async def test_4_7_sign_in_address() -> None:
    """the provider's tokens carry the sign-in address, also after a refresh, until the sessions are revoked."""
    async with chain(track_address, "beforeSignIn") as api:
        user = await api.sign_up()
        assert claims(user["idToken"])["signInIpAddress"] == "203.0.113.9"
        api.address = "198.51.100.1"
        refreshed = (await api.refresh(user["refreshToken"])).ok
        assert claims(refreshed["id_token"])["signInIpAddress"] == "203.0.113.9"
        second = (await api.sign_in()).ok
        assert claims(second["idToken"])["signInIpAddress"] == "198.51.100.1"
        assert "customAttributes" not in await api.account(user["localId"])
        await api.provider.revoke_sessions(user["localId"])
        assert (await api.refresh(user["refreshToken"])).error == "TOKEN_EXPIRED"


def screen_photos(kit: BlockingFunctions) -> None:
    @kit.before_create
    def screen(user: User, context: EventContext) -> dict[str, Any] | None:
        if user.photo_url and "bad" in user.photo_url:
            return {"photo_url": "https://static.test/guest.png"}
        return None


@pytest.mark.parametrize(
    ("photo", "stored"),
    [
        ("https://img.test/bad.png", "https://static.test/guest.png"),
        ("https://img.test/good.png", "https://img.test/good.png"),
        (None, None),
    ],
)
async def test_4_8_photo_screening(photo: str | None, stored: str | None) -> None:
    """the provider stores the picture that the function puts in place of a bad one, and leaves the others."""
    async with chain(screen_photos, "beforeCreate") as api:
        identity = {"sub": "g-1", "email": "ann@example.com", "email_verified": True}
        user = (await api.idp("google.com", {**identity, "picture": photo} if photo else identity)).ok
        assert claims(user["idToken"]).get("picture") == stored
        assert (await api.account(user["localId"])).get("photoUrl") == stored


def name_guests(kit: BlockingFunctions) -> None:
    @kit.before_create
    def name(user: User, context: EventContext) -> dict[str, Any]:
        return {"display_name": user.display_name or "Guest"}


@pytest.mark.parametrize(("given", "stored"), [(None, "Guest"), ("Ann", "Ann")])
async def test_4_11_default_name(given: str | None, stored: str) -> None:
    """the provider stores the function's name for somebody without one, and the own one of everybody else."""
    async with chain(name_guests, "beforeCreate") as api:
        reply = await api.call("signUp", email="ann@example.com", password=PASSWORD, displayName=given)
        assert claims(reply.ok["idToken"])["name"] == stored
        assert (await api.account(reply.ok["localId"]))["displayName"] == stored
