"""Where WebSocket frames end, for every length, mask and way of arriving."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.frames import MAX_CLOSE_REASON, Frames, close_frame


def frame(payload: bytes, *, first: int = 0x82, masked: bool = False, longer: int = 0) -> bytes:
    """One frame; ``longer`` writes the length in 2 or 8 bytes although it needs fewer."""
    size = len(payload)
    mark = 0x80 if masked else 0
    mask = b"\x01\x02\x03\x04" if masked else b""
    if longer == 8 or size > 65_535:
        return bytes((first, mark | 127)) + size.to_bytes(8) + mask + payload
    if longer == 2 or size > 125:
        return bytes((first, mark | 126)) + size.to_bytes(2) + mask + payload
    return bytes((first, mark | size)) + mask + payload


FRAMES = st.builds(
    frame,
    st.integers(0, 300).map(bytes),
    first=st.integers(0, 255),
    masked=st.booleans(),
    longer=st.sampled_from([0, 2, 8]),
)


@given(st.lists(FRAMES, max_size=8), st.data())
def test_everything_is_passed_on_and_boundaries_are_known(stream: list[bytes], data: st.DataObject) -> None:
    """passes every byte on in order, holds back no more than the beginning of a head, and knows where frames end."""
    whole = b"".join(stream)
    ends = {sum(len(one) for one in stream[:count]) for count in range(len(stream) + 1)}
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    frames, passed, fed = Frames(), b"", 0
    for cut in [*cuts, len(whole)]:
        passed += frames.take(whole[fed:cut])
        fed = cut
        assert whole.startswith(passed)
        assert fed - len(passed) <= 9
        assert frames.between is (len(passed) in ends)
    assert passed + frames.flush() == whole


@given(st.lists(FRAMES, min_size=1, max_size=4), st.data())
def test_the_rest_of_a_frame_ends_at_its_end(stream: list[bytes], data: st.DataObject) -> None:
    """tells, of what arrives behind the beginning of a frame, what belongs to that frame and nothing more."""
    whole = b"".join(stream)
    cut = data.draw(st.integers(0, len(whole)))
    frames = Frames()
    passed = frames.take(whole[:cut])
    ends = [sum(len(one) for one in stream[:count]) for count in range(len(stream) + 1)]
    rest = frames.rest(whole[len(passed) :])
    assert len(passed) + len(rest) == min(end for end in ends if end >= len(passed))
    assert frames.between
    assert frames.rest(b"more") == b""


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 1_048_576])
@pytest.mark.parametrize("masked", [False, True])
def test_lengths_of_all_three_forms(size: int, masked: bool) -> None:
    """finds the end of frames of every length form, masked or not, byte by byte too."""
    data = frame(bytes(size), masked=masked)
    frames = Frames()
    assert frames.take(data + b"\x81") == data
    assert (frames.between, frames.flush()) == (True, b"\x81")
    frames = Frames()
    for index in range(min(len(data), 300)):
        frames.take(data[index : index + 1])
    assert frames.between is (len(data) <= 300)


def test_a_close_frame_is_noticed() -> None:
    """notices a Close frame that passes, behind which nothing may be said."""
    frames = Frames()
    frames.take(frame(b"data") + frame(b"", first=0x89))
    assert not frames.closed
    frames.take(close_frame(1000))
    assert frames.closed


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ([frame(bytes(11))], 0),
        ([frame(bytes(10)), frame(bytes(11))], 12),
        ([frame(bytes(6), first=0x02), frame(bytes(5), first=0x80)], 8),
        ([frame(bytes(6), first=0x02), frame(bytes(120), first=0x89), frame(bytes(5), first=0x00)], 8 + 122),
    ],
    ids=["alone", "second", "fragments", "with a ping between"],
)
def test_a_message_above_the_limit_is_stopped(sent: list[bytes], passed: int) -> None:
    """passes nothing on of the frame that makes a message too large, and counts no control frames."""
    frames = Frames(max_message=10)
    assert len(frames.take(b"".join(sent))) == passed
    assert (frames.too_large, frames.between) == (True, True)


def test_messages_up_to_the_limit_pass() -> None:
    """counts each message by itself."""
    frames = Frames(max_message=10)
    stream = frame(bytes(10)) * 3 + frame(bytes(4), first=0x01) + frame(bytes(6), first=0x80) + frame(bytes(10))
    assert frames.take(stream) == stream
    assert not frames.too_large


def test_a_close_frame_of_ours() -> None:
    """writes a Close frame with code and reason, masked for backends."""
    assert close_frame(4401, "session_revoked") == b"\x88\x11\x11\x31session_revoked"
    masked = close_frame(1001, "x", masked=True)
    assert masked[:2] == b"\x88\x83"
    assert bytes(byte ^ masked[2 + index % 4] for index, byte in enumerate(masked[6:])) == b"\x03\xe9x"
    assert len(close_frame(1000, "r" * MAX_CLOSE_REASON)) == 127
    with pytest.raises(ValueError, match="123"):
        close_frame(1000, "r" * (MAX_CLOSE_REASON + 1))
