"""Sample rate, channels and length of a file from its header; which decoder reads it."""

import struct
from typing import Final, NamedTuple

import soundfile

from specctl.audio import av_backend, reasons, soundfile_backend
from specctl.audio.av_backend import AvDecoder
from specctl.audio.formats import PYAV_EXTENSIONS, extension
from specctl.audio.headers import header_info
from specctl.audio.info import AudioInfo, Decoder, check_info
from specctl.audio.integrity import inspect
from specctl.audio.soundfile_backend import SoundfileDecoder
from specctl.audio.source import SourceFile, Structure
from specctl.audio.wave_backend import open_wave
from specctl.errors import AudioError

__all__ = ["AudioInfo", "probe"]

DECODING_ERRORS: Final = (
    soundfile.SoundFileError,
    OSError,
    ValueError,
    TypeError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    struct.error,
)
"""All that soundfile and the system raise over a bad file."""

OTHER_CONTAINERS = (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75", b"wvpk", b"MAC ", b"TTA1", b"#!AMR")
"""First bytes of Matroska, ASF, WavPack, Monkey's Audio, TTA and AMR, whatever the name."""


def probe(path: str) -> AudioInfo:
    """Read the header of an audio file.

    Parameters
    ----------
    path : str
        As ``os.fsdecode`` gives it.

    Raises
    ------
    AudioError
        With the reason alone, without the path: the caller says which file. That a file is
        cut short, or damaged behind its header, is found by ``open_audio``, not here.
    """
    with SourceFile(path) as source:
        if (info := header_info(source)) is not None:
            check_info(info)
            return info
        return choose_decoder(source, header_only=True).decoder.info


class Choice(NamedTuple):
    """A decoder, and why the file is not whole: empty where nothing seems to be missing."""

    decoder: Decoder
    cut: str = ""
    is_certain: bool = True


def choose_decoder(source: SourceFile, *, header_only: bool = False) -> Choice:
    """Open a file with the decoder that knows it, and refuse what is absurd.

    Raises
    ------
    AudioError
        Neither decoder can read the file.
    """
    try:
        structure = Structure()
        decoder: Decoder | None = open_wave(source)
        if decoder is None:
            structure = inspect(source, header_only=header_only)
            decoder = _open(source, structure)
    except DECODING_ERRORS as error:
        raise AudioError(describe(error)) from error
    check_info(decoder.info)
    if header_only:
        return Choice(decoder)
    if structure.is_cut:
        return Choice(decoder, _cut(decoder.info, structure))
    _check_length(decoder.info, structure)
    return Choice(decoder, structure.doubt, is_certain=not structure.doubt)


def _open(source: SourceFile, structure: Structure) -> Decoder:
    try:
        return SoundfileDecoder(source, structure)
    except soundfile.LibsndfileError as error:
        head = source.read_at(0, 8)
        is_container = (
            extension(source.path) in PYAV_EXTENSIONS
            or head.startswith(OTHER_CONTAINERS)
            or head[4:] == b"ftyp"
        )
        is_unknown = head.startswith(b"OggS") or error.code == soundfile_backend.UNKNOWN_ENCODING
        is_foreign = is_container or is_unknown
        if is_foreign and av_backend.is_installed():
            try:
                return AvDecoder(source)
            except AudioError as other:
                raise AudioError(reasons.NOTHING_LEFT) if structure.is_cut else other from error
        # of what nobody here can read, nobody can say that nothing is left
        if structure.is_cut and not is_container:
            raise AudioError(reasons.NOTHING_LEFT) from error
        if is_foreign:
            raise AudioError(reasons.NEEDS_PYAV) from error
        raise


def _cut(info: AudioInfo, structure: Structure) -> str:
    """Where a file is cut, as far as that can be told without decoding it."""
    n_left = info.n_samples if structure.n_samples is None else structure.n_samples
    if n_left is None or info.backend == "av":
        return reasons.CUT_SHORT
    return reasons.cut_short(n_left / info.sample_rate)


def _check_length(info: AudioInfo, structure: Structure) -> None:
    """Hold what the decoder says against what the structure says."""
    if info.n_samples == 0:
        raise AudioError(reasons.NO_SAMPLES)
    if structure.n_samples is not None and structure.n_samples != info.n_samples:
        raise AudioError(reasons.contradiction(structure.n_samples, info.n_samples))


def describe(error: Exception) -> str:
    """Reason for whatever a decoder or the system raised."""
    if isinstance(error, soundfile.LibsndfileError):
        if error.code in soundfile_backend.UNKNOWN_FORMAT:
            return reasons.NOT_AUDIO
        return soundfile_backend.describe(error)
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError):
        return reasons.system_reason(error)
    return reasons.decoder_said(str(error))
