"""Is a file whole, and what is a decoder to be given of it?"""

from specctl.audio import containers, mpeg, ogg
from specctl.audio.formats import MPEG_EXTENSIONS, extension
from specctl.audio.mpeg_frames import is_frame
from specctl.audio.source import SourceFile, Structure

HEAD = 16  # bytes; no container is shorter
GSM_FRAME = 33  # bytes
GSM_READ = GSM_FRAME * 2**15  # bytes
GSM_MAGIC = 0xD  # upper half of the first byte of each frame


def inspect(source: SourceFile, *, header_only: bool = False) -> Structure:
    """Walk the structure of a file as far as its format has any.

    Parameters
    ----------
    source : SourceFile
    header_only : bool
        Leave out what needs a walk through the whole file (Ogg, MPEG audio).

    Raises
    ------
    AudioError
        Something in the middle is missing or damaged. A file that merely ends too soon
        is reported by ``is_cut``, as the decoder knows the time better.
    """
    head = source.read_at(0, HEAD)
    if len(head) < HEAD:
        return Structure()
    if (walk := containers.walker(head)) is not None:
        return walk(source)
    if head.startswith(b"OggS"):
        return Structure() if header_only else ogg.inspect_ogg(source)
    name = extension(source.path)
    if name == "gsm":
        return _inspect_gsm(source)
    if head.startswith(b"ID3") or is_frame(head) or name in MPEG_EXTENSIONS:
        return mpeg.inspect_mpeg(source, header_only=header_only)
    return Structure()


def _inspect_gsm(source: SourceFile) -> Structure:
    """GSM 06.10 without any header; every frame of 33 bytes begins with the same four bits."""
    for offset in range(0, source.size, GSM_READ):
        first_bytes = source.read_at(offset, GSM_READ)[::GSM_FRAME]
        if any(byte >> 4 != GSM_MAGIC for byte in first_bytes):
            return Structure()
    return Structure(is_gsm=True, is_cut=source.size % GSM_FRAME != 0)
