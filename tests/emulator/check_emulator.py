"""Our functions against the official caller: every way to sign in, refusals, changed fields and claims.

Not collected by ``make test``, because it needs a program of 240 MB; ``make test-emulator`` runs it.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from gateway.blocking import ErrorCode, HttpsError
from tests.emulator.client import PROJECT, TOOLKIT, Emulator
from tests.support.idp import OWNER, claims

GOOGLE = {"sub": "g-1", "email": "ann@example.com", "email_verified": True, "name": "Ann", "picture": "https://p.test/"}


async def test_password(emulator: Emulator) -> None:
    """the kit answers the emulator's events of a sign-up and a sign-in by password."""
    user = (await emulator.sign_up("ann@example.com")).ok
    (created, about), (signed_in, _) = emulator.functions.seen
    assert created.uid == signed_in.uid == user["localId"]
    assert (created.email, created.email_verified, about.ip_address) == ("ann@example.com", False, "127.0.0.1")
    assert about.credential is None
    assert emulator.functions.events() == ["beforeCreate:password", "beforeSignIn:password"]
    await emulator.sign_in("ann@example.com")
    assert emulator.functions.events() == ["beforeSignIn:password"]


async def test_changed_fields(emulator: Emulator) -> None:
    """the kit's answers are stored by the emulator and stand in its tokens."""
    emulator.functions.create = {
        "display_name": "Guest",
        "photo_url": "https://static.test/guest.png",
        "email_verified": True,
        "custom_claims": {"role": "user", "tier": 1},
    }
    user = (await emulator.sign_up("ann@example.com")).ok
    payload = claims(user["idToken"])
    assert (payload["name"], payload["picture"]) == ("Guest", "https://static.test/guest.png")
    assert (payload["email_verified"], payload["role"], payload["tier"]) == (True, "user", 1)
    account = await emulator.account(user["localId"])
    assert json.loads(account["customAttributes"]) == {"role": "user", "tier": 1}
    assert account["displayName"] == "Guest"
    shown = emulator.functions.seen[1][0]
    assert (shown.display_name, shown.email_verified) == ("Guest", True)


async def test_session_claims(emulator: Emulator) -> None:
    """the kit's session claims hide custom ones in the session's tokens, survive a refresh and are not stored."""
    emulator.functions.create = {"custom_claims": {"role": "user"}}
    emulator.functions.sign_in = {"session_claims": {"role": "admin", "signInIpAddress": "203.0.113.9"}}
    user = (await emulator.sign_up("ann@example.com")).ok
    payload = claims(user["idToken"])
    assert (payload["role"], payload["signInIpAddress"]) == ("admin", "203.0.113.9")
    assert json.loads((await emulator.account(user["localId"]))["customAttributes"]) == {"role": "user"}
    assert (await emulator.refresh(user["refreshToken"]))["signInIpAddress"] == "203.0.113.9"
    emulator.functions.sign_in = None
    payload = claims((await emulator.sign_in("ann@example.com")).ok["idToken"])
    assert payload["role"] == "user"
    assert "signInIpAddress" not in payload


@pytest.mark.parametrize("event", ["create", "sign_in"])
async def test_refusal(emulator: Emulator, event: str) -> None:
    """the kit's refusals stop the emulator, which wraps the body of the answer in its error."""
    setattr(emulator.functions, event, HttpsError(ErrorCode.PERMISSION_DENIED, 'Only "staff".', {"ticket": 7}))
    reply = await emulator.sign_up("ann@example.com")
    assert reply.status == 400
    message = reply.body["error"]["message"]
    assert message.startswith("BLOCKING_FUNCTION_ERROR_RESPONSE : ((HTTP request to http://127.0.0.1:")
    body = json.loads(message.partition("returned HTTP error 403: ")[2].removesuffix("))"))
    assert body["error"] == {
        "code": 403,
        "message": 'Only "staff".',
        "status": "PERMISSION_DENIED",
        "details": {"ticket": 7},
    }
    # The emulator stores the account between the two events.
    assert len(await emulator.everybody()) == (0 if event == "create" else 1)


async def test_unexpected_failure(emulator: Emulator) -> None:
    """the kit tells the emulator nothing of an exception that it did not expect."""
    emulator.functions.create = KeyError("secret detail")
    message = (await emulator.sign_up("ann@example.com")).body["error"]["message"]
    assert "returned HTTP error 500" in message
    assert "secret detail" not in message


async def test_disabled_by_a_function(emulator: Emulator) -> None:
    """the kit can have the emulator store an account disabled; nobody gets tokens."""
    emulator.functions.create = {"disabled": True}
    reply = await emulator.sign_up("ann@example.com")
    assert reply.body["error"]["message"] == "USER_DISABLED"
    assert emulator.functions.events() == ["beforeCreate:password"]
    assert [user["disabled"] for user in await emulator.everybody()] == [True]


async def test_identity_provider(emulator: Emulator) -> None:
    """the kit reads profile and forwarded credentials of an identity that the emulator made up."""
    url = await _functions_url(emulator)
    await emulator.register(url, "beforeCreate", "beforeSignIn", idToken=True, accessToken=True, refreshToken=True)
    user = (await emulator.idp("google.com", GOOGLE)).ok
    created, about = emulator.functions.seen[0]
    assert created.email_verified is True
    assert created.provider_data[0].provider_id == "google.com"
    assert about.additional_user_info.profile is not None
    assert about.additional_user_info.is_new_user is True
    assert about.credential is not None
    assert about.credential.access_token == "AT"
    assert json.loads(about.credential.id_token or "")["sub"] == "g-1"
    assert emulator.functions.events() == ["beforeCreate:google.com", "beforeSignIn:google.com"]
    assert claims(user["idToken"])["firebase"]["sign_in_provider"] == "google.com"


async def test_saml(emulator: Emulator) -> None:
    """the kit reads SAML attributes, which the emulator sends as text."""
    assertion = {
        "subject": {"nameId": "ann@example.com"},
        "attributeStatements": {"role": "eng", "groups": ["a", "b"]},
    }
    (await emulator.idp("saml.my-provider-id", {"assertion": assertion})).ok  # noqa: B018 - asserts success
    _, about = emulator.functions.seen[-1]
    assert about.credential is not None
    assert dict(about.credential.claims or {}) == {"role": "eng", "groups": ["a", "b"]}


async def test_email_link(emulator: Emulator) -> None:
    """the kit answers the events of a sign-in by mailed link: the first creates, the second does not."""
    for expected in (["beforeCreate:emailLink", "beforeSignIn:emailLink"], ["beforeSignIn:emailLink"]):
        email = "bob@example.com"
        await emulator.call(
            "sendOobCode",
            requestType="EMAIL_SIGNIN",
            email=email,
            continueUrl="http://localhost/",
            canHandleCodeInApp=True,
        )
        code = (await emulator.codes("oobCodes"))[-1]["oobCode"]
        user = (await emulator.call("signInWithEmailLink", email=email, oobCode=code)).ok
        assert claims(user["idToken"])["email_verified"] is True
        _, about = emulator.functions.seen[-1]
        assert about.additional_user_info.provider_id == "password"
        assert emulator.functions.events() == expected


async def test_phone(emulator: Emulator) -> None:
    """the kit answers the events of a sign-in by phone; the user has a number and no address."""
    sent = (await emulator.call("sendVerificationCode", phoneNumber="+15550100", recaptchaToken="x")).ok
    user = (await emulator.call("signInWithPhoneNumber", sessionInfo=sent["sessionInfo"], code=await emulator.sms())).ok
    created, _ = emulator.functions.seen[0]
    assert (created.phone_number, created.email) == ("+15550100", None)
    assert emulator.functions.events() == ["beforeCreate:phone", "beforeSignIn:phone"]
    assert claims(user["idToken"])["phone_number"] == "+15550100"


async def test_linking(emulator: Emulator) -> None:
    """the kit is asked again when another provider is linked, and not when a password is."""
    user = (await emulator.sign_up("ann@example.com")).ok
    emulator.functions.events()
    emulator.functions.sign_in = {"session_claims": {"linked": True}}
    linked = (await emulator.idp("google.com", {**GOOGLE, "email": "ann@gmail.test"}, idToken=user["idToken"])).ok
    assert emulator.functions.events() == ["beforeSignIn:google.com"]
    assert linked["localId"] == user["localId"]
    assert claims(linked["idToken"])["linked"] is True
    anonymous = (await emulator.call("signUp")).ok
    await emulator.sign_up("carol@example.com", idToken=anonymous["idToken"])
    assert emulator.functions.events() == []


async def test_second_factor(emulator: Emulator) -> None:
    """the kit is asked once, when the second factor was right, and told the factors that are enrolled."""
    user = (await emulator.sign_up("ann@example.com")).ok
    factor = {
        "phoneInfo": "+15550111",
        "displayName": "mine",
        "mfaEnrollmentId": "f1",
        "enrolledAt": "2023-11-14T22:13:20Z",
    }
    changes: dict[str, Any] = {"emailVerified": True, "mfa": {"enrollments": [factor]}}
    await emulator.admin("/accounts:update", localId=user["localId"], **changes)
    emulator.functions.events()
    pending = (await emulator.sign_in("ann@example.com")).ok["mfaPendingCredential"]
    assert emulator.functions.events() == []
    started = (
        await emulator.second(
            "mfaSignIn:start",
            mfaPendingCredential=pending,
            mfaEnrollmentId="f1",
            phoneSignInInfo={"recaptchaToken": "x"},
        )
    ).ok
    answer = {"sessionInfo": started["phoneResponseInfo"]["sessionInfo"], "code": await emulator.sms()}
    emulator.functions.sign_in = {"session_claims": {"strong": True}}
    done = (await emulator.second("mfaSignIn:finalize", mfaPendingCredential=pending, phoneVerificationInfo=answer)).ok
    told, about = emulator.functions.seen[-1]
    assert told.multi_factor is not None
    (enrolled,) = told.multi_factor.enrolled_factors
    assert (enrolled.uid, enrolled.phone_number, enrolled.factor_id) == ("f1", "+15550111", "phone")
    assert enrolled.enrollment_time == dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
    assert about.second_factor == "phone"
    assert emulator.functions.events() == ["beforeSignIn:password"]
    payload = claims(done["idToken"])
    assert (payload["strong"], payload["firebase"]["sign_in_second_factor"]) == (True, "phone")


async def test_tenant(emulator: Emulator) -> None:
    """the kit is told the tenant, in the event and in the record, and its refusal stops a tenant's user too."""
    path = f"{TOOLKIT}/v2/projects/{PROJECT}/tenants"
    wanted = {"displayName": "acme", "allowPasswordSignup": True}
    tenant = (await emulator.request("POST", path, json=wanted, headers=OWNER)).ok["tenantId"]
    user = (await emulator.sign_up("ann@example.com", tenantId=tenant)).ok
    told, about = emulator.functions.seen[0]
    assert (told.tenant_id, about.tenant_id) == (tenant, tenant)
    assert about.resource == f"projects/{PROJECT}/tenants/{tenant}"
    assert claims(user["idToken"])["firebase"]["tenant"] == tenant
    emulator.functions.create = HttpsError(ErrorCode.INVALID_ARGUMENT, "Not here.")
    reply = await emulator.sign_up("bob@example.com", tenantId=tenant)
    assert "Not here." in reply.body["error"]["message"]


async def _functions_url(emulator: Emulator) -> str:
    path = f"{TOOLKIT}/v2/projects/{PROJECT}/config"
    triggers = (await emulator.request("GET", path, headers=OWNER)).ok["blockingFunctions"]["triggers"]
    return str(triggers["beforeCreate"]["functionUri"])
