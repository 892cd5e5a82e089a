"""Names of files as text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from specctl.audio.names import decode_key, encode_key


@given(st.binary())
@example(b"%%41")
@example(b"%\xff")
@example(b"%4\xff")
@example(b"%25")
@example("é%C3%A9\udcff".encode("utf-8", "surrogateescape"))
def test_keys_are_reversible(relative):
    key = encode_key(relative)
    key.encode()
    assert decode_key(key) == relative


@given(
    st.lists(st.sampled_from([b"%", b"4", b"F", b"\xff", b"\xc3", b"\xa9", b"25"]), max_size=8),
    st.lists(st.sampled_from([b"%", b"4", b"F", b"\xff", b"\xc3", b"\xa9", b"25"]), max_size=8),
)
def test_different_names_have_different_keys(first, second):
    first, second = b"".join(first), b"".join(second)
    assert (encode_key(first) == encode_key(second)) == (first == second)


@pytest.mark.parametrize(
    ("relative", "key"),
    [
        (b"en/a b.wav", "en/a b.wav"),
        (b"100%", "100%"),
        (b"50%off", "50%off"),
        (b"%41", "%2541"),
        (b"a\xff", "a%FF"),
        ("ü".encode(), "ü"),
        (b"a\nb", "a\nb"),
    ],
    ids=["plain", "percent", "no-code", "code", "byte", "utf8", "newline"],
)
def test_ordinary_names_stay_as_they_are(relative, key):
    assert encode_key(relative) == key
