"""What the ``[network]`` table means."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.networks import network_settings
from gateway.core.client_ip import ForwardedFields
from gateway.core.session import NetworkLevel
from gateway.errors import ConfigError
from gateway.policy.networks import Missing, NetworkSettings

MINIMAL = """
[firebase]
project_id = "acme"
[[upstream]]
name = "app"
urls = ["http://127.0.0.1:3000"]
[[route]]
match = { path = "/**" }
"""


def config_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text + MINIMAL)
    return path


def test_defaults(tmp_path: Path) -> None:
    """... learns, exempts nobody and revokes nobody unless told."""
    config = load(config_of(tmp_path, ""), environment={}).config
    assert network_settings(config) == NetworkSettings()
    assert (config.listen.forwarded, config.listen.proxy_protocol) == (ForwardedFields.AUTO, False)


def test_everything(tmp_path: Path) -> None:
    """... takes each setting to the judge."""
    text = """
[listen]
forwarded = "forwarded"
[network]
missing = "deny"
exempt = ["203.0.113.0/24"]
exempt_asns = [64496]
asn_db = "asn.mmdb"
claim_key = "${env:KEY}"
revoke_on = ["suspicious"]
revoke_limit = 3
max_data_age = "30d"
"""
    config = load(config_of(tmp_path, text), environment={"KEY": "0123456789abcdef"}).config
    assert network_settings(config) == NetworkSettings(
        Missing.DENY,
        (ipaddress.ip_network("203.0.113.0/24"),),
        frozenset({64496}),
        b"0123456789abcdef",
        countries=False,
        revoke_on=frozenset({NetworkLevel.SUSPICIOUS}),
    )
    assert config.listen.forwarded is ForwardedFields.FORWARDED
    assert (config.network.revoke_limit, config.network.max_data_age) == (3, 30 * 86_400)
    assert "0123456789abcdef" not in repr(config)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[network]\nmissing = "maybe"', "$.network.missing"),
        ('[network]\nexempt = ["nowhere"]', "$.network.exempt[0]"),
        ("[network]\nexempt_asns = [64496]", "$.network.exempt_asns"),
        ('[network]\ncountry_db = "country.mmdb"', "$.network.country_db"),
        ('[network]\nhosting_list = "hosting.txt"', "$.network.hosting_list"),
        ('[network]\nasn_db = "asn.mmdb"\nrelay_list = "relay.csv"', "$.network.relay_list"),
        ('[network]\nclaim_key = "short"', "$.network.claim_key"),
        ('[network]\nrevoke_on = ["same"]', "$.network.revoke_on[0]"),
        ("[network]\nrevoke_limit = 0", "$.network.revoke_limit"),
        ("[listen]\nproxy_protocol = true", "$.listen.proxy_protocol"),
        ('[listen]\nforwarded = "x-real-ip"', "$.listen.forwarded"),
    ],
)
def test_what_does_not_fit_is_told(text: str, where: str, tmp_path: Path) -> None:
    """... says which key cannot be used."""
    with pytest.raises(ConfigError) as caught:
        load(config_of(tmp_path, text), environment={})
    assert caught.value.where == where


def test_revoking_needs_the_account_service(tmp_path: Path) -> None:
    """... does not promise to revoke where nothing can be revoked."""
    path = tmp_path / "gateway.toml"
    credentials = MINIMAL.replace('"acme"', '"acme"\ncredentials = "none"')
    path.write_text('[network]\nrevoke_on = ["suspicious"]\n' + credentials)
    with pytest.raises(ConfigError) as caught:
        load(path, environment={})
    assert caught.value.where == "$.network.revoke_on"
