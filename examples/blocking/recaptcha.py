"""reCAPTCHA overruled for text messages. By configuration: ``[[functions.recaptcha]]``."""

from __future__ import annotations

from gateway.blocking import BlockingFunctions, EventContext, UserUpdate

functions = BlockingFunctions("my-project")


@functions.before_sms
def decide(context: EventContext) -> UserUpdate:
    """Let Indian numbers and good scores through, block all others; number and score may be missing."""
    info = context.additional_user_info
    if context.sms_type == "SIGN_IN_OR_SIGN_UP" and (info.phone_number or "").startswith("+91"):
        return UserUpdate(recaptcha_action_override="ALLOW")
    good = info.recaptcha_score is not None and info.recaptcha_score > 0.5  # noqa: PLR2004 - the score of this example
    return UserUpdate(recaptcha_action_override="ALLOW" if good else "BLOCK")
