"""Request heads that came before: all of a head but its credentials, looked up instead of read.

The rules this file obeys (``threats.md`` rows 16 to 18, 22 and 23):

* **Only what differs in nothing but credentials is the same.** The values of ``Authorization`` and ``Cookie`` are cut
  out, and all other bytes of the message are the key. So whatever :mod:`gateway.proxy.plain` would say of it, it said
  of the earlier one; the two values are looked at by whoever compares or reads credentials anyway.
* Nothing is remembered of a message with a body, and no credential of anybody.

Browsers ask for the same things with the same dozen lines again and again. Taking a head apart is half of what a
request on the fast path costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.proxy.plain import MAX_HEAD, PlainRequest

if TYPE_CHECKING:
    from gateway.proxy.understood import Asked, Way

MAX_KEY: Final = 2_048
"""Bytes of a head without its credentials that is remembered."""
_AUTHORIZATION: Final = b"\r\nAuthorization: "
_AUTHORIZATION_NAME: Final = len(_AUTHORIZATION)
_COOKIE: Final = b"\r\nCookie: "
_COOKIE_NAME: Final = len(_COOKIE)
_CRLF: Final = b"\r\n"


Cut: TypeAlias = tuple[bytes, bytes | None, bytes | None]
"""A message in three pieces: all but the credentials, the line ``Authorization`` and the line ``Cookie``, each with its
CR. No class, since one is made for every request."""


def cut(data: bytes) -> Cut | None:
    """Cut a message; None when it is too long for a head that is read on the fast path."""
    if len(data) > MAX_HEAD:
        return None
    authorization = cookie = None
    start = data.find(_AUTHORIZATION)
    if start >= 0:
        start += _AUTHORIZATION_NAME
        end = data.find(_CRLF, start)
        if end < 0:
            return None
        authorization = data[start - _AUTHORIZATION_NAME + 2 : end + 1]
        data = data[:start] + data[end:]
    start = data.find(_COOKIE)
    if start >= 0:
        start += _COOKIE_NAME
        end = data.find(_CRLF, start)
        if end < 0:
            return None
        cookie = data[start - _COOKIE_NAME + 2 : end + 1]
        data = data[:start] + data[end:]
    return data, authorization, cookie


class KnownHead:
    """One head, understood, without its credentials. ``host`` is the authority that was asked, lower case.

    ``plain.fields`` has gaps where the lines with credentials stood; ``gaps`` are their places, that of
    ``Authorization`` first, -1 for none.
    ``before`` and ``behind`` are the lines that a backend gets, up to the cookies and from there on; None where they
    depend on more than the head.
    """

    __slots__ = ("asked", "before", "behind", "gaps", "host", "plain", "way")

    def __init__(
        self, asked: Asked, plain: PlainRequest, way: Way, host: str, before: bytes | None, behind: bytes
    ) -> None:
        self.host = host
        self.gaps = tuple(_place(plain.fields, name) for name in (_AUTHORIZATION, _COOKIE))
        self.asked = asked
        self.plain = plain
        self.way = way
        self.before = before
        self.behind = behind

    def fields(self, authorization: bytes | None, cookie: bytes) -> list[bytes]:
        """All field lines of a message with this head and these credentials."""
        fields = self.plain.fields
        first, second = self.gaps
        if authorization is not None or second >= 0:
            fields = fields.copy()
            if authorization is not None:
                fields[first] = authorization
            if second >= 0:
                fields[second] = cookie
        return fields


def _place(fields: list[bytes], name: bytes) -> int:
    return fields.index(name[2:]) if name[2:] in fields else -1


def without_credentials(pieces: Cut, plain: PlainRequest) -> PlainRequest | None:
    """What was read of a message, as far as it may be remembered; None for one of which nothing may be.

    :param pieces: the same message, cut.
    """
    key, authorization, cookie = pieces
    if (
        len(key) > MAX_KEY
        or plain.body
        or plain.length is not None
        or plain.request_id is not None  # differs with every request
        or authorization != plain.authorization
        or cookie != plain.cookie
    ):
        return None
    kept = PlainRequest()
    kept.line, kept.host, kept.fetch = plain.line, plain.host, plain.fetch
    kept.origin, kept.site = plain.origin, plain.site
    kept.authorized_at, kept.cookie_at = plain.authorized_at, plain.cookie_at
    kept.reserved = list(plain.reserved)
    kept.kept = list(plain.kept)
    if plain.cookie_at >= 0:
        kept.kept[plain.cookie_at] = b""
    gaps = {authorization: _AUTHORIZATION[2:], cookie: _COOKIE[2:]}
    kept.fields = [gaps.get(line, line) for line in plain.fields]
    return kept
