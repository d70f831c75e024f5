"""Tenants: name spaces of accounts within the project, each with its own ways to sign in.

A tenant's realm shares keys, functions and mailbox with the project's (identity-toolkit.md section 1;
blocking-functions.md section 3.1: tenants inherit the project's triggers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.ports import Clock
from gateway.idp.realm import Realm
from gateway.idp.sessions import hash_secret
from gateway.idp.store import Store, StoreThread


class Tenants:
    """The tenants that there are, and their realms. Changes go through the store's thread."""

    def __init__(
        self, store: Store, db: StoreThread, clock: Clock, make: Callable[[str, dict[str, Any]], Realm]
    ) -> None:
        """Read what is stored; call it on the store's thread.

        :param make: makes the realm of a tenant of that configuration.
        """
        self._store = store
        self._db = db
        self._clock = clock
        self._make = make
        self._configs = store.tenants()
        self._realms: dict[str, Realm] = {}

    def all(self) -> dict[str, dict[str, Any]]:
        """Configurations by id, in the order of the ids."""
        return self._configs

    def realm(self, tenant: str) -> Realm | None:
        """The realm of a tenant; None when there is no such tenant."""
        config = self._configs.get(tenant)
        if config is None:
            return None
        if tenant not in self._realms:
            self._realms[tenant] = self._make(tenant, config)
        return self._realms[tenant]

    async def of_refresh_token(self, refresh_token: str) -> str | None:
        """The tenant that a refresh token is of; None for the project's own, and for tokens that nobody knows."""
        return await self._db.run(self._store.tenant_of_session, hash_secret(refresh_token))

    async def put(self, tenant: str, config: dict[str, Any]) -> None:
        """Make a tenant, or change one."""
        await self._db.run(self._store.put_tenant, tenant, config, int(self._clock.now()))
        self._configs = dict(sorted({**self._configs, tenant: config}.items()))
        # Codes that wait in memory belong to the old realm; they are asked for anew.
        self._realms.pop(tenant, None)

    async def delete(self, tenant: str) -> None:
        """Forget a tenant and everybody in it."""

        def commit() -> None:
            space = self._store.of(tenant)
            for account in space.accounts():
                space.end_sessions(account.uid, int(self._clock.now()))
            self._store.delete_tenant(tenant)

        await self._db.run(commit)
        self._configs = {name: config for name, config in self._configs.items() if name != tenant}
        self._realms.pop(tenant, None)
