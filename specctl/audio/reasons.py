"""The words in which a file is refused, which follow ``cannot decode KEY: ``, or a pattern."""

import errno
import os
from collections.abc import Iterable

EMPTY_FILE = "empty file"
NOT_REGULAR = "not a regular file"
NOT_AUDIO = "not an audio format that libsndfile knows"
NEEDS_PYAV = "needs PyAV; pip install 'specctl-audio[av]'"
NO_SAMPLES = "no samples"
CHANGING = "sample rate or channels change within the file"
CUT_SHORT = "unexpected end of data"
NOTHING_LEFT = f"{CUT_SHORT}: nothing of it can be decoded"
NO_LAST_PAGE = "perhaps cut short: no page is marked as the last"
MORE_BEHIND = "perhaps cut short: what lies behind its samples belongs to no chunk"
DOUBTS = (NO_LAST_PAGE, MORE_BEHIND)
"""Of files that are converted all the same, and marked."""
CHANGED = "changed while it was read"

_SYSTEM = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "symbolic links that lead in a circle",
    errno.ENXIO: NOT_REGULAR,
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
}

_CLEARER = {
    # libsndfile, of headers with a rate of 0 or above 2**31 - 1
    "Internal error : SF_INFO struct incomplete": "the header has no valid sample rate",
    "Unspecified internal error": "the header is damaged or incomplete",
}


def unmatched(patterns: Iterable[str]) -> str:
    """What is said of patterns that are of no audio file."""
    named = ", ".join(map(repr, patterns))
    return (
        f"no audio file matches {named}; patterns are of names, or of paths that begin inside the "
        "source folder"
    )


def system_reason(error: Exception) -> str:
    """What the operating system says about a file, in the words of the house."""
    if isinstance(error, OSError) and error.errno is not None:
        return _SYSTEM.get(error.errno, os.strerror(error.errno).lower())
    # Python's own words for this differ from version to version
    return "NUL in its name" if "embedded null" in str(error) else str(error)


def cut_short(seconds: float, sign: str = "") -> str:
    """The file ends before its own structure says so; ``sign`` is how that shows."""
    return f"{CUT_SHORT} at {seconds:.3f} s" + (f": {sign}" if sign else "")


def leaves_something(reason: str) -> bool:
    """Whether a file that is refused as cut short has a beginning that can be decoded."""
    return reason.startswith(CUT_SHORT) and not reason.startswith((NOTHING_LEFT, cut_short(0)))


def has_hole(seconds: float) -> str:
    """Something in the middle of the file is missing or not what was written."""
    return f"damaged or missing data at {seconds:.3f} s"


def contradiction(n_declared: int, n_found: int | None) -> str:
    """Block size and bit depth of a header lead to different lengths."""
    return f"the header contradicts itself: {n_declared} samples declared, {n_found} found"


def not_finite(seconds: float) -> str:
    """One sample that would spoil every frame it is in."""
    return f"contains NaN or infinite samples at {seconds:.3f} s"


def too_loud(peak: float, seconds: float) -> str:
    """Finite, but its power would not be."""
    return f"samples as large as {peak:.1e} at {seconds:.3f} s, full scale is 1"


def decoder_said(message: str) -> str:
    """Pass on what libsndfile or FFmpeg says, without its capital letter and full stop."""
    text = " ".join(message.split()).rstrip(". ")
    text = _CLEARER.get(text, text)
    return f"the decoder says: {text[:1].lower()}{text[1:]}"
