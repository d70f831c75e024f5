"""What a gateway's life is like: its configurations, its certificate, its processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.observe.metrics import Figure


class ReloadStatus(Protocol):
    """What is read of the reloads. ``at`` in wall-clock seconds since the epoch."""

    @property
    def good(self) -> bool:
        """Whether the last configuration that was read is in use."""

    @property
    def at(self) -> float:
        """When the one in use was taken up."""

    @property
    def generation(self) -> int:
        """Its number."""


class Process(Protocol):
    """What is read of one of several processes."""

    @property
    def number(self) -> int:
        """Which one."""

    @property
    def up(self) -> bool:
        """Whether it serves."""

    @property
    def restarts(self) -> int:
        """How often another took its place."""


def reload_figures(reloads: ReloadStatus) -> tuple[Figure, ...]:
    """Which configuration is in use, and whether it is the one that the operator wrote last."""
    return (
        Figure(
            "gateway_config_last_reload_successful",
            "gauge",
            "1 when the last configuration that was read is in use, 0 when it was refused and the one before stays.",
            lambda: {(): float(reloads.good)},
        ),
        Figure(
            "gateway_config_last_reload_success_timestamp_seconds",
            "gauge",
            "When the configuration in use was taken up.",
            lambda: {(): reloads.at},
        ),
        Figure(
            "gateway_config_generation",
            "gauge",
            "Number of the configuration in use; 0 is the first.",
            lambda: {(): float(reloads.generation)},
        ),
    )


def tls_figures(left: Callable[[], float]) -> tuple[Figure, ...]:
    """How long the certificate is good for.

    :param left: seconds until it ends.
    """
    return (
        Figure(
            "gateway_tls_certificate_expiry_seconds",
            "gauge",
            "Time until the public listener's certificate ends; negative when it has.",
            lambda: {(): left()},
        ),
    )


def worker_figures(processes: Sequence[Process]) -> tuple[Figure, ...]:
    """Which processes serve."""
    return (
        Figure(
            "gateway_worker_up",
            "gauge",
            "1 while the process serves, else 0.",
            lambda: {(str(process.number),): float(process.up) for process in processes},
            ("worker",),
        ),
        Figure(
            "gateway_worker_restarts_total",
            "counter",
            "Times that a process ended and another took its place.",
            lambda: {(str(process.number),): float(process.restarts) for process in processes},
            ("worker",),
        ),
    )
