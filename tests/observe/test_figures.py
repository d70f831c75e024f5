"""What the parts of a gateway tell of themselves, and that the reference page names all of it."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from gateway import __version__
from gateway.adapters.google_keys import PublishedKeys
from gateway.adapters.memory import MemoryDenyList
from gateway.adapters.revocation_cache import RevocationCache
from gateway.observe.decisions import DecisionLog, NoLog, text_line
from gateway.observe.figures import (
    all_figures,
    connection_figures,
    data_figures,
    deny_list_figures,
    key_figures,
    live_figures,
    log_figures,
    revocation_figures,
    upstream_figures,
)
from gateway.observe.life import reload_figures, tls_figures, worker_figures
from gateway.observe.metrics import VERIFY_HELP, VERIFY_NAME, Figure, Metrics, Readings
from gateway.proxy.admission import Admission
from gateway.proxy.limits import Limits
from gateway.wiring.reloads import Reloads
from tests.support.accounts import CountingDirectory, person
from tests.support.clock import FakeClock
from tests.support.issuer import KeyServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"


def read(figures: tuple[Figure, ...]) -> dict[str, Readings]:
    return {figure.name: figure.read() for figure in figures}


def door() -> Admission:
    limits = Limits(connections=7)
    return Admission(limits, exempt=lambda _: False, on_dropped=lambda *_: "", answer=lambda *_: b"")


@pytest.fixture
async def cache() -> AsyncIterator[RevocationCache]:
    clock = FakeClock()
    made = RevocationCache(CountingDirectory("ada"), clock, sleep=clock.sleep)
    yield made
    await made.close()


async def test_the_promise_of_freshness_can_be_watched() -> None:
    """exports how old the oldest answer relied on is, beside what it promised, and what keeping it costs."""
    clock = FakeClock()
    directory = CountingDirectory("ada", "bob")
    cache = RevocationCache(directory, clock, max_staleness=30, sleep=clock.sleep)
    figures = revocation_figures(cache)
    await cache.standing(person("ada"))
    clock.advance(20)
    cache.peek(person("ada"))
    found = read(figures)
    assert found["gateway_revocation_staleness_seconds"] == {(): 20.0}
    assert found["gateway_revocation_max_staleness_seconds"] == {(): 30}
    assert found["gateway_revocation_available"] == {(): True}
    assert found["gateway_revocation_users"] == {(): 1}
    directory.down = True
    clock.advance(11)
    await cache.standing(person("ada"))
    found = read(figures)
    assert found["gateway_revocation_available"] == {(): False}
    assert found["gateway_revocation_staleness_seconds"] == {(): 31.0}
    assert found["gateway_revocation_lookups_total"] == {("answered",): 1, ("failed",): 1}
    assert found["gateway_revocation_looked_up_users_total"] == {(): 2}
    await cache.close()


async def test_keys_tell_their_age_and_their_failures() -> None:
    """exports whether tokens can be verified, how old the keys are and how fetching them went."""
    clock = FakeClock()
    async with KeyServer() as issuer, aiohttp.ClientSession() as session:
        keys = PublishedKeys(issuer.url, session, clock, sleep=clock.sleep)
        figures = key_figures({"id_token": keys})
        found = read(figures)
        assert found["gateway_keys_usable"] == {("id_token",): False}
        assert found["gateway_keys_age_seconds"] == {}
        issuer.status = 500
        await keys.start()
        issuer.status = 200
        clock.advance(5)
        assert await keys.key("forge-key-1") is not None
        clock.advance(7)
        found = read(figures)
        assert found["gateway_keys_usable"] == {("id_token",): True}
        assert found["gateway_keys_age_seconds"] == {("id_token",): 7.0}
        assert found["gateway_keys_fetches_total"] == {("id_token", "answered"): 1, ("id_token", "failed"): 1}
        await keys.close()


def test_the_deny_list_and_the_log_tell_what_they_lost() -> None:
    """exports what was dropped, so that nobody has to find it in a log that may be incomplete itself."""
    deny_list = MemoryDenyList(FakeClock(), capacity=1)
    deny_list.deny(person("ada"), 1)
    deny_list.deny(person("ada"), 2)
    found = read(deny_list_figures(deny_list))
    assert found == {"gateway_ended_sessions": {(): 1}, "gateway_ended_sessions_evicted_total": {(): 1}}
    log = DecisionLog(text_line)
    log.dropped = 3
    assert read(log_figures(log)) == {"gateway_decision_log_dropped_total": {(): 3}}
    assert read(log_figures(NoLog())) == {"gateway_decision_log_dropped_total": {(): 0}}


async def test_the_reference_page_names_every_metric(cache: RevocationCache) -> None:
    """documents each metric with its kind, its labels and its meaning, and none that there is not."""
    metrics = Metrics()
    clock = FakeClock()
    metrics.watch(*all_figures(__version__, NoLog(), MemoryDenyList(clock), {}, cache), *data_figures(dict))
    metrics.watch(*connection_figures(door()), *live_figures(Lasting()))
    metrics.watch(*upstream_figures(list))
    metrics.watch(*reload_figures(Reloads(0, 0.0)), *tls_figures(float), *worker_figures([]))
    assert read(tuple(metrics.figures))["gateway_build_info"] == {(__version__, platform.python_version()): 1.0}
    rows = {f"| `{f.name}` | {f.kind} |{_names(f.labels)} | {f.help} |" for f in metrics.figures}
    rows.add(f"| `{VERIFY_NAME}` | histogram | | {VERIFY_HELP} |")
    documented = set(re.findall(r"^\| `gateway_[a-z_]+` \|.*\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == rows


def test_connections_tell_how_near_they_are_to_their_bound() -> None:
    """exports how many connections there are and may be, and how often none could be taken for want of a file."""
    admission = door()
    admission.enter("192.0.2.1")
    assert read(connection_figures(admission)) == {
        "gateway_connections": {(): 1},
        "gateway_connections_limit": {(): 7},
        "gateway_accept_failures_total": {(): 0},
    }


class Lasting:
    """Connections that last, as they are told of."""

    ended: Final = Counter({("websocket", "token_expired"): 2})

    def active(self) -> Counter[str]:
        return Counter({"websocket": 3, "event-stream": 1})


def test_what_lasts_is_told() -> None:
    """exports how many connections last, and why it ended those that it did."""
    assert read(live_figures(Lasting())) == {
        "gateway_streams_active": {("websocket",): 3, ("event-stream",): 1},
        "gateway_streams_ended_total": {("websocket", "token_expired"): 2},
    }


def test_addresses_of_backends_tell_how_they_stand() -> None:
    """exports for each address of each backend whether it gets requests, and what it has to do."""

    @dataclass
    class One:
        upstream: str
        address: str
        healthy: bool
        idle: int = 1
        busy: int = 2
        faults: int = 3

    found = read(upstream_figures(lambda: [One("app", "a:80", healthy=True), One("app", "b:80", healthy=False)]))
    assert found["gateway_upstream_healthy"] == {("app", "a:80"): True, ("app", "b:80"): False}
    for name, value in (("idle_connections", 1), ("busy_connections", 2), ("faults_total", 3)):
        assert found[f"gateway_upstream_{name}"] == {("app", "a:80"): value, ("app", "b:80"): value}


def test_the_age_of_network_data_is_told() -> None:
    """tells how old each file of the network judgement is that is in use."""
    found = read(data_figures(lambda: {"asn_db": 5.0}))
    assert found == {"gateway_network_data_age_seconds": {("asn_db",): 5.0}}


def test_without_an_account_service_nothing_is_said_of_it() -> None:
    """leaves out what does not exist, rather than reporting zeros."""
    figures = all_figures(__version__, NoLog(), MemoryDenyList(FakeClock()), {}, None)
    assert not [figure.name for figure in figures if "revocation" in figure.name]


def _names(labels: tuple[str, ...]) -> str:
    return "".join(f"{',' if index else ''} `{label}`" for index, label in enumerate(labels))
