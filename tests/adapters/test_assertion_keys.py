"""The file that the keys of assertions are kept in."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from gateway.adapters.assertion_keys import AssertionKeyFile
from gateway.errors import ConfigError
from gateway.mutators.assertion import LEAD, LINGER, KeyRing

NOW = 1_800_000_000.0


def kids(ring: KeyRing) -> list[str]:
    return [key.kid for key in ring.keys]


def test_the_file_is_made_when_there_is_none(tmp_path: Path) -> None:
    """... makes the file with one key, for its owner only, and reads the same key the next time."""
    path = tmp_path / "keys.json"
    ring = AssertionKeyFile(path).open(NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kids(AssertionKeyFile(path).open(NOW + 1)) == kids(ring)
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]


def test_a_rotation_is_seen_by_who_has_the_file_open(tmp_path: Path) -> None:
    """... adds a key that signs later, tells that the file changed, and drops keys that nobody needs."""
    path = tmp_path / "keys.json"
    reader, writer = AssertionKeyFile(path), AssertionKeyFile(path)
    first = reader.open(NOW)
    assert not reader.changed()
    second = writer.rotate(NOW)
    assert reader.changed()
    assert kids(reader.read()) == kids(second)
    assert not reader.changed()
    assert len(second.keys) == 2
    assert second.signer(NOW) == second.keys[0]
    assert kids(second)[0] == kids(first)[0]
    third = writer.rotate(NOW + LEAD + LINGER)
    assert kids(first)[0] not in kids(third)


def test_a_rotation_makes_the_file_where_there_is_none(tmp_path: Path) -> None:
    """... starts a file with a key that signs at once."""
    ring = AssertionKeyFile(tmp_path / "keys.json").rotate(NOW)
    assert ring.signer(NOW).signs_from <= NOW


def test_two_that_open_at_once_agree(tmp_path: Path) -> None:
    """... makes one first key, however many processes start together."""
    path = tmp_path / "keys.json"
    found: list[list[str]] = []
    barrier = threading.Barrier(6)

    def open_it() -> None:
        barrier.wait()
        found.append(kids(AssertionKeyFile(path).open(NOW)))

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({tuple(ring) for ring in found}) == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"keys": []}', '{"keys": [{"signs_from": 1}]}', '{"keys": [{"signs_from": "1"}]}']
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    """... refuses a file that holds something else, and leaves it as it is."""
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no file of assertion keys"):
        AssertionKeyFile(path).open(NOW)
    assert path.read_text() == text


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """... refuses keys that other users of the machine can read, and names the command that mends it."""
    path = tmp_path / "keys.json"
    AssertionKeyFile(path).open(NOW)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        AssertionKeyFile(path).open(NOW)


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    """... names the directory that is missing."""
    with pytest.raises(ConfigError, match="make the directory"):
        AssertionKeyFile(tmp_path / "absent" / "keys.json").open(NOW)


def test_no_private_key_is_in_an_error(tmp_path: Path) -> None:
    """... never quotes the file in an error."""
    path = tmp_path / "keys.json"
    AssertionKeyFile(path).open(NOW)
    content = json.loads(path.read_text())
    content["keys"][0]["signs_from"] = "soon"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError) as caught:
        AssertionKeyFile(path).open(NOW)
    assert "PRIVATE" not in str(caught.value)
    assert caught.value.__cause__ is None
