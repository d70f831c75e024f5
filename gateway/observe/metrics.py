"""Metrics: what is counted while requests pass, and what each part says of itself when somebody looks.

The rules this file obeys (``conventions.md`` "Metrics naming"; Prometheus, "Metric and label naming"):

1. **Counting costs a request two or three additions to plain integers**: no lock, no allocation that lasts, no
   library. Everything happens in the event loop's one thread; what Prometheus wants is made of it when somebody asks.
2. **A label never holds what a client chose**: reason ids, route names of the configuration, levels. No user, no path,
   no address.
3. prometheus-client is an extra. Without it the gateway counts all the same and ``/metrics`` says what to install.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from gateway.core.at_once import PromptVerifier
from gateway.core.decision import Allow, Challenge
from gateway.core.session import NetworkAction, NetworkLevel
from gateway.reasons import TABLE

if TYPE_CHECKING:
    from gateway.core.claims import Claims
    from gateway.core.ports import AuditSink, DecisionEvent, Verifier

Labels: TypeAlias = tuple[str, ...]
Readings: TypeAlias = Mapping[Labels, float]

NO_ROUTE: Final = "none"
"""The route of requests that matched none, or were refused before one was looked for."""

VERIFY_BUCKETS: Final = (
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.001,
    0.005,
    0.025,
    0.1,
    0.5,
    2.5,
)
"""Seconds. A remembered token takes some ten microseconds, an RSA verification some fifty; the rest is waiting for
keys."""


MEASURED: Final = 16
"""One verification in so many is timed."""

_WITH_SESSION: Final = (Allow, Challenge)
_SAME: Final = NetworkLevel.SAME
_ALLOW: Final = NetworkAction.ALLOW


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric. ``read`` gives the value now for each combination of label values, ``()`` where there is no label."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    read: Callable[[], Readings]
    labels: Labels = ()


class Durations:
    """How long something took, by buckets. Seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = (*bounds, math.inf)
        self.counts = [0] * len(self.bounds)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Bucket bound and number of durations up to it, as Prometheus writes histograms."""
        reached, rows = 0, []
        for bound, count in zip(self.bounds, self.counts, strict=True):
            reached += count
            rows.append(("+Inf" if bound == math.inf else repr(bound), float(reached)))
        return rows


class Metrics:
    """Counts what happens to requests, and knows whom to ask for the rest."""

    def __init__(self) -> None:
        self.verify = Durations(VERIFY_BUCKETS)
        self.figures: list[Figure] = []
        self._decisions: Counter[str] = Counter()
        self._networks: Counter[Labels] = Counter()
        self._unmoved = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self.watch(
            Figure(
                "gateway_auth_decisions_total",
                "counter",
                "Decisions by outcome and reason.",
                lambda: {(TABLE[reason].outcome.value, reason): count for reason, count in self._decisions.items()},
                ("decision", "reason"),
            ),
            Figure(
                "gateway_ip_change_total",
                "counter",
                "Judged networks of signed-in requests by level and what it led to.",
                self._by_level,
                ("level", "action"),
            ),
            Figure(
                "gateway_http_requests_total",
                "counter",
                "Answered requests by route and class of status.",
                self._by_class,
                ("route", "code"),
            ),
        )

    def watch(self, *figures: Figure) -> None:
        """Show these figures too, in the place of any that bear the same names."""
        names = {figure.name for figure in figures}
        self.figures = [figure for figure in self.figures if figure.name not in names]
        self.figures += figures

    def decided(self, event: DecisionEvent) -> None:
        """Count one decision."""
        decision = event.decision
        self._decisions[decision.reason.id] += 1
        session = decision.session if isinstance(decision, _WITH_SESSION) else None
        if session is None:
            return
        if session.network is _SAME and session.action is _ALLOW:
            self._unmoved += 1  # nearly every request; an enumeration's member is slow to look up in a dict
        else:
            self._networks[session.network.value, session.action.value] += 1

    def answered(self, route: str, status: int) -> None:
        """Count one answer."""
        self._requests[route or NO_ROUTE, status // 100] += 1

    def _by_level(self) -> Readings:
        found: dict[Labels, float] = dict(self._networks)
        if self._unmoved:
            found[_SAME.value, _ALLOW.value] = self._unmoved
        return found

    def _by_class(self) -> Readings:
        return {(route, f"{hundreds}xx"): count for (route, hundreds), count in self._requests.items()}


class CountingSink:
    """Counts decisions on their way to another sink. Implements :class:`gateway.core.ports.AuditSink`.

    ``inner`` is that sink, and may be exchanged.
    """

    __slots__ = ("_metrics", "inner")

    def __init__(self, metrics: Metrics, inner: AuditSink) -> None:
        self._metrics = metrics
        self.inner = inner

    @property
    def dropped(self) -> int:
        """Events that the sink lost."""
        return getattr(self.inner, "dropped", 0)

    def record(self, event: DecisionEvent) -> None:
        """Count the event and pass it on."""
        self._metrics.decided(event)
        self.inner.record(event)


class TimedVerifier:
    """Measures another verifier, waiting for keys included. Implements :class:`gateway.core.ports.Verifier`.

    :param every: one in so many is measured, beginning with the first. Measuring costs a tenth of a judgement.
    """

    __slots__ = ("_durations", "_every", "_inner", "_peek", "_until_next")

    def __init__(self, inner: Verifier, durations: Durations, *, every: int = MEASURED) -> None:
        self._inner = inner
        self._peek = inner.peek if isinstance(inner, PromptVerifier) else None
        self._durations = durations
        self._every = every
        self._until_next = 1

    def verify(self, token: str) -> Coroutine[Any, Any, Claims]:
        """Claims of ``token``; raises what the verifier raises."""
        self._until_next -= 1
        if self._until_next:
            return self._inner.verify(token)
        self._until_next = self._every
        return self._timed(token)

    def peek(self, token: str) -> Claims | None:
        """Claims of ``token`` where that takes no I/O, else None; raises what the verifier raises."""
        if self._peek is None:
            return None
        self._until_next -= 1
        if self._until_next:
            return self._peek(token)
        self._until_next = self._every
        started, waits = time.perf_counter(), False
        try:
            claims = self._peek(token)
            waits = claims is None
            return claims
        finally:
            if waits:
                self._until_next = 1  # whoever waits for it is measured instead
            else:
                self._durations.add(time.perf_counter() - started)

    async def _timed(self, token: str) -> Claims:
        started = time.perf_counter()
        try:
            return await self._inner.verify(token)
        finally:
            self._durations.add(time.perf_counter() - started)


Page: TypeAlias = Callable[[str], tuple[bytes, str]]
"""From an ``Accept`` header to a body and its media type."""


def metrics_page(metrics: Metrics) -> Page | None:
    """What ``/metrics`` answers; None while prometheus-client is not installed."""
    try:
        import prometheus_client  # noqa: PLC0415 - an extra
        from prometheus_client import exposition  # noqa: PLC0415
    except ImportError:
        return None
    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(metrics))
    prometheus_client.ProcessCollector(registry=registry)

    def page(accept: str) -> tuple[bytes, str]:
        encoder, media_type = exposition.choose_encoder(accept)
        return encoder(registry), media_type

    return page


class _Collector:
    """What prometheus-client asks for families of metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Any]:
        """All figures, in the order in which they were declared."""
        from prometheus_client.core import (  # noqa: PLC0415 - an extra
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for figure in self._metrics.figures:
            family = (CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily)(
                figure.name, figure.help, labels=figure.labels
            )
            for labels, value in sorted(figure.read().items()):
                family.add_metric(labels, value)
            yield family
        verify = self._metrics.verify
        histogram = HistogramMetricFamily(VERIFY_NAME, VERIFY_HELP)
        histogram.add_metric([], verify.cumulative(), verify.total)
        yield histogram


VERIFY_NAME: Final = "gateway_token_verify_seconds"
VERIFY_HELP: Final = (
    f"Time to verify one token, of every {MEASURED}th; remembered tokens and waiting for keys included."
)
