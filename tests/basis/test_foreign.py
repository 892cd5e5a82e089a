"""Weights to and from nnAudio and torchlibrosa, held against their own modules."""

import pickle

import pytest
import torch

from specctl.basis.foreign import module_call, read_state_dict, to_state_dict, write_state_dict
from specctl.config import SpectrogramConfig
from specctl.errors import BasisError, ParameterError
from specctl.transforms import MelSpectrogram, Spectrogram
from tests.dsp.signals import noise

nnaudio = pytest.importorskip("nnAudio.features")
torchlibrosa = pytest.importorskip("torchlibrosa")

STFT = {"n_fft": 128, "hop_length": 40, "pad_mode": "reflect"}
MEL = {**STFT, "sample_rate": 8000, "n_mels": 10, "scale": "none"}
# float32 over 128 products and a root that is squared again, relative to the largest value
TOLERANCE = 1e-5


def trained(**settings):
    """A transform whose rows and bands are none that a library would build."""
    transform = MelSpectrogram(**{**MEL, **settings}, trainable=("basis", "mel"))
    with torch.no_grad():
        transform.basis.add_(0.1 * noise(*transform.basis.shape))
        transform.mel.add_(0.1 * transform.mel.max() * noise(*transform.mel.shape).abs())
    return transform


def assert_same(got, wanted):
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


def built(expression):
    """What `module_call` says to build, its parts as a tuple."""
    import nnAudio.features

    made = eval(expression, {"nnAudio": nnAudio, "torchlibrosa": torchlibrosa})
    return made if isinstance(made, tuple) else (made,)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_nnaudio_computes_the_same_with_our_weights(power, pad_mode):
    transform = trained(power=power, pad_mode=pad_mode)
    (module,) = built(module_call(transform.config, "nnaudio"))
    module.load_state_dict(to_state_dict(transform.to_basis(), "nnaudio"))
    waveform = noise(2, 900)
    with torch.no_grad():
        assert_same(module(waveform), transform(waveform))


def test_the_signs_of_nnaudio_are_put_right():
    transform = Spectrogram(**STFT, feature="complex", trainable=("basis",))
    with torch.no_grad():
        transform.basis.add_(0.1 * noise(*transform.basis.shape))
    (module,) = built(module_call(transform.config, "nnaudio"))
    module.load_state_dict(to_state_dict(transform.to_basis(), "nnaudio"))
    waveform = noise(2, 900)
    with torch.no_grad():
        assert_same(torch.view_as_complex(module(waveform)), transform(waveform))


@pytest.mark.parametrize("scale", ["none", "db"])
def test_torchlibrosa_computes_the_same_with_our_weights(scale):
    transform = trained(scale=scale)
    spectrogram, bank = built(module_call(transform.config, "torchlibrosa"))
    weights = to_state_dict(transform.to_basis(), "torchlibrosa")
    bank.load_state_dict({"melW": weights.pop("melW")})
    spectrogram.load_state_dict(weights)
    waveform = noise(2, 900)
    with torch.no_grad():
        got = bank(spectrogram(waveform))[:, 0].transpose(1, 2)
        assert_same(got, transform(waveform))


@pytest.mark.parametrize("library", ["nnaudio", "torchlibrosa"])
def test_weights_come_back_as_they_went(tmp_path, library):
    basis = trained().to_basis()
    path = tmp_path / "weights.pth"
    write_state_dict(path, basis, library, overwrite=False)
    again = read_state_dict(path, basis.config)
    assert (again.basis == basis.basis).all()
    assert (again.mel == basis.mel).all()


def test_reads_what_nnaudio_trained():
    module = nnaudio.MelSpectrogram(
        sr=8000,
        n_fft=128,
        hop_length=40,
        n_mels=10,
        trainable_STFT=True,
        trainable_mel=True,
        verbose=False,
    )
    with torch.no_grad():
        module.stft.wsin.add_(0.1 * noise(*module.stft.wsin.shape))
    network = torch.nn.ModuleDict({"front": module, "rest": torch.nn.Linear(2, 2)})
    basis = read_state_dict(network.state_dict(), SpectrogramConfig.resolve(**MEL))
    waveform = noise(2, 900)
    with torch.no_grad():
        # nnAudio adds 1e-8 under its root while it trains
        assert_same(MelSpectrogram.from_basis(basis)(waveform), module(waveform))


def test_reads_the_front_end_of_a_panns_checkpoint():
    network = torch.nn.Module()
    network.spectrogram_extractor = torchlibrosa.Spectrogram(n_fft=128, hop_length=40)
    network.logmel_extractor = torchlibrosa.LogmelFilterBank(
        sr=8000, n_fft=128, n_mels=10, is_log=False, freeze_parameters=False
    )
    with torch.no_grad():
        network.logmel_extractor.melW.mul_(2)
    checkpoint = {"iteration": 3, "model": network.state_dict()}
    basis = read_state_dict(checkpoint, SpectrogramConfig.resolve(**MEL))
    transform = MelSpectrogram.from_basis(basis)
    waveform = noise(2, 900)
    spec = network.logmel_extractor(network.spectrogram_extractor(waveform))
    assert_same(transform(waveform), spec[:, 0].transpose(1, 2).detach())
    assert transform.kernel_name == "fft"


def test_bands_that_are_not_there_are_those_of_the_settings():
    module = nnaudio.STFT(n_fft=128, hop_length=40, verbose=False)
    basis = read_state_dict(module.state_dict(), SpectrogramConfig.resolve(**MEL))
    assert torch.equal(torch.from_numpy(basis.mel), MelSpectrogram(**MEL).mel)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "has no weights of a front end, such as wcos or conv_real.weight"),
        ({"wcos": torch.zeros(3, 1, 4)}, "must have wcos and wsin of one shape"),
        ({"wcos": torch.zeros(3, 1, 4), "wsin": torch.zeros(3, 1, 5)}, "of one shape"),
        ({"wcos": torch.zeros(3), "wsin": torch.zeros(3)}, "of one shape"),
        ({"wcos": "text", "wsin": 3}, "has no weights of a front end"),
        ({"a.wcos": torch.zeros(1), "b.wcos": torch.zeros(1)}, "several front ends: a.wcos"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    with pytest.raises(BasisError, match=message):
        read_state_dict(weights, SpectrogramConfig.resolve(**MEL))


def test_weights_of_other_settings_are_refused():
    weights = to_state_dict(trained().to_basis(), "nnaudio")
    with pytest.raises(ParameterError, match="n_fft must be 128, that of the weights, got 256"):
        read_state_dict(weights, SpectrogramConfig.resolve(**{**MEL, "n_fft": 256}))


class Intruder:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize("content", ["pickle", "class", "text", "cut", "list"])
def test_a_file_that_is_more_than_tensors_is_refused_and_never_run(tmp_path, content, capsys):
    path = tmp_path / "weights.pth"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Intruder()))
    elif content == "class":
        torch.save({"wcos": Intruder()}, path)
    elif content == "list":
        torch.save([1, 2], path)
    else:
        torch.save({"wcos": torch.zeros(3, 1, 4)}, path)
        path.write_bytes(b"text" if content == "text" else path.read_bytes()[:200])
    with pytest.raises(BasisError, match="is not a state dict"):
        read_state_dict(path, SpectrogramConfig.resolve(**MEL))
    assert capsys.readouterr().out == ""


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BasisError, match="cannot read .*none: No such file"):
        read_state_dict(tmp_path / "none", SpectrogramConfig.resolve(**MEL))


def test_what_a_library_cannot_do_is_refused():
    with pytest.raises(ParameterError, match="nnaudio cannot pad with pad_mode 'edge'"):
        to_state_dict(trained(pad_mode="edge").to_basis(), "nnaudio")


@pytest.mark.parametrize("library", ["nnaudio", "torchlibrosa"])
def test_trained_pcen_is_not_left_out(library):
    transform = MelSpectrogram(**{**MEL, "scale": "pcen"}, trainable=("pcen",))
    with pytest.raises(ParameterError, match=f"{library} has no weights for scale 'pcen'; export"):
        to_state_dict(transform.to_basis(), library)


def test_nothing_is_overwritten_unasked(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("mine")
    with pytest.raises(BasisError, match="already exists"):
        write_state_dict(path, trained().to_basis(), "nnaudio", overwrite=False)
    assert path.read_text() == "mine"
