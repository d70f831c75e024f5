"""Traefik 3 with the ForwardAuth middleware, as a file for its file provider."""

from __future__ import annotations

from gateway.snippets.site import OVERRIDES, WORKER_FIELD, WORKER_SCOPE, Site, address

_PAGE = """\
# The session gateway behind Traefik. Save as session-gateway.yml and start Traefik with, for instance:
#   traefik --entryPoints.web.address=:{port} --providers.file.filename=session-gateway.yml
# The gateway's own file needs: [listen] trusted_proxies = ["127.0.0.1/32"]   (the address that this Traefik comes from)
#                               [forward_auth] dialects = ["traefik"]

http:
  routers:
    session-gateway-app:
      rule: "{rule}"
      priority: 1
      middlewares: [session-gateway-spellings, session-gateway, session-gateway-worker]
      service: session-gateway-app
    # What the gateway asks and serves itself: worker, login, sign-out, session.
    session-gateway-own:
      rule: "{own}"
      priority: 1000
      service: session-gateway
    # Only Traefik itself asks here, in the middleware below.
    session-gateway-hidden:
      rule: "{hidden}"
      priority: 1001
      middlewares: [session-gateway-nowhere]
      service: session-gateway

  middlewares:
    session-gateway:
      forwardAuth:
        address: "http://{gateway}{prefix}auth/traefik"
        trustForwardHeader: false
        preserveLocationHeader: true
        # Each of these is taken from the gateway's answer, and removed where that has none.
        authResponseHeaders:
{told}
        addAuthCookiesToResponse: [{cookies}]
    # Backends read underscores as hyphens, and some take a path or a method from these.
    session-gateway-spellings:
      headers:
        customRequestHeaders:
{aliases}
    session-gateway-worker:
      headers:
        customRequestHeaders:
          {worker_field}: ""
        # The worker of this site is the gateway's.
        customResponseHeaders:
          {worker_scope}: ""
    session-gateway-nowhere:
      replacePath:
        path: {prefix}nowhere

  services:
    session-gateway:
      loadBalancer:
        servers:
          - url: "http://{gateway}"
    session-gateway-app:
      loadBalancer:
        responseForwarding:
          flushInterval: 1ms
        servers:
          - url: "http://{backend}"
"""
_COOKIES = ("__Host-session", "__session")


def traefik(site: Site) -> str:
    """A dynamic configuration."""
    named = f"Host(`{site.host}`) && " if site.host else ""
    own = " || ".join([f"PathPrefix(`{site.prefix}`)", *(f"Path(`{path}`)" for path in site.own)])
    return _PAGE.format(
        port=site.port,
        rule=f"{named}PathPrefix(`/`)",
        own=f"{named}({own})",
        hidden=f"{named}PathPrefix(`{site.prefix}auth/`)",
        gateway=address(site.gateway),
        backend=address(site.backend),
        prefix=site.prefix,
        told="\n".join(f"          - {name}" for name in site.told),
        cookies=", ".join(_COOKIES),
        aliases="\n".join(f'          {name}: ""' for name in (*site.aliases, *OVERRIDES)),
        worker_field=WORKER_FIELD,
        worker_scope=WORKER_SCOPE,
    )
