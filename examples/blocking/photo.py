"""Unfit photos are replaced. By configuration: ``[functions.photo]``."""

from __future__ import annotations

from gateway.blocking import BlockingFunctions, EventContext, User, UserUpdate

GUEST = "https://static.example.com/guest.png"
functions = BlockingFunctions("my-project")


async def is_fit(url: str) -> bool:
    """Put your judge here, such as Cloud Vision's safe search."""
    return "unfit" not in url


@functions.before_create(on_timeout="deny", deadline=3.0)
async def screen(user: User, context: EventContext) -> UserUpdate | None:  # noqa: ARG001 - the signature of functions
    """Replace the photo; when the judge is slow, nobody registers (``on_timeout="allow"`` would keep the photo)."""
    if user.photo_url and not await is_fit(user.photo_url):
        return UserUpdate(photo_url=GUEST)
    return None
