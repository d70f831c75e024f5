"""identity-toolkit.md sections 6.1 to 6.3, 6.9 and 6.12: methods that end in tokens."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from tests.support.idp import EMAIL, OWNER, PASSWORD, PROJECT, Api, claims, running

CUSTOM_AUDIENCE = "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"


def custom_token(api: Api, **changes: Any) -> str:
    """An unsigned custom token, as the Admin SDKs make them in emulator mode."""
    account = "firebase-auth-emulator@example.com"
    now = int(api.clock.now())
    payload = {"iss": account, "sub": account, "aud": CUSTOM_AUDIENCE, "iat": now, "exp": now + 3600, "uid": "u-7"}
    payload |= changes
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, "", algorithm="none")


async def test_sign_up_answers_the_documented_shape(api: Api) -> None:
    """the provider answers a sign-up with exactly the documented fields."""
    reply = await api.call("signUp", email="Ada@Example.com", password=PASSWORD, displayName="Ada")
    body = reply.ok
    assert set(body) == {"kind", "localId", "email", "displayName", "idToken", "refreshToken", "expiresIn"}
    assert body["kind"] == "identitytoolkit#SignupNewUserResponse"
    assert (body["email"], body["displayName"], body["expiresIn"]) == (EMAIL, "Ada", "3600")
    assert len(body["localId"]) == 28


async def test_id_token_has_the_documented_claims(api: Api) -> None:
    """the provider issues ID tokens with exactly the documented header and claims."""
    body = await api.sign_up()
    now = int(api.clock.now())
    assert jwt.get_unverified_header(body["idToken"]).keys() == {"alg", "kid", "typ"}
    assert claims(body["idToken"]) == {
        "iss": f"https://securetoken.google.com/{PROJECT}",
        "aud": PROJECT,
        "auth_time": now,
        "user_id": body["localId"],
        "sub": body["localId"],
        "iat": now,
        "exp": now + 3600,
        "email": EMAIL,
        "email_verified": False,
        "firebase": {"identities": {"email": [EMAIL]}, "sign_in_provider": "password"},
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"password": PASSWORD}, "MISSING_EMAIL"),
        ({"email": "new@example.com"}, "MISSING_PASSWORD"),
        ({"email": "nobody", "password": PASSWORD}, "INVALID_EMAIL"),
        ({"email": "a@b@c", "password": PASSWORD}, "INVALID_EMAIL"),
        ({"email": "@example.com", "password": PASSWORD}, "INVALID_EMAIL"),
        ({"email": EMAIL.upper(), "password": "short"}, "EMAIL_EXISTS"),
        ({"email": "new@example.com", "password": "five5"}, "WEAK_PASSWORD : Password should be at least 6 characters"),
        ({"localId": "x", "email": "new@example.com", "password": PASSWORD}, "UNEXPECTED_PARAMETER : User ID"),
        ({"email": "new@example.com", "password": PASSWORD, "tenantId": "t"}, "INVALID_TENANT_ID"),
        ({"idToken": "x.y.z", "email": "new@example.com", "password": PASSWORD}, "INVALID_ID_TOKEN"),
    ],
)
async def test_sign_up_refuses_in_the_documented_order(api: Api, body: dict[str, Any], message: str) -> None:
    """the provider refuses a bad sign-up with the first error that the protocol names."""
    await api.sign_up()
    assert (await api.call("signUp", **body)).error == message


async def test_overlong_password_is_refused(api: Api) -> None:
    """the provider refuses passwords beyond the service's maximum."""
    reply = await api.call("signUp", email=EMAIL, password="x" * 4097)
    assert reply.error.startswith("PASSWORD_DOES_NOT_MEET_REQUIREMENTS : ")


@pytest.mark.parametrize(
    ("settings", "body", "message"),
    [
        ({"password_sign_in": False}, {"email": EMAIL, "password": PASSWORD}, "OPERATION_NOT_ALLOWED"),
        ({"sign_up": False}, {"email": EMAIL, "password": PASSWORD}, "ADMIN_ONLY_OPERATION"),
        ({"anonymous_sign_in": False}, {}, "ADMIN_ONLY_OPERATION"),
    ],
)
async def test_sign_up_can_be_switched_off(settings: dict[str, Any], body: dict[str, Any], message: str) -> None:
    """the provider refuses the ways of signing up that its settings switch off."""
    async with running(**settings) as api:
        assert (await api.call("signUp", **body)).error == message


async def test_anonymous_sign_up(api: Api) -> None:
    """the provider creates anonymous accounts, marked as such in the token."""
    body = (await api.call("signUp", returnSecureToken=True)).ok
    payload = claims(body["idToken"])
    assert payload["provider_id"] == "anonymous"
    assert payload["firebase"] == {"identities": {}, "sign_in_provider": "anonymous"}
    assert "email" not in payload
    assert "email" not in body


async def test_anonymous_account_becomes_a_password_account(api: Api) -> None:
    """the provider adds address and password to the account that is signed in, and keeps its uid."""
    before = (await api.call("signUp")).ok
    api.clock.advance(2)
    after = (await api.call("signUp", idToken=before["idToken"], email=EMAIL, password=PASSWORD)).ok
    assert after["localId"] == before["localId"]
    payload = claims(after["idToken"])
    assert "provider_id" not in payload
    assert payload["firebase"]["sign_in_provider"] == "password"
    assert (await api.sign_in()).ok["localId"] == before["localId"]
    assert (await api.refresh(before["refreshToken"])).error == "TOKEN_EXPIRED"


async def test_linking_refuses_somebody_elses_address(api: Api) -> None:
    """the provider links no address that belongs to another account."""
    await api.sign_up()
    anonymous = (await api.call("signUp")).ok
    reply = await api.call("signUp", idToken=anonymous["idToken"], email=EMAIL, password=PASSWORD)
    assert reply.error == "EMAIL_EXISTS"


async def test_password_sign_in_answers_the_documented_shape(api: Api) -> None:
    """the provider answers a password sign-in with exactly the documented fields, address compared in lower case."""
    created = await api.sign_up()
    body = (await api.sign_in("ADA@example.COM")).ok
    assert body["kind"] == "identitytoolkit#VerifyPasswordResponse"
    assert body["registered"] is True
    assert body["localId"] == created["localId"]
    assert set(body) == {
        "kind", "localId", "email", "displayName", "registered", "idToken", "refreshToken", "expiresIn",
    }  # fmt: skip
    assert body["refreshToken"] != created["refreshToken"]


@pytest.mark.parametrize("protected", [True, False])
@pytest.mark.parametrize(
    ("body", "with_protection", "without"),
    [
        ({}, "MISSING_EMAIL", "MISSING_EMAIL"),
        ({"email": "nobody", "password": PASSWORD}, "INVALID_EMAIL", "INVALID_EMAIL"),
        ({"email": EMAIL}, "MISSING_PASSWORD", "MISSING_PASSWORD"),
        ({"email": "who@example.com", "password": PASSWORD}, "INVALID_LOGIN_CREDENTIALS", "EMAIL_NOT_FOUND"),
        ({"email": EMAIL, "password": "wrong one"}, "INVALID_LOGIN_CREDENTIALS", "INVALID_PASSWORD"),
        ({"email": EMAIL, "password": "x" * 5000}, "INVALID_LOGIN_CREDENTIALS", "INVALID_PASSWORD"),
        ({"email": "off@example.com", "password": PASSWORD}, "USER_DISABLED", "USER_DISABLED"),
        ({"email": "off@example.com", "password": "wrong"}, "INVALID_LOGIN_CREDENTIALS", "USER_DISABLED"),
    ],
)
async def test_password_sign_in_refuses_as_documented(
    protected: bool, body: dict[str, Any], with_protection: str, without: str
) -> None:
    """the provider tells addresses apart only when e-mail enumeration protection is off."""
    async with running(email_enumeration_protection=protected) as api:
        await api.sign_up()
        await api.admin("/accounts", email="off@example.com", password=PASSWORD, disabled=True)
        assert (await api.call("signInWithPassword", **body)).error == (with_protection if protected else without)


async def test_account_without_password_cannot_sign_in_with_one(api: Api) -> None:
    """the provider refuses password sign-in for an account that has no password."""
    await api.admin("/accounts", email=EMAIL)
    assert (await api.sign_in()).error == "INVALID_LOGIN_CREDENTIALS"


async def test_password_sign_in_can_be_switched_off() -> None:
    """the provider says PASSWORD_LOGIN_DISABLED before it looks at anything."""
    async with running(password_sign_in=False) as api:
        assert (await api.call("signInWithPassword")).error == "PASSWORD_LOGIN_DISABLED"


async def test_guessing_is_slowed_down(api: Api) -> None:
    """the provider stops listening after twenty wrong passwords, also to the right one, until time has passed."""
    await api.sign_up()
    for _ in range(20):
        assert (await api.sign_in(password="wrong")).error == "INVALID_LOGIN_CREDENTIALS"
    assert (await api.sign_in()).error.startswith("TOO_MANY_ATTEMPTS_TRY_LATER : ")
    api.clock.advance(301)
    assert (await api.sign_in()).status == 200


async def test_success_clears_the_count_of_failures(api: Api) -> None:
    """the provider forgets failures after a success, so that typing badly now and then locks nobody out."""
    await api.sign_up()
    for _ in range(3):
        for _ in range(15):
            await api.sign_in(password="wrong")
        assert (await api.sign_in()).status == 200


async def test_refresh_answers_the_documented_shape(api: Api) -> None:
    """the provider renews an ID token in snake case, with auth_time as it was and fresh iat and exp."""
    created = await api.sign_up()
    api.clock.advance(1000)
    body = (await api.refresh(created["refreshToken"])).ok
    assert set(body) == {
        "access_token", "expires_in", "token_type", "refresh_token", "id_token", "user_id", "project_id",
    }  # fmt: skip
    assert body["access_token"] == body["id_token"]
    assert (body["expires_in"], body["token_type"], body["user_id"]) == ("3600", "Bearer", created["localId"])
    assert body["project_id"].isdecimal()
    old, new = claims(created["idToken"]), claims(body["id_token"])
    assert new["auth_time"] == old["auth_time"]
    assert (new["iat"], new["exp"]) == (old["iat"] + 1000, old["exp"] + 1000)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "MISSING_GRANT_TYPE"),
        ({"grant_type": "password", "refresh_token": "x"}, "INVALID_GRANT_TYPE"),
        ({"grant_type": "refresh_token"}, "MISSING_REFRESH_TOKEN"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, "MISSING_REFRESH_TOKEN"),
        ({"grant_type": "refresh_token", "refresh_token": "made-up"}, "INVALID_REFRESH_TOKEN"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
async def test_refresh_refuses_as_documented(api: Api, form: dict[str, str], message: str, as_json: bool) -> None:
    """the provider refuses a bad refresh by the documented names, sent as form or as JSON."""
    body = {"json": form} if as_json else {"data": form}
    assert (await api.request("POST", "/securetoken.googleapis.com/v1/token?key=k", **body)).error == message


async def test_refresh_picks_up_the_present_profile(api: Api) -> None:
    """the provider puts the present name and custom claims into a renewed token."""
    created = await api.sign_up()
    await api.admin(
        "/accounts:update", localId=created["localId"], displayName="Ada L", customAttributes='{"role":"admin"}'
    )
    payload = claims((await api.refresh(created["refreshToken"])).ok["id_token"])
    assert (payload["name"], payload["role"]) == ("Ada L", "admin")


async def test_email_link_creates_then_finds_the_account(api: Api) -> None:
    """the provider signs in by a mailed link: a new account first, the same one later; each link works once."""
    first = await api.mail_code("EMAIL_SIGNIN", email="Bob@example.com", continueUrl="http://localhost/x")
    body = (await api.call("signInWithEmailLink", email="bob@example.com", oobCode=first)).ok
    assert body["kind"] == "identitytoolkit#EmailLinkSigninResponse"
    assert body["isNewUser"] is True
    payload = claims(body["idToken"])
    assert payload["email_verified"] is True
    assert payload["firebase"]["sign_in_provider"] == "password"
    assert (await api.call("signInWithEmailLink", email="bob@example.com", oobCode=first)).error == "INVALID_OOB_CODE"
    second = await api.mail_code("EMAIL_SIGNIN", email="bob@example.com", continueUrl="http://localhost/x")
    again = (await api.call("signInWithEmailLink", email="bob@example.com", oobCode=second)).ok
    assert (again["isNewUser"], again["localId"]) == (False, body["localId"])
    assert (await api.account(body["localId"]))["emailLinkSignin"] is True


async def test_email_link_refuses_as_documented(api: Api) -> None:
    """the provider refuses a sign-in link for another address, of another kind, or for a disabled account."""
    mismatch = "INVALID_EMAIL : The email provided does not match the sign-in email address."
    await api.admin("/accounts", email="off@example.com", disabled=True)
    code = await api.mail_code("EMAIL_SIGNIN", email="off@example.com", continueUrl="http://localhost/x")
    cases = [
        ({}, "MISSING_EMAIL"),
        ({"email": EMAIL}, "MISSING_OOB_CODE"),
        ({"email": EMAIL, "oobCode": "made-up"}, "INVALID_OOB_CODE"),
        ({"email": EMAIL, "oobCode": code}, mismatch),
        ({"email": "off@example.com", "oobCode": code}, "USER_DISABLED"),
    ]
    for body, message in cases:
        assert (await api.call("signInWithEmailLink", **body)).error == message
    await api.sign_up()
    reset = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    assert (await api.call("signInWithEmailLink", email=EMAIL, oobCode=reset)).error == "INVALID_OOB_CODE"


async def test_email_link_links_to_the_signed_in_account(api: Api) -> None:
    """the provider gives the account that is signed in the address that the link went to."""
    anonymous = (await api.call("signUp")).ok
    code = await api.mail_code("EMAIL_SIGNIN", email=EMAIL, continueUrl="http://localhost/x")
    linked = (await api.call("signInWithEmailLink", email=EMAIL, oobCode=code, idToken=anonymous["idToken"])).ok
    assert (linked["localId"], linked["isNewUser"]) == (anonymous["localId"], False)
    assert (await api.account(linked["localId"]))["email"] == EMAIL


async def test_custom_token_signs_in_with_its_claims(api: Api) -> None:
    """the provider creates the account of an unknown uid and keeps the custom token's claims for that session only."""
    body = (await api.call("signInWithCustomToken", token=custom_token(api, claims={"level": 3}))).ok
    assert set(body) == {"kind", "isNewUser", "idToken", "refreshToken", "expiresIn"}
    assert body["isNewUser"] is True
    payload = claims(body["idToken"])
    assert (payload["sub"], payload["level"], payload["firebase"]["sign_in_provider"]) == ("u-7", 3, "custom")
    assert claims((await api.refresh(body["refreshToken"])).ok["id_token"])["level"] == 3
    again = (await api.call("signInWithCustomToken", token=json.dumps({"uid": "u-7"}))).ok
    assert again["isNewUser"] is False
    assert "level" not in claims(again["idToken"])
    assert (await api.account("u-7"))["customAuth"] is True


async def test_custom_token_of_a_disabled_account_is_refused(api: Api) -> None:
    """the provider signs a disabled account in by no way."""
    await api.admin("/accounts", localId="u-7", disabled=True)
    assert (await api.call("signInWithCustomToken", token=custom_token(api))).error == "USER_DISABLED"


@pytest.mark.parametrize(
    "settings", [{"admin_secret": "s3cret"}, {"host": "0.0.0.0", "force": True, "password_profile": "strong"}]
)
async def test_unsigned_custom_token_is_worthless_beyond_loopback(settings: dict[str, Any]) -> None:
    """the provider believes no unsigned custom token where the emulator's administrator would not be believed."""
    async with running(**settings) as api:
        reply = await api.call("signInWithCustomToken", token=custom_token(api))
        assert reply.error.startswith("INVALID_CUSTOM_TOKEN : ")


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"X-Forwarded-For": "203.0.113.9"}]
)
async def test_foreign_page_cannot_use_an_unsigned_custom_token(api: Api, headers: dict[str, str]) -> None:
    """the provider lets no page of a foreign origin, and nobody behind a proxy, sign in as whom they like."""
    path = "/v1/accounts:signInWithCustomToken?key=k"
    reply = await api.request("POST", path, json={"token": custom_token(api)}, headers=headers)
    assert reply.error.startswith("INVALID_CUSTOM_TOKEN : ")
    local = {"Origin": "http://localhost:8080"}
    assert (await api.request("POST", path, json={"token": custom_token(api)}, headers=local)).status == 200


async def test_last_login_is_absent_before_the_first_sign_in(api: Api) -> None:
    """the provider reports no lastLoginAt until somebody signed in."""
    uid = (await api.admin("/accounts", email=EMAIL, password=PASSWORD)).ok["localId"]
    assert "lastLoginAt" not in await api.account(uid)
    await api.sign_in()
    assert (await api.account(uid))["lastLoginAt"] == str(int(api.clock.now() * 1000))


async def test_privileged_sign_up_creates_without_tokens(api: Api) -> None:
    """the provider gives an administrator who signs somebody up no tokens."""
    path = "/v1/accounts:signUp"
    reply = await api.request("POST", path, json={"localId": "chosen", "email": EMAIL}, headers=OWNER)
    assert reply.ok == {"kind": "identitytoolkit#SignupNewUserResponse", "localId": "chosen", "email": EMAIL}


async def test_replacing_through_a_link_wants_a_recent_sign_in(api: Api) -> None:
    """the provider lets an old session add an address and a password, and replace neither."""
    anonymous = (await api.call("signUp")).ok
    api.clock.advance(1_800)
    added = (await api.call("signUp", idToken=anonymous["idToken"], email=EMAIL, password=PASSWORD)).ok
    api.clock.advance(1_800)
    for email in (EMAIL, "new@example.com"):
        reply = await api.call("signUp", idToken=added["idToken"], email=email, password="another horse")
        assert reply.error == "CREDENTIAL_TOO_OLD_LOGIN_AGAIN"
    code = await api.mail_code("EMAIL_SIGNIN", email="new@example.com")
    reply = await api.call("signInWithEmailLink", idToken=added["idToken"], email="new@example.com", oobCode=code)
    assert reply.error == "CREDENTIAL_TOO_OLD_LOGIN_AGAIN"
    code = await api.mail_code("EMAIL_SIGNIN", email=EMAIL)
    linked = await api.call("signInWithEmailLink", idToken=added["idToken"], email=EMAIL, oobCode=code)
    assert linked.ok["localId"] == anonymous["localId"]
    again = (await api.sign_in()).ok
    changed = await api.call("signUp", idToken=again["idToken"], email="new@example.com", password="another horse")
    assert changed.ok["email"] == "new@example.com"
