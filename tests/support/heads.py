"""Request heads made from a grammar, and the ways to break them. The same seed gives the same requests.

``Heads(seed).valid()`` is a request that every proxy has to pass on. ``Heads(seed).broken()`` is one that was changed
in one place by the table of what proxies were ever fooled with (``threats.md`` rows 16 to 18, 22, 23, 27 to 29), or by
one random edit of its bytes. Nothing here says what a broken one means: that is for a strict reading to say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

TOKEN: Final = b"good.token.one"
HOST: Final = b"app.example"
SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: app.example\r\nX-T-Smuggled: 1\r\n\r\n"

_UNRESERVED: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~"
_VALUE: Final = bytes(range(0x20, 0x7F))
_INTERESTING: Final = b"\x00\x01\x08\t\n\x0b\x0c\r\x1f \"#%&'(),/:;<=>?@[\\]^`{|}\x7f\x80\x85\xa0\xff0"

METHODS: Final = (
    b"GET",
    b"GET",
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"PATCH",
    b"OPTIONS",
    b"PURGE",
    b"M-SEARCH",
)

LINES: Final[Sequence[bytes]] = (
    b"get /public/a HTTP/1.1",
    b"GET  /public/a HTTP/1.1",
    b"GET /public/a  HTTP/1.1",
    b"GET\t/public/a HTTP/1.1",
    b"GET /public/a\tHTTP/1.1",
    b"GET /public/a HTTP/1.1 ",
    b" GET /public/a HTTP/1.1",
    b"GET /public/a",
    b"GET /public/a HTTP/0.9",
    b"GET /public/a HTTP/1.2",
    b"GET /public/a HTTP/1.10",
    b"GET /public/a HTTP/01.1",
    b"GET /public/a HTTP/2.0",
    b"GET /public/a HTTP/3",
    b"GET /public/a http/1.1",
    b"GET /public/a HTTP/1.1 HTTP/1.1",
    b"GET /public/a XTTP/1.1",
    b"GET /public/a HTTP/1,1",
    b"GET /public/\x00 HTTP/1.1",
    b"GET /public/a\nX HTTP/1.1",
    b"GET /public/a\rX HTTP/1.1",
    b"GET /public/\x7f HTTP/1.1",
    b"GET /public/\xc3\xa9 HTTP/1.1",
    b"GET /public/a b HTTP/1.1",
    b"GET /public/a#b HTTP/1.1",
    b"GET //public/a HTTP/1.1",
    b"GET /public//a HTTP/1.1",
    b"GET /public/./a HTTP/1.1",
    b"GET /public/../a HTTP/1.1",
    b"GET /public/%2e%2e/a HTTP/1.1",
    b"GET /public/..%2fa HTTP/1.1",
    b"GET /public/%5c..%5ca HTTP/1.1",
    b"GET /public/..;/a HTTP/1.1",
    b"GET /public\\a HTTP/1.1",
    b"GET /public/%00 HTTP/1.1",
    b"GET /public/%0d%0aX:1 HTTP/1.1",
    b"GET /public/%zz HTTP/1.1",
    b"GET /public/% HTTP/1.1",
    b"GET /public/%c0%ae%c0%ae/a HTTP/1.1",
    b"GET /public/%252e%252e/a HTTP/1.1",
    b"GET /public/%ef%bc%8e HTTP/1.1",
    b"GET http://app.example/public/a HTTP/1.1",
    b"GET HTTP://APP.EXAMPLE/public/a HTTP/1.1",
    b"GET http://app.example HTTP/1.1",
    b"GET http://app.example?q HTTP/1.1",
    b"GET http://evil.example/public/a HTTP/1.1",
    b"GET http://app.example@evil.example/public/a HTTP/1.1",
    b"GET http:///public/a HTTP/1.1",
    b"GET ftp://app.example/public/a HTTP/1.1",
    b"GET public/a HTTP/1.1",
    b"GET ?a HTTP/1.1",
    b"GET * HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET app.example:80 HTTP/1.1",
    b"CONNECT app.example:80 HTTP/1.1",
    b"CONNECT /public/a HTTP/1.1",
    b"TRACE /public/a HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"G\x00T /public/a HTTP/1.1",
    b"G@T /public/a HTTP/1.1",
    b"GET/public/a HTTP/1.1",
    b"GET /public/" + b"a" * 9_000 + b" HTTP/1.1",
    b"GET /public/?" + b"a=b&" * 3_000 + b" HTTP/1.1",
    b"A" * 40 + b" /public/a HTTP/1.1",
    b"",
)
"""Request lines that take the place of a good one."""

HOSTS: Final[Sequence[Sequence[bytes]]] = (
    (),
    (b"Host: app.example", b"Host: app.example"),
    (b"Host: app.example", b"Host: evil.example"),
    (b"Host: app.example", b"host: evil.example"),
    (b"Host:",),
    (b"Host: ",),
    (b"Host: app.example/path",),
    (b"Host: user@app.example",),
    (b"Host: app example",),
    (b"Host: app.example:x",),
    (b"Host: app.example:99999",),
    (b"Host: app.example:",),
    (b"Host: app.example, evil.example",),
    (b"Host: app.example#",),
    (b"Host: app.example?",),
    (b"Host: app\\example",),
    (b"Host: \xe4pp.example",),
    (b"Host: app.example\x00.evil",),
    (b"Host: [::1",),
    (b"Host: [::1]:80",),
    (b"Host: APP.example",),
    (b"Host: app.example.",),
    (b"Host : app.example",),
    (b" Host: app.example",),
    (b"Host\x00: app.example",),
    (b"Host:\tapp.example",),
    (b"Host: app.example\t ",),
    (b"X: 1\r\n Host: app.example",),
)
"""What takes the place of the one Host line."""

FIELDS: Final[Sequence[bytes]] = (
    b"X-T-A : 1",
    b"X-T-A\t: 1",
    b" X-T-A: 1",
    b"\tX-T-A: 1",
    b"X-T-A: 1\r\n folded",
    b"X-T-A: 1\r\n\tfolded",
    b"X-T-A: 1\r\n",
    b"X-T-A",
    b": 1",
    b"",
    b"X-T-A: 1\x00",
    b"X-T-A: \x01",
    b"X-T-A: \x7f",
    b"X-T-A: 1\rX-T-B: 2",
    b"X-T-A: 1\nX-T-B: 2",
    b"X-T-A: 1\r\rX-T-B: 2",
    b"X-T-A: 1\n\nGET /smuggled HTTP/1.1\nHost: app.example\n\n",
    b"X-T-\x80: 1",
    b"X-T A: 1",
    b"X-T(A): 1",
    b"X-T-A;: 1",
    b"X-T-A: \xff\xfe",
    b"X-T-A:\x0b1",
    b"X-T-A: " + b"v" * 40_000,
    b"X-" + b"n" * 40_000 + b": 1",
    b"\r\n".join(b"X-T-%d: 1" % n for n in range(200)),
    b"\r\n".join(b"X-T-%d: %b" % (n, b"v" * 1_500) for n in range(60)),
    b"Connection: X-T-1",
    b"Connection: X-Forwarded-User, close",
    b"Connection: host",
    b"Connection: content-length",
    b"Connection: transfer-encoding, keep-alive",
    b"Connection: close, close",
    b"Connection: \x00",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: trailers",
    b"TE: gzip, trailers",
    b"Trailer: Content-Length",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"X-Forwarded-User: eve",
    b"X_Forwarded_User: eve",
    b"x-forwarded.user: eve",
    b"X-Forwarded-For: 1.2.3.4",
    b"Forwarded: for=1.2.3.4",
    b"Proxy: evil",
    b"X-Original-URL: /admin",
    b"X-HTTP-Method-Override: DELETE",
    b"Authorization: Bearer good.token.one\r\nAuthorization: Bearer good.token.one",
    b"Authorization: Basic Zm9vOmJhcg==",
    b"Authorization_: Bearer good.token.one",
    b"Cookie: __session=x",
    b"X-Request-Id: a\tb",
)
"""Field lines that come in between good ones."""

BODY: Final = b"hello world"
FRAMINGS: Final[Sequence[tuple[bytes, bytes]]] = (
    (b"Content-Length: 11\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + SMUGGLED),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n" + SMUGGLED),
    (b"Content-Length: 11\r\nContent-Length: 11", BODY),
    (b"Content-Length: 11\r\nContent-Length: 0", BODY),
    (b"Content-Length: 0\r\nContent-Length: %d" % len(SMUGGLED), SMUGGLED),
    (b"Content-Length: 11, 11", BODY),
    (b"Content-Length: 11,12", BODY),
    (b"Content-Length: +11", BODY),
    (b"Content-Length: -1", BODY),
    (b"Content-Length: 0x0b", BODY),
    (b"Content-Length: 0b1", BODY),
    (b"Content-Length: 1 1", BODY),
    (b"Content-Length: 1_1", BODY),
    (b"Content-Length: 11;", BODY),
    (b"Content-Length: 11.0", BODY),
    (b"Content-Length: \xd9\xa1\xd9\xa1", BODY),
    (b"Content-Length:", BODY),
    (b"Content-Length: ", SMUGGLED),
    (b"Content-Length: 99999999999999999999", BODY),
    (b"Content-Length: 18446744073709551627", BODY),
    (b"Content-Length: 4294967307", BODY),
    (b"Content-Length: 0011", BODY),
    (b"Content-Length: 00", b""),
    (b"Content-Length: " + b"0" * 5_000 + b"11", BODY),
    (b"Content-Length:\t11\t", BODY),
    (b"Content-Length : 11", BODY),
    (b"Content-Length\x00: 11", BODY),
    (b"Content_Length: 11", b""),
    (b"Content-Length: 5\r\n 6", BODY),
    (b"Content-Length: 5", BODY),
    (b"Content-Length: 500", BODY),
    (b"Transfer-Encoding: chunked, chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: identity", BODY),
    (b"Transfer-Encoding: identity, chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked, identity", b"0\r\n\r\n"),
    (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: gzip", BODY),
    (b"Transfer-Encoding: xchunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunkedx", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked;q=1", b"0\r\n\r\n"),
    (b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n"),
    (b'Transfer-Encoding: "chunked"', b"0\r\n\r\n"),
    (b"Transfer-Encoding:\tchunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: Chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: CHUNKED ", b"b\r\nhello world\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"0\r\n\r\n"),
    (b"Transfer-Encoding: \r\n chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding :chunked", b"0\r\n\r\n"),
    (b"Transfer_Encoding: chunked", b""),
    (b"Transfer-Encoding\x00: chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding:", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked", BODY),
)
"""Framing fields and what follows the head."""

CHUNKS: Final[Sequence[bytes]] = (
    b"b\r\nhello world\r\n0\r\n\r\n",
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    b"B\r\nhello world\r\n000\r\n\r\n",
    b"0000b\r\nhello world\r\n0\r\n\r\n",
    b"b;a=b\r\nhello world\r\n0;x\r\n\r\n",
    b"b ;a\r\nhello world\r\n0\r\n\r\n",
    b"b \r\nhello world\r\n0\r\n\r\n",
    b" b\r\nhello world\r\n0\r\n\r\n",
    b"0xb\r\nhello world\r\n0\r\n\r\n",
    b"+b\r\nhello world\r\n0\r\n\r\n",
    b"-b\r\nhello world\r\n0\r\n\r\n",
    b"b_\r\nhello world\r\n0\r\n\r\n",
    b"\r\nb\r\nhello world\r\n0\r\n\r\n",
    b"b\nhello world\r\n0\r\n\r\n",
    b"b\r\nhello world\n0\r\n\r\n",
    b"b\r\nhello world\r\n0\n\n",
    b"b\r\nhello world\r\n0\r\n\n",
    b"b\r\r\nhello world\r\n0\r\n\r\n",
    b"b\rX\nhello world\r\n0\r\n\r\n",
    b"b;a\rb\r\nhello world\r\n0\r\n\r\n",
    b"b;a\nb\r\nhello world\r\n0\r\n\r\n",
    b"b;\x00\r\nhello world\r\n0\r\n\r\n",
    b"5\r\nhello world\r\n0\r\n\r\n",
    b"c\r\nhello world\r\n0\r\n\r\n",
    b"b\r\nhello world0\r\n\r\n",
    b"10000000000000000b\r\nhello world\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello world\r\n0\r\n\r\n",
    b"b\r\nhello world\r\n",
    b"b\r\nhello world\r\n0\r\n",
    b"b\r\nhello world\r\n0\r\nX-T-Trailer: 1\r\n\r\n",
    b"b\r\nhello world\r\n0\r\nContent-Length: 5\r\n\r\n",
    b"b\r\nhello world\r\n0\r\nHost: evil.example\r\n\r\n",
    b"b\r\nhello world\r\n0\r\nX-Forwarded-User: eve\r\n\r\n",
    b"b\r\nhello world\r\n0\r\nX-T\x00: 1\r\n\r\n",
    b"b\r\nhello world\r\n0\r\nX-T-Trailer : 1\r\n\r\n",
    b"b\r\nhello world\r\n0\r\n X: 1\r\n\r\n",
    b"b\r\nhello world\r\n0\r\nX\r\n\r\n",
    b"b\r\nhello world\r\n0\r\n\r\n" + SMUGGLED,
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"g\r\n",
    b";\r\nhello world\r\n0\r\n\r\n",
)
"""Bodies behind ``Transfer-Encoding: chunked``."""


class Heads:
    """An endless supply.

    :param seed: the same one gives the same requests in the same order.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._count = 0
        self._breakers: tuple[Callable[[], bytes], ...] = (
            lambda: self._request(line=self._pick(LINES)),
            lambda: self._request(host=self._pick(HOSTS)),
            lambda: self._request(extra=self._pick(FIELDS)),
            lambda: self._request(framing=self._pick(FRAMINGS)),
            lambda: self._request(framing=(b"Transfer-Encoding: chunked", self._pick(CHUNKS))),
            self._old,
            self._line_ends,
            self._edited,
            self._edited,
        )

    def valid(self) -> bytes:
        """A request beyond doubt."""
        return self._request(token=1.0)

    def broken(self) -> bytes:
        """A request that was changed in one place, which may or may not have broken it."""
        return self._pick(self._breakers)()

    def segments(self, data: bytes) -> list[bytes]:
        """The same bytes in one to three pieces."""
        cuts = sorted(self._random.randrange(len(data) + 1) for _ in range(self._random.choice((0, 0, 1, 2))))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]

    def chance(self, of: float) -> bool:
        """True that often."""
        return self._random.random() < of

    def between(self, low: int, high: int) -> int:
        """A number, both ends included."""
        return self._random.randint(low, high)

    def _pick(self, table: Sequence[T]) -> T:
        return table[self._random.randrange(len(table))]

    def _text(self, alphabet: bytes, low: int, high: int) -> bytes:
        return bytes(self._random.choices(alphabet, k=self._random.randint(low, high)))

    def _path(self) -> bytes:
        segments = [self._text(_UNRESERVED, 1, 8) for _ in range(self._random.randint(1, 4))]
        if self.chance(0.1):
            segments.append(b"%20" + self._text(_UNRESERVED, 0, 3))
        path = b"/".join([self._pick((b"/public", b"/public", b"/api", b"")), *segments])
        if self.chance(0.3):
            path += b"?" + self._text(_UNRESERVED + b"=&/?:@!$'()*+,;", 0, 20)
        return path

    def _request(
        self,
        line: bytes | None = None,
        host: Sequence[bytes] = (b"Host: " + HOST,),
        extra: bytes | None = None,
        framing: tuple[bytes, bytes] | None = None,
        token: float = 0.8,
    ) -> bytes:
        self._count += 1
        method = self._pick(METHODS) if framing is None else b"POST"
        lines = [method + b" " + self._path() + b" HTTP/1.1" if line is None else line, *host]
        for number in range(self._random.randint(0, 4)):
            value = self._text(_VALUE, 0, 24).strip()
            space = b"" if self.chance(0.05) else b" "
            lines.append(b"X-T-%d:%b%b" % (number, space, value))
        lines.append(b"X-T-Case: %d" % self._count)
        if self.chance(token):
            lines.append(b"Authorization: Bearer " + TOKEN)
        if extra is not None:
            lines.insert(self._random.randint(1, len(lines)), extra)
        body = b""
        if framing is None and method in {b"POST", b"PUT", b"PATCH"} and line is None:
            framing = self._body()
        if framing is not None:
            lines.insert(self._random.randint(1, len(lines)), framing[0])
            body = framing[1]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _body(self) -> tuple[bytes, bytes]:
        body = self._text(bytes(range(256)), 0, 60)
        if self.chance(0.5):
            return b"Content-Length: %d" % len(body), body
        cut = self._random.randint(0, len(body))
        pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
        return b"Transfer-Encoding: chunked", b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"

    def _old(self) -> bytes:
        data = self._request(framing=self._pick(((b"Content-Length: 11", BODY), (b"X-T-O: 1", b""), FRAMINGS[-1])))
        return data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)

    def _line_ends(self) -> bytes:
        head, _, body = self._request().partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        kind = self._random.randrange(6)
        if kind == 0:
            return b"\n".join(lines) + b"\n\n" + body
        if kind == 1:
            return b"\r".join(lines) + b"\r\r" + body
        if kind == 2:
            place = self._random.randrange(len(lines))
            ends = [b"\n" if number == place else b"\r\n" for number in range(len(lines))]
            return b"".join(line + end for line, end in zip(lines, ends, strict=True)) + b"\r\n" + body
        if kind == 3:
            return b"\r\n" * self._random.randint(1, 5) + head + b"\r\n\r\n" + body
        if kind == 4:
            return self._pick((b"\n", b"\r", b" \r\n", b"\0\r\n", b"\r\n \r\n")) + head + b"\r\n\r\n" + body
        return b"\r\r\n".join(lines) + b"\r\r\n\r\r\n" + body

    def _edited(self) -> bytes:
        data = bytearray(self._request())
        place = self._random.randrange(len(data))
        kind = self._random.randrange(5)
        if kind == 0:
            data[place] = self._random.choice(_INTERESTING)
        elif kind == 1:
            data.insert(place, self._random.choice(_INTERESTING))
        elif kind == 2:
            del data[place]
        elif kind == 3:
            data[place:place] = data[place : place + self._random.randint(1, 20)]
        else:
            del data[place : place + self._random.randint(1, 20)]
        return bytes(data)
