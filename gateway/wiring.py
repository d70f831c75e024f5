"""The composition root: from a configuration to a running gateway. The only module that knows everyone.

Nothing is looked up globally: every part gets what it needs through its constructor, here.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import aiohttp

from gateway.adapters.clock import SystemClock
from gateway.adapters.firebase_users import FirebaseDirectory
from gateway.adapters.google_keys import PublishedKeys
from gateway.adapters.revocation_cache import RevocationCache
from gateway.assets import load_assets
from gateway.config.rules import policy_routes
from gateway.core.client_ip import AddressResolver
from gateway.errors import ConfigError
from gateway.guard import SessionGuard
from gateway.http.endpoints import Endpoints, LoginSettings, WorkerSettings
from gateway.http.reply import Replies
from gateway.observe.decisions import DecisionLog, NoLog, json_line, text_line
from gateway.observe.health import admin_application, listen
from gateway.proxy.server import ProxyServer
from gateway.proxy.upstream import Upstream, UpstreamTimeouts
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.verifier import IdTokenVerifier

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.config.load import Loaded
    from gateway.config.model import Config
    from gateway.core.claims import Principal
    from gateway.core.ports import AddressSource, AuditSink
