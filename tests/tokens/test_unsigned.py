"""Unsigned tokens of an official emulator: what passes, and that nothing else reaches this code."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

import pytest

from gateway.errors import ForbiddenAlgorithm, MalformedToken, TokenError, TokenExpired, WrongIssuer, WrongKind
from gateway.tokens.id_token import TokenRules
from gateway.tokens.jws import MAX_TOKEN_LENGTH
from gateway.tokens.session_cookie import session_cookie_rules
from gateway.tokens.unsigned import UnsignedVerifier
from tests.house.tree import ROOT, below
from tests.support import forge
from tests.support.clock import FakeClock

RULES = TokenRules(forge.PROJECT)
HEADER = {"alg": "none", "typ": "JWT"}


def verifier(rules: TokenRules = RULES) -> UnsignedVerifier:
    return UnsignedVerifier(rules, FakeClock())


def token(header: Any = HEADER, **claims: Any) -> str:
    return forge.raw(header, forge.payload(**claims), None)


async def test_an_emulators_token_is_read() -> None:
    """... reads what an official emulator issues."""
    claims = await verifier().verify(token())
    assert claims.principal.uid == forge.UID
    assert verifier().peek(token({"alg": "none"})) == claims


async def test_an_emulators_cookie_is_read_as_a_cookie_only() -> None:
    """... keeps the kinds apart without signatures, too."""
    cookie = token(iss=f"https://session.firebase.google.com/{forge.PROJECT}")
    assert (await verifier(session_cookie_rules(forge.PROJECT)).verify(cookie)).principal.uid == forge.UID
    with pytest.raises(WrongKind):
        await verifier().verify(cookie)
    with pytest.raises(WrongKind):
        await verifier(session_cookie_rules(forge.PROJECT)).verify(token())


def _refused() -> list[tuple[type[TokenError], str]]:
    good = token()
    header, payload, _ = good.split(".")
    return [
        (ForbiddenAlgorithm, forge.id_token()),
        (ForbiddenAlgorithm, good + "AAAA"),
        *((ForbiddenAlgorithm, token({"alg": alg})) for alg in ("None", "NONE", "", "RS256", ["none"], None, 0)),
        (ForbiddenAlgorithm, token({"typ": "JWT"})),
        (MalformedToken, token(HEADER | {"kid": "k"})),
        (MalformedToken, token(HEADER | {"crit": []})),
        (MalformedToken, token(HEADER | {"typ": "jwt"})),
        (MalformedToken, token(HEADER | {"typ": None})),
        (MalformedToken, f"{header}.{payload}"),
        (MalformedToken, f"{good}."),
        (MalformedToken, f"{header}.."),
        (MalformedToken, f".{payload}."),
        (MalformedToken, f"{header}.{payload}=."),
        (MalformedToken, good + "é"),
        (MalformedToken, good.replace(".", ". ", 1)),
        (MalformedToken, f"{header}.{'A' * MAX_TOKEN_LENGTH}."),
        (MalformedToken, forge.raw(b'{"alg":"none","alg":"none"}', forge.payload(), None)),
        (MalformedToken, forge.raw(HEADER, b'{"sub":"a","sub":"b"}', None)),
        (TokenExpired, token(exp=1)),
        (WrongIssuer, token(iss="x")),
    ]


@pytest.mark.parametrize(("error", "text"), _refused())
async def test_everything_else_is_refused(error: type[TokenError], text: str) -> None:
    """... takes exactly an emulator's form, and is as strict as ever about the rest."""
    with pytest.raises(TokenError) as caught:
        await verifier().verify(text)
    assert type(caught.value) is error


async def test_a_token_of_the_largest_size_passes() -> None:
    """... reads a token of the full size and none a byte longer."""
    spare = MAX_TOKEN_LENGTH - len(token(pad=""))
    longest = max((t for n in range(4) if len(t := token(pad="x" * (spare * 3 // 4 - n))) <= MAX_TOKEN_LENGTH), key=len)
    assert MAX_TOKEN_LENGTH - 3 <= len(longest) <= MAX_TOKEN_LENGTH
    assert (await verifier().verify(longest)).principal.uid == forge.UID


def test_only_the_switch_reaches_this_code() -> None:
    """... imports this module in one place, inside the branch of the switch."""
    importers: list[str] = []
    for path in below("gateway", suffix=".py"):
        source = (ROOT / path).read_text(encoding="utf-8")
        if "tokens.unsigned" in source and path.name != "unsigned.py":
            tree = ast.parse(source)
            importers += [
                path.as_posix()
                for node in tree.body
                if isinstance(node, ast.ImportFrom) and node.module == "gateway.tokens.unsigned"
            ]
            importers.append(f"{path.as_posix()}: inside")
    assert importers == ["gateway/wiring/assembly.py: inside"]


def test_the_code_is_not_loaded_with_the_gateway() -> None:
    """... does not even load this module unless the switch is set."""
    script = "import sys, gateway, gateway.wiring, gateway.cli.main; print('gateway.tokens.unsigned' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
