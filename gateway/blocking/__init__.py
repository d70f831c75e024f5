"""Blocking functions for Firebase Authentication and Identity Platform.

Code that runs before an account is created, before somebody signs in, before a mail or a text message is sent, and that
may refuse or change what happens::

    from gateway.blocking import BlockingFunctions, HttpsError

    functions = BlockingFunctions("my-project", audiences=["https://auth-hooks-abc.a.run.app/"])

    @functions.before_create
    def only_us(user, context):
        if not (user.email or "").endswith("@example.com"):
            raise HttpsError("invalid-argument", "Only for people of example.com.")

``gateway functions serve hooks:functions`` serves them. The public names are those in ``__all__``.
"""

from __future__ import annotations

from gateway.blocking.event import Event
from gateway.blocking.functions import BlockingFunctions
from gateway.blocking.https_error import ErrorCode, HttpsError
from gateway.blocking.model import (
    AdditionalUserInfo,
    AuthCredential,
    EventContext,
    MultiFactorInfo,
    MultiFactorSettings,
    User,
    UserInfo,
    UserMetadata,
)
from gateway.blocking.outcome import UNSET, UserUpdate

__all__ = [
    "UNSET",
    "AdditionalUserInfo",
    "AuthCredential",
    "BlockingFunctions",
    "ErrorCode",
    "Event",
    "EventContext",
    "HttpsError",
    "MultiFactorInfo",
    "MultiFactorSettings",
    "User",
    "UserInfo",
    "UserMetadata",
    "UserUpdate",
]
