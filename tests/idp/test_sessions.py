"""identity-toolkit.md sections 3, 4 and 12: what ends a session, and what an ID token must be to be acted on."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.tokens.mint import generate_signing_key, sign
from tests.support.idp import EMAIL, PASSWORD, PROJECT, Api, claims, key_source, running

Ending = Callable[[Api, dict[str, Any]], Awaitable[Any]]


async def revoke(api: Api, user: dict[str, Any]) -> None:
    await api.admin("/accounts:update", localId=user["localId"], validSince=str(int(api.clock.now())))


async def revoke_in_process(api: Api, user: dict[str, Any]) -> None:
    await api.provider.revoke_sessions(user["localId"])


async def change_password(api: Api, user: dict[str, Any]) -> None:
    assert (await api.call("update", idToken=user["idToken"], password="another horse")).status == 200


async def change_email(api: Api, user: dict[str, Any]) -> None:
    assert (await api.call("update", idToken=user["idToken"], email="new@example.com")).status == 200


async def reset_password(api: Api, _user: dict[str, Any]) -> None:
    code = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    assert (await api.call("resetPassword", oobCode=code, newPassword="another horse")).status == 200


async def disable(api: Api, user: dict[str, Any]) -> None:
    await api.admin("/accounts:update", localId=user["localId"], disableUser=True)


async def disable_and_enable(api: Api, user: dict[str, Any]) -> None:
    await disable(api, user)
    await api.admin("/accounts:update", localId=user["localId"], disableUser=False)


async def delete(api: Api, user: dict[str, Any]) -> None:
    await api.admin("/accounts:delete", localId=user["localId"])


async def delete_and_recreate(api: Api, user: dict[str, Any]) -> None:
    await delete(api, user)
    await api.admin("/accounts", localId=user["localId"], email=EMAIL)


ENDINGS: list[tuple[Ending, str]] = [
    (revoke, "TOKEN_EXPIRED"),
    (revoke_in_process, "TOKEN_EXPIRED"),
    (change_password, "TOKEN_EXPIRED"),
    (change_email, "TOKEN_EXPIRED"),
    (reset_password, "TOKEN_EXPIRED"),
    (disable, "USER_DISABLED"),
    (disable_and_enable, "TOKEN_EXPIRED"),
    (delete, "USER_NOT_FOUND"),
    (delete_and_recreate, "TOKEN_EXPIRED"),
]


@pytest.mark.parametrize("seconds", [0, 10])
@pytest.mark.parametrize(("ending", "message"), ENDINGS)
async def test_refresh_token_dies(api: Api, ending: Ending, message: str, seconds: int) -> None:
    """the provider refuses the refresh token of a session that ended, even one that began in the same second."""
    user = await api.sign_up()
    api.clock.advance(seconds)
    await ending(api, user)
    assert (await api.refresh(user["refreshToken"])).error == message


@pytest.mark.parametrize(("ending", "message"), [case for case in ENDINGS if case[0] is not disable_and_enable])
async def test_id_token_of_an_ended_session_is_refused(api: Api, ending: Ending, message: str) -> None:
    """the provider acts on no ID token of a session that ended."""
    user = await api.sign_up()
    api.clock.advance(10)
    await ending(api, user)
    assert (await api.call("lookup", idToken=user["idToken"])).error == message


async def test_session_that_began_after_the_revocation_lives(api: Api) -> None:
    """the provider keeps sessions that began at or after the revocation, in the same second too."""
    user = await api.sign_up()
    api.clock.advance(10)
    await revoke(api, user)
    after = (await api.sign_in()).ok
    assert (await api.refresh(after["refreshToken"])).status == 200
    assert (await api.call("lookup", idToken=after["idToken"])).status == 200


async def test_other_accounts_are_left_alone(api: Api) -> None:
    """the provider ends the sessions of one account and nobody else's."""
    user = await api.sign_up()
    other = await api.sign_up("bob@example.com")
    await revoke(api, user)
    assert (await api.refresh(other["refreshToken"])).status == 200


async def test_auth_time_belongs_to_the_session(api: Api) -> None:
    """the provider leaves a session's auth_time alone when the same person signs in elsewhere."""
    first = await api.sign_up()
    api.clock.advance(60)
    await api.sign_in()
    refreshed = (await api.refresh(first["refreshToken"])).ok
    assert claims(refreshed["id_token"])["auth_time"] == claims(first["idToken"])["auth_time"]


def forged(api: Api, user: dict[str, Any], how: str) -> str:  # noqa: PLR0911 - one return a forgery
    """An ID token that looks right, but for one thing."""
    payload = claims(user["idToken"])
    ours = jwt.get_unverified_header(user["idToken"])
    key = generate_signing_key("x", not_before=0, not_after=2_000_000_000, source=key_source)
    realm = api.provider._opened()
    mine = realm.id_keys.signer()
    head, body, signature = user["idToken"].split(".")
    match how:
        case "unsigned":
            return jwt.encode(payload, "", algorithm="none", headers={"kid": ours["kid"]})
        case "foreign key, our kid":
            return jwt.encode(payload, key.private_key, algorithm="RS256", headers={"kid": ours["kid"]})
        case "unknown kid":
            return sign(payload, key)
        case "no kid":
            return jwt.encode(payload, mine.private_key, algorithm="RS256")
        case "other project":
            return sign({**payload, "aud": "demo-other"}, mine)
        case "other issuer":
            return sign({**payload, "iss": "https://session.firebase.google.com/" + PROJECT}, mine)
        case "no auth_time":
            return sign({k: v for k, v in payload.items() if k != "auth_time"}, mine)
        case "cut off":
            return f"{head}.{body}."
        case "other payload":
            return f"{head}.{body[:-4]}AAAA.{signature}"
        case "cookie key":
            return sign(payload, realm.cookie_keys.signer())
        case _:
            return how


@pytest.mark.parametrize(
    "how",
    ["unsigned", "foreign key, our kid", "unknown kid", "no kid", "other project", "other issuer", "no auth_time",
     "cut off", "other payload", "cookie key", "a.b.c", "....", "é", "{}"],
)  # fmt: skip
async def test_forged_id_token_is_refused(api: Api, how: str) -> None:
    """the provider verifies the ID tokens that clients act with, however they are forged."""
    user = await api.sign_up()
    assert (await api.call("lookup", idToken=forged(api, user, how))).error == "INVALID_ID_TOKEN"


async def test_expired_id_token_is_refused(api: Api) -> None:
    """the provider accepts an ID token until the second of its exp."""
    user = await api.sign_up()
    api.clock.advance(3599)
    assert (await api.call("lookup", idToken=user["idToken"])).status == 200
    api.clock.advance(1)
    assert (await api.call("lookup", idToken=user["idToken"])).error == "TOKEN_EXPIRED"


@pytest.mark.parametrize("change", [{"password": "another horse"}, {"email": "new@example.com"}, None])
async def test_sensitive_changes_want_a_recent_sign_in(api: Api, change: dict[str, str] | None) -> None:
    """the provider wants a sign-in of the last five minutes for a new password, a new address and a deletion."""
    user = await api.sign_up()
    api.clock.advance(301)
    reply = await (
        api.call("delete", idToken=user["idToken"])
        if change is None
        else api.call("update", idToken=user["idToken"], **change)
    )
    assert reply.error == "CREDENTIAL_TOO_OLD_LOGIN_AGAIN"
    fresh = (await api.sign_in()).ok
    api.clock.advance(300)
    reply = await (
        api.call("delete", idToken=fresh["idToken"])
        if change is None
        else api.call("update", idToken=fresh["idToken"], **change)
    )
    assert reply.status == 200


async def test_profile_change_wants_no_recent_sign_in(api: Api) -> None:
    """the provider lets an older session change the display name."""
    user = await api.sign_up()
    api.clock.advance(3000)
    assert (await api.call("update", idToken=user["idToken"], displayName="Ada")).status == 200


async def test_withdrawn_custom_claim_does_not_become_a_session_claim(api: Api) -> None:
    """the provider takes nothing from an old token into the session that a password change starts."""
    user = await api.sign_up()
    await api.admin("/accounts:update", localId=user["localId"], customAttributes='{"role":"admin"}')
    with_role = (await api.sign_in()).ok
    assert claims(with_role["idToken"])["role"] == "admin"
    await api.admin("/accounts:update", localId=user["localId"], customAttributes="{}")
    after = (await api.call("update", idToken=with_role["idToken"], password="another horse")).ok
    assert "role" not in claims(after["idToken"])


async def test_session_cookie_has_the_claims_of_the_id_token(api: Api) -> None:
    """the provider makes session cookies with their own issuer, keys and lifetime, and every other claim as it was."""
    user = await api.sign_up()
    api.clock.advance(5)
    reply = await api.admin(":createSessionCookie", idToken=user["idToken"], validDuration="600")
    cookie = reply.ok["sessionCookie"]
    payload, source = claims(cookie), claims(user["idToken"])
    now = int(api.clock.now())
    assert payload == {
        **source,
        "iss": f"https://session.firebase.google.com/{PROJECT}",
        "iat": now,
        "exp": now + 600,
    }
    certificates = (await api.request("GET", "/identitytoolkit/v3/relyingparty/publicKeys")).ok
    assert jwt.get_unverified_header(cookie)["kid"] in certificates
    assert jwt.get_unverified_header(user["idToken"])["kid"] not in certificates


@pytest.mark.parametrize(
    ("duration", "outcome"),
    [(None, 1_209_600), (0, 1_209_600), (300, 300), ("1209600", 1_209_600), (299, None), (1_209_601, None), (-1, None)],
)
async def test_session_cookie_duration(api: Api, duration: object, outcome: int | None) -> None:
    """the provider makes cookies for five minutes to fourteen days, fourteen days by default."""
    user = await api.sign_up()
    body = {"idToken": user["idToken"], "validDuration": duration}
    reply = await api.admin(":createSessionCookie", **body)
    if outcome is None:
        assert reply.error == "INVALID_DURATION"
    else:
        payload = claims(reply.ok["sessionCookie"])
        assert payload["exp"] - payload["iat"] == outcome


async def test_session_cookie_needs_a_live_session(api: Api) -> None:
    """the provider makes no cookie from a missing, forged or revoked ID token."""
    user = await api.sign_up()
    assert (await api.admin(":createSessionCookie")).error == "MISSING_ID_TOKEN"
    assert (await api.admin(":createSessionCookie", idToken="x")).error == "INVALID_ID_TOKEN"
    api.clock.advance(1)
    await revoke(api, user)
    assert (await api.admin(":createSessionCookie", idToken=user["idToken"])).error == "TOKEN_EXPIRED"


async def test_database_holds_no_secret_in_clear(tmp_path: Path) -> None:
    """the provider stores neither passwords nor refresh tokens nor codes."""
    path = tmp_path / "idp.sqlite"
    async with running(database=path) as api:
        user = await api.sign_up()
        code = await api.mail_code("PASSWORD_RESET", email=EMAIL)
    stored = path.read_bytes()
    assert user["localId"].encode() in stored
    for secret in (PASSWORD, user["refreshToken"], code):
        assert secret.encode() not in stored
    with sqlite3.connect(path) as connection:
        (password_hash,) = connection.execute("SELECT password_hash FROM accounts").fetchone()
    connection.close()
    assert password_hash.startswith("$argon2id$")


async def test_sessions_and_accounts_survive_a_restart(tmp_path: Path) -> None:
    """the provider finds accounts, sessions, codes and keys again after a restart."""
    path = tmp_path / "idp.sqlite"
    async with running(database=path) as api:
        user = await api.sign_up()
        code = await api.mail_code("PASSWORD_RESET", email=EMAIL)
        clock = api.clock
    async with running(database=path, clock=clock) as api:
        assert (await api.call("lookup", idToken=user["idToken"])).ok["users"][0]["localId"] == user["localId"]
        assert (await api.refresh(user["refreshToken"])).status == 200
        assert (await api.call("resetPassword", oobCode=code)).ok["email"] == EMAIL
