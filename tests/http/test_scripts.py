"""The worker and the page helper, as they are served with their settings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.assets import load_assets
from gateway.errors import ConfigError
from gateway.http.scripts import WorkerApp, WorkerSettings, helper_script, worker_script
from tests.support.backends import answers, backend
from tests.support.wire import FakeAssets, body_of, gateway, head_of, request, status_of

PREFIX = "/.gateway/"
OWN = [PREFIX + name for name in ("login", "logout", "assets/", "session", "session.js", "session-worker.js")]
TOKEN_SERVICE = "https://securetoken.googleapis.com/v1/token"


async def ask(line: str, *fields: str) -> bytes:
    async with backend(answers()) as server, gateway(server.url) as front:
        return await front.speak(request(line, *fields))


def settings_of(body: bytes) -> Any:
    """The line in front of a script."""
    line = body.partition(b";\n")[0]
    return json.loads(line.partition(b"=")[2])


def worker(**changed: Any) -> tuple[Any, bytes, dict[str, str]]:
    """Settings, script and headers of the worker."""
    served = worker_script(FakeAssets(), WorkerSettings(api_key="key", **changed), PREFIX)
    return settings_of(served.body), served.body.partition(b"\n")[2], dict(served.headers)


@pytest.mark.parametrize("path", ["/service-worker.js", "/.gateway/session-worker.js"])
async def test_the_worker_is_served_with_its_settings(path: str) -> None:
    """... serves the worker with one line of settings in front, revalidated each time and with its own policy."""
    answer = await ask(f"GET {path} HTTP/1.1")
    first, _, rest = body_of(answer).partition(b"\n")
    assert first.startswith(b"self.__GATEWAY__=")
    assert settings_of(body_of(answer)) == {
        "apps": [{"key": "firebase:authUser:key:[DEFAULT]", "tokenUrl": f"{TOKEN_SERVICE}?key=key"}],
        "excluded": ["/service-worker.js", *OWN],
    }
    assert rest == b"console.log('worker')"
    headers = head_of(answer)
    assert headers["content-type"].startswith("text/javascript")
    assert headers["service-worker-allowed"] == "/"
    assert headers["cache-control"] == "no-cache"
    assert headers["content-security-policy"] == "default-src 'none'; connect-src http: https:; worker-src 'self'"
    etag = headers["etag"]
    assert status_of(await ask(f"GET {path} HTTP/1.1", f"If-None-Match: {etag}")) == 304


async def test_the_helper_is_served_with_its_settings() -> None:
    """... serves the page helper as a module that knows the worker, the prefix and where the user is stored."""
    answer = await ask("GET /.gateway/session.js HTTP/1.1")
    assert body_of(answer).startswith(b"const __GATEWAY__=")
    assert settings_of(body_of(answer)) == {
        "workerUrl": "/service-worker.js",
        "prefix": PREFIX,
        "keys": ["firebase:authUser:key:[DEFAULT]"],
        "cookie": False,
    }
    assert body_of(answer).endswith(b"console.log('helper')")
    assert head_of(answer)["cache-control"] == "no-cache"
    assert status_of(await ask("POST /.gateway/session.js HTTP/1.1", "Content-Length: 0")) == 405


def test_a_worker_knows_its_apps_and_their_tenants() -> None:
    """... tells the worker of each app's record, key and tenants, in order."""
    apps = (WorkerApp(), WorkerApp("other key", "back:office", ("acme",)))
    config, _, _ = worker(apps=apps)
    assert config["apps"][1] == {
        "key": "firebase:authUser:other key:back:office",
        "tokenUrl": f"{TOKEN_SERVICE}?key=other%20key",
        "tenants": ["acme"],
    }


def test_a_worker_keeps_the_cookie_in_step_where_there_is_one() -> None:
    """... tells the worker of the session cookie's address, or of none."""
    assert worker(cookie=True)[0]["cookie"] == "/.gateway/session"
    assert "cookie" not in worker()[0]


def test_a_worker_stays_out_of_the_way_of_excluded_paths() -> None:
    """... tells the worker which paths need no token, the app's own worker among them."""
    config, _, _ = worker(excluded=("/static/",), own="/app-worker.js")
    assert config["excluded"] == ["/service-worker.js", "/app-worker.js", *OWN, "/static/"]


def test_the_build_on_the_sdk_is_served_where_it_is_asked_for() -> None:
    """... serves the build on the SDK with the same settings."""
    config, script, _ = worker(sdk=True)
    assert script == b"console.log('sdk')"
    assert config == worker()[0]


def test_the_kill_switch_serves_a_worker_that_removes_itself() -> None:
    """... serves another script in the worker's place, which needs nothing but its own path."""
    config, script, headers = worker(enabled=False)
    assert config == {"path": "/service-worker.js"}
    assert script == b"console.log('off')"
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("changed", "path"),
    [({}, "/service-worker.js"), ({"enabled": False}, ""), ({"own": "/app.js", "enabled": False}, "/app.js")],
)
def test_pages_register_the_worker_that_there_is(changed: dict[str, Any], path: str) -> None:
    """... has pages register the app's own worker before ours, and none where ours is switched off."""
    settings = WorkerSettings(api_key="key", **changed)
    assert settings.registered == path
    assert settings_of(helper_script(FakeAssets(), settings, PREFIX).body)["workerUrl"] == path


@pytest.mark.parametrize("name", ["</script>", "\u2028", 'quote"; alert(1)//'])
def test_settings_cannot_leave_their_line(name: str) -> None:
    """... writes settings as ASCII JSON that ends neither the line nor a script element."""
    served = worker_script(FakeAssets(), WorkerSettings(api_key="key", apps=(WorkerApp(name=name),)), PREFIX)
    assert settings_of(served.body)["apps"][0]["key"].endswith(name)
    assert b"</" not in served.body.partition(b";\n")[0]
    assert served.body.isascii()


def test_a_missing_script_is_told_at_start() -> None:
    """... refuses to start without the script that its settings ask for."""

    class Nothing:
        def get(self, name: str) -> None:
            return None

    with pytest.raises(ConfigError, match="missing from the installation"):
        worker_script(Nothing(), WorkerSettings(api_key="key"), PREFIX)


def test_the_documented_sizes_are_those_of_the_build() -> None:
    """... says in its documentation how large the worker is, and keeps to its budget."""
    worker = load_assets().get("sw.js")
    assert worker is not None
    page = (Path(__file__).parents[2] / "docs" / "worker.md").read_text("utf-8")
    assert f"| Size | {len(worker.body):,} bytes".replace(",", " ") in page
    assert len(worker.body) <= 5_000
    assert len(gzip.compress(worker.body, 9)) <= 2_200
