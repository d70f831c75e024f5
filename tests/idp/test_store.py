from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.idp.records import Account, CodeKind, CodeRecord, KeyPurpose, KeyRecord, Link, SessionRecord
from gateway.idp.schema import APPLICATION_ID, SCHEMA_VERSION
from gateway.idp.store import Store, StoreThread

PROJECT = "demo-store"
FULL = Account(
    uid="u",
    created_at_ms=1,
    valid_since=2,
    email="a@b",
    email_verified=True,
    initial_email="old@b",
    email_link_sign_in=True,
    password_hash="hash",
    password_updated_at_ms=3,
    display_name="Ada",
    photo_url="https://p.test",
    phone_number="+1555",
    disabled=True,
    custom_auth=True,
    custom_attributes="{}",
    last_login_at_ms=4,
    last_refresh_at_ms=5,
    links=(Link(provider_id="google.com", raw_id="g", email="g@b", display_name="G", photo_url="https://g.test"),),
)


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open(None, PROJECT)
    yield opened
    opened.close()


def test_account_comes_back_as_it_was(store: Store) -> None:
    """the provider reads every field of an account back, whichever identifier finds it."""
    store.put_account(FULL)
    assert store.account("u") == FULL
    assert store.account_by_email("a@b") == FULL
    assert store.account_by_phone("+1555") == FULL
    assert store.account_by_link("google.com", "g") == FULL
    assert store.account("nobody") is None
    bare = Account(uid="u", created_at_ms=9, valid_since=9)
    store.put_account(bare)
    assert store.account("u") == bare
    assert store.account_by_link("google.com", "g") is None


def test_failed_write_leaves_no_half(store: Store) -> None:
    """the provider keeps nothing of an account that cannot be stored whole, inside a transaction too."""
    store.put_account(FULL)
    with store.transaction():
        with pytest.raises(sqlite3.IntegrityError):
            store.put_account(Account(uid="v", created_at_ms=0, valid_since=0, links=FULL.links))
        store.put_account(Account(uid="w", created_at_ms=0, valid_since=0))
    assert [account.uid for account in store.accounts()] == ["u", "w"]


def test_transaction_is_all_or_nothing(store: Store) -> None:
    """the provider undoes what a failed call had begun."""

    def fail() -> None:
        with store.transaction():
            store.put_account(FULL)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert store.account("u") is None


def test_deleting_keeps_sessions_and_drops_codes(store: Store) -> None:
    """the provider forgets the codes of a deleted account and remembers its sessions, to refuse them by name."""
    store.put_account(FULL)
    session = SessionRecord(
        token_hash="h", uid="u", sign_in_provider="password", auth_time=1, session_claims={"a": [1]}, created_at=1,
        last_used_at=1,
    )  # fmt: skip
    store.put_session(session)
    store.put_code(CodeRecord(code_hash="c", kind=CodeKind.VERIFY_EMAIL, uid="u", email="a@b", expires_at=9))
    store.delete_account("u")
    assert store.session("h") == session
    assert store.code("c") is None
    assert store.account_by_link("google.com", "g") is None


def test_ending_sessions_by_moment(store: Store) -> None:
    """the provider ends the sessions that began until a moment, or all, and leaves those that ended before alone."""
    for number in (1, 2, 3):
        store.put_session(
            SessionRecord(
                token_hash=f"h{number}",
                uid="u",
                sign_in_provider="password",
                auth_time=number,
                session_claims={},
                created_at=0,
                last_used_at=0,
            )
        )

    def ended() -> list[int | None]:
        return [session.ended_at for number in (1, 2, 3) if (session := store.session(f"h{number}")) is not None]

    store.end_sessions("u", 50, until=2)
    assert ended() == [50, 50, None]
    store.end_sessions("u", 60)
    assert ended() == [50, 50, 60]
    store.end_sessions("other", 70)
    store.purge(sessions_ended_before=60, codes_expired_before=0)
    assert [session.token_hash for number in (1, 2, 3) if (session := store.session(f"h{number}"))] == ["h3"]


def test_codes_work_once(store: Store) -> None:
    """the provider knows whether somebody used a code up before."""
    code = CodeRecord(
        code_hash="c", kind=CodeKind.EMAIL_SIGNIN, uid=None, email="a@b", new_email="n@b", continue_url="http://x/",
        expires_at=9,
    )  # fmt: skip
    store.put_code(code)
    assert store.code("c") == code
    assert (store.delete_code("c"), store.delete_code("c")) == (True, False)
    store.put_code(code)
    store.purge(sessions_ended_before=0, codes_expired_before=10)
    assert store.code("c") is None


def test_key_sets_never_mix(store: Store) -> None:
    """the provider keeps the two key sets apart, oldest key first."""
    keys = [
        KeyRecord(kid=kid, purpose=purpose, private_pem="p", certificate="c", signs_from=moment)
        for kid, purpose, moment in (
            ("b", KeyPurpose.ID_TOKEN, 2),
            ("a", KeyPurpose.ID_TOKEN, 1),
            ("c", KeyPurpose.SESSION_COOKIE, 1),
        )
    ]
    for key in keys:
        store.put_key(key)
    assert [key.kid for key in store.keys(KeyPurpose.ID_TOKEN)] == ["a", "b"]
    assert store.keys(KeyPurpose.SESSION_COOKIE) == [keys[2]]
    store.delete_key("a")
    assert [key.kid for key in store.keys(KeyPurpose.ID_TOKEN)] == ["b"]


def test_new_file_is_private(tmp_path: Path) -> None:
    """the provider creates its file for its owner only, with its mark and version in the header."""
    path = tmp_path / "idp.sqlite"
    before = os.umask(0)
    try:
        Store.open(path, PROJECT).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()
    Store.open(path, PROJECT).close()


def test_every_column_is_explained() -> None:
    """the provider's schema has a comment for every column."""
    schema = Path(__file__).parents[2].joinpath("gateway", "idp", "schema.sql").read_text("utf-8")
    columns = [line for line in schema.splitlines() if line.startswith("    ") and line.strip()[0].islower()]
    assert len(columns) > 40
    assert [line for line in columns if "--" not in line] == []


def foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.execute("INSERT INTO theirs VALUES ('precious')")
    connection.commit()
    connection.close()


def other_project(path: Path) -> None:
    Store.open(path, "demo-other").close()


def newer_version(path: Path) -> None:
    Store.open(path, PROJECT).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()


def damaged(path: Path) -> None:
    Store.open(path, PROJECT).close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text("not a database, but a long enough letter to somebody " * 40), "not a readable"),
        (foreign_database, "belongs to another program"),
        (other_project, "demo-other"),
        (newer_version, "newer release"),
        (damaged, "damaged|not a readable|cannot be used"),
        (lambda path: path.mkdir(), "cannot be opened|cannot be used"),
    ],
)
def test_file_that_is_not_ours_is_left_alone(tmp_path: Path, make: object, words: str) -> None:
    """the provider refuses a file that it cannot use with a clear message, and changes nothing in it."""
    path = tmp_path / "file"
    make(path)  # type: ignore[operator]  # a function of the table
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigError, match=words) as caught:
        Store.open(path, PROJECT)
    assert caught.value.where == str(path)
    assert caught.value.hint
    assert (path.read_bytes() if path.is_file() else None) == before
    assert not list(tmp_path.glob("file-*"))


def test_missing_directory_is_a_clear_message(tmp_path: Path) -> None:
    """the provider says which path it cannot create."""
    with pytest.raises(ConfigError, match="cannot be opened: No such file or directory"):
        Store.open(tmp_path / "none" / "idp.sqlite", PROJECT)


async def test_all_calls_run_on_one_thread() -> None:
    """the provider touches its database from one thread."""
    db = StoreThread()
    with pytest.raises(RuntimeError, match="not open"):
        await db.run(int)
    await db.open(None, PROJECT)
    names = {await db.run(lambda: threading.current_thread().name) for _ in range(5)}
    assert len(names) == 1
    await db.close()
