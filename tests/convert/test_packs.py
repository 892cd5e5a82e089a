"""What a GPU does, several tiles in one pack, done here on a CPU: the same numbers come out."""

from dataclasses import replace
from weakref import WeakSet

import numpy as np
import pytest
import torch

from specctl import convert_audio, open_store
from specctl.convert import ConvertConfig, Options, compute_torch, work
from specctl.convert.compute_torch import TorchComputer
from specctl.convert.settings import GivenSettings
from specctl.errors import AudioError
from specctl.store.verify import verify_store
from specctl.transforms import transform_for
from tests.convert.audio_files import RATE, bad_files, corpus, noise, write

HERE = Options(workers=0)
CPU = torch.device("cpu")
STFT = {"n_fft": 512, "hop_length": 100, "n_mels": 20}
TOLERANCE = 1e-5
"""Relative; the last bits of a matrix product depend on how many rows it has."""


class PackingComputer(TorchComputer):
    """Makes packs on a CPU; memory is short for packs of more than ``most`` tiles."""

    most = 10**9
    sizes: list[int]
    n_samples: list[int]

    def __init__(self, transform, budget):
        super().__init__(transform, CPU, budget)
        self.sizes, self.n_samples = [], []
        # from here on the class believes in a GPU, but for the making of packs
        self.device = torch.device("cuda")

    def _packed(self, tiles):
        if len(tiles) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(tiles))
        config = self.transform.config
        hops = sum(-(-len(tile) // config.hop_length) for tile in tiles)
        self.n_samples.append(hops * config.hop_length + config.n_fft)
        self.device = CPU
        try:
            return super()._packed(tiles)
        finally:
            self.device = torch.device("cuda")


@pytest.fixture
def packing(monkeypatch):
    """A function that makes conversions use packs of so many bytes; returns the computers."""
    made = []

    def use(budget, most=PackingComputer.most):
        def computer(config, device, kernel, basis, vram_budget, n_sharing):
            transform = transform_for(config.spectrogram, kernel=kernel).requires_grad_(False)
            made.append(PackingComputer(transform, budget))
            made[-1].most = most
            return made[-1]

        monkeypatch.setattr(work, "_computer", computer)
        return made

    return use


@pytest.mark.parametrize("kernel", ["fft", "conv"])
@pytest.mark.parametrize("feature", ["complex", "magnitude", "mel", "mfcc"])
@pytest.mark.parametrize("hop_length", [1, 100, 128, 512, 700])
def test_packed_tiles_are_those_computed_alone(feature, hop_length, kernel):
    config = ConvertConfig.resolve(
        sample_rate=RATE, feature=feature, n_fft=512, hop_length=hop_length
    ).spectrogram
    transform = transform_for(config, kernel=kernel).requires_grad_(False)
    computer = TorchComputer(transform, CPU, 0)
    lengths = [512, 513, 5000, 1024, 700, 511 + hop_length, 512 + hop_length]
    tiles = [noise(n, seed=n)[:, 0] for n in lengths]
    packed = computer._packed(tiles)
    for tile, spec in zip(tiles, packed, strict=True):
        (alone,) = computer.spectra([tile])
        assert spec.shape == alone.shape
        exact = kernel == "fft" and config.n_mels is None
        atol = 0 if exact else TOLERANCE * alone.abs().max().item()
        torch.testing.assert_close(spec, alone, rtol=0, atol=atol)


def assert_near(store, wanted):
    with open_store(store) as left, open_store(wanted) as right:
        assert list(left) == list(right)
        assert left.failures == right.failures
        for key, values in right.items():
            np.testing.assert_allclose(left[key], values, rtol=0, atol=100 * TOLERANCE)
        assert [replace(record, digest="") for record in left.records] == [
            replace(record, digest="") for record in right.records
        ]
    assert verify_store(store) == []


@pytest.mark.parametrize(
    "job",
    [{}, {"ref": "max", "top_db": 40.0}, {"segment": 0.5}, {"channels": "each"}],
    ids=["whole", "peaks", "segments", "channels"],
)
@pytest.mark.parametrize("budget", [1, 2**20, 2**30], ids=["each", "some", "all"])
def test_a_store_does_not_depend_on_packs(tmp_path, packing, job, budget):
    folder = corpus(tmp_path / "in", 9)
    bad_files(folder / "xx", tmp_path)
    write(folder / "y" / "stereo.wav", noise(RATE, 2), subtype="FLOAT")
    settings = {**STFT, "sample_rate": RATE, **job}
    convert_audio(folder, tmp_path / "alone.h5", options=HERE, **settings)
    computers = packing(budget)
    convert_audio(folder, tmp_path / "packed.h5", options=HERE, **settings)
    assert_near(tmp_path / "packed.h5", tmp_path / "alone.h5")
    sizes = [size for computer in computers for size in computer.sizes]
    assert max(sizes) > 1 or budget == 1


@pytest.mark.parametrize("hop_length", [100, 700])
def test_no_pack_is_larger_than_its_memory_but_that_of_one_large_file(
    hop_length, tmp_path, packing, monkeypatch
):
    most = 2**15
    monkeypatch.setattr(compute_torch, "_MOST_PACKED", most)
    for number, n_samples in enumerate([*range(6000, 12_000, 500), most, 8000, 700]):
        write(tmp_path / "in" / f"{number:02d}.wav", noise(n_samples, seed=number))
    computers = packing(2**30)
    settings = {**STFT, "hop_length": hop_length}
    convert_audio(tmp_path / "in", tmp_path / "o.h5", options=HERE, **settings)
    (computer,) = computers
    packs = list(zip(computer.n_samples, computer.sizes, strict=True))
    assert [size for n_samples, size in packs if n_samples > most] == [1]
    assert max(computer.sizes) > 2


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_packs_are_halved_when_memory_is_short(tmp_path, packing, most):
    folder = corpus(tmp_path / "in", 20)
    convert_audio(folder, tmp_path / "alone.h5", options=HERE, **STFT)
    computers = packing(2**30, most)
    convert_audio(folder, tmp_path / "short.h5", options=HERE, **STFT)
    assert_near(tmp_path / "short.h5", tmp_path / "alone.h5")
    (computer,) = computers
    assert sum(computer.sizes) == 20
    assert max(computer.sizes) <= most


def test_a_file_for_which_memory_never_suffices_fails_alone(tmp_path, packing):
    folder = corpus(tmp_path / "in", 5)
    packing(2**30, most=0)
    with pytest.raises(AudioError, match="none of 5 files could be converted; .*memory"):
        convert_audio(folder, tmp_path / "o.h5", options=HERE, **STFT)
    assert not (tmp_path / "o.h5.parts").exists()


class LeavingComputer(PackingComputer):
    """Holds something on the device whenever it computes; there is room for one at a time."""

    def __init__(self, transform, budget):
        super().__init__(transform, budget)
        self.held = WeakSet()

    def _packed(self, tiles):
        on_device = torch.zeros(1)
        self.held.add(on_device)
        if len(self.held) > 1 or len(tiles) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._packed(tiles)


def test_a_pack_that_was_too_large_is_gone_before_a_smaller_one_is_tried():
    transform = transform_for(GivenSettings(STFT).resolve(RATE).spectrogram)
    computer = LeavingComputer(transform, 2**30)
    tiles = [noise(600 + n, seed=n)[:, 0] for n in range(5)]
    assert len(computer.spectra(tiles)) == 5


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "CUDA out of memory"])
def test_memory_that_runs_out_at_the_end_costs_one_file(monkeypatch, words):
    transform = transform_for(GivenSettings(STFT).resolve(RATE).spectrogram)
    computer = PackingComputer(transform, 2**30)
    (spec,) = computer.spectra([noise(5000)[:, 0]])

    def short(*_):
        raise RuntimeError(words)

    monkeypatch.setattr(transform, "finish_stretch", short)
    with pytest.raises(MemoryError, match="not enough memory on the device"):
        computer.rows(spec, None)


@pytest.mark.parametrize(("kernel", "n_packs"), [("fft", 1), ("conv", 3)])
def test_products_scale_tiles_of_one_loudness_together(kernel, n_packs):
    transform = transform_for(GivenSettings(STFT).resolve(RATE).spectrogram, kernel=kernel)
    computer = PackingComputer(transform, 2**30)
    tiles = [noise(600 + n, seed=n)[:, 0].clip(-0.5, 0.5) for n in range(5)]
    tiles[1], tiles[3] = np.float32(1e12) * tiles[1], np.float32(1e-6) * tiles[3]
    loud = [np.abs(tile).max() for tile in tiles]
    spectra = computer.spectra(tiles)
    assert len(computer.sizes) == n_packs
    # each in its own place
    for tile, spec in zip(tiles, spectra, strict=True):
        (alone,) = computer.spectra([tile])
        torch.testing.assert_close(spec, alone, rtol=0, atol=1e-3)
    assert loud == [np.abs(tile).max() for tile in tiles]


def test_a_transform_is_built_where_it_runs(monkeypatch):
    built = []

    def from_config(*_, **__):
        built.append(torch.empty(0).device)
        raise ZeroDivisionError

    monkeypatch.setattr(compute_torch.Transform, "from_config", from_config)
    config = ConvertConfig.resolve(sample_rate=RATE, **STFT)
    with pytest.raises(ZeroDivisionError):
        # a device that is always there, and is not the default one
        compute_torch.torch_transform(config, "meta", "fold", None)
    assert built == [torch.device("meta")]


@pytest.mark.parametrize(
    "job",
    [{"kernel": "conv"}, {"kernel": "conv", "feature": "mfcc"}, {"scale": "pcen"}, {"power": 1.5}],
    ids=["conv", "mfcc", "pcen", "power"],
)
def test_another_default_device_is_not_that_of_a_conversion(job, tmp_path):
    folder = corpus(tmp_path / "in", 3)
    settings = {**STFT, **job}
    options = Options(workers=0, kernel=settings.pop("kernel", "auto"))
    convert_audio(folder, tmp_path / "here.h5", options=options, **settings)
    work._computer.cache_clear()
    with torch.device("meta"):
        convert_audio(folder, tmp_path / "there.h5", options=options, **settings)
    with open_store(tmp_path / "here.h5") as here, open_store(tmp_path / "there.h5") as there:
        assert len(there) == 3
        assert all(np.array_equal(here[key], there[key]) for key in here)


@pytest.mark.parametrize("kernel", ["fft", "conv"])
def test_another_default_device_is_not_that_of_a_pack(kernel):
    transform = transform_for(GivenSettings(STFT).resolve(RATE).spectrogram, kernel=kernel)
    computer = PackingComputer(transform.requires_grad_(False), 2**30)
    tiles = [noise(600 + n, seed=n)[:, 0] for n in range(3)]
    wanted = computer.spectra(tiles)
    with torch.device("meta"):
        found = computer.spectra(tiles)
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


def test_the_budget_covers_a_packs_samples_and_their_rows():
    config = GivenSettings(STFT).resolve(RATE).spectrogram
    computer = TorchComputer(transform_for(config), CPU, 10**6)
    per_sample = 4 + 3 * 4 * 20 / 100
    assert computer.pack_samples == pytest.approx(10**6 / per_sample, rel=0.1)


def test_a_pack_does_not_grow_with_the_memory_of_the_device():
    config = GivenSettings(STFT).resolve(RATE).spectrogram
    large, larger = (TorchComputer(transform_for(config), CPU, n * 2**30) for n in (24, 140))
    # with the end of its last frame no more than a power of two, which torch would round up to
    assert large.pack_samples == larger.pack_samples == 2**25 - 512


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_gives_what_the_cpu_gives(tmp_path):
    folder = corpus(tmp_path / "in", 9)
    for device in ("cpu", "cuda"):
        options = Options(workers=2, device=device)
        convert_audio(folder, tmp_path / f"{device}.h5", options=options, **STFT)
    with open_store(tmp_path / "cpu.h5") as cpu, open_store(tmp_path / "cuda.h5") as cuda:
        for key in cpu:
            torch.testing.assert_close(
                torch.from_numpy(cuda[key]), torch.from_numpy(cpu[key]), rtol=0, atol=1e-2
            )
