"""blocking-functions.md scenario 4.9."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.blocking.ready_made import TokenSealer, store_refresh_tokens
from gateway.blocking.ready_made.refresh_tokens import FollowUp
from gateway.errors import ConfigError
from tests.support import events
from tests.support.events import ABSENT

KEY, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (7, 8))
GOOGLE = {"sign_in_method": "google.com", "oauth_refresh_token": "RT-secret", "oauth_access_token": "AT"}


class Store:
    """What a program would keep in its database."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def save(self, uid: str, sealed: str, provider_id: str) -> None:
        self.rows.append((uid, sealed, provider_id))


async def answer(save: Any, follow_up: FollowUp | None = None, **top: Any) -> Any:
    functions = events.functions()
    functions.before_create(store_refresh_tokens(save, TokenSealer([KEY]), follow_up=follow_up))
    async with functions:
        return await functions.respond(events.token(top=GOOGLE | top))


async def test_tokens_are_stored_encrypted() -> None:
    """... hands the store the uid, the encrypted token and the provider, and answers that nothing changes."""
    store = Store()
    assert await answer(store.save) == (200, {})
    ((uid, sealed, provider),) = store.rows
    assert (uid, provider) == ("u1", "google.com")
    assert "RT-secret" not in sealed
    assert TokenSealer([KEY]).open(sealed, "u1", "google.com") == "RT-secret"


@pytest.mark.parametrize(
    "top",
    [
        {"oauth_refresh_token": ABSENT},
        {"oauth_refresh_token": ""},
        {"sign_in_method": "microsoft.com"},
        {"oauth_refresh_token": ABSENT, "oauth_access_token": ABSENT},
    ],
)
async def test_nothing_is_stored_without_a_token(top: dict[str, Any]) -> None:
    """... stores nothing where no refresh token was forwarded, or that of another provider."""
    store = Store()
    assert await answer(store.save, **top) == (200, {})
    assert store.rows == []


async def test_what_follows_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    """... calls what follows after the answer, with the fresh tokens; its failure is logged and fails nobody."""
    seen: list[Any] = []

    async def calendar(user: Any, context: Any) -> None:
        seen.append((user.uid, context.credential.access_token, context.credential.refresh_token))
        raise ConnectionError("the calendar is closed")

    assert await answer(Store().save, calendar) == (200, {})
    assert seen == [("u1", "AT", "RT-secret")]
    assert "the calendar is closed" in caplog.text
    assert "RT-secret" not in caplog.text


async def test_a_failing_store_fails_the_registration() -> None:
    """... refuses the registration when the token cannot be stored, so that the user can try again."""

    async def save(uid: str, sealed: str, provider_id: str) -> None:
        raise OSError("disk full")

    assert (await answer(save))[0] == 500


def test_keys_can_be_replaced() -> None:
    """... encrypts with the first key and still opens what an older one sealed."""
    old = TokenSealer([KEY]).seal("RT", "u", "p")
    both = TokenSealer([NEW, KEY])
    assert both.open(old, "u", "p") == "RT"
    assert TokenSealer([NEW]).open(both.seal("RT", "u", "p"), "u", "p") == "RT"
    assert both.seal("RT", "u", "p") != both.seal("RT", "u", "p")


@pytest.mark.parametrize(
    ("uid", "provider", "change"),
    [
        ("other", "google.com", str),
        ("u1", "microsoft.com", str),
        ("u1g", "oogle.com", str),
        ("u1", "google.com", lambda sealed: sealed[:-4] + "AAAA"),
        ("u1", "google.com", lambda sealed: sealed.replace("v1", "v2")),
        ("u1", "google.com", lambda sealed: sealed[:-5]),
        ("u1", "google.com", lambda sealed: sealed[:20]),
        ("u1", "google.com", lambda sealed: "v1.00000000." + sealed.split(".")[2]),
        ("u1", "google.com", lambda sealed: ""),
    ],
)
def test_a_sealed_token_is_bound(uid: str, provider: str, change: Any) -> None:
    """... opens a token for the user and provider it was sealed for, and only whole."""
    sealer = TokenSealer([KEY])
    with pytest.raises(ValueError, match=r"sealed"):
        sealer.open(change(sealer.seal("RT-secret", "u1", "google.com")), uid, provider)


@pytest.mark.parametrize("keys", [[], [""], ["short"], ["=" * 44], [KEY, "x"], ["!" * 44]])
def test_a_key_is_a_key(keys: list[str]) -> None:
    """... refuses to go without a key of full length."""
    with pytest.raises(ConfigError, match="key"):
        TokenSealer(keys)


def test_both_alphabets_are_keys() -> None:
    """... takes a key in standard or URL-safe base64, padded or not."""
    raw = bytes(range(224, 256))
    standard, safe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert standard != safe
    assert TokenSealer([safe]).open(TokenSealer([standard + "\n"]).seal("RT", "u", "p"), "u", "p") == "RT"


def test_somebodys_tokens_are_kept() -> None:
    """... refuses to keep the tokens of no provider."""
    with pytest.raises(ConfigError):
        store_refresh_tokens(print, TokenSealer([KEY]), providers=())
