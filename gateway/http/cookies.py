"""The cookies that carry a session, as ``Set-Cookie`` writes them.

The rules this file obeys (RFC 6265bis sections 4.1.2 and 4.1.3; OWASP ASVS 5.0 section 3.3; ``threats.md`` row 33): the
gateway's own cookie is ``HttpOnly``, ``SameSite=Lax``, for the whole site and this host only, and ``Secure`` unless the
site is plain http on this machine, where it bears another name, because a browser takes a ``__Host-`` cookie over https
only. A cookie is removed under the same name, path and partition that it was set with, or it would stay.

The names that the Firebase SDK chose hold brackets (identity-toolkit.md section 13.3), which RFC 6265 has not and every
browser takes; libraries refuse to write them, so the field is written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gateway.core.credential import Carrier, CookieName, is_local_http
from gateway.core.decision import Allow, Decision, Preflight
from gateway.http.scripts import DEFAULT_APP
from gateway.reasons import CREDENTIAL_CONFLICT, SIGN_IN_REQUIRED, TOKEN_REFRESH_FAILED, Reason

Fields = tuple[tuple[str, str], ...]
"""Header fields in order."""

MAX_COOKIE: Final = 4_096
"""Octets of a cookie's name and value together that browsers keep (RFC 6265bis section 5.6)."""

SDK_MAX_AGE: Final = 34_560_000
"""Seconds: 400 days, the most a browser grants (RFC 6265bis section 5.5). The SDK takes the user for signed out once
its cookie is gone, so that outlives the token in it."""

CLEAR_SITE_DATA: Final = ("Clear-Site-Data", '"cache"')
"""What a sign-out answers beside removed cookies: pages of the signed-out user leave the HTTP cache and the
back/forward cache. Not ``cookies`` and ``storage``, which would also take what belongs to the application and to
sibling hosts."""

_SHARED: Final = "Path=/; SameSite=Lax"
_SDK_SHARED: Final = f"{_SHARED}; Secure; Partitioned; Priority=High"
"""As the SDK itself writes when it signs out: another partition would be another cookie of the same name."""


@dataclass(frozen=True, slots=True)
class SessionCookieSettings:
    """What the session cookie holds, what it is called and, for a Firebase session cookie, its ``lifetime`` in seconds.

    ``sdk``: whether the cookies of the Firebase SDK are carriers too, for the Firebase app ``app``.
    """

    mode: Literal["id_token", "session_cookie", "off"] = "id_token"
    name: Literal["auto", "__Host-session", "__session"] = "auto"
    lifetime: int = 5 * 86_400
    sdk: bool = False
    app: str = DEFAULT_APP

    @property
    def cookie(self) -> CookieName:
        """The session cookie's name."""
        if self.name == "auto":
            return CookieName(Carrier.COOKIE, "__Host-session", "__session")
        return CookieName(Carrier.COOKIE, self.name, self.name)


def sdk_id_cookie(app: str = DEFAULT_APP) -> CookieName:
    """The cookie with the ID token of the Firebase app ``app``."""
    return CookieName(Carrier.SDK_COOKIE, f"__HOST-FIREBASE_{app}", f"__dev_FIREBASE_{app}")


def sdk_refresh_cookie(app: str = DEFAULT_APP) -> CookieName:
    """The cookie with the refresh token, which no script reads."""
    return CookieName(Carrier.SDK_COOKIE, f"__HOST-FIREBASEID_{app}", f"__dev_FIREBASEID_{app}")


def set_session_cookie(name: str, value: str, max_age: int, *, secure: bool) -> tuple[str, str]:
    """The field that sets the session cookie for ``max_age`` seconds."""
    return ("Set-Cookie", f"{name}={value}; {_SHARED}; Max-Age={max_age}; HttpOnly{'; Secure' if secure else ''}")


def set_sdk_cookie(name: str, value: str, *, script: bool) -> tuple[str, str]:
    """The field that sets a cookie of the SDK; ``script``: whether scripts may read it."""
    return ("Set-Cookie", f"{name}={value}; {_SDK_SHARED}; Max-Age={SDK_MAX_AGE}{'' if script else '; HttpOnly'}")


def clear_cookie(name: str) -> tuple[str, str]:
    """The field that removes a session cookie of that name, ours or the SDK's."""
    if "FIREBASE" in name:
        return ("Set-Cookie", f"{name}=; {_SDK_SHARED}; Max-Age=0")
    return ("Set-Cookie", f"{name}=; {_SHARED}; Max-Age=0; HttpOnly{'; Secure' if name.startswith('__Host-') else ''}")


def clear_cookie_headers(settings: SessionCookieSettings, scheme: str, host: str) -> Fields:
    """The fields that remove every cookie that carries a session on this site: what a sign-out answers.

    :param scheme: ``http`` or ``https``, as the client used it.
    """
    names = [settings.cookie] if settings.mode != "off" else []
    names += [sdk_id_cookie(settings.app), sdk_refresh_cookie(settings.app)] if settings.sdk else []
    return tuple(clear_cookie(name.on(scheme, host)) for name in names)


def is_spent(reason: Reason) -> bool:
    """Whether a cookie that was refused for this reason is of no use any more, so that the answer removes it.

    A cookie that stayed would be refused again after the next sign-in (oauth2-proxy CVE-2026-34454).
    """
    return reason.sign_out or reason.bearer_error == "invalid_token" or reason is CREDENTIAL_CONFLICT


def spent_cookie(decision: Decision | None) -> Fields:
    """The field that removes the cookie which ``decision`` found to be dead; empty when there was none.

    It belongs to every answer that follows the decision: on a route that needs a session, on one that does without, at
    the gateway's own addresses. A cookie that is named beside "nobody is signed in", or beside a session that came
    otherwise, has expired.
    """
    if decision is None or isinstance(decision, Preflight) or not decision.cookie:
        return ()
    reason = decision.ignored if isinstance(decision, Allow) else decision.reason
    if reason is None or reason in (SIGN_IN_REQUIRED, TOKEN_REFRESH_FAILED) or is_spent(reason):
        return (clear_cookie(decision.cookie),)
    return ()


def kept_private(fields: Fields) -> Fields:
    """The fields that set cookies, for an answer that may say of itself that it is for everybody.

    No shared cache may then keep it and set the cookies for others (RFC 9111 sections 5.2.2.7 and 7.3).
    """
    return (*fields, ("Cache-Control", "private")) if fields else ()


def needs_secure(scheme: str, host: str) -> bool:
    """Whether cookies of the site bear ``Secure``: everywhere but on plain http on this machine."""
    return not is_local_http(scheme, host)
