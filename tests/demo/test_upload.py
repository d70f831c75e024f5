"""The backend's upload: hashed as it streams, kept nowhere."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, FormData

from gateway.demo import upload
from gateway.demo.upload import CHUNK_BYTES, FIELD

FIVE_MEBIBYTES = 5 * 2**20
FORM_B = "multipart/form-data; boundary=b"
FILE_B = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'


def form(body: bytes, name: str = "bell.bin", field: str = FIELD) -> FormData:
    data = FormData()
    data.add_field("note", "goes before the file")
    data.add_field(field, io.BytesIO(body), filename=name, content_type="application/x-bell")
    return data


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, FIVE_MEBIBYTES])
async def test_the_receipt_is_of_the_very_bytes(ada: ClientSession, size: int) -> None:
    """The backend answers an upload with the size and SHA-256 of exactly what was sent."""
    body = os.urandom(size)
    async with ada.post("/upload", data=form(body)) as response:
        assert response.status == 200
        assert await response.json() == {
            "name": "bell.bin",
            "content_type": "application/x-bell",
            "size": size,
            "sha256": hashlib.sha256(body).hexdigest(),
        }


async def test_bytes_that_look_like_a_boundary_are_content(ada: ClientSession) -> None:
    """The backend takes dashes and line ends inside a file for what they are."""
    body = b"--\r\n--boundary\r\n\r\n--" * 9_000
    async with ada.post("/upload", data=form(body)) as response:
        assert (await response.json())["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"x", 400),
        (FORM_B, b"", 400),
        (FORM_B, b"no boundary here", 400),
        (FORM_B, b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n--b--\r\n", 400),
        (FORM_B, b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n', 400),
        (FORM_B, FILE_B + b"half a file", 400),
        (FORM_B, FILE_B + b"half a file\r\n", 400),
        (FORM_B, FILE_B + b"a whole file\r\n--", 400),
        (FORM_B, FILE_B + b"a whole file\r\n--b", 400),
        (FORM_B, b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b--", 400),
    ],
)
async def test_what_is_no_upload_is_refused(ada: ClientSession, content_type: str, body: bytes, status: int) -> None:
    """The backend refuses a body that is not a form with a file, and says so in a problem document."""
    async with ada.post("/upload", data=body, headers={"Content-Type": content_type}) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert (await response.json())["detail"]


async def test_a_file_in_another_field_is_refused(ada: ClientSession) -> None:
    """The backend takes the file from its own field only."""
    async with ada.post("/upload", data=form(b"x", field="other")) as response:
        assert response.status == 400


async def test_too_large_is_refused_while_it_streams(ada: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend stops reading at the limit instead of waiting for the end."""
    monkeypatch.setattr(upload, "MAX_FILE_BYTES", CHUNK_BYTES)
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield FILE_B
        for _ in range(10_000):
            sent += CHUNK_BYTES
            yield bytes(CHUNK_BYTES)

    headers = {"Content-Type": FORM_B}
    async with ada.post("/upload", data=body(), headers=headers) as response:
        assert response.status == 413
    assert sent < 10_000 * CHUNK_BYTES
