"""Sending mail by SMTP."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.blocking.ready_made.smtp import SmtpSender
from gateway.errors import ConfigError

LINK = "https://links.test/?oobCode=secret&lang=fr"


class Server:
    """A mail server that takes everything, in the clear, and keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        data = False
        while line := (await reader.readline()).decode():
            self.heard.append(line.rstrip("\r\n"))
            if data:
                data = line != ".\r\n"
                if not data:
                    writer.write(b"250 taken\r\n")
            elif line.lower().startswith("ehlo"):
                writer.write(b"250-test\r\n250 AUTH PLAIN\r\n")
            elif line.lower().startswith("data"):
                data = True
                writer.write(b"354 go on\r\n")
            elif line.startswith("AUTH"):
                writer.write(b"235 welcome\r\n")
            elif line.lower().startswith("quit"):
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 ok\r\n")
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


def sender(url: str, **more: str) -> SmtpSender:
    return SmtpSender(url, sender="Ship <noreply@ship.test>", subject="Verify", text="{email}: {link}\n", **more)


async def test_a_mail_is_sent() -> None:
    """... sends the link to the address, after signing in where a user is set."""
    async with listening() as server:
        url = f"smtp://127.0.0.1:{server.port}"
        await asyncio.to_thread(sender(url, user="ship", password="pass"), "ada@example.com", LINK, "fr")
    assert "rcpt TO:<ada@example.com>" in server.heard
    assert "To: ada@example.com" in server.heard
    assert "From: Ship <noreply@ship.test>" in server.heard
    assert f"ada@example.com: {LINK}" in server.heard
    assert any(line.startswith("AUTH PLAIN") for line in server.heard)


@pytest.mark.parametrize(
    "address", ["a@b.test, c@d.test", "a@b.test\r\nBcc: c@d.test", "Ada <a@b.test>", "no address", ""]
)
def test_one_mail_goes_to_one_address(address: str) -> None:
    """... refuses what would name several recipients or headers."""
    with pytest.raises((ValueError, IndexError)):
        sender("smtp://127.0.0.1").message(address, LINK)


async def test_nothing_is_said_in_the_clear_to_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """... sends nothing to a server elsewhere that does not encrypt."""
    monkeypatch.setattr("gateway.blocking.ready_made.smtp.is_loopback_host", lambda host: False)
    async with listening() as server:
        with pytest.raises(smtplib.SMTPNotSupportedError):
            await asyncio.to_thread(sender(f"smtp://127.0.0.1:{server.port}"), "a@b.test", LINK, None)
    assert [line.split()[0] for line in server.heard] == ["ehlo"]


async def test_a_server_without_tls_is_not_spoken_to() -> None:
    """... begins with TLS where that is configured, and says nothing when there is none."""
    async with listening() as server:
        with pytest.raises(OSError, match=r"SSL|timed out|closed"):
            await asyncio.to_thread(sender(f"smtps://127.0.0.1:{server.port}"), "a@b.test", LINK, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": "nobody"},
        {"sender": "A <a@b.test>, B <c@d.test>"},
        {"sender": "a@b.test\nBcc: x@y.test"},
        {"subject": "a\nb"},
    ],
)
def test_a_mail_can_be_written(wrong: dict[str, str]) -> None:
    """... refuses a sender or subject that no mail can have before the first mail, not with each of them."""
    given = {"sender": "a@b.test", "subject": "Verify", "text": "{link}"} | wrong
    with pytest.raises(ConfigError):
        SmtpSender("smtp://127.0.0.1", **given)
