"""HTML pages from templates with ``{{name}}`` placeholders, and the header fields every page is sent with.

The rules this file obeys (``threats.md`` rows 20 and 31): a value enters a page only HTML-escaped, placeholders are
filled in one pass so that a value cannot bring another one along, and no page has an inline script or style, so the
policy can forbid both.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from gateway.errors import ConfigError

_PLACEHOLDER: Final = re.compile(r"\{\{([a-z_]+)\}\}")
_ASSET_LINK: Final = re.compile(r"\{\{prefix\}\}assets/([A-Za-z0-9._/-]+)(?=[\"'])")

GOOGLE_ENDPOINTS: Final = ("https://identitytoolkit.googleapis.com", "https://securetoken.googleapis.com")
"""What the Firebase JS SDK talks to."""


class Asset(Protocol):
    """One file as it is served; :class:`gateway.assets.Asset` is the real one.

    ``etag`` is a complete entity tag, ``version`` a short content hash, ``gzipped`` the gzip coding or None.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - the class docstring names the members
    @property
    def body(self) -> bytes: ...  # noqa: D102
    @property
    def content_type(self) -> str: ...  # noqa: D102
    @property
    def etag(self) -> str: ...  # noqa: D102
    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def gzipped(self) -> bytes | None: ...  # noqa: D102


class AssetSource(Protocol):
    """Files by name."""

    def get(self, name: str) -> Asset | None:
        """Return the file, or None."""


class Template:
    """A page with placeholders.

    Links to assets get the version of the file that is there, so that what they lead to may be cached for ever.
    """

    def __init__(self, assets: AssetSource, name: str) -> None:
        asset = assets.get(name)
        if asset is None:
            raise ConfigError(name, "this page is missing from the installation", "reinstall, or run make assets")

        def versioned(match: re.Match[str]) -> str:
            linked = assets.get(match.group(1))
            return match.group(0) if linked is None else f"{match.group(0)}?v={linked.version}"

        self._text = _ASSET_LINK.sub(versioned, asset.body.decode("utf-8"))

    def render(self, values: Mapping[str, str]) -> bytes:
        """The page with every placeholder filled; a name that ``values`` does not have becomes empty."""
        return _PLACEHOLDER.sub(lambda match: html.escape(values.get(match.group(1), "")), self._text).encode("utf-8")


def page_headers(*, connect: Sequence[str] = (), framed: bool = False) -> list[tuple[str, str]]:
    """Header fields of an HTML page.

    :param connect: origins that the page's scripts may talk to beside its own.
    :param framed: whether pages of the same site may frame it, which only error pages allow.
    """
    ancestors = "'self'" if framed else "'none'"
    sources = " ".join(("'self'", *connect))
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        f"connect-src {sources}; worker-src 'self'; "
        f"frame-ancestors {ancestors}; base-uri 'none'; form-action 'self'"
    )
    return [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        # Federated sign-in opens a pop-up that has to find its way back.
        ("Cross-Origin-Opener-Policy", "same-origin-allow-popups"),
        ("X-Frame-Options", "SAMEORIGIN" if framed else "DENY"),
        ("Cache-Control", "no-store"),
    ]
