"""For the tests of applications that use the middleware: sign anybody in, without a network and without an account.

Nothing of the judge is replaced. Tokens are real ID tokens, signed with a key that this module makes and that the
application under test alone accepts; signing out, revoking and moving to another network work as they do outside.

.. code-block:: python

    async def test_notes(aiohttp_client):
        app = make_app()
        users = gateway.testing.users(app)
        client = await aiohttp_client(app)
        response = await client.get("/notes", headers=users.sign_in("ada", roles=["editor"]))
        assert response.status == 200
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.config.rules import policy_routes
from gateway.core.claims import Principal
from gateway.core.ports import Standing
from gateway.guard import FOREVER, SessionGuard
from gateway.tokens import mint
from gateway.tokens.id_token import IdTokenRules
from gateway.tokens.verifier import IdTokenVerifier
from gateway.wiring.application import assemble_with
from gateway.wiring.assembly import Assembly
from gateway.wiring.settings import cookie_settings

if TYPE_CHECKING:
    from aiohttp import web
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from gateway.config.load import Loaded
    from gateway.wiring.lasting import Lasting

LIFETIME: Final = 3_600
"""Seconds that a token lives, as Firebase's do."""
_YEAR: Final = 365 * 86_400


@functools.cache
def _key() -> mint.SigningKey:
    now = int(time.time())
    return mint.generate_signing_key("tests of an application", not_before=now - 60, not_after=now + _YEAR)


class _OneKey:
    """The key source that knows this module's key."""

    def peek(self, kid: str) -> RSAPublicKey | None:
        return _key().private_key.public_key() if kid == _key().kid else None

    async def key(self, kid: str) -> RSAPublicKey | None:
        return self.peek(kid)


@dataclass(slots=True)
class _Account:
    valid_since: int = 0
    disabled: bool = False
    exists: bool = True
    epoch: int = 0


class Users:
    """Whoever a test signs in. Made by :func:`users`."""

    def __init__(self) -> None:
        self._project = ""
        self._accounts: dict[Principal, _Account] = {}

    def sign_in(self, uid: str = "ada", **about: Any) -> dict[str, str]:
        """Header fields of a request by ``uid``, to be handed to a test client; ``about`` as in :meth:`token`."""
        return {"Authorization": f"Bearer {self.token(uid, **about)}"}

    def token(  # noqa: PLR0913 - each says one thing of a user, and all have defaults
        self,
        uid: str = "ada",
        *,
        email: str | None = None,
        email_verified: bool = True,
        name: str | None = None,
        provider: str = "password",
        second_factor: str | None = None,
        tenant: str | None = None,
        age: int = 0,
        address: str | None = None,
        **claims: Any,
    ) -> str:
        """An ID token of ``uid``, fresh for an hour.

        :param email: the e-mail address; by default one at example.com.
        :param provider: how they signed in: ``password``, ``google.com``, ``phone`` …
        :param second_factor: how they signed in besides, ``phone`` or ``totp``.
        :param age: seconds since the sign-in.
        :param address: where they signed in, the claim ``signInIpAddress``; None for no such claim.
        :param claims: custom claims, such as ``roles=["admin"]``.
        :raises RuntimeError: the application does not run yet: start the test client first.
        """
        if not self._project:
            raise RuntimeError("start the test client first: the project comes from the application's settings")
        now = int(time.time())
        firebase = {"identities": {}, "sign_in_provider": provider}
        firebase |= {"sign_in_second_factor": second_factor} if second_factor else {}
        firebase |= {"tenant": tenant} if tenant else {}
        payload = {
            "iss": f"https://securetoken.google.com/{self._project}",
            "aud": self._project,
            "sub": uid,
            "user_id": uid,
            "auth_time": now - age,
            "iat": now,
            "exp": now + LIFETIME,
            "email": email if email is not None else f"{uid}@example.com",
            "email_verified": email_verified,
            "firebase": firebase,
        }
        payload |= {"name": name} if name else {}
        payload |= {"signInIpAddress": address} if address else {}
        return mint.sign(payload | claims, _key())

    def revoke(self, uid: str = "ada", tenant: str | None = None) -> None:
        """End every session of ``uid`` that began before now, as revoking refresh tokens does."""
        self._change(uid, tenant).valid_since = int(time.time()) + 1

    def disable(self, uid: str = "ada", tenant: str | None = None) -> None:
        """Disable the account."""
        self._change(uid, tenant).disabled = True

    def delete(self, uid: str = "ada", tenant: str | None = None) -> None:
        """Delete the account."""
        self._change(uid, tenant).exists = False

    def _change(self, uid: str, tenant: str | None) -> _Account:
        account = self._accounts.setdefault(Principal(self._project, tenant, uid), _Account())
        account.epoch += 1
        return account

    # ---- the port that the guard asks ----

    def peek(self, principal: Principal) -> Standing:
        """The standing of an account; everybody has one until it is deleted."""
        account = self._accounts.get(principal) or _Account()
        return Standing(account.exists, account.disabled, account.valid_since, account.epoch, time.monotonic())

    async def standing(self, principal: Principal) -> Standing:
        """As :meth:`peek`."""
        return self.peek(principal)

    def last_known(self, principal: Principal) -> Standing:
        """As :meth:`peek`."""
        return self.peek(principal)

    def assemble(self, loaded: Loaded, lasting: Lasting) -> Assembly:
        """The parts of the application's gateway, with these users."""
        self._project = loaded.config.firebase.project_id
        return _Offline(self, loaded, lasting)


class _Offline(Assembly):
    """The parts of a configuration without certificates and without an account service."""

    def __init__(self, people: Users, loaded: Loaded, lasting: Lasting) -> None:
        super().__init__(loaded, lasting)
        self._people = people

    async def open(self) -> None:
        config, lasting = self.config, self._lasting
        firebase = config.firebase
        rules = IdTokenRules(firebase.project_id, frozenset(firebase.tenants), int(firebase.clock_skew))
        verifier = IdTokenVerifier(rules, _OneKey(), lasting.clock, accept_local_keys=True)
        self.guard = SessionGuard(
            routes=policy_routes(config),
            verifier=verifier,
            cookies={cookie_settings(config).cookie: verifier} if config.session.cookie == "id_token" else {},
            revocation=self._people,
            deny_list=lasting.deny_list,
            networks=await self._networks(),
            addresses=self._addresses,
            clock=lasting.clock,
            max_age=config.session.max_age or FOREVER,
            generation=self.generation,
        )


def users(app: web.Application) -> Users:
    """Put an application under test that was set up with :func:`gateway.setup`. Call it before that starts."""
    people = Users()
    assemble_with(app, people.assemble)
    return people
