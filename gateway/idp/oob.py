"""Methods around mailed codes: ``accounts:sendOobCode``, ``:resetPassword``, applying a code, ``:createAuthUri``.

identity-toolkit.md sections 6.5, 6.7, 6.8 and 6.11.

The rules this file obeys: **with e-mail enumeration protection on, nothing here tells whether an address has an
account**, and **a code acts only on the account and address it was made for**: when the address has changed since,
the code is worthless.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from gateway.idp.accounts import Changed, Changes, normal_email
from gateway.idp.codes import Issued, check_continue_url
from gateway.idp.errors import WireError, not_implemented
from gateway.idp.passwords import check_strength
from gateway.idp.realm import Call, Realm
from gateway.idp.records import PASSWORD, Account, CodeKind, CodeRecord
from gateway.idp.wire import compact, provider_user_info

_REQUEST_TYPES: Final = (
    None, "PASSWORD_RESET", "OLD_EMAIL_AGREE", "NEW_EMAIL_ACCEPT", "VERIFY_EMAIL", "RECOVER_EMAIL", "EMAIL_SIGNIN",
    "VERIFY_AND_CHANGE_EMAIL",
)  # fmt: skip
"""``OobReqType`` in the order of its wire numbers."""


_EMAIL_TYPES: Final = {"EMAIL_SIGNIN": "EMAIL_SIGN_IN", "PASSWORD_RESET": "PASSWORD_RESET"}
"""``email_type`` of the mails that beforeSendEmail is asked about (blocking-functions.md sections 1.6 and 3.1)."""


async def send_oob_code(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:sendOobCode`` (section 6.7): mail a link, or hand it to an administrator who asks for it.

    :raises WireError: as the section lists.
    """
    fields = call.fields
    request_type = fields.choice("requestType", _REQUEST_TYPES)
    if not request_type:
        raise WireError("MISSING_REQ_TYPE")
    hand_over = bool(fields.flag("returnOobLink"))
    if hand_over and not call.privileged:
        raise WireError("INSUFFICIENT_PERMISSION")
    continue_url = check_continue_url(fields.text("continueUrl"))
    if fields.text("linkDomain"):
        raise WireError("INVALID_HOSTING_LINK_DOMAIN : The provided hosting link domain is not configured.")
    makers = {
        CodeKind.EMAIL_SIGNIN: _sign_in_code,
        CodeKind.PASSWORD_RESET: _reset_code,
        CodeKind.VERIFY_EMAIL: _verify_code,
        CodeKind.VERIFY_AND_CHANGE_EMAIL: _change_code,
    }
    maker = makers.get(CodeKind(request_type)) if request_type in CodeKind.__members__ else None
    if maker is None:
        raise not_implemented("this request type")
    email_type = _EMAIL_TYPES.get(request_type)
    if email_type is not None and not hand_over:
        email = normal_email(call.require("email", "MISSING_EMAIL"))
        await realm.db.run(_check_mailable, realm, CodeKind(request_type), email)
        # With protection on it is asked whether or not there is such an account: a refusal must not tell.
        await realm.hooks.before_email(email, email_type, call.circumstances(None), tenant=realm.tenant)
    email, issued = await realm.db.run(maker, realm, call, continue_url)
    if issued is not None and not hand_over:
        realm.send(issued)
    return compact(
        {
            "kind": "identitytoolkit#GetOobConfirmationCodeResponse",
            "email": email,
            "oobCode": issued.code if issued and hand_over else None,
            "oobLink": issued.link if issued and hand_over else None,
        }
    )


async def reset_password(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:resetPassword`` (section 6.8): look at a code of any kind, or set a new password with one.

    :raises WireError: as the section lists, and ``EXPIRED_OOB_CODE``.
    """
    code = call.require("oobCode", "MISSING_OOB_CODE")
    password = call.fields.text("newPassword")
    if not password:
        record = await realm.db.run(_inspect_live, realm, code)
    else:
        if not realm.config.password_sign_in:
            raise WireError("PASSWORD_LOGIN_DISABLED")
        record = await realm.db.run(_inspect_live, realm, code, CodeKind.PASSWORD_RESET)
        check_strength(password)
        await _set_password(realm, code, await realm.passwords.hash(password))
    return compact(
        {
            "kind": "identitytoolkit#ResetPasswordResponse",
            "requestType": str(record.kind),
            "email": None if record.kind is CodeKind.EMAIL_SIGNIN else record.email,
            "newEmail": record.new_email,
        }
    )


async def apply_code(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:update`` with a code (section 6.5): verify, change or recover an address.

    :raises WireError: ``INVALID_OOB_CODE``, ``EXPIRED_OOB_CODE`` or ``EMAIL_EXISTS``.
    """
    code = call.require("oobCode", "MISSING_OOB_CODE")

    def commit() -> tuple[Changed, Issued | None]:
        record = _inspect_live(
            realm, code, CodeKind.VERIFY_EMAIL, CodeKind.VERIFY_AND_CHANGE_EMAIL, CodeKind.RECOVER_EMAIL
        )
        account = realm.accounts.get(record.uid or "")
        realm.codes.consume(record)
        target = record.new_email if record.kind is CodeKind.VERIFY_AND_CHANGE_EMAIL else record.email
        changed = realm.accounts.change(account, Changes(email=target, email_verified=True))
        # Recovering is what the notice about a change is for: it does not make another notice.
        recovery = None if record.kind is CodeKind.RECOVER_EMAIL else issue_recovery(realm, call, changed)
        return changed, recovery

    changed, recovery = await realm.db.run(commit)
    realm.send(recovery)
    account = changed.account
    return compact(
        {
            "kind": "identitytoolkit#SetAccountInfoResponse",
            "localId": account.uid,
            "email": account.email,
            "emailVerified": account.email_verified,
            "providerUserInfo": provider_user_info(account),
        }
    )


async def create_auth_uri(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:createAuthUri`` (section 6.11): which sign-in methods an address has, if that may be told.

    :raises WireError: as the section lists.
    """
    fields = call.fields
    if fields.text("providerId"):
        raise not_implemented("federated sign-in")
    identifier = call.require("identifier", "MISSING_IDENTIFIER")
    if check_continue_url(call.require("continueUri", "MISSING_CONTINUE_URI")) is None:
        raise WireError("MISSING_CONTINUE_URI")
    try:
        email = normal_email(identifier)
    except WireError:
        raise WireError("INVALID_IDENTIFIER") from None
    reply: dict[str, Any] = {
        "kind": "identitytoolkit#CreateAuthUriResponse",
        "sessionId": fields.text("sessionId") or secrets.token_urlsafe(20),
    }
    if realm.config.email_enumeration_protection:
        return reply
    account = await realm.db.run(realm.accounts.by_email, email)
    methods = [] if account is None else _methods(account)
    providers = list(dict.fromkeys(PASSWORD if method == "emailLink" else method for method in methods))
    return {**reply, "registered": account is not None, "allProviders": providers, "signinMethods": methods}


def issue_recovery(realm: Realm, call: Call, changed: Changed) -> Issued | None:
    """After an address changed: a code by which its old owner can take it back. None when there was none before."""
    if changed.previous_email is None or changed.account.email is None:
        return None
    return realm.codes.issue(
        CodeKind.RECOVER_EMAIL,
        changed.previous_email,
        style=call.link_style(),
        uid=changed.account.uid,
        new_email=changed.account.email,
    )


def _methods(account: Account) -> list[str]:
    methods = [PASSWORD] if account.password_hash else []
    if account.email_link_sign_in:
        methods.append("emailLink")
    return methods + [link.provider_id for link in account.links]


def _check_mailable(realm: Realm, kind: CodeKind, email: str) -> None:
    """Refuse what would be refused anyway, before a function is asked about it.

    :raises WireError: ``OPERATION_NOT_ALLOWED`` or ``EMAIL_NOT_FOUND``.
    """
    if kind is CodeKind.EMAIL_SIGNIN:
        if not realm.config.email_link_sign_in:
            raise WireError("OPERATION_NOT_ALLOWED")
    elif not realm.config.email_enumeration_protection and realm.accounts.by_email(email) is None:
        raise WireError("EMAIL_NOT_FOUND")


def _sign_in_code(realm: Realm, call: Call, continue_url: str | None) -> tuple[str, Issued | None]:
    if not realm.config.email_link_sign_in:
        raise WireError("OPERATION_NOT_ALLOWED")
    email = normal_email(call.require("email", "MISSING_EMAIL"))
    style = call.link_style()
    return email, realm.codes.issue(CodeKind.EMAIL_SIGNIN, email, style=style, continue_url=continue_url)


def _reset_code(realm: Realm, call: Call, continue_url: str | None) -> tuple[str, Issued | None]:
    email = normal_email(call.require("email", "MISSING_EMAIL"))
    account = realm.accounts.by_email(email)
    if account is None:
        if realm.config.email_enumeration_protection and not call.fields.flag("returnOobLink"):
            return email, None
        raise WireError("EMAIL_NOT_FOUND")
    return email, _issue_for(realm, call, CodeKind.PASSWORD_RESET, account, continue_url)


def _verify_code(realm: Realm, call: Call, continue_url: str | None) -> tuple[str, Issued | None]:
    account = _owner(realm, call)
    if account.email is None:
        raise WireError("MISSING_EMAIL")
    return account.email, _issue_for(realm, call, CodeKind.VERIFY_EMAIL, account, continue_url)


def _change_code(realm: Realm, call: Call, continue_url: str | None) -> tuple[str, Issued | None]:
    new_email = normal_email(call.require("newEmail", "MISSING_NEW_EMAIL"))
    account = _owner(realm, call)
    if account.email is None:
        raise WireError("MISSING_EMAIL")
    realm.accounts.require_free_email(new_email)
    return account.email, _issue_for(
        realm, call, CodeKind.VERIFY_AND_CHANGE_EMAIL, account, continue_url, new_email=new_email
    )


def _owner(realm: Realm, call: Call) -> Account:
    """Whose address is meant: the bearer of the ID token, or whom an administrator names by address."""
    fields = call.fields
    id_token = fields.text("idToken")
    if id_token:
        return realm.sessions.present(id_token).account
    if not call.privileged:
        raise WireError("MISSING_ID_TOKEN")
    account = realm.accounts.by_email(normal_email(call.require("email", "MISSING_EMAIL")))
    if account is None:
        raise WireError("USER_NOT_FOUND")
    return account


def _issue_for(
    realm: Realm,
    call: Call,
    kind: CodeKind,
    account: Account,
    continue_url: str | None,
    *,
    new_email: str | None = None,
) -> Issued:
    return realm.codes.issue(
        kind,
        account.email or "",
        style=call.link_style(),
        uid=account.uid,
        new_email=new_email,
        continue_url=continue_url,
    )


def _inspect_live(realm: Realm, code: str, *kinds: CodeKind) -> CodeRecord:
    """The record of a code that still fits its account."""
    record = realm.codes.inspect(code, *kinds)
    if record.kind is CodeKind.EMAIL_SIGNIN:
        return record
    account = realm.accounts.find(uid=record.uid)
    # A recovery code is made because the address changed, so it alone need not match.
    if account is None or (record.kind is not CodeKind.RECOVER_EMAIL and account.email != record.email):
        raise WireError("INVALID_OOB_CODE")
    return record


async def _set_password(realm: Realm, code: str, password_hash: str) -> None:
    def commit() -> str | None:
        record = _inspect_live(realm, code, CodeKind.PASSWORD_RESET)
        account = realm.accounts.get(record.uid or "")
        if account.disabled:
            raise WireError("USER_DISABLED")
        realm.codes.consume(record)
        # Whoever linked a federated identity before the address was proved may not be its owner.
        unlink = [link.provider_id for link in account.links]
        changes = Changes(password_hash=password_hash, email_verified=True, unlink=unlink)
        return realm.accounts.change(account, changes).account.email

    email = await realm.db.run(commit)
    if email is not None:
        realm.throttle.forget(email)
