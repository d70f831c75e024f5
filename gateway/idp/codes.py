"""Out-of-band codes, the links that carry them, and the mailbox where those links "were sent".

The rules this file obeys: **a code works once, for one purpose, for one address and for a limited time**; only its hash
is stored. The clear code exists in the link and, for whoever runs the provider, in the mailbox in memory.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from gateway.core.ports import Clock
from gateway.idp.errors import WireError
from gateway.idp.records import CodeKind, CodeRecord
from gateway.idp.sessions import hash_secret
from gateway.idp.store import Store

CODE_BYTES: Final = 40
"""Random bytes of a code: 320 bits, 54 characters, as the emulator's codes are long."""

CODE_LIFETIME: Final[dict[CodeKind, int]] = {
    CodeKind.PASSWORD_RESET: 3_600,
    CodeKind.EMAIL_SIGNIN: 6 * 3_600,
    CodeKind.VERIFY_EMAIL: 3 * 24 * 3_600,
    CodeKind.VERIFY_AND_CHANGE_EMAIL: 3 * 24 * 3_600,
    CodeKind.RECOVER_EMAIL: 30 * 24 * 3_600,
}
"""Seconds: as publicly reported of the service (identity-toolkit.md section 3); recovery lasts longest, because its
reader may be on holiday while somebody else uses the account."""

EXPIRED_CODES_KEPT: Final = 7 * 24 * 3_600
"""Expired codes are remembered this long, seconds, to say ``EXPIRED_OOB_CODE`` rather than ``INVALID_OOB_CODE``."""

MAILBOX_SIZE: Final = 200
"""Mails (and issued codes) that are kept in memory; older ones are dropped."""

MODES: Final[dict[CodeKind, str]] = {
    CodeKind.PASSWORD_RESET: "resetPassword",
    CodeKind.VERIFY_EMAIL: "verifyEmail",
    CodeKind.EMAIL_SIGNIN: "signIn",
    CodeKind.VERIFY_AND_CHANGE_EMAIL: "verifyAndChangeEmail",
    CodeKind.RECOVER_EMAIL: "recoverEmail",
}
"""``mode`` of a link (identity-toolkit.md section 6.7)."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that would have been sent. ``when`` is seconds since the epoch."""

    to: str
    kind: CodeKind
    link: str = field(repr=False)
    when: float


@dataclass(frozen=True, slots=True)
class Text:
    """An SMS that would have been sent: ``kind`` says what for, ``session_info`` names it to whoever redeems it."""

    to: str
    kind: str
    code: str = field(repr=False)
    session_info: str = field(repr=False)
    when: float


class Mailbox:
    """The latest mails and texts, oldest first."""

    def __init__(
        self, on_mail: Callable[[Mail], None] | None = None, on_text: Callable[[Text], None] | None = None
    ) -> None:
        self._mails: deque[Mail] = deque(maxlen=MAILBOX_SIZE)
        self._texts: deque[Text] = deque(maxlen=MAILBOX_SIZE)
        self._on_mail = on_mail
        self._on_text = on_text

    def deliver_text(self, text: Text) -> None:
        """Put an SMS into the box and tell the listener."""
        self._texts.append(text)
        if self._on_text is not None:
            self._on_text(text)

    def texts(self) -> list[Text]:
        """The texts, oldest first."""
        return list(self._texts)

    def deliver(self, mail: Mail) -> None:
        """Put a mail into the box and tell the listener."""
        self._mails.append(mail)
        if self._on_mail is not None:
            self._on_mail(mail)

    def latest(self, to: str, kind: CodeKind | None = None) -> Mail | None:
        """The newest mail to an address, of one kind if that is named."""
        return next((m for m in reversed(self._mails) if m.to == to and kind in {None, m.kind}), None)

    def __iter__(self) -> Iterator[Mail]:
        return iter(tuple(self._mails))

    def __len__(self) -> int:
        return len(self._mails)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A fresh code in clear, with its link."""

    code: str = field(repr=False)
    link: str = field(repr=False)
    record: CodeRecord
    when: float

    @property
    def mail(self) -> Mail:
        """The mail that carries it: to the new address where that is what has to be proved."""
        record = self.record
        to = record.new_email if record.kind is CodeKind.VERIFY_AND_CHANGE_EMAIL else record.email
        return Mail(to or record.email, record.kind, self.link, self.when)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStyle:
    """How a link is written: the caller's API key and language."""

    api_key: str = "local"
    language: str = "en"


class Codes:
    """Issues and redeems codes. Synchronous; lives on the store's thread."""

    def __init__(self, store: Store, clock: Clock, origin: Callable[[], str], tenant: str | None = None) -> None:
        self._tenant = tenant
        self._store = store
        self._clock = clock
        self._origin = origin
        self._issued: deque[Issued] = deque(maxlen=MAILBOX_SIZE)

    def issue(
        self,
        kind: CodeKind,
        email: str,
        *,
        style: LinkStyle,
        uid: str | None = None,
        new_email: str | None = None,
        continue_url: str | None = None,
    ) -> Issued:
        """Make a code and the link that carries it."""
        now = self._clock.now()
        code = secrets.token_urlsafe(CODE_BYTES)
        record = CodeRecord(
            code_hash=hash_secret(code),
            kind=kind,
            uid=uid,
            email=email,
            new_email=new_email,
            continue_url=continue_url,
            expires_at=int(now) + CODE_LIFETIME[kind],
        )
        self._store.put_code(record)
        query = {"mode": MODES[kind], "lang": style.language, "oobCode": code, "apiKey": style.api_key}
        if continue_url is not None:
            query["continueUrl"] = continue_url
        if self._tenant is not None:
            query["tenantId"] = self._tenant
        issued = Issued(code=code, link=f"{self._origin()}/emulator/action?{urlencode(query)}", record=record, when=now)
        self._issued.append(issued)
        return issued

    def inspect(self, code: str | None, *kinds: CodeKind) -> CodeRecord:
        """The record of a code that would work now, left as it is; of any kind unless ``kinds`` are named.

        :raises WireError: ``MISSING_OOB_CODE``, ``INVALID_OOB_CODE`` or ``EXPIRED_OOB_CODE``.
        """
        if not code:
            raise WireError("MISSING_OOB_CODE")
        record = self._store.code(hash_secret(code))
        if record is None or (kinds and record.kind not in kinds):
            raise WireError("INVALID_OOB_CODE")
        if record.expires_at <= self._clock.now():
            raise WireError("EXPIRED_OOB_CODE")
        return record

    def consume(self, record: CodeRecord) -> None:
        """Use a code up, in the transaction that does what it was for.

        :raises WireError: ``INVALID_OOB_CODE``: another request was faster.
        """
        if not self._store.delete_code(record.code_hash):
            raise WireError("INVALID_OOB_CODE")

    def outstanding(self) -> list[Issued]:
        """Codes of this run that still exist, oldest first."""
        return [issued for issued in self._issued if self._store.code(issued.record.code_hash) is not None]


def check_continue_url(url: str | None) -> str | None:
    """An absolute http or https URL, or None when there is none.

    :raises WireError: ``INVALID_CONTINUE_URI : ...``.
    """
    if not url:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isprintable() and "\\" not in url
    except ValueError:
        good = False
    if not good:
        raise WireError("INVALID_CONTINUE_URI : continueUrl must be an absolute http or https URL")
    return url
