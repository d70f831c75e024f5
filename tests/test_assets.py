"""The worker and the pages, as the gateway holds them in memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from gateway import bundle
from gateway.assets import REQUIRED, Asset, load_assets, read_assets
from gateway.errors import ConfigError


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Make a directory with every required file, as a wheel has it."""
    directory = tmp_path / "_assets"
    directory.mkdir()
    for name in REQUIRED:
        (directory / name).write_text(f"/* {name} */" * 50)
    return directory


def asset(directory: Path, name: str) -> Asset:
    """Read one file that must be there."""
    found = read_assets(directory, None).get(name)
    assert found is not None
    return found


def test_the_build_that_is_here_loads() -> None:
    """finds the worker and the pages of this checkout, built from the sources that are here."""
    assets = load_assets()
    assert set(assets.names) >= REQUIRED
    assert "<!doctype html>" in assets.text("login.html").lower()


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("sw.js", "text/javascript; charset=utf-8"),
        ("app.css", "text/css; charset=utf-8"),
        ("login.html", "text/html; charset=utf-8"),
    ],
)
def test_content_type_is_the_same_on_every_machine(built: Path, name: str, content_type: str) -> None:
    """sends the type that its own table says, whatever the host's table holds."""
    assert asset(built, name).content_type == content_type


def test_tag_and_version_follow_the_content(built: Path) -> None:
    """gives a changed file a new tag and version, and an unchanged one the old."""
    before, same = asset(built, "sw.js"), asset(built, "sw.js")
    (built / "sw.js").write_text("changed")
    after = asset(built, "sw.js")
    assert (before.etag, before.version) == (same.etag, same.version)
    assert before.etag != after.etag
    assert before.version != after.version
    assert before.etag == f'W/"{before.version}"'


def test_compressed_form_is_the_same_content(built: Path) -> None:
    """holds a compressed form that unpacks to the same bytes and is smaller."""
    sheet = asset(built, "app.css")
    assert sheet.gzipped is not None
    assert gzip.decompress(sheet.gzipped) == sheet.body
    assert len(sheet.gzipped) < len(sheet.body)
    assert sheet.gzipped == asset(built, "app.css").gzipped


def test_nothing_is_compressed_in_vain(built: Path) -> None:
    """keeps no compressed form that would be larger, or of a format that is compressed already."""
    (built / "app.css").write_text("a{}")
    (built / "logo.png").write_bytes(b"\x89PNG" * 100)
    assert asset(built, "app.css").gzipped is None
    assert asset(built, "logo.png").gzipped is None


def test_files_in_directories_are_found_by_their_path(built: Path) -> None:
    """names a file in a directory by its path with forward slashes."""
    (built / "icons").mkdir()
    (built / "icons" / "key.svg").write_text("<svg/>")
    assert asset(built, "icons/key.svg").content_type == "image/svg+xml"


@pytest.mark.parametrize(
    "name", ["../gateway/errors.py", "/etc/passwd", "stamp", ".hidden", "", "SW.JS", "icons/../sw.js"]
)
def test_name_from_a_request_is_only_a_key(built: Path, name: str) -> None:
    """serves nothing but the files of the build, whatever name is asked for."""
    (built / bundle.STAMP).write_text("0")
    (built / ".hidden").write_text("0")
    assert read_assets(built, None).get(name) is None


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_missing_file_is_an_error_at_start(built: Path, missing: str) -> None:
    """does not start without a file that it must serve, and names it."""
    (built / missing).unlink()
    with pytest.raises(ConfigError, match=missing) as caught:
        read_assets(built, None)
    assert "reinstall" in caught.value.hint


def test_missing_directory_is_the_same_error(tmp_path: Path) -> None:
    """does not start when the package was installed without its data."""
    with pytest.raises(ConfigError, match=r"sw\.js"):
        read_assets(tmp_path / "_assets", None)


def test_unknown_type_is_an_error_at_start(built: Path) -> None:
    """does not guess the type of a file."""
    (built / "notes.docx").write_text("?")
    with pytest.raises(ConfigError, match=r"notes\.docx"):
        read_assets(built, None)


def test_page_that_does_not_exist_is_an_error(built: Path) -> None:
    """says which page is missing when code asks for one that is not there."""
    with pytest.raises(ConfigError, match=r"logout-all\.html"):
        read_assets(built, None).text("logout-all.html")


@pytest.mark.parametrize(("stamp", "fault"), [(None, "not built"), ("0" * 64, "older than their sources")])
def test_checkout_with_a_stale_build_names_the_command(tmp_path: Path, stamp: str | None, fault: str) -> None:
    """refuses to serve a worker that is not its sources', and names the command that builds it."""
    output = tmp_path / bundle.OUTPUT
    output.mkdir(parents=True)
    (tmp_path / "static").mkdir()
    for name in REQUIRED:
        (output / name).write_text("built")
    if stamp is not None:
        (output / bundle.STAMP).write_text(stamp)
    with pytest.raises(ConfigError, match=fault) as caught:
        read_assets(output, tmp_path)
    assert caught.value.hint == "run make assets"
