from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from specctl.cli.commands import app
from specctl.transforms import MFCC, MelSpectrogram, Spectrogram
from tests.torch_versions import WRITES_ONNX

runner = CliRunner()


@pytest.fixture
def basis(tmp_path):
    transform = MelSpectrogram(n_fft=64, hop_length=20, n_mels=8, trainable=("basis",))
    transform.save_basis(tmp_path / "b.safetensors")
    return tmp_path / "b.safetensors"


def run(*words):
    return runner.invoke(app, ["export-basis", *map(str, words)])


@pytest.mark.parametrize(
    ("library", "name"), [("nnaudio", "stft.wcos"), ("torchlibrosa", "stft.conv_real.weight")]
)
def test_writes_weights_and_says_which_module_takes_them(basis, tmp_path, library, name):
    result = run(basis, tmp_path / "out.pth", "--to", library)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "MelSpectrogram(" in result.stderr or "LogmelFilterBank(" in result.stderr
    assert name in torch.load(tmp_path / "out.pth", weights_only=True)


@pytest.mark.parametrize(
    ("kind", "settings", "library", "left"),
    [
        (MelSpectrogram, {}, "nnaudio", "; left to do: scale 'db'"),
        (MelSpectrogram, {}, "torchlibrosa", ""),
        (MelSpectrogram, {"power": 1.0}, "torchlibrosa", "; left to do: scale 'db'"),
        (MelSpectrogram, {"scale": "ln"}, "torchlibrosa", "; left to do: scale 'ln'"),
        (MelSpectrogram, {"scale": "none"}, "nnaudio", ""),
        (MFCC, {"n_mfcc": 5}, "nnaudio", "; left to do: scale 'db', feature 'mfcc'"),
        (
            MFCC,
            {"n_mfcc": 5},
            "torchlibrosa",
            "; left to do: top_db 80 of each item, feature 'mfcc'",
        ),
        (Spectrogram, {"scale": "db"}, "nnaudio", "; left to do: feature 'power', scale 'db'"),
        (Spectrogram, {"scale": "db"}, "torchlibrosa", "; left to do: scale 'db'"),
        (Spectrogram, {"feature": "complex"}, "nnaudio", ""),
    ],
)
def test_says_what_the_module_leaves_to_do(tmp_path, kind, settings, library, left):
    if kind is not Spectrogram:
        settings = {**settings, "n_mels": 8}
    transform = kind(n_fft=64, hop_length=20, trainable=("basis",), **settings)
    transform.save_basis(tmp_path / "b.safetensors")
    result = run(tmp_path / "b.safetensors", tmp_path / "out.pth", "--to", library)
    assert result.exit_code == 0
    assert result.stderr.endswith(f"){left}\n")


@WRITES_ONNX
def test_writes_a_graph_and_replaces_it(basis, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    path = tmp_path / "out.onnx"
    assert run(basis, path, "--to", "onnx").exit_code == 0
    assert path.stat().st_size > 66 * 64 * 4
    another = SimpleNamespace(model_proto=SimpleNamespace(SerializeToString=lambda: b"another"))
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: another)
    assert run(basis, path, "--to", "onnx").exit_code == 1
    assert run(basis, path, "--to", "onnx", "--overwrite").exit_code == 0
    assert path.read_bytes() == b"another"


def test_overwrites_when_asked_only(basis, tmp_path):
    torch.save({"mine": torch.ones(1)}, tmp_path / "out.pth")
    refused = run(basis, tmp_path / "out.pth", "--to", "nnaudio")
    assert refused.exit_code == 1
    assert "already exists" in refused.stderr
    assert run(basis, tmp_path / "out.pth", "--to", "nnaudio", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("to", "name", "others"),
    [
        ("nnaudio", "state dict", "state dicts"),
        ("torchlibrosa", "state dict", "state dicts"),
        ("onnx", "ONNX graph", "ONNX graphs"),
    ],
)
@pytest.mark.parametrize("content", [b"RIFF1234WAVEfmt ", b"\x89HDF\r\n\x1a\n", b"a,b\n", None])
def test_files_of_another_kind_are_not_replaced(basis, tmp_path, to, name, others, content):
    path = basis if content is None else tmp_path / "mine"
    if content is not None:
        path.write_bytes(content)
    before = path.read_bytes()
    result = run(basis, path, "--to", to, "--overwrite")
    assert result.exit_code == 1
    said = f"specctl: {path} is no {name}; --overwrite replaces {others} only\n"
    assert result.stderr.replace("\n", "") == said.replace("\n", "")
    assert path.read_bytes() == before


def test_an_empty_file_is_replaced(basis, tmp_path):
    (tmp_path / "out.pth").touch()
    assert run(basis, tmp_path / "out.pth", "--to", "nnaudio", "--overwrite").exit_code == 0


def test_a_folder_is_not_replaced_by_a_file(basis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(basis, ".", "--to", "nnaudio", "--overwrite")
    assert result.exit_code == 1
    assert result.stderr == "specctl: cannot write .: it is a folder\n"


def test_a_file_that_is_no_basis_is_one_line(tmp_path):
    (tmp_path / "b").write_text("no basis")
    result = run(tmp_path / "b", tmp_path / "out", "--to", "onnx")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "is not a specctl basis file" in result.stderr


@pytest.mark.parametrize("place", [0, 1])
def test_a_variable_without_a_value_is_not_this_folder(basis, tmp_path, place):
    paths = [basis, tmp_path / "out.pth"]
    paths[place] = ""
    result = run(*paths, "--to", "nnaudio")
    assert result.exit_code == 2
    assert "a path is empty" in result.stderr


def test_an_unknown_target_is_a_wrong_usage(basis, tmp_path):
    assert run(basis, tmp_path / "out", "--to", "tensorflow").exit_code == 2
