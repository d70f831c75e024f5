"""One address of a backend: how it stands, and which of its connections is used."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.proxy.address import Address
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.pool import FAULTS_ALLOWED, FIRST_PAUSE, FRESH_ENOUGH, LONGEST_PAUSE, MAX_IDLE, MAX_IDLE_TIME, Pool
from tests.support.transports import Wire


def pool() -> Pool:
    return Pool("app", Address.parse("http://127.0.0.1:3000", "x"))


def opened(into: Pool) -> UpstreamConnection:
    connection = UpstreamConnection(into)
    connection.connection_made(Wire())
    return connection


def test_the_last_connection_used_is_used_first() -> None:
    """takes the most recently used connection, so that idle ones can grow old."""
    own = pool()
    first, second = opened(own), opened(own)
    assert (own.opened, own.busy) == (2, 2)
    own.give(first, 1.0)
    own.give(second, 2.0)
    assert own.busy == 0
    assert own.take(2.0, repeatable=True) is second
    assert own.take(2.0, repeatable=True) is first
    assert own.take(2.0, repeatable=True) is None
    assert own.busy == 2


def test_an_old_connection_is_not_trusted_with_what_must_not_be_repeated() -> None:
    """sends what must not be repeated only over a connection that was used a moment ago."""
    own = pool()
    connection = opened(own)
    own.give(connection, 0.0)
    assert own.take(FRESH_ENOUGH + 0.1, repeatable=False) is None
    assert own.take(FRESH_ENOUGH, repeatable=False) is connection
    own.give(connection, 0.0)
    assert own.take(MAX_IDLE_TIME + 0.1, repeatable=True) is None
    assert not connection.usable


def test_a_dead_connection_is_forgotten() -> None:
    """drops a kept connection that ended or that brought bytes nobody asked for."""
    own = pool()
    dead, talking = opened(own), opened(own)
    own.give(dead, 0.0)
    own.give(talking, 0.0)
    dead.connection_lost(None)
    assert (own.opened, len(own.idle)) == (1, 1)
    talking.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert own.take(0.0, repeatable=True) is None
    assert not talking.usable


def test_idle_connections_are_bounded() -> None:
    """keeps a limited number of idle connections."""
    own = pool()
    connections = [opened(own) for _ in range(MAX_IDLE + 2)]
    for connection in connections:
        own.give(connection, 0.0)
    assert sum(connection.usable for connection in connections) == MAX_IDLE
    own.drop_idle()
    assert not any(connection.usable for connection in connections)


def test_faults_in_a_row_take_an_address_out_for_longer_and_longer(caplog: pytest.LogCaptureFixture) -> None:
    """leaves an address alone after some faults in a row, then gives it one chance and leaves it alone for longer."""
    own, now, pauses = pool(), 100.0, []
    for _ in range(FAULTS_ALLOWED - 1):
        own.fault(now, "broken")
        assert own.available(now)
    for _ in range(10):
        own.fault(now, "broken")
        assert not own.available(now)
        own.fault(now, "broken")  # one that was under way already
        pauses.append(own.out_until - now)
        now = own.out_until
        assert own.available(now)
        assert not own.well
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert own.why == "broken"
    assert "127.0.0.1:3000 is left alone for 1 s: broken" in caplog.text


def test_a_whole_answer_forgives_all() -> None:
    """counts faults in a row only."""
    own = pool()
    for _ in range(3 * FAULTS_ALLOWED):
        own.fault(0.0, "broken")
        own.succeeded()
    assert own.available(0.0)
    assert own.well
    assert own.fault_total == 3 * FAULTS_ALLOWED
    own.fault(0.0, "refused", weight=FAULTS_ALLOWED)
    assert not own.available(0.0)
    own.succeeded()
    own.fault(0.0, "refused", weight=FAULTS_ALLOWED)
    assert own.out_until == FIRST_PAUSE


def test_what_is_not_sound_gets_nothing() -> None:
    """leaves an address alone whose health checks fail."""
    own: Any = pool()
    own.sound = False
    assert not own.available(0.0)
