"""Credential to claims."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

import gateway.tokens.verifier as verifier_module
from gateway.errors import (
    BadSignature,
    KeysUnavailable,
    MalformedToken,
    TokenError,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    WrongAudience,
    WrongKind,
)
from gateway.tokens.cache import GENERATION_LIFE, REFUSAL_LIFE
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.jws import MAX_TOKEN_LENGTH, CompactJws, check_signature
from gateway.tokens.session_cookie import session_cookie_rules
from gateway.tokens.verifier import _MAX_HEADERS, IdTokenVerifier, SessionCookieVerifier
from tests.support import forge
from tests.support.clock import NOW, FakeClock


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


def verifier(keys: Keys, **options: Any) -> IdTokenVerifier:
    return IdTokenVerifier(IdTokenRules(forge.PROJECT), keys, options.pop("clock", FakeClock()), **options)


class Counted:
    """Counts signature checks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checks = 0
        monkeypatch.setattr(verifier_module, "check_signature", self)

    def __call__(self, jws: CompactJws, key: RSAPublicKey) -> None:
        self.checks += 1
        check_signature(jws, key)


@pytest.fixture
def rsa(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


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


async def test_headers_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """... reads equal headers of good tokens once, and finds the right key by them."""
    judge = verifier(Keys("a", "b"))
    for kid in ("a", "b"):
        await judge.verify(forge.id_token(kid=kid))
    assert sorted(judge._headers.values()) == ["a", "b"]
    monkeypatch.setattr(verifier_module, "read_header", None)
    for kid in ("a", "b"):
        await judge.verify(forge.id_token(kid=kid, jti="another"))


async def test_an_entry_in_use_outlives_generations(rsa: Counted) -> None:
    """... remembers a token that keeps coming for as long as it is good."""
    clock = FakeClock()
    judge = verifier(Keys(forge.KID), clock=clock)
    steady = forge.id_token(exp=int(NOW) + 100_000)
    for number in range(20):
        await judge.verify(steady)
        await judge.verify(forge.id_token(exp=int(NOW) + 100_000, jti=str(number)))
        clock.advance(GENERATION_LIFE / 2)
    assert rsa.checks == 21


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


# ---- what is remembered ----------------------------------------------------------------------------------------------


async def test_a_token_is_verified_once(rsa: Counted) -> None:
    """... spends one RSA operation on a token however often it comes, and reads the same claims each time."""
    judge = verifier(Keys(forge.KID))
    token = forge.id_token(name="Ada é", uid="104857609182736450192")
    first = await judge.verify(token)
    assert [await judge.verify(token) for _ in range(5)] == [first] * 5
    assert judge.peek(token) == first
    assert (rsa.checks, judge.remembered) == (1, 1)


async def test_remembered_tokens_share_nothing(rsa: Counted) -> None:
    """... hands out claims of their own to each request, so that no request can change another's."""
    judge = verifier(Keys(forge.KID))
    token = forge.id_token()
    spoiled = await judge.verify(token)
    spoiled.payload["email"] = "eve@example.com"  # type: ignore[index] # because that is the point
    again = await judge.verify(token)
    assert again.payload["email"] == "ada@example.com"


async def test_a_remembered_token_expires_on_time(rsa: Counted) -> None:
    """... never grants past exp, whatever is remembered and whatever the skew, and forgets it then."""
    clock = FakeClock()
    judge = IdTokenVerifier(IdTokenRules(forge.PROJECT, skew=300), Keys(forge.KID), clock)
    token = forge.id_token(exp=int(NOW) + 100)
    await judge.verify(token)
    clock.advance(99.9)
    await judge.verify(token)
    clock.advance(0.1)
    for _ in range(2):
        with pytest.raises(TokenExpired):
            await judge.verify(token)
    assert (rsa.checks, judge.remembered) == (1, 0)


async def test_a_step_of_the_clock_counts_at_once() -> None:
    """... judges remembered tokens by the wall clock of the moment, forward and back."""
    clock = FakeClock()
    judge = verifier(Keys(forge.KID), clock=clock)
    token = forge.id_token()
    await judge.verify(token)
    clock.jump(-7200)
    with pytest.raises(TokenNotYetValid):
        await judge.verify(token)
    clock.jump(7200)
    await judge.verify(token)
    clock.jump(7200)
    with pytest.raises(TokenExpired):
        await judge.verify(token)
    clock.jump(-7200)
    await judge.verify(token)


async def test_a_withdrawn_key_ends_what_it_signed(rsa: Counted) -> None:
    """... refuses a remembered token as soon as its key is no longer published, whether or not anybody said so."""
    keys = Keys(forge.KID)
    judge = verifier(keys)
    token = forge.id_token()
    await judge.verify(token)
    del keys.known[forge.KID]
    keys.known["next"] = forge.private_key("next").public_key()
    with pytest.raises(UnknownKey):
        await judge.verify(token)
    assert judge.remembered == 0


async def test_a_replaced_key_ends_what_it_signed() -> None:
    """... does not take a new key of the same name for the old one."""
    keys = Keys(forge.KID)
    judge = verifier(keys)
    token = forge.id_token()
    await judge.verify(token)
    keys.known[forge.KID] = forge.private_key("next").public_key()
    with pytest.raises(BadSignature):
        await judge.verify(token)


async def test_the_key_source_can_say_what_was_removed() -> None:
    """... frees the entries of removed keys when it is told."""
    judge = verifier(Keys("a", "b"))
    for kid in ("a", "b", "a"):
        await judge.verify(forge.id_token(kid=kid, jti=str(judge.remembered)))
    assert judge.remembered == 3
    judge.keys_changed(frozenset({"a"}))
    assert judge.remembered == 1


async def test_a_bad_signature_costs_once(rsa: Counted) -> None:
    """... spends one RSA operation on a forged token however often it comes, and remembers that for a while only."""
    clock = FakeClock()
    judge = verifier(Keys(forge.KID), clock=clock)
    forged = forge.id_token(signed_with="other")
    for _ in range(5):
        with pytest.raises(BadSignature, match="does not match"):
            await judge.verify(forged)
    assert (rsa.checks, judge.remembered) == (1, 0)
    clock.advance(REFUSAL_LIFE)
    with pytest.raises(BadSignature):
        await judge.verify(forged)
    assert rsa.checks == 2


async def test_refusals_of_claims_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """... does not read a hopeless token twice."""
    judge = verifier(Keys(forge.KID))
    token = forge.id_token(aud="another")
    with pytest.raises(WrongAudience):
        await judge.verify(token)
    monkeypatch.setattr(verifier_module, "split", None)
    with pytest.raises(WrongAudience):
        await judge.verify(token)


async def test_a_refusal_never_shadows_a_token_that_becomes_good() -> None:
    """... accepts a token once its time has come, and once its key is published."""
    clock, keys = FakeClock(), Keys(forge.KID)
    judge = verifier(keys, clock=clock)
    early = forge.id_token(iat=int(NOW) + 60)
    with pytest.raises(TokenNotYetValid):
        await judge.verify(early)
    clock.advance(60)
    await judge.verify(early)
    fresh = forge.id_token(kid="next")
    with pytest.raises(UnknownKey):
        await judge.verify(fresh)
    keys.known["next"] = forge.private_key("next").public_key()
    await judge.verify(fresh)


async def test_a_change_of_keys_forgets_refusals() -> None:
    """... tries a forged token anew when keys change, since it may have been the key that was wrong."""
    keys = Keys(forge.KID)
    judge = verifier(keys)
    token = forge.id_token(signed_with="next")
    with pytest.raises(BadSignature):
        await judge.verify(token)
    keys.known[forge.KID] = forge.private_key("next").public_key()
    judge.keys_changed(frozenset({forge.KID}))
    await judge.verify(token)


async def test_claims_are_judged_again_after_a_wait() -> None:
    """... does not grant by a clock reading from before the wait for keys."""
    clock = FakeClock()

    class Slow(Keys):
        async def key(self, kid: str) -> RSAPublicKey | None:
            clock.advance(100)
            return await super().key(kid)

    keys = Slow(forge.KID, cold=True)
    with pytest.raises(TokenExpired):
        await verifier(keys, clock=clock).verify(forge.id_token(exp=int(NOW) + 50))
    assert keys.asked == [forge.KID]


async def test_a_waited_for_key_is_remembered_like_any_other(rsa: Counted) -> None:
    """... remembers tokens and forgeries that were verified after a wait."""
    keys = Keys(forge.KID, cold=True)
    judge = verifier(keys)
    forged = forge.id_token(signed_with="other")
    for _ in range(2):
        with pytest.raises(BadSignature):
            await judge.verify(forged)
    await judge.verify(forge.id_token())
    assert judge.peek(forge.id_token(jti="x")) is None
    keys.cold = False
    await judge.verify(forge.id_token())
    assert rsa.checks == 2


async def test_remembering_can_be_switched_off(rsa: Counted) -> None:
    """... verifies each time when it is given no room."""
    judge = verifier(Keys(forge.KID), cache_bytes=0)
    for _ in range(3):
        await judge.verify(forge.id_token())
    assert (rsa.checks, judge.remembered) == (3, 0)


async def test_the_size_is_checked_before_anything_else() -> None:
    """... does not hash, let alone read, what is too long."""
    judge = verifier(Keys(forge.KID))
    for text in ("a" * (MAX_TOKEN_LENGTH + 1), "a." * MAX_TOKEN_LENGTH):
        with pytest.raises(MalformedToken, match="longer than"):
            judge.peek(text)
    with pytest.raises(MalformedToken, match="segments"):
        judge.peek("a" * MAX_TOKEN_LENGTH)


# ---- kinds -----------------------------------------------------------------------------------------------------------


async def test_kinds_have_verifiers_of_their_own() -> None:
    """... verifies a cookie as a cookie and a bearer token as a bearer token, with the same keys even."""
    keys = Keys(forge.KID)
    cookies = SessionCookieVerifier(session_cookie_rules(forge.PROJECT), keys, FakeClock())
    assert (await cookies.verify(forge.session_cookie())).principal.uid == forge.UID
    with pytest.raises(WrongKind):
        await cookies.verify(forge.id_token())
    with pytest.raises(WrongKind):
        await verifier(keys).verify(forge.session_cookie())


def test_rules_of_another_kind_are_a_fault_of_the_program() -> None:
    """... cannot be put together with the rules of another kind."""
    with pytest.raises(ValueError, match="session_cookie"):
        IdTokenVerifier(session_cookie_rules("p"), Keys(forge.KID), FakeClock())
    with pytest.raises(ValueError, match="id_token"):
        SessionCookieVerifier(IdTokenRules("p"), Keys(forge.KID), FakeClock())
