from __future__ import annotations

from collections import Counter

from gateway.idp.endpoints import ENDPOINTS, Need


def test_paths_are_unique() -> None:
    """the provider has one method for each path and HTTP method."""
    counts = Counter((endpoint.http_method, path) for endpoint in ENDPOINTS for path in endpoint.paths())
    assert [key for key, count in counts.items() if count > 1] == []


def test_project_and_emulator_paths_are_privileged() -> None:
    """the provider leaves nothing that names a project, and no control endpoint, to clients."""
    open_paths = [endpoint.path for endpoint in ENDPOINTS if endpoint.need is Need.API_KEY]
    assert [path for path in open_paths if "{project}" in path or path.startswith("/emulator")] == []
