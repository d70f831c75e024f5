"""The part of the account directory that knows firebase-admin: slow to import and synchronous, used late, in threads.

firebase-admin has no public way to name another account service but an environment variable that also switches off the
verification of tokens in the whole process. So the address is set inside its client here, after a check that its inside
is still what we know; when it is not, the gateway does not start.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import firebase_admin
import google.auth.credentials
import google.auth.exceptions
import requests
import requests.adapters
from firebase_admin import auth, credentials, exceptions
from urllib3.util.retry import Retry

from gateway.core.ports import AccountRecord
from gateway.errors import ConfigError

GOOGLE_ENDPOINT: Final = "https://identitytoolkit.googleapis.com"
EMULATOR_VARIABLE: Final = "FIREBASE_AUTH_EMULATOR_HOST"
ADC_VARIABLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"

REQUEST_TIMEOUT: Final = 4.0
"""Seconds, for connecting and for each read. Google answers a batch in a tenth of one."""

_CONNECT_RETRIES: Final = 1
"""For a kept connection that the service has closed meanwhile; everything else is the caller's to repeat."""

_names = itertools.count(1)


class SecretCredential(credentials.Base):  # type: ignore[misc] # firebase-admin is untyped
    """A fixed bearer secret, as Auth emulators and the embedded provider take it."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._credential = _FixedToken(secret)

    def get_credential(self) -> google.auth.credentials.Credentials:
        """What google-auth signs requests with."""
        return self._credential


class _FixedToken(google.auth.credentials.Credentials):
    def __init__(self, secret: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth leaves constructors untyped
        self.token = secret

    def refresh(self, request: object) -> None:  # noqa: ARG002 - google-auth names it
        # Called after a 401. Another attempt with the same secret would end the same way.
        raise google.auth.exceptions.RefreshError(  # type: ignore[no-untyped-call] # as above
            "the account service refused the configured secret"
        )


class FirebaseClients:
    """One firebase-admin app with a client for each tenant that is asked for. Methods block; any thread may call them.

    :param endpoint: base address of an account service that stands in for Google's, or None.
    :raises ConfigError: no usable credentials, or a firebase-admin that we do not know.
    """

    def __init__(self, project: str, credential: object, endpoint: str | None, where: str) -> None:
        if os.environ.get(EMULATOR_VARIABLE) and endpoint is None:
            raise ConfigError(
                EMULATOR_VARIABLE,
                "is set in the environment; it makes Firebase libraries believe unsigned tokens",
                "unset it and set firebase.endpoints.identity_toolkit instead",
            )
        self._project = project
        self._endpoint = endpoint
        options = {"projectId": project, "httpTimeout": REQUEST_TIMEOUT}
        self._app = firebase_admin.initialize_app(credential, options, name=f"session-gateway-{next(_names)}")
        self._clients: dict[str | None, Any] = {}
        self._lock = threading.Lock()
        try:
            self._client(None)
        except google.auth.exceptions.DefaultCredentialsError:
            self.close()
            if os.environ.get(ADC_VARIABLE):
                raise ConfigError(ADC_VARIABLE, "names no usable credentials file", "check the path") from None
            raise ConfigError(
                where,
                f"no Google credentials on this machine for project {project}",
                'run "gcloud auth application-default login", set GOOGLE_APPLICATION_CREDENTIALS, '
                'name a key with "file:PATH", or set "none" to go without revocation checks',
            ) from None
        except ConfigError:
            self.close()
            raise

    def look_up(self, tenant: str | None, uids: list[str]) -> dict[str, AccountRecord]:
        """Records of these users (``accounts:lookup``, identity-toolkit.md section 10.1).

        :raises requests.RequestException, google.auth.exceptions.GoogleAuthError, FirebaseError, ValueError: see
            :func:`describe`.
        """
        found = self._client(tenant).get_users([auth.UidIdentifier(uid) for uid in uids])
        return {user.uid: _record(user) for user in found.users}

    def revoke(self, tenant: str | None, uid: str) -> None:
        """Set the user's valid-since to now. A user who is gone has no session left to end."""
        try:
            self._client(tenant).revoke_refresh_tokens(uid)
        except auth.UserNotFoundError:
            return

    def create_session_cookie(self, id_token: str, lifetime: int) -> str:
        """Make a session cookie (``createSessionCookie``, identity-toolkit.md section 4.2); ``lifetime`` in seconds.

        :raises requests.RequestException, google.auth.exceptions.GoogleAuthError, FirebaseError, ValueError: see
            :func:`describe`.
        """
        cookie = self._client(None)._token_generator.create_session_cookie(id_token, lifetime)  # noqa: SLF001 - as below
        if not isinstance(cookie, str) or not cookie:
            raise ValueError("an answer without a session cookie")
        return cookie

    def verification_link(self, tenant: str | None, email: str) -> str | None:
        """Make the link that verifies an address (``accounts:sendOobCode``); None when nobody has that address.

        :raises requests.RequestException, google.auth.exceptions.GoogleAuthError, FirebaseError, ValueError: see
            :func:`describe`.
        """
        try:
            link = self._client(tenant).generate_email_verification_link(email)
        except (auth.UserNotFoundError, auth.EmailNotFoundError):
            return None
        if not isinstance(link, str) or not link:
            raise ValueError("an answer without a link")
        return link

    def close(self) -> None:
        """Drop connections and the app."""
        for client in self._clients.values():
            client._user_manager.http_client.close()  # noqa: SLF001 - there is no public way
        self._clients.clear()
        firebase_admin.delete_app(self._app)

    def _client(self, tenant: str | None) -> Any:
        with self._lock:
            client = self._clients.get(tenant)
            if client is None:
                client = self._clients[tenant] = self._build(tenant)
            return client

    def _build(self, tenant: str | None) -> Any:
        with _without_emulator_variable():
            client = auth.Client(self._app, tenant)
        path = f"/v1/projects/{self._project}" + (f"/tenants/{tenant}" if tenant else "")
        manager = getattr(client, "_user_manager", None)
        session = getattr(getattr(manager, "http_client", None), "session", None)
        generator = getattr(client, "_token_generator", None)
        project = f"/v1/projects/{self._project}"  # makes session cookies, which have no tenant
        known = (getattr(manager, "base_url", None), getattr(generator, "base_url", None))
        if known != (GOOGLE_ENDPOINT + path, GOOGLE_ENDPOINT + project) or not isinstance(session, requests.Session):
            raise ConfigError(
                "firebase-admin",
                f"version {firebase_admin.__version__} is built differently from what this gateway knows",
                "install firebase-admin 7.7",
            )
        retries = Retry(connect=_CONNECT_RETRIES, read=0, status=0, redirect=0, other=0, raise_on_status=False)
        for scheme in ("https://", "http://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retries))
        session.max_redirects = 0
        if self._endpoint is not None:
            manager.base_url = self._endpoint + path  # type: ignore[union-attr] # checked above
            generator.base_url = self._endpoint + project  # type: ignore[union-attr] # checked above
            # A proxy or a .netrc of the environment is meant for Google, not for a stand-in.
            session.trust_env = False
        return client


@contextmanager
def _without_emulator_variable() -> Iterator[None]:
    # Where a stand-in is configured, the variable may be set for other tools. firebase-admin would take its address
    # and its
    # fixed secret instead of ours.
    value = os.environ.pop(EMULATOR_VARIABLE, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[EMULATOR_VARIABLE] = value


def _record(user: Any) -> AccountRecord:
    disabled, milliseconds = user.disabled, user.tokens_valid_after_timestamp
    if not isinstance(disabled, bool) or not isinstance(milliseconds, int):
        raise ValueError("an account record of another shape")  # noqa: TRY004 - a fault of the answer, as the others
    return AccountRecord(disabled=disabled, valid_since=milliseconds // 1000)


def describe(error: Exception) -> str:
    """What went wrong, for the log: never a body, a header or a credential."""
    if isinstance(error, exceptions.FirebaseError):
        status = getattr(error.http_response, "status_code", None)
        cause = type(error.cause).__name__ if error.cause is not None else type(error).__name__
        return f"{error.code}, status {status}" if status is not None else f"{error.code} ({cause})"
    if isinstance(error, google.auth.exceptions.TransportError):
        return "the service that issues our own access token cannot be reached"
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return f"the credentials were refused ({type(error).__name__})"
    return f"an answer that cannot be read ({type(error).__name__})"
