"""Runs the table of requests in one engine and judges every row.

The same rows run three times, each in a fresh profile: *plain* (no worker, nobody signed in) says what the browser does
by itself; *worker* (signed in through the login page, session cookie off) must do exactly the same and carry the
identity; *cookie* (no worker, only the session cookie) shows that what no worker sees reaches the backend as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from tests.engines.backend import Arrival
from tests.engines.driver import Engine, Profile, ScriptError, Tab
from tests.engines.world import PASSWORD, World

ARRIVE_SECONDS: Final = 3.0
"""How long the last request of a row may take to arrive; those that the browser never makes cost this much."""

SIGN_IN_SECONDS: Final = 60.0

GO_TRIES: Final = 10

SETTLE_SECONDS: Final = 0.4
"""How long a page may take to be replaced; new windows and downloads leave it where it is."""

PLAIN, WORKER, COOKIE = "plain", "worker", "cookie"

NOT_COMPARED: Final = frozenset(
    {
        "authorization",  # judged by itself
        "content-length",  # a multipart boundary's length may vary; the body's digest is compared
        "priority",  # RFC 9218: a hint, which the worker's own request has no say in
        "sec-websocket-key",  # random
        "x-request-id",  # new for each request
    }
)
NOT_COMPARED_PREFIXES: Final = ("x-forwarded-", "sec-fetch-", "sec-ch-ua")
"""The gateway's own; what a worker's own request rewrites by the specification (``X-Gateway-Fetch`` tells the truth);
and client hints, which Chromium leaves out of it."""

# The page of a download or of an error answers nothing: what counts is that the row's requests arrived.
_FORM: Final = """
  async ({ email, password }) => {
    const form = document.getElementById("signup-form");
    const until = performance.now() + 40000;
    while (document.querySelector('[data-part="signin"]').hidden && performance.now() < until) {
      await new Promise((done) => setTimeout(done, 20));
    }
    document.querySelector('[data-to="signup"]').click();
    form.elements.email.value = email;
    form.elements.password.value = password;
    form.requestSubmit();
  }
"""


class Verdict(enum.StrEnum):
    """What became of a row in one engine."""

    WORKER = "worker"
    """Carried the session, and everything else was as without a worker."""
    ALONE = "left alone"
    """Carried no session, by design."""
    COOKIE = "cookie"
    """No worker sees it: anonymous, unless the session cookie is on."""
    NONE = "not made"
    """The engine makes no such request, with or without a worker."""
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of request; the members are explained in ``page/lab.js``."""

    id: str
    group: str
    title: str
    design: str = ""
    blind: bool | tuple[str, ...] = False
    count: int = 1
    leaves: bool = False
    site: str = "own"
    some: bool = False
    repeats: bool = False
    differs: frozenset[str] = frozenset()
    unheard: bool = False
    last: str = ""
    refused: tuple[str, ...] = ()
    loses: tuple[tuple[str, str], ...] = ()
    act: str = ""

    def is_blind(self, engine: str) -> bool:
        """Whether no worker sees this in ``engine``."""
        return self.blind if isinstance(self.blind, bool) else engine in self.blind

    @classmethod
    def of(cls, told: dict[str, Any]) -> Row:
        """From what the page says of it."""
        blind = told.get("blind", False)
        return cls(
            id=told["id"],
            group=told["group"],
            title=told["title"],
            design=told.get("design", ""),
            blind=tuple(blind) if isinstance(blind, list) else blind,
            count=told.get("count", 1),
            leaves=told.get("leaves", False),
            site=told.get("from", "own"),
            some=told.get("some", False),
            repeats=told.get("repeats", False),
            unheard=told.get("unheard", False),
            last=told.get("last", ""),
            refused=tuple(told.get("refused", ())),
            loses=tuple(told.get("loses", {}).items()),
            differs=frozenset(told.get("differs", ())),
        )


DRIVEN: Final = (
    Row("typed", "by hand", "typed address", leaves=True, act="goto"),
    Row("reloaded", "by hand", "reload", leaves=True, count=2, differs=frozenset({"cache-control"}), act="reload"),
    Row("hard-reload", "by hand", "hard reload", blind=True, leaves=True, count=2, act="hard reload"),
    Row("cold", "by hand", "typed address, worker stopped", leaves=True, act="cold goto"),
    Row("cold-fetch", "by hand", "fetch, worker stopped", act="cold fetch"),
    Row("first-load", "by hand", "first load, no worker yet", blind=True, leaves=True, act="first load"),
    Row("first-fetch", "by hand", "fetch on a page without worker", blind=True, act="first fetch"),
)
"""Rows that only the driver can make. The last two take the worker away, so they come last."""


@dataclass(slots=True)
class Finding:
    """The verdict on one row and, for a failure, why.

    ``lost``: what this engine takes from every request that a worker relays, ours or another's. ``cookie``: whether the
    cookie alone carried the session; None where it was not to, or was not tried.
    """

    row: Row
    verdict: Verdict
    why: str = ""
    lost: str = ""
    cookie: bool | None = None


@dataclass(slots=True)
class _Run:
    name: str
    site: str
    user: str
    results: dict[str, Any] = field(default_factory=dict)


async def sign_in(tab: Tab, site: str, email: str, *, landing: str = "/lab/") -> None:
    """Create an account on the login page and land where ``landing`` says.

    :raises ScriptError: the login page did not lead there.
    """
    await go(tab, f"{site}/.gateway/login?rd={quote(landing)}")
    await tab.run(_FORM, {"email": email, "password": PASSWORD})
    path = json.dumps(landing.partition("?")[0])
    await _until(
        tab, f"async () => location.pathname === {path} && document.readyState === 'complete'", SIGN_IN_SECONDS
    )


async def _until(tab: Tab, script: str, seconds: float) -> None:
    last = ""
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if await tab.run(script):
                        return
                except ScriptError as error:  # the page is just being replaced
                    last = str(error)
                await asyncio.sleep(0.03)
    except TimeoutError:
        raise ScriptError(f"never became true: {script} {last}") from None


async def run_table(engine: Engine, world: World, *, groups: Collection[str] = ()) -> list[Finding]:
    """Run all rows, or those of ``groups``, and judge them."""
    async with engine.profile() as profile:
        tab = await profile.tab()
        await tab.goto(f"{world.site}/lab/")
        told = [Row.of(row) for row in await tab.run("async () => lab.rows()")]
        rows = [row for row in (*told, *DRIVEN) if not groups or row.group in groups]
        plain = _Run(f"{PLAIN}-{engine.name}", world.site, "")
        await _run_all(rows, plain, profile, tab, world)
    async with engine.profile() as profile:
        tab = await profile.tab()
        await sign_in(tab, world.site, f"{engine.name}-worker@example.com")
        user = await tab.run("async () => (await (await fetch('/.gateway/userinfo')).json()).uid")
        worker = _Run(f"{WORKER}-{engine.name}", world.site, user)
        await _run_all(rows, worker, profile, tab, world)
    cookie = await _cookie_run(engine, world, rows) if world.with_cookie else None
    return [_judge(row, engine.name, world, plain, worker, cookie) for row in rows]


async def _cookie_run(engine: Engine, world: World, rows: Sequence[Row]) -> _Run:
    account = await world.account(f"{engine.name}-cookie@example.com")
    async with engine.profile() as profile:
        tab = await profile.tab()
        await tab.goto(f"{world.with_cookie}/lab/")
        status = await tab.run(
            "async (token) => (await fetch('/.gateway/session',"
            " {method: 'POST', headers: {authorization: `Bearer ${token}`}})).status",
            account["idToken"],
        )
        if status != 204:
            raise ScriptError(f"POST /.gateway/session answered {status}")
        run = _Run(f"{COOKIE}-{engine.name}", world.with_cookie, account["localId"])
        await _run_all(rows, run, profile, tab, world)
    return run


async def _run_all(rows: Sequence[Row], run: _Run, profile: Profile, tab: Tab, world: World) -> None:
    at = ""
    for row in rows:
        wanted = f"{world.foreign if row.site == 'foreign' else run.site}/lab/"
        if at != wanted:
            await go(tab, wanted)
            at = wanted
        if row.act:
            run.results[row.id] = await _act(row, run, profile, tab)
        elif row.leaves:
            order = {"id": row.id, "run": run.name, "site": run.site}
            await tab.activate("async (order) => lab.start(order)", order)
        else:
            run.results[row.id] = await tab.run("async (order) => lab.run(order)", {"id": row.id, "run": run.name})
        if run.results.get(row.id) != UNABLE:
            seconds = _patience(row, run, world)
            await world.recorder.wait(run.name, row.id, count=row.count, seconds=seconds, last=row.last)
        if row.leaves:
            at = ""
            await _settle(tab)


async def _settle(tab: Tab) -> None:
    """Let the page that was left be replaced, where it is: a navigation on top of another confuses drivers."""
    with contextlib.suppress(ScriptError):
        await _until(tab, "async () => !('lab' in globalThis) && document.readyState === 'complete'", SETTLE_SECONDS)


async def go(tab: Tab, address: str) -> None:
    """Go somewhere although the page of the last row may still be on its way in, which interrupts us."""
    for _ in range(GO_TRIES):
        try:
            return await tab.goto(address)
        except ScriptError:
            await asyncio.sleep(0.05)
    return await tab.goto(address)


def _patience(row: Row, run: _Run, world: World) -> float:
    """Seconds to wait for a row: not long for what did not arrive without a worker either."""
    plain = run.name.replace(WORKER, PLAIN).replace(COOKIE, PLAIN)
    return ARRIVE_SECONDS if plain == run.name or world.recorder.of(plain, row.id) else ARRIVE_SECONDS / 5


UNABLE: Final = "the engine cannot be told to do this"


async def _act(row: Row, run: _Run, profile: Profile, tab: Tab) -> str | None:
    address = f"{run.site}/r/{run.name}/{row.id}/x?as=html"
    with_worker = run.name.startswith(WORKER)
    if row.act.startswith("cold") and not await profile.stop_workers():
        return UNABLE
    if row.act.startswith("first") and with_worker:
        await tab.run(
            "async () => Promise.all((await navigator.serviceWorker.getRegistrations()).map(r => r.unregister()))"
        )
        await tab.goto(f"{run.site}/lab/")
    if row.act.endswith("fetch"):
        return str(await tab.run("async (url) => (await fetch(url)).status", address))
    await tab.goto(address)
    if row.act.endswith("reload") and not await tab.reload(past_worker=row.act == "hard reload"):
        return UNABLE
    return None


# ---- judging ---------------------------------------------------------------------------------------------------------


def _judge(row: Row, engine: str, world: World, plain: _Run, worker: _Run, cookie: _Run | None) -> Finding:
    expected = world.recorder.of(plain.name, row.id)
    arrived = world.recorder.of(worker.name, row.id)
    if UNABLE in (plain.results.get(row.id), worker.results.get(row.id)) or (not expected and not arrived):
        return Finding(row, Verdict.NONE)
    why = _difference(row, plain, worker, expected, arrived)
    lost = dict(row.loses).get(engine, "") if why else ""
    why = _leak(arrived) or ("" if lost else why)
    own = [arrival for arrival in arrived if arrival.site == "own"]
    named = [arrival for arrival in own if arrival.user]
    if why:
        verdict = Verdict.FAIL
    elif any(arrival.user != worker.user for arrival in named):
        verdict, why = Verdict.FAIL, "arrived as somebody else"
    elif row.design:
        verdict = Verdict.FAIL if named else Verdict.ALONE
        why = "carried the session, against the design" if named else ""
    elif len(named) == len(own) or (row.repeats and named):
        verdict = Verdict.WORKER
    elif row.is_blind(engine):
        verdict = Verdict.COOKIE
    else:
        verdict, why = Verdict.FAIL, f"{len(own) - len(named)} of {len(own)} requests arrived without a session"
    finding = Finding(row, verdict, why, lost=lost)
    if cookie is not None and not row.design:
        with_cookie = [a for a in world.recorder.of(cookie.name, row.id) if a.site == "own"]
        finding.cookie = bool(with_cookie) and all(a.user == cookie.user for a in with_cookie)
        carried = verdict is Verdict.WORKER and engine in row.refused
        if not finding.cookie and not carried:
            finding.verdict = Verdict.FAIL
            finding.why += f" with the cookie: {[(a.name, a.user) for a in with_cookie]}"
    if cookie is not None and row.design in CROSS_SITE:
        posted = world.recorder.of(cookie.name, row.id)
        if any(a.user for a in posted):
            finding.verdict, finding.why = Verdict.FAIL, "the cookie authorised what a foreign page started"
    return finding


CROSS_SITE: Final = frozenset({"cross-site post", "foreign page", "frame in a foreign site"})
"""Designs under which not even the cookie may identify anybody."""


def _leak(arrived: Sequence[Arrival]) -> str:
    """A token where none belongs: at the foreign site, or a second one."""
    for arrival in arrived:
        fields = arrival.headers.getall("Authorization", [])
        if arrival.site == "foreign" and any(value.startswith("Bearer ") for value in fields):
            return "the token reached a foreign site"
        if len(fields) > 1:
            return "more than one Authorization"
        if any(name.lower() == "x-gateway-fetch" for name in arrival.headers):
            return "X-Gateway-Fetch reached somebody"
        if arrival.user and not fields:
            return "identified without a token"
    return ""


def _difference(row: Row, plain: _Run, worker: _Run, expected: list[Arrival], arrived: list[Arrival]) -> str:
    """What is not as without a worker, in words; empty when nothing is."""
    before, after = _normal(plain, row), _normal(worker, row)
    if before != after:
        return f"the page saw {after}, without a worker {before}"
    first, second = _sorted(expected), _sorted(arrived)
    if row.last:  # whether a page comes back from memory or is asked for again is the browser's mood
        first, second = _once(first), _once(second)
    if row.some or row.repeats:
        first, second = first[:1], second[:1]
    if len(first) != len(second):
        return f"{[a.name for a in second]} arrived, without a worker {[a.name for a in first]}"
    for one, other in zip(first, second, strict=True):
        for what in ("site", "name", "method", "sha256"):
            if getattr(one, what) != getattr(other, what):
                return f"{what} of {other.name}: {getattr(other, what)}, without a worker {getattr(one, what)}"
        if one.dropped != other.dropped and not row.unheard:
            return f"the backend saw the abort: {other.dropped}, without a worker {one.dropped}"
        fields, others = _fields(one, plain, row), _fields(other, worker, row)
        if fields != others:
            names = sorted({name for name in fields.keys() | others.keys() if fields.get(name) != others.get(name)})
            return "; ".join(f"{name}: {others.get(name)}, without a worker {fields.get(name)}" for name in names)
        if row.design == "own header" and one.headers.get("Authorization") != other.headers.get("Authorization"):
            return "its own Authorization did not arrive"
    return ""


def _normal(run: _Run, row: Row) -> str:
    return json.dumps(run.results.get(row.id)).replace(run.name, "RUN")


def _once(arrivals: list[Arrival]) -> list[Arrival]:
    return list({arrival.name: arrival for arrival in reversed(arrivals)}.values())[::-1]


def _sorted(arrivals: list[Arrival]) -> list[Arrival]:
    return sorted(arrivals, key=lambda arrival: (arrival.name, arrival.site))


def _fields(arrival: Arrival, run: _Run, row: Row) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, value in arrival.headers.items():
        lower = name.lower()
        if lower in NOT_COMPARED or lower in row.differs or lower.startswith(NOT_COMPARED_PREFIXES):
            continue
        if lower == "origin" and arrival.method in {"GET", "HEAD"}:
            continue  # sent for markup with crossorigin only, never for a script's fetch; nobody judges a GET by it
        text = value.replace(run.name, "RUN")
        if lower == "content-type":
            text = text.split("boundary=")[0]
        kept[lower] = f"{kept[lower]}, {text}" if lower in kept else text
    return kept
