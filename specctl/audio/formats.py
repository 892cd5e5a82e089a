"""File name extensions of audio; imports next to nothing, so listing folders starts at once."""

import posixpath

LIBSNDFILE_EXTENSIONS = frozenset(
    {"wav", "wave", "rf64", "bw64", "w64", "flac", "ogg", "oga", "opus", "mp1", "mp2", "mp3"}
    | {"aiff", "aif", "aifc", "au", "snd", "caf", "gsm", "voc", "sph", "nist", "ircam"}
    | {"pvf", "avr", "8svx", "svx"}
)
"""Read by libsndfile, which goes by the content; only ``gsm`` is known by its name."""

PYAV_EXTENSIONS = frozenset(
    {"m4a", "m4b", "aac", "mp4", "m4v", "3gp", "mov", "webm", "mkv", "mka", "wma", "asf", "alac"}
    | {"amr", "g722", "ac3", "eac3", "dts", "wv", "ape", "tta", "spx", "avi", "mpg", "mpeg"}
)
"""Read by PyAV where it is installed; kept apart to say so where it is not."""

AUDIO_EXTENSIONS = LIBSNDFILE_EXTENSIONS | PYAV_EXTENSIONS
"""Extensions, lower case and without the dot, that a folder is searched for."""

MPEG_EXTENSIONS = frozenset({"mp1", "mp2", "mp3"})
"""MPEG audio may begin with junk, so here the name decides what the content cannot."""


def extension(name: str) -> str:
    """Lower-case extension of a file name or path without its dot, ``""`` if it has none."""
    return posixpath.splitext(name)[1][1:].lower()
