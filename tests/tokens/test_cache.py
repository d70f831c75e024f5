"""What is remembered of exact bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from gateway.errors import (
    BadSignature,
    ForbiddenAlgorithm,
    MalformedToken,
    TokenError,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
    WrongKind,
    WrongSubject,
    WrongTenant,
)
from gateway.tokens.cache import (
    DEFAULT_MAX_BYTES,
    ENTRY_BYTES,
    GENERATION_LIFE,
    REFUSAL_LIFE,
    REFUSAL_SLOTS,
    TokenCache,
    _slot,
)
from gateway.tokens.id_token import Kind, TokenRules
from tests.support import forge

KEY = forge.private_key().public_key()
RULES = TokenRules(forge.PROJECT)


def cache(entries: int = 4) -> TokenCache:
    return TokenCache(RULES.identity, max_bytes=entries * ENTRY_BYTES)


def name(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def test_the_name_of_an_entry_is_a_digest_of_all_bytes() -> None:
    """... names an entry by 256 bits over the whole token, so that no two tokens share one."""
    token = forge.id_token().encode()
    names = {cache().name(token)}
    for place in range(len(token)):
        names.add(cache().name(token[:place] + b"~" + token[place + 1 :]))
    names |= {cache().name(token + b"A"), cache().name(token[1:]), cache().name(b"")}
    assert len(names) == len(token) + 4
    assert {len(found) for found in names} == {32}
    assert cache().name(token) == hashlib.sha256(hashlib.sha256(RULES.identity).digest() + token).digest()


@pytest.mark.parametrize(
    "other",
    [
        TokenRules("another-project"),
        TokenRules(forge.PROJECT, frozenset({"t1"})),
        TokenRules(forge.PROJECT, frozenset({"t1", "t2"})),
        TokenRules(forge.PROJECT, skew=11),
        TokenRules(forge.PROJECT, kind=Kind.SESSION_COOKIE),
    ],
)
def test_the_name_holds_the_policy(other: TokenRules) -> None:
    """... never finds under one policy what was remembered under another."""
    assert TokenCache(other.identity).name(b"x") != TokenCache(RULES.identity).name(b"x")


def test_equal_policies_share_names() -> None:
    """... is not confused by the order in which tenants are listed."""
    left = TokenRules(forge.PROJECT, frozenset(["a", "b", "c"])).identity
    assert left == TokenRules(forge.PROJECT, frozenset(["c", "b", "a"])).identity


def test_a_signature_is_remembered_with_its_key() -> None:
    """... remembers which key verified which bytes, and shares what it notes of the key."""
    found = cache()
    found.remember(name(1), "k", KEY, 0.0)
    found.remember(name(2), "k", KEY, 0.0)
    signer = found.signer(name(1), 0.0)
    assert signer is not None
    assert (signer.kid, signer.key) == ("k", KEY)
    assert found.signer(name(2), 0.0) is signer
    assert found.signer(name(3), 0.0) is None
    assert len(found) == 2
    assert "RSAPublicKey" not in repr(signer)


def test_a_replaced_key_signs_under_its_own_object() -> None:
    """... tells two keys of the same name apart."""
    found = cache()
    other = forge.private_key("other").public_key()
    found.remember(name(1), "k", KEY, 0.0)
    found.remember(name(2), "k", other, 0.0)
    first, second = found.signer(name(1), 0.0), found.signer(name(2), 0.0)
    assert first is not None
    assert second is not None
    assert (first.key, second.key) == (KEY, other)


def test_the_number_of_entries_is_bounded() -> None:
    """... keeps no more entries than its bytes allow, the youngest ones."""
    found = cache(10)
    for number in range(100):
        found.remember(name(number), "k", KEY, 0.0)
        assert len(found) <= 10
    kept = found._young.keys() | found._old.keys()
    assert kept == {name(number) for number in range(90, 100)}


def test_what_is_used_survives() -> None:
    """... keeps an entry that is used while others come and go."""
    found = cache(10)
    found.remember(name(0), "k", KEY, 0.0)
    for number in range(1, 100):
        found.remember(name(number), "k", KEY, 0.0)
        if number % 4 == 0:
            assert found.signer(name(0), 0.0) is not None
    assert len(found) <= 10


def test_what_is_not_used_is_forgotten_in_time() -> None:
    """... forgets an unused entry within two lives of a generation, however empty it is."""
    found = cache(1000)
    found.remember(name(0), "k", KEY, 100.0)
    found.remember(name(1), "k", KEY, 100.0 + GENERATION_LIFE - 1)
    assert found.signer(name(0), 100.0) is not None
    found.remember(name(2), "k", KEY, 100.0 + GENERATION_LIFE)
    assert len(found) == 3
    found.remember(name(3), "k", KEY, 100.0 + 2 * GENERATION_LIFE - 1)
    assert len(found) == 4
    found.remember(name(4), "k", KEY, 100.0 + 2 * GENERATION_LIFE)
    assert [n for n in range(5) if found.signer(name(n), 100.0 + 2 * GENERATION_LIFE) is not None] == [2, 3, 4]


def test_nothing_is_remembered_without_room() -> None:
    """... can be told to remember nothing."""
    for size in (0, ENTRY_BYTES, 2 * ENTRY_BYTES - 1):
        found = TokenCache(RULES.identity, max_bytes=size)
        found.remember(name(1), "k", KEY, 0.0)
        assert len(found) == 0
        assert found.signer(name(1), 0.0) is None
    room = TokenCache(RULES.identity, max_bytes=2 * ENTRY_BYTES)
    room.remember(name(1), "k", KEY, 0.0)
    assert len(room) == 1
    assert TokenCache(RULES.identity)._capacity == DEFAULT_MAX_BYTES // ENTRY_BYTES // 2 > 100_000


def test_an_entry_can_be_dropped() -> None:
    """... drops one entry of either generation, and minds none that is not there."""
    found = cache(2)
    found.remember(name(1), "k", KEY, 0.0)
    found.remember(name(2), "k", KEY, 0.0)
    assert len(found) == 2
    for number in (1, 2, 3):
        found.forget(name(number))
        assert found.signer(name(number), 0.0) is None
    assert len(found) == 0


def test_a_removed_key_takes_its_entries_along() -> None:
    """... forgets what a withdrawn key signed, in both generations, and nothing else."""
    found = cache(8)
    for number in range(8):
        found.remember(name(number), "gone" if number % 2 else "stays", KEY, 0.0)
    found.keys_changed(frozenset({"gone", "never seen"}))
    kept = [number for number in range(8) if found.signer(name(number), 0.0) is not None]
    assert kept == [0, 2, 4, 6]
    assert set(found._signers) == {"stays"}


def test_an_added_key_leaves_signatures_alone() -> None:
    """... forgets refusals, not signatures, when a key is added."""
    found = cache()
    found.remember(name(1), "k", KEY, 0.0)
    found.refuse(name(2), BadSignature("no"), 0.0)
    found.keys_changed(frozenset())
    assert found.signer(name(1), 0.0) is not None
    assert found.refusal(name(2), 0.0) is None


PERMANENT: list[type[TokenError]] = [
    BadSignature,
    ForbiddenAlgorithm,
    MalformedToken,
    WrongAudience,
    WrongIssuer,
    WrongKind,
    WrongSubject,
    WrongTenant,
]


@pytest.mark.parametrize("error", PERMANENT)
def test_a_final_refusal_is_remembered_for_a_while(error: type[TokenError]) -> None:
    """... repeats a refusal that nothing can mend, as a fresh exception, until its time is up."""
    found = cache()
    found.refuse(name(1), error("the rule"), 50.0)
    first, second = found.refusal(name(1), 50.0), found.refusal(name(1), 50.0 + REFUSAL_LIFE - 0.001)
    assert type(first) is type(second) is error
    assert first is not second
    assert str(second) == "the rule"
    assert found.refusal(name(1), 50.0 + REFUSAL_LIFE) is None
    assert len(found) == 0


@pytest.mark.parametrize("error", [TokenExpired, TokenNotYetValid, UnknownKey, TokenError])
def test_a_refusal_that_may_pass_is_not_remembered(error: type[TokenError]) -> None:
    """... asks again about a token that may become good."""
    found = cache()
    found.refuse(name(1), error("not now"), 0.0)
    assert found.refusal(name(1), 0.0) is None


def test_a_refusal_is_of_one_token_only() -> None:
    """... never takes one token's refusal for another's that falls into the same slot."""
    found = cache()
    here = name(1)
    twin = here[:2] + bytes(30)
    assert _slot(twin) == _slot(here)
    found.refuse(here, BadSignature("no"), 0.0)
    assert found.refusal(twin, 0.0) is None
    found.refuse(twin, MalformedToken("no"), 0.0)
    assert found.refusal(here, 0.0) is None
    assert isinstance(found.refusal(twin, 0.0), MalformedToken)


def test_refusals_have_a_fixed_number_of_slots() -> None:
    """... keeps its size whatever strangers send, and uses all of it."""
    found = cache()
    for number in range(20_000):
        found.refuse(name(number), BadSignature("no"), 0.0)
    assert len(found._refusals) == REFUSAL_SLOTS
    taken = sum(1 for slot in found._refusals if slot is not None)
    assert taken > 0.98 * REFUSAL_SLOTS
    assert all(0 <= _slot(name(number)) < REFUSAL_SLOTS for number in range(1000))


def test_nothing_secret_is_printed() -> None:
    """... shows no part of a token's name in a representation."""
    found: Any = cache()
    found.refuse(name(1), BadSignature("no"), 0.0)
    refusal = found._refusals[_slot(name(1))]
    assert "digest" not in repr(refusal)
