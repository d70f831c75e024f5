"""The composition root: from a configuration to a running gateway. The only package that knows everyone.

Nothing is looked up globally: every part gets what it needs through its constructor, here.
"""

from gateway.wiring.gateway import SHUTDOWN_GRACE, Gateway
from gateway.wiring.settings import locator_of

__all__ = ["SHUTDOWN_GRACE", "Gateway", "locator_of"]
