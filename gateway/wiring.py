"""The composition root: from a configuration to a running gateway. The only module that knows everyone.

Nothing is looked up globally: every part gets what it needs through its constructor, here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:

    pass
