"""``gateway check``: what would break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.cli.check import run_check
from gateway.errors import ConfigError
from tests.support import forge
from tests.support.authority import Authority


def write(
    tmp_path: Path, *, certificates: str = "http://127.0.0.1:1/certs", upstream: str = "http://127.0.0.1:1"
) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'[firebase]\nproject_id = "acme"\ncredentials = "none"\n'
        f'[firebase.endpoints]\nid_token_certificates = "{certificates}"\n'
        f'[[upstream]]\nname = "app"\nurls = ["{upstream}"]\n'
        f'[[route]]\nmatch = {{ path = "/**" }}\n'
    )
    return path


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def certificates(_: web.Request) -> web.Response:
        return web.Response(body=forge.certificates(), headers={"Cache-Control": "public, max-age=3600"})

    app = web.Application()
    app.router.add_get("/certs", certificates)
    async with TestServer(app) as running:
        yield str(running.make_url("")).rstrip("/")


async def test_a_working_set_up_is_good(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... asks certificates and backends and says that they answer."""
    path = write(tmp_path, certificates=f"{server}/certs", upstream=server)
    status = await asyncio.to_thread(run_check, path, show=False, offline=False)
    printed = capsys.readouterr().out
    assert status == 0
    assert "certificates    answers" in printed
    assert "answers with status" in printed
    assert "firebase.api_key is empty" in printed
    assert "revoked and disabled users pass" in printed


def test_what_does_not_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... names the endpoint that does not answer, without a traceback."""
    assert run_check(write(tmp_path), show=False, offline=False) == 1
    printed = capsys.readouterr().out
    assert "http://127.0.0.1:1/certs" in printed
    assert "http://127.0.0.1:1 does not answer: Connection refused" in printed


async def test_a_health_check_counts(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... asks for the path of the health check and says when its status is not a good one."""
    path = write(tmp_path, certificates=f"{server}/certs", upstream=server)
    for target, status, words in (
        ("/certs", 0, "answers with status 200"),
        ("/no", 1, "its health check with status 404"),
    ):
        text = path.read_text().replace("urls =", f'health = {{ path = "{target}" }}\nurls =')
        (tmp_path / "checked.toml").write_text(text)
        assert await asyncio.to_thread(run_check, tmp_path / "checked.toml", show=False, offline=False) == status
        assert words in capsys.readouterr().out


def test_a_way_around_a_stricter_route_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... says when a route's rewritten paths lead to what a stricter route of the same backend guards."""
    path = write(tmp_path)
    rewriting = '[[route]]\nname = "open"\nauth = "public"\nstrip_prefix = "/open"\nmatch = { path = "/open/**" }\n'
    path.write_text(path.read_text().replace("[[route]]", f"{rewriting}[[route]]"))
    assert run_check(path, show=False, offline=True) == 0
    assert "rewrites paths of a backend that route-2 guards more strictly under others" in capsys.readouterr().out


def test_offline_looks_at_the_file_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... shows every value with its origin and asks nobody."""
    path = write(tmp_path)
    path.write_text(path.read_text() + '[log]\npseudonym_key = "s3cret"\n')
    assert run_check(path, show=True, offline=True) == 0
    printed = capsys.readouterr().out
    assert "s3cret" not in printed
    assert '"(set)"' in printed
    assert "$.firebase.project_id" in printed
    assert str(path)[:20] in printed
    assert "default" in printed
    assert "does not answer" not in printed


def test_a_bad_file_is_an_error(tmp_path: Path) -> None:
    """... refuses a file that cannot be used at all."""
    (tmp_path / "gateway.toml").write_text("[firebase]\nproject = 1\n")
    with pytest.raises(ConfigError, match="no known key"):
        run_check(tmp_path / "gateway.toml", show=False, offline=True)


def test_the_certificate_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... says how long the public listener's certificate is good for, and what is wrong with it."""
    papers = Authority(tmp_path).issue("app.example")
    path = write(tmp_path)
    path.write_text(path.read_text() + '[listen]\ntls = { cert_file = "gone.pem" }\n')
    assert run_check(path, show=False, offline=True) == 1
    assert "gone.pem cannot be read" in capsys.readouterr().out
    path.write_text(
        write(tmp_path).read_text()
        + f'[listen]\ntls = {{ cert_file = "{papers.certificate.name}", key_file = "{papers.key.name}" }}\n'
    )
    assert run_check(path, show=False, offline=True) == 0
    assert "! certificate     good for 1.0 days" in capsys.readouterr().out
