"""Converting with a trained basis: the numbers, the store, and what is refused."""

from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import soundfile
import torch

from specctl import convert_audio, load_basis, open_store
from specctl.convert import Control, Options, Stopped
from specctl.convert.compute_torch import torch_computer
from specctl.convert.settings import ConvertConfig
from specctl.errors import BasisError, ParameterError, StoreError
from specctl.store.verify import verify_store
from specctl.transforms import MelSpectrogram, Spectrogram
from tests.convert.audio_files import RATE, corpus, noise, write, write_noise
from tests.convert.commands import assert_same, invoke, run

MEL = {"sample_rate": RATE, "n_fft": 256, "hop_length": 100, "n_mels": 20}
# float32 in dB over sums of 256 products
DECIBEL_TOLERANCE = 1e-3


@pytest.fixture
def folder(tmp_path):
    return corpus(tmp_path / "in", 5)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "o.h5"


def basis_file(tmp_path, *names, name="b.safetensors", amount=0.05, **settings):
    """A basis whose named weights were moved, and the transform it belongs to."""
    transform = MelSpectrogram(**{**MEL, **settings}, trainable=names)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in transform.parameters():
            size = amount * weight.abs().max()
            weight.add_(size * torch.rand(weight.shape, generator=generator))
    path = tmp_path / name
    transform.save_basis(path, classes=["a", "b"], verdict={"sentence": "it helped"})
    return path, transform


def options(path, **others):
    return Options(workers=0, basis=str(path), **others)


def wanted(transform, path):
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    with torch.no_grad():
        return transform(torch.from_numpy(samples.mean(axis=1))).numpy()


@pytest.mark.parametrize(
    "names", [("basis",), ("frequencies", "mel"), ("window",), ("mel",), ("basis", "mel")]
)
def test_values_are_those_of_the_trained_transform(tmp_path, folder, store, names):
    path, transform = basis_file(tmp_path, *names)
    convert_audio(folder, store, options=options(path))
    with open_store(store) as opened:
        assert len(opened) > 0
        for key in opened:
            found = wanted(transform, folder / key)
            assert opened[key].shape == found.shape
            assert np.abs(opened[key] - found).max() <= DECIBEL_TOLERANCE
        plain = MelSpectrogram(**MEL)
        assert np.abs(opened[key] - wanted(plain, folder / key)).max() > 100 * DECIBEL_TOLERANCE
    assert not verify_store(store)


def test_the_store_holds_the_basis(tmp_path, folder, store):
    path, transform = basis_file(tmp_path, "basis", "mel")
    convert_audio(folder, store, options=options(path))
    given = load_basis(path)
    with open_store(store) as opened:
        assert opened.config["basis"] == given.fingerprint() == opened.basis.fingerprint()
        assert opened.basis.trained == ("basis", "mel")
        assert opened.basis.metadata == given.metadata
        again = MelSpectrogram.from_basis(opened.basis)
        with pytest.raises(ParameterError, match=r"trained basis; use from_basis\(store\.basis\)"):
            MelSpectrogram.from_config(opened.config)
    assert torch.equal(again.mel, transform.mel)
    with h5py.File(store) as file:
        assert file.attrs["format_version"] == 1
        assert np.array_equal(file["basis/basis"][:], given.basis)


def test_an_untrained_basis_gives_the_ordinary_store(tmp_path, folder, store):
    path, _ = basis_file(tmp_path)
    ordinary = store.with_name("ordinary.h5")
    convert_audio(folder, store, options=options(path))
    convert_audio(folder, ordinary, options=Options(workers=0), feature="mel", **MEL)
    assert_same(store, ordinary)
    with open_store(store) as opened:
        assert opened.basis is None


def test_rows_that_were_never_fourier_are_used_though_nothing_was_trained(tmp_path, store):
    transform = MelSpectrogram(**MEL, init="mel-fourier")
    transform.save_basis(tmp_path / "b.safetensors")
    source = write_noise(tmp_path / "a.wav")
    convert_audio(source, store, options=options(tmp_path / "b.safetensors"))
    with open_store(store) as opened:
        assert np.abs(opened[source.name] - wanted(transform, source)).max() <= DECIBEL_TOLERANCE


def test_a_spectrogram_of_trained_frequencies_says_where_its_bins_are(tmp_path, store):
    transform = Spectrogram(sample_rate=RATE, n_fft=64, hop_length=30, trainable=("frequencies",))
    with torch.no_grad():
        transform.frequencies.add_(0.25)
    transform.save_basis(tmp_path / "b.safetensors")
    convert_audio(
        write_noise(tmp_path / "a.wav"), store, options=options(tmp_path / "b.safetensors")
    )
    with open_store(store) as opened:
        np.testing.assert_allclose(opened.frequency, (np.arange(33) + 0.25) * RATE / 64, rtol=1e-6)


def test_long_files_are_normalised_as_a_whole(tmp_path, store, monkeypatch):
    path, transform = basis_file(tmp_path, "pcen", scale="pcen", amount=0.01)
    source = write(tmp_path / "a.wav", noise(60_000, 1, seed=3), RATE, subtype="FLOAT")
    monkeypatch.setattr("specctl.convert.tiles._TILE_SAMPLES", 8000, raising=True)
    convert_audio(source, store, options=options(path))
    with open_store(store) as opened:
        found, expected = opened[source.name], wanted(transform, source)
        assert found.shape == expected.shape
        # running means that begin anew at every tile would be off by far more
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
        assert opened.attributes["long_name"].endswith("energy normalised")


@pytest.mark.parametrize("scale", ["pcen", "db", "none"])
def test_bands_below_zero_mean_the_same_in_a_store(tmp_path, store, scale):
    transform = MelSpectrogram(**MEL, scale=scale, trainable=("mel",))
    with torch.no_grad():
        transform.mel[3].neg_()
    transform.save_basis(tmp_path / "b.safetensors")
    source = write_noise(tmp_path / "a.wav")
    convert_audio(source, store, options=options(tmp_path / "b.safetensors"))
    with open_store(store) as opened:
        found = opened[source.name]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, wanted(transform, source), rtol=1e-4, atol=1e-5)


def test_conversions_in_threads_have_running_means_of_their_own():
    config = ConvertConfig.resolve(**MEL, scale="pcen")
    computer = torch_computer(config, "cpu", "auto", None, None, 1)
    quiet, loud = (
        torch.from_numpy(np.random.default_rng(0).random((20, 50), np.float32)) * level
        for level in (1e-3, 1.0)
    )
    alone = [computer.rows(quiet, None, is_first) for is_first in (True, False)]
    beside = [computer.rows(quiet, None)]
    with ThreadPoolExecutor(1) as other:
        other.submit(computer.rows, loud, None).result()
    beside.append(computer.rows(quiet, None, is_first=False))
    np.testing.assert_array_equal(beside, alone)


def test_the_ordinary_pcen_needs_no_file(tmp_path, store):
    source = write_noise(tmp_path / "a.wav")
    convert_audio(source, store, options=Options(workers=0), scale="pcen", **MEL)
    with open_store(store) as opened:
        found = opened[source.name]
    np.testing.assert_allclose(
        found, wanted(MelSpectrogram(**MEL, scale="pcen"), source), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_pcen_is_stored_as_it_is(tmp_path, store, dtype):
    with pytest.raises(ParameterError, match="dtype must be float32 with scale 'pcen'"):
        convert_audio(write_noise(tmp_path / "a.wav"), store, scale="pcen", dtype=dtype)


def test_trained_values_fit_the_stored_type(tmp_path, store):
    path, transform = basis_file(tmp_path, "basis", "mel", amount=1.0)
    full_scale = np.sign(noise(4000, 1, seed=2))
    source = write(tmp_path / "a.wav", full_scale, RATE, subtype="FLOAT")
    convert_audio(source, store, options=options(path), dtype="int16")
    with open_store(store) as opened:
        off = np.abs(opened[source.name] - wanted(transform, source)).max()
        assert off <= opened.layout.max_error + DECIBEL_TOLERANCE


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_fft": 512}, "n_fft must be 256, that of the basis, got 512"),
        ({"sample_rate": 8000}, "sample_rate must be 16000, that of the basis, got 8000"),
        ({"scale": "ln"}, "scale must be db, that of the basis, got ln"),
        ({"preset": "librosa"}, "preset has no effect with a basis"),
    ],
)
def test_settings_that_contradict_the_basis_are_refused(tmp_path, store, settings, message):
    path, _ = basis_file(tmp_path, "basis")
    with pytest.raises(ParameterError, match=message):
        convert_audio(write_noise(tmp_path / "a.wav"), store, options=options(path), **settings)
    assert not list(store.parent.iterdir())


@pytest.mark.parametrize("given", [{"sample_rate": "auto"}, {"n_fft": 256}, {"segment": 0.05}])
def test_settings_that_agree_or_that_a_basis_does_not_have_may_be_given(tmp_path, store, given):
    path, _ = basis_file(tmp_path, "basis")
    convert_audio(write_noise(tmp_path / "a.wav"), store, options=options(path), **given)
    assert not verify_store(store)


def test_another_basis_is_refused_by_a_finished_and_by_an_updated_store(tmp_path, folder, store):
    path, _ = basis_file(tmp_path, "basis")
    other, _ = basis_file(tmp_path, "basis", name="other.safetensors", amount=0.06)
    convert_audio(folder, store, options=options(path))
    with pytest.raises(StoreError, match="other settings: basis [0-9a-f]{64} there, "):
        convert_audio(folder, store, options=options(other))
    with pytest.raises(StoreError, match="other settings: basis"):
        convert_audio(folder, store, options=Options(workers=0), feature="mel", **MEL)
    write_noise(folder / "new.wav")
    with pytest.raises(StoreError, match="other settings: basis"):
        convert_audio(folder, store, options=options(other, update=True))
    summary = convert_audio(folder, store, options=options(path, update=True))
    assert summary.n_converted == 1
    assert not verify_store(store)
    with open_store(store) as opened:
        assert opened.basis is not None


def stopped(folder, store, path, monkeypatch):
    """Leave an unfinished conversion behind."""
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
    control = Control()

    def look(progress):
        if progress.stage == "converting" and progress.n_done >= 2:
            control.stop()

    with pytest.raises(Stopped):
        convert_audio(folder, store, options=options(path), progress=look, control=control)


def test_an_unfinished_store_goes_on_with_the_same_basis_only(
    tmp_path, folder, store, monkeypatch
):
    path, _ = basis_file(tmp_path, "basis")
    other, _ = basis_file(tmp_path, "basis", name="other.safetensors", amount=0.06)
    stopped(folder, store, path, monkeypatch)
    with pytest.raises(StoreError, match="unfinished conversion with other settings: basis"):
        convert_audio(folder, store, options=options(other))
    # a copy elsewhere is the same basis
    moved = path.rename(tmp_path / "moved.safetensors")
    summary = convert_audio(folder, store, options=options(moved))
    assert summary.n_resumed > 0
    whole = store.with_name("whole.h5")
    convert_audio(folder, whole, options=options(moved))
    assert_same(store, whole)


def test_a_basis_that_changes_under_way_is_noticed(tmp_path, folder, store):
    path, _ = basis_file(tmp_path, "basis")
    other, _ = basis_file(tmp_path, "basis", name="other.safetensors", amount=0.06)
    from specctl.basis.ordinary import checked_basis

    before = load_basis(path)
    fingerprint, config = before.fingerprint(), before.config
    assert checked_basis(str(path), fingerprint, config).trained == ("basis",)
    other.replace(path)
    with pytest.raises(BasisError, match="has changed since the conversion began"):
        checked_basis(str(path), fingerprint, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("value", "/basis is not the one that its settings name"),
        ("missing", "its settings name a basis, /basis is missing"),
        ("renamed", "/basis: mel must be an array"),
        ("hash", "/basis is not the one that its settings name"),
    ],
)
def test_verify_finds_a_basis_that_is_not_the_one_that_was_stored(
    tmp_path, store, change, message
):
    path, _ = basis_file(tmp_path, "basis")
    convert_audio(write_noise(tmp_path / "a.wav"), store, options=options(path))
    fingerprint = load_basis(path).fingerprint().encode()
    with h5py.File(store, "r+") as file:
        if change == "value":
            file["basis/basis"][3, 4] += 1
        elif change == "missing":
            del file["basis"]
        elif change == "renamed":
            file.move("basis/mel", "basis/lem")
        else:
            config = file.attrs["config"].replace(fingerprint, b"0" * 64)
            file.attrs.modify("config", np.bytes_(config))
    problems = [problem.message for problem in verify_store(store)]
    assert any(message in problem for problem in problems)


def test_a_basis_that_links_elsewhere_is_refused(tmp_path, store):
    path, _ = basis_file(tmp_path, "basis")
    convert_audio(write_noise(tmp_path / "a.wav"), store, options=options(path))
    with h5py.File(store, "r+") as file:
        del file["basis"]
        file["basis"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(StoreError, match="is a link to elsewhere; refused"):
        open_store(store)


def test_workers_and_the_command_line_give_the_same_store(tmp_path, folder, store):
    path, _ = basis_file(tmp_path, "basis")
    convert_audio(folder, store, options=options(path))
    by_command = store.with_name("command.h5")
    done = run(folder, by_command, "--basis", path, "--workers", 2, "--verbose")
    assert done.returncode == 0, done.stderr
    assert "kernel conv" in done.stdout + done.stderr
    assert_same(store, by_command)


def test_a_file_that_is_no_basis_is_one_line(tmp_path, folder, store):
    (tmp_path / "b").write_text("no basis")
    done = invoke(folder, store, "--basis", tmp_path / "b")
    assert done.returncode == 2
    assert "is not a specctl basis file" in done.stderr
    assert "Traceback" not in done.stderr
