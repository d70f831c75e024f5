"""blocking-functions.md scenario 4.3: the mail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.blocking.ready_made import NoAccountYet, send_verification_mail
from gateway.blocking.ready_made.verification_mail import WAITS
from gateway.errors import RevocationUnavailable
from tests.support import events
from tests.support.events import ABSENT


class Service:
    """An account service that stores the account after so many questions, and a mailer."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked: list[Any] = []
        self.sent: list[Any] = []
        self.waited: list[float] = []

    async def link(self, email: str, locale: str | None, tenant: str | None) -> str:
        self.asked.append((email, locale, tenant))
        if self.errors:
            raise self.errors.pop(0)
        return f"https://links.test/{email}"

    def send(self, email: str, link: str, locale: str | None) -> None:
        self.sent.append((email, link, locale))

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    async def register(self, waits: Sequence[float] = WAITS, refuse: bool = False, **fields: Any) -> Any:
        functions = events.functions()
        functions.before_create(send_verification_mail(self.link, self.send, waits=waits, sleep=self.sleep))
        if refuse:
            functions.before_create(lambda user, context: {"nonsense": 1})
        async with functions:
            answered = await functions.answer(events.token(**fields))
            assert self.asked == []
            functions.finish(answered)
        return answered.status, answered.body


MAIL = ("ada@example.com", "https://links.test/ada@example.com", "fr")


async def test_the_mail_leaves_after_the_answer() -> None:
    """... answers that nothing changes, then has the mail sent in the user's language."""
    service = Service()
    assert await service.register() == (200, {})
    assert service.sent == [MAIL]
    assert service.asked == [("ada@example.com", "fr", None)]


async def test_the_mail_waits_for_the_account() -> None:
    """... asks again while the account is not stored yet, or the account service is away."""
    service = Service(NoAccountYet(), NoAccountYet(), RevocationUnavailable("down"))
    await service.register(tenant_id="t1")
    assert service.asked == [("ada@example.com", "fr", "t1")] * 4
    assert service.waited == list(WAITS[:4])
    assert service.sent == [MAIL]


async def test_no_account_gets_no_mail(caplog: pytest.LogCaptureFixture) -> None:
    """... gives up when the account is never stored, and says so without the address."""
    service = Service(*[NoAccountYet() for _ in range(9)])
    await service.register(waits=(0.1, 0.2))
    assert service.sent == []
    assert "was not stored in time" in caplog.text
    assert "ada@example.com" not in caplog.text


@pytest.mark.parametrize("fields", [{"email_verified": True}, {"email": ABSENT}])
async def test_others_get_no_mail(fields: dict[str, Any]) -> None:
    """... sends no mail where there is nothing to verify."""
    service = Service()
    assert await service.register(**fields) == (200, {})
    assert service.sent == service.asked == []


async def test_a_refused_account_gets_no_mail() -> None:
    """... sends no mail when another function refuses the account."""
    service = Service()
    assert (await service.register(refuse=True))[0] == 400
    assert service.asked == []
