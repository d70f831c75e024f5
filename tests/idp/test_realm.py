from __future__ import annotations

import ipaddress

import pytest

from gateway.idp.errors import WireError
from gateway.idp.realm import Call
from gateway.idp.wire import Fields


@pytest.mark.parametrize("body", [{}, {"email": None}, {"email": ""}])
def test_required_field(body: dict[str, str | None]) -> None:
    """the provider names the error of a required field that is missing or empty."""
    with pytest.raises(WireError, match="MISSING_EMAIL"):
        Call(fields=Fields(body)).require("email", "MISSING_EMAIL")


def test_link_style_follows_the_caller() -> None:
    """the provider writes links in the caller's language with the caller's key, and has both in reserve."""
    style = Call(fields=Fields({}), api_key="k", locale="pt-BR").link_style()
    assert (style.api_key, style.language) == ("k", "pt-BR")
    style = Call(fields=Fields({}), locale="x" * 36).link_style()
    assert (style.api_key, style.language) == ("local", "en")


def test_circumstances_carry_what_is_known() -> None:
    """the provider hands a function the caller's address, agent and language."""
    address = ipaddress.ip_address("203.0.113.9")
    call = Call(fields=Fields({"password": "secret"}), address=address, user_agent="UA", locale="fr")
    told = call.circumstances("password")
    assert (told.method, told.address, told.user_agent, told.locale) == ("password", address, "UA", "fr")
    assert "secret" not in repr(call)
