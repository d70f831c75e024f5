"""The sample backend, reached as the gateway reaches it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp import ClientSession

from gateway.demo.backend import MAX_COMMAND_BYTES, DemoBackend
from gateway.demo.data import JOBS
from gateway.demo.network import AWAY, HOME, DemoNetwork
from gateway.errors import ConfigError
from tests.demo.conftest import Revocations

HTML = {"Accept": "text/html,*/*;q=0.8"}
PAGES = ["/", "/jobs", "/jobs/7", "/jobs/42"]
HOSTILE = """"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;"""


@pytest.mark.parametrize("path", PAGES)
async def test_pages_know_the_visitor(ada: ClientSession, path: str) -> None:
    """The backend shows each page to the person the gateway named."""
    async with ada.get(path) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert response.headers["Cache-Control"] == "no-store"
        assert "ada@example.com" in await response.text()


async def test_home_shows_identity_and_headers_received(ada: ClientSession) -> None:
    """The backend's home page prints the identity headers, every other header, and that no Authorization came."""
    async with ada.get("/", headers={"X-Colour": "racing green"}) as response:
        text = await response.text()
    assert "ada-uid" in text
    assert '<span class="tag">key-holder</span>' in text
    assert re.search(r">X-Colour</th><td>racing green<", text)
    assert re.search(r'data-kind="credential"><th scope="row">Authorization</th><td>absent<', text)


@pytest.mark.parametrize("header", ["X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Anything"])
@pytest.mark.parametrize("path", PAGES)
async def test_hostile_headers_stay_text(ada: ClientSession, header: str, path: str) -> None:
    """The backend writes header values into its pages as text, so none becomes markup."""
    async with ada.get(path, headers={header: HOSTILE}) as response:
        text = await response.text()
    assert response.status == 200
    assert "<script>alert" not in text
    assert "<img" not in text
    if path == "/":
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


async def test_a_hostile_header_name_stays_text(ada: ClientSession) -> None:
    """The backend escapes header names too: token characters include quotes and ampersands (RFC 9110 section 5.6.2)."""
    async with ada.get("/", headers={"X'&": "1"}) as response:
        assert "X&#x27;&amp;" in await response.text()


async def test_pages_run_no_inline_code(ada: ClientSession) -> None:
    """The backend's pages carry a strict policy and live by it: no inline script, style or handler."""
    for path in [*PAGES, "/public/about", "/jobs/99999"]:
        async with ada.get(path, headers=HTML) as response:
            text = await response.text()
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)


async def test_the_page_contains_no_token_code(ada: ClientSession) -> None:
    """The backend's scripts touch no credential: they set no Authorization and read neither cookies nor storage."""
    for name in ["demo.js", "answers.js"]:
        async with ada.get(f"/public/assets/{name}") as response:
            code = await response.text()
        assert not re.search(
            r"authorization|document\.cookie|indexedDB|localStorage|sessionStorage|firebase", code, re.IGNORECASE
        )


@pytest.mark.parametrize("path", [*PAGES, "/api/jobs", "/events"])
async def test_nobody_is_refused_where_people_are_expected(nobody: ClientSession, path: str) -> None:
    """The backend refuses a request that names nobody: it came past the gateway."""
    async with nobody.get(path) as response:
        assert response.status == 403
        assert (await response.json(content_type=None))["title"] == "Forbidden"


@pytest.mark.parametrize("path", ["/upload", "/demo/revoke"])
async def test_nobody_changes_anything(nobody: ClientSession, path: str) -> None:
    """The backend takes no deed from a request that names nobody."""
    async with nobody.post(path, json={}) as response:
        assert response.status == 403


async def test_the_public_page_is_for_everybody(nobody: ClientSession) -> None:
    """The backend shows its public page to nobody in particular."""
    async with nobody.get("/public/about") as response:
        assert response.status == 200
        assert "nobody in particular" in await response.text()


async def test_whoami_says_what_arrived(ada: ClientSession, nobody: ClientSession) -> None:
    """The backend answers whoami with the identity it was given and the headers it received, sorted."""
    async with ada.get("/api/whoami", headers={"Authorization": "Bearer sec.r.et"}) as response:
        said = await response.json()
    assert said["user"] == "ada-uid"
    assert said["email"] == "ada@example.com"
    assert said["groups"] == ["mechanic", "key-holder"]
    names = [row["name"].lower() for row in said["headers"]]
    assert names == sorted(names)
    assert {"name": "Authorization", "value": "present (value withheld)"} in said["headers"]
    assert "sec.r.et" not in str(said)
    async with nobody.get("/api/whoami") as response:
        said = await response.json()
    assert (said["user"], said["email"], said["groups"]) == (None, None, [])


async def test_jobs_as_json(ada: ClientSession) -> None:
    """The backend lists its jobs as JSON."""
    async with ada.get("/api/jobs") as response:
        said = await response.json()
    assert [job["number"] for job in said["jobs"]] == list(JOBS)


async def test_a_job_knows_its_own_mechanic(ada: ClientSession) -> None:
    """The backend tells the visitor which jobs are theirs."""
    async with ada.get("/jobs/42") as response:
        assert "<dd>you</dd>" in await response.text()
    async with ada.get("/jobs/31") as response:
        assert "<dd>Noor Haddad</dd>" in await response.text()


@pytest.mark.parametrize(
    "path", ["/jobs/99999", "/jobs/abc", "/nowhere", "/public/assets/../backend.py", "/public/assets/x"]
)
async def test_unknown_addresses(ada: ClientSession, path: str) -> None:
    """The backend answers 404 as a page to people and as a problem document to scripts."""
    async with ada.get(path, headers=HTML) as response:
        assert response.status == 404
        assert "<h1>Not Found</h1>" in await response.text()
    async with ada.get(path) as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def test_wrong_method_names_the_right_one(ada: ClientSession) -> None:
    """The backend says which methods an address takes (RFC 9110 section 15.5.6)."""
    async with ada.get("/demo/revoke") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


async def test_assets_are_validated_by_entity_tag(nobody: ClientSession) -> None:
    """The backend answers 304 to a browser that has the asset already."""
    async with nobody.get("/public/assets/demo.css") as response:
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
    async with nobody.get("/public/assets/demo.css", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with nobody.get("/public/assets/demo.css", headers={"If-None-Match": '"other"'}) as response:
        assert response.status == 200


# ---- the buttons -----------------------------------------------------------------------------------------------------
async def test_revoke_ends_the_sessions_of_the_caller(ada: ClientSession, revocations: Revocations) -> None:
    """The backend has the caller's own sessions revoked, and says how soon that will show."""
    async with ada.post("/demo/revoke", json={}) as response:
        assert await response.json() == {"revoked": True, "noticed_within_seconds": 2}
    assert revocations.uids == ["ada-uid"]


async def test_revoke_with_the_provider_down(ada: ClientSession, revocations: Revocations) -> None:
    """The backend says that nothing was revoked when the provider does not answer."""
    revocations.down = True
    async with ada.post("/demo/revoke", json={}) as response:
        assert response.status == 503
        assert "nothing was revoked" in (await response.json(content_type=None))["detail"]


async def test_travelling_and_coming_home(nobody: ClientSession, network: DemoNetwork) -> None:
    """The backend moves the make-believe network and says where it is, for visitors without a session too."""
    async with nobody.get("/demo/network") as response:
        assert await response.json() == {"address": str(HOME), "at_home": True, "home": str(HOME), "away": str(AWAY)}
    async with nobody.post("/demo/network", json={"address": str(AWAY)}) as response:
        assert (await response.json())["at_home"] is False
    assert network.current == AWAY
    async with nobody.post("/demo/network", json={"address": str(HOME)}) as response:
        assert (await response.json())["at_home"] is True
    assert network.current == HOME


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"address": None},
        {"address": 7},
        {"address": "home"},
        {"address": "127.0.0.1"},
        {"address": "198.51.100.023"},
        {"address": str(AWAY), "more": 1},
        [],
        "x",
        0,
    ],
)
async def test_commands_that_make_no_sense(nobody: ClientSession, network: DemoNetwork, command: Any) -> None:
    """The backend refuses a command it does not understand and stays where it is."""
    async with nobody.post("/demo/network", json=command) as response:
        assert response.status == 400
    assert network.current == HOME


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b'{"address": "198.51.100.23"}', 415),
        ("application/x-www-form-urlencoded", b"address=198.51.100.23", 415),
        ("application/json", b"{", 400),
        ("application/json", b"\xff", 400),
        ("application/json", b"[" * MAX_COMMAND_BYTES, 400),
        ("application/json", b" " * (MAX_COMMAND_BYTES + 1), 400),
    ],
)
async def test_commands_that_another_site_could_send(
    nobody: ClientSession, network: DemoNetwork, content_type: str, body: bytes, status: int
) -> None:
    """The backend takes commands as short JSON only, which no foreign form can send."""
    async with nobody.post("/demo/network", data=body, headers={"Content-Type": content_type}) as response:
        assert response.status == status
    assert network.current == HOME


# ---- life ------------------------------------------------------------------------------------------------------------
async def test_a_taken_port_is_a_clear_error(
    backend: DemoBackend, network: DemoNetwork, revocations: Revocations
) -> None:
    """The backend names the port that is taken."""
    port = int(backend.url.rpartition(":")[2])
    second = DemoBackend(network=network, revoke=revocations, port=port)
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: .*cannot listen"):
        await second.start()
    await second.close()


async def test_closing_twice_is_harmless(backend: DemoBackend) -> None:
    """The backend has an address only while it runs, and may be closed again."""
    assert backend.url.startswith("http://127.0.0.1:")
    await backend.close()
    await backend.close()
    with pytest.raises(RuntimeError, match="not running"):
        _ = backend.url
