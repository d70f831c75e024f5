"""blocking-functions.md sections 3.9 and 4.10."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.blocking.ready_made import RecaptchaRule, override_recaptcha
from gateway.errors import ConfigError
from tests.support import events
from tests.support.events import ABSENT

SIGN_IN = "SIGN_IN_OR_SIGN_UP"
RULES = [
    RecaptchaRule(action="ALLOW", phone_prefixes=("+91",), types=(SIGN_IN,)),
    RecaptchaRule(action="ALLOW", score_above=0.5),
]


async def answer(function: Any, event: str, top: dict[str, Any]) -> Any:
    functions = events.functions()
    functions.before_sms(function)
    functions.before_email(function)
    async with functions:
        return await functions.respond(events.token(event, top=top))


@pytest.mark.parametrize(
    ("sms_type", "number", "score", "action"),
    [
        (SIGN_IN, "+911234567890", 0.1, "ALLOW"),
        (SIGN_IN, "+15550100", 0.9, "ALLOW"),
        (SIGN_IN, "+15550100", 0.5, "BLOCK"),
        ("MULTI_FACTOR_SIGN_IN", "+911234567890", 0.2, "BLOCK"),
        (SIGN_IN, "+15550100", ABSENT, "BLOCK"),
        (SIGN_IN, ABSENT, ABSENT, "BLOCK"),
        (SIGN_IN, "15550+91", 0.1, "BLOCK"),
        (ABSENT, "+911234567890", 0.1, "BLOCK"),
    ],
)
async def test_the_first_rule_that_fits_decides(sms_type: Any, number: Any, score: Any, action: str) -> None:
    """... answers by number, kind and score, and blocks everybody else."""
    top = {"sms_type": sms_type, "phone_number": number, "recaptcha_score": score}
    assert await answer(override_recaptcha(RULES), "beforeSendSms", top) == (200, {"recaptchaActionOverride": action})


@pytest.mark.parametrize(
    ("email_type", "body"),
    [("PASSWORD_RESET", {"recaptchaActionOverride": "BLOCK"}), ("EMAIL_SIGN_IN", {}), (ABSENT, {})],
)
async def test_mails_are_judged_too(email_type: Any, body: dict[str, Any]) -> None:
    """... judges mails by their kind, and leaves the service its verdict where it is told to."""
    rules = override_recaptcha([RecaptchaRule(action="BLOCK", types=("PASSWORD_RESET",))], otherwise=None)
    assert await answer(rules, "beforeSendEmail", {"email_type": email_type}) == (200, body)


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "allow"},
        {"action": "ALLOW", "score_above": 1.5},
        {"action": "ALLOW", "score_above": -0.1},
        {"action": "ALLOW", "phone_prefixes": ("91",)},
    ],
)
def test_a_rule_can_fit(rule: dict[str, Any]) -> None:
    """... refuses a rule that could never mean anything."""
    with pytest.raises(ConfigError):
        override_recaptcha([RecaptchaRule(**rule)])
