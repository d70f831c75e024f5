"""Write the pages of ``docs/reference`` that are made from the code; ``--check`` only says whether they are current."""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.config import model
from gateway.config.model import Config
from gateway.config.table import Table
from gateway.config.types import encode
from gateway.reasons import TABLE, Outcome, Reason

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"

ALLOWED: Final = """\
The request goes on to the backend, whose answer is the caller's, unless a status is given here. The id is for log and
metrics."""
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
    if reason.step_up:
        facts.append("the login page asks for more proof of the same person (RFC 9470)")
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

One TOML file. A key that is not known is an error with a suggestion. `GATEWAY__SECTION__KEY` in the environment sets
`section.key`, and `PORT`, as Cloud Run sets it, stands for `listen.public = "0.0.0.0:PORT"` where nothing else is said;
a value may be `${env:NAME}` or `${file:PATH}`. Durations are texts with a unit: `500ms`, `30s`, `5m`,
`12h`, `14d`. `gateway check FILE --show` prints every value and where it came from.
"""


REPEATED: Final = frozenset({"upstream", "route", "functions.claims", "functions.recaptcha"})
"""Tables that may stand several times."""


def configuration_page() -> str:
    """Return the page with one heading for every table of the configuration and one row for every key."""
    words = _docstrings()
    parts = [CONFIGURATION_HEAD]
    waiting: list[tuple[str, type[Table]]] = [("", Config)]
    while waiting:
        path, table = waiting.pop(0)
        hints = typing.get_type_hints(table)
        rows = []
        nested = []
        for field in msgspec.structs.fields(table):
            key = f"{path}.{field.name}" if path else field.name
            inner, repeated = _table_in(hints[field.name])
            if inner is not None:
                nested.append((key, inner))
                if field.name not in words[table.__name__]:
                    continue
            meaning = words[table.__name__].get(field.name, "")
            rows.append(f"| `{field.name}` | {_default(field, repeated=repeated)} | {' '.join(meaning.split())} |")
        if path:
            name = f"[[{path}]]" if path in REPEATED else f"[{path}]"
            parts.append(f"## `{name}`\n\n{words[table.__name__]['']}")
            if rows:
                parts.append("| key | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows))
        waiting = nested + waiting
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _table_in(hint: Any) -> tuple[type[Table] | None, bool]:
    """The table type behind a field's annotation, and whether the field holds many of it."""
    if isinstance(hint, type) and issubclass(hint, Table):
        return hint, False
    found = [_table_in(part)[0] for part in typing.get_args(hint)]
    return next((table for table in found if table is not None), None), typing.get_origin(hint) is tuple


def _default(field: msgspec.structs.FieldInfo, *, repeated: bool) -> str:
    if field.required:
        return "required"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    plain = msgspec.to_builtins(value, enc_hook=encode)
    if plain is None or (repeated and not plain) or isinstance(value, Table):
        return ""
    return f"`{json.dumps(plain, ensure_ascii=False)}`"


def _docstrings() -> dict[str, dict[str, str]]:
    """Class name to attribute name to the string below it; the class's own docstring is under the empty name."""
    files = sorted(Path(model.__file__ or "").parent.glob("*.py"))
    found: dict[str, dict[str, str]] = {}
    for node in (node for file in files for node in ast.parse(file.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.ClassDef):
            texts = found[node.name] = {"": ast.get_docstring(node) or ""}
            for field, text in itertools.pairwise(node.body):
                target = field.target if isinstance(field, ast.AnnAssign) else None
                if isinstance(target, ast.Name) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    texts[target.id] = str(text.value.value)
    return found


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration_page,
    "reasons.md": reasons_page,
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
