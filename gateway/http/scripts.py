"""The scripts that carry settings: the service worker and the page helper, each with one line in front.

The settings are baked into the script, not handed over by a page: a worker is stopped and started at any time and
must know them before its first request. All of them are public.

The worker (``threats.md`` row 32; W3C Service Workers section 3.4) is sent with ``Cache-Control: no-cache``, so that
a mended worker, or the one that switches itself off, reaches browsers at once, and with a policy of its own
(:data:`RELAYING_POLICY`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from gateway.errors import ConfigError
from gateway.http.pages import AssetSource

DEFAULT_APP: Final = "[DEFAULT]"
"""What the Firebase JS SDK calls an app that was given no name."""

REVALIDATE: Final = "no-cache"
RELAYING_POLICY: Final = "default-src 'none'; connect-src http: https:; worker-src 'self'"
"""No script beside the worker's own, no eval, no WebSocket. Whom it may ask is not narrowed, because browsers judge by
this policy what it relays as well: with ``connect-src 'self'`` whatever is redirected to another site breaks in every
engine, and without ``worker-src`` WebKit starts no worker of a page (docs/why/worker-content-policy.md)."""
_SCRIPT: Final = ("Content-Type", "text/javascript; charset=utf-8")  # RFC 9239 section 6
_NOSNIFF: Final = ("X-Content-Type-Options", "nosniff")
_OWN_NAMES: Final = ("login", "logout", "assets/", "session", "session.js", "session-worker.js")
"""Below the prefix; none of them needs a token from the worker."""


@dataclass(frozen=True, slots=True)
class WorkerApp:
    """A Firebase app whose signed-in user the worker looks for.

    ``api_key`` empty means the settings' own; ``tenants`` empty means users of any tenant and of the project itself.
    """

    api_key: str = ""
    name: str = DEFAULT_APP
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the worker is told.

    ``token_url`` is the token service's full address; ``apps`` are tried in order; ``excluded`` are paths that the
    worker leaves alone, everything below where one ends in a slash. ``own`` is the path of the app's own worker, which
    imports ours; empty when ours is registered. ``sdk`` chooses the build on the Firebase JS SDK. ``enabled`` false
    serves a worker that removes itself.
    """

    api_key: str
    token_url: str = "https://securetoken.googleapis.com/v1/token"  # noqa: S105 - an address
    path: str = "/service-worker.js"
    apps: tuple[WorkerApp, ...] = (WorkerApp(),)
    excluded: tuple[str, ...] = ()
    cookie: bool = False
    """Whether there is a session cookie to keep in step."""
    enabled: bool = True
    sdk: bool = False
    own: str = ""

    @property
    def registered(self) -> str:
        """The path that pages register, empty when the worker is switched off and the app has none of its own."""
        return self.own or (self.path if self.enabled else "")


@dataclass(frozen=True, slots=True)
class Served:
    """One file ready to be sent. The tag is weak, because it stands for both codings (RFC 9110 section 8.8.1)."""

    body: bytes
    gzipped: bytes | None
    etag: str
    headers: tuple[tuple[str, str], ...]


def script_json(value: object) -> str:
    """JSON that may stand in a script and in an HTML script element: no ``<``, no U+2028 or U+2029, all ASCII."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")


def worker_script(assets: AssetSource, settings: WorkerSettings, prefix: str) -> Served:
    """The worker that browsers register, and that an app's own worker imports.

    :raises ConfigError: the build of it is missing.
    """
    config: dict[str, object] = {"path": settings.path}
    if not settings.enabled:
        name = "sw-off.js"
        policy = "default-src 'none'"
    else:
        name, config = "sw-sdk.js" if settings.sdk else "sw.js", _worker_config(settings, prefix)
        policy = RELAYING_POLICY
    headers = (("Service-Worker-Allowed", "/"), ("Content-Security-Policy", policy))
    return _served(assets, name, f"self.__GATEWAY__={script_json(config)};\n", headers)


def helper_script(assets: AssetSource, settings: WorkerSettings, prefix: str) -> Served:
    """The page helper, an ECMAScript module.

    :raises ConfigError: the build of it is missing.
    """
    config = {
        "workerUrl": settings.registered,
        "prefix": prefix,
        "keys": [_user_key(settings, app) for app in settings.apps],
        "cookie": settings.cookie,
    }
    headers = (("Cross-Origin-Resource-Policy", "same-origin"),)
    return _served(assets, "session.js", f"const __GATEWAY__={script_json(config)};\n", headers)


def _worker_config(settings: WorkerSettings, prefix: str) -> dict[str, object]:
    names = [prefix + name for name in _OWN_NAMES]
    own = [settings.own] if settings.own else []
    config: dict[str, object] = {
        "apps": [_app(settings, app) for app in settings.apps],
        "excluded": list(dict.fromkeys([settings.path, *own, *names, *settings.excluded])),
    }
    if settings.cookie:
        config["cookie"] = f"{prefix}session"
    return config


def _app(settings: WorkerSettings, app: WorkerApp) -> dict[str, object]:
    token_url = f"{settings.token_url}?key={quote(app.api_key or settings.api_key, safe='')}"
    config: dict[str, object] = {"key": _user_key(settings, app), "tokenUrl": token_url}
    if app.tenants:
        config["tenants"] = list(app.tenants)
    return config


def _user_key(settings: WorkerSettings, app: WorkerApp) -> str:
    """Where the SDK keeps the user (``@firebase/auth``, ``_persistenceKeyName``)."""
    return f"firebase:authUser:{app.api_key or settings.api_key}:{app.name}"


def _served(assets: AssetSource, name: str, line: str, headers: tuple[tuple[str, str], ...]) -> Served:
    asset = assets.get(name)
    if asset is None:
        raise ConfigError(name, "this script is missing from the installation", "reinstall, or run make assets")
    body = line.encode("ascii") + asset.body
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    common = (_SCRIPT, ("Cache-Control", REVALIDATE), _NOSNIFF)
    return Served(body, gzip.compress(body, mtime=0), etag, (*common, *headers))
