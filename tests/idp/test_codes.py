from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.idp.codes import MAILBOX_SIZE, Codes, LinkStyle, Mail, Mailbox, check_continue_url
from gateway.idp.errors import WireError
from gateway.idp.records import CodeKind
from gateway.idp.store import Store
from tests.support.clock import FakeClock

STYLE = LinkStyle(api_key="k", language="en")


@pytest.fixture
def codes() -> Iterator[Codes]:
    store = Store.open(None, "demo-codes")
    yield Codes(store, FakeClock(), lambda: "http://idp.test")
    store.close()


def test_code_is_consumed_once(codes: Codes) -> None:
    """the provider lets exactly one of two who hold a code use it."""
    issued = codes.issue(CodeKind.EMAIL_SIGNIN, "a@b", style=STYLE)
    first = codes.inspect(issued.code, CodeKind.EMAIL_SIGNIN)
    second = codes.inspect(issued.code)
    assert [entry.code for entry in codes.outstanding()] == [issued.code]
    codes.consume(first)
    with pytest.raises(WireError, match="INVALID_OOB_CODE"):
        codes.consume(second)
    assert codes.outstanding() == []


@pytest.mark.parametrize(
    ("code", "message"), [(None, "MISSING_OOB_CODE"), ("", "MISSING_OOB_CODE"), ("x", "INVALID_OOB_CODE")]
)
def test_bad_codes(codes: Codes, code: str | None, message: str) -> None:
    """the provider tells missing codes from invalid ones."""
    with pytest.raises(WireError, match=message):
        codes.inspect(code)


def test_mail_goes_where_the_proof_is_wanted(codes: Codes) -> None:
    """the provider mails a change of address to the new one and its announcement to the old one."""
    change = codes.issue(CodeKind.VERIFY_AND_CHANGE_EMAIL, "old@b", style=STYLE, uid="u", new_email="new@b")
    announce = codes.issue(CodeKind.RECOVER_EMAIL, "old@b", style=STYLE, uid="u", new_email="new@b")
    assert (change.mail.to, announce.mail.to) == ("new@b", "old@b")
    assert change.link.startswith("http://idp.test/emulator/action?mode=verifyAndChangeEmail&lang=en&oobCode=")
    assert change.code not in repr(change)
    assert change.link not in repr(change.mail)


def test_mailbox_is_bounded_and_tells_its_listener() -> None:
    """the provider keeps the latest mails only, and announces each."""
    heard: list[Mail] = []
    box = Mailbox(heard.append)
    for number in range(MAILBOX_SIZE + 5):
        box.deliver(Mail(f"{number}@b", CodeKind.VERIFY_EMAIL, "link", 0))
    assert len(box) == MAILBOX_SIZE
    assert len(heard) == MAILBOX_SIZE + 5
    assert next(iter(box)).to == "5@b"
    assert box.latest("7@b") is heard[7]
    assert box.latest("7@b", CodeKind.PASSWORD_RESET) is None
    assert box.latest("0@b") is None


@pytest.mark.parametrize("url", [None, ""])
def test_no_continue_url_is_fine(url: str | None) -> None:
    """the provider needs no continue URL."""
    assert check_continue_url(url) is None
