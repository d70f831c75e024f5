"""The repository: plain ``sqlite3``, synchronous, called from one thread only.

The rules this file obeys: **a file that is not ours is never changed** (an application id and the project's name are
checked before anything is written), **what is stored cannot sign anybody in** (passwords, refresh tokens and codes are
hashed by the callers) and **only the owner reads the keys** (a new file gets mode 0600).
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from gateway.errors import ConfigError
from gateway.idp.records import Account, CodeKind, CodeRecord, Factor, KeyPurpose, KeyRecord, Link, SessionRecord
from gateway.idp.schema import HINT_DAMAGED, HINT_PATH, plain, prepare

BUSY_SECONDS: Final = 5.0
"""How long a statement waits for another process that holds the file, seconds."""

_MEMORY: Final = ":memory:"
_ACCOUNT_COLUMNS: Final = tuple(f.name for f in fields(Account) if f.name not in {"links", "factors", "tenant"})
_FACTOR_COLUMNS: Final = tuple(f.name for f in fields(Factor))
_BOOLEAN_COLUMNS: Final = frozenset({"email_verified", "email_link_sign_in", "disabled", "custom_auth"})

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """All SQL of the provider. Methods that find nothing answer None; the caller knows what that means."""

    def __init__(self, connection: sqlite3.Connection, tenant: str | None = None) -> None:
        self._sql = connection
        self._tenant = tenant or ""

    def of(self, tenant: str) -> Store:
        """The same file, seen from a tenant's name space."""
        return Store(self._sql, tenant)

    @classmethod
    def open(cls, path: Path | None, project_id: str) -> Store:
        """Open or create the database; ``None`` keeps it in memory.

        :raises ConfigError: the file cannot be read or written, is damaged, or is another program's, another
            project's or a newer version's. Nothing was changed in it.
        """
        where = _MEMORY if path is None else str(path)
        try:
            if path is not None and not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = sqlite3.connect(where, timeout=BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(where, f"the provider's database cannot be opened: {plain(error)}", HINT_PATH) from None
        try:
            prepare(connection, where, project_id)
        except sqlite3.OperationalError as error:
            connection.close()
            raise ConfigError(where, f"the provider's database cannot be used: {plain(error)}", HINT_PATH) from None
        except sqlite3.DatabaseError as error:
            connection.close()
            raise ConfigError(where, f"this is not a readable SQLite database: {plain(error)}", HINT_DAMAGED) from None
        except ConfigError:
            connection.close()
            raise
        return cls(connection)

    def close(self) -> None:
        """Write everything back into the one file and close it."""
        self._sql.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")

    # ---- accounts ------------------------------------------------------------------------------------------------

    def account(self, uid: str) -> Account | None:
        """The account of that id."""
        return self._one_account("uid = ?", uid)

    def account_by_email(self, email: str) -> Account | None:
        """The account of that address, which must be in lower case."""
        return self._one_account("email = ?", email)

    def account_by_phone(self, phone_number: str) -> Account | None:
        """The account of that phone number."""
        return self._one_account("phone_number = ?", phone_number)

    def account_by_link(self, provider_id: str, raw_id: str) -> Account | None:
        """The account that a federated identity is linked to."""
        return self._one_account(
            "uid = (SELECT uid FROM links WHERE tenant = ? AND provider_id = ? AND raw_id = ?)",
            self._tenant,
            provider_id,
            raw_id,
        )

    def accounts(self, *, after: str = "", limit: int = -1) -> list[Account]:
        """Accounts in the order of their ids, those behind ``after``, at most ``limit`` (negative: all)."""
        rows = self._sql.execute(
            f"SELECT {', '.join(_ACCOUNT_COLUMNS)} FROM accounts WHERE tenant = ? AND uid > ? ORDER BY uid LIMIT ?",  # noqa: S608 - constants
            (self._tenant, after, limit),
        )
        return [self._account(row) for row in rows.fetchall()]

    def put_account(self, account: Account) -> None:
        """Insert the account, or replace the one of the same id.

        :raises sqlite3.IntegrityError: address, phone number or federated identity belong to another account.
        """
        # A savepoint: a batch goes on after one account that does not fit, and must not keep half of it.
        self._sql.execute("SAVEPOINT account")
        try:
            self._write_account(account)
        except sqlite3.IntegrityError:
            self._sql.execute("ROLLBACK TO account")
            raise
        finally:
            self._sql.execute("RELEASE account")

    def delete_account(self, uid: str) -> None:
        """Forget the account and its codes. Its sessions stay, so that their tokens can be refused by name."""
        self._sql.execute("DELETE FROM accounts WHERE tenant = ? AND uid = ?", (self._tenant, uid))
        self._sql.execute("DELETE FROM codes WHERE tenant = ? AND uid = ?", (self._tenant, uid))

    def _write_account(self, account: Account) -> None:
        assignments = ", ".join(f"{column} = excluded.{column}" for column in _ACCOUNT_COLUMNS if column != "uid")
        marks = ", ".join("?" * (len(_ACCOUNT_COLUMNS) + 1))
        self._sql.execute(
            f"INSERT INTO accounts (tenant, {', '.join(_ACCOUNT_COLUMNS)}) VALUES ({marks})"  # noqa: S608 - constants
            f" ON CONFLICT (tenant, uid) DO UPDATE SET {assignments}",
            [self._tenant, *(getattr(account, column) for column in _ACCOUNT_COLUMNS)],
        )
        owner = (self._tenant, account.uid)
        self._sql.execute("DELETE FROM links WHERE tenant = ? AND uid = ?", owner)
        self._sql.executemany(
            "INSERT INTO links (tenant, uid, provider_id, raw_id, email, display_name, photo_url)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(*owner, x.provider_id, x.raw_id, x.email, x.display_name, x.photo_url) for x in account.links],
        )
        self._sql.execute("DELETE FROM factors WHERE tenant = ? AND uid = ?", owner)
        self._sql.executemany(
            f"INSERT INTO factors (tenant, uid, {', '.join(_FACTOR_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
            [(*owner, *(getattr(factor, column) for column in _FACTOR_COLUMNS)) for factor in account.factors],
        )

    def _one_account(self, condition: str, *values: str) -> Account | None:
        row = self._sql.execute(
            f"SELECT {', '.join(_ACCOUNT_COLUMNS)} FROM accounts WHERE tenant = ? AND {condition}",  # noqa: S608 - constants
            (self._tenant, *values),
        ).fetchone()
        return None if row is None else self._account(row)

    def _account(self, row: tuple[Any, ...]) -> Account:
        values = dict(zip(_ACCOUNT_COLUMNS, row, strict=True))
        for column in _BOOLEAN_COLUMNS:
            values[column] = bool(values[column])
        links = self._sql.execute(
            "SELECT provider_id, raw_id, email, display_name, photo_url FROM links WHERE tenant = ? AND uid = ?"
            " ORDER BY provider_id",
            (self._tenant, values["uid"]),
        )
        factors = self._sql.execute(
            f"SELECT {', '.join(_FACTOR_COLUMNS)} FROM factors WHERE tenant = ? AND uid = ?"  # noqa: S608 - constants
            " ORDER BY enrolled_at_ms, factor_id",
            (self._tenant, values["uid"]),
        )
        return Account(
            **values,
            tenant=self._tenant or None,
            factors=tuple(Factor(**dict(zip(_FACTOR_COLUMNS, x, strict=True))) for x in factors.fetchall()),
            links=tuple(
                Link(provider_id=p, raw_id=r, email=e, display_name=d, photo_url=u)
                for p, r, e, d, u in links.fetchall()
            ),
        )

    # ---- sessions ------------------------------------------------------------------------------------------------

    def put_session(self, session: SessionRecord) -> None:
        """Remember a new session."""
        self._sql.execute(
            "INSERT INTO sessions (token_hash, tenant, uid, sign_in_provider, auth_time, session_claims, created_at,"
            " last_used_at, ended_at, second_factor, second_factor_id, attributes)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                session.token_hash,
                self._tenant,
                session.uid,
                session.sign_in_provider,
                session.auth_time,
                json.dumps(dict(session.session_claims)),
                session.created_at,
                session.last_used_at,
                session.ended_at,
                session.second_factor,
                session.second_factor_id,
                None if session.attributes is None else json.dumps(dict(session.attributes)),
            ),
        )

    def tenant_of_session(self, token_hash: str) -> str | None:
        """The name space of the session of that refresh token, whichever it is; None: no session, or the project's."""
        row = self._sql.execute("SELECT tenant FROM sessions WHERE token_hash = ?", (token_hash,)).fetchone()
        return (row[0] or None) if row is not None else None

    def session(self, token_hash: str) -> SessionRecord | None:
        """The session of that refresh token."""
        return next(iter(self._sessions("token_hash = ?", token_hash)), None)

    def sessions_at(self, uid: str, auth_time: int) -> list[SessionRecord]:
        """Sessions of the account that signed in at that second."""
        return self._sessions("uid = ? AND auth_time = ?", uid, auth_time)

    def touch_session(self, token_hash: str, now: int) -> None:
        """Note that the session gave an ID token."""
        self._sql.execute("UPDATE sessions SET last_used_at = ? WHERE token_hash = ?", (now, token_hash))

    def end_sessions(self, uid: str, now: int, *, until: int | None = None) -> None:
        """End the account's live sessions, or those that signed in at ``until`` or earlier."""
        self._sql.execute(
            "UPDATE sessions SET ended_at = ? WHERE tenant = ? AND uid = ? AND ended_at IS NULL"
            " AND (? IS NULL OR auth_time <= ?)",
            (now, self._tenant, uid, until, until),
        )

    def purge(self, *, sessions_ended_before: int, codes_expired_before: int) -> None:
        """Forget sessions and codes that have been dead for long."""
        self._sql.execute("DELETE FROM sessions WHERE ended_at < ?", (sessions_ended_before,))
        self._sql.execute("DELETE FROM codes WHERE expires_at < ?", (codes_expired_before,))

    def _sessions(self, condition: str, *values: str | int) -> list[SessionRecord]:
        rows = self._sql.execute(
            "SELECT token_hash, uid, sign_in_provider, auth_time, session_claims, created_at, last_used_at, ended_at,"  # noqa: S608 - constants
            f" second_factor, second_factor_id, attributes FROM sessions WHERE tenant = ? AND {condition}",
            (self._tenant, *values),
        )
        return [
            SessionRecord(
                token_hash=h,
                uid=uid,
                sign_in_provider=provider,
                auth_time=auth_time,
                session_claims=json.loads(claims),
                created_at=created,
                last_used_at=used,
                ended_at=ended,
                second_factor=factor,
                second_factor_id=factor_id,
                attributes=None if attrs is None else json.loads(attrs),
            )
            for h, uid, provider, auth_time, claims, created, used, ended, factor, factor_id, attrs in rows.fetchall()
        ]

    # ---- codes ---------------------------------------------------------------------------------------------------

    def put_code(self, code: CodeRecord) -> None:
        """Remember a new code."""
        self._sql.execute(
            "INSERT INTO codes (code_hash, tenant, request_type, uid, email, new_email, continue_url, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                code.code_hash,
                self._tenant,
                code.kind,
                code.uid,
                code.email,
                code.new_email,
                code.continue_url,
                code.expires_at,
            ),
        )

    def code(self, code_hash: str) -> CodeRecord | None:
        """The code of that hash."""
        row = self._sql.execute(
            "SELECT request_type, uid, email, new_email, continue_url, expires_at FROM codes"
            " WHERE tenant = ? AND code_hash = ?",
            (self._tenant, code_hash),
        ).fetchone()
        if row is None:
            return None
        kind, uid, email, new_email, continue_url, expires_at = row
        return CodeRecord(
            code_hash=code_hash,
            kind=CodeKind(kind),
            uid=uid,
            email=email,
            new_email=new_email,
            continue_url=continue_url,
            expires_at=expires_at,
        )

    def delete_code(self, code_hash: str) -> bool:
        """Use a code up; False when somebody else just did."""
        return self._sql.execute("DELETE FROM codes WHERE code_hash = ?", (code_hash,)).rowcount == 1

    def delete_codes(self, uid: str, kinds: Iterable[CodeKind]) -> None:
        """Void the account's codes of those kinds."""
        self._sql.executemany(
            "DELETE FROM codes WHERE tenant = ? AND uid = ? AND request_type = ?",
            [(self._tenant, uid, str(kind)) for kind in kinds],
        )

    # ---- tenants -------------------------------------------------------------------------------------------------

    def tenants(self) -> dict[str, dict[str, Any]]:
        """Every tenant with its configuration, in the order of their ids."""
        rows = self._sql.execute("SELECT tenant, config FROM tenants ORDER BY tenant")
        return {tenant: json.loads(config) for tenant, config in rows.fetchall()}

    def put_tenant(self, tenant: str, config: Mapping[str, Any], now: int) -> None:
        """Remember a tenant, or change its configuration."""
        self._sql.execute(
            "INSERT INTO tenants (tenant, config, created_at) VALUES (?, ?, ?)"
            " ON CONFLICT (tenant) DO UPDATE SET config = excluded.config",
            (tenant, json.dumps(dict(config)), now),
        )

    def delete_tenant(self, tenant: str) -> None:
        """Forget a tenant with its accounts and codes. Its sessions stay, ended."""
        self._sql.execute("DELETE FROM accounts WHERE tenant = ?", (tenant,))
        self._sql.execute("DELETE FROM codes WHERE tenant = ?", (tenant,))
        self._sql.execute("DELETE FROM tenants WHERE tenant = ?", (tenant,))

    # ---- keys ----------------------------------------------------------------------------------------------------

    def keys(self, purpose: KeyPurpose) -> list[KeyRecord]:
        """Keys of one set, oldest first."""
        rows = self._sql.execute(
            "SELECT kid, private_pem, certificate, signs_from FROM signing_keys WHERE purpose = ? ORDER BY signs_from",
            (purpose,),
        )
        return [
            KeyRecord(kid=kid, purpose=purpose, private_pem=pem, certificate=certificate, signs_from=signs_from)
            for kid, pem, certificate, signs_from in rows.fetchall()
        ]

    def put_key(self, key: KeyRecord) -> None:
        """Remember a new key."""
        self._sql.execute(
            "INSERT INTO signing_keys (kid, purpose, private_pem, certificate, signs_from) VALUES (?, ?, ?, ?, ?)",
            (key.kid, key.purpose, key.private_pem, key.certificate, key.signs_from),
        )

    def delete_key(self, kid: str) -> None:
        """Forget a key whose last token has expired."""
        self._sql.execute("DELETE FROM signing_keys WHERE kid = ?", (kid,))


class StoreThread:
    """The one thread that touches the store. Each call is one transaction."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="idp-store")
        self._store: Store | None = None

    async def open(self, path: Path | None, project_id: str) -> Store:
        """Open the store on its thread; see :meth:`Store.open` for what it raises."""
        self._store = await asyncio.get_running_loop().run_in_executor(self._executor, Store.open, path, project_id)
        return self._store

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``call`` on the store's thread, inside one transaction that an exception rolls back."""
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: self._run(call, *args, **kwargs)
        )

    def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._store is None:
            raise RuntimeError("the store is not open")
        with self._store.transaction():
            return call(*args, **kwargs)

    async def close(self) -> None:
        """Wait for what runs, then close the file."""
        if self._store is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._store.close)
            self._store = None
        self._executor.shutdown()
