"""Gateway processes as a service manager starts them, one after the other, on a socket that outlives them all.

``python -m tests.support.lives CONFIG DESCRIPTOR NOTIFY`` imports the gateway once; each byte on its standard input is
a life: a fork that has the listening socket, serves CONFIG and ends by a signal. Its number is printed at the start,
and ``NUMBER STATUS`` at the end.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path


def live(config: Path) -> None:
    """One life, in the fork."""
    from gateway.cli.serve import run_serve  # noqa: PLC0415 - see main

    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    os.set_inheritable(3, True)
    try:
        run_serve(config, dev=False, public=None)
    except BaseException as error:  # noqa: BLE001 - the fork must never go on as its parent
        sys.stderr.write(f"a life ended with {error!r}\n")
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Start a life for each byte that comes in."""
    config, descriptor, notify = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if descriptor != 3:
        os.dup2(descriptor, 3)
        os.close(descriptor)
    os.environ["NOTIFY_SOCKET"] = notify
    # Once for all lives: importing takes longer than most of them.
    import prometheus_client  # noqa: F401, PLC0415

    with contextlib.suppress(ImportError):  # an extra
        import uvloop  # noqa: F401, PLC0415

    import gateway.cli.serve  # noqa: F401, PLC0415

    assert threading.active_count() == 1, "a fork has only the thread that made it"
    while os.read(0, 1):
        number = os.fork()
        if number == 0:
            live(config)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
