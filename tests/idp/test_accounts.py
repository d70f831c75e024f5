from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.idp.accounts import Accounts, Changes, check_phone, check_uid, normal_email
from gateway.idp.errors import WireError
from gateway.idp.records import CodeKind, CodeRecord, Link
from gateway.idp.store import Store
from tests.support.clock import NOW, FakeClock


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open(None, "demo-accounts")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def accounts(store: Store, clock: FakeClock) -> Accounts:
    return Accounts(store, clock)


def test_candidate_is_not_stored(accounts: Accounts) -> None:
    """the provider prepares an account with a random id and this moment, and stores it only when told."""
    first, second = accounts.candidate(password_hash="h"), accounts.candidate()
    assert len(first.uid) == 28
    assert first.uid.isalnum()
    assert first.uid != second.uid
    assert (first.valid_since, first.created_at_ms, first.password_updated_at_ms) == (NOW, NOW * 1000, NOW * 1000)
    assert accounts.find(uid=first.uid) is None


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        (Changes(email="new@b"), True),
        (Changes(email="a@b"), False),
        (Changes(email=None), True),
        (Changes(password_hash="other"), True),
        (Changes(password_hash="h"), False),
        (Changes(password_hash=None), True),
        (Changes(unlink=["password"]), True),
        (Changes(unlink=["google.com"]), False),
        (Changes(display_name="x"), False),
        (Changes(email_verified=True), False),
        (Changes(disabled=True), False),
        (Changes(custom_attributes='{"a":1}'), False),
    ],
)
def test_what_moves_valid_since(accounts: Accounts, clock: FakeClock, changes: Changes, moved: bool) -> None:
    """the provider moves valid-since to now for a new address or password and for nothing else."""
    account = accounts.insert(accounts.candidate(email="a@b", password_hash="h"))
    clock.advance(100)
    changed = accounts.change(account, changes)
    assert changed.account.valid_since == NOW + 100 * moved
    assert changed.ended is moved
    assert accounts.get(account.uid) == changed.account


def test_first_address_moves_nothing(accounts: Accounts, clock: FakeClock) -> None:
    """the provider ends no session because an account got its first address."""
    account = accounts.insert(accounts.candidate())
    clock.advance(100)
    changed = accounts.change(account, Changes(email="a@b"))
    assert (changed.account.valid_since, changed.previous_email) == (NOW, None)
    assert changed.account.initial_email is None


def test_explicit_moment_wins(accounts: Accounts, clock: FakeClock) -> None:
    """the provider takes an administrator's valid-since as it is, also beside a new password."""
    account = accounts.insert(accounts.candidate(password_hash="h"))
    changed = accounts.change(account, Changes(password_hash="other", valid_since=42))
    assert changed.account.valid_since == 42


def test_first_address_is_remembered(accounts: Accounts) -> None:
    """the provider remembers the very first address through several changes."""
    account = accounts.insert(accounts.candidate(email="a@b", email_verified=True))
    changed = accounts.change(account, Changes(email="b@b"))
    assert (changed.previous_email, changed.account.email_verified) == ("a@b", False)
    changed = accounts.change(changed.account, Changes(email="c@b"))
    assert (changed.previous_email, changed.account.initial_email) == ("b@b", "a@b")


def test_links_are_replaced_and_removed(accounts: Accounts) -> None:
    """the provider keeps one identity for each federated provider."""
    account = accounts.insert(accounts.candidate())
    for raw_id in ("1", "2"):
        account = accounts.change(account, Changes(link=Link(provider_id="oidc.x", raw_id=raw_id))).account
    assert [link.raw_id for link in account.links] == ["2"]
    assert not account.anonymous
    assert accounts.find(link=("oidc.x", "1")) is None
    account = accounts.change(account, Changes(unlink=["oidc.x", "phone"])).account
    assert account.anonymous


def test_new_password_voids_reset_codes_only(accounts: Accounts, store: Store) -> None:
    """the provider voids reset codes when the password changes, and verification codes when the address does."""
    account = accounts.insert(accounts.candidate(email="a@b", password_hash="h"))
    for kind in (CodeKind.PASSWORD_RESET, CodeKind.VERIFY_EMAIL):
        store.put_code(CodeRecord(code_hash=kind, kind=kind, uid=account.uid, email="a@b", expires_at=9))
    account = accounts.change(account, Changes(password_hash="other")).account
    assert store.code(CodeKind.PASSWORD_RESET) is None
    assert store.code(CodeKind.VERIFY_EMAIL) is not None
    accounts.change(account, Changes(email="b@b"))
    assert store.code(CodeKind.VERIFY_EMAIL) is None


def test_identifiers_are_unique(accounts: Accounts) -> None:
    """the provider gives an address, number or identity to one account only, by insertion and by change."""
    accounts.insert(
        accounts.candidate(uid="a", email="a@b", phone_number="+1", links=(Link(provider_id="x", raw_id="1"),))
    )
    other = accounts.insert(accounts.candidate(uid="b"))
    link = Link(provider_id="x", raw_id="1")
    for changes, name in (
        (Changes(email="a@b"), "EMAIL_EXISTS"),
        (Changes(phone_number="+1"), "PHONE_NUMBER_EXISTS"),
        (Changes(link=link), "FEDERATED_USER_ID_ALREADY_LINKED"),
    ):
        with pytest.raises(WireError, match=name):
            accounts.change(other, changes)
    with pytest.raises(WireError, match="DUPLICATE_LOCAL_ID"):
        accounts.insert(accounts.candidate(uid="b"))
    with pytest.raises(WireError, match="USER_NOT_FOUND"):
        accounts.delete("nobody")


@pytest.mark.parametrize(
    ("email", "normal"),
    [("Ada@Example.COM", "ada@example.com"), ("a@b", "a@b"), ("", None), ("a", None), ("@b", None), ("a@", None),
     ("a@b@c", None), ("a b@c", None), ("a@b\n", None), ("a@" + "b" * 255, None), ("ä@b", "ä@b")],
)  # fmt: skip
def test_addresses(email: str, normal: str | None) -> None:
    """the provider stores addresses in lower case and wants one @ with something on both sides."""
    if normal is not None:
        assert normal_email(email) == normal
    else:
        with pytest.raises(WireError, match="INVALID_EMAIL"):
            normal_email(email)


@pytest.mark.parametrize(
    ("number", "normal"),
    [
        ("+15550100", "+15550100"),
        ("+1 (555) 01-00", "+15550100"),
        ("15550100", None),
        ("+", None),
        ("+---", None),
        ("+ (1) 2", None),
        ("+112", "+112"),
        ("+1x5550100", None),
    ],
)
def test_phone_numbers(number: str, normal: str | None) -> None:
    """the provider stores phone numbers without separators and wants the plus sign."""
    if normal is not None:
        assert check_phone(number) == normal
    else:
        with pytest.raises(WireError, match="INVALID_PHONE_NUMBER : Invalid format"):
            check_phone(number)


@pytest.mark.parametrize("uid", ["", "x" * 129, "a\nb", "\x00"])
def test_bad_uids(uid: str) -> None:
    """the provider refuses ids that are empty, too long or not printable."""
    with pytest.raises(WireError, match="INVALID_LOCAL_ID"):
        check_uid(uid)
