"""Ready-made functions, one for each scenario of Google's page on blocking functions.

Each call makes a function that is registered like any other::

    functions.before_create(allow_domains("example.com"))

The same are to be had by configuration alone, in ``[functions]``.
"""

from __future__ import annotations

from gateway.blocking.ready_made.addresses import (
    allow_domains,
    demand_verified_email,
    refuse_unverified_email,
    trust_providers,
)
from gateway.blocking.ready_made.attributes import default_display_name, map_claims
from gateway.blocking.ready_made.origin import refuse_networks, track_sign_in_ip, track_sign_in_network
from gateway.blocking.ready_made.photo import HttpJudge, screen_photo
from gateway.blocking.ready_made.recaptcha import RecaptchaRule, override_recaptcha
from gateway.blocking.ready_made.refresh_tokens import TokenSealer, store_refresh_tokens
from gateway.blocking.ready_made.verification_mail import NoAccountYet, send_verification_mail

__all__ = [
    "HttpJudge",
    "NoAccountYet",
    "RecaptchaRule",
    "TokenSealer",
    "allow_domains",
    "default_display_name",
    "demand_verified_email",
    "map_claims",
    "override_recaptcha",
    "refuse_networks",
    "refuse_unverified_email",
    "screen_photo",
    "send_verification_mail",
    "store_refresh_tokens",
    "track_sign_in_ip",
    "track_sign_in_network",
    "trust_providers",
]
