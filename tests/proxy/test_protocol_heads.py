"""Thousands of request heads, good and broken: what reaches the backend is what a strict reading finds in the bytes.

There is no list here of what each broken request should lead to. Each connection's bytes are read by a parser that
shares nothing with the gateway's (``tests/support/strict_http.py``), and the one rule is: the backend gets messages of
that reading, whole and unchanged, and nothing else; what is beyond doubt gets there; nobody is answered with a 5xx.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Final

import pytest

from gateway.policy.routes import Auth, Route, Unauthenticated
from gateway.proxy.limits import Limits
from tests.support.heads import Heads
from tests.support.recorder import recorder, second_opinion
from tests.support.strict_http import Message, read_stream
from tests.support.wire import gateway

HEADS: Final = 10_000
"""With the fast path, and as many others without."""
SEED: Final = 20_261_122
PLAIN_NAME: Final = re.compile(rb"[A-Za-z0-9-]+")
"""Other names are taken away: backends fold them into names that mean something."""
REFUSALS: Final = frozenset({400, 414, 431})
PARALLEL: Final = 128
PATIENCE: Final = 60.0
"""Seconds until a connection that gives no answer fails the test. The machine may be busy."""
QUIET: Final = 1.0
"""Seconds of silence after which a connection is left alone, once what is beyond doubt was answered: what was left
unfinished has the gateway wait for more."""
END: Final = b"\x00" * 64 + b"\r\n\r\n"
"""What no reading takes for a request: behind it the connection has to end."""

ROUTES: Final = (
    Route("public", "/public/**", "app", Auth.PUBLIC),
    Route("api", "/**", "app", unauthenticated=Unauthenticated.UNAUTHORIZED),
)
LIMITS: Final = Limits(connections=4 * PARALLEL, per_peer=4 * PARALLEL)
OURS: Final = re.compile(
    rb"(?i)host$|x-forwarded-|x-request-id|connection|te$|content-length|transfer-encoding|expect|upgrade"
)
"""Fields that the gateway sets or frames by itself."""


class Client:
    """One connection: writes requests and reads until the gateway closes. What it writes is settled beforehand."""

    def __init__(self, heads: Heads) -> None:
        self.valid = [heads.valid() for _ in range(heads.between(0, 4))]
        self.broken = heads.broken()
        one_by_one = heads.chance(0.5)
        self.in_one = not one_by_one and heads.chance(0.2)
        groups = self.valid if one_by_one else [b"".join(self.valid)] if self.valid else []
        last = b"".join(groups) + self.broken if self.in_one else self.broken
        self.groups = [heads.segments(group) for group in ([] if self.in_one else groups)]
        self.last = heads.segments(last)
        self.sent = b"".join(self.valid) + self.broken + END
        self.received = b""

    async def run(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for group, first in zip(self.groups, self.valid, strict=False):
                # One after the other, as browsers do and the fast path likes it; or several and the first one's answer.
                await self._write(writer, group)
                await self._answer(reader, head_only=first.startswith(b"HEAD "))
            await self._write(writer, [*self.last, END])
            async with asyncio.timeout(PATIENCE):
                await self._rest(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # an early end is an answer too
        finally:
            writer.transport.abort()

    async def _rest(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                data = await asyncio.wait_for(reader.read(65_536), QUIET)
            except TimeoutError:
                if len(statuses(self)) >= len(self.valid):
                    return
            else:
                if not data:
                    return
                self.received += data

    async def _write(self, writer: asyncio.StreamWriter, pieces: list[bytes]) -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)

    async def _answer(self, reader: asyncio.StreamReader, *, head_only: bool) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        self.received += head
        if length is not None and not head_only:
            self.received += await reader.readexactly(int(length.group(1)))


def made(seed: int) -> list[Client]:
    """Clients with as many requests as there are to be."""
    heads, clients, count = Heads(seed), [], 0
    while count < HEADS:
        clients.append(Client(heads))
        count += len(clients[-1].valid) + 1
    return clients


def statuses(client: Client) -> list[int]:
    """The statuses of all answers that a client got, interim ones left out."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", client.received)]


def key(message: Message) -> tuple[object, ...]:
    """What has to be the same on both sides: request line, the test's own fields in their order, and the body."""
    fields = tuple((name, value) for name, value in message.fields if OURS.match(name) is None)
    return message.method, message.target, [host.lower() for host in message.all(b"host")], fields, message.body


def sieved(message: Message, found: Message) -> Message:
    """A message of a client's without the fields that the gateway takes away, as far as it did."""
    left = Counter(found.fields)
    kept = [(b"host", host) for host in message.all(b"host")]
    for item in message.fields:
        if item[0].lower() == b"host":
            continue
        if left[item] > 0:
            left[item] -= 1
            kept.append(item)
        elif item[0].lower().startswith(b"x-t-") and not _removable(message, item[0]):
            kept.append(item)  # the gateway had no reason to remove it, so it must not be missing
    return Message(message.method, message.target, message.minor, kept, message.body)


def _removable(message: Message, name: bytes) -> bool:
    options = [option.strip(b" \t").lower() for value in message.all(b"connection") for option in value.split(b",")]
    return name.lower() in options or PLAIN_NAME.fullmatch(name) is None


@pytest.mark.parametrize(("fast_path", "seed"), [(True, SEED), (False, SEED + 1)])
async def test_only_what_is_beyond_doubt_reaches_the_backend(fast_path: bool, seed: int) -> None:
    """passes on exactly the messages of a strict reading, and answers none of 20,000 request heads with a 5xx."""
    clients = made(seed)
    waiting = iter(clients)
    async with (
        recorder() as backend,
        gateway(backend.url, routes=ROUTES, limits=LIMITS, fast_path=fast_path) as front,
    ):

        async def worker() -> None:
            for client in waiting:
                await client.run(front.port)

        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(worker())
        assert (front.replayed > HEADS / 20) is fast_path

    assert backend.malformed == []
    by_case: dict[bytes, list[Message]] = {}
    for client in clients:
        for message in read_stream(client.sent):
            by_case.setdefault(b"".join(message.all(b"x-t-case")), []).append(message)
        found = statuses(client)
        assert all(status < 500 for status in found), (found, client.sent)
        served = next((n for n, status in enumerate(found) if status != 200), len(found))
        served = min(served, len(client.valid))
        # aiohttp reads what comes in one piece before any of it is handled: a broken request takes those with it.
        assert served == len(client.valid) or (client.in_one and found[served] in REFUSALS), (found, client.sent)
    for message in backend.messages:
        candidates = by_case.get(b"".join(message.all(b"x-t-case")), [])
        fitting = [one for one in candidates if key(sieved(one, message)) == key(message)]
        assert fitting, message.raw
        candidates.remove(fitting[0])
        assert second_opinion(message) == "", message.raw
