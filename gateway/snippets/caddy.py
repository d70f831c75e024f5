"""Caddy 2.11 with ``forward_auth``, as a Caddyfile."""

from __future__ import annotations

from gateway.snippets.site import OVERRIDES, WORKER_FIELD, WORKER_SCOPE, Site, address

_PAGE = """\
# The session gateway behind Caddy. Save as Caddyfile; then: caddy validate && caddy run
# The gateway's own file needs: [listen] trusted_proxies = ["127.0.0.1/32"]   (the address that this Caddy comes from)
#                               [forward_auth] dialects = ["caddy"]

{site} {{
	# Only Caddy itself asks here, below.
	@hidden path {prefix}auth/*
	handle @hidden {{
		respond 404
	}}

	# What the gateway asks and serves itself: worker, login, sign-out, session.
	@own path {own}
	handle @own {{
		reverse_proxy {gateway}
	}}

	handle {{
		route {{
			# Nobody says who they are by themselves; and backends read underscores as hyphens.
			request_header -*_*
{removed}

			# Each of these is taken from the gateway's answer, and removed where that has none.
			forward_auth {gateway} {{
				uri {prefix}auth/caddy
				copy_headers {told}
			}}

			request_header -{worker_field}
			reverse_proxy {backend} {{
				flush_interval -1
				# The worker of this site is the gateway's.
				header_down -{worker_scope}
			}}
		}}
	}}
}}
"""


def caddy(site: Site) -> str:
    """A Caddyfile. Directives stand in a ``route``, because elsewhere Caddy puts them into an order of its own."""
    return _PAGE.format(
        site=f"http://{site.host}:{site.port}",
        gateway=address(site.gateway),
        backend=address(site.backend),
        prefix=site.prefix,
        own=" ".join((f"{site.prefix}*", *site.own)),
        removed="\n".join(f"\t\t\trequest_header -{name}" for name in (*site.identity, *OVERRIDES, "X-Real-IP")),
        told=" ".join(site.told),
        worker_field=WORKER_FIELD,
        worker_scope=WORKER_SCOPE,
    )
