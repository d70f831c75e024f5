"""What a parent and its workers say to each other."""

from __future__ import annotations

import asyncio
import socket

from gateway.cli.link import (
    Ask,
    Begin,
    Ended,
    FromWorker,
    Link,
    Reload,
    Reloaded,
    Renewed,
    Revoked,
    State,
    Stop,
    Stopping,
    ToWorker,
    Up,
)
from gateway.observe.gathered import Family
from tests.support.wire import claims_of

ENDED = Ended("acme", None, "uid", 1000, 2000.5)
REVOKED = Revoked("acme", "tenant", "uid", 1000)
RENEWED = Renewed(claims_of(), "192.0.2.1")


async def test_messages_arrive_as_they_were() -> None:
    """... understands every message at the other end, and notices that the other is gone."""
    ours, theirs = socket.socketpair()
    parent, worker = await Link.over(ours), await Link.over(theirs)
    to_worker: list[ToWorker] = [
        Begin([ENDED]),
        Reload(readable=True),
        Stopping(),
        Stop(now=False),
        Ask(7, True),
        ENDED,
        REVOKED,
        RENEWED,
    ]
    for message in to_worker:
        parent.tell(message)
    assert [await worker.hear_parent() for _ in to_worker] == to_worker
    counted = Family("x", "gauge", "X.", ("l",), [(("a",), 1.0)])
    to_parent: list[FromWorker] = [Up(), Reloaded("no"), State(7, {"a": "b"}, {}, [counted]), ENDED, REVOKED, RENEWED]
    for answer in to_parent:
        worker.tell(answer)
    assert [await parent.hear_worker() for _ in to_parent] == to_parent
    await worker.close()
    assert await parent.hear_worker() is None
    parent.tell(Stopping())
    await parent.close()


async def test_half_a_message_is_none() -> None:
    """... takes a message that broke off with its sender for the end."""
    ours, theirs = socket.socketpair()
    parent = await Link.over(ours)
    theirs.sendall(b'{"type":"up"}\n{"type":"reloaded","err')
    theirs.close()
    assert await parent.hear_worker() == Up()
    async with asyncio.timeout(5):
        assert await parent.hear_worker() is None
    await parent.close()
