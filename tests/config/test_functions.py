"""The tables of blocking functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import load
from gateway.config.model import Config
from gateway.errors import ConfigError

HEAD = '[firebase]\nproject_id = "demo-project"\n'
MAIL = 'send = "smtp://127.0.0.1"\nsender = "a@b.test"\n'


def read(tmp_path: Path, text: str, head: str = HEAD, **options: Any) -> Config:
    file = tmp_path / "gateway.toml"
    file.write_text(head + text)
    return load(file, environment={}, backends=False, **options).config


def test_nothing_is_served_unless_asked(tmp_path: Path) -> None:
    """... takes no event by default."""
    functions = read(tmp_path, "").functions
    assert functions.listen.is_off
    assert functions.is_empty
    assert functions.audiences == ()


def test_an_audience_is_one_address_or_several(tmp_path: Path) -> None:
    """... takes one trigger address as a text and several as a list."""
    one = read(tmp_path, '[functions]\naudience = "https://a.test/x"\n')
    assert one.functions.audiences == ("https://a.test/x",)
    two = read(tmp_path, '[functions]\naudience = ["https://a.test/x", "http://127.0.0.1:8081/"]\n')
    assert two.functions.audiences == ("https://a.test/x", "http://127.0.0.1:8081/")


@pytest.mark.parametrize(
    "text",
    [
        'handlers = "hooks"', 'allowed_domains = ["a.test"]', "refuse_unverified_email = true",
        'display_name = "Guest"',
        'trusted_providers = ["facebook.com"]', 'refused_networks = ["192.0.2.0/24"]', 'sign_in_ip = "plain"',
        f"[functions.verification_mail]\n{MAIL}", '[functions.photo]\njudge = "a:b"\nreplacement = "https://g.test/"',
        '[functions.refresh_tokens]\nsave = "a:b"\nkey = "x"', '[[functions.claims]]\nprovider = "saml.x"',
        '[[functions.recaptcha]]\naction = "ALLOW"',
    ],
)  # fmt: skip
def test_each_key_is_a_function(tmp_path: Path, text: str) -> None:
    """... has something to serve as soon as one ready-made function is configured."""
    assert not read(tmp_path, f'[functions]\nlisten = "127.0.0.1:0"\n{text}\n').functions.is_empty


EMULATOR = HEAD + 'emulator = "127.0.0.1:9099"\nunsigned_tokens = true\n'

WRONG: list[tuple[str, str, str, str]] = [
    ("nothing to serve", HEAD, 'listen = "127.0.0.1:8081"', "$.functions.listen"),
    ("too slow", HEAD, 'deadline = "7s"', "$.functions.deadline"),
    ("no time", HEAD, 'deadline = "0s"', "$.functions.deadline"),
    ("plain http", HEAD, 'audience = "http://a.test"', "$.functions.audience"),
    ("second address", HEAD, 'audience = ["https://a.test", "b"]', "$.functions.audience[1]"),
    ("no address", HEAD, 'audience = "https://[::1"', "$.functions.audience"),
    ("no host", HEAD, 'audience = "https://"', "$.functions.audience"),
    ("no port", HEAD, '[functions.verification_mail]\nsend = "smtp://a.test:mail"\nsender = "a@b.test"',
     "$.functions.verification_mail.send"),
    ("slow judge", HEAD, '[functions.photo]\njudge = "a:b"\nreplacement = "https://g.test/"\ntimeout = "6s"',
     "$.functions.photo.timeout"),
    ("no key", HEAD, 'sign_in_ip = "network"', "$.functions.sign_in_ip"),
    ("reachable emulator", EMULATOR, 'listen = "0.0.0.0:8081"\ndisplay_name = "G"', "$.functions.listen"),
    ("no credentials", HEAD + 'credentials = "none"\n', f"[functions.verification_mail]\n{MAIL}",
     "$.functions.verification_mail"),
    ("mail over http", HEAD, '[functions.verification_mail]\nsend = "https://a.test"',
     "$.functions.verification_mail.send"),
    ("mail with a password", HEAD, '[functions.verification_mail]\nsend = "smtp://u:p@a.test"',
     "$.functions.verification_mail.send"),
    ("mail from nobody", HEAD, '[functions.verification_mail]\nsend = "smtps://a.test"',
     "$.functions.verification_mail.sender"),
    ("mail without link", HEAD, f'[functions.verification_mail]\n{MAIL}text = "hello"',
     "$.functions.verification_mail.text"),
    ("misspelled", HEAD, 'allowed_domain = ["a.test"]', "$.functions.allowed_domain"),
    ("misspelled below", HEAD, '[[functions.claims]]\nprovider = "saml.x"\ncustoms = {}',
     "$.functions.claims[0].customs"),
    ("bad network", HEAD, 'refused_networks = ["192.0.2.1/24"]', "$.functions.refused_networks[0]"),
    ("rules for nothing", HEAD, 'recaptcha_events = []\n[[functions.recaptcha]]\naction = "ALLOW"',
     "$.functions.recaptcha_events"),
    ("bad action", HEAD, '[[functions.recaptcha]]\naction = "allow"', "$.functions.recaptcha[0].action"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "text", "where"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_cannot_work_is_told(tmp_path: Path, head: str, text: str, where: str) -> None:
    """... names the key that does not fit before anything listens."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, f"[functions]\n{text}\n", head)
    assert raised.value.where == where


def test_a_backend_is_needed_by_a_gateway_only(tmp_path: Path) -> None:
    """... demands a backend where requests are proxied, and none where only events are answered."""
    text = '[functions]\nlisten = "127.0.0.1:0"\ndisplay_name = "Guest"\n'
    assert read(tmp_path, text).functions.display_name == "Guest"
    with pytest.raises(ConfigError, match="names no backend"):
        load(tmp_path / "gateway.toml", environment={})


def test_the_environment_sets_keys(tmp_path: Path) -> None:
    """... takes settings of functions from the environment, secrets without showing them."""
    (tmp_path / "gateway.toml").write_text(HEAD)
    environment = {
        "GATEWAY__FUNCTIONS__AUDIENCE": "https://a.test/",
        "GATEWAY__FUNCTIONS__ALLOWED_DOMAINS": '["a.test"]',
        "GATEWAY__FUNCTIONS__REFRESH_TOKENS__SAVE": "a:b",
        "GATEWAY__FUNCTIONS__REFRESH_TOKENS__KEY": "secret-key",
    }
    config = load(tmp_path / "gateway.toml", environment=environment, backends=False).config
    assert config.functions.audiences == ("https://a.test/",)
    assert config.functions.allowed_domains == ("a.test",)
    assert config.functions.refresh_tokens is not None
    assert "secret-key" not in repr(config.functions.refresh_tokens)
