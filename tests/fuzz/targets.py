"""What is read of strangers: good files to begin with, the reader, and what it may raise."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from specctl.audio.decode import open_audio
from specctl.audio.discover import discover, read_file_list
from specctl.audio.ogg import CAPTURE
from specctl.basis import load_basis
from specctl.convert.request import read_labels
from specctl.convert.settings import GivenSettings
from specctl.errors import AudioError, BasisError, ParameterError, SpecctlError, StoreError
from specctl.settings import read_settings
from specctl.store.part_reader import TRAILER, read_part
from specctl.store.reader import open_store
from specctl.store.verify import verify_store
from tests.convert.audio_files import noise, write
from tests.convert.bad_audio import ogg_crc
from tests.store.stores import make_store, random_values, small_layout, write_part

RATE = 8000
GOLDEN = ("basis", "truncated")


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Parameters
    ----------
    seeds : callable
        From an empty folder to the bytes of good files.
    read : callable
        Reads all there is of a file; ``number`` is that of the input.
    error : type of exception
        All that `read` may raise.
    words : sequence of bytes
        What such files are made of.
    mend : callable, optional
        Puts checksums right, so that damage gets past them; done to every other input.
    seconds : int
        After which an input counts as a hang.
    """

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path, int], None]
    error: type[SpecctlError]
    words: Sequence[bytes] = ()
    mend: Callable[[bytearray], None] | None = None
    seconds: int = 10


_AUDIO = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "wavex": ("WAVEX", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "alac.caf": ("CAF", "ALAC_16"),
    "sph": ("NIST", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def _audio_seeds(folder: Path) -> list[bytes]:
    """Tenths of a second of each format; Ogg twice, once chained."""
    made = []
    for number, (name, (kind, code)) in enumerate(_AUDIO.items()):
        samples = noise(RATE // 8, 1 + number % 2)
        path = write(folder / f"a.{name}", samples, RATE, format=kind, subtype=code)
        made.append(path.read_bytes())
    ogg = made[list(_AUDIO).index("ogg")]
    return [*made, ogg + ogg]


def _read_audio(path: Path, number: int) -> None:
    with open_audio(str(path), allow_truncated=number % 4 > 1) as reader:
        # a header may make much of little, within reason
        for _ in itertools.islice(reader.blocks(), 1000):
            pass
        reader.sha256()


def _mend_ogg(data: bytearray) -> None:
    """Give each page of Ogg the checksum that fits it."""
    at = data.find(CAPTURE)
    while at >= 0:
        following = data.find(CAPTURE, at + 4)
        page = bytes(data[at : following if following >= 0 else len(data)])
        if len(page) > 27:
            data[at : at + len(page)] = ogg_crc(page)
        at = following


_AV = {
    "m4a": ("ipod", "aac", "fltp", {"movflags": "faststart"}),
    "alac.m4a": ("ipod", "alac", "s16p", {}),
    "webm": ("webm", "libopus", "flt", {}),
    "aac": ("adts", "aac", "fltp", {}),
    "wv": ("wv", "wavpack", "s16p", {}),
    "tta": ("tta", "tta", "s16", {}),
}


def _av_seeds(folder: Path) -> list[bytes]:
    """Files that only FFmpeg reads; none where PyAV is not installed."""
    import av
    import numpy as np

    made = []
    for name, (kind, codec, sample_format, options) in _AV.items():
        path = folder / f"a.{name}"
        with av.open(str(path), "w", format=kind, options=options) as container:
            stream = container.add_stream(codec, rate=48_000, layout="mono")
            stream.codec_context.format = sample_format
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(noise(9600).T), format="fltp", layout="mono"
            )
            frame.sample_rate = 48_000
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(sample_format, "mono", 48_000, frame_size=size)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        made.append(path.read_bytes())
    return made


def _store_seeds(folder: Path) -> list[bytes]:
    """Good stores of several kinds."""
    made = []
    for name, layout in {
        "gzip": small_layout(),
        "plain": small_layout("uint8", "none"),
        "complex": small_layout(is_complex=True),
    }.items():
        (folder / name).mkdir()
        made.append(make_store(folder / name, layout, lengths=(5, 9)).path.read_bytes())
    golden = [Path(__file__).parents[1] / "store" / "golden" / f"v1-{name}.h5" for name in GOLDEN]
    return [*made, *(path.read_bytes() for path in golden)]


def _read_store(path: Path, number: int) -> None:
    verify_store(path)
    with open_store(path) as store:
        _ = store.attributes, store.config, store.errors, store.classes, store.mean, store.std
        _ = store.basis, store.index
        for key in store:
            store.record(key)
            store[key]


def _part_seeds(folder: Path) -> list[bytes]:
    made = []
    for name, layout in {"gzip": small_layout(), "plain": small_layout("int16", "none")}.items():
        values = {f"{i}.wav": random_values(layout, 5 + i, seed=i) for i in range(3)}
        made.append(write_part(folder / name, layout, values, {"bad": "why"}).read_bytes())
    return made


def _read_part(path: Path, number: int) -> None:
    part = read_part(path)
    for _ in part.iter_chunks():
        pass
    for _ in part.iter_moments():
        pass


def _mend_part(data: bytearray) -> None:
    """Give a part the checksum and the size that fit it."""
    if len(data) < TRAILER.size:
        return
    *numbers, _, end = TRAILER.unpack(data[-TRAILER.size :])
    tail = bytes(data[min(numbers[0], len(data)) : -TRAILER.size])
    numbers[4] = len(data)
    data[-TRAILER.size :] = TRAILER.pack(*numbers, hashlib.sha256(tail).digest(), end)


def _basis_seeds(folder: Path) -> list[bytes]:
    from specctl.transforms import MelSpectrogram

    settings = {"sample_rate": 8000, "n_fft": 32, "hop_length": 20, "n_mels": 4}
    made = []
    for name, trainable in {"a": ("basis", "mel"), "b": ("window", "frequencies")}.items():
        transform = MelSpectrogram(**settings, trainable=trainable)
        transform.save_basis(folder / name, classes=["x"], verdict={"sentence": "it helped"})
        made.append((folder / name).read_bytes())
    return made


def _mend_basis(data: bytearray) -> None:
    """Say how long the header is, by its last bracket."""
    end = data.rfind(b"}", 8, 100_000) + 1
    if end > 8:
        data[:8] = (end - 8).to_bytes(8, "little")


_TOML = b"""
preset = "librosa"
n_fft = 1024
hop_length = 256
window = "hann"
center = true
feature = "mel"
n_mels = 64
fmin = 20.0
scale = "db"
top_db = 80.0
sample_rate = 16000
segment = 1.5
dtype = "float32"
"""
_TOML_WORDS = (
    *(b"n_fft", b"=", b"[", b"]", b"{", b'"', b"'''", b"#", b"\n", b".", b"1e999", b"-1", b"nan"),
    *(b"inf", b"true", b"1979-05-27", b"0x7fffffff", b"power", b"amin", b"overlap", b"\xff"),
)


def _read_settings(path: Path, number: int) -> None:
    given = read_settings(path)
    named = given.pop("preset", None)
    GivenSettings(given, named).early()


def _list_seeds(folder: Path) -> list[bytes]:
    return [b"a.wav\nb/c.wav\nb/d.flac\n", b"a.wav\r\nb/c.wav\r\n", b"a.wav\0b/c.wav\0b\0"]


def _read_list(path: Path, number: int) -> None:
    listed = path.parent / "listed"
    if not listed.exists():
        for name in ("a.wav", "b/c.wav", "b/d.flac"):
            (listed / name).parent.mkdir(parents=True, exist_ok=True)
            (listed / name).write_bytes(b"x")
    paths = read_file_list(path.read_bytes(), listed)
    # damage may name the whole disk
    inside = [each for each in paths if each.is_relative_to(listed) and ".." not in each.parts]
    discover(inside)


def _label_seeds(folder: Path) -> list[bytes]:
    return [
        b'path,label\na.wav,dog\n"b,c.wav","cat ""x"""\n',
        "\ufeffid;label,path,label\r\n1,ä.wav,Käfer\r\n".encode(),
    ]


TARGETS = {
    "audio": Target(_audio_seeds, _read_audio, AudioError, mend=_mend_ogg),
    "audio of FFmpeg": Target(_av_seeds, _read_audio, AudioError),
    "stores": Target(_store_seeds, _read_store, StoreError),
    "parts": Target(
        _part_seeds,
        _read_part,
        StoreError,
        (b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"-1", b"1e999", b'"items"', b"NaN"),
        _mend_part,
    ),
    "bases": Target(
        _basis_seeds,
        lambda path, number: load_basis(path) and None,
        BasisError,
        (b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"-1", b"1e999", b"F32", b"shape"),
        _mend_basis,
    ),
    "settings": Target(lambda folder: [_TOML], _read_settings, ParameterError, _TOML_WORDS),
    "file lists": Target(
        _list_seeds, _read_list, SpecctlError, (b"\n", b"\r\n", b"\0", b"/", b"..", b"~", b"\xff")
    ),
    "labels": Target(
        _label_seeds,
        lambda path, number: read_labels(path) and None,
        ParameterError,
        (b",", b'"', b"\n", b"\r", b"\0", b"path", b"label", b"\xff", b"\xef\xbb\xbf"),
    ),
}
