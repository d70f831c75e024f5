"""Where one WebSocket frame ends and the next begins, without opening any.

The rule this file obeys (``threats.md`` row 26; RFC 6455 sections 5.2, 5.4 and 5.5): the gateway says something of its
own only between two frames of the stream that it says it in. A control frame may stand between two fragments of a
message, so the end of any frame will do, and compressed messages make no difference: only lengths are read, and no bit,
opcode, mask or payload is judged. That is between the two ends.

A head that has not arrived as a whole (at most nine bytes) is held back until its length is known. So what was passed
on always ends at the end of a frame or within a payload, never within a head, and a message that is too large is
noticed before the frame that makes it so.
"""

from __future__ import annotations

import os
from typing import Final

_FINAL: Final = 0x80
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_SHORT_HEAD: Final = 2
_MASK_SIZE: Final = 4
_TWO_BYTES: Final = 126
_LONGEST_DIRECT: Final = 125
"""RFC 6455 section 5.2: longer payloads have their length in two bytes (126) or eight (127) behind it."""
_FIRST_CONTROL: Final = 0x8
_CLOSE: Final = 0x8

MAX_CLOSE_REASON: Final = 123
"""Bytes: a control frame holds 125, two of which are the code (RFC 6455 section 5.5)."""


class Frames:
    """Counts frames in one direction.

    :param max_message: bytes that the frames of one message may hold together, as they are sent; 0 for any number.
    """

    __slots__ = ("_held", "_left", "_max_message", "_message", "closed", "too_large")

    def __init__(self, max_message: int = 0) -> None:
        self._max_message = max_message
        self._left = 0
        """Bytes of the current frame that are still to come."""
        self._held = b""
        """The beginning of a head."""
        self._message = 0
        self.closed = False
        """Whether a Close frame was passed on: nothing may follow it."""
        self.too_large = False
        """Whether a message exceeds the limit. The frame that makes it so was not passed on."""

    @property
    def between(self) -> bool:
        """Whether what was passed on ends with a frame."""
        return not self._left

    def take(self, data: bytes) -> bytes:
        """Take what arrived, give what may be passed on now: all of it, but for the beginning of a head."""
        size = len(data)
        at = self._left
        if size <= at:
            self._left = at - size
            return data
        if self._held:
            data = self._held + data
            size = len(data)
            self._held = b""
        self._left = 0
        while size - at >= _SHORT_HEAD:
            first, second = data[at], data[at + 1]
            length = second & _LENGTH
            end = at + _SHORT_HEAD
            if length > _LONGEST_DIRECT:
                end += 2 if length == _TWO_BYTES else 8
                if end > size:
                    break
                length = int.from_bytes(data[at + _SHORT_HEAD : end])
            if not self._fits(first, length):
                self.too_large = True
                return data[:at]
            end += length + (_MASK_SIZE if second & _MASKED else 0)
            if end >= size:
                self._left = end - size
                return data
            at = end
        self._held = data[at:]
        return data[:at]

    def rest(self, data: bytes) -> bytes:
        """Of what arrived, that which still belongs to the frame whose beginning was passed on."""
        piece = data[: self._left]
        self._left -= len(piece)
        return piece

    def flush(self) -> bytes:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, b""
        return held

    def _fits(self, first: int, length: int) -> bool:
        opcode = first & _OPCODE
        if opcode >= _FIRST_CONTROL:
            self.closed = self.closed or opcode == _CLOSE
            return True
        self._message += length
        if self._max_message and self._message > self._max_message:
            return False
        if first & _FINAL:
            self._message = 0
        return True


def close_frame(code: int, reason: str = "", *, masked: bool = False) -> bytes:
    """A Close frame (RFC 6455 section 5.5.1).

    :param reason: ASCII, at most :data:`MAX_CLOSE_REASON` characters.
    :param masked: as clients have to send it (section 5.3).
    :raises ValueError: the reason is too long, or not ASCII.
    """
    payload = code.to_bytes(2) + reason.encode("ascii")
    if len(payload) > _LONGEST_DIRECT:
        raise ValueError("a close reason is at most 123 bytes long")
    if not masked:
        return bytes((_FINAL | _CLOSE, len(payload))) + payload
    mask = os.urandom(_MASK_SIZE)
    hidden = bytes(byte ^ mask[index % _MASK_SIZE] for index, byte in enumerate(payload))
    return bytes((_FINAL | _CLOSE, _MASKED | len(payload))) + mask + hidden
