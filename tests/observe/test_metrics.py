"""Counters, and what Prometheus reads of them."""

from __future__ import annotations

import builtins
import io
import ipaddress
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import reasons
from gateway.core.claims import Claims
from gateway.core.decision import Allow, Challenge, Conditions, Decision, Deny
from gateway.core.ports import DecisionEvent
from gateway.core.session import NetworkAction, NetworkLevel, Session
from gateway.errors import TokenExpired
from gateway.observe.decisions import DecisionLog, NoLog
from gateway.observe.metrics import CountingSink, Durations, Figure, Metrics, TimedVerifier, metrics_page
from tests.support.wire import Recorder, claims_of

CONDITIONS = Conditions(0.0, 0, None, "app", 0)


def event(decision: Decision, **changed: str) -> DecisionEvent:
    return DecisionEvent(0.0, "id", "GET", "h", changed.get("path", "/"), "192.0.2.1", decision, 5)


def session(level: NetworkLevel = NetworkLevel.SAME, action: NetworkAction = NetworkAction.ALLOW) -> Session:
    return Session(claims_of(), ipaddress.ip_address("192.0.2.1"), level, action)


def samples(metrics: Metrics, accept: str = "") -> dict[tuple[str, tuple[str, ...]], float]:
    page = metrics_page(metrics)
    assert page is not None
    body, media_type = page(accept)
    assert media_type.startswith("text/plain")
    found = {}  # labels in the order of their names
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found[sample.name, tuple(sample.labels.values())] = sample.value
    return found


def test_decisions_are_counted_by_outcome_and_reason() -> None:
    """counts each decision under its reason, and passes it on to the log."""
    metrics, log = Metrics(), Recorder()
    sink = CountingSink(metrics, log)
    events = [
        event(Allow(reasons.SESSION_VALID, "app", session(), CONDITIONS)),
        event(Allow(reasons.SESSION_VALID, "app", session(), CONDITIONS)),
        event(Challenge(reasons.SESSION_REVOKED, "app")),
        event(Deny(reasons.NO_ROUTE)),
    ]
    for one in events:
        sink.record(one)
    assert log.events == events
    found = samples(metrics)
    assert found["gateway_auth_decisions_total", ("allow", "session_valid")] == 2
    assert found["gateway_auth_decisions_total", ("challenge", "session_revoked")] == 1
    assert found["gateway_auth_decisions_total", ("deny", "no_route")] == 1


def test_networks_are_counted_by_level_and_action() -> None:
    """counts where sessions turn up, let in or not, and nothing for visitors without a session."""
    metrics = Metrics()
    moved = session(NetworkLevel.MOVED, NetworkAction.REAUTHENTICATE)
    for decision in (
        Allow(reasons.SESSION_VALID, "app", session(), CONDITIONS),
        Challenge(reasons.NETWORK_CHANGED, "app", session=moved),
        Allow(reasons.ANONYMOUS, "app", None, CONDITIONS),
        Deny(reasons.CROSS_SITE),
    ):
        metrics.decided(event(decision))
    found = samples(metrics)
    levels = {labels: value for (name, labels), value in found.items() if name == "gateway_ip_change_total"}
    assert levels == {("allow", "same"): 1, ("reauthenticate", "moved"): 1}


def test_answers_are_counted_by_route_and_class() -> None:
    """counts answers by route and the first digit of the status."""
    metrics = Metrics()
    for route, status in (("app", 200), ("app", 204), ("app", 302), ("", 403), ("api", 503)):
        metrics.answered(route, status)
    found = {labels: v for (name, labels), v in samples(metrics).items() if name == "gateway_http_requests_total"}
    assert found == {("2xx", "app"): 2, ("3xx", "app"): 1, ("4xx", "none"): 1, ("5xx", "api"): 1}


class Verifies:
    def __init__(self, answer: Claims | Exception) -> None:
        self.answer = answer

    async def verify(self, token: str) -> Claims:
        return self.now(token)

    def now(self, token: str) -> Claims:
        assert token == "a.b.c"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_verification_is_timed_however_it_ends() -> None:
    """measures good and refused tokens alike, one in so many and the first, and changes no answer."""
    metrics = Metrics()
    claims = claims_of()
    verifier = TimedVerifier(Verifies(claims), metrics.verify, every=2)
    assert [await verifier.verify("a.b.c") for _ in range(3)] == [claims] * 3
    with pytest.raises(TokenExpired):
        await TimedVerifier(Verifies(TokenExpired("old")), metrics.verify).verify("a.b.c")
    found = samples(metrics)
    assert found["gateway_token_verify_seconds_count", ()] == 3
    assert 0 < found["gateway_token_verify_seconds_sum", ()] < 1
    assert found["gateway_token_verify_seconds_bucket", ("+Inf",)] == 3


class Peeks(Verifies):
    """A verifier that can also tell at once, unless it is told to wait."""

    waits = False

    def peek(self, token: str) -> Claims | None:
        if self.waits:
            return None
        return self.now(token)


async def test_durations_of_what_takes_no_waiting() -> None:
    """measures what is told at once like everything else, and counts no token twice that has to be waited for."""
    metrics, claims = Metrics(), claims_of()
    inner = Peeks(claims)
    verifier = TimedVerifier(inner, metrics.verify, every=2)
    assert [verifier.peek("a.b.c") for _ in range(3)] == [claims] * 3
    inner.waits = True
    verifier = TimedVerifier(inner, metrics.verify, every=1)
    assert verifier.peek("a.b.c") is None
    assert await verifier.verify("a.b.c") == claims
    with pytest.raises(TokenExpired):
        TimedVerifier(Peeks(TokenExpired("old")), metrics.verify).peek("a.b.c")
    assert TimedVerifier(Verifies(claims), metrics.verify).peek("a.b.c") is None
    assert samples(metrics)["gateway_token_verify_seconds_count", ()] == 4


def test_buckets_hold_what_is_at_most_their_bound() -> None:
    """sorts durations into buckets as Prometheus reads them: cumulative, bounds included."""
    durations = Durations((0.001, 0.1))
    for seconds in (0.0005, 0.001, 0.002, 5.0):
        durations.add(seconds)
    assert durations.cumulative() == [("0.001", 2.0), ("0.1", 3.0), ("+Inf", 4.0)]
    assert durations.total == pytest.approx(5.0035)


def test_figures_are_read_when_somebody_looks() -> None:
    """asks each part for its figures at the moment of the scrape."""
    metrics, age = Metrics(), 1.5
    metrics.watch(Figure("gateway_something_seconds", "gauge", "Something.", lambda: {("a",): age}, ("kind",)))
    assert samples(metrics)["gateway_something_seconds", ("a",)] == 1.5
    age = 2.5
    assert samples(metrics)["gateway_something_seconds", ("a",)] == 2.5


def test_the_process_is_told_of_too() -> None:
    """tells memory and open files of its process, for leaks to be seen."""
    found = samples(Metrics())
    assert found["process_resident_memory_bytes", ()] > 0
    assert found["process_open_fds", ()] > 0


def test_the_format_is_the_one_that_was_asked_for() -> None:
    """speaks OpenMetrics to whoever asks for it."""
    page = metrics_page(Metrics())
    assert page is not None
    body, media_type = page("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_no_label_comes_from_a_client() -> None:
    """shows nothing of what clients send: no path, no user, no address."""
    metrics = Metrics()
    decision = Allow(reasons.SESSION_VALID, "app", session(), CONDITIONS)
    metrics.decided(event(decision, path="/secret/alice"))
    page = metrics_page(metrics)
    assert page is not None
    body, _ = page("")
    assert not [word for word in (b"secret", b"alice", b"192.0.2.1") if word in body]


def test_without_the_library_there_is_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """counts without prometheus-client, and knows that it cannot show."""
    real = builtins.__import__

    def without(name: str, globals_: Mapping[str, Any] | None = None, *rest: Any) -> Any:
        if name.partition(".")[0] == "prometheus_client":
            raise ModuleNotFoundError(name)
        return real(name, globals_, *rest)

    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    metrics = Metrics()
    metrics.answered("app", 200)
    assert metrics_page(metrics) is None


def test_a_figure_takes_the_place_of_its_namesake() -> None:
    """... shows a metric once, as the newest configuration reads it."""
    metrics = Metrics()
    before = len(metrics.figures)
    metrics.watch(Figure("x", "gauge", "X.", lambda: {(): 1.0}))
    metrics.watch(Figure("x", "gauge", "X.", lambda: {(): 2.0}))
    assert len(metrics.figures) == before + 1
    assert metrics.figures[-1].read() == {(): 2.0}


def test_a_sink_may_be_exchanged() -> None:
    """... counts on while the log behind it is another, and tells what that one lost."""
    metrics, first, second = Metrics(), DecisionLog(str, io.StringIO()), NoLog()
    sink = CountingSink(metrics, first)
    first.dropped = 3
    assert sink.dropped == 3
    sink.inner = second
    assert sink.dropped == 0
