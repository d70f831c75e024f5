"""The forward-auth endpoint that a Python team writes first: an aiohttp application, PyJWT and a TTLCache.

It does what the gateway does for a warm question: believe a known proxy only, tell public paths from others, verify the
token, look whether the user was revoked, compare the address, refuse changes that a foreign page started, answer with
the identity, the request's id and the cookies that the backend may have, and write one line about it. With ``--bare``
it looks at the token alone and tells the user, which is less than anybody could put into production.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import logging
import time
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cachetools import TTLCache
from cryptography import x509

from tests.support import forge

PROXIES = [ipaddress.ip_network("127.0.0.1/32")]
PUBLIC = ("/static/", "/favicon.ico")
_log = logging.getLogger("auth")


class Tokens:
    """Verified tokens, for five minutes."""

    def __init__(self, keys: Path) -> None:
        published: dict[str, str] = json.loads(keys.read_text())
        self._keys = {kid: x509.load_pem_x509_certificate(pem.encode()).public_key() for kid, pem in published.items()}
        self._cache: TTLCache[str, dict[str, Any]] = TTLCache(maxsize=100_000, ttl=300)

    def claims(self, request: web.Request) -> dict[str, Any] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            claims = self._cache.get(token)
            if claims is None:
                key: Any = self._keys[jwt.get_unverified_header(token)["kid"]]
                claims = jwt.decode(token, key, algorithms=["RS256"], audience=forge.PROJECT, issuer=forge.ISSUER)
                self._cache[token] = claims
        except (jwt.PyJWTError, KeyError):
            return None
        return claims if claims["exp"] >= time.time() else None


def bare(tokens: Tokens) -> web.Application:
    async def auth(request: web.Request) -> web.Response:
        claims = tokens.claims(request)
        if claims is None:
            return web.Response(status=401)
        client = request.headers.get("X-Forwarded-For", request.remote)
        if claims.get("signInIpAddress", client) != client:
            return web.Response(status=401)
        return web.Response(headers={"X-Forwarded-User": claims["sub"]})

    app = web.Application()
    app.router.add_get("/.gateway/auth/nginx", auth)
    return app


def application(tokens: Tokens) -> web.Application:
    revoked: TTLCache[str, bool] = TTLCache(maxsize=100_000, ttl=60)

    def decide(request: web.Request, client: str) -> tuple[int, dict[str, Any] | None]:
        path = request.headers["X-Original-URI"]
        if path.startswith(PUBLIC):
            return 200, None
        claims = tokens.claims(request)
        if claims is None or revoked.get(claims["sub"]):
            return 401, None
        if claims.get("signInIpAddress", client) != client:
            return 401, claims
        if request.headers["X-Original-Method"] not in {"GET", "HEAD"}:
            origin = request.headers.get("Origin")
            if origin is not None and origin != f"https://{request.host}":
                return 403, claims
        return 200, claims

    async def auth(request: web.Request) -> web.Response:
        if not any(ipaddress.ip_address(request.remote or "") in network for network in PROXIES):
            return web.Response(status=403)
        client = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        status, claims = decide(request, client)
        user = claims["sub"] if claims is not None else None
        request_id = request.headers.get("X-Request-Id", "")
        line = {"time": time.time(), "id": request_id, "status": status, "user": user, "client": client}
        _log.info(json.dumps(line | {"path": request.headers["X-Original-URI"]}))
        headers = {"X-Request-Id": request_id, "Cache-Control": "private, no-store"}
        if status == 200 and claims is not None:
            headers |= {"X-Forwarded-User": claims["sub"], "X-Forwarded-Email": claims.get("email", "")}
            headers["Cookie"] = "; ".join(f"{name}={it}" for name, it in request.cookies.items() if name != "session")
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/.gateway/auth/nginx", auth)
    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(filename=options.log, level=logging.INFO, format="%(message)s")
    app = (bare if options.bare else application)(Tokens(options.keys))
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
