import copy
import pickle

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import specctl
from specctl.config import SpectrogramConfig
from specctl.errors import ParameterError
from specctl.transforms import MFCC, MelSpectrogram, Spectrogram, Transform, transform_for
from tests.dsp.signals import noise

SMALL = {"sample_rate": 8000, "n_fft": 64, "hop_length": 20}
MEL = {**SMALL, "n_mels": 12}


def trained(name, **settings):
    return MelSpectrogram(**{**MEL, **settings}, kernel="auto", trainable=(name,))


def parameter_names(module):
    return [name for name, _ in module.named_parameters()]


def test_keywords_are_the_fields_of_the_config():
    transform = MelSpectrogram(**MEL, fmin=100, scale="ln")
    wanted = SpectrogramConfig.resolve(**MEL, fmin=100, scale="ln", feature="mel")
    assert transform.config == wanted


@pytest.mark.parametrize(
    ("kind", "feature"), [(Spectrogram, "power"), (MelSpectrogram, "mel"), (MFCC, "mfcc")]
)
def test_each_class_has_its_feature(kind, feature):
    assert kind().config.feature == feature


def test_a_class_refuses_the_feature_of_another():
    with pytest.raises(ParameterError, match="feature of MFCC must be mfcc, got 'mel'"):
        MFCC(feature="mel")
    with pytest.raises(ParameterError, match="must be power or magnitude or complex, got 'mfcc'"):
        Spectrogram.from_config(MFCC().config)


def test_a_preset_gives_what_keywords_do_not():
    transform = MelSpectrogram(preset="speech-16k", n_mels=40)
    assert (transform.config.sample_rate, transform.config.n_mels) == (16000, 40)


def test_from_config_gives_the_same_numbers():
    transform = MelSpectrogram(**MEL)
    again = MelSpectrogram.from_config(transform.config)
    waveform = noise(500)
    assert torch.equal(again(waveform), transform(waveform))
    assert torch.equal(transform_for(transform.config)(waveform), transform(waveform))


@pytest.mark.parametrize("shape", [(300,), (1, 300), (4, 300), (2, 3, 300), (0, 300)])
@pytest.mark.parametrize("kind", [Spectrogram, MFCC])
def test_leading_dimensions_stay(shape, kind):
    transform = kind(**SMALL)
    waveform = noise(*shape)
    spec = transform(waveform)
    assert spec.shape == (*shape[:-1], transform.config.n_bins, 16)
    if waveform.numel():
        items = [transform(item) for item in waveform.reshape(-1, 300)]
        assert torch.equal(spec, torch.stack(items).reshape(spec.shape))


@pytest.mark.parametrize("kernel", ["fft", "conv"])
@pytest.mark.parametrize("trainable", [(), ("window",)])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Spectrogram, {"feature": "complex"}),
        (Spectrogram, {"feature": "magnitude"}),
        (MelSpectrogram, {}),
        (MelSpectrogram, {"ref": "max", "top_db": 60.0}),
        (MelSpectrogram, {"scale": "pcen"}),
        (MFCC, {}),
    ],
)
def test_gradients_of_no_items_are_zero(kind, settings, kernel, trainable):
    transform = kind(**SMALL, **settings, kernel=kernel, trainable=trainable)
    waveform = torch.zeros(0, 300, requires_grad=True)
    spec = transform(waveform)
    assert spec.shape == (0, transform.config.n_bins, 16)
    spec.abs().sum().backward()
    assert waveform.grad.shape == waveform.shape
    assert all((weight.grad == 0).all() for weight in transform.parameters())


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint8, torch.bool])
def test_whole_numbers_are_refused(dtype):
    with pytest.raises(ParameterError, match=f"waveform must be floating point, got {dtype}"):
        Spectrogram(**SMALL)(torch.zeros(300, dtype=dtype))


def test_complex_samples_are_refused():
    with pytest.raises(ParameterError, match="waveform must be floating point"):
        Spectrogram(**SMALL)(torch.zeros(300, dtype=torch.complex64))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_a_waveform_without_samples_is_refused(shape):
    with pytest.raises(ParameterError, match=r"shape \(\.\.\., samples\) with at least 1 sample,"):
        Spectrogram(**SMALL)(torch.zeros(shape))


def test_a_waveform_shorter_than_a_frame_is_refused_where_nothing_is_padded():
    with pytest.raises(ParameterError, match=r"with at least 64 samples, got \(2, 63\)"):
        Spectrogram(**SMALL, center=False)(torch.zeros(2, 63))


def test_a_waveform_on_another_device_is_refused():
    # a CUDA device need not be there for this
    with FakeTensorMode(allow_non_fake_inputs=True):
        waveform = torch.empty(300, device="cuda")
        with pytest.raises(
            ParameterError, match="waveform must be on cpu, where the transform is, got cuda:0;"
        ):
            Spectrogram(**SMALL)(waveform)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_waveform_of_any_float_is_computed_in_the_dtype_of_the_weights(dtype):
    waveform = noise(300).to(dtype)
    transform = MelSpectrogram(**MEL)
    assert torch.equal(transform(waveform), transform(waveform.float()))


@pytest.mark.parametrize("kernel", ["fft", "conv"])
def test_double_computes_in_float64(kernel):
    transform = MelSpectrogram(**MEL, kernel=kernel).double()
    waveform = noise(300).double()
    spec = transform(waveform)
    assert spec.dtype == torch.float64
    wanted = MelSpectrogram(**MEL, kernel=kernel)(waveform)
    # float32 over 64 products, in dB
    torch.testing.assert_close(spec.float(), wanted, atol=1e-3, rtol=0)


def test_moving_a_module_keeps_its_numbers():
    transform = MelSpectrogram(**MEL)
    waveform = noise(300)
    before = transform(waveform)
    assert torch.equal(transform.double().float()(waveform), before)
    assert torch.equal(transform.to("cpu")(waveform), before)


@pytest.mark.parametrize("trainable", [(), ("mel",), ("basis",), ("window",)])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_computes_the_same_and_shares_nothing(trainable, copied):
    transform = MelSpectrogram(**MEL, trainable=trainable)
    waveform = noise(300)
    before = transform(waveform)
    again = copied(transform)
    assert torch.equal(again(waveform), before)
    with torch.no_grad():
        for weight in again.parameters():
            weight.mul_(2)
    assert torch.equal(transform(waveform), before)


@pytest.mark.parametrize("name", ["basis", "window", "mel"])
def test_trainable_trains_exactly_the_named_weight(name):
    transform = trained(name)
    assert parameter_names(transform) == [name]
    fixed = {key: value.clone() for key, value in transform.named_buffers()}
    before = getattr(transform, name).detach().clone()
    optimiser = torch.optim.Adam(transform.parameters(), lr=1e-3)
    for _ in range(3):
        optimiser.zero_grad()
        transform(noise(2, 400)).square().mean().backward()
        optimiser.step()
    assert not torch.equal(getattr(transform, name), before)
    for key, value in fixed.items():
        assert torch.equal(getattr(transform, key), value)


@pytest.mark.parametrize("name", ["basis", "window", "mel"])
def test_a_trained_weight_changes_what_comes_out(name):
    transform = trained(name)
    waveform = noise(400)
    with torch.no_grad():
        before = transform(waveform)
        getattr(transform, name).mul_(10)
        after = transform(waveform)
    decibels = 10.0 if name == "mel" else 20.0
    torch.testing.assert_close(after, before + decibels, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["basis", "window", "mel"])
def test_numbers_are_the_same_with_and_without_gradients(name):
    transform = trained(name)
    waveform = noise(2, 400)
    with torch.no_grad():
        without = transform(waveform)
    # sums in another order, in dB
    torch.testing.assert_close(transform(waveform).detach(), without, atol=1e-3, rtol=0)


def test_a_basis_and_bands_may_be_trained_together():
    transform = MelSpectrogram(**MEL, trainable=("basis", "mel"))
    assert sorted(parameter_names(transform)) == ["basis", "mel"]
    assert transform.kernel_name == "conv"


def test_one_name_may_stand_for_itself():
    assert parameter_names(MelSpectrogram(**MEL, trainable="mel")) == ["mel"]


@pytest.mark.parametrize(
    ("kind", "trainable", "message"),
    [
        (
            Spectrogram,
            ("mel",),
            "must name basis, window, frequencies with .*'power' .*, 'mel' would",
        ),
        (MelSpectrogram, ("bands",), "basis, window, frequencies, mel with .*'bands' would"),
        (MFCC, ("dct",), "'dct' would train nothing"),
        (MelSpectrogram, ("pcen",), "feature 'mel' and scale 'db', 'pcen' would train nothing"),
        (MelSpectrogram, ("window", "basis"), "basis or window, not both"),
        (MelSpectrogram, ("frequencies", "basis"), "basis or frequencies, not both"),
    ],
)
def test_a_name_that_would_train_nothing_is_refused(kind, trainable, message):
    with pytest.raises(ParameterError, match=message):
        kind(**SMALL, trainable=trainable)


@pytest.mark.parametrize("name", ["basis", "window", "mel"])
def test_a_checkpoint_holds_what_is_trained_and_nothing_else(name):
    transform = trained(name)
    assert list(transform.state_dict()) == [name]
    with torch.no_grad():
        getattr(transform, name).mul_(1.5)
    again = trained(name)
    again.load_state_dict(transform.state_dict())
    waveform = noise(400)
    assert torch.equal(again(waveform), transform(waveform))


def test_a_checkpoint_of_fixed_weights_is_empty():
    assert not MFCC(**MEL, n_mfcc=5).state_dict()
    assert not MFCC(**MEL, n_mfcc=5, kernel="conv").state_dict()


def test_stands_in_a_network_and_trains_with_it():
    torch.manual_seed(0)
    network = nn.Sequential(trained("basis"), nn.Flatten(), nn.LazyLinear(2))
    waveform = noise(3, 400)
    network(waveform)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        optimiser.zero_grad()
        loss = network(waveform).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_network_that_is_moved_takes_its_bands_along():
    transform = MelSpectrogram(**MEL)
    network = nn.Sequential(transform)
    network(noise(300))
    assert network.double()(noise(300)).dtype == torch.float64


def test_training_mode_does_not_change_numbers():
    transform = MelSpectrogram(**MEL)
    waveform = noise(300)
    assert torch.equal(transform.train()(waveform), transform.eval()(waveform))


def test_leaves_the_waveform_as_it_was():
    waveform = noise(2, 300)
    before = waveform.clone()
    MelSpectrogram(**MEL)(waveform)
    assert torch.equal(waveform, before)


def test_a_result_is_not_overwritten_by_the_next_call():
    transform = Spectrogram(**SMALL)
    first = transform(noise(300))
    kept = first.clone()
    transform(noise(300, seed=1))
    assert torch.equal(first, kept)


@pytest.mark.parametrize("layout", ["strided", "expanded", "transposed"])
def test_a_waveform_need_not_be_contiguous(layout):
    plain = noise(2, 300)
    views = {
        "strided": torch.stack([plain, plain], -1)[..., 0],
        "expanded": plain[:1].expand(2, -1),
        "transposed": plain.T.contiguous().T,
    }
    transform = MelSpectrogram(**MEL)
    assert torch.equal(transform(views[layout]), transform(views[layout].contiguous()))


def test_says_which_settings_it_has():
    text = repr(MelSpectrogram(**MEL))
    assert "MelSpectrogram(mel, sample_rate=8000, n_fft=64, hop_length=20, n_bins=12" in text


def test_a_setting_that_no_config_has_is_refused():
    with pytest.raises(ParameterError, match="no setting 'n_mel'; did you mean n_mels"):
        MelSpectrogram(n_mel=80)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "fp16"}, "precision must be fp32, tf32, bf16, got 'fp16'"),
        ({"precision": None}, "precision must be fp32, tf32, bf16, got None"),
        ({"trainable": None}, "trainable must be names of weights, got None"),
        ({"init": None}, "init must be fourier, mel-fourier, random or a basis file, got None"),
        ({"init": 5}, "init must be fourier, mel-fourier, random or a basis file, got 5"),
        ({"init": "random", "seed": "a"}, "seed must be a whole number below 2"),
        ({"init": "random", "seed": 2**70}, "seed must be a whole number below 2"),
    ],
)
def test_arguments_of_another_kind_are_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        MelSpectrogram(**wrong)


def test_a_config_must_be_one():
    with pytest.raises(ParameterError, match="config must be a SpectrogramConfig or a dict"):
        MelSpectrogram.from_config(None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_fft": 512}, r"win_length must be in \[1, n_fft=512\], got 2048"),
        ({"sample_rate": 16000}, "fmax must be at most half the sample rate, 8000 Hz, got 11025"),
        ({"feature": "power"}, "n_mels must be absent with feature 'power'"),
    ],
)
def test_a_config_that_was_changed_unchecked_is_checked(changed, message):
    config = SpectrogramConfig.resolve().model_copy(update=changed)
    with pytest.raises(ParameterError, match=message):
        transform_for(config)


def test_pcen_starts_with_the_same_numbers_whatever_the_default_type_is():
    wanted = MelSpectrogram(scale="pcen").pcen.weight
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = MelSpectrogram(scale="pcen").pcen.weight
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


def test_the_public_classes_are_those_of_the_package():
    assert specctl.MelSpectrogram is MelSpectrogram
    assert issubclass(specctl.MFCC, Transform)


def test_peak_and_finish_give_what_forward_gives_in_one_go():
    transform = MelSpectrogram(**MEL, ref="max", top_db=20.0, center=False)
    waveform = noise(2, 400)
    spec = transform.run(waveform)
    finished = transform.finish(spec, transform.peak(spec))
    assert torch.equal(finished, transform(waveform))
    assert transform.peak(spec).shape == (2, 1, 1)
