"""What may be configured: frozen structures, one per TOML table, each field with its default and its meaning.

``docs/reference/configuration.md`` is made from the attribute docstrings here, so they are written for operators.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.config.types import HostPort, Network, OptionalHostPort, Seconds, Url
from gateway.policy.ip_change import Preset
from gateway.policy.routes import Auth, Unauthenticated


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table: frozen, and a key that is not known is an error."""


class Endpoints(Table, frozen=True):
    """Google's endpoints; override one to use a mirror, a proxy or a test server."""

    id_token_certificates: Url = Url(
        "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
    )
    """Where the certificates of ID tokens are published: an X.509 map or a JWK set."""
    session_cookie_certificates: Url = Url("https://www.googleapis.com/identitytoolkit/v3/relyingparty/publicKeys")
    """Where the certificates of session cookies are published."""
    identity_toolkit: Url = Url("https://identitytoolkit.googleapis.com")
    """The account service: look-ups and revocation, and sign-in from the login page."""
    secure_token: Url = Url("https://securetoken.googleapis.com")
    """The token service: where the worker renews ID tokens."""


class Firebase(Table, frozen=True):
    """The project whose users sign in."""

    project_id: str
    """Firebase or Google Cloud project id: the audience of every ID token."""
    api_key: str = ""
    """Web API key from the project's settings. It is public; the login page and the worker need it."""
    auth_domain: str = ""
    """Domain of the project's sign-in pages, as in the web configuration."""
    tenants: tuple[str, ...] = ()
    """Identity Platform tenants whose users may pass. Empty: users of the project itself only."""
    credentials: str = "adc"
    """How account look-ups are authorised: `adc` (application default credentials), `file:PATH` (a service account's
    key), or `none`, which switches revocation checks off."""
    emulator: HostPort | None = None
    """Address of an embedded identity provider or another that speaks like an Auth emulator and signs with RS256.
    Loopback only. Sets every endpoint, and accepts keys that a gateway in production mode refuses."""
    clock_skew: Seconds = Seconds(10)
    """How far `iat` and `auth_time` may lie in the future, at most 5m. Expiry has no leniency."""
    endpoints: Endpoints = Endpoints()


class Listen(Table, frozen=True):
    """Where the gateway listens, and whom it believes."""

    public: HostPort = HostPort("127.0.0.1:8080")
    """The listener for browsers."""
    admin: OptionalHostPort = OptionalHostPort("127.0.0.1:9090")
    """The listener for `/healthz` and `/readyz`, or `off`. Keep it private."""
    trusted_proxies: tuple[Network, ...] = ()
    """Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. Empty: the socket's peer is the client."""
    prefix: str = "/.gateway/"
    """Paths below it are the gateway's own and never reach a backend."""
    worker: str = "/service-worker.js"
    """Path of the service worker's script. Its directory bounds what the worker may control."""


class Revocation(Table, frozen=True):
    """How soon a revoked, disabled or deleted user is noticed."""

    max_staleness: Seconds = Seconds(60)
    """What is known of a user is at most this old."""
    outage_window: Seconds = Seconds(300)
    """While the account service is down, users last seen good pass this much longer. Others get a 503."""


class NetworkTable(Table, frozen=True):
    """Sign-in address against request address."""

    preset: Preset = Preset.RELAXED
    """`off`, `monitor`, `relaxed`, `strict` or `pinned`; see the page on networks."""


class Login(Table, frozen=True):
    """The login page."""

    title: str = "Sign in"
    """Name shown above the form."""
    providers: tuple[Literal["password"], ...] = ("password",)
    """Ways to sign in that the page offers."""
    home: str = "/"
    """Where to go after signing in when no page was asked for."""
    return_to: tuple[str, ...] = ("/",)
    """Path prefixes that the page may lead back to."""


class Timeouts(Table, frozen=True):
    """How long an upstream may take."""

    connect: Seconds = Seconds(5)
    """Until a connection stands."""
    first_byte: Seconds = Seconds(30)
    """From the request's end to the answer's first byte."""
    idle: Seconds = Seconds(300)
    """Between two pieces of an answer. Event streams should send a comment more often."""


class Upstream(Table, frozen=True):
    """A backend."""

    name: str
    """What routes call it."""
    urls: tuple[Url, ...]
    """Its addresses; the next one is tried when one refuses the connection."""
    timeouts: Timeouts = Timeouts()


class Match(Table, frozen=True):
    """Which requests a route takes. Everything given must fit."""

    path: str
    """A path: exact, with `*` inside a segment, or ending in `/**` for everything below."""
    hosts: tuple[str, ...] = ()
    """Host names, `*.` for one more label. Empty: any."""
    methods: tuple[str, ...] = ()
    """Methods in capitals. Empty: any."""


class RouteNetwork(Table, frozen=True):
    """The network judgement of one route."""

    preset: Preset
    """Replaces `network.preset` on this route."""


class Identity(Table, frozen=True):
    """What the backend is told about the user."""

    headers: tuple[Literal["user", "email", "groups"], ...] = ("user", "email", "groups")
    """Which of `X-Forwarded-User`, `X-Forwarded-Email` and `X-Forwarded-Groups` are set."""
    groups_claim: str = "groups"
    """The claim, a list of strings, that becomes `X-Forwarded-Groups`."""


class Route(Table, frozen=True):
    """One row of routing policy. The first match wins; what matches none is denied."""

    match: Match
    upstream: str = ""
    """Name of a backend. May be left out while there is only one."""
    name: str = ""
    """Appears in logs. Default: the route's number, `route-1` and so on."""
    auth: Auth = Auth.REQUIRED
    """`required`, `optional` or `public`."""
    unauthenticated: Unauthenticated = Unauthenticated.AUTO
    """`auto`: pages are redirected to the login page and scripts get a 401. `redirect` and `401` settle it."""
    network: RouteNetwork | None = None
    identity: Identity = Identity()
    forward_authorization: bool = False
    """Pass the user's ID token on to the backend. Only for backends that need to act as the user."""


class Provider(Table, frozen=True):
    """The embedded identity provider, which `--dev` starts."""

    listen: HostPort = HostPort("127.0.0.1:9099")
    """Where it listens."""
    database: str = "gateway-dev.sqlite3"
    """Its SQLite file, relative to the configuration file."""


class Log(Table, frozen=True):
    """What is written about each decision."""

    decisions: Literal["json", "text", "off"] = "json"
    """One line per decision on standard output: a JSON object, or a line for people."""


class Config(Table, frozen=True):
    """The whole file."""

    firebase: Firebase
    listen: Listen = Listen()
    revocation: Revocation = Revocation()
    network: NetworkTable = NetworkTable()
    login: Login = Login()
    upstream: tuple[Upstream, ...] = ()
    route: tuple[Route, ...] = ()
    provider: Provider = Provider()
    log: Log = Log()
