"""Metrics of several processes on one page."""

from __future__ import annotations

import sys

import msgspec
import pytest

from gateway.observe.gathered import Family, can_write, families, of, write
from gateway.observe.metrics import Figure, Metrics


def counted(requests: int, seconds: float) -> list[Family]:
    """What one process says of itself, as it arrives at another."""
    metrics = Metrics()
    for _ in range(requests):
        metrics.answered("app", 200)
    metrics.verify.add(seconds)
    return msgspec.json.decode(msgspec.json.encode(families(metrics)), type=list[Family])


def test_every_process_is_a_series_of_its_own() -> None:
    """... shows what each process counts, labelled with the process, and what the parent counts without."""
    own = Figure("gateway_worker_up", "gauge", "Up.", lambda: {("0",): 1.0, ("1",): 0.0}, ("worker",))
    page, media_type = write("", {"0": counted(3, 0.003), "1": counted(5, 0.3)}, [own])
    lines = page.decode().splitlines()
    assert media_type.startswith("text/plain")
    for line in (
        'gateway_worker_up{worker="1"} 0.0',
        'gateway_http_requests_total{code="2xx",route="app",worker="0"} 3.0',
        'gateway_http_requests_total{code="2xx",route="app",worker="1"} 5.0',
        'gateway_token_verify_seconds_bucket{le="0.005",worker="0"} 1.0',
        'gateway_token_verify_seconds_bucket{le="0.005",worker="1"} 0.0',
        'gateway_token_verify_seconds_bucket{le="+Inf",worker="1"} 1.0',
        'gateway_token_verify_seconds_sum{worker="1"} 0.3',
    ):
        assert line in lines
    assert sum(line.startswith("# TYPE gateway_http_requests_total ") for line in lines) == 1
    assert any(line.startswith("process_cpu_seconds_total ") for line in lines)


def test_the_other_format() -> None:
    """... writes OpenMetrics for those who ask for it."""
    assert write("application/openmetrics-text; version=1.0.0", {"0": counted(1, 0.1)}, [])[0].endswith(b"# EOF\n")


def test_values_are_plain() -> None:
    """... passes on texts and numbers, whatever a figure reads."""
    figure = Figure("x", "gauge", "X.", lambda: {("b",): 2, ("a",): True}, ("l",))
    assert of(figure).rows == [(("a",), 1.0), (("b",), 2.0)]


def test_the_library_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """... knows whether it can write metrics at all."""
    assert can_write()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert not can_write()
