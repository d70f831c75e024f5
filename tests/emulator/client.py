"""REST client of the official Auth emulator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from tests.emulator.functions import Scripted
from tests.support.idp import OWNER, Reply, claims

PROJECT: Final = "demo-gateway"
TOOLKIT: Final = "/identitytoolkit.googleapis.com"


class Emulator:
    """Speaks to the emulator; ``functions`` are those that it calls."""

    def __init__(self, http: aiohttp.ClientSession, origin: str, functions: Scripted) -> None:
        self._http = http
        self._origin = origin
        self.functions = functions

    async def request(self, method: str, path: str, **kwargs: Any) -> Reply:
        async with self._http.request(method, self._origin + path, **kwargs) as response:
            return Reply(response.status, await response.json(), response.headers)

    async def reset(self) -> None:
        """Forget every account."""
        await self.request("DELETE", f"/emulator/v1/projects/{PROJECT}/accounts", headers=OWNER)

    async def register(self, url: str, *events: str, **forward: bool) -> None:
        """Have the emulator call ``url``."""
        blocking: dict[str, Any] = {"triggers": {event: {"functionUri": url} for event in events}}
        if forward:
            blocking["forwardInboundCredentials"] = forward
        path = f"{TOOLKIT}/v2/projects/{PROJECT}/config?updateMask=blockingFunctions"
        (await self.request("PATCH", path, json={"blockingFunctions": blocking}, headers=OWNER)).ok  # noqa: B018

    async def call(self, method: str, /, **body: Any) -> Reply:
        """A client method of v1."""
        return await self.request("POST", f"{TOOLKIT}/v1/accounts:{method}?key=k", json=body)

    async def second(self, method: str, **body: Any) -> Reply:
        """A client method of v2."""
        return await self.request("POST", f"{TOOLKIT}/v2/accounts/{method}?key=k", json=body)

    async def admin(self, suffix: str, /, **body: Any) -> Reply:
        """A privileged method."""
        return await self.request("POST", f"{TOOLKIT}/v1/projects/{PROJECT}{suffix}", headers=OWNER, json=body)

    async def sign_up(self, email: str, **body: Any) -> Reply:
        return await self.call("signUp", email=email, password="correct horse", returnSecureToken=True, **body)

    async def sign_in(self, email: str, **body: Any) -> Reply:
        return await self.call("signInWithPassword", email=email, password="correct horse", **body)

    async def idp(self, provider: str, identity: Mapping[str, Any], **body: Any) -> Reply:
        held = {"providerId": provider, "id_token": json.dumps(identity), "access_token": "AT"}
        if provider.startswith("saml."):
            # The emulator wants an ID token even here.
            subject = identity["assertion"]["subject"]["nameId"]
            held = {
                "providerId": provider,
                "SAMLResponse": json.dumps(identity),
                "id_token": json.dumps({"sub": subject, "email": subject}),
            }
        post = urlencode(held)
        return await self.call("signInWithIdp", requestUri="http://localhost", postBody=post, **body)

    async def codes(self, kind: str) -> list[dict[str, Any]]:
        """``oobCodes`` or ``verificationCodes``."""
        codes: list[dict[str, Any]] = (await self.request("GET", f"/emulator/v1/projects/{PROJECT}/{kind}")).ok[kind]
        return codes

    async def sms(self) -> str:
        """The code that was texted last."""
        return str((await self.codes("verificationCodes"))[-1]["code"])

    async def refresh(self, refresh_token: str) -> dict[str, Any]:
        """The claims of a fresh ID token."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        reply = await self.request("POST", "/securetoken.googleapis.com/v1/token?key=k", data=form)
        return claims(reply.ok["id_token"])

    async def account(self, uid: str) -> dict[str, Any]:
        """The user record."""
        (account,) = (await self.admin("/accounts:lookup", localId=[uid])).ok["users"]
        return dict(account)

    async def everybody(self) -> list[dict[str, Any]]:
        """All accounts."""
        path = f"{TOOLKIT}/v1/projects/{PROJECT}/accounts:batchGet?maxResults=100"
        users: list[dict[str, Any]] = (await self.request("GET", path, headers=OWNER)).ok.get("users", [])
        return users
