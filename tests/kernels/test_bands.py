import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.dsp.mel import mel_filterbank
from specctl.kernels.bands import Bands
from tests.dsp.signals import noise

# float32 sums of a few hundred products, in another order
SUM_TOLERANCE = 1e-6

BANKS = {
    "80 bands": {"n_fft": 1024, "n_mels": 80},
    "one band": {"n_fft": 64, "n_mels": 1},
    "17 bands": {"n_fft": 101, "n_mels": 17, "fmin": 300.0, "fmax": 5000.0},
    "more bands than bins": {"n_fft": 16, "n_mels": 64},
    "htk": {"n_fft": 400, "n_mels": 33, "mel_scale": "htk", "mel_norm": "none"},
}


@pytest.mark.parametrize("settings", BANKS.values(), ids=BANKS)
@pytest.mark.parametrize("n_frames", [1, 2, 333])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bands_in_groups_equal_the_whole_matrix(settings, n_frames, dtype):
    config = SpectrogramConfig.resolve(**settings)
    bands = Bands(mel_filterbank(config).to(dtype))
    spec = noise(n_frames, config.n_freqs).to(dtype).square()
    got = bands.block(spec, "fp32")
    wanted = bands.mel.double() @ spec.double().T
    assert got.shape == (bands.n_mels, n_frames)
    assert got.dtype == dtype
    assert (got - wanted).abs().max() <= SUM_TOLERANCE * wanted.abs().max()
    dense = bands.dense(spec, "fp32").T
    assert (got - dense).abs().max() <= SUM_TOLERANCE * wanted.abs().max()


def test_ordinary_bands_of_products_are_compiled_and_no_others():
    mel = mel_filterbank(SpectrogramConfig.resolve(n_fft=64, n_mels=8))
    products = torch.zeros(66, 5)
    bands = Bands(mel)
    assert bands.compiled(products, 2.0, "fp32") is bands.compiled(products, 2.0, "fp32")
    assert bands.compiled(products, 1.0, "fp32") is not None
    assert bands.compiled(products, 1.5, "fp32") is None
    assert bands.compiled(products, 2.0, "bf16") is None
    assert bands.compiled(products.double(), 2.0, "fp32") is None
    assert Bands(mel.clone().requires_grad_()).compiled(products, 2.0, "fp32") is None


def test_bands_without_a_bin_are_zero():
    mel = torch.zeros(40, 9)
    mel[3, 4] = 2.0
    got = Bands(mel).block(torch.ones(5, 9), "fp32")
    assert (got[3] == 2).all()
    assert got.sum() == 10


def test_a_trained_bank_uses_every_weight():
    mel = torch.ones(3, 5, requires_grad=True)
    got = Bands(mel).block(torch.ones(2, 5), "fp32")
    assert (got == 5).all()


def test_products_follow_the_precision_asked_for():
    config = SpectrogramConfig.resolve(n_fft=256, n_mels=20)
    bands = Bands(mel_filterbank(config))
    spec = noise(50, config.n_freqs).square()
    exact, rough = bands.block(spec, "fp32"), bands.block(spec, "bf16")
    assert not torch.equal(exact, rough)
    # bf16 has 8 bits
    torch.testing.assert_close(exact, rough, rtol=0.02, atol=0)
    assert torch.equal(rough, bands.dense(spec, "bf16").T)
