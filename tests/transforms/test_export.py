"""ONNX graphs, held against torch."""

import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.errors import BasisError, ParameterError
from specctl.transforms import MelSpectrogram, Transform
from specctl.transforms.export import export_onnx
from tests.dsp.signals import noise
from tests.torch_versions import WRITES_ONNX

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

SMALL = {"sample_rate": 8000, "n_fft": 64, "hop_length": 20}
MEL = {**SMALL, "feature": "mel", "n_mels": 12}
CASES = {
    # as many coefficients as bands: they hold all of them
    "mfcc against its peak": {
        **MEL,
        "feature": "mfcc",
        "n_mfcc": 12,
        "ref": "max",
        "top_db": 30.0,
        "pad_mode": "reflect",
    },
    "magnitude": {**SMALL, "feature": "magnitude", "center": False},
    "uneven power": {**MEL, "power": 1.5, "scale": "ln", "pad_mode": "edge"},
    "complex": {**SMALL, "feature": "complex"},
}
# float32 sums in another order; of the largest value, or dB where a value is 0.1 % of it
TOLERANCE = 1e-4


def trained(settings):
    config = SpectrogramConfig.resolve(**settings)
    transform = Transform.from_config(config, trainable=("basis",))
    with torch.no_grad():
        transform.basis.add_(0.05 * noise(*transform.basis.shape))
    return transform


def assert_gives_the_numbers_of(path, transform):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in [(1, 500), (3, 1234)]:
        waveform = noise(*shape)
        (got,) = session.run(["spectrogram"], {"waveform": waveform.numpy()})
        assert got.dtype == "float32"
        with torch.no_grad():
            wanted = transform(waveform)
        wanted = torch.view_as_real(wanted) if wanted.is_complex() else wanted
        off = (torch.from_numpy(got) - wanted).abs().max()
        assert off <= TOLERANCE * wanted.abs().max()


@WRITES_ONNX
@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_the_graph_is_one_file_and_gives_the_numbers_of_the_transform(tmp_path, settings):
    transform = trained(settings)
    export_onnx(tmp_path / "front.onnx", transform.to_basis())
    assert [path.name for path in tmp_path.iterdir()] == ["front.onnx"]
    assert_gives_the_numbers_of(tmp_path / "front.onnx", transform)


def test_nothing_is_overwritten_unasked(tmp_path):
    path = tmp_path / "front.onnx"
    path.write_text("mine")
    with pytest.raises(BasisError, match="already exists"):
        export_onnx(path, trained(MEL).to_basis())
    assert path.read_text() == "mine"


def test_pcen_is_refused(tmp_path):
    basis = MelSpectrogram(**SMALL, n_mels=12, scale="pcen").to_basis()
    with pytest.raises(ParameterError, match="scale must not be 'pcen' in an onnx graph"):
        export_onnx(tmp_path / "front.onnx", basis)


@WRITES_ONNX
def test_the_graph_is_of_float32_whatever_the_default_type_is(tmp_path, request):
    path, transform = tmp_path / "front.onnx", trained(MEL)
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(torch.float64)
    export_onnx(path, transform.to_basis())
    assert_gives_the_numbers_of(path, transform)
