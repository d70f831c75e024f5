"""``gateway snippets``: configurations for proxies, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.snippets import run_snippets
from gateway.errors import ConfigError
from gateway.forward_auth import Dialect

ROOT = Path(__file__).parents[2]
CONFIG = """\
[firebase]
project_id = "acme-prod"

[listen]
trusted_proxies = ["127.0.0.1/32"]

[forward_auth]
dialects = ["nginx", "traefik", "caddy", "envoy"]

[[upstream]]
name = "app"
urls = ["http://127.0.0.1:3000"]

[[route]]
match = { path = "/**" }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_page_shows_what_is_printed(config: Path, dialect: Dialect, capsys: pytest.CaptureFixture[str]) -> None:
    """... prints what the page on forward auth shows."""
    run_snippets(dialect, config, site="app.example", port=80, upstream="")
    printed = capsys.readouterr().out
    page = (ROOT / "docs" / "how-to" / "forward-auth.md").read_text("utf-8")
    assert f"\n{printed}```" in page, f"run: gateway snippets {dialect} --site app.example"


def test_the_page_shows_the_gateways_own_file() -> None:
    """... shows the file that the configurations were made for."""
    assert CONFIG in (ROOT / "docs" / "how-to" / "forward-auth.md").read_text("utf-8")


def test_what_the_gateways_own_file_lacks_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """... says beside the configuration that the gateway would not answer that proxy yet, and only then."""
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.replace('"nginx", ', ""))
    run_snippets(Dialect.CADDY, path, site="app.example", port=80, upstream="")
    assert capsys.readouterr().err == ""
    run_snippets(Dialect.NGINX, path, site="app.example", port=80, upstream="")
    assert 'dialects = ["nginx"]' in capsys.readouterr().err


def test_a_backend_that_is_not_there_is_told(config: Path) -> None:
    """... names the backends that there are."""
    with pytest.raises(ConfigError, match="one of: app"):
        run_snippets(Dialect.NGINX, config, site="", port=80, upstream="other")


def test_nobody_may_ask_where_nobody_is_trusted(config: Path) -> None:
    """... refuses a file that lets proxies ask and believes none."""
    config.write_text(CONFIG.replace('["127.0.0.1/32"]', "[]"))
    with pytest.raises(ConfigError, match="trusted_proxies is empty"):
        run_snippets(Dialect.NGINX, config, site="", port=80, upstream="")
