"""identity-toolkit.md sections 6.4 to 6.6 and 10.1: one account, read and changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.idp import EMAIL, OWNER, PASSWORD, Api, claims


async def test_lookup_answers_the_own_record(api: Api) -> None:
    """the provider shows clients their own record, times in the documented units and no password hash."""
    user = await api.sign_up()
    body = (await api.call("lookup", idToken=user["idToken"])).ok
    assert body["kind"] == "identitytoolkit#GetAccountInfoResponse"
    (record,) = body["users"]
    milliseconds = int(api.clock.now() * 1000)
    assert record == {
        "localId": user["localId"],
        "email": EMAIL,
        "emailVerified": False,
        "disabled": False,
        "passwordHash": "UkVEQUNURUQ=",
        "passwordUpdatedAt": milliseconds,
        "validSince": str(milliseconds // 1000),
        "createdAt": str(milliseconds),
        "lastLoginAt": str(milliseconds),
        "lastRefreshAt": "2027-01-15T08:00:00.000Z",
        "providerUserInfo": [{"providerId": "password", "email": EMAIL, "federatedId": EMAIL, "rawId": EMAIL}],
    }


async def test_lookup_without_token_is_refused(api: Api) -> None:
    """the provider looks nobody up for a client without an ID token."""
    assert (await api.call("lookup")).error == "MISSING_ID_TOKEN"
    assert (await api.call("lookup", localId=["x"])).error == "MISSING_ID_TOKEN"


async def test_administrator_looks_up_by_any_identifier(api: Api) -> None:
    """the provider finds accounts for an administrator by id, address, number and federated identity, each once."""
    await api.admin("/accounts", localId="a", email=EMAIL, phoneNumber="+15550100")
    link = {"providerId": "google.com", "rawId": "g-1", "email": "b@gmail.test"}
    await api.admin("/accounts", localId="b")
    await api.admin("/accounts:update", localId="b", linkProviderUserInfo=link)
    reply = await api.admin(
        "/accounts:lookup",
        localId=["a", "nobody"],
        email=["ADA@example.com"],
        phoneNumber=["+15550100"],
        federatedUserId=[{"providerId": "google.com", "rawId": "g-1"}],
    )
    assert [user["localId"] for user in reply.ok["users"]] == ["a", "b"]
    assert reply.ok["users"][1]["providerUserInfo"][0]["providerId"] == "google.com"


async def test_lookup_of_nobody_has_no_list(api: Api) -> None:
    """the provider leaves ``users`` out when there is nobody: the Node SDK stumbles over an empty list."""
    assert (await api.admin("/accounts:lookup", localId=["nobody"])).ok == {
        "kind": "identitytoolkit#GetAccountInfoResponse"
    }


async def test_client_updates_and_clears_its_profile(api: Api) -> None:
    """the provider sets and clears name and picture; an empty text clears; no new tokens are issued for that."""
    user = await api.sign_up()
    body = (await api.call("update", idToken=user["idToken"], displayName="Ada", photoUrl="https://p.test/a.png")).ok
    assert body["kind"] == "identitytoolkit#SetAccountInfoResponse"
    assert (body["displayName"], body["photoUrl"], body["emailVerified"]) == ("Ada", "https://p.test/a.png", False)
    assert "idToken" not in body
    payload = claims((await api.refresh(user["refreshToken"])).ok["id_token"])
    assert (payload["name"], payload["picture"]) == ("Ada", "https://p.test/a.png")
    await api.call("update", idToken=user["idToken"], displayName="")
    body = (await api.call("update", idToken=user["idToken"], deleteAttribute=["PHOTO_URL"])).ok
    assert "displayName" not in body
    assert "photoUrl" not in body
    body = (await api.call("update", idToken=user["idToken"], displayName="Ada", deleteAttribute=["9" * 5000, -1])).ok
    assert body["displayName"] == "Ada"
    # Android sends the numbers of attributes; 2 is the name.
    assert "displayName" not in (await api.call("update", idToken=user["idToken"], deleteAttribute=[2])).ok


async def test_password_change_starts_a_new_session(api: Api) -> None:
    """the provider answers a password change with tokens of a new session, and the old password is gone."""
    user = await api.sign_up()
    api.clock.advance(10)
    body = (await api.call("update", idToken=user["idToken"], password="another horse")).ok
    payload = claims(body["idToken"])
    assert payload["auth_time"] == int(api.clock.now())
    assert payload["firebase"]["sign_in_provider"] == "password"
    assert (await api.refresh(body["refreshToken"])).status == 200
    assert (await api.sign_in()).error == "INVALID_LOGIN_CREDENTIALS"
    assert (await api.sign_in(password="another horse")).status == 200


async def test_email_change_is_announced_to_the_old_address(api: Api) -> None:
    """the provider clears the verified mark, remembers the first address and mails its owner a way back."""
    user = await api.sign_up()
    await api.admin("/accounts:update", localId=user["localId"], emailVerified=True)
    await api.call("update", idToken=user["idToken"], email="New@example.com")
    record = await api.account(user["localId"])
    assert (record["email"], record["emailVerified"], record["initialEmail"]) == ("new@example.com", False, EMAIL)
    (mail,) = api.provider.mailbox
    assert (mail.to, mail.kind) == (EMAIL, "RECOVER_EMAIL")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"email": "x"}, "INVALID_EMAIL"),
        ({"email": "bob@example.com"}, "EMAIL_EXISTS"),
        ({"password": "short"}, "WEAK_PASSWORD : Password should be at least 6 characters"),
        ({"customAttributes": '{"role":"admin"}'}, "INSUFFICIENT_PERMISSION"),
        ({"emailVerified": True}, "INSUFFICIENT_PERMISSION"),
        ({"phoneNumber": "+15550100"}, "INSUFFICIENT_PERMISSION"),
        ({"validSince": "1"}, "INSUFFICIENT_PERMISSION"),
        ({"linkProviderUserInfo": {"providerId": "google.com", "rawId": "g"}}, "INSUFFICIENT_PERMISSION"),
        ({"disableUser": True}, "OPERATION_NOT_ALLOWED"),
        ({"disable_user": False}, "OPERATION_NOT_ALLOWED"),
    ],
)
async def test_client_update_refuses(api: Api, body: dict[str, Any], message: str) -> None:
    """the provider refuses bad values, and everything that only an administrator may set."""
    user = await api.sign_up()
    await api.sign_up("bob@example.com")
    before = await api.account(user["localId"])
    assert (await api.call("update", idToken=user["idToken"], **body)).error == message
    assert await api.account(user["localId"]) == before


async def test_update_without_a_subject_is_refused(api: Api) -> None:
    """the provider wants to know whose account is meant."""
    assert (await api.call("update", displayName="x")).error == "INVALID_REQ_TYPE : Unsupported request parameters."
    assert (await api.admin("/accounts:update", displayName="x")).error == "MISSING_LOCAL_ID"
    assert (await api.admin("/accounts:update", localId="nobody")).error == "USER_NOT_FOUND"
    assert (await api.call("update", localId="x", displayName="x")).error.startswith("INVALID_REQ_TYPE")


async def test_unlinking_the_password_removes_address_and_hash(api: Api) -> None:
    """the provider removes address and password together when the password provider is unlinked."""
    user = await api.sign_up()
    body = (await api.call("update", idToken=user["idToken"], deleteProvider=["password"])).ok
    assert "email" not in body
    assert body["providerUserInfo"] == []
    assert (await api.sign_in()).error == "INVALID_LOGIN_CREDENTIALS"


async def test_administrator_updates(api: Api) -> None:
    """the provider applies an administrator's changes, numbers as numbers or as text."""
    uid = (await api.sign_up())["localId"]
    reply = await api.admin(
        "/accounts:update",
        localId=uid,
        phoneNumber="+1 555 0100",
        emailVerified=True,
        customAttributes='{"role":"admin"}',
        createdAt=1000,
        lastLoginAt="2000",
        validSince=1_900_000_000,
    )
    assert reply.ok["localId"] == uid
    assert "idToken" not in reply.ok
    record = await api.account(uid)
    assert record["phoneNumber"] == "+15550100"
    assert record["customAttributes"] == '{"role":"admin"}'
    assert (record["createdAt"], record["lastLoginAt"], record["validSince"]) == ("1000", "2000", "1900000000")
    assert {info["providerId"] for info in record["providerUserInfo"]} == {"password", "phone"}
    await api.admin("/accounts:update", localId=uid, deleteProvider=["phone"], customAttributes="{}")
    record = await api.account(uid)
    assert "phoneNumber" not in record
    assert "customAttributes" not in record


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"customAttributes": "[]"}, "INVALID_CLAIMS"),
        ({"customAttributes": "{"}, "INVALID_CLAIMS"),
        ({"customAttributes": '{"sub":"x"}'}, "FORBIDDEN_CLAIM : sub"),
        ({"customAttributes": '{"a":"' + "x" * 993 + '"}'}, "CLAIMS_TOO_LARGE"),
        ({"phoneNumber": "5550100"}, "INVALID_PHONE_NUMBER : Invalid format."),
        ({"phoneNumber": "+15550199"}, "PHONE_NUMBER_EXISTS"),
        ({"linkProviderUserInfo": {"providerId": "google.com", "rawId": "g-1"}}, "FEDERATED_USER_ID_ALREADY_LINKED"),
        ({"mfa": {"enrollments": [{"totpInfo": {}}]}}, "NOT_IMPLEMENTED : second factors other than phones"),
    ],
)
async def test_administrator_update_refuses(api: Api, body: dict[str, Any], message: str) -> None:
    """the provider refuses what cannot be stored, and changes nothing then."""
    await api.admin("/accounts", localId="b", phoneNumber="+15550199")
    await api.admin("/accounts:update", localId="b", linkProviderUserInfo={"providerId": "google.com", "rawId": "g-1"})
    uid = (await api.sign_up())["localId"]
    before = await api.account(uid)
    assert (await api.admin("/accounts:update", localId=uid, displayName="changed", **body)).error == message
    assert await api.account(uid) == before


async def test_delete(api: Api) -> None:
    """the provider deletes the caller's account, or any for an administrator, with the kind that Python wants."""
    user = await api.sign_up()
    assert (await api.call("delete")).error == "MISSING_ID_TOKEN"
    assert (await api.call("delete", localId=user["localId"])).error == "MISSING_ID_TOKEN"
    reply = await api.call("delete", idToken=user["idToken"])
    assert reply.ok == {"kind": "identitytoolkit#DeleteAccountResponse"}
    assert (await api.call("lookup", idToken=user["idToken"])).error == "USER_NOT_FOUND"
    other = await api.sign_up("bob@example.com")
    assert (await api.admin("/accounts:delete", localId=other["localId"])).ok["kind"]
    assert (await api.admin("/accounts:delete", localId=other["localId"])).error == "USER_NOT_FOUND"
    assert (await api.admin("/accounts:delete")).error == "MISSING_LOCAL_ID"
    assert (await api.sign_up())["localId"] != user["localId"]


async def test_privileged_call_may_act_with_an_id_token_too(api: Api) -> None:
    """the provider takes an ID token from an administrator as it would from its owner."""
    user = await api.sign_up("bob@example.com", PASSWORD)
    reply = await api.request("POST", "/v1/accounts:lookup", json={"idToken": user["idToken"]}, headers=OWNER)
    assert reply.ok["users"][0]["localId"] == user["localId"]
