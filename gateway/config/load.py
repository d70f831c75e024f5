"""Defaults, then the file, then the environment, then flags; and where each value came from.

Everything that can be wrong is found here, before anything listens, and is told with the path of the key, what is wrong
and what to try (:class:`~gateway.errors.ConfigError`).
"""

from __future__ import annotations

import difflib
import enum
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.config.model import Config
from gateway.config.rules import check_rules
from gateway.config.table import Table
from gateway.config.types import decode
from gateway.errors import ConfigError

ENVIRONMENT_PREFIX: Final = "GATEWAY__"
PORT_VARIABLE: Final = "PORT"
"""The port that a platform (Cloud Run's container contract, and others like it) tells a program to serve."""
_REFERENCE: Final = re.compile(r"\$\{(env|file):([^}]+)\}")
_MSGSPEC_PATH: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>[^`]+)`)?$", re.DOTALL)
_MAX_REFERENCED_FILE: Final = 64 * 1024
"""Bytes of a file that ``${file:…}`` may name."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and, per key path, where its value came from. ``directory`` is what relative paths start from.

    ``files`` are those that it was read from: the file itself and what ``${file:…}`` names.
    """

    config: Config
    origins: Mapping[str, str]
    directory: Path
    files: tuple[Path, ...] = ()


def load(
    path: Path | None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    backends: bool = True,
) -> Loaded:
    """Read and check a configuration.

    :param path: the TOML file; None for none.
    :param environment: defaults to this process's; ``GATEWAY__SECTION__KEY`` sets ``section.key``.
    :param overrides: dotted path to value, as flags give them; they win over everything.
    :param defaults: dotted path to value, used where nothing else says anything.
    :param backends: there must be an upstream and a route; not for a program that only runs blocking functions.
    :raises ConfigError: anything is wrong with it.
    """
    environment = os.environ if environment is None else environment
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if path is not None:
        tree = _read(path)
        origins.update({key: str(path) for key in _leaves(tree, "$")})
    for dotted, value in (defaults or {}).items():
        if _put(tree, dotted, value, replace=False):
            origins["$." + dotted] = "default of this command"
    port = environment.get(PORT_VARIABLE, "")
    if port.isdecimal() and _put(tree, "listen.public", f"0.0.0.0:{port}", replace=False):
        origins["$.listen.public"] = PORT_VARIABLE
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            dotted = name[len(ENVIRONMENT_PREFIX) :].lower().replace("__", ".")
            _put(tree, dotted, _from_text(dotted, text, name), replace=True)
            origins["$." + dotted] = name
    for dotted, value in (overrides or {}).items():
        if value is not None:
            _put(tree, dotted, value, replace=True)
            origins["$." + dotted] = "flag"
    directory = path.parent if path is not None else Path()
    files = [] if path is None else [path]
    tree = _resolve(tree, "$", environment, directory, files)
    _refuse_unknown(tree, Config, "$")
    try:
        config = msgspec.convert(tree, Config, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise _explained(error) from None
    check_rules(config, environment, backends=backends)
    return Loaded(config, origins, directory, tuple(files))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no such file", "gateway serve --config FILE names it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(path),
            f"cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}",
            "name a TOML file that this user may read",
        ) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"is not TOML: {error}", "text values need quotation marks") from None


def _leaves(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves(member, f"{path}.{key}")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path


def _put(tree: dict[str, Any], dotted: str, value: object, *, replace: bool) -> bool:
    *sections, key = dotted.split(".")
    for section in sections:
        nested = tree.setdefault(section, {})
        if not isinstance(nested, dict):
            raise ConfigError("$." + dotted, f"{section} is not a table", "lists of tables are set in the file only")
        tree = nested
    if not replace and key in tree:
        return False
    tree[key] = value
    return True


def _from_text(dotted: str, text: str, name: str) -> object:
    """The value of an environment variable: text where text is due, else what TOML makes of it."""
    type_: Any = Config
    for part in dotted.split("."):
        fields = _fields(type_)
        if fields is None or part not in fields:
            close = difflib.get_close_matches(part, fields or (), n=1)
            raise ConfigError(
                name, f"sets {dotted}, which is no key", f"did you mean {close[0]}?" if close else _LISTED
            )
        type_ = fields[part]
    if type_ in {bool, int} or typing.get_origin(type_) is tuple:
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            raise ConfigError(
                name, "is not a TOML value", 'a list is written ["a", "b"], a switch true or false, a number 12'
            ) from None
    return text


def _fields(type_: Any) -> dict[str, Any] | None:
    struct = _struct_of(type_)
    return None if struct is None else typing.get_type_hints(struct)


def _struct_of(type_: Any) -> type[Table] | None:
    """The table type behind an annotation: the type itself, ``Table | None``, or None when it is no table."""
    if isinstance(type_, type) and issubclass(type_, Table):
        return type_
    if isinstance(type_, types.UnionType):
        return next((found for part in typing.get_args(type_) if (found := _struct_of(part)) is not None), None)
    return None


def _refuse_unknown(value: object, type_: Any, path: str) -> None:
    if typing.get_origin(type_) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unknown(item, typing.get_args(type_)[0], f"{path}[{index}]")
        return
    fields = _fields(type_)
    if fields is None or not isinstance(value, dict):
        return
    for key, member in value.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(fields))}"
            raise ConfigError(f"{path}.{key}", "is no known key", hint)
        _refuse_unknown(member, fields[key], f"{path}.{key}")


_HINTS: Final = dict.fromkeys(
    ("$.firebase", "$.firebase.project_id"),
    'write project_id = "your-project" below [firebase], in a file that --config names; gateway demo needs none',
)
"""What to try where a configuration that says too little is most often none at all."""


_LISTED: Final = "the configuration reference lists every key"
_EXPECTED: Final = re.compile(r"Expected `(\w+)")
_WRITTEN: Final = {
    "bool": "write true or false, without quotation marks",
    "int": "write a number, without quotation marks",
    "float": "write a number, without quotation marks",
    "str": "write it in quotation marks",
    "array": 'write a list: ["a", "b"]',
    "object": "it is a table: write its keys in braces, or below a line of its own in brackets",
}
"""What to write where another type was expected, by the name that msgspec gives it."""


def _explained(error: msgspec.ValidationError) -> ConfigError:
    match = _MSGSPEC_PATH.match(str(error))
    what, where = (match["what"], match["where"]) if match is not None else (str(error), None)
    missing = re.fullmatch(r"Object missing required field `(.+)`", what)
    if missing is not None:
        key = f"{where or '$'}.{missing[1]}"
        return ConfigError(key, "is missing", _HINTS.get(key) or f"write {missing[1]} = …; {_LISTED}")
    enumeration = _type_at(where or "$")
    known = ""
    if isinstance(enumeration, type) and issubclass(enumeration, enum.Enum):
        known = "one of " + ", ".join(str(member) for member in enumeration)
    elif typing.get_origin(enumeration) is typing.Literal:
        known = "one of " + ", ".join(typing.get_args(enumeration))
    else:
        due = _EXPECTED.match(what)
        told = "" if "such as" in what else _LISTED
        known = _WRITTEN.get(due[1], told) if due is not None else told
    return ConfigError(where or "$", what[0].lower() + what[1:] if what else "is wrong", known)


def _type_at(where: str) -> Any:
    """The annotation of the key at a path such as ``$.route[0].auth``."""
    type_: Any = Config
    for name, _ in re.findall(r"\.([a-z_]+)|(\[\d+\])", where):
        if name:
            type_ = (_fields(type_) or {}).get(name)
        elif typing.get_origin(type_) is tuple:
            type_ = typing.get_args(type_)[0]
    return type_


def _resolve(value: Any, path: str, environment: Mapping[str, str], directory: Path, files: list[Path]) -> Any:
    """Replace ``${env:NAME}`` and ``${file:PATH}``, which must be a whole value; note the latter in ``files``."""
    if isinstance(value, dict):
        return {key: _resolve(member, f"{path}.{key}", environment, directory, files) for key, member in value.items()}
    if isinstance(value, list):
        return [_resolve(item, f"{path}[{index}]", environment, directory, files) for index, item in enumerate(value)]
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, str) and "${" in value:
            raise ConfigError(path, "${…} must be the whole value", "write ${env:NAME} or ${file:PATH}")
        return value
    kind, name = match[1], match[2]
    if kind == "env":
        if name not in environment:
            raise ConfigError(path, f"the environment has no {name}", f"export {name}=…")
        return environment[name]
    try:
        files.append(directory / name)
        with (directory / name).open("rb") as file:
            return file.read(_MAX_REFERENCED_FILE).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            path, f"the file {name} cannot be read as text", "check the path and its permissions"
        ) from None
