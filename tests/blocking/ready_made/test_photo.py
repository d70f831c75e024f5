"""blocking-functions.md scenario 4.8."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.blocking.ready_made import HttpJudge, screen_photo
from gateway.blocking.ready_made.photo import MAX_ANSWER, REFUSED, OnError
from gateway.errors import ConfigError
from tests.support import events
from tests.support.events import ABSENT

GUEST = "https://static.test/guest.png"
PHOTO = "https://img.test/ada.png"
REPLACED = (200, {"userRecord": {"photoUrl": GUEST, "updateMask": "photoUrl"}})
DENIED = (400, {"error": {"code": 400, "message": REFUSED, "status": "FAILED_PRECONDITION"}})
KEPT: tuple[int, dict[str, Any]] = (200, {})


async def answer(judge: Any, photo: Any = PHOTO, *, on_error: OnError = "deny", limit: float = 3.0) -> Any:
    functions = events.functions()
    functions.before_create(screen_photo(judge, GUEST, on_error=on_error, timeout=limit))
    async with functions:
        return await functions.respond(events.token(photo_url=photo))


async def test_unfit_photos_are_replaced() -> None:
    """... replaces a photo that is judged unfit, and keeps others; the judge may be async or plain."""

    async def later(url: str) -> bool:
        return url == PHOTO

    assert await answer(lambda url: url != PHOTO) == REPLACED
    assert await answer(lambda url: url == PHOTO) == KEPT
    assert await answer(later) == KEPT
    assert await answer(later, "https://img.test/bad.png") == REPLACED


@pytest.mark.parametrize("photo", [ABSENT, "", GUEST])
async def test_nothing_to_screen_asks_nobody(photo: Any) -> None:
    """... asks nobody about an account without a photo, or with the replacement."""
    assert await answer(lambda url: 1 / 0, photo) == KEPT


async def never(url: str) -> bool:
    return await asyncio.Event().wait()


@pytest.mark.parametrize("judge", [lambda url: 1 / 0, lambda url: None, lambda url: "yes", lambda url: 1, never])
@pytest.mark.parametrize(("on_error", "expected"), [("deny", DENIED), ("allow", KEPT), ("replace", REPLACED)])
async def test_a_failing_judge_has_not_said_yes(judge: Any, on_error: OnError, expected: Any) -> None:
    """... does what the setting says when the judge fails, stalls or answers neither yes nor no."""
    assert await answer(judge, on_error=on_error, limit=0.05) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"appropriate": true}', KEPT),
        (200, b'{"appropriate": false}', REPLACED),
        (200, b'{"appropriate": "yes"}', DENIED),
        (200, b"{}", DENIED),
        (200, b"[]", DENIED),
        (200, b"not JSON", DENIED),
        (500, b'{"appropriate": true}', DENIED),
        (302, b'{"appropriate": true}', DENIED),
        (200, b'{"appropriate": true}' + b" " * MAX_ANSWER, DENIED),
    ],
)
async def test_a_service_may_judge(status: int, body: bytes, expected: Any) -> None:
    """... asks a service over HTTP, and takes nothing but a clear yes for one."""
    asked: list[Any] = []

    async def judge(request: web.Request) -> web.Response:
        asked.append((await request.json(), request.headers["X-Api-Key"]))
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_post("/judge", judge)
    async with TestServer(app) as server:
        assert await answer(HttpJudge(str(server.make_url("/judge")), {"X-Api-Key": "k"})) == expected
    assert asked == [({"photoUrl": PHOTO}, "k")]


def test_settings_are_checked() -> None:
    """... refuses a replacement, a service or a setting that cannot be."""
    with pytest.raises(ConfigError):
        screen_photo(never, "guest.png")
    with pytest.raises(ConfigError):
        screen_photo(never, GUEST, on_error="maybe")  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        HttpJudge("http://photos.example.com/")
