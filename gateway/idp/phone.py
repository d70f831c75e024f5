"""Signing in with a phone: ``accounts:sendVerificationCode`` and ``:signInWithPhoneNumber`` (identity-toolkit.md 6.10).

The rules this file obeys: **a number that belongs to one account is not moved to another**, and **a number is no first
factor of an account that has a second one**, because both could be the same phone.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.idp.accounts import Changes, check_phone
from gateway.idp.admission import Admitted, Proof, admit
from gateway.idp.errors import WireError
from gateway.idp.realm import Call, Realm
from gateway.idp.records import PHONE, Account
from gateway.idp.sessions import Presented
from gateway.idp.sms import SmsKind
from gateway.idp.wire import compact

PROOF_LIFETIME: Final = 3_600
"""Seconds that a proof of a number works (``temporaryProofExpiresIn``)."""

_UNSUPPORTED: Final = (
    "UNSUPPORTED_FIRST_FACTOR : A phone number cannot be set as a first factor on an SMS based MFA user."
)


async def send_verification_code(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:sendVerificationCode``: text a code to a number, which need not be anybody's yet.

    :raises WireError: as section 6.10 lists, or beforeSendSms refused.
    """
    _refuse_tenants(realm)
    number = check_phone(call.fields.text("phoneNumber") or "")
    owner = await realm.db.run(realm.accounts.find, phone_number=number)
    if owner is not None and owner.factors:
        raise WireError(_UNSUPPORTED)
    return {"sessionInfo": await send_code(realm, call, number, SmsKind.SIGN_IN)}


async def send_code(realm: Realm, call: Call, number: str, kind: SmsKind, *, owner: str | None = None) -> str:
    """Ask beforeSendSms, then text a code; answers the ``sessionInfo`` to redeem it with.

    :param owner: what the code is bound to beyond its number.
    :raises WireError: the function refused.
    """
    await realm.hooks.before_sms(number, str(kind), call.circumstances(None), tenant=realm.tenant)
    text = realm.sms_codes.issue(number, kind, owner=owner)
    realm.mailbox.deliver_text(text)
    return text.session_info


async def sign_in_with_phone_number(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:signInWithPhoneNumber``: by code or by an earlier proof; with an ID token, link the number.

    :raises WireError: as section 6.10 lists.
    """
    _refuse_tenants(realm)
    fields = call.fields
    if proof := fields.text("temporaryProof"):
        proved = realm.number_proofs.get(proof)
        if proved is None or proved != check_phone(fields.text("phoneNumber") or ""):
            raise WireError("INVALID_TEMPORARY_PROOF")
        number = proved
    else:
        number = realm.sms_codes.redeem(fields.text("sessionInfo"), fields.text("code"), SmsKind.SIGN_IN)
    owner = await realm.db.run(realm.accounts.find, phone_number=number)
    new = False
    if id_token := fields.text("idToken"):
        presented = await realm.db.run(realm.sessions.present, id_token)
        if owner is not None and owner.uid != presented.account.uid:
            if proof:
                raise WireError("PHONE_NUMBER_EXISTS")
            return {
                "temporaryProof": realm.number_proofs.put(number),
                "temporaryProofExpiresIn": str(PROOF_LIFETIME),
                "phoneNumber": number,
            }
        admitted = await _link(realm, call, id_token, presented, number)
    elif owner is None and fields.text("operation") == "REAUTH":
        raise WireError("USER_NOT_FOUND")
    else:
        new = owner is None
        account = owner or realm.accounts.candidate(phone_number=number)
        if account.factors:
            raise WireError(_UNSUPPORTED)

        def check(current: Account) -> None:
            if current.phone_number != number:
                raise WireError("USER_NOT_FOUND")

        admitted = await admit(
            realm,
            Proof(account=account, circumstances=call.circumstances(PHONE), provider=PHONE, new=new, check=check),
        )
    return compact(
        {
            "localId": admitted.account.uid,
            "phoneNumber": number,
            "isNewUser": new,
            "tenantId": admitted.account.tenant,
            **admitted.fields(),
        }
    )


async def _link(realm: Realm, call: Call, id_token: str, presented: Presented, number: str) -> Admitted:
    """Give an account that is signed in the number; beforeSignIn is asked (blocking-functions.md section 3.1)."""
    if presented.account.factors:
        raise WireError(_UNSUPPORTED)

    def check(_current: Account) -> None:
        realm.sessions.present(id_token)

    return await admit(
        realm,
        Proof(
            account=presented.account,
            check=check,
            circumstances=call.circumstances(PHONE),
            provider=PHONE,
            pending=Changes(phone_number=number),
        ),
    )


def _refuse_tenants(realm: Realm) -> None:
    if realm.tenant is not None:
        raise WireError("UNSUPPORTED_TENANT_OPERATION")
