"""Conditions in CEL (Common Expression Language, https://github.com/google/cel-spec): compiled once, true or refused.

The rule this file obeys: **an expression that does not come out as the boolean ``true`` refuses.** A missing key, an
unknown function, a wrong type, a value that is not a boolean and a fault of the library are all the same answer. What
can be known when the configuration is read is refused then: the syntax, variables and functions that do not exist, and
an expression too long to be one.

An expression sees ``claims`` (the token's payload) and ``request`` (``method``, ``path`` without query, ``host``,
``client``: the address, or ``""``).

The library is the extra ``cel`` and is imported with the first expression, because it costs a quarter of a second.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

MAX_LENGTH: Final = 4_096
"""Characters. Longer nonsense has made the parser panic; a rule that a person can review has a few hundred."""

VARIABLES: Final = frozenset({"claims", "request"})

_TYPES: Final = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"})
"""Identifiers of the language itself: ``type(claims.level) == int``."""

_FUNCTIONS: Final = frozenset(
    {
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "type",
        "dyn",
        "duration",
        "timestamp",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    }
)
"""CEL specification, "List of Standard Definitions"; operators have names that no identifier can have."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_LOOP_VARIABLE: Final = re.compile(
    r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_][A-Za-z0-9_]*)\s*,", re.ASCII
)
_POSITION: Final = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_INNER: Final = re.compile(r'msg: "([^"]*)"')
"""The words in an error that the parser prints as it stands in memory."""
_MAX_WORDS: Final = 160
"""Characters of the parser's own words that are shown."""

_log = logging.getLogger(__name__)


class ExpressionUnavailable(Exception):
    """The library is not installed."""


class ExpressionFailed(Exception):
    """The expression gave no boolean; the text says how, and holds no value of a claim."""


class Expression:
    """One compiled condition. Two of the same text are equal.

    :param name: whose condition it is, for the log.
    :raises ExpressionUnavailable: the library is not installed.
    :raises ValueError: it is no expression, or uses what does not exist; the text says where and what.
    """

    __slots__ = ("_failures", "_name", "_program", "reads_request", "source")

    def __init__(self, source: str, *, name: str) -> None:
        try:
            import cel  # noqa: PLC0415 - an extra, and slow to import
        except ImportError:
            raise ExpressionUnavailable from None
        if not source.strip() or len(source) > MAX_LENGTH:
            raise ValueError(f"is empty or longer than {MAX_LENGTH} characters")
        try:
            program = cel.compile(source)
        except BaseException as error:  # noqa: BLE001 - a panic of the library is one
            _raise_if_not_ours(error)
            raise ValueError(_syntax(str(error))) from None
        variables = set(program.variables())
        unknown = variables - VARIABLES - _TYPES - set(_LOOP_VARIABLE.findall(source))
        if unknown:
            raise ValueError(f"there is no variable {min(unknown)}; there are claims and request")
        unknown = {name for name in program.functions() if _IDENTIFIER.fullmatch(name)} - _FUNCTIONS
        if unknown:
            raise ValueError(f"there is no function {min(unknown)}")
        self._program: Any = program
        self._name = name
        self._failures = 0
        self.source: Final = source
        self.reads_request: Final = "request" in variables

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def holds(self, claims: Mapping[str, Any], request: Mapping[str, str]) -> bool:
        """Whether the condition is true.

        :raises ExpressionFailed: it is neither true nor false. The 1st, 10th, 100th … time is logged.
        """
        try:
            value = self._program.execute({"claims": dict(claims), "request": dict(request)})
        except BaseException as error:  # noqa: BLE001 - a panic of the library is one
            _raise_if_not_ours(error)
            # The library's words may quote a claim, so only the kind of the fault is told.
            fault = "a key is missing" if isinstance(error, KeyError) else f"it fails ({type(error).__name__})"
        else:
            if isinstance(value, bool):
                return value
            fault = f"it gives {type(value).__name__}, not a boolean"
        self._failures += 1
        if str(self._failures).strip("0") == "1":
            _log.error("%s: the expression refuses, because %s (%d times so far)", self._name, fault, self._failures)
        raise ExpressionFailed(fault)


def _raise_if_not_ours(error: BaseException) -> None:
    """Let an interrupt go on; a panic of the library is a ``BaseException`` too, and is a fault like any other."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


def _syntax(text: str) -> str:
    match = _POSITION.search(text)
    if match is None:
        return "is not a CEL expression"
    line, column, words = match.groups()
    inner = _INNER.search(words)
    return f"line {line}, column {column}: {(inner[1] if inner is not None else words)[:_MAX_WORDS]}"
