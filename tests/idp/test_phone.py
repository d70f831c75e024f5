"""identity-toolkit.md section 6.10: signing in with a phone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.idp import Api, claims, running

NUMBER = "+15550100"


async def text(api: Api, number: str = NUMBER, **body: Any) -> dict[str, str]:
    """Have a code texted; the answer is what signs in with it."""
    sent = (await api.call("sendVerificationCode", phoneNumber=number, **body)).ok
    return {"sessionInfo": sent["sessionInfo"], "code": api.provider.mailbox.texts()[-1].code}


async def test_first_and_second_sign_in(api: Api) -> None:
    """the provider creates an account for a new number and finds it again."""
    first = (await api.call("signInWithPhoneNumber", **await text(api))).ok
    assert (first["isNewUser"], first["phoneNumber"]) == (True, NUMBER)
    payload = claims(first["idToken"])
    assert payload["phone_number"] == NUMBER
    assert payload["firebase"] == {"identities": {"phone": [NUMBER]}, "sign_in_provider": "phone"}
    second = (await api.call("signInWithPhoneNumber", **await text(api))).ok
    assert (second["isNewUser"], second["localId"]) == (False, first["localId"])


async def test_codes_are_listed_for_administrators(api: Api) -> None:
    """the provider lists codes that still work, as the emulator does."""
    sent = await text(api)
    path = "/emulator/v1/projects/demo-idp/verificationCodes"
    listed = (await api.request("GET", path, headers={"Authorization": "Bearer owner"})).ok["verificationCodes"]
    assert listed == [{"phoneNumber": NUMBER, **sent}]
    await api.call("signInWithPhoneNumber", **sent)
    listed = (await api.request("GET", path, headers={"Authorization": "Bearer owner"})).ok["verificationCodes"]
    assert listed == []


async def test_linking(api: Api) -> None:
    """the provider gives a signed-in account a free number."""
    user = await api.sign_up()
    linked = (await api.call("signInWithPhoneNumber", **await text(api), idToken=user["idToken"])).ok
    assert linked["localId"] == user["localId"]
    assert claims(linked["idToken"])["firebase"]["identities"] == {"email": ["ada@example.com"], "phone": [NUMBER]}


async def test_a_number_of_somebody_else(api: Api) -> None:
    """the provider hands out a proof instead of a number that has an owner, and the proof does not move it either."""
    owner = (await api.call("signInWithPhoneNumber", **await text(api))).ok
    user = await api.sign_up()
    proof = (await api.call("signInWithPhoneNumber", **await text(api), idToken=user["idToken"])).ok
    assert set(proof) == {"temporaryProof", "temporaryProofExpiresIn", "phoneNumber"}
    proved = {"temporaryProof": proof["temporaryProof"], "phoneNumber": NUMBER}
    reply = await api.call("signInWithPhoneNumber", **proved, idToken=user["idToken"])
    assert reply.error == "PHONE_NUMBER_EXISTS"
    assert (await api.call("signInWithPhoneNumber", **proved)).ok["localId"] == owner["localId"]
    wrong = {**proved, "phoneNumber": "+15550199"}
    assert (await api.call("signInWithPhoneNumber", **wrong)).error == "INVALID_TEMPORARY_PROOF"


async def test_refusals(api: Api) -> None:
    """the provider refuses what is no number, unknown codes, and somebody new where only known ones are asked for."""
    reply = await api.call("sendVerificationCode")
    assert reply.error == "INVALID_PHONE_NUMBER : Invalid format."
    assert (await api.call("signInWithPhoneNumber", code="1")).error == "MISSING_SESSION_INFO"
    sent = await text(api)
    assert (await api.call("signInWithPhoneNumber", **{**sent, "code": "x"})).error == "INVALID_CODE"
    assert (await api.call("signInWithPhoneNumber", **sent, operation="REAUTH")).error == "USER_NOT_FOUND"


async def test_disabled(api: Api) -> None:
    """the provider refuses a disabled account before any function is asked."""
    user = (await api.call("signInWithPhoneNumber", **await text(api))).ok
    await api.admin("/accounts:update", localId=user["localId"], disableUser=True)
    assert (await api.call("signInWithPhoneNumber", **await text(api))).error == "USER_DISABLED"


async def test_nobody_new(api: Api) -> None:
    """the provider creates no account where signing up is switched off."""
    async with running(sign_up=False) as closed:
        reply = await closed.call("signInWithPhoneNumber", **await text(closed))
        assert reply.error == "ADMIN_ONLY_OPERATION"


@pytest.mark.parametrize("method", ["sendVerificationCode", "signInWithPhoneNumber"])
async def test_number_of_an_account_with_a_second_factor(api: Api, method: str) -> None:
    """the provider lets no number be the first factor of an account that has a second one."""
    factor = {"phoneInfo": "+15550111"}
    sent = await text(api)
    await api.admin("/accounts", localId="b", phoneNumber=NUMBER, mfaInfo=[factor])
    body = sent if method == "signInWithPhoneNumber" else {"phoneNumber": NUMBER}
    assert (await api.call(method, **body)).error.startswith("UNSUPPORTED_FIRST_FACTOR : ")
