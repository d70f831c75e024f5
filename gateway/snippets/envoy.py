"""Envoy with the ext_authz filter over HTTP, as a bootstrap file in JSON, which Envoy reads as well as YAML."""

from __future__ import annotations

import json
from typing import Any, Final

from gateway.snippets.site import OVERRIDES, WORKER_FIELD, WORKER_SCOPE, Site

_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions.filters"
_TIMEOUT: Final = "10s"
_LONG: Final = "3600s"
"""How long a WebSocket or an event stream may be silent."""
_ASKED: Final = (
    "accept",
    "authorization",
    "cookie",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-websocket-key",
    "access-control-request-method",
    "access-control-request-headers",
    "x-forwarded-for",
    "x-forwarded-proto",
    WORKER_FIELD.lower(),
)
"""What the judgement reads of a request. Method, path and ``Host`` are always told."""
_SHOWN: Final = (
    "access-control-",
    "allow",
    "cache-control",
    "clear-site-data",
    "content-",
    "cross-origin-",
    "location",
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-",
)
"""Beginnings of the fields of a refusal; all that the gateway sends."""


def envoy(site: Site) -> str:
    """A bootstrap configuration. Fields with underscores never get in."""
    listener = {
        "name": "public",
        "address": _address(("0.0.0.0", site.port)),  # noqa: S104 - it is the public listener
        "filter_chains": [{"filters": [{"name": "http", "typed_config": _manager(site)}]}],
    }
    clusters = [_cluster("session_gateway", site.gateway), _cluster("app", site.backend)]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}, indent=2) + "\n"


def _manager(site: Site) -> dict[str, Any]:
    own: list[dict[str, Any]] = [{"prefix": site.prefix}, *({"path": path} for path in site.own)]
    unjudged = {"session_gateway": {"@type": f"{_EXTENSIONS}.http.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}}
    hidden = {
        # Only Envoy itself asks here, in the filter.
        "match": {"prefix": f"{site.prefix}auth/"},
        "direct_response": {"status": 404},
        "typed_per_filter_config": unjudged,
    }
    routes = [hidden]
    routes += [
        {"match": match, "route": {"cluster": "session_gateway"}, "typed_per_filter_config": unjudged} for match in own
    ]
    app = {"cluster": "app", "timeout": "0s", "idle_timeout": _LONG}
    # The worker of this site is the gateway's.
    hidden_fields = [WORKER_SCOPE.lower()]
    routes.append({"match": {"prefix": "/"}, "route": app, "response_headers_to_remove": hidden_fields})
    domains = [site.host, f"{site.host}:*"] if site.host else ["*"]
    return {
        "@type": f"{_EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "use_remote_address": True,
        "xff_num_trusted_hops": 0,
        "append_x_forwarded_port": False,
        "max_request_headers_kb": 96,
        "normalize_path": False,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"},
        "early_header_mutation_extensions": [_cleaning(site)],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "site", "domains": domains, "routes": routes}]},
        "http_filters": [
            {"name": "session_gateway", "typed_config": _filter(site)},
            {"name": "router", "typed_config": {"@type": f"{_EXTENSIONS}.http.router.v3.Router"}},
        ],
    }


def _cleaning(site: Site) -> dict[str, Any]:
    """What a client has no say in, removed before Envoy itself reads or writes a field."""
    kind = "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    names = (*site.identity, *OVERRIDES, "X-Forwarded-For", "X-Real-IP")
    mutations = [{"remove": name.lower()} for name in names]
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {"@type": kind, "mutations": mutations},
    }


def _filter(site: Site) -> dict[str, Any]:
    told = [{"exact": name.lower()} for name in site.told]
    return {
        "@type": f"{_EXTENSIONS}.http.ext_authz.v3.ExtAuthz",
        "failure_mode_allow": False,
        "clear_route_cache": False,
        "allowed_headers": {"patterns": [{"exact": name} for name in _ASKED]},
        "http_service": {
            "server_uri": {
                "uri": f"http://{site.gateway[0]}:{site.gateway[1]}",
                "cluster": "session_gateway",
                "timeout": _TIMEOUT,
            },
            "path_prefix": f"{site.prefix}auth/envoy",
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": told},
                "allowed_client_headers": {"patterns": [{"prefix": name} for name in _SHOWN]},
                "allowed_client_headers_on_success": {"patterns": [{"exact": "set-cookie"}]},
            },
        },
    }


def _cluster(name: str, place: tuple[str, int]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(place)}}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(place: tuple[str, int]) -> dict[str, Any]:
    return {"socket_address": {"address": place[0], "port_value": place[1]}}
