"""Whose database file it is, and which tables are in it.

The rule this file obeys: **a file that is not ours is never changed**: application id, version, integrity and the
project's name are checked before anything is written, and an older version is brought up in one transaction.
"""

from __future__ import annotations

import sqlite3
from importlib import resources
from typing import Final

from gateway.errors import ConfigError

APPLICATION_ID: Final = 0x53475750
"""``SGWP`` in the SQLite file header (https://sqlite.org/fileformat.html section 1.3.8): this file is ours."""

SCHEMA_VERSION: Final = 2
"""``user_version`` of the file that this code writes; older ones are brought up to it when they are opened."""

HINT_PATH: Final = "check the path, its permissions, and that no other provider runs on the same file"
HINT_DAMAGED: Final = "nothing was changed; restore a backup, or name another file to start afresh"


def plain(error: Exception) -> str:
    """What went wrong, without the path that the caller names anyway."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def prepare(connection: sqlite3.Connection, where: str, project_id: str) -> None:
    """Check whose file it is before the first write; create the tables in an empty one, bring an older one up to date.

    :raises ConfigError: the file is another program's, another project's, a newer version's, or damaged.
    :raises sqlite3.Error: it cannot be read or written.
    """
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if not empty and application_id != APPLICATION_ID:
        raise ConfigError(where, "this SQLite database belongs to another program", HINT_DAMAGED)
    if version > SCHEMA_VERSION:
        raise ConfigError(where, f"a newer release wrote this database (version {version})", "upgrade session-gateway")
    if not empty:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise ConfigError(where, "the database is damaged", HINT_DAMAGED)
        owner = connection.execute("SELECT value FROM meta WHERE name = 'project_id'").fetchone()
        if owner is None or owner[0] != project_id:
            raise ConfigError(
                where,
                f"it holds the accounts of project {'?' if owner is None else owner[0]!r}, not of {project_id!r}",
                "use one file for each project",
            )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    if empty:
        connection.executescript(f"BEGIN; {_schema()} PRAGMA application_id = {APPLICATION_ID};")
        connection.execute("INSERT INTO meta (name, value) VALUES ('project_id', ?)", (project_id,))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    elif version < SCHEMA_VERSION:
        _bring_up(connection)


def _schema() -> str:
    return resources.files("gateway.idp").joinpath("schema.sql").read_text("utf-8")


def _bring_up(connection: sqlite3.Connection) -> None:
    """Make an older file one of this version, in one transaction: the columns that are new have defaults."""
    tables = [
        (name, [column[1] for column in connection.execute(f"PRAGMA table_info({name})")])
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        ).fetchall()
    ]
    kept = {name: connection.execute(f"SELECT {', '.join(columns)} FROM {name}").fetchall() for name, columns in tables}  # noqa: S608 - names that this program gave
    connection.execute("PRAGMA foreign_keys = OFF")
    drops = "".join(f"DROP TABLE {name};" for name, _ in tables)
    connection.executescript(f"BEGIN IMMEDIATE; {drops} {_schema()}")
    try:
        for name, columns in tables:
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})", kept[name])  # noqa: S608 - as above
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    connection.execute("PRAGMA foreign_keys = ON")
