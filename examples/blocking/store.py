"""Where ``gateway.toml`` keeps refresh tokens: put your database here."""

from __future__ import annotations

TOKENS: dict[tuple[str, str], str] = {}


def save(uid: str, sealed: str, provider_id: str) -> None:
    """Keep an encrypted token."""
    TOKENS[uid, provider_id] = sealed
