"""identity-toolkit.md sections 10.1 and 11: what administrators do."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tests.support.idp import EMAIL, OWNER, PASSWORD, PROJECT, Api, running

CONTROL = f"/emulator/v1/projects/{PROJECT}"


async def test_create_stores_everything(api: Api) -> None:
    """the provider creates an account with all fields that an administrator gives, and no session."""
    reply = await api.admin(
        "/accounts",
        localId="chosen",
        email="Ada@Example.com",
        password=PASSWORD,
        displayName="Ada",
        photoUrl="https://p.test/a.png",
        phoneNumber="+15550100",
        emailVerified=True,
        disabled=False,
    )
    assert reply.ok == {
        "kind": "identitytoolkit#SignupNewUserResponse", "localId": "chosen", "email": EMAIL, "displayName": "Ada",
    }  # fmt: skip
    record = await api.account("chosen")
    assert record["emailVerified"] is True
    assert record["phoneNumber"] == "+15550100"
    assert "lastLoginAt" not in record
    assert (await api.sign_in()).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"localId": "taken"}, "DUPLICATE_LOCAL_ID"),
        ({"localId": ""}, "INVALID_LOCAL_ID : Must be 1 to 128 printable characters"),
        ({"localId": "x" * 129}, "INVALID_LOCAL_ID : Must be 1 to 128 printable characters"),
        ({"email": EMAIL}, "EMAIL_EXISTS"),
        ({"email": "x"}, "INVALID_EMAIL"),
        ({"phoneNumber": "+15550100"}, "PHONE_NUMBER_EXISTS"),
        ({"phoneNumber": "x"}, "INVALID_PHONE_NUMBER : Invalid format."),
        ({"email": "b@example.com", "password": "x"}, "WEAK_PASSWORD : Password should be at least 6 characters"),
        ({"mfaInfo": [{"totpInfo": {}}]}, "NOT_IMPLEMENTED : second factors other than phones"),
    ],
)
async def test_create_refuses_as_documented(api: Api, body: dict[str, Any], message: str) -> None:
    """the provider refuses an account that cannot be stored by the documented names."""
    await api.admin("/accounts", localId="taken", email=EMAIL, phoneNumber="+15550100")
    assert (await api.admin("/accounts", **body)).error == message


async def test_batch_delete(api: Api) -> None:
    """the provider deletes disabled accounts in a batch, enabled ones by force only, and forgives unknown ids."""
    for uid, disabled in (("a", True), ("b", False)):
        await api.admin("/accounts", localId=uid, disabled=disabled)
    reply = await api.admin("/accounts:batchDelete", localIds=["a", "b", "nobody"])
    (error,) = reply.ok["errors"]
    assert (error["index"], error["localId"]) == (1, "b")
    assert error["message"] == "NOT_DISABLED : Disable the account before batch deletion."
    assert (await api.admin("/accounts:batchDelete", localIds=["b"], force=True)).ok == {}
    assert "users" not in (await api.admin("/accounts:lookup", localId=["a", "b"])).ok
    for uids in ([], ["x"] * 1001):
        assert (await api.admin("/accounts:batchDelete", localIds=uids)).error == "LOCAL_ID_LIST_EXCEEDS_LIMIT"


async def test_batch_get_pages_in_the_order_of_ids(api: Api) -> None:
    """the provider hands out accounts page by page, each once, and ends with a page without a token."""
    for number in range(5):
        await api.admin("/accounts", localId=f"u{number}")
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page = (await api.admin(f"/accounts:batchGet?maxResults=2&nextPageToken={token}", "GET")).ok
        seen += [user["localId"] for user in page["users"]]
        token = page.get("nextPageToken", "")
    assert (seen, token) == ([f"u{number}" for number in range(5)], "")


async def test_export_holds_hashes_and_lookup_does_not(api: Api) -> None:
    """the provider gives password hashes away in an export only."""
    uid = (await api.sign_up())["localId"]
    (user,) = (await api.admin("/accounts:batchGet", "GET")).ok["users"]
    exported = base64.urlsafe_b64decode(user["passwordHash"]).decode()
    assert exported.startswith("$argon2id$")
    assert user["salt"] in exported
    assert (await api.account(uid))["passwordHash"] == "UkVEQUNURUQ="


async def test_query_filters_sorts_and_counts(api: Api) -> None:
    """the provider searches accounts, sorts and cuts the answer, and counts all that fit."""
    for number, name in enumerate("cab"):
        await api.admin("/accounts", localId=f"u{number}", displayName=name, email=f"{name}@example.com")
        api.clock.advance(1)

    async def ids(**body: Any) -> list[str]:
        reply = (await api.admin("/accounts:query", **body)).ok
        return [user["localId"] for user in reply["userInfo"]]

    assert await ids() == ["u0", "u1", "u2"]
    assert await ids(sortBy="NAME") == ["u1", "u2", "u0"]
    assert await ids(sortBy="CREATED_AT", order="DESC", limit=2) == ["u2", "u1"]
    assert await ids(offset="1", limit=1) == ["u1"]
    assert await ids(expression=[{"email": "A@example.com"}]) == ["u1"]
    assert await ids(expression=[{"userId": "u2"}]) == ["u2"]
    assert await ids(expression=[{"phoneNumber": "+1"}]) == []
    assert (await api.admin(":queryAccounts", returnUserInfo=False)).ok == {"recordsCount": "3"}


async def test_import_with_foreign_hashes(api: Api) -> None:
    """the provider imports accounts whose passwords then work, and stores argon2id after the first sign-in."""
    salt = b"salt"
    digest = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 1000)
    user = {
        "localId": "imported",
        "email": EMAIL,
        "passwordHash": base64.urlsafe_b64encode(digest).decode(),
        "salt": base64.urlsafe_b64encode(salt).decode(),
        "customAttributes": '{"role":"admin"}',
        "createdAt": "1000",
        "providerUserInfo": [{"providerId": "google.com", "rawId": "g-1"}],
    }
    reply = await api.admin("/accounts:batchCreate", users=[user], hashAlgorithm="PBKDF2_SHA256", rounds=1000)
    assert reply.ok == {"kind": "identitytoolkit#UploadAccountResponse"}
    assert (await api.account("imported"))["createdAt"] == "1000"
    (exported,) = (await api.admin("/accounts:batchGet", "GET")).ok["users"]
    assert (exported["passwordHash"], exported["salt"]) == (user["passwordHash"], user["salt"])
    assert (await api.sign_in(password="wrong")).error == "INVALID_LOGIN_CREDENTIALS"
    session = (await api.sign_in()).ok
    (exported,) = (await api.admin("/accounts:batchGet", "GET")).ok["users"]
    assert base64.urlsafe_b64decode(exported["passwordHash"]).startswith(b"$argon2id$")
    assert (await api.sign_in()).status == 200
    assert (await api.refresh(session["refreshToken"])).status == 200


async def test_import_reports_each_failure(api: Api) -> None:
    """the provider imports what it can, says by index what it could not, and keeps no half of an account."""
    await api.admin("/accounts", localId="taken", email=EMAIL)
    await api.admin("/accounts:update", localId="taken", linkProviderUserInfo={"providerId": "x.test", "rawId": "1"})
    users = [
        {"localId": "good"},
        {"email": "no-id@example.com"},
        {"localId": "taken"},
        {"localId": "same-mail", "email": EMAIL},
        {"localId": "same-link", "providerUserInfo": [{"providerId": "x.test", "rawId": "1"}]},
        {"localId": "bad-claims", "customAttributes": '{"sub":1}'},
        {"localId": "hash", "passwordHash": "AAAA"},
    ]
    errors = (await api.admin("/accounts:batchCreate", users=users)).ok["error"]
    assert [(error["index"], error["message"].split(" : ")[0]) for error in errors] == [
        (1, "localId is missing"),
        (2, "localId belongs to an existing account - can not overwrite."),
        (3, "EMAIL_EXISTS"),
        (4, "FEDERATED_USER_ID_ALREADY_LINKED"),
        (5, "FORBIDDEN_CLAIM"),
        (6, "INVALID_HASH_ALGORITHM"),
    ]
    every = (await api.admin("/accounts:batchGet", "GET")).ok["users"]
    assert [user["localId"] for user in every] == ["good", "taken"]
    overwritten = await api.admin(
        "/accounts:batchCreate", users=[{"localId": "good", "displayName": "x"}], allowOverwrite=True
    )
    assert "error" not in overwritten.ok
    assert (await api.account("good"))["displayName"] == "x"


async def test_import_wants_users_and_a_known_algorithm(api: Api) -> None:
    """the provider refuses an import without users or with hashes it cannot check."""
    assert (await api.admin("/accounts:batchCreate")).error == "MISSING_USER_ACCOUNT"
    users = [{"localId": "a"}]
    reply = await api.admin("/accounts:batchCreate", users=users, hashAlgorithm="BCRYPT")
    assert reply.error == "INVALID_HASH_ALGORITHM : BCRYPT is not supported"
    reply = await api.admin("/accounts:batchCreate", users=users * 1001)
    assert reply.error == "LOCAL_ID_LIST_EXCEEDS_LIMIT"


@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        ("DELETE", "/accounts"),
        ("GET", "/config"),
        ("PATCH", "/config"),
        ("GET", "/oobCodes"),
        ("GET", "/verificationCodes"),
    ],
)
async def test_control_endpoints_want_the_administrator(api: Api, method: str, suffix: str) -> None:
    """the provider keeps the emulator's control endpoints, codes above all, to administrators."""
    assert (await api.request(method, CONTROL + suffix)).status == 401
    assert (await api.request(method, CONTROL + suffix + "?key=k")).status == 400
    assert (await api.request(method, CONTROL + suffix, headers=OWNER)).status == 200


async def test_control_endpoint_deletes_all_accounts(api: Api) -> None:
    """the provider forgets every account, and their sessions are dead."""
    user = await api.sign_up()
    assert (await api.request("DELETE", CONTROL + "/accounts", headers=OWNER)).ok == {}
    assert "users" not in (await api.admin("/accounts:batchGet", "GET")).ok
    assert (await api.refresh(user["refreshToken"])).error == "USER_NOT_FOUND"


async def test_control_endpoint_lists_codes_that_still_work(api: Api) -> None:
    """the provider lists outstanding codes with their links, and no used ones."""
    user = await api.sign_up()
    used = await api.mail_code("VERIFY_EMAIL", idToken=user["idToken"])
    await api.call("update", oobCode=used)
    code = await api.mail_code("VERIFY_AND_CHANGE_EMAIL", idToken=user["idToken"], newEmail="new@example.com")
    (entry,) = (await api.request("GET", CONTROL + "/oobCodes", headers=OWNER)).ok["oobCodes"]
    assert (entry["email"], entry["newEmail"]) == (EMAIL, "new@example.com")
    assert (entry["oobCode"], entry["requestType"]) == (code, "VERIFY_AND_CHANGE_EMAIL")
    assert code in entry["oobLink"]
    assert (await api.request("GET", CONTROL + "/verificationCodes", headers=OWNER)).ok == {"verificationCodes": []}


async def test_control_endpoint_switches_protection() -> None:
    """the provider's e-mail enumeration protection can be switched while it runs; duplicate addresses cannot be had."""
    async with running() as api:
        body: dict[str, Any] = {"emailPrivacyConfig": {"enableImprovedEmailPrivacy": False}}
        changed = (await api.request("PATCH", CONTROL + "/config", json=body, headers=OWNER)).ok
        assert changed == {"signIn": {"allowDuplicateEmails": False}, **body}
        assert (await api.sign_in()).error == "EMAIL_NOT_FOUND"
        body = {"signIn": {"allowDuplicateEmails": True}}
        assert (await api.request("PATCH", CONTROL + "/config", json=body, headers=OWNER)).status == 501
