import inspect
import math

import numpy as np
import pytest
import torch

from specctl import augment
from specctl.errors import ParameterError
from tests.dsp.signals import noise

KINDS = [
    augment.FrequencyMasking,
    augment.FromAudiomentations,
    augment.Gain,
    augment.GaussianNoise,
    augment.Mixup,
    augment.PitchShift,
    augment.Shift,
    augment.SpecAugment,
    augment.TimeMasking,
    augment.TimeStretch,
]
NEEDED = {
    "transform": lambda samples, sample_rate: samples,
    "sample_rate": 8000,
    "freq_mask_param": 8,
    "time_mask_param": 8,
}
COUNTS = {
    *("W", "F", "mF", "T", "mT", "freq_mask_param", "time_mask_param", "n_fft", "sample_rate"),
}


def numbers(kind):
    """Names of the parameters that are numbers."""
    for name, parameter in inspect.signature(kind).parameters.items():
        default = NEEDED.get(name, parameter.default)
        if isinstance(default, (int, float)) and not isinstance(default, bool):
            yield name


def build(kind, **given):
    known = inspect.signature(kind).parameters
    return kind(**{name: NEEDED[name] for name in NEEDED if name in known} | given)


NUMBERS = [(kind, name) for kind in KINDS for name in numbers(kind)]
every_number, every_count = (
    pytest.mark.parametrize(
        ("kind", "name"), pairs, ids=[f"{kind.__name__}-{name}" for kind, name in pairs]
    )
    for pairs in (NUMBERS, [pair for pair in NUMBERS if pair[1] in COUNTS])
)


@every_number
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "x", 1j, [1], 10**400],
    ids=lambda value: str(value)[:4],
)
def test_what_is_no_finite_number_is_refused_when_it_is_given(kind, name, value):
    with pytest.raises(ParameterError, match=f"{name}.*, got "):
        build(kind, **{name: value})


@every_count
def test_counts_are_whole_numbers(kind, name):
    with pytest.raises(ParameterError, match=f"{name} must be a whole number, got 16.5"):
        build(kind, **{name: 16.5})
    with pytest.raises(ParameterError, match=f"{name} must be at least (0|1|16), got -4"):
        build(kind, **{name: -4})


@every_count
def test_counts_that_would_take_all_memory_or_time_are_refused(kind, name):
    with pytest.raises(ParameterError, match=rf"{name} must be at most \d+, got 4294967296"):
        build(kind, **{name: 2**32})


@every_count
@pytest.mark.parametrize("value", [np.int64(16), 16.0], ids=["numpy", "float"])
def test_counts_may_be_of_other_types(kind, name, value):
    batch = noise(4, 20, 50) if kind.n_dims == 3 else noise(4, 200)
    changes = [build(kind, **{name: each}) for each in (16, value)]
    found = [change(batch, generator=torch.Generator().manual_seed(0)) for change in changes]
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", [each for each in KINDS if each is not augment.Mixup])
@pytest.mark.parametrize("is_training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    ("lengths", "text"),
    [
        (torch.tensor([50, 51, 60]), r"lengths must be in \[0, 50\], got 51"),
        (torch.tensor([50, -1, 0]), r"lengths must be in \[0, 50\], got -1"),
        (torch.tensor([50.0, 1, 0]), r"lengths must be whole numbers, got torch\.float32"),
        (torch.tensor([True, True, False]), r"lengths must be whole numbers, got torch\.bool"),
        ([50, 50, 50], r"lengths must be a torch\.Tensor, got list"),
    ],
    ids=["long", "negative", "fractions", "flags", "list"],
)
def test_lengths_are_counts_within_the_batch(kind, is_training, lengths, text):
    change = build(kind).train(is_training)
    batch = noise(3, 20, 50) if kind.n_dims == 3 else noise(3, 50)
    with pytest.raises(ParameterError, match=text):
        change(batch, lengths)


@pytest.mark.parametrize("batch", [[[0.5, 1.0]], 5], ids=["list", "int"])
def test_a_batch_is_a_tensor(batch):
    with pytest.raises(ParameterError, match=r"batch must be a torch\.Tensor, got (list|int)"):
        augment.Gain()(batch)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_lengths_may_be_of_any_whole_numbers(dtype):
    change, batch = augment.TimeStretch(p=1.0), noise(3, 200)
    found = [
        change(batch, torch.tensor([200, 7, 0], dtype=each), torch.Generator().manual_seed(0))
        for each in (torch.int64, dtype)
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize("batch", [None, 3, [[0.0]], torch.tensor(1.0)])
def test_mixup_wants_a_batch(batch):
    with pytest.raises(
        ParameterError, match=r"batch must be (a torch\.Tensor|.* \(batch, \.\.\.\))"
    ):
        augment.Mixup()(batch, torch.eye(1))


def test_mixup_checks_lengths_too():
    draws = augment.Draws.keyed(torch.arange(3))
    with pytest.raises(ParameterError, match=r"lengths must be in \[0, 50\], got 51"):
        augment.Mixup().augment(noise(3, 50), torch.eye(3), torch.tensor([50, 51, 60]), draws)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (5, "must be a sequence of augmentations, got int"),
        ([5], "must all take waveforms or all take spectrograms, got int"),
        ([augment.Gain(), augment.Mixup()], "must all .*, got Gain, Mixup"),
        ([augment.Gain], "must all .*, got type"),
        ([], "must all .*, got none"),
    ],
)
def test_only_augmentations_are_composed(given, text):
    with pytest.raises(ParameterError, match=f"augmentations {text}"):
        augment.Compose(given)


def test_what_is_composed_is_read_once():
    assert len(augment.Compose(augment.Gain() for _ in range(3)).augmentations) == 3


def test_a_transform_can_be_called():
    with pytest.raises(ParameterError, match="transform must be callable, got 5"):
        augment.FromAudiomentations(5, 16000)


def test_what_an_augmentation_does_can_be_read():
    change = augment.Compose([augment.Gain(max_gain_db=6.0), augment.Shift(sample_rate=8000)])
    assert repr(change).split("\n") == [
        "Compose(",
        "  p=1.0",
        "  (augmentations): ModuleList(",
        "    (0): Gain(p=0.5, range_db=(-12.0, 6.0))",
        "    (1): Shift(p=0.5, range=(-0.5, 0.5), shift_unit='fraction', rollover=True, "
        "sample_rate=8000, fade_length=40)",
        "  )",
        ")",
    ]
    assert repr(augment.Mixup(0.4)) == "Mixup(alpha=0.4)"


def test_masks_name_their_own_parameters():
    with pytest.raises(ParameterError, match="freq_mask_param must be at least 0, got -1"):
        augment.FrequencyMasking(-1)
    with pytest.raises(ParameterError, match="time_mask_param must be at least 0, got -1"):
        augment.TimeMasking(-1)


def test_a_clip_without_a_partner_stays_as_it_is_to_the_last_bit():
    clips, labels = torch.rand(65, 99), torch.eye(65)
    for seed in range(9):
        mixed, targets = augment.Mixup()(
            clips, labels, generator=torch.Generator().manual_seed(seed)
        )
        assert torch.equal(mixed[-1], clips[-1])
        assert torch.equal(targets[-1], labels[-1])
        assert not torch.equal(mixed[:-1], clips[:-1])
