r"""Where to go after signing in: a path of this site, or its front page.

The rule this file obeys (``threats.md`` row 30; oauth2-proxy CVE-2020-4037, CVE-2020-11053 and CVE-2021-21291): a
destination is taken only when *every* reader sees a path of this origin in it. It starts with one ``/`` that neither
``/`` nor ``\`` follows, holds no control character, and its path passes :func:`gateway.core.target.parse_target`,
which refuses empty segments, backslashes, dot segments and their escapes, doubly encoded ones included. With that, a
URL parser (WHATWG URL, "path absolute" state) cannot leave the origin. The query may hold anything that a request
target may: ``?next=%2Fhome`` is an honest deep link and decides no origin.

Anything else becomes the front page: this is a convenience, so it is dropped without a word rather than argued about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, quote

from gateway.core.target import parse_target
from gateway.errors import RequestError

HOME: Final = "/"
MAX_LENGTH: Final = 2_048
"""Characters. What fits into a Location beside everything else, percent-encoded once more, below the 8 KB of a
request line."""

_ASCII_VISIBLE: Final = "".join(chr(code) for code in range(0x21, 0x7F))
_FRAGMENT: Final = re.compile(r"[!-~]*")
_MAX_PARAMETERS: Final = 32
"""Query parameters of a login address that are read; the gateway itself writes two."""


def safe_return_path(
    raw: str | None, allowed_prefixes: Sequence[str] = ("/",), *, never: Sequence[str] = (), otherwise: str = HOME
) -> str:
    """``raw`` when it is a path of this site, else ``otherwise``.

    :param raw: a path with optional query and fragment, percent-decoded once (as it stood in ``rd``).
    :param allowed_prefixes: path prefixes that may be returned to, on segment boundaries.
    :param never: paths that are not returned to, like the login page itself, which would only come back.
    :param otherwise: the operator's own front page, where that is not ``/``.
    """
    if raw is None or not raw.startswith("/") or len(raw) > MAX_LENGTH:
        return otherwise
    if raw.isascii():
        text = raw
    else:
        try:
            text = quote(raw, safe=_ASCII_VISIBLE)
        except UnicodeEncodeError:  # a lone surrogate
            return otherwise
    address, hash_sign, fragment = text.partition("#")
    try:
        target = parse_target(address)
    except RequestError:
        return otherwise
    if _FRAGMENT.fullmatch(fragment) is None or "\\" in target.query or "\\" in fragment:
        return otherwise
    readings = (target.path, *target.readings)
    if any(_below(path, prefix) for path in readings for prefix in never):
        return otherwise
    if not any(_below(target.path, prefix) for prefix in allowed_prefixes):
        return otherwise
    return address + hash_sign + fragment


def _below(path: str, prefix: str) -> bool:
    stem = prefix.rstrip("/")
    return path == stem or path.startswith(f"{stem}/")


def parameter(query: str, name: str) -> str | None:
    """The value of the query parameter ``name`` when it stands exactly once, percent-decoded; else None."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS, errors="strict")
    except ValueError:  # too many, or escapes that are not UTF-8
        return None
    values = [value for key, value in pairs if key == name]
    return values[0] if len(values) == 1 else None
