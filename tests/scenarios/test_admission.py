"""Who gets an account and who gets in: scenarios 4.1 to 4.4 of blocking-functions.md, through the whole chain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.blocking import BlockingFunctions, ErrorCode, EventContext, HttpsError, User
from tests.support.chain import chain, claims
from tests.support.idp import PASSWORD

REFUSED = "BLOCKING_FUNCTION_ERROR_RESPONSE : HTTP Cloud Function returned an error. "


def allow_list(kit: BlockingFunctions) -> None:
    @kit.before_create
    def only_example(user: User, context: EventContext) -> None:
        domain = (user.email or "").rpartition("@")[2].lower()
        if domain != "example.com":
            raise HttpsError(ErrorCode.INVALID_ARGUMENT, f'Unauthorized email "{user.email or "(none)"}"')


@pytest.mark.parametrize("email", ["ann@example.com", "Ann@EXAMPLE.COM"])
async def test_4_1_allowed_domain(email: str) -> None:
    """the provider creates an account of the allowed domain, however it is written."""
    async with chain(allow_list, "beforeCreate") as api:
        user = await api.sign_up(email)
        assert claims(user["idToken"])["email"] == email.lower()


@pytest.mark.parametrize("email", ["bob@evil.test", "x@example.com.evil.test", "x@notexample.com"])
async def test_4_1_other_domain(email: str) -> None:
    """the provider refuses another domain, look-alikes included, with the function's words, and stores nothing."""
    async with chain(allow_list, "beforeCreate") as api:
        reply = await api.call("signUp", email=email, password=PASSWORD)
        assert reply.status == 400
        assert reply.error == (
            REFUSED + f'Code: 400, Status: "INVALID_ARGUMENT", Message: "Unauthorized email "{email}""'
        )
        assert await api.everybody() == []


async def test_4_1_phone_user_without_email() -> None:
    """the provider refuses a phone user where an address is demanded, in neutral words, and stores nothing."""
    async with chain(allow_list, "beforeCreate") as api:
        reply = await api.phone("+15550100")
        assert reply.error == (
            REFUSED + 'Code: 400, Status: "INVALID_ARGUMENT", Message: "Unauthorized email "(none)""'
        )
        assert await api.everybody() == []


def verified_only(kit: BlockingFunctions) -> None:
    @kit.before_create
    def check(user: User, context: EventContext) -> None:
        if user.email and not user.email_verified:
            raise HttpsError(ErrorCode.INVALID_ARGUMENT, f'Unverified email "{user.email}"')


async def test_4_2_unverified_address() -> None:
    """the provider refuses every sign-up by password where the address has to be verified already."""
    async with chain(verified_only, "beforeCreate") as api:
        reply = await api.call("signUp", email="ann@example.com", password=PASSWORD)
        assert 'Unverified email "ann@example.com"' in reply.error
        assert await api.everybody() == []
        reply = await api.idp("google.com", {"sub": "g-2", "email": "eve@example.com", "email_verified": False})
        assert "Unverified email" in reply.error
        assert await api.everybody() == []


async def test_4_2_verified_address() -> None:
    """the provider creates accounts whose address Google or a mailed link vouches for, and those that have none."""
    async with chain(verified_only, "beforeCreate") as api:
        google = {"sub": "g-1", "email": "ann@example.com", "email_verified": True, "name": "Ann"}
        user = (await api.idp("google.com", google)).ok
        payload = claims(user["idToken"])
        assert payload["email_verified"] is True
        assert payload["firebase"] == {
            "identities": {"email": ["ann@example.com"], "google.com": ["g-1"]},
            "sign_in_provider": "google.com",
        }
        assert (await api.phone("+15550100")).ok["isNewUser"] is True
        assert (await api.link("bob@example.com")).ok["isNewUser"] is True
        assert len(await api.everybody()) == 3


class Verification:
    """Asks for the verification mail once the account is stored, and lets nobody in before the link was used."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.done = asyncio.Event()

    def __call__(self, kit: BlockingFunctions) -> None:
        @kit.before_create
        def create(user: User, context: EventContext) -> None:
            if user.email and not user.email_verified:
                context.defer(self.ask, user.email, context.locale)

        @kit.before_sign_in
        def sign_in(user: User, context: EventContext) -> None:
            if user.email and not user.email_verified:
                raise HttpsError(
                    ErrorCode.INVALID_ARGUMENT, f'"{user.email}" needs to be verified before access is granted.'
                )

    async def ask(self, email: str, locale: str | None) -> None:
        self.asked.append((email, locale))
        self.done.set()


async def test_4_3_verification_at_registration() -> None:
    """the provider keeps the account and issues no tokens until the link from the mail was used."""
    verification = Verification()
    async with chain(verification, "beforeCreate", "beforeSignIn") as api:
        body = {"email": "ann@example.com", "password": PASSWORD}
        headers = {"X-Firebase-Locale": "fr"}
        reply = await api.request("POST", "/v1/accounts:signUp?key=k", json=body, headers=headers)
        assert 'Code: 400, Status: "INVALID_ARGUMENT"' in reply.error
        assert "needs to be verified before access is granted." in reply.error
        (account,) = await api.found("ann@example.com")
        assert account["emailVerified"] is False
        await asyncio.wait_for(verification.done.wait(), 10)
        assert verification.asked == [("ann@example.com", "fr")]
        assert (await api.sign_in("ann@example.com")).status == 400
        made = (
            await api.admin(
                "/accounts:sendOobCode", requestType="VERIFY_EMAIL", email=body["email"], returnOobLink=True
            )
        ).ok
        (await api.call("update", oobCode=made["oobCode"])).ok  # noqa: B018 - asserts success
        user = (await api.sign_in("ann@example.com")).ok
        assert claims(user["idToken"])["email_verified"] is True


async def test_4_3_verified_by_another_provider() -> None:
    """the provider lets somebody in at once whose address another provider verified, and no mail is asked for."""
    verification = Verification()
    async with chain(verification, "beforeCreate", "beforeSignIn") as api:
        google = {"sub": "g-1", "email": "ann@example.com", "email_verified": True}
        assert (await api.idp("google.com", google)).ok["isNewUser"] is True
        assert verification.asked == []


class Trusted:
    """Takes Facebook's addresses as verified; keeps what the sign-in event showed."""

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def __call__(self, kit: BlockingFunctions) -> None:
        @kit.before_create
        def create(user: User, context: EventContext) -> dict[str, Any] | None:
            if user.email and not user.email_verified and context.additional_user_info.provider_id == "facebook.com":
                return {"emailVerified": True}
            return None

        @kit.before_sign_in
        def sign_in(user: User, context: EventContext) -> None:
            self.seen.append(user.email_verified)


@pytest.mark.parametrize(("provider", "verified"), [("facebook.com", True), ("github.com", False)])
async def test_4_4_trusted_provider(provider: str, verified: bool) -> None:
    """the provider stores an address as verified where the function trusts the other provider, and only there."""
    trusted = Trusted()
    async with chain(trusted, "beforeCreate", "beforeSignIn") as api:
        user = (await api.idp(provider, {"sub": "f-1", "email": "ann@example.com"})).ok
        assert claims(user["idToken"])["email_verified"] is verified
        assert trusted.seen == [verified]
        assert (await api.account(user["localId"]))["emailVerified"] is verified
