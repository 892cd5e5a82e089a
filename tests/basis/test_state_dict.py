"""Weights of other libraries as files: used where a basis file is, refused where they are not."""

import io
import json
import os
import pickle
import re
import zipfile
from contextlib import chdir

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from specctl import MelSpectrogram, open_store
from specctl.basis.foreign import to_state_dict
from specctl.basis.state_dict import load_state_dict, settings_of
from specctl.cli.commands import app
from specctl.errors import BasisError, ParameterError
from tests.dsp.signals import noise
from tests.training.audio import write_tones

SETTINGS = {"sample_rate": 8000, "n_fft": 64, "hop_length": 16, "n_mels": 8}
FLAGS = ("--hop-length", "16", "--sample-rate", "8000")


def invoke(*arguments, cwd):
    """In this process, which has imported all that takes seconds."""
    with chdir(cwd):
        return CliRunner().invoke(app, [*map(str, arguments)])


def trained():
    transform = MelSpectrogram(**SETTINGS, trainable=("basis", "mel"))
    with torch.no_grad():
        transform.basis.add_(0.1 * noise(*transform.basis.shape))
        transform.mel.add_(0.1 * transform.mel.max() * noise(*transform.mel.shape).abs())
    return transform


@pytest.fixture(params=["nnaudio", "torchlibrosa"])
def weights(request):
    return to_state_dict(trained().to_basis(), request.param)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "weights"])
def test_a_transform_starts_from_them(weights, name, tmp_path):
    torch.save({"state_dict": weights}, tmp_path / name)
    transform = MelSpectrogram(**SETTINGS, init=tmp_path / name)
    waveform = noise(2, 900)
    with torch.no_grad():
        torch.testing.assert_close(transform(waveform), trained()(waveform))


def test_shapes_tell_settings(weights, tmp_path):
    torch.save(weights, tmp_path / "w.pt")
    assert settings_of(tmp_path / "w.pt", None) == {"n_fft": 64, "n_mels": 8}
    assert settings_of(tmp_path / "w.pt", "power") == {"n_fft": 64}


@pytest.mark.parametrize(
    "weights",
    ["nnaudio", pytest.param("torchlibrosa", marks=pytest.mark.thorough)],
    indirect=True,
)
def test_commands_take_them(weights, tmp_path):
    folder = write_tones(tmp_path / "in")
    torch.save(weights, tmp_path / "w.pt")
    convert = ("convert", folder, "o.h5", "--basis", "w.pt", *FLAGS, "-j", 1)
    done = invoke(*convert, cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    with open_store(tmp_path / "o.h5") as store:
        key = next(iter(store))
        stored = np.asarray(store[key])
    waveform = torch.from_numpy(soundfile.read(folder / key, dtype="float32")[0])
    with torch.no_grad():
        expected = trained()(waveform).numpy()
    np.testing.assert_allclose(stored, expected, atol=1e-3)
    again = invoke(*convert, cwd=tmp_path)
    assert "nothing to do" in again.stderr
    given = ("--epochs", 1, "--runs", 1, "--no-verdict", "--model", "linear", "--crop", 0.08)
    trains = ("train-basis", folder, "b", "--init", "w.pt", *given, *FLAGS, "--json")
    done = invoke(*trains, "--basis-lr", 1e-9, cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["n_trained"] == 66 * 64


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((), "sample_rate must be given with weights of another library, w.pt does not hold it"),
        (
            ("--sample-rate", "8000", "--n-fft", "128"),
            "n_fft must be 64, that of the weights",
        ),
        (("--sample-rate", "8000", "--n-mels", "9"), "n_mels must be 8, that of the weights, got"),
        (("--sample-rate", "8000", "--scale", "pcen"), "scale must not be 'pcen'"),
    ],
)
def test_settings_that_do_not_fit_are_named(flags, text, tmp_path):
    folder = write_tones(tmp_path / "in", n_clips=1)
    torch.save(to_state_dict(trained().to_basis(), "nnaudio"), tmp_path / "w.pt")
    convert = ("convert", folder, "o.h5", "--basis", "w.pt", *flags)
    done = invoke(*convert, cwd=tmp_path)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert text in line
    assert not (tmp_path / "o.h5").exists()


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch bomb",))


def packed(weights, **changes):
    """A state dict with every record changed by what ``changes`` says."""
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    result = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(result, "w", **changes) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return result.getvalue()


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def rows(**changes):
    return {"wcos": torch.zeros(33, 1, 64), "wsin": torch.zeros(33, 1, 64), **changes}


# a billion numbers by name, four by content
HUGE = torch.zeros(4).as_strided((2**16 + 1, 1, 2**17), (0, 0, 0))
HOSTILE = {
    "nothing": (b"", "is not a state dict of tensors alone"),
    "text": (b"hello", "is not a state dict of tensors alone"),
    "zeros": (bytes(4096), "is not a state dict of tensors alone"),
    "code": (saved({"wcos": Bomb()}), "is not a state dict of tensors alone"),
    "bare code": (pickle.dumps(Bomb()), "is not a state dict of tensors alone"),
    "cut": (saved(rows())[:-300], "is not a state dict of tensors alone"),
    "a list": (saved([1, 2]), "is not a state dict, it holds a list"),
    "others": (saved({"fc.weight": torch.zeros(3)}), "has no weights of a front end, such as"),
    "one half": (saved({"wcos": torch.zeros(33, 1, 64)}), "must have wcos and wsin of one shape"),
    "two": (saved({**rows(), "b.wcos": torch.zeros(1)}), "has several front ends: b.wcos, wcos"),
    "uneven": (saved(rows(wsin=torch.zeros(33, 1, 62))), "must have wcos and wsin of one shape"),
    "bands": (
        saved(rows(mel_basis=torch.zeros(8, 7))),
        "mel_basis must fit 33 bins, got",
    ),
    "whole numbers": (
        saved(rows(wcos=torch.zeros(33, 1, 64).int())),
        "wcos must be a dense",
    ),
    "sparse": (saved(rows(wcos=torch.zeros(33, 64).to_sparse())), "dense tensor|tensors alone"),
    "a view": (saved({"wcos": HUGE, "wsin": HUGE}), "wcos is damaged: it claims"),
    "compressed": (
        packed({"wcos": torch.zeros(2**20)}, compression=zipfile.ZIP_DEFLATED),
        "it claims more bytes than it has",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_in_one_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, text = HOSTILE[kind]
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(BasisError, match=text) as caught:
        MelSpectrogram(**SETTINGS, init="w.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bomb").exists()


def test_numbers_that_are_none_are_refused(tmp_path):
    torch.save(rows(wsin=torch.full((33, 1, 64), float("nan"))), tmp_path / "w.pt")
    with pytest.raises(ParameterError, match="basis must be finite, it holds NaN or infinity"):
        MelSpectrogram(**SETTINGS, init=tmp_path / "w.pt")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(BasisError, match=r"cannot read .*none\.pt: No such file"):
        load_state_dict(tmp_path / "none.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(BasisError, match=re.escape("folder.pt is not a file")):
        load_state_dict(tmp_path / "folder.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(BasisError, match=re.escape("pipe.pt is not a file")):
        load_state_dict(tmp_path / "pipe.pt")
