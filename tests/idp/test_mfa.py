"""identity-toolkit.md section 7: second factors."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.idp import totp
from gateway.idp.mfa import HALF_DONE_LIFETIME, MOST_FACTORS
from tests.support.idp import OWNER, PASSWORD, PROJECT, Api, Reply, claims

NUMBER = "+15550111"


async def second(api: Api, method: str, **body: Any) -> Reply:
    return await api.request("POST", f"/identitytoolkit.googleapis.com/v2/accounts/{method}?key=k", json=body)


async def verified(api: Api) -> dict[str, Any]:
    """Somebody with a password and a verified address."""
    user = await api.sign_up()
    await api.admin("/accounts:update", localId=user["localId"], emailVerified=True)
    return (await api.sign_in()).ok


async def enroll(api: Api, id_token: str, number: str = NUMBER) -> Reply:
    started = await second(api, "mfaEnrollment:start", idToken=id_token, phoneEnrollmentInfo={"phoneNumber": number})
    if started.status != 200:
        return started
    assert api.provider.mailbox.texts()[-1].kind == "MULTI_FACTOR_ENROLLMENT"
    info = {
        "sessionInfo": started.ok["phoneSessionInfo"]["sessionInfo"],
        "code": api.provider.mailbox.texts()[-1].code,
    }
    return await second(api, "mfaEnrollment:finalize", idToken=id_token, displayName="mine", phoneVerificationInfo=info)


async def enroll_app(api: Api, id_token: str) -> tuple[str, Reply]:
    started = (await second(api, "mfaEnrollment:start", idToken=id_token, totpEnrollmentInfo={})).ok["totpSessionInfo"]
    assert (started["verificationCodeLength"], started["periodSec"], started["hashingAlgorithm"]) == (6, 30, "SHA1")
    secret = started["sharedSecretKey"]
    code = totp.code_at(secret, int(api.clock.now()) // 30)
    info = {"sessionInfo": started["sessionInfo"], "verificationCode": code}
    return secret, await second(api, "mfaEnrollment:finalize", idToken=id_token, totpVerificationInfo=info)


async def factor_id(api: Api, uid: str) -> str:
    (factor,) = (await api.account(uid))["mfaInfo"]
    return str(factor["mfaEnrollmentId"])


async def test_enrolling_and_signing_in_with_a_phone(api: Api) -> None:
    """the provider enrolls a phone, asks for it from then on, and says in the tokens that it was used."""
    user = await verified(api)
    done = claims((await enroll(api, user["idToken"])).ok["idToken"])
    uid = done["sub"]
    enrolled = await factor_id(api, uid)
    assert done["firebase"]["sign_in_second_factor"] == "phone"
    assert done["firebase"]["second_factor_identifier"] == enrolled

    first = (await api.sign_in()).ok
    assert "idToken" not in first
    (info,) = first["mfaInfo"]
    assert (info["mfaEnrollmentId"], info["phoneInfo"], info["displayName"]) == (enrolled, "+****0111", "mine")
    assert "unobfuscatedPhoneInfo" not in info
    pending = first["mfaPendingCredential"]
    started = (await second(api, "mfaSignIn:start", mfaPendingCredential=pending, mfaEnrollmentId=enrolled)).ok
    code = api.provider.mailbox.texts()[-1]
    assert (code.to, code.kind) == (NUMBER, "MULTI_FACTOR_SIGN_IN")
    answer = {"sessionInfo": started["phoneResponseInfo"]["sessionInfo"], "code": code.code}
    tokens = (await second(api, "mfaSignIn:finalize", mfaPendingCredential=pending, phoneVerificationInfo=answer)).ok
    assert set(tokens) == {"idToken", "refreshToken"}
    assert claims(tokens["idToken"])["firebase"]["sign_in_second_factor"] == "phone"
    refreshed = claims((await api.refresh(tokens["refreshToken"])).ok["id_token"])
    assert refreshed["firebase"]["second_factor_identifier"] == enrolled
    renewed = (await api.call("update", idToken=tokens["idToken"], password="another horse")).ok
    assert claims(renewed["idToken"])["firebase"]["sign_in_second_factor"] == "phone"


async def test_authenticator_app(api: Api) -> None:
    """the provider enrolls an app by its first code and takes each later code once."""
    user = await verified(api)
    secret, enrolled = await enroll_app(api, user["idToken"])
    assert enrolled.ok["totpAuthInfo"] == {}
    uid = claims(enrolled.ok["idToken"])["sub"]
    record = (await api.account(uid))["mfaInfo"][0]
    assert record["totpInfo"] == {}
    assert secret not in str(await api.account(uid))

    async def sign_in(code: str) -> Reply:
        pending = (await api.sign_in()).ok["mfaPendingCredential"]
        body = {"mfaPendingCredential": pending, "mfaEnrollmentId": record["mfaEnrollmentId"]}
        return await second(api, "mfaSignIn:finalize", **body, totpVerificationInfo={"verificationCode": code})

    code = totp.code_at(secret, int(api.clock.now()) // 30)
    assert (await sign_in(f"{(int(code) + 1) % 10**6:06}")).error == "INVALID_CODE"
    tokens = (await sign_in(code)).ok
    assert claims(tokens["idToken"])["firebase"]["sign_in_second_factor"] == "totp"
    assert (await sign_in(code)).error == "INVALID_CODE"
    api.clock.advance(30)
    assert (await sign_in(totp.code_at(secret, int(api.clock.now()) // 30))).status == 200


async def test_guessing_an_apps_code_ends(api: Api) -> None:
    """the provider takes five guesses for one half-finished sign-in."""
    user = await verified(api)
    secret, enrolled = await enroll_app(api, user["idToken"])
    enrolled_id = await factor_id(api, claims(enrolled.ok["idToken"])["sub"])
    body = {"mfaPendingCredential": (await api.sign_in()).ok["mfaPendingCredential"], "mfaEnrollmentId": enrolled_id}
    right = totp.code_at(secret, int(api.clock.now()) // 30)
    wrong = {"verificationCode": f"{(int(right) + 1) % 10**6:06}"}
    answers = [(await second(api, "mfaSignIn:finalize", **body, totpVerificationInfo=wrong)).error for _ in range(5)]
    assert answers == ["INVALID_CODE"] * 5
    reply = await second(api, "mfaSignIn:finalize", **body, totpVerificationInfo={"verificationCode": right})
    assert reply.error == "TOO_MANY_ATTEMPTS_TRY_LATER"


async def test_withdrawing(api: Api) -> None:
    """the provider asks for no second factor once it was withdrawn."""
    user = await verified(api)
    done = (await enroll(api, user["idToken"])).ok
    enrolled = await factor_id(api, claims(done["idToken"])["sub"])
    reply = await second(api, "mfaEnrollment:withdraw", idToken=done["idToken"], mfaEnrollmentId="other")
    assert reply.error == "MFA_ENROLLMENT_NOT_FOUND"
    reply = await second(api, "mfaEnrollment:withdraw", idToken=done["idToken"], mfaEnrollmentId=enrolled)
    assert "sign_in_second_factor" not in claims(reply.ok["idToken"])["firebase"]
    assert (await api.sign_in()).ok["idToken"]


async def test_withdrawing_is_no_sign_in(api: Api) -> None:
    """the provider does not take the withdrawal of a factor for a recent sign-in."""
    user = await verified(api)
    done = (await enroll(api, user["idToken"])).ok
    before = claims(done["idToken"])
    api.clock.advance(1_800)
    enrolled = await factor_id(api, before["sub"])
    reply = await second(api, "mfaEnrollment:withdraw", idToken=done["idToken"], mfaEnrollmentId=enrolled)
    after = claims(reply.ok["idToken"])
    assert (after["auth_time"], after["iat"]) == (before["auth_time"], before["iat"] + 1_800)
    reply = await api.call("update", idToken=reply.ok["idToken"], password="another horse")
    assert reply.error == "CREDENTIAL_TOO_OLD_LOGIN_AGAIN"


async def test_one_number_is_enrolled_once(api: Api) -> None:
    """the provider enrolls a number once, also when two enrolments of it were under way."""
    user = await verified(api)
    started = []
    for _ in range(2):
        info = {"phoneNumber": NUMBER}
        await second(api, "mfaEnrollment:start", idToken=user["idToken"], phoneEnrollmentInfo=info)
        text = api.provider.mailbox.texts()[-1]
        started.append({"sessionInfo": text.session_info, "code": text.code})
    first, then = started
    assert (await second(api, "mfaEnrollment:finalize", idToken=user["idToken"], phoneVerificationInfo=first)).ok
    reply = await second(api, "mfaEnrollment:finalize", idToken=user["idToken"], phoneVerificationInfo=then)
    assert reply.error.startswith("SECOND_FACTOR_EXISTS : ")


async def test_who_may_enroll(api: Api) -> None:
    """the provider enrolls nothing for unverified addresses, other first factors, and where it is switched off."""
    user = await api.sign_up()
    assert (await enroll(api, user["idToken"])).error.startswith("UNVERIFIED_EMAIL : ")
    anonymous = (await api.call("signUp")).ok
    assert (await enroll(api, anonymous["idToken"])).error.startswith("UNSUPPORTED_FIRST_FACTOR : ")
    config = f"/v2/projects/{PROJECT}/config?updateMask=mfa.state"
    await api.request("PATCH", config, json={"mfa": {"state": "DISABLED"}}, headers=OWNER)
    assert (await enroll(api, user["idToken"])).error.startswith("OPERATION_NOT_ALLOWED : ")


async def test_enrolling_twice_and_too_many(api: Api) -> None:
    """the provider enrolls a number once and five factors at most."""
    user = await verified(api)
    token = user["idToken"]
    for last in range(MOST_FACTORS):
        token = (await enroll(api, token, f"+1555010{last}")).ok["idToken"]
    assert (await enroll(api, token, "+15550100")).error.startswith("SECOND_FACTOR_EXISTS : ")
    assert (await enroll(api, token, "+15550109")).error == "SECOND_FACTOR_LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    "change", [{"password": "another horse"}, {"disableUser": True}, {"validSince": 9_999_999_999}]
)
async def test_half_finished_sign_in_of_a_changed_account(api: Api, change: dict[str, Any]) -> None:
    """the provider finishes no sign-in whose account changed its password, was disabled or revoked meanwhile."""
    user = await verified(api)
    done = (await enroll(api, user["idToken"])).ok
    uid = claims(done["idToken"])["sub"]
    enrolled = await factor_id(api, uid)
    pending = (await api.sign_in()).ok["mfaPendingCredential"]
    started = (await second(api, "mfaSignIn:start", mfaPendingCredential=pending, mfaEnrollmentId=enrolled)).ok
    answer = {
        "sessionInfo": started["phoneResponseInfo"]["sessionInfo"],
        "code": api.provider.mailbox.texts()[-1].code,
    }
    await api.admin("/accounts:update", localId=uid, **change)
    reply = await second(api, "mfaSignIn:finalize", mfaPendingCredential=pending, phoneVerificationInfo=answer)
    assert reply.error == ("USER_DISABLED" if "disableUser" in change else "INVALID_MFA_PENDING_CREDENTIAL")


async def test_half_finished_sign_in_expires_and_is_used_once(api: Api) -> None:
    """the provider forgets a half-finished sign-in after five minutes, and once it was finished."""
    user = await verified(api)
    done = (await enroll(api, user["idToken"])).ok
    enrolled = await factor_id(api, claims(done["idToken"])["sub"])
    pending = (await api.sign_in()).ok["mfaPendingCredential"]
    body = {"mfaPendingCredential": pending, "mfaEnrollmentId": enrolled}
    started = (await second(api, "mfaSignIn:start", **body)).ok
    answer = {
        "sessionInfo": started["phoneResponseInfo"]["sessionInfo"],
        "code": api.provider.mailbox.texts()[-1].code,
    }
    await second(api, "mfaSignIn:finalize", mfaPendingCredential=pending, phoneVerificationInfo=answer)
    assert (await second(api, "mfaSignIn:start", **body)).error == "INVALID_MFA_PENDING_CREDENTIAL"
    body["mfaPendingCredential"] = (await api.sign_in()).ok["mfaPendingCredential"]
    api.clock.advance(HALF_DONE_LIFETIME)
    assert (await second(api, "mfaSignIn:start", **body)).error == "INVALID_MFA_PENDING_CREDENTIAL"


@pytest.mark.parametrize(
    ("method", "body", "name"),
    [
        ("mfaEnrollment:start", {}, "MISSING_ID_TOKEN"),
        ("mfaEnrollment:finalize", {}, "MISSING_ID_TOKEN"),
        ("mfaEnrollment:withdraw", {}, "MISSING_ID_TOKEN"),
        ("mfaSignIn:start", {}, "MISSING_MFA_PENDING_CREDENTIAL"),
        ("mfaSignIn:start", {"mfaPendingCredential": "x"}, "MISSING_MFA_ENROLLMENT_ID"),
        ("mfaSignIn:start", {"mfaPendingCredential": "x", "mfaEnrollmentId": "y"}, "INVALID_MFA_PENDING_CREDENTIAL"),
        ("mfaSignIn:finalize", {}, "MISSING_MFA_PENDING_CREDENTIAL"),
        ("mfaSignIn:finalize", {"mfaPendingCredential": "x"}, "INVALID_MFA_PENDING_CREDENTIAL"),
    ],
)
async def test_what_is_missing_is_named(api: Api, method: str, body: dict[str, Any], name: str) -> None:
    """the provider names what a call lacks."""
    assert (await second(api, method, **body)).error.partition(" : ")[0] == name


async def test_finishing_without_a_code(api: Api) -> None:
    """the provider enrolls nothing and signs nobody in without a code."""
    user = await verified(api)
    reply = await second(api, "mfaEnrollment:start", idToken=user["idToken"])
    assert reply.error.startswith("INVALID_ARGUMENT")
    reply = await second(api, "mfaEnrollment:finalize", idToken=user["idToken"])
    assert reply.error.startswith("MISSING_CREDENTIAL")
    info = {"sessionInfo": "x", "verificationCode": "1"}
    reply = await second(api, "mfaEnrollment:finalize", idToken=user["idToken"], totpVerificationInfo=info)
    assert reply.error == "INVALID_SESSION_INFO"
    await enroll(api, user["idToken"])
    pending = (await api.sign_in(password=PASSWORD)).ok["mfaPendingCredential"]
    reply = await second(api, "mfaSignIn:finalize", mfaPendingCredential=pending)
    assert reply.error.startswith("MISSING_CREDENTIAL")
