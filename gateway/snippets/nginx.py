"""nginx with ``auth_request`` (ngx_http_auth_request_module, in Debian's packages)."""

from __future__ import annotations

from gateway.snippets.site import OVERRIDES, WORKER_FIELD, WORKER_SCOPE, Site, address

_PAGE = """\
# The session gateway behind nginx. Save as /etc/nginx/conf.d/session-gateway.conf; then: nginx -t && nginx -s reload
# The gateway's own file needs: [listen] trusted_proxies = ["127.0.0.1/32"]   (the address that this nginx comes from)
#                               [forward_auth] dialects = ["nginx"]

map $http_upgrade $session_gateway_connection {{
    default upgrade;
    ""      "";
}}

upstream session_gateway {{
    server {gateway};
    keepalive 32;
}}

upstream session_gateway_app {{
    server {backend};
    keepalive 32;
}}

server {{
    listen {port};
    server_name {host};
    # An ID token may have 16 KB, on its way in and as a cookie on its way out.
    large_client_header_buffers 4 32k;
    client_max_body_size 0;  # the application knows its limits
    proxy_buffer_size 32k;
    proxy_buffers 8 32k;
    proxy_busy_buffers_size 64k;

    # What the gateway asks and serves itself: worker, login, sign-out, session.
    location ^~ {prefix} {{
{own}
    }}
{exact}
    # Only this nginx asks here, below.
    location ^~ {prefix}auth/ {{
        return 404;
    }}

    location / {{
        auth_request /session-gateway-auth;
{taken}
        auth_request_set $session_gateway_set_cookie $upstream_http_set_cookie;
        error_page 401 403 = @session_gateway_refusal;

{given}
        proxy_set_header {worker_field} "";
{overrides}
        proxy_set_header X-Real-IP $remote_addr;
        add_header Set-Cookie $session_gateway_set_cookie always;
        proxy_hide_header {worker_scope};  # the worker of this site is the gateway's

        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $session_gateway_connection;
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_read_timeout 1h;  # WebSockets and event streams
        proxy_pass http://session_gateway_app;
    }}

    location = /session-gateway-auth {{
        internal;
{question}
        proxy_pass http://session_gateway{prefix}auth/nginx;
    }}

    # auth_request keeps a refusal's status only, so its page, redirect or problem document is fetched here.
    location @session_gateway_refusal {{
{question}
        proxy_method GET;
        rewrite ^ {prefix}auth/nginx/refusal break;
        proxy_pass http://session_gateway;
    }}
}}
"""

_OWN = """\
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Connection "";
        proxy_http_version 1.1;
        proxy_pass http://session_gateway;"""

_QUESTION = """\
        proxy_set_header X-Original-Method $request_method;
        proxy_set_header X-Original-URI $request_uri;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Forwarded "";
        proxy_set_header X-Request-Id $request_id;
        proxy_set_header Connection "";
        proxy_http_version 1.1;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";"""


def nginx(site: Site) -> str:
    """A file for ``conf.d``. nginx itself drops field names with underscores."""
    variables = {name: f"$session_gateway_{name.lower().replace('-', '_')}" for name in site.told}
    taken = (
        f"        auth_request_set {variable} $upstream_http_{name.lower().replace('-', '_')};"
        for name, variable in variables.items()
    )
    given = (f"        proxy_set_header {name} {variable};" for name, variable in variables.items())
    exact = (f"    location = {path} {{\n{_OWN}\n    }}\n" for path in site.own)
    return _PAGE.format(
        gateway=address(site.gateway),
        backend=address(site.backend),
        port=site.port,
        host=site.host or "_",
        prefix=site.prefix,
        own=_OWN,
        exact="".join(exact),
        taken="\n".join(taken),
        given="\n".join(given),
        question=_QUESTION,
        worker_field=WORKER_FIELD,
        worker_scope=WORKER_SCOPE,
        overrides="\n".join(f'        proxy_set_header {name} "";' for name in OVERRIDES),
    )
