"""The configurations of the benchmark's peers: the gateway's own, nginx's, HAProxy's and Envoy's.

Whatever stands here is what a team would put into production for the same duties. ``BARE`` ones do nothing but verify
the token, so that nobody has to wonder what the duties cost.
"""

from __future__ import annotations

import json
from typing import Any, Final

from tests.support import forge

LOCALHOST: Final = "127.0.0.1"
ENVOY_CACHE: Final = 100_000
"""Tokens that Envoy may remember; its own default is 100."""
ENVOY_LONGEST_TOKEN: Final = 8_192
"""Bytes of a token that Envoy remembers; its own default is 4096."""

GATEWAY: Final = """
[firebase]
project_id = "{project}"
api_key = "key"
credentials = "file:account.json"
[firebase.endpoints]
id_token_certificates = "{services}/certificates"
session_cookie_certificates = "{services}/certificates"
identity_toolkit = "{services}"
secure_token = "{services}"
[listen]
public = "127.0.0.1:{port}"
admin = "127.0.0.1:{admin}"
{listen}
[network]
preset = "pinned"
[log]
decisions = "json"
[[upstream]]
name = "app"
urls = ["{upstream}"]
[[route]]
name = "assets"
match = {{ path = "/static/**" }}
auth = "public"
[[route]]
name = "admin"
match = {{ path = "/admin/**" }}
require = {{ roles = ["admin"] }}
[[route]]
name = "all"
match = {{ path = "/**" }}
"""

ASKED: Final = """
[forward_auth]
dialects = ["nginx"]
"""
"""What a gateway that is only asked has besides."""

NGINX: Final = """
worker_processes 1; daemon off; pid {dir}/{name}.pid; error_log {dir}/{name}.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 0;
  client_body_temp_path {dir}/{name}-body; proxy_temp_path {dir}/{name}-proxy; fastcgi_temp_path {dir}/{name}-f;
  uwsgi_temp_path {dir}/{name}-u; scgi_temp_path {dir}/{name}-s;
  {upstream}
  server {{ listen 127.0.0.1:{port} backlog=1024; {locations} }}
}}
"""

UPSTREAMS: Final = """
  upstream itself {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 100000000; }}
"""
LOCATIONS: Final = """
  underscores_in_headers on; ignore_invalid_headers off;
  location / {{ return 200 '{small}'; }}
  location = /64k {{ root {dir}; }}
  location = /10m {{ root {dir}; }}
  location = /up {{ client_body_buffer_size 11m; proxy_pass http://itself/done; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_pass_request_body off; proxy_set_header Content-Length ""; }}
  location = /echo {{ proxy_pass {services}; proxy_set_header Host $http_host; }}
  location = /connections {{ stub_status; }}
"""
"""The backend of all peers: 200 bytes, 64 KB and 10 MB to fetch; ``/up`` reads all that is sent before it answers,
``/echo`` tells which fields arrived, ``/connections`` how many connections were ever accepted."""

HAPROXY_BARE: Final = """
global
  nbthread 1
  log stdout local0 emerg
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend public
  bind 127.0.0.1:{port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {issuer} }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {audience} }}
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{key}") -m int 1 }}
  http-request set-header X-Forwarded-User %[var(txn.bearer),jwt_payload_query('$.sub')]
  http-request del-header Authorization
  default_backend app
backend app
  server one 127.0.0.1:{upstream}
"""

HAPROXY_LINE: Final = (
    '{"time":%Ts.%ms,"client":"%ci","request_id":"%ID","method":"%HM","path":%{+E,+Q}HPO,"status":%ST,"millis":%Tu,'
    '"user":%{+E,+Q}[var(txn.user)]}'
)
HAPROXY: Final = """
global
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend public
  bind 127.0.0.1:{port}
  log global
  log-format '{line}'
  unique-id-format %[uuid]
  unique-id-header X-Request-Id
  option http-restrict-req-hdr-names delete
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {issuer} }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {audience} }}
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request set-var-fmt(txn.client) %[src]
  http-request set-var(txn.signed_in) var(txn.bearer),jwt_payload_query('$.signInIpAddress')
  http-request deny deny_status 401 unless {{ var(txn.signed_in),strcmp(txn.client) eq 0 }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{key}") -m int 1 }}
  http-request set-var(txn.user) var(txn.bearer),jwt_payload_query('$.sub')
  http-request del-header X-Gateway- -m beg
  http-request del-header X-Forwarded-Groups
  http-request set-header X-Forwarded-User %[var(txn.user)]
  http-request set-header X-Forwarded-Email %[var(txn.bearer),jwt_payload_query('$.email')]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request del-header Authorization
  http-response set-header X-Request-Id %[unique-id]
  default_backend app
backend app
  server one 127.0.0.1:{upstream}
"""


def envoy(port: int, upstream: int, jwk: dict[str, Any], log: str | None) -> dict[str, Any]:
    """Envoy with its JWT filter, the cache of verified tokens on.

    :param log: where it writes a line for each request; None for the filter alone, without further duties.
    """
    http = "type.googleapis.com/envoy.extensions.filters.http"
    provider = {
        "issuer": forge.ISSUER,
        "audiences": [forge.PROJECT],
        "local_jwks": {"inline_string": json.dumps({"keys": [jwk]})},
        "claim_to_headers": [{"header_name": "x-forwarded-user", "claim_name": "sub"}],
        "jwt_cache_config": {"jwt_cache_size": ENVOY_CACHE, "jwt_max_token_size": ENVOY_LONGEST_TOKEN},
    }
    jwt = {
        "@type": f"{http}.jwt_authn.v3.JwtAuthentication",
        "providers": {"firebase": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "firebase"}}],
    }
    host: dict[str, Any] = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
    }
    manager: dict[str, Any] = {
        "@type": "type.googleapis.com/"
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{http}.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [host]},
    }
    if log is not None:
        _add_duties(provider, manager, host, log)
    chain = {"name": "http", "typed_config": manager}
    listener = {"name": "in", "address": _address(port), "filter_chains": [{"filters": [chain]}]}
    cluster = {
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "app",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _add_duties(provider: dict[str, Any], manager: dict[str, Any], host: dict[str, Any], log: str) -> None:
    """Forwarded lines, a request id of its own for each request, and a line in a log. The address it cannot compare."""
    provider["claim_to_headers"].append({"header_name": "x-forwarded-email", "claim_name": "email"})
    manager |= {
        "use_remote_address": True,
        "always_set_request_id_in_response": True,
        "common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"},
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": log,
                    "log_format": {"json_format": ENVOY_LINE},
                },
            }
        ],
    }
    forwarded = {"header": {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"}}
    host["request_headers_to_add"] = [forwarded | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
    host["request_headers_to_remove"] = ["x-forwarded-groups", "x-gateway-jwt-assertion"]


ENVOY_LINE: Final = {
    "time": "%START_TIME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "millis": "%DURATION%",
    "user": "%REQ(X-FORWARDED-USER)%",
}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOCALHOST, "port_value": port}}
