"""What only shows over time: the first navigation after a sign-in, the first after a sign-out, forged forms."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from tests.engines.driver import Engine, Tab
from tests.engines.table import go, sign_in
from tests.engines.world import World

TIMES: Final = 20
ARRIVE_SECONDS: Final = 15.0

LEAVE_SECONDS: Final = 0.3
"""Between a form's submission and the next navigation."""

ENCODINGS: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")

_POST: Final = """
  async ({ address, encoding }) => {
    const form = document.createElement("form");
    Object.assign(form, { method: "post", action: address, enctype: encoding });
    form.append(Object.assign(document.createElement("input"), { name: "amount", value: "100" }));
    document.body.append(form);
    form.submit();
  }
"""
_FETCH: Final = "async (address) => (await fetch(address)).status"


@dataclass(slots=True)
class Races:
    """How often each went right, of ``TIMES``."""

    arrived_signed_in: int = 0
    left_anonymous: int = 0
    other_tab_anonymous: int = 0

    def __str__(self) -> str:
        return (
            f"first navigation after sign-in authenticated {self.arrived_signed_in}/{TIMES}; after sign-out anonymous"
            f" {self.left_anonymous}/{TIMES} here, {self.other_tab_anonymous}/{TIMES} in another tab"
        )

    @property
    def good(self) -> bool:
        """Whether nothing ever went wrong."""
        return self.arrived_signed_in == self.left_anonymous == self.other_tab_anonymous == TIMES


async def races(engine: Engine, world: World) -> Races:
    """Sign in and out ``TIMES`` times; look at the very next request of this tab and of another one."""
    found = Races()
    run = f"races-{engine.name}"
    async with engine.profile() as profile:
        tab, other = await profile.tab(), await profile.tab()
        await other.goto(f"{world.site}/lab/")
        for number in range(TIMES):
            first, last, beside = (f"{what}-{number}" for what in ("first", "last", "beside"))
            landing = f"/r/{run}/{first}/x?as=html"
            await sign_in(tab, world.site, f"{engine.name}-races-{number}@example.com", landing=landing)
            await world.recorder.wait(run, first, count=1, seconds=ARRIVE_SECONDS)
            arrivals = world.recorder.of(run, first)
            found.arrived_signed_in += len(arrivals) == 1 and bool(arrivals[0].user)
            await other.run(_FETCH, f"/r/{run}/{beside}/before?as=text")
            logout = f"{world.site}/.gateway/logout?rd=/r/{run}/{last}/x%3Fas%3Dhtml"
            await tab.activate("async (address) => location.assign(address)", logout)
            await world.recorder.wait(run, last, count=1, seconds=ARRIVE_SECONDS)
            await other.run(_FETCH, f"/r/{run}/{beside}/after?as=text")
            found.left_anonymous += [arrival.user for arrival in world.recorder.of(run, last)] == [""]
            before, after = (bool(arrival.user) for arrival in world.recorder.of(run, beside))
            found.other_tab_anonymous += before and not after
    return found


async def forged_forms(engine: Engine, world: World) -> list[str]:
    """Post forms from a foreign page and from our own to a route that needs a session; what went wrong, in words.

    The person is signed in, by the worker and, where there is one, by the cookie as well.
    """
    site = world.with_cookie or world.site
    run = f"forged-{engine.name}"
    faults: list[str] = []
    async with engine.profile() as profile:
        tab = await profile.tab()
        await sign_in(tab, site, f"{engine.name}-forged@example.com")
        for number, encoding in enumerate(ENCODINGS):
            forged, seen, own = f"must-forged-{number}", f"seen-{number}", f"must-own-{number}"
            for row in (forged, seen):
                await _post(tab, f"{world.foreign}/lab/", f"{site}/r/{run}/{row}/x?as=html", encoding)
            await world.recorder.wait(run, seen, count=1, seconds=ARRIVE_SECONDS)
            await _post(tab, f"{site}/lab/", f"{site}/r/{run}/{own}/x?as=html", encoding)
            await world.recorder.wait(run, own, count=1, seconds=ARRIVE_SECONDS)
            faults += _faults(world, run, forged, seen, own, encoding)
    return faults


def _faults(world: World, run: str, forged: str, seen: str, own: str, encoding: str) -> list[str]:
    faults: list[str] = []
    if world.recorder.of(run, forged):
        faults.append(f"{encoding}: the forged form reached the backend")
    if not world.decisions.of(f"/r/{run}/{forged}/x"):
        faults.append(f"{encoding}: the forged form never arrived at the gateway")
    for method, reason in world.decisions.of(f"/r/{run}/{forged}/x"):
        if method == "POST" and reason not in {"sign_in_required", "cross_site"}:
            faults.append(f"{encoding}: the forged form was answered with {reason}")
    arrivals = world.recorder.of(run, seen)
    if not arrivals:
        faults.append(f"{encoding}: nothing arrived on the route where the evidence is to be seen")
    for arrival in arrivals:
        headers = arrival.headers
        if arrival.user or "Authorization" in headers or "session" in headers.get("Cookie", ""):
            faults.append(f"{encoding}: the forged form carried a credential")
        if headers.get("Origin") != world.foreign:
            faults.append(f"{encoding}: Origin says {headers.get('Origin')}")
        if headers.get("Sec-Fetch-Site") != "cross-site":
            faults.append(f"{encoding}: Sec-Fetch-Site says {headers.get('Sec-Fetch-Site')}")
    if [bool(arrival.user) for arrival in world.recorder.of(run, own)] != [True]:
        faults.append(f"{encoding}: our own form did not arrive once and signed in")
    return faults


async def _post(tab: Tab, page: str, address: str, encoding: str) -> None:
    await go(tab, page)
    await tab.activate(_POST, {"address": address, "encoding": encoding})
    await asyncio.sleep(LEAVE_SECONDS)
