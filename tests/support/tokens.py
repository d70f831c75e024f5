"""What tests of token verification share: known keys, and ways to spoil a token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tests.support import forge

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_JUNK: Final = _LETTERS + ".=+/ \n\x00~é"


class KnownKeys:
    """A key source that always knows the forge's keys of these names. Implements ``KeySource``."""

    def __init__(self, *kids: str) -> None:
        self.known: dict[str, RSAPublicKey] = {kid: forge.private_key(kid).public_key() for kid in kids}

    def peek(self, kid: str) -> RSAPublicKey | None:
        return self.known.get(kid)

    async def key(self, kid: str) -> RSAPublicKey | None:
        return self.known.get(kid)


def mutate(generator: random.Random, originals: Sequence[str]) -> str:
    """One of the tokens, changed in one of a dozen ways; now and then the change changes nothing."""
    token = generator.choice(originals)
    place = generator.randrange(len(token))
    other = generator.choice(originals)
    parts, others = token.split("."), other.split(".")
    which = generator.randrange(3)
    kind = generator.randrange(12)
    if kind < 4:  # within the alphabet, so that the signature has to tell
        return token[:place] + generator.choice(_LETTERS) + token[place + 1 :]
    if kind == 4:
        return token[:place] + generator.choice(_JUNK) + token[place + 1 :]
    if kind == 5:
        return token[:place] + token[place + 1 :]
    if kind == 6:
        return token[:place] + generator.choice(_JUNK) + token[place:]
    if kind == 7:
        return token[:place] + token[place : place + 2][::-1] + token[place + 2 :]
    if kind == 8:
        parts[which] = others[generator.randrange(3)]
        return ".".join(parts)
    if kind == 9:
        parts[which] = parts[which][: generator.randrange(len(parts[which]))]
        return ".".join(parts)
    if kind == 10:
        parts[which] += generator.choice(("=", "==", "A", "AAAA", ".", "%3D"))
        return ".".join(parts)
    cut = generator.randrange(1, 60)
    return token[:place] + token[place + cut :] + token[place : place + cut]
