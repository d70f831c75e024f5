"""The account directory: look-ups and revocation through firebase-admin, off the event loop.

The rules this file obeys: a call that blocks runs in a pool of its own, of a fixed size, so that a slow account
service can never starve anything else; every failure is one :class:`~gateway.errors.RevocationUnavailable` whose text
holds no answer, address book or credential; and an answer of a shape we do not know is a failure, never "no such
user".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from gateway.adapters.endpoint import checked_endpoint
from gateway.errors import ConfigError, RevocationUnavailable

if TYPE_CHECKING:
    from gateway.adapters.firebase_client import FirebaseClients
    from gateway.core.claims import Principal
    from gateway.core.ports import AccountRecord

MAX_BATCH: Final = 100
"""Users in one look-up (firebase-admin, ``auth.get_users``)."""

WORKERS: Final = 4
"""Threads. Each carries about ten batches a second to Google, four thousand users; more would only queue there."""

CALL_DEADLINE: Final = 10.0
"""Seconds for one call in all: a service that drips its answer would never run into the timeout of a single read."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ApplicationDefault:
    """Google's Application Default Credentials: metadata server, gcloud, ``GOOGLE_APPLICATION_CREDENTIALS``."""


@dataclass(frozen=True, slots=True)
class ServiceAccountFile:
    """A service account's key file."""

    path: Path


@dataclass(frozen=True, slots=True)
class BearerSecret:
    """A fixed bearer secret for a service that stands in for Google's (``owner`` for Auth emulators)."""

    secret: str = field(repr=False)


AccountCredentials: TypeAlias = ApplicationDefault | ServiceAccountFile | BearerSecret


class FirebaseDirectory:
    """Accounts of one project. Implements :class:`gateway.core.ports.AccountDirectory` and ``SessionCookieSource``.

    Constructing it imports firebase-admin and reads credentials, which takes a fifth of a second, or several where
    Application Default Credentials are searched for in vain; it opens no connection to the account service.

    :param endpoint: base of the account service, ``http://127.0.0.1:9099/identitytoolkit.googleapis.com`` say; None
        is Google's.
    :param where: path of the configuration key that named ``credentials``.
    :raises ConfigError: credentials are missing or unreadable, or ``endpoint`` is no address that accounts may come
        from.
    """

    def __init__(
        self,
        project: str,
        credentials: AccountCredentials,
        *,
        endpoint: str | None = None,
        where: str = "$.firebase.credentials",
        endpoint_where: str = "$.firebase.endpoints.identity_toolkit",
    ) -> None:
        if endpoint is not None:
            endpoint = checked_endpoint(endpoint, endpoint_where).rstrip("/")
        elif isinstance(credentials, BearerSecret):
            raise ConfigError(where, "a fixed secret is of no use with Google", f"set {endpoint_where[2:]}, or use adc")
        self._describe, self._clients = _connect(project, credentials, endpoint, where)
        self._target: Final = endpoint or "Google"
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="accounts")
        self._closed = asyncio.Event()

    async def look_up(self, tenant: str | None, uids: Sequence[str]) -> Mapping[str, AccountRecord]:
        """Records of at most 100 users by uid; absent users are absent from the answer.

        :raises RevocationUnavailable: the account service does not answer, refuses us, or answers nonsense.
        :raises ValueError: more than 100 users.
        """
        if len(uids) > MAX_BATCH:
            raise ValueError(f"more than {MAX_BATCH} users in one look-up")
        wanted = list(uids)
        records = await self._call(lambda: self._clients.look_up(tenant, wanted))
        return {uid: records[uid] for uid in wanted if uid in records}

    async def revoke(self, principal: Principal) -> None:
        """End every session of the principal that began before now (Firebase ``revokeRefreshTokens``).

        :raises RevocationUnavailable: as above; whether it took effect is then unknown.
        """
        await self._call(lambda: self._clients.revoke(principal.tenant, principal.uid))

    async def create_session_cookie(self, id_token: str, lifetime: int) -> str:
        """A session cookie for the user of a good ID token (Firebase ``createSessionCookie``).

        :param lifetime: in seconds, 300 to 1,209,600.
        :raises RevocationUnavailable: as above, also when the account service wants no cookie made of this token.
        """
        return await self._call(lambda: self._clients.create_session_cookie(id_token, lifetime))

    async def verification_link(self, tenant: str | None, email: str) -> str | None:
        """The link that verifies an address, to be mailed to it; None when nobody has that address (yet).

        :raises RevocationUnavailable: as above.
        """
        return await self._call(lambda: self._clients.verification_link(tenant, email))

    async def close(self) -> None:
        """Let go of threads and connections; calls that have not begun fail."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._clients.close()

    async def _call(self, call: Callable[[], _T]) -> _T:
        if self._closed.is_set():
            raise RevocationUnavailable("the account directory is closed")
        try:
            async with asyncio.timeout(CALL_DEADLINE):
                return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        except TimeoutError:
            text = f"no answer within {CALL_DEADLINE:g} seconds"
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling() or not self._closed.is_set():
                raise
            text = "it was closed meanwhile"  # the pool cancelled the call, nobody cancelled us
        except Exception as error:  # noqa: BLE001 - whatever firebase-admin's libraries raise, it fails closed
            text = self._describe(error)
        raise RevocationUnavailable(f"the account service of {self._target} failed: {text}")


def _connect(
    project: str, credentials: AccountCredentials, endpoint: str | None, where: str
) -> tuple[Callable[[Exception], str], FirebaseClients]:
    # Imported here because firebase-admin costs every command of the CLI 150 ms otherwise.
    from firebase_admin.credentials import ApplicationDefault as AdcCredential  # noqa: PLC0415
    from firebase_admin.credentials import Certificate  # noqa: PLC0415

    from gateway.adapters.firebase_client import FirebaseClients, SecretCredential, describe  # noqa: PLC0415

    credential: object
    match credentials:
        case ApplicationDefault():
            credential = AdcCredential()
        case BearerSecret(secret):
            credential = SecretCredential(secret)
        case ServiceAccountFile(path):
            hint = "Firebase console, Project settings, Service accounts, Generate new private key"
            try:
                credential = Certificate(str(path))
            except OSError as error:
                raise ConfigError(where, f"cannot read {path}: {error.strerror}", hint) from None
            except (ValueError, AttributeError):
                # The library's text may quote the file.
                raise ConfigError(where, f"{path} is not a service account's key file", hint) from None
    return describe, FirebaseClients(project, credential, endpoint, where)
