"""The embedded identity provider: a local issuer for development, tests and small installs.

It speaks the wire protocol of Google's Identity Toolkit and Secure Token services, so that the Firebase SDKs, the
Admin SDKs and plain REST clients of an Auth emulator work against it, and it differs from an emulator where security
asks for it: real RS256 signatures and certificates, hashed passwords, refresh tokens that die.
"""

from __future__ import annotations

from gateway.idp.codes import Mail, Mailbox, Text
from gateway.idp.events import Forward
from gateway.idp.functions import FunctionSettings
from gateway.idp.provider import IdentityProvider, ProviderSettings

__all__ = ["Forward", "FunctionSettings", "IdentityProvider", "Mail", "Mailbox", "ProviderSettings", "Text"]
