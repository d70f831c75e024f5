"""Credentials of other providers and messages: scenarios 4.9 and 4.10 of blocking-functions.md, the whole chain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.blocking import BlockingFunctions, EventContext, User
from tests.support.chain import chain
from tests.support.idp import EMAIL

GOOGLE = {"sub": "g-1", "email": "ann@example.com", "email_verified": True}
RETURNED = {"access_token": "AT", "refresh_token": "RT", "expires_in": "3599"}


class TokenStore:
    """Keeps refresh tokens of Google, then does something that fails; that must not matter."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, str, str]] = []
        self.followed: list[tuple[str | None, str]] = []
        self.done = asyncio.Event()

    def __call__(self, kit: BlockingFunctions) -> None:
        @kit.before_create
        def create(user: User, context: EventContext) -> None:
            credential = context.credential
            if credential is None or credential.provider_id != "google.com" or not credential.refresh_token:
                return
            self.stored.append((user.uid, credential.refresh_token, credential.provider_id))
            context.defer(self.follow, credential.access_token, credential.refresh_token)

    async def follow(self, access: str | None, refresh: str) -> None:
        self.followed.append((access, refresh))
        self.done.set()
        raise ConnectionError("the calendar is closed")


async def test_4_9_refresh_token_is_stored() -> None:
    """the provider forwards the tokens that the flags allow, and a failing follow-up does not fail the sign-up."""
    store = TokenStore()
    async with chain(store, "beforeCreate", forward={"accessToken": True, "refreshToken": True}) as api:
        user = (await api.idp("google.com", GOOGLE, returned=RETURNED)).ok
        assert store.stored == [(user["localId"], "RT", "google.com")]
        await asyncio.wait_for(store.done.wait(), 10)
        assert store.followed == [("AT", "RT")]


@pytest.mark.parametrize(
    ("provider", "forward", "returned"),
    [
        ("google.com", {"accessToken": True}, RETURNED),
        ("google.com", {"refreshToken": True}, None),
        ("facebook.com", {"accessToken": True, "refreshToken": True}, RETURNED),
    ],
    ids=["flag is off", "the client held the credential", "the provider has none"],
)
async def test_4_9_nothing_to_store(provider: str, forward: dict[str, bool], returned: dict[str, str] | None) -> None:
    """the provider forwards no refresh token without the flag, without a flow, or of a provider that has none."""
    store = TokenStore()
    async with chain(store, "beforeCreate", forward=forward) as api:
        assert (await api.idp(provider, GOOGLE, returned=returned)).ok["isNewUser"] is True
        assert store.stored == []
        await api.sign_up(EMAIL)
        assert store.stored == []


def decide_by_rules(kit: BlockingFunctions) -> None:
    @kit.before_sms
    def decide(context: EventContext) -> dict[str, Any]:
        info = context.additional_user_info
        number = info.phone_number or ""
        trusted = context.sms_type == "SIGN_IN_OR_SIGN_UP" and number.startswith("+91")
        allowed = trusted or (info.recaptcha_score or 0.0) > 0.5
        return {"recaptchaActionOverride": "ALLOW" if allowed else "BLOCK"}


@pytest.mark.parametrize(
    ("number", "score", "sent"),
    [
        ("+911234567890", "score:0.1", True),
        ("+15550100", "score:0.9", True),
        ("+15550100", "score:0.5", False),
        ("+15550100", None, False),
    ],
)
async def test_4_10_sms_by_rules(number: str, score: str | None, sent: bool) -> None:
    """the provider texts where the function says ALLOW, against its own verdict too, and not where it says BLOCK."""
    async with chain(decide_by_rules, "beforeSendSms") as api:
        reply = await api.call("sendVerificationCode", phoneNumber=number, recaptchaToken=score)
        assert (reply.status == 200) is sent
        assert len(api.provider.mailbox.texts()) == int(sent)
        if not sent:
            assert reply.error == "RECAPTCHA_SCORE_TOO_LOW"


async def test_4_10_second_factor_needs_a_score() -> None:
    """the provider texts no code of a second factor to a number that only first factors may use without a score."""
    async with chain(decide_by_rules, "beforeSendSms") as api:
        user = await api.sign_up()
        factor = {"phoneInfo": "+911234567890", "mfaEnrollmentId": "f1"}
        changes = {"emailVerified": True, "mfa": {"enrollments": [factor]}}
        await api.admin("/accounts:update", localId=user["localId"], **changes)
        pending = (await api.sign_in()).ok["mfaPendingCredential"]
        asked = {"mfaPendingCredential": pending, "mfaEnrollmentId": "f1"}
        reply = await api.second("mfaSignIn:start", **asked, phoneSignInInfo={"recaptchaToken": "score:0.2"})
        assert reply.error == "RECAPTCHA_SCORE_TOO_LOW"
        reply = await api.second("mfaSignIn:start", **asked, phoneSignInInfo={"recaptchaToken": "score:0.9"})
        assert reply.ok["phoneResponseInfo"]["sessionInfo"]


async def test_own_verdict_stands_without_a_word() -> None:
    """the provider refuses a bad score and texts on a good one where the function says nothing."""

    def silent(kit: BlockingFunctions) -> None:
        @kit.before_sms
        def nothing(context: EventContext) -> None:
            return None

    async with chain(silent, "beforeSendSms") as api:
        reply = await api.call("sendVerificationCode", phoneNumber="+15550100", recaptchaToken="score:0.4")
        assert reply.error == "RECAPTCHA_SCORE_TOO_LOW"
        assert (await api.call("sendVerificationCode", phoneNumber="+15550100")).status == 200
