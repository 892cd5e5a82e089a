import pytest
import torch

from specctl import augment
from specctl.errors import ParameterError

N_FREQS, N_FRAMES = 40, 100


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def spectra(n_clips=300):
    """No value is 0 and none is the mean of its clip."""
    return torch.rand(n_clips, N_FREQS, N_FRAMES, generator=seeded(9)) + 1.0


def runs(flags):
    """Lengths of the stretches of True."""
    text = "".join("x" if flag else " " for flag in flags.tolist())
    return [len(stretch) for stretch in text.split()]


def test_frequency_masks_are_whole_stripes_as_wide_as_allowed():
    batch = spectra()
    changed = augment.FrequencyMasking(8)(batch, generator=seeded())
    hidden = changed == 0
    assert torch.equal(hidden.all(2), hidden.any(2))
    widths = [sum(runs(clip)) for clip in hidden.all(2)]
    assert all(len(runs(clip)) <= 1 for clip in hidden.all(2))
    assert (min(widths), max(widths)) == (0, 8)
    assert hidden.all(2).any(0).all()  # every bin is hidden in some clip
    assert torch.equal(changed[~hidden], batch[~hidden])


def test_time_masks_stay_within_the_valid_frames():
    batch = spectra()
    lengths = torch.full((300,), 60)
    changed = augment.TimeMasking(20)(batch, lengths, seeded())
    hidden = (changed == 0).all(1)
    assert not hidden[:, 60:].any()
    assert hidden[:, :60].any(0).all()
    widths = [sum(runs(clip)) for clip in hidden]
    assert (min(widths), max(widths)) == (0, 20)


@pytest.mark.parametrize(("p", "widest"), [(0.1, 6), (0.0, 0), (1.0, 60)])
def test_time_masks_are_at_most_a_fraction_of_the_valid_frames(p, widest):
    lengths = torch.full((300,), 60)
    changed = augment.TimeMasking(99, p=p)(spectra(), lengths, seeded())
    widths = [sum(runs(clip)) for clip in (changed == 0).all(1)]
    assert max(widths) == widest


def test_masks_take_the_mean_of_the_valid_part():
    batch = spectra(20)
    lengths = torch.full((20,), 50)
    change = augment.SpecAugment(W=0, F=10, mF=2, T=20, mT=2)
    changed = change(batch, lengths, seeded())
    assert torch.equal(changed[:, :, 50:], batch[:, :, 50:])
    for clip, original in zip(changed[:, :, :50], batch[:, :, :50], strict=True):
        hidden = clip != original
        assert hidden.any()
        torch.testing.assert_close(clip[hidden], original.mean().expand(int(hidden.sum())))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_mean_is_that_of_the_values_whatever_their_type(dtype):
    # the sum of a clip is -320,000, far beyond float16, and bfloat16 has 8 digits
    batch = (spectra(20) - 81.0).to(dtype)
    change = augment.SpecAugment(W=0, F=10, mF=2, T=20, mT=2)
    changed = change(batch, generator=seeded())
    for clip, original in zip(changed, batch, strict=True):
        hidden = clip != original
        assert hidden.any()
        assert (clip[hidden] == original.double().mean().to(dtype)).all()


def test_several_masks_are_drawn():
    change = augment.SpecAugment(W=0, F=3, mF=2, T=0, mT=0, fill="zero")
    hidden = (change(spectra(), generator=seeded()) == 0).all(2)
    assert max(len(runs(clip)) for clip in hidden) == 2


def test_warping_moves_frames_and_keeps_the_ends():
    ramp = torch.arange(float(N_FRAMES)).expand(200, 1, N_FRAMES)
    change = augment.SpecAugment(W=10, F=0, mF=0, T=0, mT=0)
    warped = change(ramp, torch.full((200,), 80), seeded())[:, 0]
    assert torch.equal(warped[:, 80:], ramp[:, 0, 80:])
    assert torch.equal(warped[:, 0], torch.zeros(200))
    torch.testing.assert_close(warped[:, 79], torch.full((200,), 79.0))
    assert (warped[:, :80].diff(dim=1) >= 0).all()
    furthest = (warped - ramp[:, 0]).abs().amax(1)
    # a frame at t lands at t + w: there the ramp reads w less
    assert furthest.max() <= 10
    assert furthest.max() > 8
    assert furthest.min() < 1


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_short_clips_are_masked_within_themselves(n_frames):
    batch = spectra(8)[:, :, :n_frames]
    changed = augment.SpecAugment(fill="zero")(batch, generator=seeded())
    assert changed.shape == batch.shape
    assert changed.isfinite().all()


def test_a_spectrogram_does_not_depend_on_its_neighbours():
    batch = spectra(6)
    lengths = torch.tensor([100, 50, 30, 100, 10, 1])
    draws = augment.Draws.keyed(1, torch.arange(6))
    change = augment.SpecAugment()
    together, _ = change.augment(batch, lengths, draws)
    again = augment.Draws.keyed(1, torch.arange(6))
    alone, _ = change.augment(batch[2:4], lengths[2:4], again[2:4])
    assert torch.equal(together[2:4], alone)


def test_mixup_mixes_neighbours_and_their_labels_alike():
    batch = torch.eye(5)
    mixed, targets = augment.Mixup()(batch, torch.eye(5), seeded())
    assert torch.equal(mixed, targets)
    torch.testing.assert_close(targets.sum(1), torch.ones(5))
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        assert targets[i, i] + targets[i, j] == 1
        assert 0 < targets[i, i] < 1
    assert targets[4, 4] == 1


def test_the_proportions_follow_the_beta_distribution():
    n = 4000
    targets = torch.eye(2).repeat(n // 2, 1)
    _, mixed = augment.Mixup(alpha=0.2)(torch.zeros(n, 1), targets, seeded())
    share = (mixed * targets).sum(1)
    # the variance of Beta(a, a) is 1 / (8 a + 4); five standard errors
    variance = 1 / (8 * 0.2 + 4)
    assert abs(share.mean() - 0.5) < 5 * (variance / n) ** 0.5
    assert abs(share.var() - variance) < 5 * 0.25 / n**0.5


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
def test_mixup_mixes_whole_numbers_as_it_mixes_fractions(dtype):
    # an odd one is left over
    batch, one_hot = torch.eye(5), torch.eye(5).to(dtype)
    _, targets = augment.Mixup()(batch, one_hot, seeded())
    assert targets.dtype == torch.get_default_dtype()
    assert torch.equal(targets, augment.Mixup()(batch, torch.eye(5), seeded())[1])


def test_mixup_does_nothing_in_evaluation():
    batch, targets = torch.eye(4), torch.eye(4)
    assert augment.Mixup().eval()(batch, targets) == (batch, targets)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: augment.SpecAugment(W=-1), "W must be at least 0, got -1"),
        (lambda: augment.SpecAugment(p=2), r"p must be in \[0, 1\], got 2"),
        (lambda: augment.SpecAugment(fill="max"), "fill must be mean or zero, got 'max'"),
        (lambda: augment.SpecAugment()(torch.zeros(2, 9)), r"\(batch, freq, time\), got"),
        (lambda: augment.Mixup(0), r"alpha must be in \[0.001, 1000\], got 0"),
        (
            lambda: augment.Mixup()(torch.zeros(2, 9), torch.zeros(2)),
            r"targets must have shape \(2, n_classes\), got \(2,\)",
        ),
        (
            lambda: augment.Mixup()(torch.zeros(2, 9, dtype=torch.int16), torch.eye(2)),
            r"batch must be floating point or complex of shape .*, got torch\.int16",
        ),
        (
            lambda: augment.Mixup()(torch.zeros(2, 9), [[0, 1], [1, 0]]),
            r"targets must be a torch\.Tensor, got list",
        ),
        (
            lambda: augment.Mixup()([[0.0], [1.0]], torch.eye(2)),
            r"batch must be a torch\.Tensor, got list",
        ),
    ],
)
def test_wrong_settings_are_named(build, text):
    with pytest.raises(ParameterError, match=text):
        build()
