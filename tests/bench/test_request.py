import pytest

from specctl.bench import Request, Workload
from specctl.bench.request import SWEEPS
from specctl.cores import usable_cores
from specctl.errors import ParameterError


def settings(workload):
    return workload.sample_rate, workload.n_fft, workload.hop_length, workload.n_mels


def test_two_settings_of_log_mel_are_the_default():
    found = Request(threads="1").workloads("cpu")
    assert [settings(each) for each in found] == [(22050, 1024, 256, 80), (22050, 2048, 512, 128)]
    assert {(each.work, each.batch, each.seconds) for each in found} == {("mel", 1, 30.0)}


def test_threads_are_told_apart_on_a_cpu(monkeypatch):
    monkeypatch.setattr("specctl.bench.request.usable_cores", lambda: 8)
    assert [each.threads for each in Request(n_fft=512).workloads("cpu")] == [1, 8]
    assert [each.threads for each in Request(n_fft=512).workloads("cuda")] == [8]
    monkeypatch.setattr("specctl.bench.request.usable_cores", lambda: 1)
    assert [each.threads for each in Request(n_fft=512).workloads("cpu")] == [1]


def test_a_given_setting_is_the_only_one_and_the_hop_follows_n_fft():
    (found,) = Request(n_fft=512, threads="1").workloads("cpu")
    assert settings(found) == (22050, 512, 128, 80)
    (found,) = Request(n_fft=400, hop_length=160, sample_rate=16000, threads="1").workloads("cpu")
    assert settings(found) == (16000, 400, 160, 80)


def test_gpus_train_what_takes_others_tens_of_gigabytes():
    *_, last = Request(works=("train",)).workloads("cuda")
    assert (settings(last), last.batch, last.seconds) == ((22050, 2048, 128, 128), 64, 60.0)
    # real and imaginary part, magnitude and power of every frame; a step takes as much again
    assert 4 * 4 * 1025 * last.n_frames > 10e9
    others = (Request(works=("train",)).workloads("cpu"), Request().workloads("cuda"))
    assert all(each.hop_length > 128 for found in others for each in found)
    assert len(Request(works=("train",), n_fft=512).workloads("cuda")) == 1


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_changes_one_setting(name):
    found = Request(sweep=name, threads="1").workloads("cpu")
    assert tuple(getattr(each, name) for each in found) == SWEEPS[name]
    others = {"n_fft", "batch", "seconds", "n_mels"} - {name}
    assert all(len({getattr(each, other) for each in found}) == 1 for other in others)
    hops = {each.hop_length * 4 / each.n_fft for each in found}
    assert hops == {1.0}


def test_spectra_are_both_complex_and_magnitudes():
    found = Request(works=("stft",), n_fft=512, threads="1").workloads("cpu")
    assert [each.output for each in found] == ["complex", "magnitude"]
    assert {each.n_mels for each in found} == {None}


def test_verify_goes_through_all_that_is_computed():
    found = Request(verify=True).workloads("cpu")
    assert {each.work for each in found} == {"mel", "stft", "train"}
    assert {each.n_fft for each in found} == {400, 1024, 2048}
    assert {each.threads for each in found} == {usable_cores()}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"works": ("melody",)}, "work must be mel or stft or train or convert, got 'melody'"),
        ({"threads": "2"}, "threads must be 1 or all or both, got '2'"),
        ({"sweep": "hop"}, "sweep must be n_fft or batch or seconds or n_mels, got 'hop'"),
        ({"rounds": 1}, "rounds must be at least 2, got 1"),
        ({"budget": 0.0}, "budget must be positive and finite, got 0"),
        ({"sweep": "n_fft", "n_fft": 64}, "n_fft must not be given with sweep 'n_fft'"),
    ],
    ids=["work", "threads", "sweep", "rounds", "budget", "swept twice"],
)
def test_wrong_requests_are_refused(given, text):
    with pytest.raises(ParameterError) as error:
        Request(**given)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"batch": 0}, "batch must be positive, got 0"),
        ({"seconds": -1.0}, "seconds must be positive, got -1.0"),
        ({"n_fft": 1}, "n_fft must be greater than or equal to 2, got 1"),
        ({"n_mels": 0}, "n_mels must be greater than 0, got 0"),
    ],
    ids=["batch", "seconds", "n_fft", "n_mels"],
)
def test_wrong_settings_are_refused_before_anything_is_measured(given, text):
    with pytest.raises(ParameterError) as error:
        Request(**given).workloads("cpu")
    assert str(error.value) == text


def test_essential_bytes_are_inputs_and_outputs():
    mel = Workload("mel", "log-mel", 8000, 64, 16, 8, 2, 1.0, "cpu", 1)
    assert mel.n_frames == 2 * 501
    assert mel.essential_bytes == 2 * (4 * 8000 + 4 * 8 * 501)
    spectra = Workload("stft", "complex", 8000, 64, 16, None, 2, 1.0, "cpu", 1)
    assert spectra.essential_bytes == 2 * (4 * 8000 + 8 * 33 * 501)


def test_an_output_belongs_to_its_work():
    with pytest.raises(
        ParameterError, match="output of work 'mel' must be log-mel, got 'complex'"
    ):
        Workload("mel", "complex", 8000, 64, 16, None, 1, 1.0, "cpu", 1)
