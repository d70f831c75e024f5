"""What a function is told: user, context, credential (blocking-functions.md sections 1.7 to 1.10).

Names are Python's. At run time each is readable by its documented camelCase name too (``user.emailVerified``), so that
ported code works; type checkers know the Python names only. All times are timezone-aware, in UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

SERVICE: Final = "identitytoolkit.googleapis.com"
"""``resource.service`` of every event."""

_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z]+)")

Defer = Callable[..., None]
"""Takes work for after the answer: a coroutine, or a function (plain or async) and its arguments."""


def snake(name: str) -> str:
    """``emailVerified`` as ``email_verified``, ``photoURL`` as ``photo_url``."""
    return _HUMP.sub(lambda hump: "_" + hump[1].lower(), name)


class Documented:
    """Base: every field is readable by its documented name too."""

    __slots__ = ()

    _also: ClassVar[Mapping[str, str]] = {}
    """Documented names that are not simply the Python name in camelCase."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            ours = self._also.get(name) or snake(name)
            if ours == name or name.startswith("_"):
                raise AttributeError(f"{type(self).__name__} has no {name!r}", name=name, obj=self)
            return getattr(self, ours)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMetadata(Documented):
    """When the account was made and last used; None where the event does not say."""

    creation_time: dt.datetime | None = None
    last_sign_in_time: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInfo(Documented):
    """The account as one identity provider knows it; ``uid`` is the id there."""

    provider_id: str
    uid: str | None = None
    display_name: str | None = None
    email: str | None = None
    photo_url: str | None = None
    phone_number: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiFactorInfo(Documented):
    """One enrolled second factor; ``factor_id`` is ``phone``, ``totp`` or what else the service has."""

    uid: str
    display_name: str | None = None
    factor_id: str | None = None
    phone_number: str | None = None
    enrollment_time: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiFactorSettings(Documented):
    """The enrolled second factors, one at least."""

    enrolled_factors: tuple[MultiFactorInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Documented):
    """The account, as it is or is about to be stored.

    In ``beforeCreate`` it is a candidate: nothing is stored yet, but ``uid`` is final.
    """

    uid: str
    email: str | None = None
    email_verified: bool = False
    display_name: str | None = None
    photo_url: str | None = None
    phone_number: str | None = None
    disabled: bool = False
    metadata: UserMetadata = field(default_factory=UserMetadata)
    provider_data: tuple[UserInfo, ...] = ()
    password_hash: str | None = field(default=None, repr=False)
    password_salt: str | None = field(default=None, repr=False)
    custom_claims: Mapping[str, Any] | None = None
    tenant_id: str | None = None
    tokens_valid_after_time: dt.datetime | None = None
    multi_factor: MultiFactorSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditionalUserInfo(Documented):
    """What else is known of this sign-in. ``profile`` is the identity provider's user info."""

    provider_id: str | None = None
    profile: Mapping[str, Any] | None = field(default=None, repr=False)
    username: str | None = None
    is_new_user: bool = False
    recaptcha_score: float | None = None
    """0.0 (a robot) to 1.0 (a person), where reCAPTCHA Enterprise is on."""
    email: str | None = None
    phone_number: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthCredential(Documented):
    """What the identity provider handed out; each part only where the project forwards it. Never log one."""

    claims: Mapping[str, Any] | None = field(default=None, repr=False)
    """SAML attributes or OIDC claims."""
    id_token: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    """OAuth 1.0a token secret (Twitter)."""
    provider_id: str | None = None
    sign_in_method: str | None = None
    expiration_time: dt.datetime | None = None


class Resource(str):
    """``projects/ID`` or ``projects/ID/tenants/ID``, with the two parts of the Firebase SDKs' object."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The text itself."""
        return str(self)

    @property
    def service(self) -> str:
        """The service that the resource belongs to."""
        return SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContext(Documented):
    """How, where and when: everything about the event but the user, who is in ``data`` too."""

    _also: ClassVar[Mapping[str, str]] = {"user": "data"}

    event_id: str | None
    event_type: str
    """Such as ``providers/cloud.auth/eventTypes/user.beforeSignIn:password``."""
    auth_type: str
    """``USER``, or ``UNAUTHENTICATED`` for the two send events, which name no user."""
    resource: Resource
    timestamp: dt.datetime
    additional_user_info: AdditionalUserInfo
    data: User | None = None
    credential: AuthCredential | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    locale: str | None = None
    """As the client gave it: ``fr``, ``sv-SE``."""
    email_type: str | None = None
    """``EMAIL_SIGN_IN``, ``PASSWORD_RESET`` or what else the service sends."""
    sms_type: str | None = None
    """``SIGN_IN_OR_SIGN_UP``, ``MULTI_FACTOR_SIGN_IN``, ``MULTI_FACTOR_ENROLLMENT``."""
    sign_in_method: str | None = None
    """``password``, ``emailLink``, ``phone`` or the id of an identity provider."""
    second_factor: str | None = None
    """The second factor of a sign-in that used one, such as ``phone``. No SDK shows it."""
    project_id: str = ""
    tenant_id: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    """Always empty; the Firebase SDKs have it."""
    _defer: Defer | None = field(default=None, repr=False, compare=False)

    @property
    def timestamp_text(self) -> str:
        """The time of the event as SDKs for Node give it, an HTTP date: ``Tue, 23 Jul 2019 21:10:57 GMT``."""
        return format_datetime(self.timestamp, usegmt=True)

    def defer(self, work: Any, *arguments: Any) -> None:
        """Have something done after the answer, and not at all when the event is refused.

        :param work: an async function, a plain one (it runs in a thread), or a coroutine.
        :param arguments: for a function.
        :raises RuntimeError: there is nobody to do it, as in a test that made the context itself.
        """
        if self._defer is None:
            raise RuntimeError("nobody takes deferred work of this context")
        self._defer(work, *arguments)
