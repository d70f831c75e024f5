"""What configurations share, and what each has for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.assets import load_assets
from gateway.config.load import Loaded, load
from gateway.core.claims import Principal
from gateway.errors import ConfigError
from gateway.idp import IdentityProvider, ProviderSettings
from gateway.observe.decisions import NoLog
from gateway.wiring.assembly import Assembly
from gateway.wiring.lasting import Lasting
from tests.support import forge
from tests.support.issuer import KeyServer


@pytest.fixture
async def keys() -> AsyncIterator[KeyServer]:
    async with KeyServer() as server:
        yield server


@pytest.fixture
async def lasting() -> AsyncIterator[Lasting]:
    found = Lasting(NoLog())
    yield found
    await found.close()


def settings(keys: KeyServer, **overrides: Any) -> Loaded:
    tree: dict[str, Any] = {
        "firebase.project_id": forge.PROJECT,
        "firebase.credentials": "none",
        "firebase.endpoints.id_token_certificates": keys.url,
        "upstream": [{"name": "app", "urls": ["http://127.0.0.1:1"]}],
        "route": [{"match": {"path": "/**"}}],
    }
    return load(None, environment={}, overrides=tree | overrides)


async def assembled(lasting: Lasting, loaded: Loaded, generation: int = 0) -> Assembly:
    found = Assembly(loaded, lasting, generation=generation)
    await found.open()
    found.adopt()
    return found


async def test_parts_with_the_same_settings_go_on(keys: KeyServer, lasting: Lasting) -> None:
    """... hands keys and backends on to the next configuration, and closes them with the last."""
    first = await assembled(lasting, settings(keys))
    first.serve(load_assets())
    upstreams = [{"name": "app", "urls": ["http://127.0.0.1:1"]}, {"name": "more", "urls": ["http://127.0.0.1:2"]}]
    route = [{"match": {"path": "/**"}, "upstream": "app"}]
    second = await assembled(lasting, settings(keys, upstream=upstreams, route=route), 1)
    second.serve(load_assets())
    assert second.keys is first.keys
    assert second.upstreams["app"] is first.upstreams["app"]
    assert keys.fetches == 1
    assert first.guard is not None
    assert second.guard is not None
    assert (first.guard.generation, second.guard.generation) == (0, 1)
    await first.close()
    assert second.keys_fault() is None
    await second.close()
    assert len(lasting.parts) == 0


async def test_other_settings_make_other_parts(keys: KeyServer, lasting: Lasting) -> None:
    """... makes anew what is not the same: tenants change whose tokens are remembered, another address whose keys."""
    first = await assembled(lasting, settings(keys))
    tenants = await assembled(lasting, settings(keys, **{"firebase.tenants": ["one"]}))
    assert tenants.keys is first.keys
    assert len(lasting.parts) == 3
    async with KeyServer() as others:
        elsewhere = await assembled(lasting, settings(others))
        assert elsewhere.keys is not first.keys
        await elsewhere.close()
    await tenants.close()
    assert len(lasting.parts) == 2
    await first.close()


async def test_how_long_sign_outs_last_follows_the_configuration(keys: KeyServer, lasting: Lasting) -> None:
    """... keeps ended sessions as long as the newest configuration lets sessions live."""
    for number, (age, seconds) in enumerate([("1h", 3600.0), ("0s", 400 * 86_400.0)]):
        assembly = await assembled(lasting, settings(keys, **{"session.max_age": age}), number)
        assert lasting.deny_list.lifetime == seconds
        await assembly.close()


async def test_what_is_known_of_users_stays(keys: KeyServer, lasting: Lasting) -> None:
    """... keeps what it knows of users when only the promise changes, and refuses a promise that cannot be kept."""
    provider = IdentityProvider(
        ProviderSettings(project_id=forge.PROJECT, database=None, port=0, password_profile="testing")
    )
    await provider.start()
    try:
        address = {"firebase.emulator": provider.url.removeprefix("http://")}
        first = await assembled(lasting, settings(keys, **address, **{"firebase.credentials": "adc"}))
        assert first.revocation is not None
        await first.revocation.standing(Principal(forge.PROJECT, None, "nobody"))
        again = {"firebase.credentials": "adc", "revocation.max_staleness": "7s", "revocation.outage_window": "1s"}
        second = await assembled(lasting, settings(keys, **address, **again), 1)
        assert second.revocation is first.revocation
        assert (first.revocation.max_staleness, first.revocation.outage_window) == (7.0, 1.0)
        assert first.revocation.peek(Principal(forge.PROJECT, None, "nobody")) is not None
        with pytest.raises(ConfigError, match="max_staleness"):
            await assembled(lasting, settings(keys, **address, **again | {"revocation.max_staleness": "2h"}), 2)
        assert first.revocation.max_staleness == 7.0
        await first.close()
        await second.close()
    finally:
        await provider.close()


async def test_nothing_is_left_of_what_cannot_be(keys: KeyServer, lasting: Lasting, tmp_path: Path) -> None:
    """... lets go of everything when a configuration turns out to be impossible half way."""
    broken = Assembly(settings(keys, **{"firebase.credentials": f"file:{tmp_path / 'gone.json'}"}), lasting)
    with pytest.raises(ConfigError):
        await broken.open()
    await broken.close()
    await broken.close()
    assert len(lasting.parts) == 0
