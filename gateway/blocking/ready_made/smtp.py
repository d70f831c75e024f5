"""Sending mail by SMTP (RFC 5321).

The rule this file obeys: **a link that signs somebody in never crosses a network in the clear**. A session is
encrypted from its start (``smtps``) or before anything is said in it (STARTTLS, RFC 3207), except on this machine; a
server that cannot is not used.
"""

from __future__ import annotations

import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final
from urllib.parse import urlsplit

from gateway.adapters.endpoint import is_loopback_host
from gateway.errors import ConfigError

TIMEOUT: Final = 10.0
"""Seconds for connecting and for each answer."""

_PORTS: Final = {"smtp": 587, "smtps": 465}
"""Submission with STARTTLS (RFC 6409) and over TLS (RFC 8314)."""

_SENDER: Final = '"Example <noreply@example.com>"'


class SmtpSender:
    """Sends a mail with a link. Calling it blocks.

    :param url: ``smtp://host:port`` or ``smtps://host:port``.
    :param sender: the address in ``From``.
    :param user: whom to sign in as; empty for nobody.
    :param text: the mail; ``{link}`` and ``{email}`` are replaced.
    :raises ConfigError: no mail can be written like that.
    """

    def __init__(self, url: str, *, sender: str, subject: str, text: str, user: str = "", password: str = "") -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._tls = parts.scheme == "smtps"
        self._sender, self._subject, self._text = sender, subject, text
        self._user, self._password = user, password
        try:
            written = self.message("somebody@example.com", "https://example.com/")["From"].addresses
        except (ValueError, LookupError) as error:
            raise ConfigError("sender", f"no mail can be written: {error}", _SENDER) from None
        if len(written) != 1 or not written[0].username or not written[0].domain:
            raise ConfigError("sender", f"{sender!r} is not one address", _SENDER)

    def __call__(self, email: str, link: str, locale: str | None) -> None:  # noqa: ARG002 - as all that send mail
        """Send it. The text is the same in every locale; the page behind the link is not.

        :raises OSError: the server cannot be reached, is not encrypted or refuses (``smtplib.SMTPException`` is one).
        :raises ValueError: ``email`` is not exactly one address.
        """
        message = self.message(email, link)
        with self._connect() as server:
            if self._user:
                server.login(self._user, self._password)
            server.send_message(message)

    def message(self, email: str, link: str) -> EmailMessage:
        """The mail.

        :raises ValueError: ``email`` is not exactly one address.
        """
        message = EmailMessage()
        message["From"] = self._sender
        # Parsed as one address, so that an odd one cannot name more recipients or headers.
        message["To"] = Address(addr_spec=email)
        message["Subject"] = self._subject
        message["Date"] = formatdate(usegmt=True)
        message["Message-ID"] = make_msgid(domain="mail.invalid")
        message.set_content(self._text.replace("{email}", email).replace("{link}", link))
        return message

    def _connect(self) -> smtplib.SMTP:
        secure = ssl.create_default_context()
        if self._tls:
            return smtplib.SMTP_SSL(self._host, self._port, timeout=TIMEOUT, context=secure)
        server = smtplib.SMTP(self._host, self._port, timeout=TIMEOUT)
        try:
            if not is_loopback_host(self._host):
                server.starttls(context=secure)
        except BaseException:
            server.close()
            raise
        return server
