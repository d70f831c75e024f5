"""The generated configurations, unedited, in the proxies that they are for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from playwright.async_api import async_playwright, expect

from gateway.forward_auth import Dialect
from gateway.snippets.site import OVERRIDES
from tests.proxies.live import PROJECT, STALENESS, Live, behind
from tests.support.chromium import ARGUMENTS, chromium_path

pytestmark = [pytest.mark.browser]

PASSWORD = "correct horse battery"
UPLOAD = 5_000_000
FORGED = (
    ("X-Forwarded-User", "root"),
    ("X-Forwarded-Email", "root@example.com"),
    ("X-Forwarded-Groups", "admins"),
    ("X-Gateway-Jwt-Assertion", "x.y.z"),
    ("X-Goog-IAP-JWT-Assertion", "x.y.z"),
    ("X_Forwarded_User", "root"),
    ("X-Forwarded_User", "root"),
    ("X_Gateway_Jwt_Assertion", "x.y.z"),
    ("X-Gateway-Fetch", "mode=navigate"),
)
IDENTITY = ("x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-gateway-", "x-goog-iap-")
NOMINATED = ("X-Forwarded-User", "keep-alive, x-forwarded-user, X-Forwarded-Email")


@pytest.fixture(params=list(Dialect))
async def live(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Live]:
    async with behind(request.param, tmp_path) as running:
        yield running


async def account(live: Live, email: str) -> dict[str, str]:
    url = f"{live.provider.url}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=k"
    body = {"email": email, "password": PASSWORD, "returnSecureToken": True}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        answer: dict[str, str] = await response.json()
        return answer


async def raw(
    live: Live, *fields: tuple[str, str], path: str = "/x", method: str = "GET"
) -> tuple[int, dict[str, str]]:
    """Status and fields of the answer to a request whose bytes nobody tidies up."""
    host = live.url.removeprefix("http://")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in fields)]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    writer.close()
    told = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
    return int(head[0].split()[1]), {name.lower(): value for name, value in told.items()}


def identity(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    """What an application could take for an identity, by folded name."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        folded = name.lower().replace("_", "-")
        if folded.startswith(
            ("x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-gateway-", "x-goog-iap-")
        ):
            found.setdefault(folded, []).append(value)
    return found


async def test_the_proxy_itself_accepts_the_configuration(live: Live) -> None:
    """... writes a configuration that the proxy's own checker has nothing against."""
    if live.check is None:  # Traefik has no checker: it says in its log what it cannot use
        assert re.search(r"\b(ERR|WRN)\b", live.output.read_text()) is None
        return
    checking = await asyncio.create_subprocess_exec(
        *live.check, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await checking.communicate()
    assert checking.returncode == 0, told.decode()
    assert b"[warn]" not in told


async def test_nobody_says_who_they_are_by_themselves(live: Live) -> None:
    """... lets no forged identity reach the application, signed in or not, in whatever spelling."""
    user = await account(live, "ada@example.com")
    bearer = ("Authorization", f"Bearer {user['idToken']}")
    for path in ("/public/x", "/open/x"):
        status, _ = await raw(live, *FORGED, path=path)
        assert status == 200
        assert identity(live.last(path)) == {}
    for more in (
        (),
        (("Connection", "X-Forwarded-User"),),
        (("Connection", "keep-alive, x-forwarded-user, X-Forwarded-Email"),),
    ):
        status, _ = await raw(live, *FORGED, bearer, *more)
        assert status == 200
        told = identity(live.last("/x"))
        assertion = told.pop("x-gateway-jwt-assertion")
        payload = jwt.decode(assertion[0], options={"verify_signature": False})
        assert (len(assertion), payload["sub"], payload["aud"]) == (1, user["localId"], "app")
        # A proxy may obey the client's Connection and take our field away: nobody is then who they are not.
        expected = {"x-forwarded-user": [user["localId"]], "x-forwarded-email": ["ada@example.com"]}
        assert all(expected[name] == values for name, values in told.items())
        assert told == expected or more
    fields = {name.lower() for name, _ in live.last("/x")}
    assert "authorization" not in fields


async def test_nothing_asks_another_question(live: Live) -> None:
    """... lets nothing reach the application that makes it take another path, method or address for the real one."""
    others = [name for name in OVERRIDES if name != "Forwarded"]
    spellings = [*others, *(name.replace("-", "_") for name in others if "-" in name), "X-Real-IP", "Forwarded"]
    status, _ = await raw(live, *((name, "for=203.0.113.9") for name in spellings), path="/public/x")
    assert status == 200
    assert not [field for field in live.last("/public/x") if "203.0.113.9" in field[1]]


async def test_the_worker_of_the_site_is_the_gateways(live: Live) -> None:
    """... widens the scope of the gateway's worker and of no other script."""
    status, fields = await raw(live, path="/service-worker.js")
    assert (status, fields["service-worker-allowed"]) == (200, "/")
    status, fields = await raw(live, path="/public/worker.js")
    assert (status, fields["content-type"]) == (200, "application/json; charset=utf-8")
    assert "service-worker-allowed" not in fields


async def test_the_application_sees_the_rest_as_it_was(live: Live) -> None:
    """... passes the client's own fields and cookies on, without the session, and tells where it came from."""
    user = await account(live, "eve@example.com")
    status, _ = await raw(
        live,
        ("Cookie", f"theme=dark; __session={user['idToken']}; lang=en"),
        ("Sec-Fetch-Site", "same-origin"),
        ("X-Own", "1"),
        ("X-Forwarded-For", "203.0.113.9"),
        path="/y?a=%20b",
    )
    assert status == 200
    fields = {name.lower(): value for name, value in live.last("/y")}
    assert fields["cookie"] == "theme=dark; lang=en"
    assert fields["x-own"] == "1"
    assert fields["x-forwarded-user"] == user["localId"]
    assert "203.0.113.9" not in fields.get("x-forwarded-for", "")
    assert len(fields["x-request-id"]) >= 16


async def test_refusals_reach_the_client_whole(live: Live) -> None:
    """... redirects people, and gives scripts the problem document with its challenge."""
    page = (("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
    status, fields = await raw(live, *page, path="/x?a=1")
    assert (status, fields["location"]) == (302, "/.gateway/login?rd=/x%3Fa%3D1&reason=sign_in_required")
    status, fields = await raw(live)
    assert (status, fields["content-type"]) == (401, "application/problem+json")
    assert fields["www-authenticate"].startswith("Bearer realm=")
    user = await account(live, "mallory@example.com")
    foreign = (("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Content-Length", "0"))
    status, _ = await raw(live, ("Authorization", f"Bearer {user['idToken']}"), *foreign, method="POST")
    assert status == 403
    status, _ = await raw(live, path="/.gateway/auth/nginx")
    assert status == 404
    for path in ("/public/../x", "/public/%2e%2e/x", "//x"):
        status, _ = await raw(live, path=path)
        assert status in {301, 302, 307, 308, 400, 401, 404}
        assert ("/x", []) not in live.seen


async def test_a_person_in_a_browser(live: Live) -> None:
    """... signs a person in, shows the page, passes an upload and a WebSocket, and ends it all on revocation."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(ARGUMENTS))
        context = await browser.new_context(base_url=live.url)
        page = await context.new_page()
        await page.goto("/jobs/42")
        await page.get_by_role("button", name="Create an account").click()
        await page.get_by_label("E-mail").locator("visible=true").fill("ada@example.com")
        await page.locator("#signup-password").fill(PASSWORD)
        await page.get_by_role("button", name="Create account").click()
        await page.wait_for_url(re.compile("/jobs/42$"))
        await expect(page.get_by_role("heading", name="ada@example.com")).to_be_visible()
        uploaded: dict[str, Any] = await page.evaluate(
            """async size => {
                 const body = new Uint8Array(size).map((_, i) => i % 251);
                 return (await fetch("/upload", {method: "POST", body})).json();
               }""",
            UPLOAD,
        )
        assert uploaded["sha256"] == hashlib.sha256(bytes(i % 251 for i in range(UPLOAD))).hexdigest()
        said = await page.evaluate(
            """() => new Promise((resolve, reject) => {
                 const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
                 const heard = [];
                 socket.onopen = () => socket.send("hello");
                 socket.onmessage = ({data}) => { heard.push(data); if (heard.length === 2) resolve(heard); };
                 socket.onerror = () => reject(new Error("no socket"));
               })"""
        )
        assert said == [uploaded["user"], "hello"]
        await _revoke(live, uploaded["user"])
        await asyncio.sleep(2 * STALENESS)  # what the gateway promises
        await page.goto("/jobs/42")
        await page.wait_for_url(re.compile("reason=session_revoked"))
        await browser.close()


async def _revoke(live: Live, uid: str) -> None:
    url = f"{live.provider.url}/identitytoolkit.googleapis.com/v1/projects/{PROJECT}/accounts:update"
    body = json.dumps({"localId": uid, "validSince": "4000000000"})
    headers = {"Authorization": "Bearer owner", "Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        assert response.status == 200
