"""Methods that read, change and delete one account: ``accounts:lookup``, ``:update`` and ``:delete``.

A client calls them with its ID token, an administrator with an id (identity-toolkit.md sections 6.4 to 6.6 and 10.1).

The rule this file obeys: **a client changes what belongs to the person, an administrator what belongs to the project.**
Verified marks, claims, phone numbers, valid-since and the disabled switch are the administrator's.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.idp.accounts import Changed, Changes, check_phone, normal_email
from gateway.idp.claims import check_custom_attributes
from gateway.idp.codes import Issued
from gateway.idp.errors import WireError
from gateway.idp.factors import factors_of
from gateway.idp.oob import apply_code, issue_recovery
from gateway.idp.passwords import check_strength
from gateway.idp.realm import Call, Realm
from gateway.idp.records import PASSWORD, PHONE, Account, Link
from gateway.idp.sessions import Presented, Tokens
from gateway.idp.wire import REDACTED_HASH, Fields, compact, provider_user_info, token_fields, user_record

_ATTRIBUTES: Final = (None, "EMAIL", "DISPLAY_NAME", "PROVIDER", "PHOTO_URL", "PASSWORD", "RAW_USER_INFO")
"""``UserAttributeName`` in the order of its wire numbers."""

_ADMINISTRATIVE: Final = (
    "customAttributes", "emailVerified", "phoneNumber", "validSince", "createdAt", "lastLoginAt",
    "linkProviderUserInfo", "mfa",
)  # fmt: skip
"""Fields of an update that a client may not send."""


async def lookup(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:lookup``: the caller's own account, or any number of accounts for an administrator.

    :raises WireError: as sections 6.4 and 10.1 list.
    """
    fields = call.fields
    id_token = fields.text("idToken")
    if call.privileged and not id_token:
        users = [user_record(account) for account in await realm.db.run(_find, realm, fields)]
    else:
        if not id_token:
            raise WireError("MISSING_ID_TOKEN")
        users = [user_record((await realm.db.run(realm.sessions.present, id_token)).account)]
    return compact({"kind": "identitytoolkit#GetAccountInfoResponse", "users": users or None})


async def delete(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:delete``.

    :raises WireError: ``MISSING_ID_TOKEN`` or ``MISSING_LOCAL_ID``, whatever is wrong with the token,
        ``CREDENTIAL_TOO_OLD_LOGIN_AGAIN``, ``USER_NOT_FOUND``.
    """
    id_token = call.fields.text("idToken")

    def commit() -> None:
        if call.privileged and not id_token:
            realm.accounts.delete(call.require("localId", "MISSING_LOCAL_ID"))
            return
        presented = realm.sessions.present(call.require("idToken", "MISSING_ID_TOKEN"))
        realm.sessions.require_recent(presented)
        realm.accounts.delete(presented.account.uid)

    await realm.db.run(commit)
    return {"kind": "identitytoolkit#DeleteAccountResponse"}


async def update(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:update``: by code, by ID token, or by id for an administrator.

    :raises WireError: as sections 6.5 and 10.1 list.
    """
    fields = call.fields
    if fields.text("oobCode"):
        return await apply_code(realm, call)
    id_token = fields.text("idToken")
    by_id = call.privileged and not id_token
    if by_id:
        call.require("localId", "MISSING_LOCAL_ID")
    elif not id_token:
        raise WireError("INVALID_REQ_TYPE : Unsupported request parameters.")
    else:
        _refuse_administrative(fields)
    changes, password = _requested(realm, fields, administrator=by_id)
    if password is not None:
        # The token or account first: nobody's password is hashed for a stranger.
        await realm.db.run(_target, realm, call)
        changes["password_hash"] = await realm.passwords.hash(password)

    def commit() -> tuple[Changed, Tokens | None, Issued | None]:
        account, presented = _target(realm, call)
        if presented is not None and _sensitive(changes):
            realm.sessions.require_recent(presented)
        changed = realm.accounts.change(account, changes)
        if presented is None:
            return changed, None, None
        tokens = None
        if changed.ended:
            tokens = realm.sessions.renew(presented, changed.account)
        return changed, tokens, issue_recovery(realm, call, changed)

    changed, tokens, recovery = await realm.db.run(commit)
    realm.send(recovery)
    return _reply(changed.account, tokens)


def _reply(account: Account, tokens: Tokens | None) -> dict[str, Any]:
    return compact(
        {
            "kind": "identitytoolkit#SetAccountInfoResponse",
            "localId": account.uid,
            "email": account.email,
            "displayName": account.display_name,
            "photoUrl": account.photo_url,
            "emailVerified": account.email_verified,
            "providerUserInfo": provider_user_info(account),
            "passwordHash": REDACTED_HASH if account.password_hash else None,
            **(token_fields(tokens) if tokens else {}),
        }
    )


def _target(realm: Realm, call: Call) -> tuple[Account, Presented | None]:
    """Whose account is meant; the second value is None when an administrator named it."""
    id_token = call.fields.text("idToken")
    if not id_token:
        return realm.accounts.get(call.require("localId", "MISSING_LOCAL_ID")), None
    presented = realm.sessions.present(id_token)
    return presented.account, presented


def _refuse_administrative(fields: Fields) -> None:
    if any(name in fields for name in _ADMINISTRATIVE):
        raise WireError("INSUFFICIENT_PERMISSION")
    if "disableUser" in fields:
        raise WireError("OPERATION_NOT_ALLOWED")


def _sensitive(changes: Changes) -> bool:
    return "email" in changes or "password_hash" in changes or PASSWORD in changes.get("unlink", ())


def _requested(realm: Realm, fields: Fields, *, administrator: bool) -> tuple[Changes, str | None]:
    """The changes that a body asks for, and the new password in clear.

    :raises WireError: a value that cannot be stored.
    """
    changes = Changes()
    if email := fields.text("email"):
        changes["email"] = normal_email(email)
    password = fields.text("password") or None
    if password is not None:
        check_strength(password)
    if (display_name := fields.text("displayName")) is not None:
        changes["display_name"] = display_name or None
    if (photo_url := fields.text("photoUrl")) is not None:
        changes["photo_url"] = photo_url or None
    for attribute in _attributes(fields):
        if attribute == "DISPLAY_NAME":
            changes["display_name"] = None
        elif attribute == "PHOTO_URL":
            changes["photo_url"] = None
        elif attribute == "EMAIL":
            changes["email"] = None
        elif attribute == "PASSWORD":
            changes["password_hash"] = None
    if unlink := fields.texts("deleteProvider"):
        changes["unlink"] = unlink
    if administrator:
        changes |= _administrative(realm, fields)
    return changes, password


def _attributes(fields: Fields) -> list[str | None]:
    numbered = {str(number): name for number, name in enumerate(_ATTRIBUTES)}
    return [numbered.get(name, name) for name in fields.texts("deleteAttribute")]


def _administrative(realm: Realm, fields: Fields) -> Changes:
    changes = Changes()
    if (verified := fields.flag("emailVerified")) is not None:
        changes["email_verified"] = verified
    if (disabled := fields.flag("disableUser")) is not None:
        changes["disabled"] = disabled
    if (attributes := fields.text("customAttributes")) is not None:
        changes["custom_attributes"] = check_custom_attributes(attributes or "{}")
    if phone_number := fields.text("phoneNumber"):
        changes["phone_number"] = check_phone(phone_number)
    if (valid_since := fields.number("validSince")) is not None:
        changes["valid_since"] = valid_since
    if (created_at := fields.number("createdAt")) is not None:
        changes["created_at_ms"] = created_at
    if (last_login_at := fields.number("lastLoginAt")) is not None:
        changes["last_login_at_ms"] = last_login_at
    if (link := fields.child("linkProviderUserInfo")) is not None:
        changes["link"] = _link(link)
    if (mfa := fields.child("mfa")) is not None:
        changes["factors"] = factors_of(realm, mfa.children("enrollments"))
    return changes


def _link(fields: Fields) -> Link:
    provider_id, raw_id = fields.text("providerId"), fields.text("rawId")
    if not provider_id or not raw_id or provider_id in {PASSWORD, PHONE}:
        raise WireError("INVALID_CREDENTIAL_OR_PROVIDER_ID : providerId and rawId of a federated provider are needed")
    return Link(
        provider_id=provider_id,
        raw_id=raw_id,
        email=fields.text("email"),
        display_name=fields.text("displayName"),
        photo_url=fields.text("photoUrl"),
    )


def _find(realm: Realm, fields: Fields) -> list[Account]:
    """Accounts by any of the identifiers in a body, each once, in the order of the identifiers."""
    store = realm.accounts
    found = [store.find(uid=uid) for uid in fields.texts("localId")]
    found += [store.find(email=email.lower()) for email in fields.texts("email")]
    found += [store.find(phone_number=number) for number in fields.texts("phoneNumber")]
    found += [
        store.find(link=(identity.text("providerId") or "", identity.text("rawId") or ""))
        for identity in fields.children("federatedUserId")
    ]
    return list({account.uid: account for account in found if account is not None}.values())
