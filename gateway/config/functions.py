"""The tables of blocking functions, ``[functions]`` and below, and what must fit together in them.

The docstrings are written for operators, as those of :mod:`gateway.config.model` are. The rule this file obeys: where
unsigned events are taken (``firebase.unsigned_tokens``), nobody but this machine can send one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.config.table import Table
from gateway.config.types import Network, OptionalHostPort, Seconds, Secret, is_loopback_host
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config.model import Config

SERVICE_DEADLINE: Final = 7.0
"""Seconds that the service waits for an answer (Google, "Understanding blocking functions")."""


class VerificationMail(Table, frozen=True):
    """A mail to each new account whose address is not verified, sent once the account is stored.

    Nobody signs in before the address is verified. The link is made by the account service, so `firebase.credentials`
    is needed.
    """

    send: str
    """Who sends it: `module:function`, called with address, link and locale, or `smtp://HOST:PORT`, or `smtps://` for
    TLS from the start. Plain `smtp://` goes on encrypted (STARTTLS), except on this machine."""
    sender: str = ""
    """With `smtp`: the address in `From`."""
    user: str = ""
    """With `smtp`: whom to sign in as. Empty: nobody."""
    password: Secret = Secret()
    """With `smtp`: their password."""
    subject: str = "Verify your e-mail address"
    """With `smtp`."""
    text: str = "Follow this link to verify your e-mail address:\n\n{link}\n"
    """With `smtp`: the mail; `{link}` and `{email}` are replaced."""


class Photo(Table, frozen=True):
    """Screening of the photos that new users bring along."""

    judge: str
    """Who judges: `module:function`, called with the photo's address, answers true for one that is fit to be seen; or
    the https address of a service that takes a POST of `{"photoUrl": …}` and answers `{"appropriate": true}`."""
    replacement: str
    """Address of the photo that stands in for an unfit one."""
    on_error: Literal["deny", "allow", "replace"] = "deny"
    """What becomes of a registration when the judge fails or is slow."""
    timeout: Seconds = Seconds(3)
    """How long the judge may take."""
    api_key: Secret = Secret()
    """With a service: sent as `X-Api-Key`."""


class RefreshTokens(Table, frozen=True):
    """Storing OAuth refresh tokens of new users, encrypted. The project must forward them."""

    save: str
    """`module:function`, called with user id, encrypted token and provider id."""
    key: Secret
    """32 bytes in base64: `openssl rand -base64 32`."""
    old_keys: tuple[Secret, ...] = ()
    """Keys that were `key` before. Nothing is encrypted with them any more."""
    providers: tuple[str, ...] = ("google.com",)
    """Whose tokens are stored."""
    follow_up: str = ""
    """`module:function`, called after the answer with user and context, which holds the fresh tokens. It may fail."""


class ClaimMapping(Table, frozen=True):
    """Claims copied from the attributes that one SAML or OIDC provider sends."""

    provider: str
    """`saml.…` or `oidc.…`."""
    custom: dict[str, str] = msgspec.field(default_factory=dict)
    """Claim to attribute. Stored with the account."""
    session: dict[str, str] = msgspec.field(default_factory=dict)
    """Claim to attribute. In the tokens of this session only."""


class RecaptchaRow(Table, frozen=True):
    """One rule about reCAPTCHA's verdict. Everything given must fit; the first that fits decides."""

    action: Literal["ALLOW", "BLOCK"]
    """What to do, whatever the verdict was."""
    score_above: float | None = None
    """The score, 0.0 to 1.0, is known and greater."""
    phone_prefixes: tuple[str, ...] = ()
    """The telephone number starts with one of these, such as `+91`."""
    types: tuple[str, ...] = ()
    """The kind of message: `SIGN_IN_OR_SIGN_UP`, `MULTI_FACTOR_SIGN_IN`, `MULTI_FACTOR_ENROLLMENT`, `EMAIL_SIGN_IN` or
    `PASSWORD_RESET`."""


class Functions(Table, frozen=True):
    """Blocking functions: what runs before an account is created or somebody signs in.

    Each key below `handlers` is a ready-made function; `docs/how-to/blocking-functions/ready-made.md` shows them.
    """

    listen: OptionalHostPort = OptionalHostPort("off")
    """Where events are taken, or `off`. Identity Platform must reach it from outside, over https."""
    audience: str | tuple[str, ...] = ()
    """The addresses that are registered as triggers, exactly as they are registered: the audience of every event.
    Empty: any address on Cloud Run, or of this project on Cloud Functions."""
    deadline: Seconds = Seconds(6)
    """When a function that has not answered is refused. Below the 7 seconds that Identity Platform waits."""
    handlers: str = ""
    """Functions of your own: `module:name` of a `BlockingFunctions`. They run after the ready-made ones."""
    allowed_domains: tuple[str, ...] = ()
    """Only e-mail addresses of these domains register. Whole domains, in any case of letters."""
    refuse_unverified_email: bool = False
    """Nobody registers with an address that is not verified. Refuses all new accounts with a password."""
    trusted_providers: tuple[str, ...] = ()
    """Identity providers whose addresses count as verified, such as `facebook.com`."""
    refused_networks: tuple[Network, ...] = ()
    """Networks that nobody registers or signs in from."""
    sign_in_ip: Literal["off", "plain", "network"] = "off"
    """What the session's tokens say of where it began: `plain`, the address (`signInIpAddress`); `network`, a hash of
    its network (`signInNetwork`) under `network.claim_key`."""
    display_name: str = ""
    """Name of accounts that have none."""
    verification_mail: VerificationMail | None = None
    photo: Photo | None = None
    refresh_tokens: RefreshTokens | None = None
    claims: tuple[ClaimMapping, ...] = ()
    recaptcha: tuple[RecaptchaRow, ...] = ()
    recaptcha_events: tuple[Literal["before_email", "before_sms"], ...] = ("before_sms",)
    """Which messages the rules of `recaptcha` are about."""
    recaptcha_otherwise: Literal["ALLOW", "BLOCK", "verdict"] = "BLOCK"
    """What to do when no rule of `recaptcha` fits; `verdict` leaves it to reCAPTCHA."""

    @property
    def audiences(self) -> tuple[str, ...]:
        """The addresses of `audience`."""
        return (self.audience,) if isinstance(self.audience, str) else self.audience

    @property
    def is_empty(self) -> bool:
        """Whether no function is configured."""
        return not (
            self.handlers
            or self.allowed_domains
            or self.refuse_unverified_email
            or self.trusted_providers
            or self.refused_networks
            or self.sign_in_ip != "off"
            or self.display_name
            or self.verification_mail
            or self.photo
            or self.refresh_tokens
            or self.claims
            or self.recaptcha
        )


def check_functions(config: Config) -> None:
    """Check everything about functions that a single key cannot show.

    :raises ConfigError: at the first thing that does not fit.
    """
    functions = config.functions
    if functions.recaptcha and not functions.recaptcha_events:
        raise ConfigError("$.functions.recaptcha_events", "is empty, so no rule decides", '["before_sms"]')
    if not 0 < functions.deadline < SERVICE_DEADLINE:
        raise ConfigError("$.functions.deadline", f"is not between 0s and {SERVICE_DEADLINE:g}s", '"6s"')
    for index, url in enumerate(functions.audiences):
        where = "$.functions.audience" + ("" if isinstance(functions.audience, str) else f"[{index}]")
        scheme, host = _origin(url)
        if not host or (scheme != "https" and not (scheme == "http" and is_loopback_host(host))):
            raise ConfigError(where, "is no https address", "the trigger's URL, exactly as it is registered")
    if functions.photo is not None and not 0 < functions.photo.timeout < functions.deadline:
        raise ConfigError(
            "$.functions.photo.timeout", "is not between 0s and functions.deadline", "or on_error would never count"
        )
    if functions.sign_in_ip == "network" and not config.network.claim_key:
        raise ConfigError(
            "$.functions.sign_in_ip", "is network, which needs network.claim_key", "set that key, or write address"
        )
    if functions.verification_mail is not None:
        _check_mail(config, functions.verification_mail)
    if functions.listen.is_off:
        return
    if functions.is_empty:
        raise ConfigError("$.functions.listen", "is set, and no function is configured", 'handlers = "hooks:functions"')
    if config.firebase.unsigned_tokens and not functions.listen.is_loopback:
        raise ConfigError(
            "$.functions.listen", "is not on loopback", "with firebase.unsigned_tokens anybody can make an event"
        )


def _check_mail(config: Config, mail: VerificationMail) -> None:
    where = "$.functions.verification_mail"
    if config.firebase.credentials == "none":
        raise ConfigError(where, "needs firebase.credentials", "the account service makes the link")
    if "://" not in mail.send:
        return
    scheme, host = _origin(mail.send)
    if scheme not in {"smtp", "smtps"} or not host:
        raise ConfigError(f"{where}.send", "is neither a function nor an SMTP server", '"smtp://127.0.0.1:25"')
    parts = urlsplit(mail.send)
    if parts.username or parts.password:
        raise ConfigError(f"{where}.send", "holds credentials", "set user and password instead")
    if not mail.sender:
        raise ConfigError(f"{where}.sender", "is empty", '"Example <noreply@example.com>"')
    if "{link}" not in mail.text:
        raise ConfigError(f"{where}.text", "has no {link}", "write {link} where the address belongs")


def _origin(url: str) -> tuple[str, str]:
    """Scheme and host of an address; no host where it, or its port, cannot be read."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "", ""
    return parts.scheme, parts.hostname or ""
