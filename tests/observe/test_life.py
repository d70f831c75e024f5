"""Figures of a gateway's life."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.observe.life import reload_figures, tls_figures, worker_figures


@dataclass
class Reloads:
    good: bool = True
    at: float = 100.0
    generation: int = 0


@dataclass
class Process:
    number: int
    up: bool = False
    restarts: int = 0


def test_reloads_are_shown_as_they_are_now() -> None:
    """... shows which configuration is in use, and that the last one was refused."""
    reloads = Reloads()
    figures = reload_figures(reloads)
    assert [figure.read() for figure in figures] == [{(): 1.0}, {(): 100.0}, {(): 0.0}]
    reloads.good, reloads.generation = False, 3
    assert [figure.read() for figure in figures] == [{(): 0.0}, {(): 100.0}, {(): 3.0}]


def test_a_certificate_that_has_ended_shows_since_when() -> None:
    """... shows how long the certificate is good for, and for how long it has not been."""
    assert [figure.read() for left in (90.0, -5.0) for figure in tls_figures(lambda left=left: left)] == [  # type: ignore[misc]  # mypy sees no default
        {(): 90.0},
        {(): -5.0},
    ]


def test_processes_are_shown_by_their_numbers() -> None:
    """... shows which of its processes serve and how often each was replaced."""
    processes = [Process(0, up=True), Process(1, restarts=2)]
    assert [figure.read() for figure in worker_figures(processes)] == [
        {("0",): 1.0, ("1",): 0.0},
        {("0",): 0.0, ("1",): 2.0},
    ]
