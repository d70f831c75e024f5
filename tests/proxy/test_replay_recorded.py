"""What the decision log says of a replay: the same as of the decision that is given again."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest

from gateway.observe.decisions import describe
from gateway.policy.baselines import SIGN_IN_NETWORK_CLAIM, network_claim
from tests.support.backends import answers, backend
from tests.support.wire import GOOD, PATIENCE, claims_of, gateway, read_answer, request

KEY = b"0123456789abcdef"
HIDDEN = network_claim(ipaddress.ip_address("203.0.113.9"), KEY, None)


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"signInIpAddress": "10.1.2.3"}, "10.1.2.3/32"),
        ({SIGN_IN_NETWORK_CLAIM: HIDDEN}, HIDDEN),
        ({"signInIpAddress": ["10.1.2.3"]}, None),
        ({}, None),
    ],
)
async def test_a_replay_tells_where_the_session_began(claims: dict[str, Any], told: object) -> None:
    """writes the sign-in's network with every decision, so that a preset can be tried out on all of the log."""
    tokens = {GOOD: claims_of(**claims)}
    async with backend(answers()) as server, gateway(server.url, tokens=tokens) as front:
        reader, writer = await front.connect()
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                writer.write(request())
                await read_answer(reader)
        writer.close()
    assert front.replayed > 0
    lines = [describe(event) for event in front.audit.events]
    assert [line["signed_in_from"] for line in lines] == [told] * 3
    for line in lines:
        del line["time"], line["request_id"], line["micros"]
    assert lines[0] == lines[1] == lines[2]
