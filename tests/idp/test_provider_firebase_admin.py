"""The provider against firebase-admin for Python, whose requests and checks nobody here wrote."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import aiohttp
import firebase_admin
import google.auth.credentials
import pytest
from firebase_admin import auth, credentials

from gateway.idp import IdentityProvider
from tests.support.idp import EMAIL, PASSWORD, PROJECT, SETTINGS, key_source

T = TypeVar("T")
EMULATOR = "FIREBASE_AUTH_EMULATOR_HOST"


class NoCredential(credentials.Base):  # type: ignore[misc]  # untyped library
    def get_credential(self) -> google.auth.credentials.Credentials:
        return google.auth.credentials.AnonymousCredentials()  # type: ignore[no-untyped-call]  # untyped library


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    running = IdentityProvider(SETTINGS, key_source=key_source)
    await running.start()
    yield running
    await running.close()


@contextlib.contextmanager
def admin_app(name: str) -> Iterator[firebase_admin.App]:
    app = firebase_admin.initialize_app(NoCredential(), {"projectId": PROJECT, "httpTimeout": 10}, name=name)
    try:
        yield app
    finally:
        firebase_admin.delete_app(app)


@dataclass(frozen=True)
class Admin:
    """The functions of ``firebase_admin.auth``, bound to an app, off the event loop."""

    app: firebase_admin.App

    async def __call__(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await asyncio.to_thread(partial(function, *args, app=self.app, **kwargs))


@pytest.fixture
def admin(provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    """Admin calls against the provider, as against an emulator."""
    monkeypatch.setenv(EMULATOR, provider.url.removeprefix("http://"))
    with admin_app("emulator-mode") as app:
        yield Admin(app)


@pytest.fixture
def verifier(provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    """Token checks as in production, with the certificates' addresses pointed at the provider."""
    base = provider.url + "/www.googleapis.com"
    account = "securetoken@system.gserviceaccount.com"
    monkeypatch.delenv(EMULATOR, raising=False)
    monkeypatch.setattr("firebase_admin._token_gen.ID_TOKEN_CERT_URI", f"{base}/robot/v1/metadata/x509/{account}")
    monkeypatch.setattr(
        "firebase_admin._token_gen.COOKIE_CERT_URI", f"{base}/identitytoolkit/v3/relyingparty/publicKeys"
    )
    with admin_app("production-mode") as app:
        yield Admin(app)


async def post(provider: IdentityProvider, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{provider.url}/v1/{path}?key=k", json=body) as response,
    ):
        answer: dict[str, Any] = await response.json()
        return answer


async def sign_up(provider: IdentityProvider) -> dict[str, Any]:
    return await post(provider, "accounts:signUp", {"email": EMAIL, "password": PASSWORD})


async def refresh(provider: IdentityProvider, user: dict[str, Any]) -> dict[str, Any]:
    return await post(provider, "token", {"grant_type": "refresh_token", "refresh_token": user["refreshToken"]})


async def test_token_verifies_through_the_ordinary_path(provider: IdentityProvider, verifier: Admin) -> None:
    """the provider's ID token passes verify_id_token by RS256 with certificates fetched from the provider."""
    user = await sign_up(provider)
    payload = await verifier(auth.verify_id_token, user["idToken"], clock_skew_seconds=5)
    assert (payload["uid"], payload["email"]) == (user["localId"], EMAIL)
    head, body, signature = user["idToken"].split(".")
    with pytest.raises(auth.InvalidIdTokenError):
        await verifier(auth.verify_id_token, f"{head}.{body}.{signature[:-8]}AAAAAAAA", clock_skew_seconds=5)


async def test_session_cookie_verifies_through_the_ordinary_path(
    provider: IdentityProvider, admin: Admin, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """the provider's session cookie passes verify_session_cookie, and an ID token does not pass for one."""
    user = await sign_up(provider)
    cookie = await admin(auth.create_session_cookie, user["idToken"], 600)
    verifier: Admin = request.getfixturevalue("verifier")
    payload = await verifier(auth.verify_session_cookie, cookie, clock_skew_seconds=5)
    assert payload["uid"] == user["localId"]
    with pytest.raises(auth.InvalidSessionCookieError):
        await verifier(auth.verify_session_cookie, user["idToken"], clock_skew_seconds=5)


async def test_revocation_ends_the_session(provider: IdentityProvider, admin: Admin) -> None:
    """the provider raises valid-since for revoke_refresh_tokens and refuses the refresh token from then on."""
    user = await sign_up(provider)
    before = (await admin(auth.get_user, user["localId"])).tokens_valid_after_timestamp
    await asyncio.sleep(1.0)  # valid-since has a resolution of one second
    await admin(auth.revoke_refresh_tokens, user["localId"])
    after = (await admin(auth.get_user, user["localId"])).tokens_valid_after_timestamp
    assert after > before
    assert (await refresh(provider, user))["error"]["message"] == "TOKEN_EXPIRED"


async def test_users_can_be_managed(provider: IdentityProvider, admin: Admin) -> None:
    """the provider serves what administrators do with users: create, read, change, list, delete."""
    created = await admin(
        auth.create_user, uid="chosen", email=EMAIL, password=PASSWORD, display_name="Ada", phone_number="+15550100"
    )
    assert created.uid == "chosen"
    assert created.user_metadata.last_sign_in_timestamp is None
    with pytest.raises(auth.EmailAlreadyExistsError):
        await admin(auth.create_user, email=EMAIL)
    with pytest.raises(auth.UidAlreadyExistsError):
        await admin(auth.create_user, uid="chosen")
    with pytest.raises(auth.PhoneNumberAlreadyExistsError):
        await admin(auth.create_user, phone_number="+15550100")
    assert (await admin(auth.get_user_by_email, EMAIL)).uid == "chosen"
    assert (await admin(auth.get_user_by_phone_number, "+15550100")).uid == "chosen"
    await admin(auth.set_custom_user_claims, "chosen", {"role": "admin"})
    updated = await admin(
        auth.update_user, "chosen", display_name=auth.DELETE_ATTRIBUTE, phone_number=auth.DELETE_ATTRIBUTE,
        email_verified=True, disabled=True,
    )  # fmt: skip
    assert (updated.display_name, updated.phone_number) == (None, None)
    assert (updated.email_verified, updated.disabled, updated.custom_claims) == (True, True, {"role": "admin"})
    found = await admin(auth.get_users, [auth.UidIdentifier("chosen"), auth.EmailIdentifier("who@example.com")])
    assert ([user.uid for user in found.users], len(found.not_found)) == (["chosen"], 1)
    page = await admin(auth.list_users, max_results=10)
    assert [user.uid for user in page.users] == ["chosen"]
    assert page.users[0].password_hash
    await admin(auth.delete_user, "chosen")
    with pytest.raises(auth.UserNotFoundError):
        await admin(auth.get_user, "chosen")
    result = await admin(auth.delete_users, ["chosen", "nobody"])
    assert (result.success_count, result.failure_count) == (2, 0)


async def test_users_can_be_imported(provider: IdentityProvider, admin: Admin) -> None:
    """the provider imports users with Firebase's own scrypt hashes, whose passwords work, and reports failures."""
    # The vector of https://github.com/firebase/scrypt (README): the password is user1password.
    key = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
    digest = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
    scrypt = auth.UserImportHash.scrypt(
        key=base64.b64decode(key), rounds=8, memory_cost=14, salt_separator=base64.b64decode("Bw==")
    )
    hashed = {"password_hash": base64.b64decode(digest), "password_salt": base64.b64decode("42xEC+ixf3L2lw==")}
    records = [
        auth.ImportUserRecord("a", email=EMAIL, **hashed),
        auth.ImportUserRecord("b", email=EMAIL, **hashed),
    ]
    result = await admin(auth.import_users, records, hash_alg=scrypt)
    assert (result.success_count, result.failure_count) == (1, 1)
    assert result.errors[0].reason == "EMAIL_EXISTS"
    answer = await post(provider, "accounts:signInWithPassword", {"email": EMAIL, "password": "user1password"})
    assert answer["localId"] == "a"


@pytest.mark.parametrize(
    ("generate", "mode"),
    [
        (auth.generate_password_reset_link, "resetPassword"),
        (auth.generate_email_verification_link, "verifyEmail"),
        (auth.generate_sign_in_with_email_link, "signIn"),
    ],
)
async def test_links_can_be_generated(
    provider: IdentityProvider, admin: Admin, generate: Callable[..., str], mode: str
) -> None:
    """the provider hands administrators links that they may send themselves."""
    await admin(auth.create_user, email=EMAIL)
    settings = auth.ActionCodeSettings("http://localhost/done", handle_code_in_app=True)
    link = await admin(generate, EMAIL, settings)
    assert link.startswith(f"{provider.url}/emulator/action?mode={mode}&")
    with pytest.raises(auth.InvalidHostingLinkDomainError):
        await admin(generate, EMAIL, auth.ActionCodeSettings("http://localhost/", link_domain="no.example"))


async def test_custom_tokens_sign_in(provider: IdentityProvider, admin: Admin) -> None:
    """the provider takes the unsigned custom tokens that the SDK makes in emulator mode."""
    token = await admin(auth.create_custom_token, "u-7", {"level": 3})
    answer = await post(provider, "accounts:signInWithCustomToken", {"token": token.decode()})
    assert answer["isNewUser"] is True
    assert (await admin(auth.get_user, "u-7")).uid == "u-7"
