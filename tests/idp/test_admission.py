"""blocking-functions.md sections 3.1, 3.2 and 3.9: order, storing, second factors, reCAPTCHA."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlencode

import jwt
import pytest

from gateway.idp import FunctionSettings
from tests.support.idp import EMAIL, PASSWORD, Api, claims, running


class Functions:
    """Both functions in process; keeps the events, answers what it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.events: list[Mapping[str, Any]] = []
        self.found: list[int] = []
        self.api: Api | None = None

    async def __call__(self, event: Mapping[str, Any]) -> Any:
        self.events.append(event)
        if self.api is not None:
            self.found.append(
                len((await self.api.admin("/accounts:lookup", localId=[event["sub"]])).ok.get("users", []))
            )
        answer = self.answers.get(event["event_type"], {})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def names(self) -> list[str]:
        """The events since the last look."""
        names = [f"{event['event_type']}:{event['sign_in_method']}" for event in self.events]
        self.events.clear()
        return names

    @property
    def hooks(self) -> dict[str, Any]:
        return {"before_create": self, "before_sign_in": self}


class No(Exception):
    http_status = 403
    status = "PERMISSION_DENIED"
    message = "no"


async def phone(api: Api, **body: Any) -> dict[str, Any]:
    sent = (await api.call("sendVerificationCode", phoneNumber="+15550100")).ok
    code = api.provider.mailbox.texts()[-1].code
    return (await api.call("signInWithPhoneNumber", sessionInfo=sent["sessionInfo"], code=code, **body)).ok


async def google(api: Api, **body: Any) -> dict[str, Any]:
    identity = {"sub": "g-1", "email": "gail@example.com", "email_verified": True}
    post = urlencode({"providerId": "google.com", "id_token": json.dumps(identity)})
    return (await api.call("signInWithIdp", requestUri="http://localhost", postBody=post, **body)).ok


async def test_what_fires_when() -> None:
    """the provider asks about new and known people, about linking a provider or phone, and not a password."""
    functions = Functions()
    async with running(hooks=functions.hooks) as api:
        await phone(api)
        assert functions.names() == ["beforeCreate:phone", "beforeSignIn:phone"]
        await phone(api)
        assert functions.names() == ["beforeSignIn:phone"]
        await google(api)
        assert functions.names() == ["beforeCreate:google.com", "beforeSignIn:google.com"]
        await google(api)
        assert functions.names() == ["beforeSignIn:google.com"]
    async with running(hooks=functions.hooks) as api:
        user = (await api.call("signUp")).ok
        assert functions.names() == []
        linked = await google(api, idToken=user["idToken"])
        (event,) = functions.events
        # The record shows what this very operation adds.
        assert event["user_record"]["provider_data"][0]["provider_id"] == "google.com"
        assert functions.names() == ["beforeSignIn:google.com"]
        linked = await phone(api, idToken=linked["idToken"])
        assert functions.names() == ["beforeSignIn:phone"]
        await api.call("signUp", idToken=linked["idToken"], email="x@example.com", password=PASSWORD)
        assert functions.names() == []


async def test_linking_replaces_session_claims() -> None:
    """the provider gives a linked session the claims of its new sign-in event."""
    functions = Functions()
    async with running(hooks=functions.hooks) as api:
        functions.answers["beforeSignIn"] = {"userRecord": {"sessionClaims": {"a": 1}, "updateMask": "sessionClaims"}}
        user = await api.sign_up()
        assert claims(user["idToken"])["a"] == 1
        functions.answers["beforeSignIn"] = {"userRecord": {"sessionClaims": {"b": 2}, "updateMask": "sessionClaims"}}
        payload = claims((await google(api, idToken=user["idToken"]))["idToken"])
        assert (payload.get("a"), payload["b"]) == (None, 2)


async def test_refused_linking_changes_nothing() -> None:
    """the provider links nothing when the function refuses."""
    functions = Functions()
    async with running(hooks=functions.hooks) as api:
        user = await api.sign_up()
        functions.answers["beforeSignIn"] = No()
        post = urlencode({"providerId": "github.com", "id_token": '{"sub":"h-1"}'})
        body = {"requestUri": "http://localhost", "postBody": post, "idToken": user["idToken"]}
        assert "PERMISSION_DENIED" in (await api.call("signInWithIdp", **body)).error
        (entry,) = (await api.account(user["localId"]))["providerUserInfo"]
        assert entry["providerId"] == "password"


@pytest.mark.parametrize(
    ("when", "found", "left"), [("after_before_create", [0, 1], 1), ("after_before_sign_in", [0, 0], 0)]
)
async def test_when_new_accounts_are_stored(
    when: Literal["after_before_create", "after_before_sign_in"], found: list[int], left: int
) -> None:
    """the provider stores a new account after the first event, or once both agreed, as it is set."""
    functions = Functions()
    async with running(hooks=functions.hooks, functions=FunctionSettings(commit_new_user=when)) as api:
        functions.api = api
        functions.answers["beforeSignIn"] = No()
        assert (await api.call("signUp", email=EMAIL, password=PASSWORD)).status == 400
        assert functions.found == found
        assert len((await api.admin("/accounts:lookup", email=[EMAIL])).ok.get("users", [])) == left
        functions.answers.clear()
        if not left:
            user = await api.sign_up()
            assert (await api.account(user["localId"]))["email"] == EMAIL


async def test_second_factor_is_asked_before_the_function() -> None:
    """the provider asks beforeSignIn once, at the second factor, without repeating what another provider said."""
    functions = Functions()
    async with running(hooks=functions.hooks) as api:
        user = await google(api)
        await api.admin("/accounts:update", localId=user["localId"], mfa={"enrollments": [{"phoneInfo": "+15550111"}]})
        functions.names()
        pending = (await google(api))["mfaPendingCredential"]
        assert functions.events == []
        (factor,) = (await api.account(user["localId"]))["mfaInfo"]
        path = "/v2/accounts/mfaSignIn:{}?key=k"
        body = {"mfaPendingCredential": pending, "mfaEnrollmentId": factor["mfaEnrollmentId"]}
        started = (await api.request("POST", path.format("start"), json=body)).ok
        answer = {
            "sessionInfo": started["phoneResponseInfo"]["sessionInfo"],
            "code": api.provider.mailbox.texts()[-1].code,
        }
        done = await api.request("POST", path.format("finalize"), json={**body, "phoneVerificationInfo": answer})
        (event,) = functions.events
        assert (event["sign_in_method"], event["sign_in_second_factor"]) == ("google.com", "phone")
        assert "raw_user_info" not in event
        assert claims(done.ok["idToken"])["firebase"]["sign_in_provider"] == "google.com"


LOW = "score:0.1"


@pytest.mark.parametrize(
    ("create", "sign_in", "admitted"),
    [
        (None, None, False),
        ("ALLOW", None, True),
        (None, "ALLOW", True),
        ("BLOCK", "ALLOW", False),
        ("ALLOW", "BLOCK", False),
    ],
)
async def test_recaptcha_at_sign_up(create: str | None, sign_in: str | None, admitted: bool) -> None:
    """the provider lets a bad score pass only by a function's word, and then stores nothing before that was heard."""
    functions = Functions()
    for event, word in (("beforeCreate", create), ("beforeSignIn", sign_in)):
        if word is not None:
            functions.answers[event] = {"recaptchaActionOverride": word}
    async with running(hooks=functions.hooks) as api:
        reply = await api.call("signUp", email=EMAIL, password=PASSWORD, captchaResponse=LOW)
        assert (reply.status == 200) is admitted
        assert functions.events[0]["recaptcha_score"] == 0.1
        if not admitted:
            assert reply.error == "RECAPTCHA_SCORE_TOO_LOW"
        if create is None:
            assert len((await api.admin("/accounts:lookup", email=[EMAIL])).ok.get("users", [])) == int(admitted)


@pytest.mark.parametrize("request_type", ["EMAIL_SIGNIN", "PASSWORD_RESET"])
async def test_mails_are_asked_about(request_type: str) -> None:
    """the provider asks before a link leaves, whether or not there is such an account, and mails nothing if refused."""
    seen: list[dict[str, Any]] = []

    async def respond(body: bytes) -> tuple[int, dict[str, Any]]:
        seen.append(jwt.decode(json.loads(body)["data"]["jwt"], options={"verify_signature": False}))
        return 403, {"error": {"status": "PERMISSION_DENIED", "message": "no"}}

    url = "https://fn.example.test/mail"
    settings = FunctionSettings(triggers={"beforeSendEmail": url})
    async with running(hooks={"functions": {url: respond}}, functions=settings) as api:
        await api.sign_up()
        messages = set()
        for email in (EMAIL, "nobody@example.com"):
            messages.add((await api.call("sendOobCode", requestType=request_type, email=email)).error)
        assert len(messages) == 1
        assert len(api.provider.mailbox) == 0
        made = await api.admin("/accounts:sendOobCode", requestType=request_type, email=EMAIL, returnOobLink=True)
        assert made.ok["oobLink"]
    assert [event["email"] for event in seen] == [EMAIL, "nobody@example.com"]
    assert seen[0]["email_type"] == {"EMAIL_SIGNIN": "EMAIL_SIGN_IN"}.get(request_type, request_type)
    assert "sub" not in seen[0]


@pytest.mark.parametrize(
    ("settings", "request_type", "message"),
    [
        ({"email_link_sign_in": False}, "EMAIL_SIGNIN", "OPERATION_NOT_ALLOWED"),
        ({"email_enumeration_protection": False}, "PASSWORD_RESET", "EMAIL_NOT_FOUND"),
    ],
)
async def test_mails_that_would_not_leave(settings: dict[str, Any], request_type: str, message: str) -> None:
    """the provider asks nobody about a mail that it would not send."""
    functions = FunctionSettings(triggers={"beforeSendEmail": "http://127.0.0.1:1/"})
    async with running(functions=functions, **settings) as api:
        reply = await api.call("sendOobCode", requestType=request_type, email=EMAIL)
        assert reply.error == message


@pytest.mark.parametrize("way", ["google.com", "phone"])
async def test_linking_by_a_session_that_ends_meanwhile(way: str) -> None:
    """the provider links nothing for a session that was revoked while the function was asked."""

    async def revoke(event: Mapping[str, Any]) -> Mapping[str, Any]:
        if len(seen) and event["sub"] == seen[0]:
            await api.admin("/accounts:update", localId=event["sub"], validSince=9_999_999_999)
        return {}

    seen: list[str] = []
    async with running(hooks={"before_sign_in": revoke}) as api:
        user = await api.sign_up()
        seen.append(user["localId"])
        if way == "phone":
            sent = (await api.call("sendVerificationCode", phoneNumber="+15550100")).ok
            code = api.provider.mailbox.texts()[-1].code
            body = {"sessionInfo": sent["sessionInfo"], "code": code}
            reply = await api.call("signInWithPhoneNumber", **body, idToken=user["idToken"])
        else:
            post = urlencode({"providerId": way, "id_token": '{"sub":"g-1"}'})
            body = {"requestUri": "http://localhost", "postBody": post}
            reply = await api.call("signInWithIdp", **body, idToken=user["idToken"])
        assert reply.error == "TOKEN_EXPIRED"
        (entry,) = (await api.account(user["localId"]))["providerUserInfo"]
        assert entry["providerId"] == "password"
