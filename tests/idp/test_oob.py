"""identity-toolkit.md sections 6.5, 6.7, 6.8 and 6.11: mailed codes."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.idp import EMAIL, OWNER, PASSWORD, Api, code_in, running


async def test_link_has_what_the_sdk_parses(api: Api) -> None:
    """the provider mails links with mode, code, API key, language and continue URL, and answers without the code."""
    await api.sign_up()
    body = {"requestType": "PASSWORD_RESET", "email": EMAIL, "continueUrl": "http://localhost/done?a=b"}
    reply = await api.request(
        "POST", "/v1/accounts:sendOobCode?key=web-key", json=body, headers={"X-Firebase-Locale": "fr"}
    )
    assert reply.ok == {"kind": "identitytoolkit#GetOobConfirmationCodeResponse", "email": EMAIL}
    (mail,) = api.provider.mailbox
    assert (mail.to, mail.kind, mail.when) == (EMAIL, "PASSWORD_RESET", api.clock.now())
    parts = urlsplit(mail.link)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    code = query.pop("oobCode")
    assert parts.path == "/emulator/action"
    assert query == {
        "mode": "resetPassword", "lang": "fr", "apiKey": "web-key", "continueUrl": "http://localhost/done?a=b",
    }  # fmt: skip
    assert len(code) == 54


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "MISSING_REQ_TYPE"),
        ({"requestType": 0}, "MISSING_REQ_TYPE"),
        ({"requestType": "NONSENSE"}, "NOT_IMPLEMENTED : this request type"),
        ({"requestType": "RECOVER_EMAIL", "email": EMAIL}, "NOT_IMPLEMENTED : this request type"),
        ({"requestType": "PASSWORD_RESET"}, "MISSING_EMAIL"),
        ({"requestType": "PASSWORD_RESET", "email": "x"}, "INVALID_EMAIL"),
        ({"requestType": "PASSWORD_RESET", "email": EMAIL, "returnOobLink": True}, "INSUFFICIENT_PERMISSION"),
        ({"requestType": "VERIFY_EMAIL"}, "MISSING_ID_TOKEN"),
        ({"requestType": "VERIFY_EMAIL", "idToken": "x"}, "INVALID_ID_TOKEN"),
        ({"requestType": "VERIFY_AND_CHANGE_EMAIL"}, "MISSING_NEW_EMAIL"),
        ({"requestType": "EMAIL_SIGNIN"}, "MISSING_EMAIL"),
        (
            {"requestType": "EMAIL_SIGNIN", "email": EMAIL, "linkDomain": "x.example"},
            "INVALID_HOSTING_LINK_DOMAIN : The provided hosting link domain is not configured.",
        ),
    ],
)
async def test_send_code_refuses_as_documented(api: Api, body: dict[str, Any], message: str) -> None:
    """the provider refuses a request for a mail by the documented names, and mails nothing."""
    await api.sign_up()
    assert (await api.call("sendOobCode", **body)).error == message
    assert len(api.provider.mailbox) == 0


@pytest.mark.parametrize(
    "url",
    ["x", "/path", "javascript:alert(1)", "ftp://a.example/", "http://", "http://a\\b", "http://a/\n", "http://["],
)
async def test_continue_url_must_be_absolute(api: Api, url: str) -> None:
    """the provider puts only absolute http and https addresses into a link."""
    reply = await api.call("sendOobCode", requestType="PASSWORD_RESET", email=EMAIL, continueUrl=url)
    assert reply.error.startswith("INVALID_CONTINUE_URI : ")


async def test_unknown_address_is_told_only_without_protection() -> None:
    """the provider mails nothing to an unknown address, and says so only when protection is off."""
    for protected in (True, False):
        async with running(email_enumeration_protection=protected) as api:
            reply = await api.call("sendOobCode", requestType="PASSWORD_RESET", email="who@example.com")
            if protected:
                assert reply.ok["email"] == "who@example.com"
            else:
                assert reply.error == "EMAIL_NOT_FOUND"
            assert len(api.provider.mailbox) == 0


async def test_android_sends_numbers_for_names(api: Api) -> None:
    """the provider takes the number of a request type for its name."""
    await api.mail_code(6, email=EMAIL)  # type: ignore[arg-type]  # as Android does
    assert api.provider.mailbox.latest(EMAIL).kind == "EMAIL_SIGNIN"  # type: ignore[union-attr]  # just sent


async def test_password_reset(api: Api) -> None:
    """the provider shows what a code is for without using it up, then sets the password with it, once."""
    user = await api.sign_up()
    code = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    for _ in range(2):
        looked = (await api.call("resetPassword", oobCode=code)).ok
        assert looked == {
            "kind": "identitytoolkit#ResetPasswordResponse", "requestType": "PASSWORD_RESET", "email": EMAIL,
        }  # fmt: skip
    weak = await api.call("resetPassword", oobCode=code, newPassword="short")
    assert weak.error.startswith("WEAK_PASSWORD : ")
    api.clock.advance(5)
    assert (await api.call("resetPassword", oobCode=code, newPassword="another horse")).ok["email"] == EMAIL
    assert (await api.call("resetPassword", oobCode=code, newPassword="third horse")).error == "INVALID_OOB_CODE"
    record = await api.account(user["localId"])
    assert record["emailVerified"] is True
    assert record["validSince"] == str(int(api.clock.now()))
    assert (await api.sign_in(password="another horse")).status == 200


async def test_password_reset_unlinks_federated_identities(api: Api) -> None:
    """the provider removes federated identities when a password is reset."""
    user = await api.sign_up()
    link = {"providerId": "google.com", "rawId": "g-1"}
    await api.admin("/accounts:update", localId=user["localId"], linkProviderUserInfo=link)
    code = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    await api.call("resetPassword", oobCode=code, newPassword="another horse")
    assert [info["providerId"] for info in (await api.account(user["localId"]))["providerUserInfo"]] == ["password"]


async def test_password_reset_unlocks_a_throttled_account(api: Api) -> None:
    """the provider lets somebody who reset their password sign in at once, however often it was guessed."""
    await api.sign_up()
    for _ in range(21):
        await api.sign_in(password="wrong")
    code = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    await api.call("resetPassword", oobCode=code, newPassword="another horse")
    assert (await api.sign_in(password="another horse")).status == 200


async def test_newer_password_voids_older_reset_codes(api: Api) -> None:
    """the provider forgets outstanding reset codes once the password was changed."""
    await api.sign_up()
    first = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    second = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    await api.call("resetPassword", oobCode=second, newPassword="another horse")
    assert (await api.call("resetPassword", oobCode=first, newPassword="third horse")).error == "INVALID_OOB_CODE"


async def test_reset_code_of_a_deleted_or_renamed_account_is_dead(api: Api) -> None:
    """the provider ties a code to account and address: when either is gone, so is the code."""
    user = await api.sign_up()
    code = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    await api.admin("/accounts:update", localId=user["localId"], email="new@example.com")
    assert (await api.call("resetPassword", oobCode=code, newPassword="another horse")).error == "INVALID_OOB_CODE"
    code = await api.mail_code("PASSWORD_RESET", email="new@example.com")
    await api.admin("/accounts:delete", localId=user["localId"])
    assert (await api.call("resetPassword", oobCode=code)).error == "INVALID_OOB_CODE"


@pytest.mark.parametrize(
    ("request_type", "lifetime"),
    [("PASSWORD_RESET", 3600), ("EMAIL_SIGNIN", 6 * 3600), ("VERIFY_EMAIL", 3 * 24 * 3600)],
)
async def test_codes_expire(api: Api, request_type: str, lifetime: int) -> None:
    """the provider refuses a code from the second on in which its lifetime ends."""
    user = await api.sign_up()
    body = {"idToken": user["idToken"]} if request_type == "VERIFY_EMAIL" else {"email": EMAIL}
    code = await api.mail_code(request_type, **body)
    api.clock.advance(lifetime - 1)
    assert (await api.call("resetPassword", oobCode=code)).ok["requestType"] == request_type
    api.clock.advance(1)
    assert (await api.call("resetPassword", oobCode=code)).error == "EXPIRED_OOB_CODE"


async def test_sign_in_code_shows_no_address(api: Api) -> None:
    """the provider does not say whom a sign-in link is for."""
    code = await api.mail_code("EMAIL_SIGNIN", email=EMAIL)
    assert "email" not in (await api.call("resetPassword", oobCode=code)).ok


async def test_email_verification(api: Api) -> None:
    """the provider marks the address verified when the code comes back, once, and ends no session for it."""
    user = await api.sign_up()
    code = await api.mail_code("VERIFY_EMAIL", idToken=user["idToken"])
    body = (await api.call("update", oobCode=code)).ok
    assert (body["localId"], body["email"], body["emailVerified"]) == (user["localId"], EMAIL, True)
    assert (await api.call("update", oobCode=code)).error == "INVALID_OOB_CODE"
    assert (await api.refresh(user["refreshToken"])).status == 200


async def test_verify_before_change(api: Api) -> None:
    """the provider changes the address when the new one proved itself, and tells the old one how to undo it."""
    user = await api.sign_up()
    code = await api.mail_code("VERIFY_AND_CHANGE_EMAIL", idToken=user["idToken"], newEmail="New@example.com")
    assert api.provider.mailbox.latest("new@example.com") is not None
    looked = (await api.call("resetPassword", oobCode=code)).ok
    assert (looked["email"], looked["newEmail"]) == (EMAIL, "new@example.com")
    api.clock.advance(5)
    assert (await api.call("update", oobCode=code)).ok["email"] == "new@example.com"
    assert (await api.refresh(user["refreshToken"])).error == "TOKEN_EXPIRED"
    mail = api.provider.mailbox.latest(EMAIL)
    assert mail is not None
    recovered = (await api.call("update", oobCode=code_in(mail.link))).ok
    assert (recovered["email"], recovered["emailVerified"]) == (EMAIL, True)
    assert (await api.sign_in()).status == 200


async def test_verify_before_change_to_a_taken_address_is_refused(api: Api) -> None:
    """the provider changes no address to one that belongs, or by then belongs, to somebody else."""
    user = await api.sign_up()
    await api.sign_up("bob@example.com")
    kind, id_token = "VERIFY_AND_CHANGE_EMAIL", user["idToken"]
    taken = await api.call("sendOobCode", requestType=kind, idToken=id_token, newEmail="bob@example.com")
    assert taken.error == "EMAIL_EXISTS"
    code = await api.mail_code(kind, idToken=id_token, newEmail="carol@example.com")
    await api.sign_up("carol@example.com")
    assert (await api.call("update", oobCode=code)).error == "EMAIL_EXISTS"


async def test_code_of_another_kind_is_refused(api: Api) -> None:
    """the provider uses a code for nothing but its purpose."""
    user = await api.sign_up()
    verify = await api.mail_code("VERIFY_EMAIL", idToken=user["idToken"])
    reset = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    assert (await api.call("resetPassword", oobCode=verify, newPassword=PASSWORD)).error == "INVALID_OOB_CODE"
    assert (await api.call("update", oobCode=reset)).error == "INVALID_OOB_CODE"
    assert (await api.call("resetPassword")).error == "MISSING_OOB_CODE"


@pytest.mark.parametrize("request_type", ["PASSWORD_RESET", "VERIFY_EMAIL", "EMAIL_SIGNIN", "VERIFY_AND_CHANGE_EMAIL"])
async def test_administrator_gets_the_link_instead_of_a_mail(api: Api, request_type: str) -> None:
    """the provider hands an administrator the link and mails nobody."""
    await api.sign_up()
    body = {"requestType": request_type, "email": EMAIL, "newEmail": "new@example.com", "returnOobLink": True}
    reply = await api.admin("/accounts:sendOobCode", **body)
    assert code_in(reply.ok["oobLink"]) == reply.ok["oobCode"]
    assert len(api.provider.mailbox) == 0
    assert (await api.call("resetPassword", oobCode=reply.ok["oobCode"])).ok["requestType"] == request_type


async def test_administrator_is_told_of_unknown_addresses(api: Api) -> None:
    """the provider tells an administrator that an address is unknown, protection or not."""
    for request_type, message in (("PASSWORD_RESET", "EMAIL_NOT_FOUND"), ("VERIFY_EMAIL", "USER_NOT_FOUND")):
        body = {"requestType": request_type, "email": "who@example.com", "returnOobLink": True}
        assert (await api.admin("/accounts:sendOobCode", **body)).error == message


async def test_sign_in_methods_are_told_without_protection_only() -> None:
    """the provider lists an address's sign-in methods only when protection is off."""
    query = {"identifier": EMAIL, "continueUri": "http://localhost/"}
    async with running() as api:
        await api.sign_up()
        assert set((await api.call("createAuthUri", **query)).ok) == {"kind", "sessionId"}
    async with running(email_enumeration_protection=False) as api:
        unknown = (await api.call("createAuthUri", **query)).ok
        assert (unknown["registered"], unknown["signinMethods"]) == (False, [])
        await api.sign_up()
        code = await api.mail_code("EMAIL_SIGNIN", email=EMAIL)
        await api.call("signInWithEmailLink", email=EMAIL, oobCode=code)
        known = (await api.call("createAuthUri", **query)).ok
        assert known["registered"] is True
        assert known["signinMethods"] == ["password", "emailLink"]
        assert known["allProviders"] == ["password"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "MISSING_IDENTIFIER"),
        ({"identifier": EMAIL}, "MISSING_CONTINUE_URI"),
        ({"identifier": "x", "continueUri": "http://localhost/"}, "INVALID_IDENTIFIER"),
        ({"providerId": "google.com"}, "NOT_IMPLEMENTED : federated sign-in"),
    ],
)
async def test_create_auth_uri_refuses_as_documented(api: Api, body: dict[str, str], message: str) -> None:
    """the provider refuses a question about an address by the documented names."""
    assert (await api.call("createAuthUri", **body)).error == message


async def test_privileged_mail_without_link_is_mailed(api: Api) -> None:
    """the provider mails the link when an administrator does not ask to get it."""
    await api.sign_up()
    body = {"requestType": "VERIFY_EMAIL", "email": EMAIL}
    reply = await api.request("POST", "/v1/accounts:sendOobCode", json=body, headers=OWNER)
    assert "oobLink" not in reply.ok
    assert api.provider.mailbox.latest(EMAIL) is not None
