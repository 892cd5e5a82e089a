import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specctl.audio.mpeg_frames import XING_MARKS, follow_frames, is_frame, parse_frame


@pytest.mark.parametrize(
    ("header", "length", "n_samples"),
    [
        ("fffb9000", 417, 1_152),
        ("fffb9200", 418, 1_152),
        ("fff39000", 261, 576),
        ("ffe39000", 522, 576),
        ("fffd9000", 522, 1_152),
        ("ffff9000", 312, 384),
    ],
    ids=["v1-l3", "padded", "v2-l3", "v2.5-l3", "v1-l2", "v1-l1"],
)
def test_knows_the_length_of_a_frame(header, length, n_samples):
    frame = parse_frame(bytes.fromhex(header))
    assert (frame.length, frame.n_samples) == (length, n_samples)


@pytest.mark.parametrize(
    "header",
    ["", "fffb90", "fffb0000", "fffbf000", "fffb9c00", "ffeb9000", "fff15080", "00fb9000"],
    ids=["empty", "short", "free", "bad-rate", "bad-hz", "bad-version", "aac", "no-sync"],
)
def test_knows_what_is_no_frame(header):
    assert not is_frame(bytes.fromhex(header))


KINDS = [bytes.fromhex(header) for header in ("fffb9000", "fff39000", "fffd9000", "ffff9000")]


@st.composite
def frames(draw, header):
    """A frame of that kind, at times with a Xing header or what looks like a frame in it."""
    header = bytearray(header)
    header[1] ^= draw(st.integers(0, 1))
    header[2] = draw(st.integers(1, 14)) << 4 | draw(st.integers(0, 1)) << 1
    header[3] = draw(st.integers(0, 255))
    frame = parse_frame(bytes(header))
    data = bytearray(frame.length)
    data[:4] = header
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(4, len(data) - 4))
        data[at : at + 4] = draw(st.sampled_from([*KINDS, bytes(header), b"\xff\xff\xff\xff"]))
    if frame.xing_at and draw(st.integers(0, 5)) == 0:
        data[frame.xing_at : frame.xing_at + 4] = draw(st.sampled_from(XING_MARKS))
    return bytes(data)


@st.composite
def streams(draw, header):
    """Frames of one kind, a few of other kinds and bytes between them."""
    n_pieces = draw(st.integers(1, 24))
    junk = st.one_of(st.binary(max_size=40), st.sampled_from(KINDS).flatmap(frames))
    return [
        draw(junk if draw(st.integers(0, 7)) == 0 else frames(header)) for _ in range(n_pieces)
    ]


def followed_one_by_one(window, at, stop, kind):
    n_frames = 0
    while (frame := parse_frame(window[at : at + 4])) is not None and frame.kind == kind:
        xing = window[at + frame.xing_at :][:4]
        if at + frame.length > stop or (frame.xing_at and xing in XING_MARKS):
            break
        at, n_frames = at + frame.length, n_frames + 1
    return n_frames, at


@given(st.data())
def test_follows_frames_as_one_by_one(data):
    header = data.draw(st.sampled_from(KINDS))
    pieces = data.draw(streams(header))
    window, kind = b"".join(pieces), parse_frame(header).kind
    start = len(b"".join(pieces[: data.draw(st.integers(0, len(pieces) - 1))]))
    ends = [len(b"".join(pieces[:n])) for n in range(len(pieces) + 1)]
    stop = data.draw(st.sampled_from([*ends, *(max(0, end - 1) for end in ends), len(window)]))
    stop = max(start, stop)
    expected = followed_one_by_one(window, start, stop, kind)
    assert follow_frames(window, start, stop, kind) == expected


def test_a_break_after_every_other_frame_costs_no_look_at_all_that_follows():
    header = KINDS[0]
    frame = parse_frame(header)
    pair = 2 * header.ljust(frame.length, b"\0") + b"\0\0\1"
    window = 1_250 * pair
    started = time.perf_counter()
    for at in range(0, len(window), len(pair)):
        assert follow_frames(window, at, len(window), frame.kind) == (2, at + 2 * frame.length)
    # 20 ms; a look at everything for each break takes more than a second
    assert time.perf_counter() - started < 0.5
