"""The compiled transform on its own: every length, every number of lanes, both layouts."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from specctl import compiler
from specctl.kernels.native import plan
from specctl.kernels.native.program import Logarithm
from specctl.kernels.native.spectrogram import NativeSpectrogram, problem
from specctl.transforms import MelSpectrogram, Spectrogram

# of the largest value: float32 carries 24 bits, an FFT of this length loses three or four
TOLERANCE = 2e-6
LENGTHS = (32, 36, 40, 48, 64, 100, 128, 150, 182, 210, 256, 286, 400, 480, 512, 550, 1000, 1024)


def noise(n_samples, seed=0):
    values = np.random.default_rng(seed).standard_normal(n_samples)
    return values.astype(np.float32)


def window(n_fft):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def bands(n_mels, n_fft, seed=1):
    """Overlapping triangles of random heights, the last one empty."""
    weights = np.zeros((n_mels, n_fft // 2 + 1), np.float32)
    rng = np.random.default_rng(seed)
    for band in range(n_mels - 1):
        first = band * (weights.shape[1] - 3) // n_mels
        weights[band, first : first + 3] = rng.uniform(0.1, 1, 3)
    return weights


def frames_of(samples, n_fft, hop_length):
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), n_fft)
    return frames[::hop_length]


def complex_of(values):
    return values[..., 0] + 1j * values[..., 1]


@pytest.mark.parametrize(
    ("n_fft", "lanes"),
    [
        pytest.param(n_fft, lanes, marks=[] if is_needed else pytest.mark.thorough)
        for place, n_fft in enumerate(LENGTHS)
        for turn, lanes in enumerate((4, 8, 16))
        # 210 and 286 have all odd factors between them
        for is_needed in [n_fft in (210, 286) or place % 3 == turn]
    ],
)
def test_every_length_equals_numpys_fft_in_float64(n_fft, lanes):
    samples = noise(n_fft + 40 * 13)
    spectrogram = NativeSpectrogram(window(n_fft), 13, power=None, lanes=lanes)
    wanted = np.fft.rfft(frames_of(samples, n_fft, 13) * window(n_fft)).T
    off = np.abs(complex_of(spectrogram(samples)) - wanted)
    assert off.max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize("n_fft", [2048, 4410, 8192, 2**16])
def test_long_transforms_equal_numpys_fft(n_fft):
    samples = noise(n_fft + 3)
    spectrogram = NativeSpectrogram(window(n_fft), 1, power=2.0)
    wanted = np.abs(np.fft.rfft(frames_of(samples, n_fft, 1) * window(n_fft)).T) ** 2
    assert np.abs(spectrogram(samples) - wanted).max() <= 2 * TOLERANCE * wanted.max()


@pytest.mark.parametrize(
    ("power", "n_mels", "log"),
    [
        (None, None, None),
        (1.0, None, None),
        (2.0, None, Logarithm(10.0, 1e-10, 3.0)),
        (2.0, 7, None),
        (2.0, 80, Logarithm(10.0, 1e-10, 0.0)),
        (1.0, 21, Logarithm(20.0, 1e-5, 0.0)),
    ],
)
def test_no_number_depends_on_lanes_layout_or_place(power, n_mels, log):
    n_fft, hop_length = 100, 17
    samples = noise(n_fft + 100 * hop_length)
    mel = None if n_mels is None else bands(n_mels, n_fft)

    def made(lanes, layout):
        return NativeSpectrogram(
            window(n_fft), hop_length, power=power, mel=mel, log=log, layout=layout, lanes=lanes
        )

    wanted = made(4, "bins")(samples)
    for lanes, layout in ((4, "frames"), (8, "bins"), (8, "frames"), (16, "bins"), (16, "frames")):
        spectrogram = made(lanes, layout)
        for first, end in ((0, 101), (0, 1), (3, 5), (1, 50), (60, 101)):
            stretch = samples[first * hop_length : (end - 1) * hop_length + n_fft]
            got = spectrogram(stretch)
            got = got if layout == "bins" else got.swapaxes(0, 1)
            assert np.array_equal(got, wanted[:, first:end])


def test_writes_into_part_of_a_larger_array_and_nowhere_else():
    n_fft, hop_length = 64, 16
    samples = noise(n_fft + 36 * hop_length)
    spectrogram = NativeSpectrogram(window(n_fft), hop_length, power=2.0)
    larger = np.full((33, 60), np.nan, np.float32)
    spectrogram(samples, larger[:, 10:47])
    assert np.array_equal(larger[:, 10:47], spectrogram(samples))
    assert np.isnan(larger[:, :10]).all()
    assert np.isnan(larger[:, 47:]).all()


def test_logarithms_are_those_of_float64_over_the_whole_range():
    # frames of one cosine each, from far below the floor to near the largest float32
    n_fft = 64
    levels = np.logspace(-12, 17, 200)
    cosine = np.cos(2 * np.pi * 8 * np.arange(n_fft) / n_fft)
    samples = (levels[:, None] * cosine).astype(np.float32).reshape(-1)
    log = Logarithm(10.0, 1e-10, 7.0)
    plain = NativeSpectrogram(np.ones(n_fft), n_fft, power=2.0)(samples)
    got = NativeSpectrogram(np.ones(n_fft), n_fft, power=2.0, log=log)(samples)
    wanted = 10 * np.log10(np.maximum(plain.astype(np.float64), 1e-10)) - 7.0
    assert np.abs(got - wanted).max() <= 4e-5
    assert (got[plain < 1e-10] == np.float32(-107.0)).all()


def test_nan_and_infinity_stay_in_their_frames():
    n_fft = 64
    samples = noise(n_fft * 20)
    samples[5 * n_fft] = np.nan
    samples[9 * n_fft + 3] = np.inf
    log = Logarithm(10.0, 1e-10, 0.0)
    spec = NativeSpectrogram(
        np.ones(n_fft), n_fft, power=2.0, mel=bands(9, n_fft), log=log, lanes=8
    )(samples)
    is_finite = np.isfinite(spec).all(axis=0)
    assert np.flatnonzero(~is_finite).tolist() == [5, 9]
    assert np.isnan(spec[:-1, 5]).all()


def test_threads_may_share_one():
    spectrogram = NativeSpectrogram(window(256), 64, power=2.0)
    signals = [noise(50_000, seed) for seed in range(4)]
    wanted = [spectrogram(samples) for samples in signals]
    got = [None] * 4

    def compute(number):
        for _ in range(20):
            got[number] = spectrogram(signals[number])

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(left, right) for left, right in zip(got, wanted, strict=True))


@pytest.mark.parametrize(
    ("n_fft", "power", "reason"),
    [
        (401, 2.0, "n_fft is odd: 401"),
        (30, 2.0, "n_fft is outside [32, 65536]: 30"),
        (2**17, 2.0, "n_fft is outside"),
        (34 * 17, 2.0, "n_fft has a prime factor above 13: 578"),
        (400, 1.5, "the power of the magnitude is 1.5, not 1 or 2"),
    ],
)
def test_says_what_it_cannot_do(n_fft, power, reason):
    assert reason in problem(n_fft, power)


def test_places_are_a_permutation_for_every_length():
    for n_fft in range(32, 1200, 2):
        if plan.problem(n_fft) is None:
            places = plan.Plan.of(n_fft, 8).places()
            assert sorted(places) == list(range(n_fft // 2))


def test_the_code_suits_the_processor():
    processor = compiler.host()
    assert processor.lanes in (4, 8, 16)
    assert processor.longest_butterfly in (4, 8)


def test_needs_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from specctl.kernels.native.spectrogram import NativeSpectrogram\n"
        "NativeSpectrogram(np.ones(64), 16, power=2.0)(np.zeros(1000, np.float32))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_all_cores_give_the_numbers_of_one():
    transform = MelSpectrogram(sample_rate=8000, n_fft=256, hop_length=16, n_mels=20)
    waveform = torch.from_numpy(noise(3 * 80_000).reshape(3, -1))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        wanted = transform(waveform)
        torch.set_num_threads(4)
        assert torch.equal(transform(waveform), wanted)
    finally:
        torch.set_num_threads(before)


def test_changed_weights_are_seen():
    transform = Spectrogram(sample_rate=8000, n_fft=64, hop_length=16, feature="magnitude")
    waveform = torch.from_numpy(noise(1000))
    before = transform(waveform)
    transform.window.mul_(2.0)
    torch.testing.assert_close(transform(waveform), 2 * before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_computes_too():
    transform = Spectrogram(sample_rate=8000, n_fft=64, hop_length=1)
    waveform = torch.from_numpy(noise(4000))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        wanted = transform(waveform)
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)  # as DataLoader does; torch's own threads do not survive
            same = torch.equal(transform(waveform), wanted)
            os._exit(0 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(before)


def test_compiled_code_lives_as_long_as_what_runs_it():
    wave = noise(320)
    held = NativeSpectrogram(window(32), 8, power=2.0)
    spec = held(wave)
    # more programs than are kept for those who ask for the same again
    for place in range(20):
        log = Logarithm(10.0, 1e-10, float(place))
        NativeSpectrogram(window(32), 8, power=2.0, log=log, lanes=4)
    np.testing.assert_array_equal(held(wave), spec)
