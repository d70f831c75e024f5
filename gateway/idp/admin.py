"""Methods for administrators only: create, batches, queries, session cookies, the emulator's control endpoints.

identity-toolkit.md sections 10.1 and 11. The server lets nobody else in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.idp import foreign_hashes
from gateway.idp.accounts import check_phone, check_uid, normal_email
from gateway.idp.claims import check_custom_attributes
from gateway.idp.errors import WireError, not_implemented
from gateway.idp.factors import factors_of
from gateway.idp.passwords import check_strength
from gateway.idp.realm import Call, Realm
from gateway.idp.records import PASSWORD, PHONE, Account, Link
from gateway.idp.wire import Fields, compact, user_record

MAX_BATCH: Final = 1_000
"""Accounts in one batch (section 10.1)."""

DEFAULT_PAGE: Final = 20
"""Accounts of a ``batchGet`` page that names no size."""

DEFAULT_QUERY: Final = 500
"""Accounts of a query that names no limit."""

_SORT_KEYS: Final[dict[str, Callable[[Account], Any]]] = {
    "USER_ID": lambda account: account.uid,
    "NAME": lambda account: account.display_name or "",
    "CREATED_AT": lambda account: account.created_at_ms,
    "LAST_LOGIN_AT": lambda account: account.last_login_at_ms or 0,
    "USER_EMAIL": lambda account: account.email or "",
}


async def create(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts`` (create). Fires no function and gives no tokens.

    :raises WireError: as section 10.1 lists.
    """
    fields = call.fields
    values: dict[str, Any] = {"display_name": fields.text("displayName") or None}
    if (uid := fields.text("localId")) is not None:
        values["uid"] = check_uid(uid)
    if email := fields.text("email"):
        values["email"] = normal_email(email)
    if phone_number := fields.text("phoneNumber"):
        values["phone_number"] = check_phone(phone_number)
    values["photo_url"] = fields.text("photoUrl") or None
    values["email_verified"] = bool(fields.flag("emailVerified"))
    values["disabled"] = bool(fields.flag("disabled"))
    if (attributes := fields.text("customAttributes")) is not None:
        values["custom_attributes"] = check_custom_attributes(attributes)
    values["factors"] = factors_of(realm, fields.children("mfaInfo"))
    if password := fields.text("password"):
        check_strength(password)
        values["password_hash"] = await realm.passwords.hash(password)
    account = await realm.db.run(realm.accounts.insert, realm.accounts.candidate(**values))
    return compact(
        {
            "kind": "identitytoolkit#SignupNewUserResponse",
            "localId": account.uid,
            "email": account.email,
            "displayName": account.display_name,
        }
    )


async def batch_delete(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:batchDelete``: unknown ids are no errors; an enabled account wants ``force``.

    :raises WireError: ``LOCAL_ID_LIST_EXCEEDS_LIMIT``.
    """
    uids = call.fields.texts("localIds")
    force = bool(call.fields.flag("force"))
    if not 1 <= len(uids) <= MAX_BATCH:
        raise WireError("LOCAL_ID_LIST_EXCEEDS_LIMIT")

    def commit() -> list[dict[str, Any]]:
        errors: list[dict[str, Any]] = []
        for index, uid in enumerate(uids):
            account = realm.accounts.find(uid=uid)
            if account is None:
                continue
            if account.disabled or force:
                realm.accounts.delete(uid)
            else:
                message = "NOT_DISABLED : Disable the account before batch deletion."
                errors.append({"index": index, "localId": uid, "message": message})
        return errors

    return compact({"errors": await realm.db.run(commit) or None})


async def batch_get(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:batchGet``: a page of accounts in the order of their ids, with password hashes."""
    # The v3 form of the method is a POST with the same names in its body.
    asked = call.fields if "targetProjectId" in call.fields else call.parameters
    wanted = asked.number("maxResults")
    limit = DEFAULT_PAGE if wanted is None else max(1, min(wanted, MAX_BATCH))
    after = asked.text("nextPageToken") or ""
    accounts = await realm.db.run(realm.accounts.page, after=after, limit=limit)
    return compact(
        {
            "kind": "identitytoolkit#DownloadAccountResponse",
            "users": [user_record(account, export_hash=True) for account in accounts] or None,
            "nextPageToken": accounts[-1].uid if len(accounts) == limit else None,
        }
    )


async def batch_create(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:batchCreate``: import accounts, with their foreign password hashes; each fails alone.

    :raises WireError: ``MISSING_USER_ACCOUNT``, or ``INVALID_HASH_ALGORITHM : ...``.
    """
    fields = call.fields
    users = fields.children("users")
    if not users:
        raise WireError("MISSING_USER_ACCOUNT")
    if len(users) > MAX_BATCH:
        raise WireError("LOCAL_ID_LIST_EXCEEDS_LIMIT")
    template = _hash_template(fields)
    overwrite = bool(fields.flag("allowOverwrite"))

    def commit() -> list[dict[str, Any]]:
        errors: list[dict[str, Any]] = []
        for index, user in enumerate(users):
            try:
                _import(realm, _imported(realm, user, template), overwrite=overwrite)
            except WireError as error:
                errors.append({"index": index, "message": error.message})
        return errors

    errors = await realm.db.run(commit)
    return compact({"kind": "identitytoolkit#UploadAccountResponse", "error": errors or None})


async def query(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:query``: search by address, number or id, sorted and cut."""
    fields = call.fields
    found = await realm.db.run(realm.accounts.page)
    for expression in fields.children("expression"):
        email, number, uid = (expression.text(name) for name in ("email", "phoneNumber", "userId"))
        found = [
            account
            for account in found
            if (email is None or account.email == email.lower())
            and (number is None or account.phone_number == number)
            and (uid is None or account.uid == uid)
        ]
    reply: dict[str, Any] = {"recordsCount": str(len(found))}
    if fields.flag("returnUserInfo") is False:
        return reply
    sort_by = fields.choice("sortBy", (None, *_SORT_KEYS)) or "USER_ID"
    descending = fields.choice("order", (None, "ASC", "DESC")) == "DESC"
    found.sort(key=_SORT_KEYS.get(sort_by, _SORT_KEYS["USER_ID"]), reverse=descending)
    offset = max(0, fields.number("offset") or 0)
    limit = max(0, fields.number("limit") or DEFAULT_QUERY)
    return {**reply, "userInfo": [user_record(account) for account in found[offset : offset + limit]]}


async def create_session_cookie(realm: Realm, call: Call) -> dict[str, Any]:
    """``:createSessionCookie``.

    :raises WireError: as section 10.1 lists.
    """
    id_token = call.require("idToken", "MISSING_ID_TOKEN")
    duration = call.fields.number("validDuration") or 0
    return {"sessionCookie": await realm.db.run(realm.sessions.cookie, id_token, duration)}


async def delete_all(realm: Realm, _call: Call) -> dict[str, Any]:
    """``DELETE /emulator/v1/projects/{p}/accounts``: forget every account."""

    def commit() -> None:
        for account in realm.accounts.page():
            realm.accounts.delete(account.uid)

    await realm.db.run(commit)
    return {}


async def list_codes(realm: Realm, _call: Call) -> dict[str, Any]:
    """``GET .../oobCodes``: codes of this run that still work, with their links."""
    return {
        "oobCodes": [
            compact(
                {
                    "email": issued.record.email,
                    "newEmail": issued.record.new_email,
                    "oobCode": issued.code,
                    "oobLink": issued.link,
                    "requestType": str(issued.record.kind),
                }
            )
            for issued in await realm.db.run(realm.codes.outstanding)
        ]
    }


async def list_sms_codes(realm: Realm, _call: Call) -> dict[str, Any]:
    """``GET .../verificationCodes``: codes by SMS that still work."""
    return {
        "verificationCodes": [
            {"phoneNumber": sent.number, "code": sent.code, "sessionInfo": session_info}
            for session_info, sent in realm.sms_codes.outstanding()
        ]
    }


async def get_config(realm: Realm, _call: Call) -> dict[str, Any]:
    """``GET /emulator/v1/projects/{p}/config``."""
    return {
        "signIn": {"allowDuplicateEmails": False},
        "emailPrivacyConfig": {"enableImprovedEmailPrivacy": realm.config.email_enumeration_protection},
    }


async def patch_config(realm: Realm, call: Call) -> dict[str, Any]:
    """``PATCH /emulator/v1/projects/{p}/config``: lasts until the provider stops.

    :raises WireError: duplicate addresses are asked for, which this provider does not support.
    """
    sign_in = call.fields.child("signIn")
    if sign_in is not None and sign_in.flag("allowDuplicateEmails"):
        raise not_implemented("several accounts with one address")
    privacy = call.fields.child("emailPrivacyConfig")
    if privacy is not None and (protected := privacy.flag("enableImprovedEmailPrivacy")) is not None:
        realm.config.email_enumeration_protection = protected
    return await get_config(realm, call)


def _hash_template(fields: Fields) -> foreign_hashes.Foreign | None:
    algorithm = fields.text("hashAlgorithm")
    if not algorithm:
        return None
    try:
        return foreign_hashes.parse_parameters(
            algorithm=algorithm,
            signer_key=fields.text("signerKey") or "",
            salt_separator=fields.text("saltSeparator") or "",
            rounds=fields.number("rounds") or 0,
            memory_cost=fields.number("cpuMemCost" if algorithm == "STANDARD_SCRYPT" else "memoryCost") or 0,
            block_size=fields.number("blockSize") or 0,
            parallelization=fields.number("parallelization") or 0,
            derived_bytes=fields.number("dkLen") or 0,
            order=fields.text("passwordHashOrder") or "",
        )
    except ValueError as error:
        raise WireError(f"INVALID_HASH_ALGORITHM : {error}") from None


def _import(realm: Realm, account: Account, *, overwrite: bool) -> None:
    if realm.accounts.find(uid=account.uid) is None:
        realm.accounts.insert(account)
    elif overwrite:
        realm.accounts.put(account)
    else:
        raise WireError("localId belongs to an existing account - can not overwrite.")


def _imported(realm: Realm, user: Fields, template: foreign_hashes.Foreign | None) -> Account:
    """One account of an import.

    :raises WireError: something in it cannot be stored.
    """
    uid = user.text("localId")
    if not uid:
        raise WireError("localId is missing")
    values: dict[str, Any] = {
        "uid": check_uid(uid),
        "display_name": user.text("displayName") or None,
        "photo_url": user.text("photoUrl") or None,
        "email_verified": bool(user.flag("emailVerified")),
        "disabled": bool(user.flag("disabled")),
    }
    if email := user.text("email"):
        values["email"] = normal_email(email)
    if phone_number := user.text("phoneNumber"):
        values["phone_number"] = check_phone(phone_number)
    if (attributes := user.text("customAttributes")) is not None:
        values["custom_attributes"] = check_custom_attributes(attributes or "{}")
    for name, field_name in (
        ("createdAt", "created_at_ms"),
        ("lastLoginAt", "last_login_at_ms"),
        ("validSince", "valid_since"),
    ):
        if (number := user.number(name)) is not None:
            values[field_name] = number
    values["factors"] = factors_of(realm, user.children("mfaInfo"))
    if password_hash := user.text("passwordHash"):
        if template is None:
            raise WireError("INVALID_HASH_ALGORITHM : hashAlgorithm is missing")
        try:
            values["password_hash"] = foreign_hashes.encode(template.with_hash(password_hash, user.text("salt") or ""))
        except ValueError:
            raise WireError("passwordHash or salt is not base64") from None
    values["links"] = tuple(_links(user))
    return realm.accounts.candidate(**values)


def _links(user: Fields) -> list[Link]:
    links = []
    for info in user.children("providerUserInfo"):
        provider_id, raw_id = info.text("providerId"), info.text("rawId")
        if not provider_id or not raw_id:
            raise WireError("providerId and rawId are needed")
        if provider_id not in {PASSWORD, PHONE}:
            links.append(
                Link(
                    provider_id=provider_id,
                    raw_id=raw_id,
                    email=info.text("email"),
                    display_name=info.text("displayName"),
                    photo_url=info.text("photoUrl"),
                )
            )
    return links
