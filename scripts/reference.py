"""Write the pages of ``docs/reference`` that are made from the code; ``--check`` only says whether they are current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

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


PAGES: Final[Mapping[str, Callable[[], str]]] = {"reasons.md": reasons_page}


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
