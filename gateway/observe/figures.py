"""What the parts of a gateway say of themselves when metrics are asked for: attributes of theirs under a name each.

Nothing here runs on a request's path. The parts are named by what is read from them, so this module knows none of them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Protocol

from gateway.observe.metrics import Figure, Labels, Readings

if TYPE_CHECKING:
    from gateway.core.ports import AuditSink


class _RevocationStatus(Protocol):
    @property
    def available(self) -> bool: ...
    @property
    def users(self) -> int: ...


class RevocationCounts(Protocol):
    """What is read of a revocation source. Seconds, and numbers since the start."""

    @property
    def max_staleness(self) -> float:
        """The promise."""

    @property
    def look_ups(self) -> int:
        """Look-ups sent."""

    @property
    def failures(self) -> int:
        """Those of them that failed."""

    @property
    def asked(self) -> int:
        """Users in them."""

    def staleness(self) -> float:
        """Age of the oldest answer relied on."""

    def status(self) -> _RevocationStatus:
        """How the checks stand."""


class _KeyStatus(Protocol):
    @property
    def usable(self) -> bool: ...
    @property
    def age(self) -> float | None: ...


class KeyCounts(Protocol):
    """What is read of a key source. Numbers since the start."""

    @property
    def fetches(self) -> int:
        """Attempts to fetch."""

    @property
    def failures(self) -> int:
        """Those of them that brought no keys."""

    def status(self) -> _KeyStatus:
        """How the keys stand."""


class DenyCounts(Sized, Protocol):
    """What is read of a deny list."""

    @property
    def evicted(self) -> int:
        """Sessions that were forgotten for want of room."""


class ConnectionCounts(Protocol):
    """What is read of whoever lets connections in."""

    @property
    def open(self) -> int:
        """Connections that are open."""

    @property
    def most(self) -> int:
        """Connections that may be."""

    @property
    def exhausted(self) -> int:
        """Times that the process had no file left for one."""


class AddressStanding(Protocol):
    """What is read of one address of a backend."""

    @property
    def upstream(self) -> str:
        """The backend's name."""

    @property
    def address(self) -> str:
        """The address as the configuration has it, more or less."""

    @property
    def healthy(self) -> bool:
        """Whether its checks and its last requests went well."""

    @property
    def idle(self) -> int:
        """Connections kept."""

    @property
    def busy(self) -> int:
        """Connections in use."""

    @property
    def faults(self) -> int:
        """What went wrong since the start, as the server's fault."""


def all_figures(
    version: str,
    log: AuditSink,
    deny_list: DenyCounts,
    keys: Mapping[str, KeyCounts],
    revocation: RevocationCounts | None,
) -> tuple[Figure, ...]:
    """Everything that a gateway of these parts says of itself.

    :param keys: by the kind of token that they verify.
    :param revocation: None where revocation checks are switched off.
    """
    figures = (*build_figures(version), *log_figures(log), *deny_list_figures(deny_list), *key_figures(keys))
    return figures if revocation is None else (*figures, *revocation_figures(revocation))


def connection_figures(connections: ConnectionCounts) -> tuple[Figure, ...]:
    """How near the public listener is to its bounds. Refusals are counted with the decisions, by their reason."""
    return (
        _gauge("gateway_connections", "Client connections that are open.", lambda: connections.open),
        _gauge("gateway_connections_limit", "Client connections that may be open.", lambda: connections.most),
        _counter(
            "gateway_accept_failures_total",
            "Times that the process had no file left for a connection. More than 0: raise its limit of open files.",
            lambda: connections.exhausted,
        ),
    )


def upstream_figures(standings: Callable[[], Iterable[AddressStanding]]) -> tuple[Figure, ...]:
    """How the addresses of the backends stand, each under the backend's name."""
    labels = ("upstream", "address")

    def each(read: Callable[[AddressStanding], float]) -> Callable[[], Readings]:
        return lambda: {(found.upstream, found.address): read(found) for found in standings()}

    return (
        Figure(
            "gateway_upstream_healthy",
            "gauge",
            "1 while an address is well, 0 from when checks or requests failed until one succeeds.",
            each(lambda found: found.healthy),
            labels,
        ),
        Figure(
            "gateway_upstream_busy_connections",
            "gauge",
            "Connections with a request under way.",
            each(lambda found: found.busy),
            labels,
        ),
        Figure(
            "gateway_upstream_idle_connections",
            "gauge",
            "Connections kept for the next request.",
            each(lambda found: found.idle),
            labels,
        ),
        Figure(
            "gateway_upstream_faults_total",
            "counter",
            "Refused connections, broken or malformed answers and deadlines missed. No error statuses.",
            each(lambda found: found.faults),
            labels,
        ),
    )


class LiveCounts(Protocol):
    """What is read of the connections that last."""

    @property
    def ended(self) -> Mapping[tuple[str, str], int]:
        """How many the gateway ended since the start, by kind and reason."""

    def active(self) -> Mapping[str, int]:
        """How many there are, by kind."""


def live_figures(live: LiveCounts) -> tuple[Figure, ...]:
    """What lasts: WebSockets, event streams, long transfers."""
    return (
        Figure(
            "gateway_streams_active",
            "gauge",
            "WebSockets, event streams, and transfers that are not over at once.",
            lambda: {(kind,): count for kind, count in live.active().items()},
            ("kind",),
        ),
        Figure(
            "gateway_streams_ended_total",
            "counter",
            "Those of them that the gateway ended, by the reason.",
            lambda: {(kind, reason): count for (kind, reason), count in live.ended.items()},
            ("kind", "reason"),
        ),
    )


def data_figures(ages: Callable[[], Mapping[str, float]]) -> tuple[Figure, ...]:
    """How old the data of the network judgement are; a file that is not in use is not there."""
    text = "Time since a file of the network judgement was built. Missing while the file cannot be used."
    return (
        Figure(
            "gateway_network_data_age_seconds",
            "gauge",
            text,
            lambda: {(name,): age for name, age in ages().items()},
            ("file",),
        ),
    )


def build_figures(version: str) -> tuple[Figure, ...]:
    """Which gateway this is."""
    labels = (version, platform.python_version())
    text = "Always 1; which version runs, on which Python."
    return (Figure("gateway_build_info", "gauge", text, lambda: {labels: 1.0}, ("version", "python")),)


def revocation_figures(source: RevocationCounts) -> tuple[Figure, ...]:
    """How well the promise of freshness is kept, and what that costs."""
    return (
        _gauge(
            "gateway_revocation_staleness_seconds",
            "Age of the oldest answer about a user that decisions rest on now.",
            source.staleness,
        ),
        _gauge(
            "gateway_revocation_max_staleness_seconds",
            "The promise: what the age stays below while the account service answers.",
            lambda: source.max_staleness,
        ),
        _gauge(
            "gateway_revocation_available",
            "1 while the account service answers for every tenant, else 0.",
            lambda: source.status().available,
        ),
        _gauge("gateway_revocation_users", "Users remembered.", lambda: source.status().users),
        Figure(
            "gateway_revocation_lookups_total",
            "counter",
            "Look-ups of up to 100 users at the account service, by how they ended.",
            lambda: {("answered",): source.look_ups - source.failures, ("failed",): source.failures},
            ("result",),
        ),
        _counter("gateway_revocation_looked_up_users_total", "Users in those look-ups.", lambda: source.asked),
    )


def key_figures(sources: Mapping[str, KeyCounts]) -> tuple[Figure, ...]:
    """How the published keys stand, by what they are for."""

    def ages() -> Readings:
        found = {(kind,): source.status().age for kind, source in sources.items()}
        return {labels: age for labels, age in found.items() if age is not None}

    def fetches() -> Readings:
        found: dict[Labels, float] = {}
        for kind, source in sources.items():
            found[kind, "answered"] = source.fetches - source.failures
            found[kind, "failed"] = source.failures
        return found

    def usable() -> Readings:
        return {(kind,): source.status().usable for kind, source in sources.items()}

    return (
        Figure(
            "gateway_keys_usable", "gauge", "1 while tokens of this kind can be verified, else 0.", usable, ("kind",)
        ),
        Figure("gateway_keys_age_seconds", "gauge", "Time since the last good fetch of keys.", ages, ("kind",)),
        Figure(
            "gateway_keys_fetches_total", "counter", "Fetches of keys by how they ended.", fetches, ("kind", "result")
        ),
    )


def deny_list_figures(deny_list: DenyCounts) -> tuple[Figure, ...]:
    """How many sessions were ended here, and whether the list is large enough."""
    return (
        _gauge("gateway_ended_sessions", "Sessions on the deny list.", lambda: len(deny_list)),
        _counter(
            "gateway_ended_sessions_evicted_total",
            "Sessions forgotten because the list was full. More than 0: copies of their tokens work again.",
            lambda: deny_list.evicted,
        ),
    )


def log_figures(log: AuditSink) -> tuple[Figure, ...]:
    """Whether the decision log is complete."""
    text = "Decisions that the log lost because its reader was too slow."
    return (_counter("gateway_decision_log_dropped_total", text, lambda: getattr(log, "dropped", 0)),)


def _gauge(name: str, text: str, read: Callable[[], float]) -> Figure:
    return Figure(name, "gauge", text, lambda: {(): read()})


def _counter(name: str, text: str, read: Callable[[], float]) -> Figure:
    return Figure(name, "counter", text, lambda: {(): read()})
