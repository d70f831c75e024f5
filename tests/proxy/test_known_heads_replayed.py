"""Requests whose heads came before: what is done with them is what is done with those that are read."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.proxy.test_replay import CASES, JUDGED, ORDINARY, OTHER, PUBLIC, REPLAYED, TOKENS, exchanged, plain, statuses
from tests.support.backends import answers, backend
from tests.support.wire import GOOD, PATIENCE, gateway


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.way != ORDINARY])
async def test_a_head_that_came_before_gives_the_same_bytes(name: str) -> None:
    """... gives client, backend and audit the same when it need not read a head because it knows it."""
    case = CASES[name]
    fast = await exchanged(case, fast_path=True, before=3)
    ordinary = await exchanged(case, fast_path=False, before=3)
    assert fast[:3] == ordinary[:3]
    assert (fast[3], ordinary[3]) == (JUDGED if "optional" in name and "anonymous" not in name else REPLAYED, ORDINARY)


async def test_a_head_is_known_from_the_third_time_on() -> None:
    """... remembers a head that comes again, whoever sends it, and none that came once."""
    async with backend(answers()) as server, gateway(server.url, tokens=TOKENS) as front:
        reader, writer = await front.connect()
        table = front.proxy.fast.table  # type: ignore[union-attr]
        async with asyncio.timeout(PATIENCE):
            assert await statuses(front, reader, writer, 1, PUBLIC) == [200]
            for seen, (token, status) in enumerate(
                [(GOOD, 200), (OTHER, 200), (GOOD, 200), ("forged", 401), (OTHER, 200)]
            ):
                assert await statuses(front, reader, writer, 1, plain(token=token)) == [status]
                assert len(table._heads) == int(seen > 0)
        writer.close()
    users = re.findall(rb"X-Forwarded-User: (\w+)\r\n", server.received)
    assert users == [b"alice", b"bob", b"alice", b"bob"]


async def test_a_connection_replays_again_after_a_change() -> None:
    """... judges once after somebody's standing was read anew, and gives that again from then on."""
    async with backend(answers()) as server, gateway(server.url) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            assert await statuses(front, reader, writer, 3) == [200, 200, 200]
            assert front.replayed == 2
            front.revocation.valid_since = 1  # another epoch, and the session is younger than that
            assert await statuses(front, reader, writer, 4) == [200, 200, 200, 200]
        writer.close()
    assert front.replayed == 5
