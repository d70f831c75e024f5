"""The whole chain: a client speaks REST to the provider, which calls the kit's functions over HTTP.

Nothing is faked between the two: events are signed with the provider's keys, the functions fetch its certificates, and
the functions are registered through the administrators' endpoint.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from aiohttp.test_utils import TestClient, TestServer, unused_port

from gateway.blocking import BlockingFunctions
from gateway.clock import SystemClock
from gateway.core.client_ip import parse_address
from gateway.idp import FunctionSettings, IdentityProvider
from tests.support.idp import OWNER, PROJECT, SETTINGS, Api, Reply, claims, code_in, key_source

CERTIFICATES = "/www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
ADDRESS_HEADER = "X-Test-Address"
TRIGGERS = ("beforeCreate", "beforeSignIn", "beforeSendEmail", "beforeSendSms")


class Chain(Api):
    """A client of the provider, with the functions' URL."""

    functions_url: str = ""
    address: str = "203.0.113.9"

    async def request(self, method: str, path: str, **kwargs: Any) -> Reply:
        kwargs["headers"] = {ADDRESS_HEADER: self.address, **(kwargs.get("headers") or {})}
        return await super().request(method, path, **kwargs)

    async def register(self, *events: str, forward: Mapping[str, bool] | None = None) -> dict[str, Any]:
        """Register the functions for those events, through the administrators' endpoint."""
        blocking: dict[str, Any] = {"triggers": {event: {"functionUri": self.functions_url} for event in events}}
        if forward is not None:
            blocking["forwardInboundCredentials"] = dict(forward)
        return (await self.configure({"blockingFunctions": blocking})).ok

    async def configure(self, config: Mapping[str, Any], mask: str = "blockingFunctions") -> Reply:
        path = f"/identitytoolkit.googleapis.com/v2/projects/{PROJECT}/config?updateMask={mask}"
        return await self.request("PATCH", path, json=dict(config), headers=OWNER)

    async def second(self, method: str, **body: Any) -> Reply:
        """A client method of v2."""
        return await self.request("POST", f"/identitytoolkit.googleapis.com/v2/accounts/{method}?key=k", json=body)

    async def idp(
        self, provider: str, identity: Mapping[str, Any], /, returned: Mapping[str, str] | None = None, **body: Any
    ) -> Reply:
        """Sign in with another provider.

        :param returned: what that provider's page handed over, in the form of a flow through it; otherwise the client
            holds the credential itself.
        """
        if provider.startswith("saml."):
            held = {"providerId": provider, "SAMLResponse": json.dumps(identity)}
        else:
            held = {"providerId": provider, "id_token": json.dumps(identity)}
        uri, post = "http://localhost", urlencode(held)
        if returned is not None:
            uri, post = f"http://localhost/handler?{urlencode({**held, **returned})}", ""
        return await self.call("signInWithIdp", requestUri=uri, postBody=post, returnSecureToken=True, **body)

    async def phone(self, number: str, **body: Any) -> Reply:
        """Have a code texted and sign in with it."""
        sent = await self.call("sendVerificationCode", phoneNumber=number)
        if sent.status != 200:
            return sent
        text = self.provider.mailbox.texts()[-1]
        return await self.call("signInWithPhoneNumber", sessionInfo=sent.ok["sessionInfo"], code=text.code, **body)

    async def link(self, email: str, **body: Any) -> Reply:
        """Have a sign-in link mailed and use it."""
        code = await self.mail_code("EMAIL_SIGNIN", email=email)
        return await self.call("signInWithEmailLink", email=email, oobCode=code, **body)

    async def found(self, email: str) -> list[dict[str, Any]]:
        """The accounts of an address, as an administrator sees them."""
        users: list[dict[str, Any]] = (await self.admin("/accounts:lookup", email=[email])).ok.get("users", [])
        return users

    async def everybody(self) -> list[dict[str, Any]]:
        """All accounts, as an administrator sees them."""
        users: list[dict[str, Any]] = (await self.admin("/accounts:batchGet", "GET")).ok.get("users", [])
        return users


@asynccontextmanager
async def chain(
    register: Callable[[BlockingFunctions], None],
    *events: str,
    forward: Mapping[str, bool] | None = None,
    settings: FunctionSettings | None = None,
) -> AsyncIterator[Chain]:
    """A provider and the functions that ``register`` adds, connected; ``events`` are registered."""
    provider = IdentityProvider(
        replace(SETTINGS, functions=settings or FunctionSettings()),
        clock=SystemClock(),
        key_source=key_source,
        address_of=lambda peer, headers: parse_address(headers.one(ADDRESS_HEADER.lower().encode()) or peer),
    )
    async with TestClient(TestServer(provider.app)) as client:
        port = unused_port()
        url = f"http://127.0.0.1:{port}/"
        kit = BlockingFunctions(
            PROJECT, audiences=[url], certificates=str(client.make_url(CERTIFICATES)), accept_local_keys=True
        )
        register(kit)
        async with TestServer(kit.application(), port=port):
            api = Chain(provider, client, None)  # type: ignore[arg-type]  # the clock is the system's
            api.functions_url = url
            await api.register(*events, forward=forward)
            yield api


__all__ = ["TRIGGERS", "Chain", "chain", "claims", "code_in"]
