"""The table of methods: which path means which, and who may call it."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from gateway.idp import admin, federated, mfa, oob, phone, profile, project, sign_in
from gateway.idp.errors import not_implemented
from gateway.idp.realm import Call, Realm

Method: TypeAlias = Callable[[Realm, Call], Awaitable[dict[str, Any]]]

TOOLKIT: Final = "/identitytoolkit.googleapis.com"
SECURE_TOKEN: Final = "/securetoken.googleapis.com"  # noqa: S105 - a host name
WWW: Final = "/www.googleapis.com"
LEGACY: Final = "/identitytoolkit/v3/relyingparty"
"""The v3 methods, which firebase-admin's own integration tests still use."""


class Need(enum.Enum):
    """What a caller needs."""

    API_KEY = enum.auto()
    """An API key, or the administrator's credential."""
    ADMINISTRATOR = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method. ``path`` is the plain form; ``host`` the production host as a path prefix, None: plain only."""

    path: str
    method: Method
    host: str | None = TOOLKIT
    http_method: str = "POST"
    need: Need = Need.API_KEY
    form: bool = False

    def paths(self) -> Iterator[str]:
        """Every path that it answers at."""
        yield self.path
        if self.host is not None:
            yield self.host + self.path


async def _sign_up(realm: Realm, call: Call) -> dict[str, Any]:
    """``accounts:signUp`` for both: an administrator creates, a client signs up (or links, with an ID token)."""
    if call.privileged and not call.fields.text("idToken"):
        return await admin.create(realm, call)
    return await sign_in.sign_up(realm, call)


async def _unavailable(_realm: Realm, _call: Call) -> dict[str, Any]:
    raise not_implemented("this provider does not offer the method")


_CLIENT: Final[dict[str, tuple[Method, str | None]]] = {
    # v1 method: what does it, and its v3 name
    "signUp": (_sign_up, "signupNewUser"),
    "signInWithPassword": (sign_in.sign_in_with_password, "verifyPassword"),
    "signInWithEmailLink": (sign_in.sign_in_with_email_link, "emailLinkSignin"),
    "signInWithCustomToken": (sign_in.sign_in_with_custom_token, "verifyCustomToken"),
    "lookup": (profile.lookup, "getAccountInfo"),
    "update": (profile.update, "setAccountInfo"),
    "delete": (profile.delete, "deleteAccount"),
    "sendOobCode": (oob.send_oob_code, "getOobConfirmationCode"),
    "resetPassword": (oob.reset_password, "resetPassword"),
    "createAuthUri": (oob.create_auth_uri, "createAuthUri"),
    "signInWithIdp": (federated.sign_in_with_idp, "verifyAssertion"),
    "sendVerificationCode": (phone.send_verification_code, "sendVerificationCode"),
    "signInWithPhoneNumber": (phone.sign_in_with_phone_number, "verifyPhoneNumber"),
    "signInWithGameCenter": (_unavailable, None),
}

_ADMIN: Final[dict[str, tuple[str, Method]]] = {
    # behind /v1/projects/{project} or /v1/projects/{project}/tenants/{tenant}
    "/accounts": ("POST", admin.create),
    "/accounts:signUp": ("POST", admin.create),
    "/accounts:lookup": ("POST", profile.lookup),
    "/accounts:update": ("POST", profile.update),
    "/accounts:delete": ("POST", profile.delete),
    "/accounts:batchDelete": ("POST", admin.batch_delete),
    "/accounts:batchCreate": ("POST", admin.batch_create),
    "/accounts:batchGet": ("GET", admin.batch_get),
    "/accounts:query": ("POST", admin.query),
    ":queryAccounts": ("POST", admin.query),
    "/accounts:sendOobCode": ("POST", oob.send_oob_code),
    ":createSessionCookie": ("POST", admin.create_session_cookie),
}

_SECOND: Final[dict[str, Method]] = {
    "mfaEnrollment:start": mfa.start_enrollment,
    "mfaEnrollment:finalize": mfa.finish_enrollment,
    "mfaEnrollment:withdraw": mfa.withdraw,
    "mfaSignIn:start": mfa.start_sign_in,
    "mfaSignIn:finalize": mfa.finish_sign_in,
}
"""Second factors, behind /v2/accounts/."""

_PROJECT: Final[dict[tuple[str, str], Method]] = {
    ("GET", "/config"): project.get_config,
    ("PATCH", "/config"): project.patch_config,
    ("GET", "/tenants"): project.list_tenants,
    ("POST", "/tenants"): project.create_tenant,
    ("GET", "/tenants/{managed}"): project.get_tenant,
    ("PATCH", "/tenants/{managed}"): project.patch_tenant,
    ("DELETE", "/tenants/{managed}"): project.delete_tenant,
}
"""Configuration, behind /v2/projects/{project}."""

_LATER: Final = (
    "/v2/accounts:revokeToken",
    "/v2/accounts/passkeyEnrollment:start", "/v2/accounts/passkeyEnrollment:finalize",
    "/v2/accounts/passkeySignIn:start", "/v2/accounts/passkeySignIn:finalize",
)  # fmt: skip
"""Client methods of v2 that are known and not offered."""

_CONTROL: Final[dict[tuple[str, str], Method]] = {
    ("DELETE", "/accounts"): admin.delete_all,
    ("GET", "/config"): admin.get_config,
    ("PATCH", "/config"): admin.patch_config,
    ("GET", "/oobCodes"): admin.list_codes,
    ("GET", "/verificationCodes"): admin.list_sms_codes,
}
"""The emulator's own endpoints. Unlike the emulator's, they want the administrator's credential."""


def _all() -> Iterator[Endpoint]:
    for name, (method, legacy) in _CLIENT.items():
        yield Endpoint(path=f"/v1/accounts:{name}", method=method)
        if legacy is not None:
            yield Endpoint(path=f"{LEGACY}/{legacy}", method=method, host=WWW)
    yield Endpoint(path="/v1/token", method=sign_in.refresh, host=SECURE_TOKEN, form=True)
    for suffix, (http_method, method) in _ADMIN.items():
        for prefix in ("/v1/projects/{project}", "/v1/projects/{project}/tenants/{tenant}"):
            yield Endpoint(path=prefix + suffix, method=method, http_method=http_method, need=Need.ADMINISTRATOR)
    yield Endpoint(path=f"{LEGACY}/downloadAccount", method=admin.batch_get, host=WWW, need=Need.ADMINISTRATOR)
    yield Endpoint(path=f"{LEGACY}/uploadAccount", method=admin.batch_create, host=WWW, need=Need.ADMINISTRATOR)
    for name, method in _SECOND.items():
        yield Endpoint(path=f"/v2/accounts/{name}", method=method)
    for (http_method, suffix), method in _PROJECT.items():
        path = "/v2/projects/{project}" + suffix
        yield Endpoint(path=path, method=method, http_method=http_method, need=Need.ADMINISTRATOR)
    for path in _LATER:
        yield Endpoint(path=path, method=_unavailable)
    for http_method in ("GET", "POST", "PATCH", "DELETE"):
        # Configurations of federated providers.
        yield Endpoint(
            path="/v2/projects/{project}/{rest:.+}",
            method=_unavailable,
            http_method=http_method,
            need=Need.ADMINISTRATOR,
        )
    for (http_method, suffix), method in _CONTROL.items():
        for prefix in ("/emulator/v1/projects/{project}", "/emulator/v1/projects/{project}/tenants/{tenant}"):
            yield Endpoint(
                path=prefix + suffix, method=method, host=None, http_method=http_method, need=Need.ADMINISTRATOR
            )


ENDPOINTS: Final = tuple(_all())
