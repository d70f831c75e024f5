"""Trailers: fields behind a chunked body, passed on in both directions as far as they can do no harm.

The rules this file obeys (``threats.md`` rows 16 and 22; RFC 9110 section 6.5):

* A trailer is judged like a header: names that only the gateway may set do not pass, nor do hop-by-hop fields.
* Fields that frame or route a message, authenticate, control caches or say how a body is to be read mean nothing
  behind it, and something dangerous to a reader that merges trailers into headers. They do not pass either.

aiohttp reads past a request's trailers without telling, so :class:`TrailerWatch` reads them beside it, and gives up at
the first doubt where a message begins: trailers may be dropped on the way (RFC 9110 section 6.5.2), a body may not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.errors import UpstreamProtocolError
from gateway.mutators.headers import HOP_BY_HOP, Fields, fold, passes
from gateway.proxy.answer import MAX_HEAD_SIZE, ChunkedBody, RawFields

_FORBIDDEN: Final = frozenset(
    {
        # Framing and routing.
        b"content-length",
        b"host",
        b"max-forwards",
        b"expect",
        b"range",
        # Who asks.
        b"authorization",
        b"www-authenticate",
        b"cookie",
        b"set-cookie",
        b"origin",
        b"referer",
        # What the message is, and who may keep it.
        b"age",
        b"cache-control",
        b"pragma",
        b"date",
        b"expires",
        b"location",
        b"retry-after",
        b"vary",
        b"warning",
        b"content-type",
        b"content-encoding",
        b"content-range",
        b"content-location",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-range",
        # What pages of other sites may do with it.
        b"access-control-allow-origin",
        b"access-control-allow-credentials",
        b"content-security-policy",
        b"strict-transport-security",
        b"clear-site-data",
        b"service-worker-allowed",
        b"x-request-id",
    }
)
"""RFC 9110 section 6.5.1, and what browsers act upon."""
_HEAD_END: Final = b"\r\n\r\n"
_TRAILER: Final = b"trailer"


def passing(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The trailers of an answer that may go on."""
    return [(name, value) for name, value in fields if _harmless(name)]


def announced(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """One ``Trailer`` field with those names of a message's own that may pass; empty where there are none."""
    values = (value for name, value in fields if name.lower() == _TRAILER)
    names = [name.strip(b" \t") for value in values for name in value.split(b",")]
    kept = [name for name in names if _harmless(name) and passes(name)]
    return [(b"Trailer", b", ".join(kept))] if kept else []


def of_request(found: RawFields) -> Fields:
    """The trailers of a request that may go on."""
    return [(name, value) for name, value in found if _harmless(name) and passes(name)]


def _harmless(name: bytes) -> bool:
    folded = fold(name)
    return folded not in HOP_BY_HOP and folded not in _FORBIDDEN


class TrailerWatch:
    """Reads one client connection's bytes beside aiohttp's parser, for the trailers of its chunked requests.

    A request is watched from a read in which its head ends, if that announces trailers (RFC 9110 section 6.6.2), since
    reading a body twice costs as much again. The bytes of all others cost one search.
    """

    __slots__ = ("_body", "_found")

    def __init__(self) -> None:
        self._body: ChunkedBody | None = None
        self._found: RawFields = ()

    def fed(self, data: bytes, *, resting: bool) -> None:
        """Bytes that aiohttp's parser is about to get.

        :param resting: no request is being handled, so these are the next one's.
        """
        if not data:
            return  # aiohttp's way of reading on from what it has
        self._found = ()
        if self._body is None:
            if resting:
                self._begin(data)
            return
        self._more(data)

    def _begin(self, data: bytes) -> None:
        end = data.find(_HEAD_END, 0, MAX_HEAD_SIZE)
        if end < 0:
            return
        head = data[: end + 2].lower()
        if b"\r\ntrailer:" not in head or b"\r\ntransfer-encoding:" not in head:
            return
        self._body = ChunkedBody()
        self._more(data[end + len(_HEAD_END) :])

    def _more(self, data: bytes) -> None:
        body = self._body
        assert body is not None
        try:
            body.feed(data)
        except UpstreamProtocolError:
            self._body = None  # aiohttp has its own word on a malformed body
            return
        if body.done:
            self._body = None
            # Behind the body another request may have begun; whose trailers these are is not beyond doubt then.
            self._found = body.trailers if not body.rest else ()

    def take(self) -> RawFields:
        """The trailers of the request whose body has just ended, once."""
        found, self._found = self._found, ()
        return found
