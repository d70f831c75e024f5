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
    assert "http://127.0.0.1:1 does not answer" in printed


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
