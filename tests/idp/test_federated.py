"""identity-toolkit.md section 8.1: signing in with another provider."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from tests.support.idp import EMAIL, PASSWORD, Api, Reply, claims, running

ADA = {"sub": "g-1", "email": EMAIL, "email_verified": True, "name": "Ada", "picture": "https://p.test/a.png"}


async def idp(api: Api, identity: Any = None, provider: str = "google.com", **body: Any) -> Reply:
    held = {"providerId": provider, "id_token": identity if isinstance(identity, str) else json.dumps(identity or ADA)}
    return await api.call("signInWithIdp", requestUri="http://localhost", postBody=urlencode(held), **body)


async def test_first_and_second_sign_in(api: Api) -> None:
    """the provider creates an account from the other provider's words and finds it by their id again."""
    first = (await idp(api)).ok
    assert first["kind"] == "identitytoolkit#VerifyAssertionResponse"
    assert (first["isNewUser"], first["providerId"], first["federatedId"]) == (
        True,
        "google.com",
        "https://accounts.google.com/g-1",
    )
    assert (first["email"], first["emailVerified"], first["displayName"]) == (EMAIL, True, "Ada")
    assert json.loads(first["rawUserInfo"])["id"] == "g-1"
    payload = claims(first["idToken"])
    assert (payload["name"], payload["picture"], payload["email_verified"]) == ("Ada", "https://p.test/a.png", True)
    second = (await idp(api, {**ADA, "email": "new@example.com"})).ok
    assert second["localId"] == first["localId"]
    assert "isNewUser" not in second
    (entry,) = (await api.account(first["localId"]))["providerUserInfo"]
    assert (entry["providerId"], entry["rawId"]) == ("google.com", "g-1")


async def test_identities_come_as_jwt_too(api: Api) -> None:
    """the provider reads a JWT that nobody signed, as the emulator does, and an identity in the access token."""
    token = jwt.encode(ADA, "k" * 32, algorithm="HS256")
    assert (await idp(api, token)).ok["email"] == EMAIL
    held = {"providerId": "github.com", "access_token": json.dumps({"sub": "h-1", "login": "ada"})}
    reply = await api.call("signInWithIdp", requestUri="http://localhost", postBody=urlencode(held))
    assert json.loads(reply.ok["rawUserInfo"])["login"] == "ada"


async def test_flow_through_a_page(api: Api) -> None:
    """the provider reads query and fragment of the address that the other provider's page came back to."""
    uri = f"http://localhost/handler?providerId=google.com&refresh_token=RT#{urlencode({'id_token': json.dumps(ADA)})}"
    reply = await api.call("signInWithIdp", requestUri=uri)
    assert (reply.ok["email"], reply.ok["oauthRefreshToken"]) == (EMAIL, "RT")


async def test_verified_address_takes_an_unverified_account_over(api: Api) -> None:
    """the provider gives an account to whom another provider vouches for, without its unproven past."""
    user = await api.sign_up()
    api.clock.advance(5)
    taken = (await idp(api)).ok
    assert taken["localId"] == user["localId"]
    account = await api.account(user["localId"])
    assert account["emailVerified"] is True
    assert "passwordHash" not in account
    assert (await api.refresh(user["refreshToken"])).error == "TOKEN_EXPIRED"
    assert (await api.sign_in()).error == "INVALID_LOGIN_CREDENTIALS"


async def test_verified_address_joins_a_verified_account(api: Api) -> None:
    """the provider adds the identity to an account whose address was proved before, and leaves its password."""
    user = await api.sign_up()
    await api.admin("/accounts:update", localId=user["localId"], emailVerified=True)
    assert (await idp(api)).ok["localId"] == user["localId"]
    assert (await api.sign_in()).status == 200


async def test_unverified_address_needs_confirmation(api: Api) -> None:
    """the provider issues no tokens to an unverified identity whose address is taken, and asks no function."""
    await api.sign_up()
    reply = (await idp(api, {**ADA, "email_verified": False}, "facebook.com")).ok
    assert (reply["needConfirmation"], reply["verifiedProvider"]) == (True, ["password"])
    assert "idToken" not in reply


async def test_linking(api: Api) -> None:
    """the provider links an identity to whoever is signed in, fills in what the account lacks, and no more."""
    anonymous = (await api.call("signUp")).ok
    linked = (await idp(api, idToken=anonymous["idToken"])).ok
    assert linked["localId"] == anonymous["localId"]
    payload = claims(linked["idToken"])
    assert (payload["email"], payload["email_verified"], payload["name"]) == (EMAIL, True, "Ada")
    user = await api.sign_up("bob@example.com")
    linked = (await idp(api, {"sub": "h-1", "email": "other@example.com"}, "github.com", idToken=user["idToken"])).ok
    assert claims(linked["idToken"])["email"] == "bob@example.com"


async def test_linking_what_belongs_to_somebody_else(api: Api) -> None:
    """the provider moves neither an identity nor an address from one account to another."""
    await idp(api)
    user = await api.sign_up("bob@example.com")
    reply = await idp(api, idToken=user["idToken"])
    assert reply.error == "FEDERATED_USER_ID_ALREADY_LINKED"
    reply = await idp(api, {**ADA, "sub": "g-2"}, idToken=user["idToken"])
    assert reply.error == "EMAIL_EXISTS"
    told = (await idp(api, idToken=user["idToken"], returnIdpCredential=True)).ok
    assert told["errorMessage"] == "FEDERATED_USER_ID_ALREADY_LINKED"
    assert "idToken" not in told


async def test_saml(api: Api) -> None:
    """the provider takes address and attributes from a SAML assertion, which vouches for the address."""
    assertion = {"subject": {"nameId": "n-1"}, "attributeStatements": {"mail": EMAIL, "role": "eng"}}
    held = {"providerId": "saml.acme", "SAMLResponse": json.dumps({"assertion": assertion})}
    user = (await api.call("signInWithIdp", requestUri="http://localhost", postBody=urlencode(held))).ok
    payload = claims(user["idToken"])
    assert (payload["email"], payload["email_verified"]) == (EMAIL, True)
    assert payload["firebase"]["sign_in_attributes"] == {"mail": EMAIL, "role": "eng"}
    assert payload["firebase"]["identities"]["saml.acme"] == ["n-1"]


async def test_oidc_attributes(api: Api) -> None:
    """the provider hands on the claims of an OpenID Connect provider as attributes."""
    user = (await idp(api, {"sub": "o-1", "team": "blue"}, "oidc.acme")).ok
    assert claims(user["idToken"])["firebase"]["sign_in_attributes"] == {"sub": "o-1", "team": "blue"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "MISSING_REQUEST_URI"),
        ({"requestUri": "nowhere"}, "INVALID_REQUEST_URI"),
        ({"requestUri": "http://[x"}, "INVALID_REQUEST_URI"),
        ({"requestUri": "http://localhost"}, "INVALID_CREDENTIAL_OR_PROVIDER_ID"),
        ({"requestUri": "http://localhost", "postBody": "providerId=password"}, "INVALID_CREDENTIAL_OR_PROVIDER_ID"),
        ({"requestUri": "http://localhost", "postBody": "providerId=google.com"}, "INVALID_IDP_RESPONSE"),
        ({"requestUri": "http://localhost", "postBody": "providerId=google.com&id_token=x"}, "INVALID_IDP_RESPONSE"),
        ({"requestUri": "http://localhost", "postBody": "providerId=google.com&id_token={}"}, "INVALID_IDP_RESPONSE"),
        (
            {"requestUri": "http://localhost", "postBody": 'providerId=google.com&id_token={"sub":"\\ud800"}'},
            "INVALID_IDP_RESPONSE",
        ),
        ({"requestUri": "http://localhost", "postBody": 'providerId=x.y&id_token={"sub":1}'}, "INVALID_IDP_RESPONSE"),
        (
            {"requestUri": "http://localhost", "postBody": 'providerId=x.y&id_token={"sub":"a","n":NaN}'},
            "INVALID_IDP_RESPONSE",
        ),
        ({"requestUri": "http://localhost", "postBody": "providerId=saml.x&SAMLResponse={}"}, "INVALID_IDP_RESPONSE"),
        ({"requestUri": "http://localhost", "postBody": "providerId=saml.x"}, "INVALID_IDP_RESPONSE"),
    ],
)
async def test_what_cannot_be_read(api: Api, body: dict[str, Any], message: str) -> None:
    """the provider refuses what names no provider, or holds no identity, and never fails on it."""
    reply = await api.call("signInWithIdp", **body)
    assert reply.error.partition(" : ")[0] == message


async def test_only_known_people(api: Api) -> None:
    """the provider creates nobody where the client asks for known accounts only, or signing up is off."""
    assert (await idp(api, autoCreate=False)).error == "USER_NOT_FOUND"
    async with running(sign_up=False) as closed:
        assert (await idp(closed)).error == "ADMIN_ONLY_OPERATION"


async def test_made_up_identities_are_for_this_machine_only() -> None:
    """the provider believes no made-up identity where it does not believe the emulator's credentials."""
    async with running(admin_secret="a long random secret") as api:
        assert (await idp(api)).error.startswith("OPERATION_NOT_ALLOWED")
    async with running() as api:
        body = {"requestUri": "http://localhost", "postBody": urlencode({"providerId": "google.com"})}
        for headers in ({"Origin": "https://evil.test"}, {"X-Forwarded-For": "203.0.113.9"}):
            reply = await api.request("POST", "/v1/accounts:signInWithIdp?key=k", json=body, headers=headers)
            assert reply.error.startswith("OPERATION_NOT_ALLOWED")


async def test_disabled(api: Api) -> None:
    """the provider refuses a disabled account whose identity is right."""
    user = (await idp(api)).ok
    await api.admin("/accounts:update", localId=user["localId"], disableUser=True, password=PASSWORD)
    assert (await idp(api)).error == "USER_DISABLED"
