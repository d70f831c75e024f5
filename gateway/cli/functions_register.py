"""``gateway functions register`` and ``status``: which functions Identity Platform calls (blocking-functions.md 1.2).

The rule this file obeys: **what is registered already and not named stays.** The service replaces the whole object, so
it is read first; whoever registers at the same moment loses or wins as with any other tool.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import google.auth
import google.auth.credentials
import google.auth.exceptions
import requests
from google.auth.transport.requests import AuthorizedSession
from rich.console import Console

from gateway.cli.functions import event_named
from gateway.config.load import load
from gateway.core.client_ip import parse_address
from gateway.errors import ConfigError
from gateway.idp.functions import is_absolute

if TYPE_CHECKING:
    from gateway.config.load import Loaded

GOOGLE: Final = "https://identitytoolkit.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
TIMEOUT: Final = 20.0
"""Seconds for one call of the service."""

DEFAULT_EVENTS: Final = ("before-create", "before-sign-in")
FORWARD: Final = {"id-token": "idToken", "access-token": "accessToken", "refresh-token": "refreshToken"}
"""What the command calls the credentials that may be forwarded, and the service's names."""

_OK: Final = 200
_NO_CREDENTIALS: Final = "application default credentials are not set up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The project, and where its configuration is: Google's service, or an emulator at ``host:port``."""

    project: str
    emulator: str | None

    @property
    def url(self) -> str:
        """The address of the configuration."""
        origin = GOOGLE if self.emulator is None else f"http://{self.emulator}/identitytoolkit.googleapis.com"
        return f"{origin}/v2/projects/{self.project}/config"


def service_of(config: Path | None, project: str | None, emulator: str | None) -> Service:
    """The service that the options mean.

    :raises ConfigError: no project, or an emulator beyond this machine.
    """
    loaded: Loaded | None = load(config, backends=False) if config is not None else None
    if loaded is not None:
        project = project or loaded.config.firebase.project_id
        emulator = emulator or loaded.config.firebase.emulator
    if not project:
        raise ConfigError("--project", "the project is not known", "--project acme-prod, or --config gateway.toml")
    if emulator is not None:
        host = emulator.rpartition(":")[0].strip("[]")
        address = parse_address(host)
        if host != "localhost" and (address is None or not address.is_loopback):
            raise ConfigError("--emulator", f"{emulator!r} is not this machine", "such as 127.0.0.1:9099")
    return Service(project=project, emulator=emulator)


def run_register(uri: str, service: Service, *, events: Sequence[str], forward: Sequence[str], dry_run: bool) -> int:
    """Register ``uri`` for events, beside what is registered for others; print what then is.

    :param forward: credentials that functions get from now on, of :data:`FORWARD`; none named leaves that as it is.
    :raises ConfigError: an argument cannot be used, or the service refused.
    """
    if not is_absolute(uri) or (service.emulator is None and not uri.startswith("https://")):
        raise ConfigError("URL", f"{uri!r} cannot be registered", "an https address that anybody may call")
    triggers = {event_named(name): {"functionUri": uri} for name in events or DEFAULT_EVENTS}
    unknown = [name for name in forward if name not in FORWARD]
    if unknown:
        raise ConfigError("--forward", f"{unknown[0]!r} is no credential", ", ".join(FORWARD))
    present, known = _present(service, optional=dry_run)
    wanted = {**present, "triggers": {**_writable(present), **triggers}}
    if forward:
        wanted["forwardInboundCredentials"] = {FORWARD[name]: True for name in forward}
    body = {"blockingFunctions": wanted}
    if dry_run:
        print(f"PATCH {service.url}?updateMask=blockingFunctions")
        print(json.dumps(body, indent=2))
        if not known:
            print("# What is registered now could not be read; the real request keeps it.")
        return 0
    with _session(service) as session:
        answer = _call(session, "PATCH", f"{service.url}?updateMask=blockingFunctions", body)
    _print(answer.get("blockingFunctions", {}))
    return 0


def run_status(service: Service, *, as_json: bool) -> int:
    """Print what is registered; 1 when nothing is.

    :raises ConfigError: the service refused.
    """
    present, _ = _present(service, optional=False)
    if as_json:
        print(json.dumps(present, indent=2))
    else:
        _print(present)
    return 0 if present.get("triggers") else 1


def _present(service: Service, *, optional: bool) -> tuple[dict[str, Any], bool]:
    """``blockingFunctions`` as it is now, and whether that could be read."""
    try:
        with _session(service) as session:
            config = _call(session, "GET", service.url, None)
    except ConfigError:
        if optional:
            return {}, False
        raise
    present = config.get("blockingFunctions")
    return (present if isinstance(present, dict) else {}), True


def _writable(present: dict[str, Any]) -> dict[str, Any]:
    """Registered triggers without what the service adds to them."""
    return {
        event: {"functionUri": trigger.get("functionUri")} for event, trigger in present.get("triggers", {}).items()
    }


def _session(service: Service) -> requests.Session:
    if service.emulator is not None:
        session = requests.Session()
        session.trust_env = False
        session.headers["Authorization"] = "Bearer owner"
        return session
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE], quota_project_id=service.project)
    except google.auth.exceptions.DefaultCredentialsError:
        raise ConfigError(
            "credentials", _NO_CREDENTIALS, "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS"
        ) from None
    return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]  # google-auth leaves constructors untyped


def _call(session: requests.Session, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
    try:
        answer = session.request(method, url, json=body, timeout=TIMEOUT)
        content = answer.json()
    except (requests.RequestException, google.auth.exceptions.GoogleAuthError, ValueError) as error:
        raise ConfigError(
            url, f"no usable answer: {type(error).__name__}", "check the network and the project"
        ) from None
    if answer.status_code != _OK or not isinstance(content, dict):
        told = content.get("error", {}).get("message", "") if isinstance(content, dict) else ""
        raise ConfigError(
            url, f"the service answered {answer.status_code}: {told}", "is the role firebaseauth.admin there?"
        )
    return content


def _print(present: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    triggers: dict[str, Any] = present.get("triggers", {})
    if not triggers:
        console.print("no functions are registered")
    for event, trigger in triggers.items():
        changed = f"   since {trigger['updateTime']}" if trigger.get("updateTime") else ""
        console.print(f"{event:<16} {trigger.get('functionUri')}{changed}")
    flags: dict[str, Any] = present.get("forwardInboundCredentials", {})
    forwarded = [name for name, key in FORWARD.items() if flags.get(key)]
    console.print(f"{'credentials':<16} {', '.join(forwarded) or 'none are forwarded'}")
