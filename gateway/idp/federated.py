"""Signing in with another provider: ``accounts:signInWithIdp`` (identity-toolkit.md section 8.1).

There is no other provider here: like the official emulator, this one believes what a client says that another provider
said. The rule this file obeys is therefore: **made-up identities are believed only from callers who could as well use
the emulator's administrator credential**: on loopback, without a proxy in between, from no page of a foreign origin.

The account is chosen as one-account-per-address demands: an address that the other provider vouches for takes over an
account whose own address was never verified, and loses that account's password and other identities on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import jwt

from gateway.idp.accounts import Changes, normal_email
from gateway.idp.admission import Proof, admit
from gateway.idp.errors import WireError
from gateway.idp.events import Foreign
from gateway.idp.realm import Call, Realm
from gateway.idp.records import PASSWORD, PHONE, Account, Link
from gateway.idp.wire import Fields, compact

_PROVIDER_ID: Final = re.compile(r"(?:saml|oidc)\.[A-Za-z0-9._-]{1,60}|[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.ASCII)
_UNVERIFIED: Final[Any] = {"verify_signature": False}
_SAML: Final = "saml."
_OIDC: Final = "oidc."
_GOOGLE: Final = "google.com"
_GOOGLE_ACCOUNTS: Final = "https://accounts.google.com/"
_SCOPES: Final = (
    "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom another provider vouches for. ``claims`` are its own words."""

    provider_id: str
    raw_id: str
    claims: Mapping[str, Any] = field(repr=False)
    foreign: Foreign
    email: str | None = None
    email_verified: bool = False

    @property
    def display_name(self) -> str | None:
        """The name it gives."""
        return _text(self.claims, "name")

    @property
    def photo_url(self) -> str | None:
        """The picture it gives."""
        return _text(self.claims, "picture")

    @property
    def link(self) -> Link:
        """The identity as an account keeps it."""
        return Link(
            provider_id=self.provider_id,
            raw_id=self.raw_id,
            email=self.email,
            display_name=self.display_name,
            photo_url=self.photo_url,
        )

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """What goes into tokens as ``firebase.sign_in_attributes``."""
        return self.foreign.attributes


async def sign_in_with_idp(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:signInWithIdp``: sign in, or link when there is an ID token.

    :raises WireError: as section 8.1 lists.
    """
    if not call.unsigned_allowed:
        raise WireError("OPERATION_NOT_ALLOWED : Identities of other providers are made up here, for loopback only.")
    identity = read_identity(call.fields)
    try:
        return await _sign_in(realm, call, identity)
    except WireError as error:
        # The SDKs' way to learn of the credential that did not work: a success that holds an error.
        if error.name in {"FEDERATED_USER_ID_ALREADY_LINKED", "EMAIL_EXISTS"} and call.fields.flag(
            "returnIdpCredential"
        ):
            return {**_described(identity), "errorMessage": error.message}
        raise


async def _sign_in(realm: Realm, call: Call, identity: Identity) -> dict[str, Any]:
    owner = await realm.db.run(realm.accounts.find, link=(identity.provider_id, identity.raw_id))
    circumstances = call.circumstances(identity.provider_id, identity.foreign)
    pending = Changes(link=identity.link)
    new = False
    id_token = call.fields.text("idToken")
    if id_token:
        presented = await realm.db.run(realm.sessions.present, id_token)
        account = presented.account
        if owner is not None and owner.uid != account.uid:
            raise WireError("FEDERATED_USER_ID_ALREADY_LINKED")
        if identity.email is not None:
            await realm.db.run(realm.accounts.require_free_email, identity.email, owner=account.uid)
        pending = _joined(account, identity)
    elif owner is not None:
        account = owner
    else:
        holder = await realm.db.run(realm.accounts.by_email, identity.email) if identity.email else None
        if holder is None and call.fields.flag("autoCreate") is False:
            raise WireError("USER_NOT_FOUND")
        if holder is not None and not identity.email_verified:
            methods = [PASSWORD] if holder.password_hash or holder.email_link_sign_in else []
            verified = [*methods, *(link.provider_id for link in holder.links)]
            return {**_described(identity), "needConfirmation": True, "verifiedProvider": verified}
        new = holder is None
        account = holder or _candidate(realm, identity)
        if holder is not None:
            pending = _taken_over(realm, holder, identity)
    admitted = await admit(
        realm,
        Proof(
            account=account,
            circumstances=circumstances,
            provider=identity.provider_id,
            new=new,
            pending=Changes() if new else pending,
            attributes=identity.attributes,
            check=partial(_still_signed_in, realm, id_token),
        ),
    )
    account = admitted.account
    return compact(
        {
            **_described(identity),
            "localId": account.uid,
            "displayName": account.display_name,
            "photoUrl": account.photo_url,
            "isNewUser": new or None,
            "tenantId": account.tenant,
            **admitted.fields(),
        }
    )


def _still_signed_in(realm: Realm, id_token: str | None, _current: Account) -> None:
    """Whoever links something must be signed in when it is stored too, not only when functions were asked."""
    if id_token:
        realm.sessions.present(id_token)


def _candidate(realm: Realm, identity: Identity) -> Account:
    return realm.accounts.candidate(
        email=identity.email,
        email_verified=identity.email_verified and identity.email is not None,
        display_name=identity.display_name,
        photo_url=identity.photo_url,
        links=(identity.link,),
    )


def _joined(account: Account, identity: Identity) -> Changes:
    """What linking changes: the identity, and whatever the account did not have."""
    changes = Changes(link=identity.link)
    if account.display_name is None and identity.display_name is not None:
        changes["display_name"] = identity.display_name
    if account.photo_url is None and identity.photo_url is not None:
        changes["photo_url"] = identity.photo_url
    if identity.email is not None:
        if account.email is None:
            changes["email"] = identity.email
            changes["email_verified"] = identity.email_verified
        elif account.email == identity.email and identity.email_verified:
            changes["email_verified"] = True
    return changes


def _taken_over(realm: Realm, holder: Account, identity: Identity) -> Changes:
    """What signing in changes where the address is known: the profile, and what the unverified past left behind."""
    changes = Changes(link=identity.link, email_verified=True)
    if identity.display_name is not None:
        changes["display_name"] = identity.display_name
    if identity.photo_url is not None:
        changes["photo_url"] = identity.photo_url
    if not holder.email_verified:
        changes["password_hash"] = None
        changes["unlink"] = [PHONE, *(link.provider_id for link in holder.links)]
        changes["valid_since"] = int(realm.clock.now())
    return changes


def read_identity(fields: Fields) -> Identity:
    """The identity in ``requestUri``, its fragment and ``postBody``.

    :raises WireError: ``MISSING_REQUEST_URI``, ``INVALID_REQUEST_URI``, ``INVALID_CREDENTIAL_OR_PROVIDER_ID`` or
        ``INVALID_IDP_RESPONSE``.
    """
    request_uri = fields.text("requestUri")
    if not request_uri:
        raise WireError("MISSING_REQUEST_URI")
    try:
        parts = urlsplit(request_uri)
        returned = dict(parse_qsl(parts.query)) | dict(parse_qsl(parts.fragment))
        posted = dict(parse_qsl(fields.text("postBody") or ""))
    except ValueError:
        raise WireError("INVALID_REQUEST_URI") from None
    if not parts.scheme or not parts.netloc:
        raise WireError("INVALID_REQUEST_URI")
    values = returned | posted
    provider_id = values.get("providerId", "")
    if not _PROVIDER_ID.fullmatch(provider_id):
        raise WireError(
            f"INVALID_CREDENTIAL_OR_PROVIDER_ID : Invalid IdP response/credential: {request_uri.split('?', 1)[0]}"
        )
    if provider_id.startswith(_SAML):
        return _saml(provider_id, values.get("SAMLResponse", ""))
    return _oauth(provider_id, values, returned)


def _saml(provider_id: str, text: str) -> Identity:
    claims = _claims(text)
    assertion = claims.get("assertion") if claims is not None else None
    subject = assertion.get("subject") if isinstance(assertion, dict) else None
    name = subject.get("nameId") if isinstance(subject, dict) else None
    if not isinstance(assertion, dict) or not isinstance(name, str) or not name:
        raise WireError("INVALID_IDP_RESPONSE : SAMLResponse must be JSON with assertion.subject.nameId")
    attributes = assertion.get("attributeStatements")
    attributes = attributes if isinstance(attributes, dict) else {}
    email = next((e for e in (name, attributes.get("email"), attributes.get("mail")) if _is_email(e)), None)
    return Identity(
        provider_id=provider_id,
        raw_id=name,
        claims=attributes,
        foreign=Foreign(profile=_json(attributes), attributes=attributes),
        email=None if email is None else normal_email(email),
        email_verified=email is not None,
    )


def _oauth(provider_id: str, values: Mapping[str, str], returned: Mapping[str, str]) -> Identity:
    id_token, access_token = values.get("id_token"), values.get("access_token")
    claims = _claims(id_token or "") or _claims(access_token or "")
    subject = claims.get("sub") if claims is not None else None
    if claims is None or not isinstance(subject, str) or not subject:
        raise WireError(
            "INVALID_IDP_RESPONSE : id_token or access_token must be a JWT or a JSON object with a string sub"
        )
    email = _text(claims, "email")
    expires = values.get("expires_in", "")
    foreign = Foreign(
        profile=_json(_profile(provider_id, claims)),
        attributes=claims if provider_id.startswith(_OIDC) else None,
        id_token=id_token,
        access_token=access_token,
        token_secret=values.get("oauth_token_secret"),
        # Only a flow through the provider's own page ends with a refresh token (blocking-functions.md section 3.8).
        refresh_token=returned.get("refresh_token"),
        expires_in=int(expires) if re.fullmatch("[0-9]{1,9}", expires, re.ASCII) else None,
    )
    return Identity(
        provider_id=provider_id,
        raw_id=subject,
        claims=claims,
        foreign=foreign,
        email=normal_email(email) if email is not None and _is_email(email) else None,
        email_verified=claims.get("email_verified") is True,
    )


def _claims(text: str) -> dict[str, Any] | None:
    """The claims of a made-up token: a JSON object in clear, or the payload of a JWT that nobody verifies."""
    try:
        claims = json.loads(text) if text.lstrip().startswith("{") else jwt.decode(text, options=_UNVERIFIED)
        # What cannot be written again would fail later, in the store or in a token.
        json.dumps(claims, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _profile(provider_id: str, claims: Mapping[str, Any]) -> dict[str, Any]:
    """The provider's user-info: Google has names of its own, the others' is what the client sent."""
    if provider_id != _GOOGLE:
        return dict(claims)
    named = {
        "id": claims.get("sub"),
        "email": claims.get("email"),
        "verified_email": claims.get("email_verified"),
        "name": claims.get("name"),
        "given_name": claims.get("given_name"),
        "family_name": claims.get("family_name"),
        "picture": claims.get("picture"),
        "granted_scopes": claims.get("granted_scopes", _SCOPES),
    }
    return compact(named)


def _described(identity: Identity) -> dict[str, Any]:
    """What every reply says of the identity."""
    claims = identity.claims
    return compact(
        {
            "kind": "identitytoolkit#VerifyAssertionResponse",
            "context": "",
            "providerId": identity.provider_id,
            "federatedId": _GOOGLE_ACCOUNTS + identity.raw_id if identity.provider_id == _GOOGLE else identity.raw_id,
            "email": identity.email,
            "emailVerified": identity.email_verified,
            "displayName": identity.display_name,
            "fullName": identity.display_name,
            "firstName": _text(claims, "given_name"),
            "lastName": _text(claims, "family_name"),
            "photoUrl": identity.photo_url,
            "screenName": _text(claims, "screen_name"),
            "rawUserInfo": identity.foreign.profile,
            "oauthIdToken": identity.foreign.id_token,
            "oauthAccessToken": identity.foreign.access_token,
            "oauthTokenSecret": identity.foreign.token_secret,
            "oauthRefreshToken": identity.foreign.refresh_token,
            "oauthExpireIn": identity.foreign.expires_in,
        }
    )


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) and value else None


def _is_email(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        normal_email(value)
    except WireError:
        return False
    return True


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), separators=(",", ":"), ensure_ascii=False)
