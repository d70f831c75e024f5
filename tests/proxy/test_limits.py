"""The figures, and the head's size counted while it is read."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from aiohttp import http_exceptions

from gateway import reasons
from gateway.http.intake import MAX_HEAD_SIZE
from gateway.proxy.admission import MAX_TURNED_AWAY, TURN_AWAY_TIME
from gateway.proxy.limits import (
    MAX_FIELD,
    MAX_FIELDS,
    MAX_REQUEST_LINE,
    MAX_UNFINISHED_HEAD,
    MOST_CONNECTIONS,
    Limits,
    MeasuredParser,
    connections_for,
    open_files,
)


@pytest.mark.parametrize(
    ("files", "connections"), [(256, 96), (1024, 480), (20_000, 9_968), (1_048_576, MOST_CONNECTIONS), (10, 1), (0, 1)]
)
def test_connections_fit_into_the_open_files(files: int, connections: int) -> None:
    """takes as many connections as leave each a file for the backend and 64 for everything else."""
    assert connections_for(files) == connections


def test_endless_files_are_no_endless_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """takes no more than its own bound where the process may open files without end."""
    endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: endless)
    assert connections_for(open_files()) == MOST_CONNECTIONS
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    assert Limits().resolved() == (96, 72)


@pytest.mark.parametrize(
    ("limits", "resolved"),
    [
        (Limits(connections=8), (8, 6)),
        (Limits(connections=1), (1, 1)),
        (Limits(connections=8, per_peer=2), (8, 2)),
        (Limits(connections=8, per_peer=80), (8, 8)),
    ],
)
def test_one_peer_leaves_room_for_others(limits: Limits, resolved: tuple[int, int]) -> None:
    """leaves a quarter of the connections to others, unless it is told otherwise."""
    assert limits.resolved() == resolved


class Body:
    """The body of a message, as far as a parser's caller sees it."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole

    def is_eof(self) -> bool:
        return self.whole


class Head:
    def __init__(self, upgrade: str = "", *, closes: bool = False) -> None:
        self.upgrade = bool(upgrade)
        self.headers = {"Upgrade": upgrade}
        self.closes = closes

    def _replace(self, *, should_close: bool) -> Head:
        return Head(self.headers["Upgrade"], closes=should_close)


class Parser:
    """A parser that finds in each piece what it is told."""

    def __init__(self) -> None:
        self.finds: list[tuple[Head, Body]] = []
        self.fails = False
        self.ends: Body | None = None
        """The body that the next piece is the last one of."""
        self.fed: list[bytes] = []

    def feed_data(self, data: bytes) -> Any:
        self.fed.append(data)
        if self.ends is not None:
            self.ends.whole, self.ends = True, None
        if self.fails:
            raise http_exceptions.BadHttpMessage("no")
        found, self.finds = tuple(self.finds), []
        return found, False, b""

    def set_upgraded(self, value: bool) -> str:
        return f"upgraded {value}"


def test_an_unfinished_head_has_a_size() -> None:
    """refuses a head in pieces as soon as the pieces are more than a head may be, and reads nothing after that."""
    parser = Parser()
    measured = MeasuredParser(parser)
    for _ in range(3):
        measured.feed_data(b"x" * (MAX_UNFINISHED_HEAD // 3))
    with pytest.raises(http_exceptions.LineTooLong):
        measured.feed_data(b"x")
    assert measured.feed_data(b"GET / HTTP/1.1\r\n\r\n") == ((), False, b"")
    assert len(parser.fed) == 4


def test_a_body_is_no_head() -> None:
    """counts nothing while a body is on its way, and from zero behind it."""
    parser = Parser()
    measured = MeasuredParser(parser)
    measured.feed_data(b"GET /")
    assert measured.head == 5
    body = Body(whole=False)
    parser.finds = [(Head(), body)]
    measured.feed_data(b" HTTP/1.1\r\n\r\n")
    for _ in range(3):
        measured.feed_data(b"x" * MAX_UNFINISHED_HEAD)
    assert measured.head == 0
    body.whole = True
    measured.feed_data(b"GET")
    assert measured.head == 3


def test_the_end_of_a_body_is_no_head() -> None:
    """counts nothing of a body's last piece, however large a piece the event loop reads at once."""
    parser = Parser()
    measured = MeasuredParser(parser)
    body = Body(whole=False)
    parser.finds = [(Head(), body)]
    measured.feed_data(b"POST / HTTP/1.1\r\nContent-Length: 98305\r\n\r\n")
    parser.ends = body
    measured.feed_data(b"x" * (MAX_UNFINISHED_HEAD + 1))
    assert measured.head == 0
    measured.feed_data(b"GET")
    assert measured.head == 3


def test_what_follows_a_refusal_is_not_read() -> None:
    """reads nothing behind what its parser refused."""
    parser = Parser()
    measured = MeasuredParser(parser)
    parser.fails = True
    with pytest.raises(http_exceptions.BadHttpMessage):
        measured.feed_data(b"?")
    parser.fails = False
    parser.finds = [(Head(), Body(whole=True))]
    assert measured.feed_data(b"GET / HTTP/1.1\r\n\r\n") == ((), False, b"")


def test_an_unknown_upgrade_is_the_last_request() -> None:
    """ends a connection with a request for a protocol that is not switched to, after the request's body."""
    parser = Parser()
    measured = MeasuredParser(parser)
    body = Body(whole=False)
    parser.finds = [(Head(), Body(whole=True)), (Head("h2c"), body)]
    found = measured.feed_data(b"two requests")[0]
    assert [head.closes for head, _ in found] == [False, True]
    measured.feed_data(b"body")
    body.whole = True
    assert measured.feed_data(b"GET /hidden HTTP/1.1\r\n\r\n") == ((), False, b"")
    assert parser.fed == [b"two requests", b"body"]


def test_a_websocket_is_left_to_the_parser() -> None:
    """changes nothing about a WebSocket's request, and hands on whatever else aiohttp asks of its parser."""
    parser = Parser()
    measured = MeasuredParser(parser)
    parser.finds = [(Head("WebSocket"), Body(whole=True))]
    assert measured.feed_data(b"one")[0][0][0].closes is False
    assert measured.set_upgraded(False) == "upgraded False"


PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "limits.md"


def test_the_page_has_the_figures() -> None:
    """documents each bound with the figure that it has, and each reason under which it refuses."""
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    limits = Limits()
    for sentence in (
        f"{MOST_CONNECTIONS} at most",
        f"more than {MAX_TURNED_AWAY} such at a time",
        f"`head`: {limits.head:g} s in total",
        f"`idle`: {limits.idle:g} s",
        f"`min_rate`: {limits.min_rate} bytes a second, over `upload_window`: {limits.upload_window:g} s",
        f"`download_window`: {limits.download_window:g} s",
        f"{MAX_REQUEST_LINE} bytes",
        f"{MAX_FIELD} bytes",
        f"| {MAX_FIELDS} |",
        f"{MAX_HEAD_SIZE} bytes; a head that is not complete is refused at {MAX_UNFINISHED_HEAD}",
        f"thrown away for {TURN_AWAY_TIME:g} s",
        *(reason for reason in reasons.TABLE if reason.startswith("too_many_") or reason.endswith("_too_slow")),
    ):
        assert sentence in text, sentence
