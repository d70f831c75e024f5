"""Documents that anybody may read: certificates, key sets, configuration (identity-toolkit.md sections 5 and 9).

Certificates say how long they may be cached; :mod:`gateway.idp.signing_keys` publishes every key for longer than that
before it signs. The configuration answers keep the SDKs from starting reCAPTCHA, which needs Google.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.idp.endpoints import LEGACY, TOOLKIT, WWW
from gateway.idp.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from gateway.idp.realm import Realm
from gateway.idp.signing_keys import CERTIFICATES_MAX_AGE, KeyRing

CERTIFICATE_CACHING: Final = f"public, max-age={CERTIFICATES_MAX_AGE}, must-revalidate, no-transform"

_SERVICE_ACCOUNT: Final = "securetoken@system.gserviceaccount.com"
_SYMBOLS: Final = tuple("^$*.[]{}()?\"!@#%&/\\,><':;|_~`-+= ")


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON document with its headers."""

    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """A document's paths and how it is made."""

    paths: tuple[str, ...]
    render: Callable[[Realm], Awaitable[Document]]


async def _certificates(realm: Realm, ring: KeyRing) -> Document:
    await realm.db.run(ring.maintain)
    keys = await realm.db.run(ring.published)
    return Document({key.kid: key.certificate_pem() for key in keys}, {"Cache-Control": CERTIFICATE_CACHING})


async def _key_set(realm: Realm, ring: KeyRing) -> Document:
    await realm.db.run(ring.maintain)
    keys = await realm.db.run(ring.published)
    return Document({"keys": [key.jwk() for key in keys]}, {"Cache-Control": CERTIFICATE_CACHING})


async def _id_certificates(realm: Realm) -> Document:
    return await _certificates(realm, realm.id_keys)


async def _id_key_set(realm: Realm) -> Document:
    return await _key_set(realm, realm.id_keys)


async def _cookie_certificates(realm: Realm) -> Document:
    return await _certificates(realm, realm.cookie_keys)


async def _cookie_key_set(realm: Realm) -> Document:
    return await _key_set(realm, realm.cookie_keys)


async def _project(realm: Realm) -> Document:
    return Document({"projectId": realm.project_number, "authorizedDomains": ["localhost", "127.0.0.1"]})


async def _recaptcha_parameters(_realm: Realm) -> Document:
    return Document(
        {
            "kind": "identitytoolkit#GetRecaptchaParamResponse",
            "recaptchaStoken": "not-used-by-the-local-provider",
            "recaptchaSiteKey": "not-used-by-the-local-provider",
        }
    )


async def _recaptcha_config(realm: Realm) -> Document:
    off = [
        {"provider": provider, "enforcementState": "OFF"} for provider in ("EMAIL_PASSWORD_PROVIDER", "PHONE_PROVIDER")
    ]
    return Document({"recaptchaKey": f"projects/{realm.project_id}/keys/none", "recaptchaEnforcementState": off})


async def _password_policy(_realm: Realm) -> Document:
    return Document(
        {
            "schemaVersion": 1,
            "customStrengthOptions": {
                "minPasswordLength": MIN_PASSWORD_LENGTH,
                "maxPasswordLength": MAX_PASSWORD_LENGTH,
            },
            "allowedNonAlphanumericCharacters": list(_SYMBOLS),
            "enforcementState": "OFF",
            "forceUpgradeOnSignin": False,
        }
    )


def _both(host: str, path: str) -> tuple[str, str]:
    return path, host + path


DOCUMENTS: Final = (
    Published(_both(WWW, f"/robot/v1/metadata/x509/{_SERVICE_ACCOUNT}"), _id_certificates),
    Published(_both(WWW, f"/service_accounts/v1/jwk/{_SERVICE_ACCOUNT}"), _id_key_set),
    Published(_both(WWW, f"{LEGACY}/publicKeys"), _cookie_certificates),
    Published(_both(TOOLKIT, "/v1/sessionCookiePublicKeys"), _cookie_key_set),
    Published((*_both(TOOLKIT, "/v1/projects"), *_both(WWW, f"{LEGACY}/getProjectConfig")), _project),
    Published(
        (*_both(TOOLKIT, "/v1/recaptchaParams"), *_both(WWW, f"{LEGACY}/getRecaptchaParam")), _recaptcha_parameters
    ),
    Published(_both(TOOLKIT, "/v2/recaptchaConfig"), _recaptcha_config),
    Published(_both(TOOLKIT, "/v2/passwordPolicy"), _password_policy),
)
