"""Pages from the package: a template, its values, and one rule.

The rule this file obeys: **every value is escaped on its way into a page, unless it is a** :class:`Markup` **that
this package built.** E-mail addresses, names and header values come from strangers.
"""

from __future__ import annotations

import hashlib
import html
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Final

CONTENT_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""What a browser may load beside the pages, by file ending."""

LAYOUT: Final = "layout"
"""The template around every page."""


class Markup(str):
    """HTML that is already safe to insert."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """``value`` as HTML text or as a quoted attribute's value."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def joined(parts: list[Markup]) -> Markup:
    """Safe pieces, one after the other."""
    return Markup("".join(parts))


def fill(template: str, /, **values: object) -> Markup:
    """``template`` with each ``$name`` replaced by the escaped value of that name.

    :raises KeyError: the template names a value that is not given.
    """
    return Markup(Template(template).substitute({name: escaped(value) for name, value in values.items()}))


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages refer to; ``etag`` is a strong entity tag over ``body`` (RFC 9110 section 8.8.3)."""

    body: bytes
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class Pages:
    """The packaged pages: ``templates`` by file name without ending, ``assets`` by file name."""

    templates: dict[str, str]
    assets: dict[str, Asset]

    def page(self, name: str, /, *, title: str, **values: object) -> str:
        """The page ``name`` inside the common layout.

        :raises KeyError: a template names a value that is not given.
        """
        content = fill(self.templates[name], **values)
        return fill(self.templates[LAYOUT], **{**values, "title": title, "content": content})

    def part(self, name: str, /, **values: object) -> Markup:
        """The fragment ``name`` alone.

        :raises KeyError: the template names a value that is not given.
        """
        return fill(self.templates[name], **values)


def load_pages() -> Pages:
    """Read every packaged page and asset once."""
    templates: dict[str, str] = {}
    assets: dict[str, Asset] = {}
    for entry in resources.files("gateway.demo").joinpath("pages").iterdir():
        stem, dot, ending = entry.name.rpartition(".")
        if ending == "html":
            templates[stem] = entry.read_text("utf-8")
        elif (content_type := CONTENT_TYPES.get(dot + ending)) is not None:
            body = entry.read_bytes()
            assets[entry.name] = Asset(body, content_type, hashlib.sha256(body).hexdigest())
    return Pages(templates, assets)
