"""Overruling reCAPTCHA's verdict (blocking-functions.md sections 3.9 and 4.10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gateway.blocking.model import EventContext
from gateway.errors import ConfigError

Action: TypeAlias = Literal["ALLOW", "BLOCK"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecaptchaRule:
    """One row: everything given must fit, then ``action`` is the answer.

    ``score_above``: the score is known and greater than this, 0.0 to 1.0. ``phone_prefixes``: the number starts with
    one of these, ``+91`` say. ``types``: ``sms_type`` or ``email_type`` is one of these.
    """

    action: Action
    score_above: float | None = None
    phone_prefixes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def fits(self, context: EventContext) -> bool:
        """Whether this row is about the event."""
        info = context.additional_user_info
        score, number = info.recaptcha_score, info.phone_number
        if self.score_above is not None and (score is None or not score > self.score_above):
            return False
        if self.phone_prefixes and not (number is not None and number.startswith(self.phone_prefixes)):
            return False
        return not self.types or (context.sms_type or context.email_type) in self.types


def override_recaptcha(
    rules: Sequence[RecaptchaRule], *, otherwise: Action | None = "BLOCK"
) -> Callable[[EventContext], Awaitable[Mapping[str, Any] | None]]:
    """Answer by the first rule that fits (the two send events).

    :param otherwise: when none fits; None leaves the service's own verdict alone.
    :raises ConfigError: a score that is none, or an unknown action.
    """
    for rule in rules:
        if rule.action not in {"ALLOW", "BLOCK"}:
            raise ConfigError("recaptcha", f"{rule.action!r} is neither ALLOW nor BLOCK")
        if rule.score_above is not None and not 0 <= rule.score_above <= 1:
            raise ConfigError("recaptcha", f"{rule.score_above:g} is no score", "0.0 is a robot, 1.0 a person")
        if any(not prefix.startswith("+") for prefix in rule.phone_prefixes):
            raise ConfigError("recaptcha", "a telephone prefix starts with +", '"+91"')
    rows = tuple(rules)

    async def override(context: EventContext) -> Mapping[str, Any] | None:
        action = next((rule.action for rule in rows if rule.fits(context)), otherwise)
        return None if action is None else {"recaptcha_action_override": action}

    return override
