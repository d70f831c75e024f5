"""How configuration becomes a route table."""

from __future__ import annotations

from gateway.config.load import load
from gateway.config.rules import policy_routes
from gateway.core.target import parse_target
from gateway.policy.ip_change import Preset


def test_routes_carry_their_settings() -> None:
    """... hands every setting of a route to the policy, with the table's defaults filled in."""
    config = load(
        None,
        environment={},
        overrides={
            "firebase.project_id": "acme",
            "network.preset": "monitor",
            "upstream": [{"name": "a", "urls": ["http://127.0.0.1:1"]}, {"name": "b", "urls": ["http://127.0.0.1:2"]}],
            "route": [
                {
                    "match": {"path": "/x/**", "methods": ["GET"], "hosts": ["h"]},
                    "upstream": "b",
                    "network": {"preset": "pinned"},
                },
                {
                    "match": {"path": "/**"},
                    "upstream": "a",
                    "name": "rest",
                    "forward_authorization": True,
                    "identity": {"headers": ["user"]},
                },
            ],
        },
    ).config
    table = policy_routes(config)
    first = table.match("GET", "h", parse_target("/x/y"))
    rest = table.match("POST", "h", parse_target("/x/y"))
    assert first is not None
    assert rest is not None
    assert (first.name, first.upstream, first.preset) == ("route-1", "b", Preset.PINNED)
    assert (rest.name, rest.upstream, rest.preset, rest.forward_authorization, rest.identity) == (
        "rest",
        "a",
        Preset.MONITOR,
        True,
        ("user",),
    )
