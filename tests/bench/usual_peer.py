"""What a Python team writes first: an aiohttp application, ClientSession, PyJWT and a TTLCache of verified tokens."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from aiohttp import web
from cachetools import TTLCache
from cryptography import x509

from tests.support import forge

HOP = {"connection", "keep-alive", "transfer-encoding", "host", "authorization", "content-length"}


def application(keys: Path, upstream: str) -> web.Application:
    known = {kid: x509.load_pem_x509_certificate(pem.encode()).public_key() for kid, pem in _read(keys).items()}
    cache: TTLCache[str, dict[str, Any]] = TTLCache(maxsize=100_000, ttl=300)
    session: list[aiohttp.ClientSession] = []

    def claims_of(token: str) -> dict[str, Any]:
        claims = cache.get(token)
        if claims is None:
            kid = jwt.get_unverified_header(token)["kid"]
            claims = jwt.decode(
                token,
                known[kid],  # type: ignore[arg-type]
                algorithms=["RS256"],
                audience=forge.PROJECT,
                issuer=forge.ISSUER,
            )
            cache[token] = claims
        return claims

    async def handle(request: web.Request) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return web.Response(status=401)
        try:
            claims = claims_of(token)
        except (jwt.PyJWTError, KeyError):
            return web.Response(status=401)
        if claims["exp"] < time.time() or claims.get("signInIpAddress", request.remote) != request.remote:
            return web.Response(status=401)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        headers["X-Forwarded-User"] = claims["sub"]
        body = await request.read() if request.can_read_body else None
        async with session[0].request(request.method, upstream + request.path_qs, headers=headers, data=body) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    async def life(_: web.Application) -> AsyncIterator[None]:
        session.append(aiohttp.ClientSession(auto_decompress=False))
        yield
        await session[0].close()

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", handle)
    app.cleanup_ctx.append(life)
    return app


def _read(keys: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(keys.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--keys", type=Path, required=True)
    options = parser.parse_args()
    web.run_app(
        application(options.keys, options.upstream), host="127.0.0.1", port=options.port, access_log=None, print=None
    )


if __name__ == "__main__":
    main()
