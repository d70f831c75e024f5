"""Credential to claims."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.errors import BadSignature, KeysUnavailable, MalformedToken, TokenError, TokenExpired, UnknownKey
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.verifier import _MAX_HEADERS, IdTokenVerifier
from tests.support import forge
from tests.support.clock import FakeClock


class Keys:
    """A key source that counts how often it is asked to wait."""

    def __init__(self, *kids: str, cold: bool = False) -> None:
        self.known: dict[str, RSAPublicKey] = {kid: forge.private_key(kid).public_key() for kid in kids}
        self.cold = cold
        self.asked: list[str] = []

    def peek(self, kid: str) -> RSAPublicKey | None:
        return None if self.cold else self.known.get(kid)

    async def key(self, kid: str) -> RSAPublicKey | None:
        self.asked.append(kid)
        if not self.known:
            raise KeysUnavailable("the certificate endpoint does not answer")
        return self.known.get(kid)


def verifier(keys: Keys, **options: bool) -> IdTokenVerifier:
    return IdTokenVerifier(IdTokenRules(forge.PROJECT), keys, FakeClock(), **options)


async def test_a_genuine_token_verifies_without_waiting() -> None:
    """... verifies with a known key and asks nobody."""
    keys = Keys(forge.KID)
    for _ in range(2):
        assert (await verifier(keys).verify(forge.id_token())).principal.uid == forge.UID
    assert keys.asked == []


async def test_an_unknown_key_is_asked_for_once_and_refused() -> None:
    """... lets the key source look, then refuses."""
    keys = Keys(forge.KID)
    with pytest.raises(UnknownKey):
        await verifier(keys).verify(forge.id_token(kid="other"))
    assert keys.asked == ["other"]


async def test_a_cold_key_source_is_awaited() -> None:
    """... waits for the keys when none are at hand."""
    keys = Keys(forge.KID, cold=True)
    await verifier(keys).verify(forge.id_token())
    assert keys.asked == [forge.KID]


async def test_without_keys_nothing_is_judged() -> None:
    """... cannot tell a good token from a bad one without keys, and says so."""
    with pytest.raises(KeysUnavailable):
        await verifier(Keys(cold=True)).verify(forge.id_token())


@pytest.mark.parametrize("token", [forge.id_token(exp=1), forge.id_token(aud="x"), "a.b.c", "x" * 20_000, "é"])
async def test_junk_costs_no_key_look_up(token: str) -> None:
    """... refuses junk before it asks for a key."""
    keys = Keys(cold=True)
    with pytest.raises(TokenError):
        await verifier(keys).verify(token)
    assert keys.asked == []


async def test_a_remembered_header_still_needs_its_signature() -> None:
    """... remembers headers, never verdicts."""
    judge = verifier(Keys(forge.KID))
    await judge.verify(forge.id_token())
    with pytest.raises(BadSignature):
        await judge.verify(forge.id_token(signed_with="other"))
    with pytest.raises(TokenExpired):
        await judge.verify(forge.id_token(exp=1))


async def test_headers_of_refused_tokens_are_not_remembered() -> None:
    """... cannot be made to fill its memory with headers."""
    judge = verifier(Keys(forge.KID))
    for index in range(_MAX_HEADERS + 5):
        with pytest.raises(BadSignature):
            await judge.verify(forge.id_token(signed_with="other", headers={"x": index}))
        await judge.verify(forge.id_token(headers={"y": index}))
    assert len(judge._headers) == _MAX_HEADERS


async def test_local_keys_are_refused_in_production() -> None:
    """... never accepts a key that bears the embedded provider's mark, unless told that it develops."""
    keys = Keys("local-1")
    token = forge.id_token(kid="local-1")
    with pytest.raises(UnknownKey):
        await verifier(keys).verify(token)
    assert (await verifier(keys, accept_local_keys=True).verify(token)).principal.uid == forge.UID


async def test_non_ascii_tokens_are_malformed() -> None:
    """... refuses text that is no token."""
    with pytest.raises(MalformedToken):
        await verifier(Keys(forge.KID)).verify("ä.ö.ü")
