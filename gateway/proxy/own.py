"""The gateway's own answers on the wire.

aiohttp would write the version that the *request* named into the status line, which for a refused ``HTTP/2.0`` is a
version that the gateway does not speak. A server answers in its own version (RFC 9110 section 6.2), so these answers
are written whole.
"""

from __future__ import annotations

import http
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.http.reply import SERVER, Reply

_REASONS: Final = {status.value: status.phrase for status in http.HTTPStatus}
_BODYLESS: Final = frozenset({204, 304})


def own_bytes(reply: Reply, *, keep_alive: bool, old: bool, head_only: bool) -> bytes:
    """A reply as it goes over the wire. ``old``: to a client of HTTP/1.0; ``head_only``: to HEAD."""
    status, body = reply.status, reply.body
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    lines += [f"Date: {formatdate(usegmt=True)}", f"Server: {SERVER}"]
    if status not in _BODYLESS:
        lines.append(f"Content-Length: {len(body)}")
    if not keep_alive:
        lines.append("Connection: close")
    elif old:
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if head_only or status in _BODYLESS else head + body


def kept(request: web.BaseRequest) -> bool:
    """Whether the connection may live on behind the answer: the client wants it, and the server is not about to end."""
    return bool(request.keep_alive) and not getattr(request.protocol, "parting", False)


class OwnAnswer(web.StreamResponse):
    """A :class:`~gateway.http.reply.Reply` as a response that writes its own bytes.

    :param close: the connection ends with it, whatever the reply says.
    """

    def __init__(self, reply: Reply, request: web.BaseRequest, *, close: bool = False) -> None:
        super().__init__(status=reply.status)
        self._lives_on = kept(request) and not reply.close and not close
        self._reply = reply
        self._old = request.version.minor == 0
        self._head_only = request.method == "HEAD"
        self._part: Callable[[], None] | None = getattr(request.protocol, "part", None) if close else None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the client's connection takes another request."""
        return self._lives_on

    def force_close(self) -> None:
        """End the connection with this answer."""
        self._lives_on = False

    def _bytes(self) -> bytes:
        return own_bytes(self._reply, keep_alive=self._lives_on, old=self._old, head_only=self._head_only)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the answer."""
        await request.writer.write(self._bytes())
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - aiohttp's signature
        """Nothing is left to be written. Where the connection ends, the client may still be sending."""
        if self._part is not None:
            self._part()
