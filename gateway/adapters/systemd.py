"""What a service manager and a service tell each other: sockets handed over, and how the service is doing.

The protocols are systemd's (``sd_listen_fds(3)`` and ``sd_notify(3)``), which need no library: a few variables of the
environment, and datagrams of text. Where nobody set the variables, nothing happens.

The rule this file obeys: *the variables are for one process.* ``LISTEN_PID`` and ``WATCHDOG_PID`` say for which, and
they are taken out of the environment, so that no child believes them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import ConfigError

FIRST_SOCKET: Final = 3
"""SD_LISTEN_FDS_START."""
MAX_SOCKETS: Final = 64
"""More than any unit lists."""
_MICROS: Final = 1_000_000
_ADMIN: Final = "admin"


@dataclass(frozen=True, slots=True)
class Handed:
    """Sockets that were handed over, by what they are for."""

    public: list[socket.socket] = field(default_factory=list)
    admin: socket.socket | None = None


def handed_over(environment: MutableMapping[str, str]) -> Handed:
    """The sockets of socket activation.

    ``FileDescriptorName=admin`` names the admin listener's. Those with other names, or none, are public ones.

    :raises ConfigError: the variables make no sense, or there is more than one admin socket.
    """
    process = environment.pop("LISTEN_PID", None)
    count = environment.pop("LISTEN_FDS", None)
    names = environment.pop("LISTEN_FDNAMES", "")
    if process is None or count is None or process != str(os.getpid()):
        return Handed()
    if not count.isdecimal() or int(count) > MAX_SOCKETS:
        raise ConfigError("LISTEN_FDS", "is not a number of sockets", "systemd sets it; unset it elsewhere")
    split = names.split(":") if names else []
    public: list[socket.socket] = []
    admin: list[socket.socket] = []
    for offset in range(int(count)):
        descriptor = FIRST_SOCKET + offset
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the system's signature
        try:
            one = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ConfigError(
                "LISTEN_FDS", f"descriptor {descriptor} is no socket: {error.strerror}", "see the .socket unit"
            ) from None
        (admin if offset < len(split) and split[offset] == _ADMIN else public).append(one)
    if len(admin) > 1:
        raise ConfigError(
            "LISTEN_FDNAMES", "names more than one socket admin", "see FileDescriptorName= of the .socket units"
        )
    return Handed(public, admin[0] if admin else None)


class ServiceManager:
    """Tells whoever started this process how it is doing."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        micros, process = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", str(os.getpid()))
        self._socket: socket.socket | None = None
        self.watchdog: float | None = None
        """Seconds between two signs of life: half of what the manager waits for (``sd_watchdog_enabled(3)``)."""
        if address[:1] not in {"/", "@"}:
            return
        with contextlib.suppress(OSError):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
        if micros.isdecimal() and int(micros) and process == str(os.getpid()):
            self.watchdog = int(micros) / _MICROS / 2

    def ready(self, status: str) -> None:
        """It serves; also told when a reload has ended."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """It reads its configuration again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """It is about to end."""
        self._tell("STOPPING=1", "STATUS=requests in flight may finish")

    def alive(self) -> None:
        """Its event loop turns."""
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Tell no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is not None:
            # A manager that does not listen is no reason not to serve.
            with contextlib.suppress(OSError):
                self._socket.send("\n".join(lines).encode())
