"""The worker, the pages and their styles: found, checked and held in memory.

Installed from a wheel they are package data. In a checkout they are built into the same directory by the editable
install, and a stamp tells whether the sources have moved on since (:mod:`gateway.bundle`). Serving a worker that does
not match its sources would cost an afternoon, so a missing or stale build is a :class:`~gateway.errors.ConfigError`
at start, never a 404 later.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Final

from gateway import bundle
from gateway.errors import ConfigError

REQUIRED: Final = frozenset({"app.css", "error.html", "login.html", "login.js", "session.js", "sw-off.js", "sw.js"})
"""Without these the gateway cannot do its work."""

CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",  # RFC 9239 section 6
    ".json": "application/json",  # RFC 8259 section 11: no charset parameter
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",  # declarations, for editors
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""The host's own table of types differs from machine to machine; with ``nosniff`` a wrong one breaks the page."""

VERSION_LENGTH: Final = 16
"""Hex digits, 64 bits of SHA-256: names versions of one file, guards nothing."""

_COMPRESSED_ALREADY: Final = frozenset({".png", ".woff2"})
_WHERE: Final = "gateway/_assets"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to be sent.

    ``name`` is its path with forward slashes (``app.css``); ``content_type`` a complete header value; ``version`` a
    short content hash for ``?v=``. ``etag`` is a complete weak entity tag (RFC 9110 section 8.8.1), weak because the
    same tag stands for both encodings; ``gzipped`` is the gzip coding of ``body``, or None where it would not be
    smaller.
    """

    name: str
    body: bytes
    content_type: str
    etag: str
    version: str
    gzipped: bytes | None


class Assets:
    """All files of one build, by name. Immutable; safe to share."""

    def __init__(self, files: dict[str, Asset]) -> None:
        self._files = dict(sorted(files.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, sorted."""
        return tuple(self._files)

    def get(self, name: str) -> Asset | None:
        """Return the file, or None. A name from a request is only ever a key here, never a path on a disk."""
        return self._files.get(name)

    def text(self, name: str) -> str:
        """Return a file that must exist as text, for pages with placeholders.

        Raises:
            ConfigError: there is no such file.
        """
        asset = self._files.get(name)
        if asset is None:
            raise ConfigError(f"{_WHERE}/{name}", "this file is missing", "run make assets, or reinstall the package")
        return asset.body.decode("utf-8")


def load_assets() -> Assets:
    """Read all files of the installed package, or of the checkout that is installed editable.

    Raises:
        ConfigError: files are missing, or older than their sources in a checkout.
    """
    root = Path(__file__).resolve().parent.parent
    return read_assets(resources.files("gateway").joinpath("_assets"), root if bundle.is_checkout(root) else None)


def read_assets(directory: Traversable, checkout: Path | None) -> Assets:
    """Read all files below ``directory``; ``checkout`` is the root that holds their sources, if there is one.

    Raises:
        ConfigError: a required file is missing, a file has no known type, or the checkout's sources have moved on.
    """
    if checkout is not None and not bundle.is_current(checkout):
        built = (checkout / bundle.OUTPUT / bundle.STAMP).is_file()
        fault = "are older than their sources" if built else "are not built"
        raise ConfigError(_WHERE, f"the worker and the pages {fault}", "run make assets")
    files = {name: _asset(name, body) for name, body in _walk(directory, "")} if directory.is_dir() else {}
    if missing := sorted(REQUIRED - files.keys()):
        hint = (
            "run make assets" if checkout is not None else "this installation is incomplete: reinstall session-gateway"
        )
        raise ConfigError(_WHERE, f"missing: {', '.join(missing)}", hint)
    return Assets(files)


def _walk(directory: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in directory.iterdir():
        if entry.name.startswith(".") or (not prefix and entry.name == bundle.STAMP):
            continue
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_bytes()


def _asset(name: str, body: bytes) -> Asset:
    suffix = PurePosixPath(name).suffix
    content_type = CONTENT_TYPES.get(suffix)
    if content_type is None:
        known = " ".join(CONTENT_TYPES)
        raise ConfigError(f"{_WHERE}/{name}", "no content type is known for this file", f"known suffixes: {known}")
    version = hashlib.sha256(body).hexdigest()[:VERSION_LENGTH]
    # mtime=0: the same file has the same bytes after every start.
    smaller = None if suffix in _COMPRESSED_ALREADY else gzip.compress(body, mtime=0)
    if smaller is not None and len(smaller) >= len(body):
        smaller = None
    return Asset(name, body, content_type, f'W/"{version}"', version, smaller)
