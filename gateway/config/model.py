"""What may be configured: frozen structures, one per TOML table, each field with its default and its meaning.

``docs/reference/configuration.md`` is made from the attribute docstrings here and in :mod:`gateway.config.backends`, so
they are written for operators.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gateway.config.backends import Upstream
from gateway.config.functions import Functions
from gateway.config.provider import ProviderFunctions
from gateway.config.table import Table
from gateway.config.types import HostPort, Network, OptionalHostPort, Seconds, Secret, Size, Url
from gateway.core.client_ip import ForwardedFields
from gateway.policy.ip_change import Preset
from gateway.policy.networks import Missing
from gateway.policy.routes import Auth, OnOutage, Unauthenticated


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
    unsigned_tokens: bool = False
    """Accept the unsigned tokens of Firebase's own Auth emulator, and only those. Anybody can make one, so this needs
    `emulator`, a `project_id` that starts with `demo-` and a public listener on loopback, and warns at each start."""
    clock_skew: Seconds = Seconds(10)
    """How far `iat` and `auth_time` may lie in the future, at most 5m. Expiry has no leniency."""
    endpoints: Endpoints = Endpoints()


class ListenTls(Table, frozen=True):
    """The public listener's certificate. Paths are relative to the configuration file.

    New files are taken within `reload.every`, and at a reload, without a connection being dropped.
    """

    cert_file: str
    """PEM file of the certificate and of those between it and the root."""
    key_file: str = ""
    """PEM file of its key, without a passphrase. Empty: the key is in `cert_file`."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """Oldest version of TLS that is spoken."""


class Listen(Table, frozen=True):
    """Where the gateway listens, and whom it believes."""

    public: HostPort = HostPort("127.0.0.1:8080")
    """The listener for browsers."""
    admin: OptionalHostPort = OptionalHostPort("127.0.0.1:9090")
    """The listener for `/healthz` and `/readyz`, or `off`. Keep it private."""
    trusted_proxies: tuple[Network, ...] = ()
    """Networks whose reports about the client are believed. Empty: the socket's peer is the client."""
    forwarded: ForwardedFields = ForwardedFields.AUTO
    """Where trusted proxies report the client: `x-forwarded-for`, `forwarded` (RFC 7239), or `auto` for whichever is
    there. With `auto`, a request that has both and different clients in them is refused."""
    proxy_protocol: bool = False
    """Each connection begins with a PROXY header, version 1 or 2, and only `trusted_proxies` may connect."""
    prefix: str = "/.gateway/"
    """Paths below it are the gateway's own and never reach a backend."""
    worker: str = "/service-worker.js"
    """Path of the service worker's script. Its directory bounds what the worker may control."""
    tls: ListenTls | None = None
    """Serve https on `public`. Without it: plain http, for a proxy in front or for this machine."""
    redirect: HostPort | None = None
    """A further listener, for plain http, that sends everybody to https. Needs `tls`."""
    workers: int = 1
    """Processes that share the public listener. One uses one core; more than there are cores gain nothing."""
    grace: Seconds = Seconds(10)
    """How long requests in flight may take when the gateway stops. What is left then is cut off."""
    stop_delay: Seconds = Seconds(0)
    """How long the gateway goes on as usual between telling that it is no longer ready and closing its listener: as
    long as the load balancer takes to notice."""


class Reload(Table, frozen=True):
    """When the configuration is read again. SIGHUP does it in any case."""

    watch: bool = False
    """Read it again when the file, or one that it refers to with `${file:PATH}`, has changed."""
    every: Seconds = Seconds(2)
    """How often files are looked at: those, and the certificate of `listen.tls`."""


class Limits(Table, frozen=True):
    """How much clients may take. The page on limits has those that are fixed, and what happens at each."""

    connections: int = 0
    """Client connections at once; more are answered with a small 503. `0`: half of the files that the process may open,
    less 64, since each may need a connection to a backend; 20000 at most."""
    per_peer: int = 0
    """Those of one peer: an IPv4 address, or an IPv6 /64. `0`: three quarters of all. `listen.trusted_proxies` may have
    all of them."""
    head: Seconds = Seconds(10)
    """How long a request's head may take, all of it."""
    idle: Seconds = Seconds(75)
    """How long a connection is kept between two requests. Longer than the proxy in front keeps it, if there is one."""
    body: Size = Size(0)
    """Largest body of a request; a larger one is a 413. `0B`: any, since no body is ever held."""
    min_rate: Size = Size(240)
    """Bytes a second at which a body must arrive and an answer be taken, while it is the client who is waited for.
    `0B`: any. Event streams, WebSockets and long polls wait for the backend, so they are not affected."""
    upload_window: Seconds = Seconds(20)
    """Over which time a body's rate is taken: how long a client may lose its network in the middle of an upload."""
    download_window: Seconds = Seconds(60)
    """Over which time an answer's rate is taken: how long a client may stop reading."""


class WorkerApp(Table, frozen=True):
    """A Firebase app whose signed-in user counts. Without one: the app without a name, under `firebase.api_key`."""

    name: str = "[DEFAULT]"
    """The name that your pages gave it in `initializeApp`. The first app is the one that people sign in to."""
    api_key: str = ""
    """Its web API key. Empty: `firebase.api_key`."""
    tenants: tuple[str, ...] = ()
    """Tenants whose users count. Empty: any user of this app. What passes is told by `firebase.tenants`."""


class Worker(Table, frozen=True):
    """The service worker, which adds the ID token to what pages ask for."""

    enabled: bool = True
    """`false` switches it off: browsers get a worker that removes itself, and the session cookie carries on alone."""
    own: str = ""
    """Path of a service worker of your app that imports `/.gateway/session-worker.js`. Pages register it instead of
    `listen.worker`. Your backend serves it, on a route with `auth = "public"`."""
    sdk: bool = False
    """Serve the build on the Firebase JS SDK: 13 times the size, and no dependency on how the SDK stores its user."""
    excluded: tuple[str, ...] = ()
    """Paths that need no token, so that the worker stays out of their way: exact, or ending in `/` for all below."""
    apps: tuple[WorkerApp, ...] = (WorkerApp(),)


class Session(Table, frozen=True):
    """How long a session may last, and what carries it where no worker can: first loads, WebSockets, downloads."""

    max_age: Seconds = Seconds(14 * 86_400)
    """Time since the sign-in after which everybody signs in again, however often the token was renewed. `0s`: no limit,
    as Firebase itself has none."""
    cookie: Literal["id_token", "session_cookie", "off"] = "id_token"
    """What the cookie holds: `id_token`, the ID token, for as long as that lives; `session_cookie`, a Firebase session
    cookie made with the credentials of `firebase.credentials`; `off`, no cookie."""
    cookie_name: Literal["auto", "__Host-session", "__session"] = "auto"
    """`auto`: `__Host-session`, and `__session` on plain http on this machine. Firebase Hosting passes on the latter
    only."""
    cookie_lifetime: Seconds = Seconds(5 * 86_400)
    """How long a Firebase session cookie lives, `5m` to `14d`. Nobody has to sign in again before."""
    recheck_streams: Seconds = Seconds(60)
    """How often what lasts (WebSockets, event streams, long transfers) is judged again, beside the moments at which its
    session is known to end; at least twice within `revocation.max_staleness`. `1s` or more."""
    stream_grace: Seconds = Seconds(0)
    """How long such a connection may go on past the end of its token when no newer one of its session has come, at most
    `5m`. Browsers with the worker need none."""
    sdk_cookies: bool = False
    """Serve `/__cookies__` and accept the cookies of the Firebase SDK's `browserCookiePersistence` (beta)."""


class WebSocket(Table, frozen=True):
    """How much a WebSocket may take. Its messages are passed on unopened, so the backend's own limits count too."""

    idle_timeout: Seconds = Seconds(3600)
    """How long one may be silent both ways, pings included, before it is closed with 1001. `0s`: for ever."""
    max_message: Size = Size(64 * 1024 * 1024)
    """Largest message as it is sent, compressed or not; a larger one closes the connection with 1009. `0B`: any."""


class Revocation(Table, frozen=True):
    """How soon a revoked, disabled or deleted user is noticed."""

    max_staleness: Seconds = Seconds(60)
    """What is known of a user is at most this old."""
    outage_window: Seconds = Seconds(300)
    """While the account service is down, users last seen good pass this much longer."""
    on_error: OnOutage = OnOutage.DENY
    """What becomes of everybody else meanwhile: `deny` is a 503; with `allow-until-exp` good tokens pass until they
    expire, within the hour, unless their user is known to be disabled, deleted or revoked. Routes may differ."""


class NetworkTable(Table, frozen=True):
    """Sign-in address against request address."""

    preset: Preset = Preset.RELAXED
    """`off`, `monitor`, `relaxed`, `strict` or `pinned`; see the page on networks."""
    missing: Missing = Missing.LEARN
    """A session without the claim, where the preset lets `unknown` pass: `learn` ties it to the first network that it
    is seen on, `allow` to none, `deny` asks for a new sign-in."""
    exempt: tuple[Network, ...] = ()
    """Networks that every session may come from: the office's egress, a monitoring service."""
    exempt_asns: tuple[int, ...] = ()
    """Operators (autonomous system numbers) whose users are everywhere: in-flight and satellite. Needs `asn_db`."""
    asn_db: str = ""
    """MMDB file that tells an address's operator. Paths here are relative to the configuration file."""
    country_db: str = ""
    """MMDB file that tells an address's country and, if it is a city database, its location."""
    relay_list: str = ""
    """Egress list of a privacy relay in the form of Apple's: `block,country,…` a line."""
    hosting_list: str = ""
    """Hosting, VPN and anonymity services: an operator (`AS64496`) or a block a line."""
    max_data_age: Seconds = Seconds(90 * 86_400)
    """Files built longer ago than this tell nothing."""
    claim_key: Secret = Secret()
    """Key, 16 bytes or more, of the claim `signInNetwork`, the private form of `signInIpAddress`."""
    revoke_on: tuple[Literal["roamed", "travelled", "suspicious", "moved"], ...] = ()
    """Levels that end all the user's sessions, on every device, when the preset refuses them. Off unless set."""
    revoke_limit: int = 10
    """Users per hour that `revoke_on` may revoke."""


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


class Require(Table, frozen=True):
    """What a session must show on one route, beyond being good. Everything given must hold."""

    verified_email: bool = False
    """The e-mail address is confirmed."""
    claims: dict[str, Any] = msgspec.field(default_factory=dict)
    """Claims and what they must be: `{ role = "admin" }`. A list here: one of these. A list in the token: it contains
    the value. A table here: these members of a claim that is an object. `true` is not `1`, and `"1"` is not `1`."""
    roles: tuple[str, ...] = ()
    """At least one of these stands in the claim `roles_claim`."""
    roles_claim: str = "roles"
    """The claim, a text or a list of texts, that `roles` looks at."""
    sign_in_provider: tuple[str, ...] = ()
    """The user signed in through one of these: `password`, `google.com`, `phone`, `custom` and so on."""
    second_factor: bool = False
    """The user signed in with a second factor. Otherwise asks for one (RFC 9470)."""
    max_auth_age: Seconds | None = None
    """The sign-in is at most this old, in whole seconds. Otherwise asks for the password again (RFC 9470)."""
    expression: str = ""
    """A condition in CEL over `claims` and `request`. Needs `session-gateway[cel]`. Anything but `true` refuses."""


class Cors(Table, frozen=True):
    """Which pages of other sites may use one route.

    The gateway then answers preflights, and writes the `Access-Control-` fields of all answers itself.
    """

    origins: tuple[str, ...]
    """Origins, exactly as browsers write them: `https://app.example`. Neither `*` nor `null`."""
    methods: tuple[str, ...] = ()
    """Methods in capitals. Empty: those of `match`, or else GET, HEAD, POST, PUT, PATCH and DELETE."""
    headers: tuple[str, ...] = ("authorization", "content-type")
    """Request headers that a page may set."""
    expose: tuple[str, ...] = ()
    """Response headers that a page may read, besides the usual ones."""
    max_age: Seconds = Seconds(600)
    """How long a browser may remember the answer to a preflight; they cap it at 2h or less."""
    credentials: bool = False
    """Cookies may come along."""


class Identity(Table, frozen=True):
    """What the backend is told about the user."""

    headers: tuple[Literal["user", "email", "groups"], ...] = ("user", "email", "groups")
    """Which of `X-Forwarded-User`, `X-Forwarded-Email` and `X-Forwarded-Groups` are set."""
    groups_claim: str = "groups"
    """The claim, a list of strings, that becomes `X-Forwarded-Groups`."""
    claims: dict[str, str] = msgspec.field(default_factory=dict)
    """Further fields and the claims that they tell: `{ "X-Forwarded-Role" = "role" }`. The names begin with
    `X-Forwarded-` or `X-Gateway-`: a client's fields of such names never pass. A list is joined by commas, an object is
    JSON."""
    encoding: Literal["rfc8187", "base64"] = "rfc8187"
    """How text that is no visible ASCII is written: `UTF-8''M%C3%BCller` (RFC 8187) or `=?UTF-8?B?TcO8bGxlcg==?=`
    (RFC 2047)."""
    assertion: bool = False
    """Also send a signed assertion, which the backend can verify by itself; see `[assertion]`."""


class Assertion(Table, frozen=True):
    """The signed assertion: what the gateway says of the user, in a form that nobody else can write.

    A JWT, signed with ES256, for one backend, for ten minutes at most. Its keys are published at
    `/.well-known/gateway/jwks.json` and, as a map of PEM texts, at `/.well-known/gateway/public_keys.json`.
    """

    issuer: str = "https://session-gateway.invalid"
    """The claim `iss`, by which backends tell gateways apart: the site's own origin, for instance."""
    form: Literal["gateway", "iap"] = "gateway"
    """`gateway`: `X-Gateway-Jwt-Assertion`, with the user id as `sub`. `iap`: `X-Goog-IAP-JWT-Assertion` with the
    claims of Identity-Aware Proxy for external identities, for code that was written for that."""
    lifetime: Seconds = Seconds(600)
    """How long one is valid, `1m` to `10m`. It is renewed at half of it."""
    claims: tuple[str, ...] = ()
    """Custom claims that it tells besides who, when and how somebody signed in."""
    keys_file: str = ""
    """File of the private keys, made when it does not exist; relative to the configuration file. Empty: keys live in
    memory, and every start begins with new ones. Processes and machines that share a site need one."""
    rotate_every: Seconds = Seconds(30 * 86_400)
    """How long a key signs before the next one does, which is published well before. `0s`: only when
    `gateway keys rotate` says so."""


class ForwardAuth(Table, frozen=True):
    """Proxies that pass requests on themselves and only ask whether they may; see `gateway snippets`."""

    dialects: tuple[Literal["nginx", "traefik", "caddy", "envoy"], ...] = ()
    """Which of them may ask, below `/.gateway/auth/`, from an address in `listen.trusted_proxies`."""


class Route(Table, frozen=True):
    """One row of routing policy. The first match wins; what matches none is denied."""

    match: Match
    upstream: str = ""
    """Name of a backend. May be left out while there is only one."""
    strip_prefix: str = ""
    """Whole segments that are taken off the front of the path on its way to the backend, which finds them in
    `X-Forwarded-Prefix`. `match.path` must begin with them. Rules see the path as it came."""
    add_prefix: str = ""
    """Whole segments that are put in front of the path, after `strip_prefix`."""
    name: str = ""
    """Appears in logs. Default: the route's number, `route-1` and so on."""
    auth: Auth = Auth.REQUIRED
    """`required`, `optional` or `public`."""
    unauthenticated: Unauthenticated = Unauthenticated.AUTO
    """`auto`: pages are redirected to the login page and scripts get a 401. `redirect` and `401` settle it."""
    require: Require | None = None
    cors: Cors | None = None
    network: RouteNetwork | None = None
    identity: Identity = Identity()
    forward_authorization: bool = False
    """Pass the user's ID token on to the backend. Only for backends that need to act as the user."""
    on_revocation_outage: OnOutage | None = None
    """`deny` or `allow-until-exp`: replaces `revocation.on_error` on this route."""


class Provider(Table, frozen=True):
    """The embedded identity provider, which `--dev` starts."""

    listen: HostPort = HostPort("127.0.0.1:9099")
    """Where it listens."""
    database: str = "gateway-dev.sqlite3"
    """Its SQLite file, relative to the configuration file."""
    functions: ProviderFunctions = ProviderFunctions()


class Log(Table, frozen=True):
    """What is written about each decision."""

    decisions: Literal["json", "text", "off"] = "json"
    """One line per decision on standard output: a JSON object, or a line for people."""
    pseudonym_key: Secret = Secret()
    """Makes the names of users in the log useless to whoever has a list of user ids but not this key. Without one they
    are a plain hash of project, tenant and user id."""
    explain_to: tuple[Network, ...] = ()
    """Clients whose answers carry `X-Gateway-Trail`, each step of the judgement. Nobody by default."""


class Config(Table, frozen=True):
    """The whole file."""

    firebase: Firebase
    listen: Listen = Listen()
    reload: Reload = Reload()
    limits: Limits = Limits()
    worker: Worker = Worker()
    session: Session = Session()
    websocket: WebSocket = WebSocket()
    revocation: Revocation = Revocation()
    network: NetworkTable = NetworkTable()
    login: Login = Login()
    upstream: tuple[Upstream, ...] = ()
    route: tuple[Route, ...] = ()
    assertion: Assertion = Assertion()
    forward_auth: ForwardAuth = ForwardAuth()
    provider: Provider = Provider()
    log: Log = Log()
    functions: Functions = Functions()
