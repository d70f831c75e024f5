"""Ports that answer at once or not at all: for a judgement that must not wait.

The rule this file obeys: **what is not known is not guessed.** Where the real port would have to wait, these raise
:class:`MustWait`, which is nobody's refusal; the request is then judged again by somebody who can wait. Whatever they
do answer is the real port's own answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from gateway.core.claims import Claims, Principal
    from gateway.core.ports import RevocationSource, Standing


class MustWait(Exception):
    """An answer would take I/O."""


@runtime_checkable
class PromptVerifier(Protocol):
    """A verifier that can also say at once whether it can judge a credential without waiting."""

    async def verify(self, token: str) -> Claims:
        """As :meth:`gateway.core.ports.Verifier.verify`."""

    def peek(self, token: str) -> Claims | None:
        """Claims of ``token``; None when that takes I/O.

        :raises TokenError: the token is refused.
        """


class VerifierAtOnce:
    """A verifier that never waits. Implements :class:`gateway.core.ports.Verifier`."""

    __slots__ = ("_inner",)

    def __init__(self, inner: PromptVerifier) -> None:
        self._inner = inner

    async def verify(self, token: str) -> Claims:
        """Claims of ``token``.

        :raises TokenError: the token is refused.
        :raises MustWait: it cannot be judged without waiting.
        """
        claims = self._inner.peek(token)
        if claims is None:
            raise MustWait
        return claims


class StandingsAtOnce:
    """A revocation source that never waits. Implements :class:`gateway.core.ports.RevocationSource`."""

    __slots__ = ("last_known", "peek")

    def __init__(self, inner: RevocationSource) -> None:
        self.peek = inner.peek
        self.last_known = inner.last_known

    async def standing(self, principal: Principal) -> Standing:  # noqa: ARG002 - the port's signature
        """Nothing: what :meth:`peek` does not know has to be asked for.

        :raises MustWait: always.
        """
        raise MustWait
