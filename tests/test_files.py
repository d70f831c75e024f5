"""Whether files have changed."""

from __future__ import annotations

from pathlib import Path

from gateway.files import FileWatch, stamp


def test_a_change_counts_when_it_has_settled(tmp_path: Path) -> None:
    """... takes a changed file up once, and not while it is still being written."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("a")
    watch = FileWatch([one, two])
    assert not watch.changed()
    one.write_text("bb")
    assert not watch.changed()
    two.write_text("bb")
    assert not watch.changed()
    assert watch.changed()
    assert not watch.changed()


def test_what_is_taken_is_no_change(tmp_path: Path) -> None:
    """... does not read again what it has just been told to read."""
    file = tmp_path / "file"
    file.write_text("a")
    watch = FileWatch([file])
    file.write_text("bb")
    assert not watch.changed()
    watch.take()
    assert not watch.changed()
    assert not watch.changed()


def test_links_are_followed(tmp_path: Path) -> None:
    """... sees a mounted configuration change, which is a link that is exchanged."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "data").symlink_to("first")
    watch = FileWatch([tmp_path / "data" / "file"])
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").replace(tmp_path / "data")
    assert not watch.changed()
    assert watch.changed()


def test_other_files(tmp_path: Path) -> None:
    """... looks at the files of the new configuration, and at a missing one too."""
    file = tmp_path / "file"
    watch = FileWatch([])
    assert not watch.changed()
    watch.follow([file])
    assert stamp(file) is None
    file.write_text("there")
    assert not watch.changed()
    assert watch.changed()
    watch.follow([file])
    assert not watch.changed()
