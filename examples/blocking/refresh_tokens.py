"""Google's refresh tokens, encrypted. By configuration: ``[functions.refresh_tokens]``."""

from __future__ import annotations

import os

from gateway.blocking import BlockingFunctions, EventContext, User
from gateway.blocking.ready_made import TokenSealer

DATABASE: dict[tuple[str, str], str] = {}
sealer = TokenSealer([os.environ["REFRESH_TOKEN_KEY"]])
functions = BlockingFunctions("my-project")


async def add_to_calendar(access_token: str) -> None:
    """Call Google's API here; it may take its time, and it may fail."""


@functions.before_create
def store(user: User, context: EventContext) -> None:
    """Store the token, if there is one; everything else happens after the answer."""
    credential = context.credential
    if credential and credential.provider_id == "google.com" and credential.refresh_token:
        DATABASE[user.uid, "google.com"] = sealer.seal(credential.refresh_token, user.uid, "google.com")
        context.defer(add_to_calendar, credential.access_token)
