"""The proof that the fast path still judges, on the process that the benchmark times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench.load import running
from tests.bench.peers import Site, gateway_program
from tests.bench.proof import NotShownError, Proof, prove
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    port = free_port()
    site = Site(tmp_path_factory.mktemp("bench"), upstream_port=port, services_port=port)
    site.write_keys()
    with running(site, site.stand_ins(), port):
        yield site


def test_the_timed_process_obeys_at_once(site: Site) -> None:
    """... takes revocation, sign-out, expiry, another address and forged fields into account on the next request."""
    port = free_port()
    with running(site, gateway_program(site, port), port):
        prove(port, site.counts)


def test_the_proof_wants_the_fast_path(site: Site) -> None:
    """... is not taken for proven where the ordinary way answered."""
    port = free_port()
    with running(site, gateway_program(site, port, "--ordinary"), port):
        proof = Proof(port, site.counts)
        with proof.wire() as wire, pytest.raises(NotShownError, match="fast path"):
            proof.warm(wire, proof.token())
