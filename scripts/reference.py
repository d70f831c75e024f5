"""Write the pages of ``docs/reference`` that are made from the code; ``--check`` only says whether they are current."""

from __future__ import annotations

import argparse
import ast
import enum
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.config import model
from gateway.config.types import HostPort, Network, OptionalHostPort, Seconds, Url, encode
from gateway.reasons import TABLE, Outcome, Reason

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"

ALLOWED: Final = "The request goes on to the backend, whose answer is the caller's. The id is for log and metrics."
CHALLENGED: Final = """\
Signing in (again) mends it. A page navigation is sent to the login page with the id as `reason=`; a script gets the
status with `WWW-Authenticate: Bearer` (RFC 6750) and a problem document (RFC 9457) whose `code` is the id."""
DENIED: Final = """\
Signing in would not help. A person gets a page, a script a problem document (RFC 9457) whose `code` is the id."""

OUTCOMES: Final = {
    Outcome.ALLOW: ("Allow", ALLOWED),
    Outcome.CHALLENGE: ("Challenge", CHALLENGED),
    Outcome.DENY: ("Deny", DENIED),
}

REASONS_HEAD: Final = """\
<!-- Written by scripts/reference.py from gateway/reasons.py. Run `make reference` after a change there. -->

# Reasons

Every answer of the gateway carries exactly one of these. An id never changes its meaning: a new one is a minor
release, a renamed one a major release.

| id | answer | status |
| --- | --- | --- |
"""


def reasons_page() -> str:
    """Return the page with one heading for every row of the table of reasons."""
    rows = [f"| [`{r.id}`](#{r.anchor}) | {r.outcome} | {_status(r)} |" for r in TABLE.values()]
    parts = [REASONS_HEAD + "\n".join(rows)]
    for outcome, (heading, text) in OUTCOMES.items():
        parts += [f"## {heading}", text]
        parts += [_entry(reason) for reason in TABLE.values() if reason.outcome is outcome]
    return "\n\n".join(parts) + "\n"


def _entry(reason: Reason) -> str:
    facts = [f"status {_status(reason)}", f"logged as {reason.level}"]
    if reason.outcome is Outcome.CHALLENGE and reason.bearer_error is None:
        facts.append("`WWW-Authenticate` without an error code, because no credential was brought")
    if reason.bearer_error is not None:
        facts.append(f'`WWW-Authenticate: Bearer error="{reason.bearer_error}"`')
    if reason.sign_out:
        facts.append("the login page signs the browser out first, because this session can never become good again")
    words = " ".join(text for text in (reason.title, reason.advice) if text)
    # The explicit anchor is `Reason.anchor`; renderers differ in what they make of an underscore.
    return f'<a id="{reason.anchor}"></a>\n\n### `{reason.id}`\n\n> {words}\n\n' + "\n".join(f"- {f}" for f in facts)


def _status(reason: Reason) -> str:
    return str(reason.status) if reason.status else "the backend's"


CONFIGURATION_HEAD: Final = """\
<!-- Written by scripts/reference.py from gateway/config/model.py. Run `make reference` after a change there. -->

# Configuration

One TOML file. Keys that are not listed here are errors, told with the nearest known one. Sources, each winning over the
one before: the defaults below, the file, the environment (`GATEWAY__LISTEN__PUBLIC="0.0.0.0:8080"` sets
`listen.public`), flags. `PORT`, as Cloud Run sets it, stands for `listen.public = "0.0.0.0:PORT"` where nothing else is
said. A value may be `"${env:NAME}"` or `"${file:PATH}"`, as a whole. `gateway check FILE --show`
prints every value with its source.

Durations are numbers with a unit: `500ms`, `30s`, `5m`, `12h`, `14d`. Networks are CIDR blocks.
"""

SPOKEN_TYPES: Final = {
    str: "text",
    bool: "true or false",
    int: "number",
    Seconds: "duration",
    HostPort: "host:port",
    OptionalHostPort: "host:port or `off`",
    Network: "network",
    Url: "URL",
}


def configuration_page() -> str:
    """Return the page with one heading for every table and one row for every key."""
    parts = [CONFIGURATION_HEAD]
    for path, table in _tables(model.Config, ""):
        rows = [
            f"## `{path}`",
            inspect.cleandoc(table.__doc__ or ""),
            "| key | value | default | meaning |\n| --- | --- | --- | --- |",
        ]
        rows[-1] += "".join(
            "\n" + _key(table, field) for field in msgspec.structs.fields(table) if not _nested(field.type)
        )
        parts += rows
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _tables(table: type[model.Table], path: str) -> list[tuple[str, type[model.Table]]]:
    found: list[tuple[str, type[model.Table]]] = []
    for field in msgspec.structs.fields(table):
        nested = _nested(field.type)
        if nested is None:
            continue
        many = typing.get_origin(field.type) is tuple
        name = f"{path}.{field.name}" if path else field.name
        if any(not _nested(inner.type) for inner in msgspec.structs.fields(nested)):
            found.append((f"[[{name}]]" if many else f"[{name}]", nested))
        found += _tables(nested, name)
    return found


def _nested(type_: object) -> type[model.Table] | None:
    if isinstance(type_, type) and issubclass(type_, model.Table):
        return type_
    arguments = typing.get_args(type_)
    return next((found for argument in arguments if (found := _nested(argument)) is not None), None)


def _key(table: type[model.Table], field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        default = "required"
    else:
        default = "none" if field.default is None else f"`{json.dumps(_plain(field.default), ensure_ascii=False)}`"
    return f"| `{field.name}` | {_spoken(field.type)} | {default} | {_explanations(table)[field.name]} |"


def _plain(value: object) -> object:
    if isinstance(value, float):
        return encode(Seconds(value))
    if isinstance(value, enum.Enum):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _spoken(type_: object) -> str:
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return ", ".join(f"`{member}`" for member in type_)
    origin = typing.get_origin(type_)
    if origin is typing.Literal:
        return ", ".join(f"`{member}`" for member in typing.get_args(type_))
    if origin is tuple:
        return "list of " + _spoken(typing.get_args(type_)[0])
    if origin is dict:
        return "table"
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_spoken(part) for part in typing.get_args(type_) if part is not types.NoneType)
    return SPOKEN_TYPES.get(type_, getattr(type_, "__name__", str(type_)))  # type: ignore[call-overload,no-any-return]


def _explanations(table: type[model.Table]) -> dict[str, str]:
    """The text literals that stand behind the fields of a table's class."""
    body = ast.parse(inspect.getsource(table)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            texts[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return texts


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "reasons.md": reasons_page,
    "configuration.md": configuration_page,
}


def main() -> int:
    """Write all pages, or with ``--check`` name those that are out of date and return 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [name for name, page in PAGES.items() if not _same(DIRECTORY / name, page())]
    for name in stale:
        if check:
            print(f"docs/reference/{name} is out of date: run make reference", file=sys.stderr)
        else:
            DIRECTORY.mkdir(parents=True, exist_ok=True)
            (DIRECTORY / name).write_text(PAGES[name](), encoding="utf-8")
            print(f"wrote docs/reference/{name}")
    return 1 if check and stale else 0


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
