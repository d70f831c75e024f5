"""What every method of the provider works with, and what it is told about one call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.core.client_ip import IPAddress
from gateway.core.ports import Clock
from gateway.idp.accounts import Accounts
from gateway.idp.codes import Codes, Issued, LinkStyle, Mailbox
from gateway.idp.errors import WireError
from gateway.idp.events import Circumstances, Foreign
from gateway.idp.expiring import Expiring
from gateway.idp.hooks import Hooks
from gateway.idp.passwords import Passwords
from gateway.idp.sessions import Sessions
from gateway.idp.signing_keys import KeyRing
from gateway.idp.sms import SmsCodes
from gateway.idp.store import StoreThread
from gateway.idp.throttle import GuessThrottle
from gateway.idp.wire import Fields

if TYPE_CHECKING:
    from gateway.idp.tenants import Tenants

MAX_LANGUAGE_LENGTH: Final = 35
"""Characters of a language tag that is believed (RFC 5646 section 4.4.1)."""

_SCORE: Final = re.compile(r"score:([01](?:\.[0-9]{1,6})?)", re.ASCII)


@dataclass(slots=True, kw_only=True)
class ProjectConfig:
    """Switches of the project; they start as the settings say and may change at run time."""

    email_enumeration_protection: bool
    sign_up: bool
    password_sign_in: bool
    email_link_sign_in: bool
    anonymous_sign_in: bool
    second_factors: bool = True
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfDone:
    """A sign-in whose first factor was right. ``password_hash`` and ``valid_since`` must still be the account's."""

    uid: str
    circumstances: Circumstances
    provider: str
    attributes: Mapping[str, Any] | None = field(repr=False)
    password_hash: str | None = field(repr=False)
    valid_since: int
    tries: list[int] = field(default_factory=lambda: [0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolling:
    """An authenticator app that has its secret and has not shown a code yet."""

    uid: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Realm:
    """One project's accounts, keys and rules, or one tenant's, which shares keys, functions and mailbox."""

    project_id: str
    project_number: str
    config: ProjectConfig
    clock: Clock
    db: StoreThread
    accounts: Accounts
    sessions: Sessions
    codes: Codes
    id_keys: KeyRing
    cookie_keys: KeyRing
    passwords: Passwords
    hooks: Hooks
    throttle: GuessThrottle
    mailbox: Mailbox
    sms_codes: SmsCodes
    half_done: Expiring[HalfDone]
    number_proofs: Expiring[str]
    enrolling: Expiring[Enrolling]
    tenants: Tenants
    tenant: str | None = None

    def send(self, issued: Issued | None) -> None:
        """Put a link "into the mail", once the transaction that made it is through."""
        if issued is not None:
            self.mailbox.deliver(issued.mail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a method.

    ``privileged``: it carried the administrator's credential. ``unsigned_allowed``: the circumstances are those in
    which the emulator's credentials are believed, so an unsigned custom token is too. ``address`` is the client's,
    already judged. ``parameters`` are the query's. ``tenant`` is the one that an administrator's call is about.
    """

    fields: Fields = field(repr=False)
    privileged: bool = False
    unsigned_allowed: bool = False
    api_key: str | None = None
    address: IPAddress | None = None
    user_agent: str | None = None
    locale: str | None = None
    tenant: str | None = None
    parameters: Fields = field(default_factory=lambda: Fields({}), repr=False)

    def require(self, name: str, missing: str) -> str:
        """The text of a field that must not be empty.

        :raises WireError: ``missing``.
        """
        value = self.fields.text(name)
        if not value:
            raise WireError(missing)
        return value

    def circumstances(self, method: str | None, foreign: Foreign | None = None) -> Circumstances:
        """What a blocking function is told about this sign-in or message."""
        return Circumstances(
            method=method,
            address=self.address,
            user_agent=self.user_agent,
            locale=self.locale,
            score=self._score(),
            foreign=foreign,
        )

    def _score(self) -> float | None:
        """ReCAPTCHA's score, which this provider cannot get: a client says ``score:0.3`` in place of a token."""
        for name in ("captchaResponse", "recaptchaToken"):
            token = self.fields.text(name)
            if token is not None and (match := _SCORE.fullmatch(token)):
                return float(match.group(1))
        return None

    def link_style(self) -> LinkStyle:
        """How links for this caller are written."""
        style: dict[str, Any] = {}
        if self.api_key:
            style["api_key"] = self.api_key
        if self.locale and len(self.locale) <= MAX_LANGUAGE_LENGTH:
            style["language"] = self.locale
        return LinkStyle(**style)
