"""Second factors: enrolling, withdrawing, signing in with one (identity-toolkit.md section 7).

The rules this file obeys: **an unverified address enrolls no factor** (whoever merely claimed it would lock out its
owner), **a phone, anonymous or custom sign-in enrolls none**, and **a half-finished sign-in is worthless once the
account's password, address or sessions changed**. At the end of it beforeSignIn is asked once, with the first factor's
method (blocking-functions.md section 3.2).
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import replace
from typing import Any, Final

from gateway.idp import totp
from gateway.idp.accounts import Changes, check_phone
from gateway.idp.admission import Proof, admit
from gateway.idp.errors import WireError
from gateway.idp.phone import send_code
from gateway.idp.realm import Call, Enrolling, HalfDone, Realm
from gateway.idp.records import ANONYMOUS, CUSTOM, PHONE, Account, Factor
from gateway.idp.sessions import Presented, Tokens
from gateway.idp.sms import SmsKind
from gateway.idp.wire import compact

HALF_DONE_LIFETIME: Final = 300.0
"""Seconds between the first factor and the second (section 7)."""

ENROLLING_LIFETIME: Final = 900.0
"""Seconds to put a secret into an app and type its first code."""

MOST_FACTORS: Final = 5
"""Second factors of an account (https://cloud.google.com/identity-platform/docs/web/mfa)."""

_FACTOR_ID_BYTES: Final = 15
_TRIES: Final = 5
_MISSING_PENDING: Final = "MISSING_MFA_PENDING_CREDENTIAL : Request does not have MFA pending credential."


async def start_enrollment(realm: Realm, call: Call) -> dict[str, Any]:
    """``mfaEnrollment:start``: text a code to the new phone, or hand out the secret of a new app.

    :raises WireError: as section 7 lists.
    """
    presented = await realm.db.run(realm.sessions.present, call.require("idToken", "MISSING_ID_TOKEN"))
    _check_enrollable(realm, presented)
    uid = presented.account.uid
    phone = call.fields.child("phoneEnrollmentInfo")
    if phone is not None:
        number = check_phone(phone.text("phoneNumber") or "")
        _refuse_second(presented.account, number)
        asked = replace(call, fields=phone)
        return {
            "phoneSessionInfo": {"sessionInfo": await send_code(realm, asked, number, SmsKind.ENROLLMENT, owner=uid)}
        }
    if call.fields.child("totpEnrollmentInfo") is None:
        raise WireError("INVALID_ARGUMENT : ((Missing phoneEnrollmentInfo.))")
    secret = totp.new_secret()
    until = dt.datetime.fromtimestamp(realm.clock.now() + ENROLLING_LIFETIME, dt.UTC)
    return {
        "totpSessionInfo": {
            "sharedSecretKey": secret,
            "verificationCodeLength": totp.DIGITS,
            "hashingAlgorithm": "SHA1",
            "periodSec": totp.STEP,
            "sessionInfo": realm.enrolling.put(Enrolling(uid=uid, secret=secret)),
            "finalizeEnrollmentTime": until.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
    }


async def finish_enrollment(realm: Realm, call: Call) -> dict[str, Any]:
    """``mfaEnrollment:finalize``: the code was right, so the factor is the account's; the session has used it.

    :raises WireError: as section 7 lists.
    """
    id_token = call.require("idToken", "MISSING_ID_TOKEN")
    presented = await realm.db.run(realm.sessions.present, id_token)
    _check_enrollable(realm, presented)
    factor = _proved(realm, call, presented.account.uid)

    def commit() -> tuple[Account, Tokens]:
        current = realm.sessions.present(id_token)
        if len(current.account.factors) >= MOST_FACTORS:
            raise WireError("SECOND_FACTOR_LIMIT_EXCEEDED")
        _refuse_second(current.account, factor.phone_number)
        changes = Changes(factors=(*current.account.factors, factor))
        account = realm.accounts.change(current.account, changes).account
        return account, realm.sessions.renew(current, account, factor=factor)

    _, tokens = await realm.db.run(commit)
    return compact(
        {
            "idToken": tokens.id_token,
            "refreshToken": tokens.refresh_token,
            "totpAuthInfo": {} if factor.phone_number is None else None,
        }
    )


async def withdraw(realm: Realm, call: Call) -> dict[str, Any]:
    """``mfaEnrollment:withdraw``: the account has that factor no more.

    :raises WireError: ``MISSING_MFA_ENROLLMENT_ID`` or ``MFA_ENROLLMENT_NOT_FOUND``.
    """
    id_token = call.require("idToken", "MISSING_ID_TOKEN")
    factor_id = call.require("mfaEnrollmentId", "MISSING_MFA_ENROLLMENT_ID : No second factor identifier is provided.")

    def commit() -> Tokens:
        presented = realm.sessions.present(id_token)
        factors = tuple(f for f in presented.account.factors if f.factor_id != factor_id)
        if len(factors) == len(presented.account.factors):
            raise WireError("MFA_ENROLLMENT_NOT_FOUND")
        account = realm.accounts.change(presented.account, Changes(factors=factors)).account
        return realm.sessions.renew(presented, account, proved=False)

    tokens = await realm.db.run(commit)
    return {"idToken": tokens.id_token, "refreshToken": tokens.refresh_token}


async def start_sign_in(realm: Realm, call: Call) -> dict[str, Any]:
    """``mfaSignIn:start``: text a code to the enrolled phone.

    :raises WireError: as section 7 lists.
    """
    pending = call.require("mfaPendingCredential", _MISSING_PENDING)
    factor_id = call.require("mfaEnrollmentId", "MISSING_MFA_ENROLLMENT_ID : No second factor identifier is provided.")
    account, _ = await _half_done(realm, pending)
    factor = _factor(account, factor_id)
    if factor.phone_number is None:
        raise WireError("INVALID_ARGUMENT : ((The second factor is no phone.))")
    asked = replace(call, fields=call.fields.child("phoneSignInInfo") or call.fields)
    session_info = await send_code(realm, asked, factor.phone_number, SmsKind.SECOND_FACTOR, owner=pending)
    return {"phoneResponseInfo": {"sessionInfo": session_info}}


async def finish_sign_in(realm: Realm, call: Call) -> dict[str, Any]:
    """``mfaSignIn:finalize``: the second factor was right too; beforeSignIn is asked, then there are tokens.

    :raises WireError: as section 7 lists, or a function refused.
    """
    pending = call.require("mfaPendingCredential", _MISSING_PENDING)
    account, half_done = await _half_done(realm, pending)
    step: int | None = None
    if (phone := call.fields.child("phoneVerificationInfo")) is not None:
        number = realm.sms_codes.redeem(
            phone.text("sessionInfo"), phone.text("code"), SmsKind.SECOND_FACTOR, owner=pending
        )
        factor = next((f for f in account.factors if f.phone_number == number), None)
        if factor is None:
            raise WireError("MFA_ENROLLMENT_NOT_FOUND")
    elif (app := call.fields.child("totpVerificationInfo")) is not None:
        factor = _factor(account, call.require("mfaEnrollmentId", "MISSING_MFA_ENROLLMENT_ID : No second factor."))
        step = _used_step(realm, half_done, factor, app.text("verificationCode"))
        factor = replace(factor, totp_last_step=step)
    else:
        raise WireError("MISSING_CREDENTIAL : Please set MFA Sign In code.")
    used = factor

    def check(current: Account) -> None:
        if (current.password_hash, current.valid_since) != (half_done.password_hash, half_done.valid_since):
            raise WireError("INVALID_MFA_PENDING_CREDENTIAL")
        stored = _factor(current, used.factor_id)
        if step is not None and stored.totp_last_step is not None and stored.totp_last_step >= step:
            raise WireError("INVALID_CODE")
        if realm.half_done.pop(pending) is None:
            raise WireError("INVALID_MFA_PENDING_CREDENTIAL")

    factors = tuple(used if f.factor_id == used.factor_id else f for f in account.factors)
    admitted = await admit(
        realm,
        Proof(
            account=account,
            circumstances=replace(
                half_done.circumstances,
                address=call.address,
                user_agent=call.user_agent,
                locale=call.locale,
                second_factor=used.kind,
            ),
            provider=half_done.provider,
            attributes=half_done.attributes,
            pending=Changes(factors=factors) if step is not None else Changes(),
            check=check,
            factor=used,
        ),
    )
    tokens = admitted.fields()
    return {"idToken": tokens["idToken"], "refreshToken": tokens["refreshToken"]}


def _check_enrollable(realm: Realm, presented: Presented) -> None:
    if not realm.config.second_factors:
        raise WireError("OPERATION_NOT_ALLOWED : SMS based MFA not enabled.")
    if presented.payload["firebase"]["sign_in_provider"] in {ANONYMOUS, PHONE, CUSTOM, "gc.apple.com"}:
        raise WireError("UNSUPPORTED_FIRST_FACTOR : MFA is not available for the given first factor.")
    if not presented.account.email_verified:
        raise WireError("UNVERIFIED_EMAIL : Need to verify email first before enrolling second factors.")
    realm.sessions.require_recent(presented)


def _refuse_second(account: Account, number: str | None) -> None:
    """Refuse a number that is a factor already, also when two enrolments of it went on at once.

    :raises WireError: ``SECOND_FACTOR_EXISTS``.
    """
    if number is not None and any(factor.phone_number == number for factor in account.factors):
        raise WireError("SECOND_FACTOR_EXISTS : Phone number already enrolled as second factor for this account.")


def _proved(realm: Realm, call: Call, uid: str) -> Factor:
    """The new factor, once its code was right."""
    factor = Factor(
        factor_id=secrets.token_urlsafe(_FACTOR_ID_BYTES),
        enrolled_at_ms=int(realm.clock.now() * 1_000),
        display_name=call.fields.text("displayName"),
    )
    if (phone := call.fields.child("phoneVerificationInfo")) is not None:
        number = realm.sms_codes.redeem(phone.text("sessionInfo"), phone.text("code"), SmsKind.ENROLLMENT, owner=uid)
        return replace(factor, phone_number=number)
    app = call.fields.child("totpVerificationInfo")
    if app is None:
        raise WireError("MISSING_CREDENTIAL : Please set MFA enrollment code.")
    session_info = app.text("sessionInfo") or ""
    enrolling = realm.enrolling.get(session_info)
    if enrolling is None or enrolling.uid != uid:
        raise WireError("INVALID_SESSION_INFO")
    if totp.matching_step(enrolling.secret, app.text("verificationCode") or "", realm.clock.now()) is None:
        raise WireError("INVALID_CODE")
    realm.enrolling.pop(session_info)
    # The code that enrolled may sign in too (section 7), so no step is kept yet.
    return replace(factor, totp_secret=enrolling.secret)


def _used_step(realm: Realm, half_done: HalfDone, factor: Factor, code: str | None) -> int:
    if not code:
        raise WireError("MISSING_CODE")
    if half_done.tries[0] >= _TRIES:
        raise WireError("TOO_MANY_ATTEMPTS_TRY_LATER")
    step = totp.matching_step(factor.totp_secret or "", code, realm.clock.now(), after=factor.totp_last_step)
    if step is None:
        half_done.tries[0] += 1
        raise WireError("INVALID_CODE")
    return step


async def _half_done(realm: Realm, pending: str) -> tuple[Account, HalfDone]:
    half_done = realm.half_done.get(pending)
    if half_done is None:
        raise WireError("INVALID_MFA_PENDING_CREDENTIAL")
    return await realm.db.run(realm.accounts.get, half_done.uid), half_done


def _factor(account: Account, factor_id: str) -> Factor:
    factor = next((f for f in account.factors if f.factor_id == factor_id), None)
    if factor is None:
        raise WireError("MFA_ENROLLMENT_NOT_FOUND")
    return factor
