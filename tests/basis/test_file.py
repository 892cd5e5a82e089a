"""Basis files: written whole, read with suspicion."""

import json
import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch

import specctl
from specctl.basis import save_basis
from specctl.errors import BasisError, ParameterError
from specctl.transforms import MelSpectrogram, Spectrogram
from tests.dsp.signals import noise

SMALL = {"sample_rate": 8000, "n_fft": 64, "hop_length": 20}
MEL = {**SMALL, "n_mels": 12}
PCEN = {**MEL, "scale": "pcen"}


def trained(settings=MEL, *names, init="fourier"):
    """A transform whose named weights were moved."""
    kind = MelSpectrogram if "n_mels" in settings else Spectrogram
    transform = kind(**settings, trainable=names, init=init)
    with torch.no_grad():
        for number, weight in enumerate(transform.parameters()):
            weight.add_(0.01 * noise(*weight.shape, seed=number).abs())
    return transform


@pytest.mark.parametrize(
    ("settings", "names", "init"),
    [
        (MEL, (), "fourier"),
        (MEL, ("basis",), "fourier"),
        (MEL, ("window",), "fourier"),
        (MEL, ("frequencies", "window"), "fourier"),
        (MEL, ("mel",), "fourier"),
        (MEL, ("basis", "mel"), "random"),
        (MEL, (), "mel-fourier"),
        (PCEN, ("pcen",), "fourier"),
        (PCEN, ("basis", "pcen"), "mel-fourier"),
        (SMALL, ("basis",), "fourier"),
        ({**SMALL, "feature": "complex"}, ("frequencies",), "fourier"),
    ],
)
def test_what_was_trained_computes_the_same_after_a_file(tmp_path, settings, names, init):
    transform = trained(settings, *names, init=init)
    waveform = noise(2, 700)
    with torch.no_grad():
        before = transform(waveform)
    transform.save_basis(tmp_path / "b.safetensors")
    again = type(transform).from_basis(tmp_path / "b.safetensors")
    assert again.n_trained == 0
    assert again.config == transform.config
    # rows may have been computed where now they are read, and a root or two lie between
    torch.testing.assert_close(again(waveform), before, rtol=1e-5, atol=2e-4)
    assert specctl.load_basis(tmp_path / "b.safetensors").trained == tuple(sorted(names))


@pytest.mark.parametrize("names", [(), ("window",), ("mel",), ("pcen",)])
def test_an_fft_is_enough_where_the_rows_are_those_of_fourier(tmp_path, names):
    trained(PCEN, *names).save_basis(tmp_path / "b.safetensors")
    again = MelSpectrogram.from_basis(tmp_path / "b.safetensors")
    assert again.kernel_name == "fft"


def test_an_untrained_file_gives_the_ordinary_numbers_to_the_last_bit(tmp_path):
    transform = MelSpectrogram(**MEL)
    transform.save_basis(tmp_path / "b.safetensors")
    again = MelSpectrogram.from_basis(tmp_path / "b.safetensors")
    assert torch.equal(again(noise(2, 700)), transform(noise(2, 700)))


def test_metadata_come_back(tmp_path):
    verdict = {"sentence": "makes no difference", "accuracy": [0.5, 0.25]}
    given = {"classes": ["a", "ø"], "dataset": "sha", "verdict": verdict}
    trained(MEL, "basis").save_basis(tmp_path / "b.safetensors", **given)
    assert specctl.load_basis(tmp_path / "b.safetensors").metadata == given


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_metadata_that_are_not_json_are_refused(tmp_path, value):
    with pytest.raises(ParameterError, match="metadata must be plain JSON values"):
        MelSpectrogram(**MEL).save_basis(tmp_path / "b.safetensors", verdict=value)
    assert not list(tmp_path.iterdir())


# each is written as a letter, a backslash and more, or six bytes, in the header of a file
@pytest.mark.parametrize("letter", ["a", '"', "é", "\\", "\x00"])
def test_metadata_that_are_written_can_be_read(letter, tmp_path):
    path, size = tmp_path / "b.safetensors", 1
    transform = trained(MEL, "basis")
    transform.save_basis(path, note=letter)
    while size < 2**21:
        size *= 2
        try:
            transform.save_basis(path, overwrite=True, note=letter * size)
        except ParameterError as error:
            assert re.fullmatch(
                r"metadata must be at most 1,000,000 bytes in a file, got 1,\d+,\d+", str(error)
            )
            break
        assert specctl.load_basis(path).metadata == {"note": letter * size}
    assert 2**16 < size < 2**21
    assert specctl.load_basis(path).metadata == {"note": letter * (size // 2)}


def test_a_fingerprint_tells_weights_and_settings_apart_and_nothing_else():
    first = trained(MEL, "basis").to_basis()
    assert trained(MEL, "basis").to_basis(classes=["a"]).fingerprint() == first.fingerprint()
    others = [
        MelSpectrogram(**MEL).to_basis(),
        trained(MEL, "mel").to_basis(),
        trained({**MEL, "hop_length": 21}, "basis").to_basis(),
    ]
    assert len({basis.fingerprint() for basis in (first, *others)}) == 4


def test_it_is_shown_in_a_line():
    basis = trained(MEL, "basis", "mel").to_basis()
    assert repr(basis) == (
        f"<Basis {basis.fingerprint()[:12]}: basis {basis.basis.shape}, "
        f"window {basis.window.shape}, mel {basis.mel.shape}; trained: basis, mel>"
    )


def test_training_goes_on_from_a_file(tmp_path):
    path = tmp_path / "b.safetensors"
    transform = trained(MEL, "frequencies", "window")
    transform.save_basis(path)
    again = MelSpectrogram(**MEL, trainable=("frequencies", "window"), init=path)
    assert torch.equal(again.frequencies, transform.frequencies)
    assert torch.equal(again.window, transform.window)
    rows = MelSpectrogram(**MEL, trainable=("basis",), init=path)
    assert np.array_equal(rows.to_basis().basis, transform.to_basis().basis)
    assert rows.to_basis().trained == ("basis", "frequencies", "window")


@pytest.mark.parametrize("names", [(), ("mel",), ("window",), ("frequencies",)], ids=str)
@pytest.mark.parametrize("init", ["fourier", "mel-fourier"])
def test_rows_of_one_frequency_each_are_known_as_such_in_a_file(init, names, tmp_path):
    path = tmp_path / "b.safetensors"
    # the longest have the least exact rows
    n_fft = 2048 if names == ("frequencies",) else 64
    transform = trained({**MEL, "n_fft": n_fft}, *names, init=init)
    transform.save_basis(path)
    again = MelSpectrogram.from_basis(path, trainable=("frequencies", "window"))
    assert torch.equal(again.frequencies, transform.frequencies)
    assert torch.equal(again.window, transform.window)


def test_parts_that_a_file_does_not_hold_apart_cannot_be_trained(tmp_path):
    trained(MEL, "basis").save_basis(tmp_path / "b.safetensors")
    for name in ("window", "frequencies"):
        with pytest.raises(ParameterError, match=f"trainable must not name {name}"):
            MelSpectrogram.from_basis(tmp_path / "b.safetensors", trainable=(name,))


def test_frequencies_that_the_rows_do_not_have_are_not_believed(tmp_path):
    basis = trained(MEL, "basis").to_basis()
    lying = type(basis)(
        basis.config, basis.basis, basis.window, np.arange(33, dtype="f4"), basis.mel
    )
    save_basis(tmp_path / "b.safetensors", lying)
    assert MelSpectrogram.from_basis(tmp_path / "b.safetensors").frequencies is None


@pytest.mark.parametrize(
    "other",
    [
        {"n_fft": 128},
        {"n_mels": 13},
        {"sample_rate": 16000},
        {"scale": "pcen"},
        {"fmin": 50.0},
        {"fmax": 3000.0},
        {"window": "hamming"},
        {"win_length": 40},
        {"mel_scale": "htk"},
        {"mel_norm": "none"},
    ],
)
def test_a_file_made_with_other_settings_is_refused(tmp_path, other):
    MelSpectrogram(**MEL).save_basis(tmp_path / "b.safetensors")
    (name,) = other
    with pytest.raises(ParameterError, match=f"{name} must be .*, that of the basis"):
        MelSpectrogram(**{**MEL, **other}, init=tmp_path / "b.safetensors")


def test_nothing_is_overwritten_unasked(tmp_path):
    path = tmp_path / "b.safetensors"
    MelSpectrogram(**MEL).save_basis(path)
    before = path.read_bytes()
    with pytest.raises(BasisError, match="already exists"):
        trained(MEL, "basis").save_basis(path)
    assert path.read_bytes() == before
    trained(MEL, "basis").save_basis(path, overwrite=True)
    assert path.read_bytes() != before


def test_a_file_outlasts_a_power_cut(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))
    )
    MelSpectrogram(**MEL).save_basis(tmp_path / "b.safetensors")
    written, folder = synced
    assert written.startswith(f"{tmp_path}/b.safetensors.tmp-")
    # without it the name may be lost
    assert folder == str(tmp_path)


def test_a_file_is_read_without_torch():
    code = "import sys, specctl; specctl.load_basis; print({'torch', 'h5py'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BasisError, match="cannot write .*b.safetensors: no such folder; make "):
        MelSpectrogram(**MEL).save_basis(tmp_path / "none" / "b.safetensors")


def test_others_can_read_the_file(tmp_path):
    from safetensors.torch import load_file

    transform = trained(PCEN, "basis", "pcen")
    transform.save_basis(tmp_path / "b.safetensors")
    tensors = load_file(tmp_path / "b.safetensors")
    assert torch.equal(tensors["basis"], transform.basis.detach())
    assert sorted(tensors) == ["basis", "mel", "pcen", "window"]


def parts_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def forged(path, change):
    """The file with its header and numbers changed by hand."""
    header, numbers = parts_of(path)
    changed = change(header, numbers)
    numbers = numbers if changed is None else changed
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


def rename(header, numbers):
    header["intruder"] = header.pop("mel")


def extra(header, numbers):
    end = len(numbers)
    header["intruder"] = {"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]}
    return numbers + bytes(4)


def missing(header, numbers):
    place = header.pop("window")["data_offsets"]
    size = place[1] - place[0]
    for name, entry in header.items():
        if name != "__metadata__" and entry["data_offsets"][0] >= place[1]:
            entry["data_offsets"] = [offset - size for offset in entry["data_offsets"]]
    return numbers[: place[0]] + numbers[place[1] :]


def poison(value):
    def change(header, numbers):
        first = header["mel"]["data_offsets"][0]
        return numbers[:first] + struct.pack("<f", value) + numbers[first + 4 :]

    return change


def entry(name, key, value):
    def change(header, numbers):
        header[name][key] = value

    return change


def word(key, value):
    return entry("__metadata__", key, value)


def config_with(**values):
    def change(header, numbers):
        config = json.loads(header["__metadata__"]["config"])
        header["__metadata__"]["config"] = json.dumps({**config, **values})

    return change


HOSTILE = {
    "renamed tensor": (rename, "tensor that a basis file does not have: 'intruder'"),
    "extra tensor": (extra, "tensor that a basis file does not have"),
    "missing tensor": (missing, "a weight is missing|it is missing"),
    "not a number": (poison(float("nan")), "mel must be finite"),
    "infinite": (poison(float("inf")), "mel must be finite"),
    "wrong type": (entry("basis", "dtype", "F64"), "basis must be of type F32, got 'F64'"),
    "object type": (entry("basis", "dtype", {"a": 1}), "basis must be of type F32"),
    "huge shape": (entry("basis", "shape", [2**40, 2**40]), "basis of shape .* takes"),
    "flat shape": (
        entry("basis", "shape", [66 * 64]),
        r"basis must be float32 of shape \(66, 64\)",
    ),
    "turned shape": (entry("mel", "shape", [33, 12]), r"mel must be .*\(12, 33\), got"),
    "negative shape": (entry("mel", "shape", [-12, -33]), "mel has no proper shape"),
    "fractions": (entry("mel", "shape", [12.0, 33]), "mel has no proper shape"),
    "truth as a number": (entry("mel", "shape", [True, 396]), "mel has no proper shape"),
    "overlap": (entry("mel", "data_offsets", [0, 1584]), "takes .* bytes, the file gives it"),
    "beyond the end": (entry("mel", "data_offsets", [0, 2**62]), "is damaged"),
    "no offsets": (entry("mel", "data_offsets", None), "no proper shape and place"),
    "other format": (word("format", "model"), "is not a specctl basis file"),
    "newer version": (word("format_version", "2"), "format version '2', this specctl reads 1"),
    "config is no JSON": (word("config", "{"), "config is missing or is not JSON"),
    "config is a list": (word("config", "[]"), "config must be a JSON dict"),
    "deep config": (word("config", "[" * 100_000), "config is missing or is not JSON"),
    "trained is a word": (word("trained", '"basis"'), "trained must be a JSON list"),
    "trained what": (word("trained", '["brain"]'), "trained must name .*got brain"),
    "metadata is a list": (word("metadata", "[]"), "metadata must be a JSON dict"),
    "strings only": (word("metadata", 3), "its header has no metadata"),
    "smaller n_fft": (config_with(n_fft=32, win_length=32), "is damaged: basis must be"),
    "enormous n_fft": (config_with(n_fft=2**20), "is damaged: basis must be"),
    "n_fft no one has": (config_with(n_fft=2**40), "is damaged: n_fft must be"),
    "unknown setting": (config_with(run="rm"), "is damaged"),
    "bands elsewhere": (
        config_with(feature="power", n_mels=None, fmin=None, fmax=None, mel_scale=None),
        "is damaged",
    ),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_forged_file_is_refused_in_one_line(tmp_path, change, message):
    path = tmp_path / "b.safetensors"
    MelSpectrogram(**MEL).save_basis(path)
    forged(path, change)
    with pytest.raises(BasisError, match=message) as caught:
        specctl.load_basis(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("length", [0, 1, 2**20 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_of_an_impossible_length_is_refused(tmp_path, length):
    path = tmp_path / "b.safetensors"
    MelSpectrogram(**MEL).save_basis(path)
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(BasisError, match="claims a header of"):
        specctl.load_basis(path)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.5, 0.999])
def test_a_file_that_is_cut_is_refused(tmp_path, share):
    path = tmp_path / "b.safetensors"
    MelSpectrogram(**MEL).save_basis(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BasisError, match="is damaged|is not a specctl basis file"):
        specctl.load_basis(path)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\x80\x04pickle", b"\x02" + bytes(7) + b"[]" + bytes(9)]
)
def test_a_file_of_another_kind_is_refused(tmp_path, data):
    (tmp_path / "b.safetensors").write_bytes(data)
    with pytest.raises(BasisError, match="is not a specctl basis file"):
        specctl.load_basis(tmp_path / "b.safetensors")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(BasisError, match="is not a file"):
        specctl.load_basis(tmp_path)
    with pytest.raises(BasisError, match="cannot read .*none: No such file"):
        specctl.load_basis(tmp_path / "none")
