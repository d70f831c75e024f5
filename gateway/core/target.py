r"""One reading of the request target, or none.

The rule this file obeys: **the path that is judged is the path that every backend would read.** Gateways are
bypassed where the two differ (``threats.md`` rows 27 to 29; Envoy CVE-2021-29492, oathkeeper CVE-2026-33494, Traefik
CVE-2025-47952). Backends disagree on almost every unusual spelling, so we do not normalise and forward the result: we
refuse spellings with more than one reading and forward the bytes that came, unchanged.

Three classes:

1. *Refused always* (:class:`~gateway.errors.RequestError`, ``target_ambiguous``): an empty segment inside the path
   (``//``), ``.`` and ``..`` segments in any spelling (``%2e``, with a ``;parameter`` behind), backslash and its
   escape, the escaped slash, escaped control characters, escapes that are not UTF-8 or overlong.
2. *Refused always* (``request_malformed``): anything but origin-form (RFC 9112 section 3.2.1), raw bytes outside
   visible ASCII, ``#``, a broken percent escape.
3. *Refused when it matters*: spellings that a lenient backend reads differently, yet honest applications use: ``;``
   parameters, trailing dots and spaces of a segment, upper and lower case, full-width forms, a second layer of
   percent encoding. :attr:`Target.readings` lists what such a backend would see, and the route table refuses the
   target when a reading belongs to another route (:mod:`gateway.policy.routes`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway import reasons
from gateway.errors import RequestError

MAX_TARGET_LENGTH: Final = 8_190
"""Bytes; the usual limit of web servers (Apache's and aiohttp's request line)."""

# Visible ASCII without what RFC 3986 never allows raw in a path or query and backends treat differently: " # < > \ ^ `
# { | } Browsers do send | ^ ` { } raw in a query (WHATWG URL), so those are refused in the path only.
_PATH: Final = re.compile(r"/[!$%&'()*+,\-./0-9:;=@A-Z_a-z~\[\]|]*", re.ASCII)
_QUERY: Final = re.compile(r"[!-\"$-~]*", re.ASCII)
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN_ESCAPE: Final = re.compile(r"%(?:2[fF]|5[cC]|[01][0-9A-Fa-f]|7[fF])")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Target:
    """A request target with exactly one reading.

    ``raw`` is what the client sent and what is forwarded. ``path`` is the percent-decoded path (text, starts with
    ``/``); ``query`` the raw query without ``?``. ``readings`` are other paths that a lenient backend might see.
    """

    raw: str
    path: str
    query: str
    readings: tuple[str, ...] = field(default=(), repr=False)


def _ambiguous(detail: str) -> RequestError:
    return RequestError(reasons.TARGET_AMBIGUOUS, detail)


def parse_target(raw: str) -> Target:
    """Read an origin-form request target.

    :param raw: the target of the request line as received, decoded as latin-1.
    :raises RequestError: ``target_too_long``, ``request_malformed`` or ``target_ambiguous``; see the module.
    """
    if len(raw) > MAX_TARGET_LENGTH:
        raise RequestError(reasons.TARGET_TOO_LONG, f"the target is longer than {MAX_TARGET_LENGTH} bytes")
    raw_path, _, query = raw.partition("?")
    if not raw_path.startswith("/"):
        raise RequestError(reasons.REQUEST_MALFORMED, "the request target is not a path")
    if "\\" in raw_path:
        raise _ambiguous("the path holds a backslash")
    if _PATH.fullmatch(raw_path) is None or _QUERY.fullmatch(query) is None:
        raise RequestError(reasons.REQUEST_MALFORMED, "the target holds a character that a URL may not hold")
    if "//" in raw_path:
        raise _ambiguous("the path holds an empty segment")
    if "%" in raw_path:
        if _BROKEN_ESCAPE.search(raw_path) is not None:
            raise RequestError(reasons.REQUEST_MALFORMED, "the path holds a broken percent escape")
        if _FORBIDDEN_ESCAPE.search(raw_path) is not None:
            raise _ambiguous("the path holds an escaped slash, backslash or control character")
        path = _decode(raw_path)
    else:
        path = raw_path
    for segment in path.split("/"):
        if segment.split(";", 1)[0] in {".", ".."}:
            raise _ambiguous("the path holds a dot segment")
    return Target(raw, path, query, _readings(path))


def _decode(raw_path: str) -> str:
    try:
        path = unquote_to_bytes(raw_path).decode("utf-8")  # strict: refuses overlong forms and surrogates
    except UnicodeDecodeError:
        raise _ambiguous("the path's escapes are not UTF-8") from None
    if _CONTROLS.search(path) is not None:
        raise _ambiguous("the path holds an escaped control character")
    return path


def _readings(path: str) -> tuple[str, ...]:
    """Every other path that a lenient backend could take ``path`` for: each leniency alone, then all together.

    :raises RequestError: when a second decoding uncovers a dot segment, slash, backslash or control character.
    """
    variants = {
        lenient
        for lenient in (
            _without_parameters(path),
            _without_trailing(path),
            path.casefold(),
            _compatible(path),
            _twice(path),
        )
        if lenient != path
    }
    everything = _without_trailing(_without_parameters(_compatible(_twice(path)))).casefold()
    variants.add(everything)
    variants.discard(path)
    return tuple(sorted(variants))


def _without_parameters(path: str) -> str:
    return "/".join(segment.split(";", 1)[0] for segment in path.split("/")) if ";" in path else path


def _without_trailing(path: str) -> str:
    return "/".join(segment.rstrip(". ") for segment in path.split("/")) if "." in path or " " in path else path


def _compatible(path: str) -> str:
    if path.isascii():
        return path
    folded = unicodedata.normalize("NFKC", path)
    _refuse_uncovered(folded, path, "compatibility forms")
    return folded


def _twice(path: str) -> str:
    if "%" not in path:
        return path
    decoded = unquote_to_bytes(path).decode("utf-8", "replace")
    _refuse_uncovered(decoded, path, "a second percent encoding")
    return decoded


def _refuse_uncovered(uncovered: str, path: str, how: str) -> None:
    hidden = (
        uncovered.count("/") != path.count("/")
        or "\\" in uncovered
        or _CONTROLS.search(uncovered) is not None
        or any(segment.split(";", 1)[0] in {".", ".."} for segment in uncovered.split("/"))
    )
    if hidden:
        raise _ambiguous(f"the path hides a separator, dot segment or control character behind {how}")
