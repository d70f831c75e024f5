"""blocking-functions.md sections 1.6, 3.1, 3.5 to 3.7: functions in process."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.blocking.builtin import record_sign_in_ip
from gateway.core.client_ip import AddressResolver, parse_address
from gateway.idp import events
from gateway.idp.answers import Words
from gateway.idp.errors import WireError
from gateway.idp.functions import FunctionSettings
from tests.support.idp import EMAIL, PASSWORD, Api, claims, running

ADDRESS = "203.0.113.9"


class Hook:
    """Notes the events and answers the same every time."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = {} if answer is None else answer
        self.events: list[Mapping[str, Any]] = []

    async def __call__(self, event: Mapping[str, Any]) -> Any:
        self.events.append(json.loads(json.dumps(event)))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def change(**fields: Any) -> dict[str, Any]:
    return {"userRecord": {**fields, "updateMask": ",".join(fields)}}


def told(hook: Any, before_create: Any = None) -> dict[str, Any]:
    return {
        "hooks": {
            "before_sign_in": hook,
            "before_create": before_create,
            "address_of": lambda peer, headers: parse_address(ADDRESS),
        }
    }


async def test_event_has_the_documented_claims() -> None:
    """the provider tells a function who signs in, from where and with what, in the shapes of the wire."""
    hook = Hook()
    async with running(**told(hook)) as api:
        headers = {"User-Agent": "UA/1", "X-Firebase-Locale": "fr", "Accept-Language": "de"}
        body = {"email": EMAIL, "password": PASSWORD, "displayName": "Ada"}
        user = (await api.request("POST", "/v1/accounts:signUp?key=k", json=body, headers=headers)).ok
        now = int(api.clock.now())
    (event,) = hook.events
    event_id = event.pop("event_id")  # type: ignore[attr-defined]  # a dict
    assert len(event_id) == 16
    assert event == {
        "iss": "https://securetoken.google.com/demo-idp",
        "aud": "urn:session-gateway:in-process",
        "sub": user["localId"],
        "iat": now,
        "exp": now + 600,
        "event_type": "beforeSignIn",
        "sign_in_method": "password",
        "ip_address": ADDRESS,
        "user_agent": "UA/1",
        "locale": "fr",
        "user_record": {
            "uid": user["localId"],
            "email": EMAIL,
            "email_verified": False,
            "display_name": "Ada",
            "disabled": False,
            "metadata": {"creation_time": now * 1000},
            "provider_data": [{"provider_id": "password", "uid": EMAIL, "email": EMAIL, "display_name": "Ada"}],
            "custom_claims": {},
            "tokens_valid_after_time": now,
        },
    }


async def test_events_fire_where_documented() -> None:
    """the provider calls functions for password and e-mail link, for new accounts both, and for nothing else."""
    create, sign_in = Hook(), Hook()
    seen: list[list[str]] = []

    def since() -> list[str]:
        names = [f"{e['event_type']}:{e['sign_in_method']}" for e in create.events + sign_in.events]
        create.events.clear()
        sign_in.events.clear()
        return names

    async with running(**told(sign_in, create)) as api:
        user = await api.sign_up()
        seen.append(since())
        await api.sign_in()
        seen.append(since())
        code = await api.mail_code("EMAIL_SIGNIN", email="bob@example.com")
        await api.call("signInWithEmailLink", email="bob@example.com", oobCode=code)
        seen.append(since())
        code = await api.mail_code("EMAIL_SIGNIN", email="bob@example.com")
        await api.call("signInWithEmailLink", email="bob@example.com", oobCode=code)
        seen.append(since())
        anonymous = (await api.call("signUp")).ok
        await api.call("signUp", idToken=anonymous["idToken"], email="carol@example.com", password=PASSWORD)
        await api.call("signInWithCustomToken", token='{"uid":"x"}')
        await api.refresh(user["refreshToken"])
        await api.call("update", idToken=user["idToken"], displayName="x")
        await api.admin("/accounts", email="dan@example.com")
        await api.sign_in(password="wrong")
        await api.call("signUp", email=EMAIL, password=PASSWORD)
        seen.append(since())
    assert seen == [
        ["beforeCreate:password", "beforeSignIn:password"],
        ["beforeSignIn:password"],
        ["beforeCreate:emailLink", "beforeSignIn:emailLink"],
        ["beforeSignIn:emailLink"],
        [],
    ]


async def test_sign_in_address_is_in_every_token_of_the_session() -> None:
    """the provider keeps signInIpAddress with its session: in its refreshed tokens, not in another's or the record."""
    addresses = iter(["203.0.113.9", "2001:db8::7"])

    async with running(
        hooks={
            "before_sign_in": record_sign_in_ip,
            "address_of": lambda peer, headers: parse_address(next(addresses)),
        }
    ) as api:
        first = await api.sign_up()
        second = (await api.sign_in()).ok
        addresses = iter(["198.51.100.1"] * 9)
        assert claims(first["idToken"])["signInIpAddress"] == "203.0.113.9"
        assert claims(second["idToken"])["signInIpAddress"] == "2001:db8::7"
        assert claims((await api.refresh(first["refreshToken"])).ok["id_token"])["signInIpAddress"] == "203.0.113.9"
        assert "customAttributes" not in await api.account(first["localId"])
        api.clock.advance(1)
        changed = (await api.call("update", idToken=second["idToken"], password="another horse")).ok
        assert claims(changed["idToken"])["signInIpAddress"] == "2001:db8::7"


async def test_address_is_the_sockets_unless_told_otherwise() -> None:
    """the provider believes no X-Forwarded-For by default, and a chain it cannot read is refused when it does."""
    body = {"email": EMAIL, "password": PASSWORD}
    headers = {"X-Forwarded-For": "198.51.100.23"}
    async with running(hooks={"before_sign_in": record_sign_in_ip}) as api:
        user = (await api.request("POST", "/v1/accounts:signUp?key=k", json=body, headers=headers)).ok
        assert claims(user["idToken"])["signInIpAddress"] == "127.0.0.1"
    resolver = AddressResolver([ipaddress.ip_network("127.0.0.0/8")])
    async with running(hooks={"before_sign_in": record_sign_in_ip, "address_of": resolver.client}) as api:
        user = (await api.request("POST", "/v1/accounts:signUp?key=k", json=body, headers=headers)).ok
        assert claims(user["idToken"])["signInIpAddress"] == "198.51.100.23"
        bad = await api.request(
            "POST", "/v1/accounts:lookup?key=k", json={}, headers={"X-Forwarded-For": "not an address"}
        )
        assert bad.error.startswith("Invalid request. ")


async def test_answers_are_applied() -> None:
    """the provider stores what functions return, the later over the earlier, and shows it in the token."""
    create = Hook(change(displayName="Guest", photoUrl="https://p.test/g.png", customClaims={"tier": 1, "old": True}))
    sign_in = Hook(change(displayName="Ada", customClaims={"tier": 2}, sessionClaims={"tier": 3}, emailVerified=True))
    async with running(**told(sign_in, create)) as api:
        user = await api.sign_up()
        payload = claims(user["idToken"])
        assert payload["name"] == "Ada"
        assert payload["picture"] == "https://p.test/g.png"
        assert payload["email_verified"] is True
        assert payload["tier"] == 3
        assert "old" not in payload
        record = await api.account(user["localId"])
        assert json.loads(record["customAttributes"]) == {"tier": 2}
    assert sign_in.events[0]["user_record"]["display_name"] == "Guest"


@pytest.mark.parametrize(
    ("value", "stored"), [("x", "x"), (7, "7"), (True, "true"), (None, None), ({}, None), ("", None), ([], None)]
)
async def test_text_fields_are_coerced(value: object, stored: str | None) -> None:
    """the provider writes numbers and booleans out as text and lets everything else clear the field."""
    async with running(**told(Hook(change(displayName=value)))) as api:
        user = await api.sign_up()
        assert (await api.account(user["localId"])).get("displayName") == stored


async def test_only_masked_fields_count() -> None:
    """the provider ignores fields outside the mask, unknown names in it, and sessionClaims of beforeCreate."""
    answer = {"userRecord": {"displayName": "x", "nonsense": 1, "updateMask": "nonsense"}}
    create = Hook(change(sessionClaims={"a": 1}))
    async with running(**told(Hook(answer), create)) as api:
        user = await api.sign_up()
        assert "name" not in claims(user["idToken"])
        assert "a" not in claims(user["idToken"])


class Refused(Exception):
    http_status = 403
    status = "PERMISSION_DENIED"
    message = 'not "here"'


DOCUMENTED = "BLOCKING_FUNCTION_ERROR_RESPONSE : HTTP Cloud Function returned an error. "


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Refused(), DOCUMENTED + 'Code: 403, Status: "PERMISSION_DENIED", Message: "not "here""'),
        (
            KeyError("secret detail"),
            DOCUMENTED + 'Code: 500, Status: "INTERNAL", Message: "An unexpected error occurred."',
        ),
        (["x"], "BLOCKING_FUNCTION_ERROR_RESPONSE : ((Response body is not a JSON object.))"),
        (
            {"userRecord": {"displayName": "x"}},
            "BLOCKING_FUNCTION_ERROR_RESPONSE : ((Response UserRecord is missing updateMask.))",
        ),
        ({"userRecord": "x"}, "BLOCKING_FUNCTION_ERROR_RESPONSE : ((Response UserRecord is missing updateMask.))"),
        (change(sessionClaims={"a": "x" * 1000}), "CLAIMS_TOO_LARGE"),
        (change(sessionClaims=[]), "INVALID_CLAIMS"),
        (change(customClaims=None), "INVALID_CLAIMS"),
        (change(sessionClaims={"a": "\ud800"}), "INVALID_CLAIMS"),
        (change(sessionClaims={"a": object()}), "INVALID_CLAIMS"),
        (change(customClaims={"a": "x" * 600}, sessionClaims={"b": "x" * 600}), "CLAIMS_TOO_LARGE"),
        (change(disabled=True), "USER_DISABLED"),
    ],
)
async def test_refusals_and_nonsense_block(answer: Any, message: str) -> None:
    """the provider issues no tokens when a function refuses, fails or answers nonsense, and says so as documented."""
    hook = Hook()
    async with running(**told(hook)) as api:
        user = await api.sign_up()
        hook.answer = answer
        reply = await api.sign_in()
        assert reply.error == message
        assert reply.status == 400
        assert "secret detail" not in json.dumps(reply.body)
        if message == "USER_DISABLED":
            assert (await api.account(user["localId"]))["disabled"] is True


@pytest.mark.parametrize("name", sorted({
    "iss", "aud", "sub", "iat", "exp", "nbf", "jti", "nonce", "azp", "acr", "amr", "cnf", "auth_time", "firebase",
    "at_hash", "c_hash",
}))  # fmt: skip
@pytest.mark.parametrize("kind", ["sessionClaims", "customClaims"])
async def test_reserved_names_are_refused(name: str, kind: str) -> None:
    """the provider refuses all sixteen reserved names."""
    overlay_error = None
    try:
        Words().overlay(change(**{kind: {"ok": 1, name: "x"}}), session=True)
    except WireError as error:
        overlay_error = error.message
    assert overlay_error == f"FORBIDDEN_CLAIM : {name}"


async def test_refused_creation_leaves_nothing_behind() -> None:
    """the provider stores no account that beforeCreate refused; one that beforeSignIn refused it keeps."""
    create = Hook(Refused())
    async with running(**told(Hook(), create)) as api:
        assert (await api.call("signUp", email=EMAIL, password=PASSWORD)).error.startswith(DOCUMENTED)
        assert "users" not in (await api.admin("/accounts:lookup", email=[EMAIL])).ok
        create.answer = {}
        await api.sign_up()
    async with running(**told(Hook(Refused()))) as api:
        assert (await api.call("signUp", email=EMAIL, password=PASSWORD)).error.startswith(DOCUMENTED)
        assert len((await api.admin("/accounts:lookup", email=[EMAIL])).ok["users"]) == 1


async def test_account_disabled_at_creation_is_stored_and_refused() -> None:
    """the provider stores an account that beforeCreate disabled, asks no more and issues no tokens."""
    sign_in = Hook()
    async with running(**told(sign_in, Hook(change(disabled=True)))) as api:
        assert (await api.call("signUp", email=EMAIL, password=PASSWORD)).error == "USER_DISABLED"
        assert sign_in.events == []
        assert (await api.admin("/accounts:lookup", email=[EMAIL])).ok["users"][0]["disabled"] is True


async def test_slow_function_blocks() -> None:
    """the provider gives a function its deadline and no more."""

    async def slow(event: Mapping[str, Any]) -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    async with running(hooks={"before_sign_in": slow}, functions=FunctionSettings(deadline=0.01)) as api:
        reply = await api.call("signUp", email=EMAIL, password=PASSWORD)
        assert reply.error == "BLOCKING_FUNCTION_ERROR_RESPONSE : Cloud function deadline exceeded."


async def test_account_that_changes_meanwhile_gets_no_tokens() -> None:
    """the provider looks again after the function: disabled, deleted or with another password means no tokens."""
    state: dict[str, Any] = {}

    async def meddling(event: Mapping[str, Any]) -> Mapping[str, Any]:
        if "change" in state:
            await state.pop("change")(event["sub"])
        return {}

    async with running(hooks={"before_sign_in": meddling}) as api:
        user = await api.sign_up()

        async def disable(uid: str) -> None:
            await api.admin("/accounts:update", localId=uid, disableUser=True)

        async def enable_with_password(uid: str) -> None:
            await api.admin("/accounts:update", localId=uid, password="another horse")

        async def delete(uid: str) -> None:
            await api.admin("/accounts:delete", localId=uid)

        state["change"] = disable
        assert (await api.sign_in()).error == "USER_DISABLED"
        await api.admin("/accounts:update", localId=user["localId"], disableUser=False)
        state["change"] = enable_with_password
        assert (await api.sign_in()).error == "INVALID_LOGIN_CREDENTIALS"
        state["change"] = delete
        assert (await api.sign_in(password="another horse")).error == "USER_NOT_FOUND"


async def test_events_of_linked_accounts_list_their_identities(api: Api) -> None:
    """the provider lists phone and federated identities in a user record."""
    await api.admin("/accounts", localId="b", phoneNumber="+15550100")
    link = {"providerId": "google.com", "rawId": "g-1", "email": "b@gmail.test"}
    await api.admin("/accounts:update", localId="b", linkProviderUserInfo=link)
    realm = api.provider._opened()
    account = await realm.db.run(realm.accounts.get, "b")
    assert events.user_record(account)["provider_data"] == [
        {"provider_id": "phone", "uid": "+15550100", "phone_number": "+15550100"},
        {"provider_id": "google.com", "uid": "g-1", "email": "b@gmail.test"},
    ]
