"""The public listener's certificate."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.proxy.tls import ServerTls
from tests.support.authority import Authority
from tests.support.wire import eventually

NAME = "app.example"


def client(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def handshake(tls: ServerTls, context: ssl.SSLContext, name: str | None = NAME) -> ssl.SSLObject:
    """A handshake in memory; the client's end of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = tls.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.version() is not None
    return ours


def test_it_speaks_nothing_old(tmp_path: Path) -> None:
    """... speaks TLS 1.2 and 1.3, HTTP/1.1 alone, and refuses what is older."""
    authority = Authority(tmp_path)
    papers = authority.issue(NAME)
    tls = ServerTls(papers.certificate, papers.key)
    assert handshake(tls, client(authority)).version() == "TLSv1.3"
    assert handshake(tls, client(authority)).selected_alpn_protocol() == "http/1.1"
    older = client(authority)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    spoken = handshake(tls, older).cipher()
    assert spoken is not None
    assert spoken[0].startswith("ECDHE-")
    with pytest.raises(ssl.SSLError):
        handshake(ServerTls(papers.certificate, papers.key, "1.3"), older)
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert 0 < tls.expires_at - time.time() < 2 * 86_400


def test_a_new_certificate_is_taken(tmp_path: Path) -> None:
    """... shows the new certificate to new connections, with and without a name in the handshake."""
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    papers, renewed = first.issue(NAME), second.issue(NAME)
    tls = ServerTls(papers.certificate, papers.key)
    before = handshake(tls, client(first))
    papers.certificate.write_bytes(renewed.certificate.read_bytes())
    papers.key.write_bytes(renewed.key.read_bytes())
    tls.reload()
    handshake(tls, client(second))
    nameless = client(second)
    nameless.check_hostname = False
    handshake(tls, nameless, None)
    assert before.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls, client(first))


def test_half_a_change_changes_nothing(tmp_path: Path) -> None:
    """... keeps the old certificate while the new one does not fit its key."""
    authority = Authority(tmp_path)
    papers = authority.issue(NAME)
    tls = ServerTls(papers.certificate, papers.key)
    ends = tls.expires_at
    papers.certificate.write_bytes(Authority(tmp_path, "other").issue("other.example").certificate.read_bytes())
    with pytest.raises(ConfigError, match="key values mismatch"):
        tls.reload()
    handshake(tls, client(authority))
    assert tls.expires_at == ends


async def test_files_are_looked_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """... notices new files by itself, says when they cannot be used, and takes the next ones."""
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    papers, renewed = first.issue(NAME), second.issue(NAME)
    tls = ServerTls(papers.certificate, papers.key)
    tls.watch(0.01)
    try:
        papers.key.write_text("no key")
        await eventually(lambda: "the old one stays" in caplog.text)
        handshake(tls, client(first))
        papers.certificate.write_bytes(renewed.certificate.read_bytes())
        papers.key.write_bytes(renewed.key.read_bytes())
        await eventually(lambda: "a new certificate is in use" in caplog.text)
        handshake(tls, client(second))
    finally:
        tls.close()
        tls.close()
    await asyncio.sleep(0)
    assert "no key" not in caplog.text


def test_unusable_files_are_told(tmp_path: Path) -> None:
    """... says what is wrong with a missing file, an empty one, a foreign key and one with a passphrase."""
    authority = Authority(tmp_path)
    papers = authority.issue(NAME)
    with pytest.raises(ConfigError, match=r"gone\.crt cannot be read"):
        ServerTls(tmp_path / "gone.crt", papers.key)
    with pytest.raises(ConfigError, match="holds no certificate"):
        ServerTls(papers.key, papers.key)
    with pytest.raises(ConfigError, match="cannot be used"):
        ServerTls(papers.certificate, authority.file)
    locked = authority.issue(NAME, passphrase=b"secret")
    with pytest.raises(ConfigError, match="passphrase"):
        ServerTls(locked.certificate, locked.key)


def test_one_file_for_both(tmp_path: Path) -> None:
    """... takes a file that holds certificate and key."""
    authority = Authority(tmp_path)
    papers = authority.issue(NAME)
    both = tmp_path / "both.pem"
    both.write_bytes(papers.certificate.read_bytes() + papers.key.read_bytes())
    handshake(ServerTls(both, None), client(authority))
