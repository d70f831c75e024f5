"""The last steps of every sign-in: functions, the account's record, a second factor, tokens.

The order is that of blocking-functions.md section 3.2. Somebody new: beforeCreate, store, beforeSignIn, store, tokens.
Somebody known: second factor if they have one, beforeSignIn, store, tokens. The rules this file obeys: **nothing is
stored of an account that beforeCreate refused**, **no tokens before every function agreed**, and, because other calls
may run between the steps, **the last step reads the account afresh and compares**.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.idp.accounts import Changes
from gateway.idp.answers import Overlay
from gateway.idp.claims import check_combined
from gateway.idp.errors import WireError
from gateway.idp.events import Circumstances
from gateway.idp.hooks import check_recaptcha, doubtful
from gateway.idp.realm import HalfDone, Realm
from gateway.idp.records import Account, Factor
from gateway.idp.sessions import Tokens
from gateway.idp.wire import mfa_info, token_fields


def _no_check(_account: Account) -> None:
    """Nothing to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Somebody proved who they are.

    ``pending`` is what this operation changes whatever functions say: the address that a link verified, an identity
    that is linked. ``check`` runs in the transaction that issues tokens, on the account as it is then, and raises to
    stop it; codes are consumed there. ``provider`` is ``firebase.sign_in_provider`` of the tokens.
    """

    account: Account
    circumstances: Circumstances
    provider: str
    new: bool = False
    pending: Changes = field(default_factory=Changes)
    check: Callable[[Account], None] = _no_check
    factor: Factor | None = None
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """How it ended: with tokens, or with the question for a second factor."""

    account: Account
    tokens: Tokens | None = None
    pending_credential: str | None = None

    def fields(self) -> dict[str, Any]:
        """The part of the reply that tells it."""
        if self.tokens is not None:
            return token_fields(self.tokens)
        return {
            "mfaPendingCredential": self.pending_credential,
            "mfaInfo": [mfa_info(factor, masked=True) for factor in self.account.factors],
        }


async def admit(realm: Realm, proof: Proof) -> Admitted:
    """Take somebody who proved who they are to tokens.

    :raises WireError: a function refused, the account is disabled, or it changed meanwhile.
    """
    account, override, stored = proof.account, None, not proof.new
    if proof.new:
        account, override, stored = await _create(realm, proof)
    elif account.disabled:
        raise WireError("USER_DISABLED")
    elif account.factors and proof.factor is None and realm.config.second_factors:
        return await _ask_for_factor(realm, proof)
    proposed = realm.accounts.preview(account, proof.pending)
    overlay = await realm.hooks.before_sign_in(proposed, proof.circumstances)
    check_recaptcha(proof.circumstances, overlay.recaptcha or override)

    def commit() -> tuple[Account, Tokens | None]:
        current = realm.accounts.get(account.uid) if stored else realm.accounts.insert(account)
        if current.disabled:
            raise WireError("USER_DISABLED")
        proof.check(current)
        return _store_sign_in(realm, current, overlay, proof)

    account, tokens = await realm.db.run(commit)
    if tokens is None:
        raise WireError("USER_DISABLED")
    return Admitted(account=account, tokens=tokens)


async def _create(realm: Realm, proof: Proof) -> tuple[Account, str | None, bool]:
    """Ask beforeCreate and store, unless that has to wait; the second value is its word on reCAPTCHA.

    :raises WireError: refused, somebody was faster, or the function disabled the account, which then is stored.
    """
    if not realm.config.sign_up:
        raise WireError("ADMIN_ONLY_OPERATION")
    overlay = await realm.hooks.before_create(proof.account, proof.circumstances)
    account = replace(proof.account, **overlay.changes)
    if overlay.recaptcha == "BLOCK":
        check_recaptcha(proof.circumstances, overlay.recaptcha)
    waits = realm.hooks.registry.settings.commit_new_user == "after_before_sign_in"
    if not account.disabled and (waits or doubtful(proof.circumstances, overlay.recaptcha)):
        return account, overlay.recaptcha, False
    account = await realm.db.run(realm.accounts.insert, account)
    if account.disabled:
        raise WireError("USER_DISABLED")
    return account, overlay.recaptcha, True


async def _ask_for_factor(realm: Realm, proof: Proof) -> Admitted:
    """Store what the first factor changes and ask for the second; no function is asked yet (section 3.2)."""

    def commit() -> Account:
        current = realm.accounts.get(proof.account.uid)
        if current.disabled:
            raise WireError("USER_DISABLED")
        proof.check(current)
        return realm.accounts.change(current, proof.pending).account

    account = await realm.db.run(commit)
    half_done = HalfDone(
        uid=account.uid,
        # Credentials of another provider are not told twice (section 3.2).
        circumstances=replace(proof.circumstances, foreign=None),
        provider=proof.provider,
        attributes=proof.attributes,
        password_hash=account.password_hash,
        valid_since=account.valid_since,
    )
    return Admitted(account=account, pending_credential=realm.half_done.put(half_done))


def _store_sign_in(realm: Realm, current: Account, overlay: Overlay, proof: Proof) -> tuple[Account, Tokens | None]:
    changes = Changes(**{**proof.pending, **overlay.changes})  # type: ignore[typeddict-item]  # keys of Changes, both
    account = realm.accounts.change(current, changes).account
    if account.disabled:
        return account, None
    session_claims = overlay.session_claims or {}
    check_combined(account, session_claims)
    account = realm.accounts.signed_in(account)
    return account, realm.sessions.start(
        account,
        sign_in_provider=proof.provider,
        session_claims=session_claims,
        factor=proof.factor,
        attributes=proof.attributes,
    )
