"""Where the services of a project are, and how account look-ups are authorised: read off the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.adapters.firebase_users import AccountCredentials, ApplicationDefault, BearerSecret, ServiceAccountFile
from gateway.http.cookies_proxy import Service
from gateway.http.pages import GOOGLE_ENDPOINTS

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.model import Config
    from gateway.config.types import HostPort

EMULATOR_SECRET: Final = "owner"  # noqa: S105 - known to everybody, and good on loopback only
"""The bearer token that Auth emulators take for privileged calls, on loopback (firebase-admin sends the same)."""


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    """Where the services of a project are: Google's, their replacements, or one emulator.

    ``certificates`` are those of ID tokens, ``cookie_certificates`` those of session cookies.
    ``browser_emulator`` is the origin that the login page's SDK is pointed at, empty for Google itself.
    """

    certificates: str
    cookie_certificates: str
    accounts: str | None
    token: str
    connect: tuple[str, ...]
    browser_emulator: str
    sdk: tuple[Service, Service] | None = None
    """The account service and the token service, as the Firebase SDK in a page names them."""


def service_addresses(config: Config) -> ServiceAddresses:
    """The addresses that a configuration means.

    The emulator form puts Google's host name in front of each path (``identity-toolkit.md`` section 1), which is what
    the Firebase SDKs do when they are pointed at an emulator.
    """
    firebase = config.firebase
    if firebase.emulator is not None:
        origin = f"http://{firebase.emulator}"
        return ServiceAddresses(
            certificates=f"{origin}/www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com",
            cookie_certificates=f"{origin}/www.googleapis.com/identitytoolkit/v3/relyingparty/publicKeys",
            accounts=f"{origin}/identitytoolkit.googleapis.com",
            token=f"{origin}/securetoken.googleapis.com/v1/token",
            connect=(),
            browser_emulator=origin,
            sdk=_sdk_services(firebase.emulator),
        )
    endpoints = firebase.endpoints
    is_google = endpoints.identity_toolkit == type(endpoints)().identity_toolkit
    return ServiceAddresses(
        certificates=endpoints.id_token_certificates,
        cookie_certificates=endpoints.session_cookie_certificates,
        accounts=None if is_google else endpoints.identity_toolkit,
        token=f"{endpoints.secure_token}/v1/token",
        connect=(endpoints.identity_toolkit.origin, endpoints.secure_token.origin),
        browser_emulator="",
        sdk=(
            Service(endpoints.identity_toolkit, (GOOGLE_ENDPOINTS[0], endpoints.identity_toolkit)),
            Service(endpoints.secure_token, (GOOGLE_ENDPOINTS[1], endpoints.secure_token)),
        ),
    )


def _sdk_services(emulator: HostPort) -> tuple[Service, Service]:
    """An emulator's services. A page may call the same loopback port by another name."""
    hosts = (emulator.host, "localhost", "127.0.0.1", "[::1]")
    origins = (f"http://{emulator}", *(f"http://{host}:{emulator.port}" for host in hosts))

    def service(name: str) -> Service:
        return Service(f"{origins[0]}/{name}", tuple(f"{origin}/{name}" for origin in origins))

    return service("identitytoolkit.googleapis.com"), service("securetoken.googleapis.com")


def account_credentials(loaded: Loaded) -> AccountCredentials | None:
    """How account look-ups are authorised; None when revocation checks are switched off."""
    firebase = loaded.config.firebase
    if firebase.credentials == "none":
        return None
    if firebase.emulator is not None:
        return BearerSecret(EMULATOR_SECRET)
    if firebase.credentials == "adc":
        return ApplicationDefault()
    return ServiceAccountFile(loaded.directory / firebase.credentials.removeprefix("file:"))
