"""Accounts: create, change, sign in, delete. Pure rules over the repository; what a change ends is decided here.

The rules this file obeys (identity-toolkit.md sections 3, 6.5 and 12): **a new password or address moves valid-since to
now and so ends every earlier session; disabling and deleting end them too.** One address, one phone number and one
federated identity belong to one account.

Synchronous; lives on the store's thread.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypedDict

from gateway.core.ports import Clock
from gateway.idp.errors import WireError
from gateway.idp.records import PASSWORD, PHONE, Account, CodeKind, Factor, Link
from gateway.idp.store import Store

UID_LENGTH: Final = 28
"""Characters of a generated uid, as Firebase's."""

MAX_UID_LENGTH: Final = 128
"""Characters of a chosen uid (identity-toolkit.md section 3)."""

MAX_EMAIL_LENGTH: Final = 256
"""Characters; RFC 5321 section 4.5.3.1.3 gives a path 256 octets."""

MIN_PHONE_DIGITS: Final = 3
"""Digits; the shortest numbers in use have more (ITU-T E.164 sets no minimum), and separators alone are none."""

_UID_ALPHABET: Final = string.ascii_letters + string.digits
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
_PHONE: Final = re.compile(r"\+[0-9 ().-]{3,30}")


class Changes(TypedDict, total=False):
    """What a change may set. An absent key leaves the field alone, None clears it; times as in :class:`Account`."""

    email: str | None
    email_verified: bool
    password_hash: str | None
    display_name: str | None
    photo_url: str | None
    phone_number: str | None
    disabled: bool
    custom_attributes: str | None
    valid_since: int
    created_at_ms: int
    last_login_at_ms: int
    email_link_sign_in: bool
    link: Link
    unlink: Sequence[str]
    factors: tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """The account after a change; ``previous_email`` when the address became another; ``ended`` when sessions ended."""

    account: Account
    previous_email: str | None = None
    ended: bool = False


class Accounts:
    """Rules over the store."""

    def __init__(self, store: Store, clock: Clock, tenant: str | None = None) -> None:
        self._tenant = tenant
        self._store = store
        self._clock = clock

    # ---- finding -------------------------------------------------------------------------------------------------

    def get(self, uid: str) -> Account:
        """The account of that id.

        :raises WireError: ``USER_NOT_FOUND``.
        """
        account = self._store.account(uid)
        if account is None:
            raise WireError("USER_NOT_FOUND")
        return account

    def find(
        self,
        *,
        uid: str | None = None,
        email: str | None = None,
        phone_number: str | None = None,
        link: tuple[str, str] | None = None,
    ) -> Account | None:
        """The account that the one given identifier names; a ``link`` is provider id and raw id."""
        if uid is not None:
            return self._store.account(uid)
        if email is not None:
            return self._store.account_by_email(email)
        if phone_number is not None:
            return self._store.account_by_phone(phone_number)
        return None if link is None else self._store.account_by_link(*link)

    def page(self, *, after: str = "", limit: int = -1) -> list[Account]:
        """Accounts in the order of their ids, those behind ``after``; all of them unless ``limit`` says how many."""
        return self._store.accounts(after=after, limit=limit)

    def put(self, account: Account) -> None:
        """Store an imported account as it is, new or in place of the one of that id.

        :raises WireError: as :meth:`insert`.
        """
        self._put(account)

    def by_email(self, email: str) -> Account | None:
        """The account of a normalised address."""
        return self._store.account_by_email(email)

    def require_free_email(self, email: str, *, owner: str | None = None) -> None:
        """Refuse an address that belongs to somebody other than ``owner``.

        :raises WireError: ``EMAIL_EXISTS``.
        """
        holder = self._store.account_by_email(email)
        if holder is not None and holder.uid != owner:
            raise WireError("EMAIL_EXISTS")

    # ---- creating ------------------------------------------------------------------------------------------------

    def candidate(self, *, uid: str | None = None, **values: Any) -> Account:
        """A new account as it would be stored, not stored yet; ``values`` are fields of :class:`Account`."""
        now = self._clock.now()
        account = Account(
            uid=uid or "".join(secrets.choice(_UID_ALPHABET) for _ in range(UID_LENGTH)),
            created_at_ms=int(now * 1_000),
            valid_since=int(now),
            tenant=self._tenant,
        )
        account = replace(account, **values)
        if account.password_hash is not None:
            account = replace(account, password_updated_at_ms=account.created_at_ms)
        return account

    def insert(self, account: Account) -> Account:
        """Store a new account.

        :raises WireError: ``DUPLICATE_LOCAL_ID``, ``EMAIL_EXISTS``, ``PHONE_NUMBER_EXISTS`` or
            ``FEDERATED_USER_ID_ALREADY_LINKED``.
        """
        if self._store.account(account.uid) is not None:
            raise WireError("DUPLICATE_LOCAL_ID")
        # Sessions of a deleted account that had the same, caller-chosen id must not come back to life.
        self._store.end_sessions(account.uid, int(self._clock.now()))
        self._put(account)
        return account

    # ---- changing ------------------------------------------------------------------------------------------------

    def signed_in(self, account: Account, **values: Any) -> Account:
        """Note a sign-in, together with what it changed."""
        account = replace(account, last_login_at_ms=int(self._clock.now() * 1_000), **values)
        self._put(account)
        return account

    def preview(self, account: Account, changes: Changes) -> Account:
        """The account as ``changes`` would leave it, as far as a function is told; nothing is stored."""
        values: dict[str, Any] = {k: v for k, v in changes.items() if k not in {"link", "unlink"}}
        return replace(account, **values, **_unlinked(account, changes))

    def change(self, account: Account, changes: Changes) -> Changed:
        """Apply ``changes`` with everything that follows from them.

        :raises WireError: as :meth:`insert`, without ``DUPLICATE_LOCAL_ID``.
        """
        now = self._clock.now()
        values: dict[str, Any] = {k: v for k, v in changes.items() if k not in {"link", "unlink"}}
        values = {**values, **_unlinked(account, changes)}
        new_email = "email" in values and values["email"] != account.email
        if new_email:
            values.setdefault("email_verified", False)
            values["initial_email"] = account.initial_email or account.email
            self._store.delete_codes(account.uid, (CodeKind.VERIFY_EMAIL, CodeKind.VERIFY_AND_CHANGE_EMAIL))
        new_password = "password_hash" in values and values["password_hash"] != account.password_hash
        if new_password:
            values["password_updated_at_ms"] = int(now * 1_000) if values["password_hash"] else None
            self._store.delete_codes(account.uid, (CodeKind.PASSWORD_RESET,))
        if (new_email and account.email is not None) or new_password:
            values.setdefault("valid_since", int(now))

        after = replace(account, **values)
        ended = after.valid_since > account.valid_since or "valid_since" in values
        if ended:
            # Up to and including that second: a session of the same second cannot be told apart by its tokens, but
            # its refresh token can.
            self._store.end_sessions(account.uid, int(now), until=after.valid_since)
        if after.disabled and not account.disabled:
            self._store.end_sessions(account.uid, int(now))
        self._put(after)
        return Changed(after, account.email if new_email else None, ended)

    def delete(self, uid: str) -> None:
        """Delete the account and end its sessions.

        :raises WireError: ``USER_NOT_FOUND``.
        """
        self.get(uid)
        self._store.end_sessions(uid, int(self._clock.now()))
        self._store.delete_account(uid)

    def _put(self, account: Account) -> None:
        for holder, name in (
            (account.email and self._store.account_by_email(account.email), "EMAIL_EXISTS"),
            (account.phone_number and self._store.account_by_phone(account.phone_number), "PHONE_NUMBER_EXISTS"),
        ):
            if holder and holder.uid != account.uid:
                raise WireError(name)
        try:
            self._store.put_account(account)
        except sqlite3.IntegrityError:
            raise WireError("FEDERATED_USER_ID_ALREADY_LINKED") from None


def _unlinked(account: Account, changes: Changes) -> dict[str, Any]:
    """Values of the fields that ``link`` and ``unlink`` come down to."""
    values: dict[str, Any] = {}
    links = {link.provider_id: link for link in account.links}
    for provider_id in changes.get("unlink", ()):
        if provider_id == PASSWORD:
            values |= {"email": None, "password_hash": None, "email_link_sign_in": False, "email_verified": False}
        elif provider_id == PHONE:
            values["phone_number"] = None
        else:
            links.pop(provider_id, None)
    if "link" in changes:
        links[changes["link"].provider_id] = changes["link"]
    return {**values, "links": tuple(links.values())}


def normal_email(email: str) -> str:
    """An address in the form in which it is stored and compared.

    :raises WireError: ``INVALID_EMAIL``.
    """
    if len(email) > MAX_EMAIL_LENGTH or _EMAIL.fullmatch(email) is None:
        raise WireError("INVALID_EMAIL")
    return email.lower()


def check_phone(phone_number: str) -> str:
    """A phone number that starts with ``+``, without the usual separators.

    :raises WireError: ``INVALID_PHONE_NUMBER : Invalid format.``.
    """
    digits = "".join(c for c in phone_number if c.isdecimal())
    if _PHONE.fullmatch(phone_number) is None or len(digits) < MIN_PHONE_DIGITS:
        raise WireError("INVALID_PHONE_NUMBER : Invalid format.")
    return "+" + digits


def check_uid(uid: str) -> str:
    """A caller-chosen uid.

    :raises WireError: ``INVALID_LOCAL_ID``.
    """
    if not 1 <= len(uid) <= MAX_UID_LENGTH or not uid.isprintable():
        raise WireError("INVALID_LOCAL_ID : Must be 1 to 128 printable characters")
    return uid
