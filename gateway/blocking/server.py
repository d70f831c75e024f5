"""Blocking functions over HTTP (blocking-functions.md sections 1.1 and 1.3): one POST in, one JSON object out.

The rules this file obeys: the token in the body is the only thing that is believed; every answer, refusals included,
is a JSON object with ``Content-Type: application/json``; a body has a size and a time; where unsigned events are taken
(the official emulator), they are taken from this machine only.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web

from gateway.blocking.event import EVENT_NAMES, Event
from gateway.blocking.functions import Answered
from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.blocking.json_text import encode

if TYPE_CHECKING:
    from gateway.blocking.functions import BlockingFunctions

MAX_BODY: Final = 256 * 1024
"""Bytes of a request: the longest token that is read, and the object around it."""

_REASONS: Final = {499: "Client Closed Request"}
"""Phrases for what HTTP has no registered status for."""

_JSON: Final = "application/json"
_MAX_SHOWN: Final = 100
"""Characters of a header in a message."""


def application(functions: BlockingFunctions) -> web.Application:
    """The application of these functions; see :meth:`BlockingFunctions.application`."""

    async def running(_: web.Application) -> AsyncIterator[None]:
        await functions.start()
        yield
        await functions.close()

    async def handle(request: web.Request) -> web.Response:
        return await _handle(functions, request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    app.cleanup_ctx.append(running)
    return app


async def _handle(functions: BlockingFunctions, request: web.Request) -> web.Response:
    received_at = asyncio.get_running_loop().time()
    try:
        if functions.emulator and not _is_this_machine(request.remote):
            raise HttpsError(  # noqa: TRY301 - one way out for every refusal
                ErrorCode.PERMISSION_DENIED, "Unsigned events are taken from this machine only."
            )
        body = await _read(request, functions.deadline)
        answered = await functions.answer(body, _event_of(request.match_info["path"]), received_at)
    except HttpsError as error:
        answered = Answered(error.http_status, error.body)
    response = web.Response(
        status=answered.status,
        reason=_REASONS.get(answered.status),
        body=encode(answered.body),
        content_type=_JSON,
        headers={"Cache-Control": "no-store"},
    )
    try:
        # Written here and not by the caller, so that deferred work begins when the answer is out.
        await response.prepare(request)
        await response.write_eof()
    finally:
        functions.finish(answered)
    return response


async def _read(request: web.Request, deadline: float) -> bytes:
    """The body of a call.

    :raises HttpsError: ``invalid-argument`` for what is no call, ``deadline-exceeded`` when it does not arrive.
    """
    if request.method != "POST":
        raise HttpsError(ErrorCode.INVALID_ARGUMENT, f'Request has invalid method "{request.method[:_MAX_SHOWN]}".')
    if request.content_type.lower() != _JSON:
        value = request.headers.get("Content-Type", "")[:_MAX_SHOWN]
        raise HttpsError(ErrorCode.INVALID_ARGUMENT, f'Request has invalid header Content-Type "{value}".')
    try:
        async with asyncio.timeout(deadline):
            return await _bounded(request.content)
    except TimeoutError:
        raise HttpsError(ErrorCode.DEADLINE_EXCEEDED) from None
    except web.RequestPayloadError:
        raise HttpsError(ErrorCode.INVALID_ARGUMENT, "Request body cannot be read.") from None


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """The body, by a limit of our own: that of aiohttp is the one of the application that ours is mounted in.

    :raises HttpsError: ``invalid-argument``.
    """
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise HttpsError(ErrorCode.INVALID_ARGUMENT, f"Request body is longer than {MAX_BODY} bytes.")
    return bytes(body)


def _event_of(path: str) -> Event | None:
    """The event that a path names with its last segment."""
    return EVENT_NAMES.get(path.rstrip("/").rpartition("/")[2].replace("-", "_"))


def _is_this_machine(remote: str | None) -> bool:
    if not remote:
        return True  # a unix socket
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and bool(mapped.is_loopback))
