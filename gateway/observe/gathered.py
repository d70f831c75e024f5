"""Metrics of several processes on one page.

Each process says what it counts in plain values (:func:`families`), which travel; whoever has the admin listener writes
them all, each with the label ``worker`` more. They are not added up: a process that is started anew counts from
nothing, and Prometheus knows what to make of that only where each process is a series of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from gateway.observe.metrics import VERIFY_HELP, VERIFY_NAME, Figure, Metrics

WORKER: Final = "worker"
"""The label's name."""

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]


class Family(msgspec.Struct, frozen=True):
    """One metric of one process.

    ``rows`` are label values and value; of a histogram, bucket bound and count up to it, with the sum in ``total``.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    rows: list[tuple[tuple[str, ...], float]]
    total: float = 0.0


def families(metrics: Metrics) -> list[Family]:
    """All that a process counts, now."""
    found = [of(figure) for figure in metrics.figures]
    verify = metrics.verify
    rows: list[tuple[tuple[str, ...], float]] = [((bound,), count) for bound, count in verify.cumulative()]
    return [*found, Family(VERIFY_NAME, "histogram", VERIFY_HELP, (), rows, verify.total)]


def of(figure: Figure) -> Family:
    """A figure as it is now."""
    rows = [(tuple(map(str, labels)), float(value)) for labels, value in sorted(figure.read().items())]
    return Family(figure.name, figure.kind, figure.help, figure.labels, rows)


def write(accept: str, by_worker: Mapping[str, Sequence[Family]], own: Sequence[Figure]) -> tuple[bytes, str]:
    """The page and its media type, for an ``Accept`` header. Needs prometheus-client.

    :param by_worker: what each process counts.
    :param own: figures of the process that writes the page.
    """
    import prometheus_client  # noqa: PLC0415 - an extra
    from prometheus_client import exposition  # noqa: PLC0415

    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(_Gathered(by_worker, own))
    prometheus_client.ProcessCollector(registry=registry)
    encoder, media_type = exposition.choose_encoder(accept)
    return encoder(registry), media_type


def can_write() -> bool:
    """Whether prometheus-client is installed."""
    try:
        import prometheus_client  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return False
    return True


class _Gathered:
    """What prometheus-client asks for families of metrics."""

    def __init__(self, by_worker: Mapping[str, Sequence[Family]], own: Sequence[Figure]) -> None:
        self._by_worker = by_worker
        self._own = own

    def collect(self) -> Iterable[Any]:
        for figure in self._own:
            family = _empty(of(figure), figure.labels)
            for labels, value in of(figure).rows:
                family.add_metric(labels, value)
            yield family
        written: dict[str, Any] = {}
        for worker, counted in self._by_worker.items():
            for one in counted:
                if one.name not in written:
                    written[one.name] = _empty(one, (*one.labels, WORKER))
                if one.kind == "histogram":
                    written[one.name].add_metric([worker], [(label[0], count) for label, count in one.rows], one.total)
                else:
                    for labels, value in one.rows:
                        written[one.name].add_metric([*labels, worker], value)
        yield from written.values()


def _empty(family: Family, labels: Sequence[str]) -> Any:
    from prometheus_client.core import (  # noqa: PLC0415 - an extra
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    return kinds[family.kind](family.name, family.help, labels=labels)
