"""How many files the process may open: each connection is one, and one more to a backend."""

from __future__ import annotations

import logging
import resource
from typing import Final

SMALL: Final = 1024
"""Files below which a server has too few: the usual soft limit of a login shell."""
MOST: Final = 1_048_576
"""Files that are asked for where there is no hard limit: the kernel's fs.nr_open."""

_log = logging.getLogger(__name__)


def raise_file_limit() -> int:
    """Take as many files as the system lets this process have, and say so when that is few; the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else hard
    if soft not in {resource.RLIM_INFINITY, most}:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        except (OSError, ValueError) as error:
            _log.warning("the limit of open files stays at %d: %s", soft, error)
    if 0 <= soft < SMALL:
        _log.warning("only %d files may be open, so there will be few connections: raise the limit (ulimit -Hn)", soft)
    return soft
