"""Every contender that is installed gives, on small settings, what all should give."""

import pytest
import torch

from specctl.bench.audio import clips
from specctl.bench.checks import Gate
from specctl.bench.contenders import find_contender, listed_contenders
from specctl.bench.contenders.base import training_step
from specctl.bench.contenders.catalogue import all_contenders
from specctl.bench.results import Cell
from specctl.bench.workload import WORKS, Workload
from specctl.config import SpectrogramConfig
from specctl.errors import ParameterError
from specctl.kernels.base import Demand
from specctl.kernels.registry import KERNELS

# compiled for minutes in all, and the same pipeline as torch.stft
SLOW = {"torch.compile"}
CASES = [
    (each.name, work, output)
    for each in all_contenders("cpu")
    for work, outputs in WORKS.items()
    for output in outputs
    if work in each.works and "cpu" in each.devices and each.name not in SLOW
    if each.precision == "fp32" and not (each.is_optional and each.missing())
]
WITHOUT_WARNINGS = pytest.mark.filterwarnings("ignore")


def workload(work, output, **changes):
    n_mels = 20 if output == "log-mel" else None
    values = {
        "sample_rate": 8000,
        "n_fft": 256,
        "hop_length": 60,
        "n_mels": n_mels,
        "batch": 2,
        "seconds": 1.5,
    }
    return Workload(work, output, **{**values, **changes}, device="cpu", threads=1)


def prepared_or_skip(name, asked):
    contender = find_contender(name, "fp32", "cpu")
    reason = contender.missing() or contender.unsupported(asked)
    if reason is not None:
        pytest.skip(reason)
    return contender, contender.prepare(asked)


@WITHOUT_WARNINGS
@pytest.mark.parametrize(
    ("name", "work", "output"), CASES, ids=[", ".join(case) for case in CASES]
)
def test_settings_are_equal(name, work, output):
    asked = workload(work, output)
    contender, prepared = prepared_or_skip(name, asked)
    cell = Cell(name, "fp32", asked)
    try:
        with torch.no_grad():
            passed = Gate(asked, clips(asked)).check(contender, prepared, cell)
    finally:
        prepared.close()
    assert passed, cell.note
    assert cell.keeps_contract
    assert set(cell.max_db_error_by_level) >= {"0 to -20 dB", "-60 to -80 dB"}


@WITHOUT_WARNINGS
@pytest.mark.parametrize("name", ["specctl-conv", "nnAudio", "nnAudio2", "torchlibrosa"])
def test_a_trained_basis_gets_the_gradient_of_float64(name):
    asked = workload("train", "log-mel")
    contender, prepared = prepared_or_skip(name, asked)
    cell = Cell(name, "fp32", asked)
    assert Gate(asked, clips(asked)).check(contender, prepared, cell)
    # quiet bands weigh as much as loud ones and carry three digits; nnAudio adds 1e-8 as well
    assert cell.gradient_error < 0.05
    assert cell.gradient_cosine > 0.998


def test_a_basis_that_is_frozen_in_secret_is_found_out():
    asked = workload("train", "log-mel")
    contender, prepared = prepared_or_skip("specctl-conv", asked)
    frozen = torch.nn.Parameter(torch.zeros(1))
    object.__setattr__(prepared, "parameters", (frozen,))
    cell = Cell("frozen", "fp32", asked)
    assert not Gate(asked, clips(asked)).check(contender, prepared, cell)
    assert (cell.status, cell.note) == ("failed", "its basis gets no gradient")


def test_a_step_moves_the_parameters_against_the_gradient():
    weight = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    step = training_step(lambda waveform: weight * waveform, [weight])
    step(torch.tensor([3.0], dtype=torch.float64))
    assert weight.grad.item() == 3.0
    assert weight.item() == 2.0 - 1e-12 * 3.0


@WITHOUT_WARNINGS
def test_torchlibrosa_still_freezes_what_it_says_it_trains():
    layers = pytest.importorskip("torchlibrosa.stft")
    spectrogram = layers.Spectrogram(n_fft=64, hop_length=16, freeze_parameters=False)
    # the day this fails, the note about it goes
    assert not any(weight.requires_grad for weight in spectrogram.parameters())


@WITHOUT_WARNINGS
def test_a_conversion_tells_its_stages():
    asked = workload("convert", "log-mel", batch=3)
    _, prepared = prepared_or_skip("specctl-convert", asked)
    try:
        values = prepared.values(prepared.forward(clips(asked)))
        stages = prepared.details()
    finally:
        prepared.close()
    assert values.shape == (3, 20, 201)
    assert {"decode", "transform", "write", "total"} <= set(stages)
    assert all(spent >= 0 for spent in stages.values())


def test_kernels_that_run_on_the_device_take_part():
    demand = Demand(SpectrogramConfig.resolve(n_fft=256), torch.device("cpu"), "fp32")
    able = {f"specctl-{name}" for name, each in KERNELS.items() if each.problem(demand) is None}
    listed = {each.name for each in listed_contenders((), "cpu")}
    assert {name for name in listed if name.startswith("specctl-")} == {*able, "specctl-convert"}


def test_a_kernel_that_is_asked_for_by_name_is_listed_with_its_reason(monkeypatch):
    monkeypatch.setattr(KERNELS["conv"], "problem", lambda demand: "is out of order")
    (named,) = listed_contenders(("specctl-conv",), "cpu")
    assert named.missing() == "kernel 'conv' is out of order"
    assert "specctl-conv" not in {each.name for each in listed_contenders(("specctl",), "cpu")}


def test_rough_precisions_take_part_by_request_only():
    (rough,) = listed_contenders(("specctl-conv:bf16",), "cpu")
    assert (rough.name, rough.precision) == ("specctl-conv", "bf16")
    assert {each.precision for each in listed_contenders((), "cpu")} == {"fp32"}


def test_bf16_breaks_the_contract_and_is_timed_with_its_error():
    asked = workload("mel", "log-mel")
    rough = find_contender("specctl-conv", "bf16", "cpu")
    cell = Cell("specctl-conv", "bf16", asked)
    with torch.no_grad():
        assert Gate(asked, clips(asked)).check(rough, rough.prepare(asked), cell)
    assert cell.keeps_contract is False
    assert cell.note.startswith("bf16: ")


def test_who_everybody_uses_is_listed_installed_or_not(monkeypatch):
    monkeypatch.setattr(
        "specctl.bench.contenders.base.import_module",
        lambda name: (_ for _ in ()).throw(ImportError(name=name)),
    )
    listed = listed_contenders((), "cpu")
    names = [each.name for each in listed]
    assert {"librosa", "torch.stft", "nnAudio", "nnAudio2", "torchlibrosa"} <= set(names)
    # specctl's own are there, whatever cannot be imported
    assert not {"torchaudio", "auvux-dsp", "flashmel", "lhotse", "scipy"} & set(names)
    missing = {each.name: each.missing() for each in listed}
    assert missing["nnAudio2"] == "nnAudio2.features is not installed; pip install nnaudio2"


def test_names_may_be_beginnings_but_a_whole_name_means_itself():
    assert [each.name for each in listed_contenders(("nnAudio",), "cpu")] == ["nnAudio"]
    found = [each.name for each in listed_contenders(("nn", "torch."), "cpu")]
    assert found == ["nnAudio", "nnAudio2", "torch.stft", "torch.compile"]


def test_an_unknown_name_is_refused_with_all_names():
    with pytest.raises(ParameterError, match=r"contenders must be among specctl-.*got 'kapre'"):
        listed_contenders(("kapre",), "cpu")


def test_tf32_takes_part_on_cuda_only():
    both = [(each.name, each.precision) for each in listed_contenders(("nnAudio",), "cuda")]
    assert both == [("nnAudio", "fp32"), ("nnAudio", "tf32")]
    tf32 = find_contender("nnAudio", "tf32", "cuda")
    assert tf32.unsupported(workload("mel", "log-mel")) == "tf32 runs on cuda only"
