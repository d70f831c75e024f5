"""Takes one file of a multipart form (RFC 7578), hashes it as it streams by, and keeps none of it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiohttp import BodyPartReader, hdrs, web

MAX_FILE_BYTES: Final = 256 * 2**20
"""A workshop's largest photograph many times over; keeps one visitor from hashing for hours."""

CHUNK_BYTES: Final = 64 * 2**10
"""Bytes held in memory at a time (asyncio's usual stream buffer)."""

FIELD: Final = "file"
"""The form field that holds the file."""

_MALFORMED: Final = (ValueError, AssertionError, LookupError)
"""What aiohttp's multipart reader raises for a body that is not the form it claims to be."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What arrived: ``size`` in bytes, ``sha256`` as 64 hexadecimal digits."""

    name: str
    content_type: str
    size: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """The receipt as ``POST /upload`` answers it."""
        return asdict(self)


class BadUpload(Exception):
    """The body is not a form with a file. ``status`` is the HTTP status, the text is fit for the sender."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


async def receive(request: web.Request) -> Receipt:
    """Read the form to its end and hash its first part named :data:`FIELD`.

    :raises BadUpload: 415 for another content type, 400 for a malformed form or one without the file, 413 beyond
        :data:`MAX_FILE_BYTES`.
    """
    if request.content_type != "multipart/form-data":
        raise BadUpload(415, "Send the file as multipart/form-data.")
    receipt = None
    try:
        reader = await request.multipart()
        # To the closing delimiter, because a form that was cut off holds half a file that looks whole.
        while (part := await reader.next()) is not None:
            if (
                receipt is None
                and isinstance(part, BodyPartReader)
                and part.name == FIELD
                and part.filename is not None
            ):
                receipt = await _hash(part)
    except _MALFORMED:
        raise BadUpload(400, "The form cannot be read to its end.") from None
    if receipt is not None:
        return receipt
    raise BadUpload(400, f"The form holds no file in a field named {FIELD!r}.")


async def _hash(part: BodyPartReader) -> Receipt:
    digest = hashlib.sha256()
    size = 0
    while chunk := await part.read_chunk(CHUNK_BYTES):
        size += len(chunk)
        if size > MAX_FILE_BYTES:
            raise BadUpload(413, f"The file is larger than {MAX_FILE_BYTES // 2**20} MiB.")
        digest.update(chunk)
    declared = part.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream")
    return Receipt(part.filename or "", declared, size, digest.hexdigest())
