"""What the ``[network]`` table means to the network judge."""

from __future__ import annotations

from gateway.config.model import Config
from gateway.core.session import NetworkLevel
from gateway.policy.networks import NetworkSettings


def network_settings(config: Config) -> NetworkSettings:
    """The settings of the judge that a configuration describes."""
    network = config.network
    return NetworkSettings(
        missing=network.missing,
        exempt=tuple(block.block for block in network.exempt),
        exempt_asns=frozenset(network.exempt_asns),
        claim_key=network.claim_key.encode() or None,
        countries=bool(network.country_db) or not network.asn_db,
        revoke_on=frozenset(NetworkLevel(level) for level in network.revoke_on),
    )
