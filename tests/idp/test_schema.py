"""Databases of earlier versions: the provider opens them, keeps what is in them and writes the present form."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.idp.records import Account, CodeKind, Factor, KeyPurpose
from gateway.idp.schema import APPLICATION_ID, SCHEMA_VERSION
from gateway.idp.store import Store

VERSION_1 = Path(__file__).with_name("schema-1.sql").read_text("utf-8")
"""The tables of version 1, as they were."""

ROWS = """
INSERT INTO meta VALUES ('project_id', 'demo-idp');
INSERT INTO accounts (uid, email, phone_number, valid_since, created_at_ms, custom_attributes)
  VALUES ('u1', 'ada@example.com', '+15550100', 5, 5000, '{"a":1}');
INSERT INTO links VALUES ('u1', 'google.com', 'g-1', 'ada@gmail.test', NULL, NULL);
INSERT INTO sessions VALUES ('h1', 'u1', 'password', 6, '{"signInIpAddress":"203.0.113.9"}', 6, 6, NULL);
INSERT INTO codes VALUES ('c1', 'VERIFY_EMAIL', 'u1', 'ada@example.com', NULL, NULL, 99);
INSERT INTO signing_keys VALUES ('local-1', 'id_token', 'pem', 'certificate', 1);
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database as version 1 left it."""
    path = tmp_path / "old.sqlite3"
    connection = sqlite3.connect(path)
    connection.executescript(f"{VERSION_1} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1; {ROWS}")
    connection.close()
    return path


def test_everything_of_an_older_file_is_kept(old: Path) -> None:
    """the provider finds accounts, identities, sessions, codes and keys of a database that version 1 wrote."""
    store = Store.open(old, "demo-idp")
    account = store.account("u1")
    assert account is not None
    assert (account.email, account.phone_number, account.custom_attributes) == (
        "ada@example.com",
        "+15550100",
        '{"a":1}',
    )
    assert account.tenant is None
    assert account.factors == ()
    assert store.account_by_link("google.com", "g-1") == account
    session = store.session("h1")
    assert session is not None
    assert session.session_claims == {"signInIpAddress": "203.0.113.9"}
    code = store.code("c1")
    assert code is not None
    assert code.kind is CodeKind.VERIFY_EMAIL
    assert [key.kid for key in store.keys(KeyPurpose.ID_TOKEN)] == ["local-1"]
    store.close()


def test_an_older_file_becomes_a_present_one(old: Path) -> None:
    """the provider brings an older database up once, with the references between its tables in force."""
    store = Store.open(old, "demo-idp")
    tenant = store.of("acme")
    account = store.account("u1")
    assert account is not None
    with store.transaction():
        tenant.put_account(account)
    store.delete_account("u1")
    assert store.account_by_link("google.com", "g-1") is None
    assert tenant.account("u1") is not None
    store.close()
    connection = sqlite3.connect(old)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    Store.open(old, "demo-idp").close()


def test_an_older_file_of_another_project_is_left_alone(old: Path) -> None:
    """the provider changes nothing in an older database that is not this project's."""
    before = old.read_bytes()
    with pytest.raises(ConfigError, match="'demo-idp'"):
        Store.open(old, "demo-other")
    assert old.read_bytes() == before


def test_tenants_are_name_spaces(tmp_path: Path) -> None:
    """the provider keeps the same address in two tenants apart, with second factors, sessions and codes."""
    store = Store.open(tmp_path / "new.sqlite3", "demo-idp")
    acme, other = store.of("acme"), store.of("other")
    with store.transaction():
        store.put_tenant("acme", {"displayName": "Acme"}, 7)
        store.put_tenant("acme", {"displayName": "Acme & Co"}, 8)
    assert store.tenants() == {"acme": {"displayName": "Acme & Co"}}
    factor = Factor(factor_id="f1", enrolled_at_ms=1, phone_number="+15550111", display_name="mine")
    ada = _account("u1")
    with store.transaction():
        for space in (store, acme, other):
            space.put_account(ada)
        acme.put_account(_account("u1", factor))
    found = acme.account_by_email("ada@example.com")
    assert found is not None
    assert (found.tenant, found.factors) == ("acme", (factor,))
    assert factor.kind == "phone"
    assert [account.tenant for account in other.accounts()] == ["other"]
    store.delete_tenant("acme")
    assert acme.account("u1") is None
    assert store.tenants() == {}
    assert store.account("u1") is not None
    store.close()


def _account(uid: str, *factors: Factor) -> Account:
    return Account(uid=uid, created_at_ms=1, valid_since=1, email="ada@example.com", factors=factors)
