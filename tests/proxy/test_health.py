"""Health checks: what is asked, what counts, and who gets requests meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from gateway.proxy.health import HealthCheck, HealthWatch, _Verdict
from gateway.proxy.pool import FAULTS_ALLOWED
from gateway.proxy.upstream import Upstream
from tests.proxy.test_upstream import backends
from tests.support.backends import Conversation, Script, answers, backend
from tests.support.wire import PATIENCE, eventually, gateway, request, status_of

CHECK = HealthCheck("/healthz", every=0.01, timeout=0.2, healthy_after=2, unhealthy_after=3)


class Patient:
    """A backend whose health can be switched, and that counts who asks for what."""

    def __init__(self) -> None:
        self.status = b"200 OK"
        self.checks = 0
        self.requests = 0
        self.head = b""

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if head.startswith(b"GET /healthz "):
                self.checks += 1
                self.head = head
                await conversation.send(b"HTTP/1.1 " + self.status + b"\r\nContent-Length: 0\r\n\r\n")
            else:
                self.requests += 1
                await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_who_is_not_well_gets_no_requests() -> None:
    """sends requests to the addresses that are well, and again to one that got well."""
    sick, well = Patient(), Patient()
    async with backends(sick, well) as servers:
        upstream = Upstream("app", [server.url for server in servers], health=CHECK)
        async with gateway(upstream=upstream) as front:
            sick.status = b"503 Not now"
            await eventually(lambda: not upstream.standings()[0].healthy)
            before = sick.requests
            for _ in range(4):
                assert status_of(await front.speak(request())) == 200
            assert (sick.requests, well.requests) == (before, 4)
            assert upstream.standings()[0].why == "health check: status 503"
            sick.status = b"302 Found"
            await eventually(lambda: upstream.standings()[0].healthy)
            for _ in range(4):
                assert status_of(await front.speak(request())) == 200
            assert sick.requests > before
        checks = sick.checks, well.checks
        assert min(checks) >= 1
    assert (sick.checks, well.checks) == checks, "nobody is asked once the upstream is closed"


async def test_a_check_says_nothing_of_anybody() -> None:
    """asks with the backend's own host, says who asks, and brings nothing of any request along."""
    patient = Patient()
    async with backend(patient) as server:
        for host, seen in (("keep", server.url.removeprefix("http://")), ("app.example", "app.example")):
            upstream = Upstream("app", [server.url], health=CHECK, host=host)
            upstream.start()
            asked = patient.checks
            await eventually(lambda asked=asked: patient.checks > asked)  # type: ignore[misc]
            await upstream.close()
            assert patient.head.decode().split("\r\n") == [
                "GET /healthz HTTP/1.1",
                f"Host: {seen}",
                "User-Agent: session-gateway",
                "Accept: */*",
                "Connection: close",
                "",
                "",
            ]


async def _mute(conversation: Conversation) -> None:
    await conversation.to_end()


async def _nonsense(conversation: Conversation) -> None:
    await conversation.head()
    await conversation.send(b"nonsense\r\n\r\n")


async def _closes(conversation: Conversation) -> None:
    await conversation.head()


async def _waits(conversation: Conversation) -> None:
    await conversation.head()
    await conversation.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 50)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (_mute, "no answer to a health check within 0.2 s"),
        (_nonsense, "health check: the answer's status line is malformed"),
        (_closes, "health check: the upstream closed the connection without an answer"),
        (_waits, "health check: interim answers without end"),
        (answers(status=b"404 Not Found"), "health check: status 404"),
    ],
)
async def test_what_is_wrong_is_said(script: Script, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """says in the log and to whoever asks what a check found."""
    async with backend(script) as server:
        upstream = Upstream("app", [server.url], health=CHECK)
        upstream.start()
        await eventually(lambda: not upstream.standings()[0].healthy)
        assert upstream.standings()[0].why == why
        await upstream.close()
    assert f"gets no more requests: {why}" in caplog.text


async def test_nobody_there_is_not_well() -> None:
    """finds an address where nobody listens."""
    upstream = Upstream("app", ["http://127.0.0.1:1"], health=CHECK)
    upstream.start()
    upstream.start()  # once more is nothing more
    await eventually(lambda: not upstream.standings()[0].healthy)
    assert "Connection refused" in upstream.standings()[0].why
    await upstream.close()


def test_results_in_a_row_count() -> None:
    """turns after so many equal results in a row, and at the very first one."""
    upstream = Upstream("app", ["http://127.0.0.1:1"])
    (pool,) = upstream._pools

    def course(results: str, *, known: bool = True) -> str:
        verdict = _Verdict(pool, CHECK)
        verdict._first = not known
        pool.sound = True
        found = ""
        for result in results:
            verdict.take("" if result == "+" else "bad")
            found += "+" if pool.sound else "-"
        return found

    assert course("---") == "++-"
    assert course("--+---") == "+++++-"
    assert course("---++") == "++--+"
    assert course("---+-++") == "++----+"
    assert course("-++", known=False) == "--+"
    assert course("+---", known=False) == "+++-"


async def test_getting_well_forgives_faults() -> None:
    """ends the pause of an address when its checks turn good, not while they always were."""
    upstream = Upstream("app", ["http://127.0.0.1:1"])
    (pool,) = upstream._pools
    verdict = _Verdict(pool, CHECK)
    verdict.take("")
    pool.fault(0.0, "refused", weight=FAULTS_ALLOWED)
    verdict.take("")
    assert not pool.available(0.0)
    for fault in ("bad", "bad", "bad", "", ""):
        verdict.take(fault)
    assert pool.available(0.0)


async def test_checks_do_not_march_in_step() -> None:
    """checks at intervals that vary by a tenth, so that many gateways do not ask all at once."""
    waits: list[float] = []
    patient = Patient()
    async with backend(patient) as server:
        upstream = Upstream("app", [server.url])
        watch = HealthWatch(upstream._pools, replace(CHECK, every=10.0), upstream._open_checked)
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await real(0)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gateway.proxy.health.asyncio.sleep", sleep)
            watch.start()
            async with asyncio.timeout(PATIENCE):
                while len(waits) < 20:
                    await real(0.001)
            await watch.close()
    assert all(9.0 <= wait <= 11.0 for wait in waits)
    assert len(Counter(waits)) > 10
    assert upstream.standings()[0].busy == 0
