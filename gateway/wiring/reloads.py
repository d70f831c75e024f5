"""How reloads went, and what they cannot change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.config.model import Config

_AT_START: Final = ("public", "admin", "redirect", "workers", "proxy_protocol", "tls")
"""Keys of ``listen`` that say which sockets there are, and who has them."""


class Reloads:
    """The last reload. ``at`` in wall-clock seconds, of the last good one or of the start."""

    def __init__(self, generation: int, at: float) -> None:
        self.generation = generation
        self.at = at
        self.good = True

    def succeeded(self, generation: int, at: float) -> None:
        """Another configuration is in use."""
        self.generation, self.at, self.good = generation, at, True

    def failed(self) -> None:
        """The one before stays in use."""
        self.good = False


def need_restart(started_with: Config, now: Config) -> list[str]:
    """Keys whose new values count only when the gateway is started again."""
    before, after = started_with.listen, now.listen
    keys = [f"listen.{key}" for key in _AT_START if getattr(before, key) != getattr(after, key)]
    keys += [name for name in ("limits", "functions") if getattr(started_with, name) != getattr(now, name)]
    return keys
