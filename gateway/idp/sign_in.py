"""Methods that end in tokens: sign-up, password, e-mail link, custom token, refresh (identity-toolkit.md section 6).

Each method here finds out who somebody is; :mod:`gateway.idp.admission` takes it from there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.idp.accounts import Changes, normal_email
from gateway.idp.admission import Admitted, Proof, admit
from gateway.idp.claims import check_combined
from gateway.idp.custom_tokens import read_custom_token
from gateway.idp.errors import WireError
from gateway.idp.passwords import check_strength
from gateway.idp.realm import Call, Realm
from gateway.idp.records import ANONYMOUS, CUSTOM, PASSWORD, Account, CodeKind, CodeRecord
from gateway.idp.sessions import Presented, Tokens
from gateway.idp.signing_keys import ID_TOKEN_LIFETIME
from gateway.idp.wire import compact, token_fields

EMAIL_LINK = "emailLink"
"""``sign_in_method`` of an e-mail link; the tokens say ``password``."""


async def sign_up(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:signUp`` by a client (section 6.1): a new account, an anonymous one, or a password for an old one.

    :raises WireError: as the section lists.
    """
    fields = call.fields
    if "localId" in fields:
        raise WireError("UNEXPECTED_PARAMETER : User ID")
    id_token, email, password = fields.text("idToken"), fields.text("email"), fields.text("password")
    if not (id_token or email or password):
        return await _sign_up_anonymously(realm)
    if not realm.config.password_sign_in:
        raise WireError("OPERATION_NOT_ALLOWED")
    if not (id_token or realm.config.sign_up):
        raise WireError("ADMIN_ONLY_OPERATION")
    if not email:
        raise WireError("MISSING_EMAIL")
    if not password:
        raise WireError("MISSING_PASSWORD")
    email = normal_email(email)
    if id_token:
        account, tokens = await _add_password(realm, call, id_token, email, password)
        admitted = Admitted(account=account, tokens=tokens)
    else:
        admitted = await _create_with_password(realm, call, email, password)
    account = admitted.account
    return compact(
        {
            "kind": "identitytoolkit#SignupNewUserResponse",
            "localId": account.uid,
            "email": account.email,
            "displayName": account.display_name,
            **admitted.fields(),
        }
    )


async def sign_in_with_password(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:signInWithPassword`` (section 6.2).

    :raises WireError: as the section lists, in its order.
    """
    if not realm.config.password_sign_in:
        raise WireError("PASSWORD_LOGIN_DISABLED")
    email = normal_email(call.require("email", "MISSING_EMAIL"))
    password = call.require("password", "MISSING_PASSWORD")
    protected = realm.config.email_enumeration_protection
    realm.throttle.attempt(email, call.address)
    account = await realm.db.run(realm.accounts.by_email, email)
    if account is None and not protected:
        raise WireError("EMAIL_NOT_FOUND")
    if account is not None and account.disabled and not protected:
        raise WireError("USER_DISABLED")
    verdict = await realm.passwords.verify(account.password_hash if account else None, password)
    if account is None or not verdict.right:
        raise WireError("INVALID_LOGIN_CREDENTIALS" if protected else "INVALID_PASSWORD")
    realm.throttle.success(email, call.address)
    # With protection on, only who knows the password learns that the account is disabled.
    if account.disabled:
        raise WireError("USER_DISABLED")
    known_hash = account.password_hash

    def check(current: Account) -> None:
        if current.password_hash != known_hash:
            raise WireError("INVALID_LOGIN_CREDENTIALS")

    proof = Proof(account=account, circumstances=call.circumstances(PASSWORD), provider=PASSWORD, check=check)
    admitted = await admit(realm, proof)
    if verdict.replacement is not None:
        await realm.db.run(_rehash, realm, account.uid, known_hash, verdict.replacement)
    account = admitted.account
    return compact(
        {
            "kind": "identitytoolkit#VerifyPasswordResponse",
            "localId": account.uid,
            "email": account.email,
            "displayName": account.display_name or "",
            "registered": True,
            "tenantId": account.tenant,
            **admitted.fields(),
        }
    )


async def sign_in_with_email_link(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:signInWithEmailLink`` (section 6.9).

    :raises WireError: as the section lists.
    """
    if not realm.config.email_link_sign_in:
        raise WireError("OPERATION_NOT_ALLOWED")
    email = normal_email(call.require("email", "MISSING_EMAIL"))
    code = call.require("oobCode", "MISSING_OOB_CODE")
    record = await realm.db.run(realm.codes.inspect, code, CodeKind.EMAIL_SIGNIN)
    if record.email != email:
        raise WireError("INVALID_EMAIL : The email provided does not match the sign-in email address.")
    new = False
    if id_token := call.fields.text("idToken"):
        account, tokens = await _link_email(realm, id_token, record)
        admitted = Admitted(account=account, tokens=tokens)
    else:
        found = await realm.db.run(realm.accounts.by_email, email)
        new = found is None
        verified = Changes(email_verified=True, email_link_sign_in=True)

        def check(current: Account) -> None:
            if current.email != record.email:
                raise WireError("INVALID_OOB_CODE")
            realm.codes.consume(record)

        admitted = await admit(
            realm,
            Proof(
                account=found or realm.accounts.candidate(email=email, **verified),
                circumstances=call.circumstances(EMAIL_LINK),
                provider=PASSWORD,
                new=new,
                pending=verified,
                check=check,
            ),
        )
    return compact(
        {
            "kind": "identitytoolkit#EmailLinkSigninResponse",
            "email": email,
            "localId": admitted.account.uid,
            "isNewUser": new,
            "tenantId": admitted.account.tenant,
            **admitted.fields(),
        }
    )


async def sign_in_with_custom_token(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:signInWithCustomToken`` (section 6.3). Fires no function.

    :raises WireError: as the section lists.
    """
    token = read_custom_token(
        call.require("token", "MISSING_CUSTOM_TOKEN"),
        now=realm.clock.now(),
        believed=call.unsigned_allowed,
        tenant=realm.tenant,
    )

    def commit() -> tuple[bool, Tokens]:
        try:
            account, new = realm.accounts.get(token.uid), False
        except WireError:
            account, new = realm.accounts.insert(realm.accounts.candidate(uid=token.uid, custom_auth=True)), True
        if account.disabled:
            raise WireError("USER_DISABLED")
        check_combined(account, token.claims)
        account = realm.accounts.signed_in(account, custom_auth=True)
        return new, realm.sessions.start(account, sign_in_provider=CUSTOM, session_claims=token.claims)

    new, tokens = await realm.db.run(commit)
    return {"kind": "identitytoolkit#VerifyCustomTokenResponse", "isNewUser": new, **token_fields(tokens)}


async def refresh(realm: Realm, call: Call) -> dict[str, Any]:
    """``token`` at the secure token service (section 6.12).

    :raises WireError: as the section lists.
    """
    if call.require("grantType", "MISSING_GRANT_TYPE") != "refresh_token":
        raise WireError("INVALID_GRANT_TYPE")
    tokens, account = await realm.db.run(realm.sessions.refresh, call.require("refreshToken", "MISSING_REFRESH_TOKEN"))
    return {
        "access_token": tokens.id_token,
        "expires_in": str(ID_TOKEN_LIFETIME),
        "token_type": "Bearer",
        "refresh_token": tokens.refresh_token,
        "id_token": tokens.id_token,
        "user_id": account.uid,
        "project_id": realm.project_number,
    }


async def _sign_up_anonymously(realm: Realm) -> dict[str, Any]:
    if not realm.config.anonymous_sign_in:
        raise WireError("ADMIN_ONLY_OPERATION")

    def commit() -> tuple[Account, Tokens]:
        account = realm.accounts.signed_in(realm.accounts.insert(realm.accounts.candidate()))
        return account, realm.sessions.start(account, sign_in_provider=ANONYMOUS)

    account, tokens = await realm.db.run(commit)
    return {"kind": "identitytoolkit#SignupNewUserResponse", "localId": account.uid, **token_fields(tokens)}


async def _create_with_password(realm: Realm, call: Call, email: str, password: str) -> Admitted:
    await realm.db.run(realm.accounts.require_free_email, email)
    check_strength(password)
    candidate = realm.accounts.candidate(
        email=email,
        password_hash=await realm.passwords.hash(password),
        display_name=call.fields.text("displayName") or None,
        photo_url=call.fields.text("photoUrl") or None,
    )
    known_hash = candidate.password_hash

    def check(current: Account) -> None:
        if current.password_hash != known_hash:
            raise WireError("INVALID_LOGIN_CREDENTIALS")

    proof = Proof(
        account=candidate, circumstances=call.circumstances(PASSWORD), provider=PASSWORD, new=True, check=check
    )
    return await admit(realm, proof)


async def _add_password(realm: Realm, call: Call, id_token: str, email: str, password: str) -> tuple[Account, Tokens]:
    """Give an account that is signed in an address and a password. No function fires for this way of linking.

    :raises WireError: ``CREDENTIAL_TOO_OLD_LOGIN_AGAIN`` where it takes the place of another one.
    """

    def present() -> Presented:
        now_presented = realm.sessions.present(id_token)
        _require_recent_for(realm, now_presented, email, password=True)
        return now_presented

    presented = await realm.db.run(present)
    await realm.db.run(realm.accounts.require_free_email, email, owner=presented.account.uid)
    check_strength(password)
    changes = Changes(email=email, password_hash=await realm.passwords.hash(password))
    if display_name := call.fields.text("displayName"):
        changes["display_name"] = display_name

    def commit() -> tuple[Account, Tokens]:
        now_presented = present()
        account = realm.accounts.signed_in(realm.accounts.change(now_presented.account, changes).account)
        return account, realm.sessions.renew(now_presented, account, provider=PASSWORD)

    return await realm.db.run(commit)


async def _link_email(realm: Realm, id_token: str, record: CodeRecord) -> tuple[Account, Tokens]:
    """Give an account that is signed in the address that a sign-in link was sent to."""

    def commit() -> tuple[Account, Tokens]:
        presented = realm.sessions.present(id_token)
        _require_recent_for(realm, presented, record.email, password=False)
        realm.accounts.require_free_email(record.email, owner=presented.account.uid)
        realm.codes.consume(record)
        changes = Changes(email=record.email, email_verified=True, email_link_sign_in=True)
        account = realm.accounts.signed_in(realm.accounts.change(presented.account, changes).account)
        return account, realm.sessions.renew(presented, account, provider=PASSWORD)

    return await realm.db.run(commit)


def _require_recent_for(realm: Realm, presented: Presented, email: str, *, password: bool) -> None:
    """Linking adds something; where it replaces an address or a password, it is as sensitive as an update.

    :param password: whether a password is set.
    :raises WireError: ``CREDENTIAL_TOO_OLD_LOGIN_AGAIN``.
    """
    account = presented.account
    if account.email not in {None, email} or (password and account.password_hash is not None):
        realm.sessions.require_recent(presented)


def _rehash(realm: Realm, uid: str, known_hash: str | None, replacement: str) -> None:
    """Put a password's hash of today's strength in place of an older one, unless the password changed meanwhile."""
    account = realm.accounts.get(uid)
    if account.password_hash == known_hash:
        realm.accounts.put(replace(account, password_hash=replacement))
