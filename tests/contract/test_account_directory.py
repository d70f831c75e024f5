"""What every account directory must do: firebase-admin's runs against a stand-in and against the embedded provider."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from gateway.adapters.firebase_users import BearerSecret, FirebaseDirectory
from gateway.core.ports import AccountDirectory, AccountRecord
from gateway.errors import RevocationUnavailable
from gateway.idp import IdentityProvider, ProviderSettings
from tests.support.accounts import AccountServer, CountingDirectory, person

PROJECT = "demo-project"


@dataclass
class Setting:
    """A directory with three good users, and how to break it."""

    directory: AccountDirectory
    uids: list[str]
    go_down: Callable[[], Awaitable[None]]


@asynccontextmanager
async def in_process() -> AsyncIterator[Setting]:
    directory = CountingDirectory("ada", "bob", "eve")

    async def go_down() -> None:
        directory.down = True

    yield Setting(directory, ["ada", "bob", "eve"], go_down)


@asynccontextmanager
async def stand_in() -> AsyncIterator[Setting]:
    async with AccountServer() as server:
        for uid in ("ada", "bob", "eve"):
            server.users[uid] = {"localId": uid}
        directory = FirebaseDirectory(PROJECT, BearerSecret("owner"), endpoint=server.url)

        async def go_down() -> None:
            await server.close()

        yield Setting(directory, ["ada", "bob", "eve"], go_down)
        await directory.close()


@asynccontextmanager
async def provider() -> AsyncIterator[Setting]:
    embedded = IdentityProvider(
        ProviderSettings(project_id=PROJECT, database=None, port=0, password_profile="testing"),
    )
    await embedded.start()
    uids = [await embedded.create_account(f"{name}@example.com", "correct horse") for name in ("ada", "bob", "eve")]
    directory = FirebaseDirectory(
        PROJECT, BearerSecret("owner"), endpoint=f"{embedded.url}/identitytoolkit.googleapis.com"
    )
    yield Setting(directory, uids, embedded.close)
    await directory.close()
    await embedded.close()


SETTINGS = {"in process": in_process, "stand-in": stand_in, "embedded provider": provider}


@pytest.fixture(params=SETTINGS)
async def setting(request: pytest.FixtureRequest) -> AsyncIterator[Setting]:
    async with SETTINGS[request.param]() as made:
        yield made


async def test_users_are_looked_up_in_one_call(setting: Setting) -> None:
    """hears of every user it asked for, and of nobody else."""
    records = await setting.directory.look_up(None, setting.uids)
    assert set(records) == set(setting.uids)
    assert not any(record.disabled for record in records.values())
    assert await setting.directory.look_up(None, setting.uids[:1]) == {setting.uids[0]: records[setting.uids[0]]}


async def test_absent_users_are_absent_from_the_answer(setting: Setting) -> None:
    """tells users who do not exist from those who do."""
    assert await setting.directory.look_up(None, ["nobody", setting.uids[1]]) == {
        setting.uids[1]: (await setting.directory.look_up(None, setting.uids[1:2]))[setting.uids[1]]
    }
    assert await setting.directory.look_up(None, ["nobody"]) == {}


async def test_hundred_users_fit_in_one_call(setting: Setting) -> None:
    """asks for a hundred users at once."""
    uids = [f"nobody-{number}" for number in range(97)] + setting.uids
    assert set(await setting.directory.look_up(None, uids)) == set(setting.uids)


async def test_revocation_moves_valid_since_to_now(setting: Setting) -> None:
    """ends one user's sessions that began before this second, and no other user's."""
    one, other = setting.uids[0], setting.uids[1]
    before = await setting.directory.look_up(None, [other])
    earliest = int(time.time())
    await setting.directory.revoke(person(one))
    latest = int(time.time())
    after = await setting.directory.look_up(None, [one, other])
    assert earliest <= after[one].valid_since <= latest
    assert after[one] == AccountRecord(disabled=False, valid_since=after[one].valid_since)
    assert after[other] == before[other]


async def test_service_that_is_gone_is_unavailable(setting: Setting) -> None:
    """fails closed, for look-ups and revocations alike, when the account service is gone."""
    await setting.directory.look_up(None, setting.uids)
    await setting.go_down()
    with pytest.raises(RevocationUnavailable) as caught:
        await setting.directory.look_up(None, setting.uids)
    assert caught.value.retry_after >= 1
    with pytest.raises(RevocationUnavailable):
        await setting.directory.revoke(person(setting.uids[0]))
