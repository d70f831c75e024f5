"""The proof that the fast path still judges, made on the very process that was timed.

The rule this file obeys: each deed is done while the process gives earlier decisions again for that very token, which
its own counters show, and it has to take effect on the next request. What is tried: forged identity fields, a token
that expires between two requests, the same token from another address, a sign-out on one device, and the revocation of
all sessions of a user at the account service.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support import forge

HOME: Final = "127.0.0.1"
"""Where the sign-in of all tokens was, and nearly all requests come from."""
ELSEWHERE: Final = "127.0.0.2"
PATIENCE: Final = 5.0
"""Seconds for one answer."""
SHORT_LIFE: Final = 2
"""Seconds that the token lives that is to expire between two requests; at least half of it is left when it is first
used."""
LATE: Final = 0.02
"""Seconds past a token's end at which it is sent again."""
PATH: Final = "/echo"
"""Where the backend tells which fields arrived."""
FORGED: Final = "mallory"
PLAIN_FORGERIES: Final = ("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-For")
ODD_FORGERIES: Final = ("X_Forwarded_User", "x-forwarded_email", "X-Gateway-Jwt-Assertion", "X_Gateway_Jwt_Assertion")
"""So unusual that they are a matter for the ordinary way; application servers take some of them for those above."""
SHOWN: Final = (
    "forged identity fields",
    "expiry between two requests",
    "another address",
    "sign-out",
    "revocation of all sessions",
)
"""What :func:`prove` has shown when it returns."""


class NotShownError(Exception):
    """A process did not do what it must."""


@dataclass(frozen=True)
class Answer:
    """One answer, as far as it matters here."""

    status: int
    body: bytes

    @property
    def code(self) -> str:
        """The reason of a refusal; empty where there is none."""
        try:
            told: Any = json.loads(self.body)
        except ValueError:
            return ""
        return str(told.get("code", "")) if isinstance(told, dict) else ""


class Wire:
    """One kept connection to the gateway, from an address of this machine."""

    def __init__(self, port: int, source: str = HOME) -> None:
        self._socket = socket.create_connection((HOME, port), PATIENCE, source_address=(source, 0))
        self._read = self._socket.makefile("rb")

    def close(self) -> None:
        self._read.close()
        self._socket.close()

    def ask(
        self,
        token: str,
        fields: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        path: str = PATH,
        body: str = "",
    ) -> Answer:
        """Send one request and take its answer.

        :raises NotShownError: the connection ended.
        """
        lines = [f"{method} {path} HTTP/1.1", "Host: app.example", "Accept: application/json"]
        lines += [f"Authorization: Bearer {token}", *(f"{name}: {value}" for name, value in (fields or {}).items())]
        if body:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        self._socket.sendall("\r\n".join([*lines, "", body]).encode())
        status = self._read.readline().split()
        length = 0
        while line := self._read.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(status) < 2:
            raise NotShownError("the gateway closed the connection")
        return Answer(int(status[1]), self._read.read(length))


class Proof:
    """One process that is put to the proof.

    :param counts: the socket at which it tells what took the fast path.
    """

    def __init__(self, port: int, counts: Path) -> None:
        self._port = port
        self._counts = counts
        self._people = 0

    @contextlib.contextmanager
    def wire(self, source: str = HOME) -> Iterator[Wire]:
        wire = Wire(self._port, source)
        try:
            yield wire
        finally:
            wire.close()

    def replayed(self) -> int:
        """How many requests were answered by an earlier decision so far."""
        with socket.socket(socket.AF_UNIX) as teller:
            teller.connect(str(self._counts))
            with teller.makefile("rb") as told:
                return int(json.load(told)["replayed"])

    def token(self, **claims: Any) -> str:
        """A good token of somebody new."""
        self._people += 1
        uid = f"proof-{time.time_ns()}-{self._people}"
        return forge.id_token(now=time.time(), **({"uid": uid, "signInIpAddress": HOME} | claims))

    def replays(self, wire: Wire, token: str, fields: Mapping[str, str] | None = None) -> Answer:
        """Have a request answered by an earlier decision.

        :raises NotShownError: it was not.
        """
        before = self.replayed()
        answer = wire.ask(token, fields)
        if answer.status != 200:
            raise NotShownError(f"a good token got {answer.status} {answer.code}")
        if self.replayed() != before + 1:
            raise NotShownError("the fast path gave no earlier decision again")
        return answer

    def warm(self, wire: Wire, token: str) -> None:
        """Bring a process to where it gives the decision on ``token`` again."""
        for _ in range(2):  # the first is judged, and may be the first to this backend
            wire.ask(token)
        self.replays(wire, token)


def prove(port: int, counts: Path) -> None:
    """Put a process to the proof; afterwards it has shown what :data:`SHOWN` says.

    :raises NotShownError: it did not do what it must.
    """
    proof = Proof(port, counts)
    _forgeries(proof)
    _expiry(proof)
    _address(proof)
    _ended(proof, "device", "session_signed_out")
    _ended(proof, "everywhere", "session_revoked")


def _refused(answer: Answer, *codes: str) -> None:
    if answer.status != 401 or answer.code not in codes:
        raise NotShownError(f"wanted a refusal with {' or '.join(codes)}, got {answer.status} {answer.code}")


def _forgeries(proof: Proof) -> None:
    token = proof.token(uid="ada")
    with proof.wire() as wire:
        proof.warm(wire, token)
        plain = proof.replays(wire, token, dict.fromkeys(PLAIN_FORGERIES, FORGED))
        odd = wire.ask(token, dict.fromkeys((*PLAIN_FORGERIES, *ODD_FORGERIES), FORGED))
    for answer in (plain, odd):
        arrived = [(name.lower().replace("_", "-"), value) for name, value in json.loads(answer.body)]
        if any(FORGED in value for _, value in arrived):
            raise NotShownError(f"a forged field reached the backend: {arrived}")
        told = {name: [value for other, value in arrived if other == name] for name, _ in arrived}
        if told.get("x-forwarded-user") != ["ada"] or told.get("x-forwarded-for") != [HOME]:
            raise NotShownError(f"the backend was not told who calls: {arrived}")
        if len(told.get("x-request-id", [])) != 1:
            raise NotShownError("the backend got no request id")


def _expiry(proof: Proof) -> None:
    expires = math.floor(time.time()) + SHORT_LIFE
    token = proof.token(exp=expires)
    with proof.wire() as wire:
        proof.warm(wire, token)
        while (left := expires + LATE - time.time()) > 0:
            time.sleep(left)
        _refused(wire.ask(token), "token_expired")


def _address(proof: Proof) -> None:
    token = proof.token()
    with proof.wire() as wire, proof.wire(ELSEWHERE) as other:
        proof.warm(wire, token)
        _refused(other.ask(token), "network_changed")
        proof.replays(wire, token)


def _ended(proof: Proof, scope: str, code: str) -> None:
    """End a session; ``everywhere`` has the account service revoke all of its user's, of which another is tried too."""
    uid = f"leaving-{scope}-{time.time_ns()}"
    token, sibling = proof.token(uid=uid), proof.token(uid=uid, auth_time=int(time.time()) - 300)
    with proof.wire() as wire, proof.wire() as elsewhere:
        proof.warm(wire, token)
        proof.warm(elsewhere, sibling)
        done = wire.ask(token, method="POST", path="/.gateway/logout", body=f"scope={scope}")
        if done.status != 204:
            raise NotShownError(f"signing out of {scope} got {done.status} {done.code}")
        if scope == "everywhere":
            _refused(elsewhere.ask(sibling), code)
            _refused(wire.ask(token), code, "session_signed_out")
        else:
            _refused(wire.ask(token), code)
            proof.replays(elsewhere, sibling)
