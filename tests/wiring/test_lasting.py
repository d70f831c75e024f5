"""What a gateway knows from its start to its end."""

from __future__ import annotations

from gateway.observe.decisions import NoLog
from gateway.wiring.lasting import Lasting


async def test_one_client_for_all_configurations() -> None:
    """... opens one client for keys, when it is first needed, and closes it at the end."""
    lasting = Lasting(NoLog())
    await lasting.close()
    session = lasting.session
    assert lasting.session is session
    assert not session.closed
    await lasting.close()
    assert session.closed
