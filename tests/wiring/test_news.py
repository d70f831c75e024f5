"""What processes of one gateway tell each other."""

from __future__ import annotations

import msgspec

from gateway.core.claims import Principal
from gateway.wiring.news import Ended, News, Renewed, Revoked
from tests.support.wire import claims_of


def test_news_travel() -> None:
    """... names the same session and user at the other end."""
    who = Principal("acme", "tenant", "uid")
    for news in (Ended.of(who, 1000, 2000.5), Revoked.of(who, 1234)):
        back = msgspec.json.decode(msgspec.json.encode(news), type=News)
        assert back == news
        assert back.principal == who


def test_newer_tokens_travel() -> None:
    """tells other processes what a newer token says, all of it, as it stands."""
    claims = claims_of(roles=["admin"], nested={"a": [1, None, True]}, signInIpAddress="203.0.113.9")
    news = Renewed(claims, "2001:db8::1")
    back = msgspec.json.decode(msgspec.json.encode(news), type=News)
    assert back == news
    assert isinstance(back, Renewed)
    assert back.claims.payload == claims.payload
