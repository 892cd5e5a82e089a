import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from specctl import MelSpectrogram
from specctl.basis import load_basis
from specctl.errors import AudioError, ParameterError, SpecctlError, StoreError, TrainingError
from specctl.training import Options, Stopped, draw_split, find_labelled, train_basis
from tests.training.audio import PHASE_SETTINGS, TINY, phase_wave, write_tones


def test_a_trained_basis_learns_what_magnitudes_do_not_hold(phases, tmp_path):
    summary = train_basis(phases, tmp_path / "b.safetensors", **PHASE_SETTINGS)
    verdict = summary.verdict
    assert verdict.outcome == "helps"
    # chance is 0.25; three runs of 24 test clips have a standard error of 0.05
    assert verdict.accuracy_fixed.mean < 0.25 + 3 * 0.05
    assert verdict.accuracy_trained.mean > 0.95
    assert verdict.sentence.startswith("trained basis helps on this data: accuracy ")
    assert verdict.drift_degrees > 1


@pytest.mark.parametrize("relation", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("phase", [0.0, 1.0, 2.5])
def test_the_classes_of_that_task_have_equal_magnitudes(phase, relation):
    settings = {name: PHASE_SETTINGS[name] for name in ("n_fft", "hop_length", "n_mels", "center")}
    mel = MelSpectrogram(sample_rate=8000, scale="none", **settings)
    waves = [phase_wave(phase, 0.0), phase_wave(phase, relation * math.pi)]
    one, other = mel(torch.tensor(np.array(waves), dtype=torch.float32))
    # float32 sums of 64 products, squared
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(one.max()))
    # and every frame of a clip is like the first
    torch.testing.assert_close(
        one, one[:, :1].expand_as(one), rtol=0, atol=1e-5 * float(one.max())
    )


def test_the_basis_file_holds_what_was_trained_and_on_what(tones, tmp_path):
    output = tmp_path / "b.safetensors"
    summary = train_basis(tones, output, **{**TINY, "train": ("basis", "mel")})
    held = load_basis(output)
    assert held.trained == ("basis", "mel")
    assert held.config == summary.config
    assert held.metadata["classes"] == ["high", "low"]
    assert held.metadata["dataset_hash"] == summary.dataset_hash
    assert held.metadata["verdict"] is None
    assert torch.equal(torch.from_numpy(held.basis), summary.trained)
    assert (held.mel >= 0).all()
    assert not (tmp_path / "b.safetensors.work").exists()


def test_another_default_device_is_not_that_of_a_training(tones, tmp_path):
    here = train_basis(tones, tmp_path / "here", **TINY, augment=("gain", "mixup"))
    with torch.device("meta"):
        there = train_basis(tones, tmp_path / "there", **TINY, augment=("gain", "mixup"))
    assert torch.equal(there.trained, here.trained)
    assert (there.kept.history, there.kept.test) == (here.kept.history, here.kept.test)


def test_training_goes_on_from_a_basis_file_with_its_settings(tones, tmp_path):
    first = train_basis(tones, tmp_path / "first", **TINY, train="basis")
    given = {name: TINY[name] for name in TINY if name not in ("n_fft", "n_mels")}
    second = train_basis(tones, tmp_path / "second", init=tmp_path / "first", **given)
    assert second.config == first.config
    assert torch.equal(second.start, first.trained)


@pytest.mark.parametrize("train", ["window", "frequencies", "mel", "pcen"])
def test_other_weights_can_be_trained_too(train, tones, tmp_path):
    scale = {"scale": "pcen"} if train == "pcen" else {}
    summary = train_basis(tones, tmp_path / "b", **TINY, train=(train,), **scale)
    held = load_basis(tmp_path / "b")
    assert held.trained == (train,)
    start = MelSpectrogram(sample_rate=8000, n_fft=64, n_mels=8, **scale).to_basis()
    before, after = (np.asarray(getattr(each, train)) for each in (start, held))
    assert np.abs(after - before).max() > 1e-5
    assert summary.n_trained == after.size


def test_defaults_keep_frames_short_and_follow_the_rate(tones, tmp_path):
    given = {name: TINY[name] for name in TINY if name not in ("n_fft", "n_mels")}
    given["epochs"] = 1
    config = train_basis(tones, tmp_path / "b", **given).config
    # 32 ms at 8,000 Hz are 256 samples
    assert (config.sample_rate, config.n_fft, config.hop_length, config.n_mels) == (
        8000,
        256,
        64,
        64,
    )
    config = train_basis(tones, tmp_path / "c", **{**given, "sample_rate": 16000}).config
    assert (config.sample_rate, config.n_fft) == (16000, 512)


def test_the_sizes_of_the_splits_are_told(tones, tmp_path):
    events = []
    summary = train_basis(tones, tmp_path / "b", report=events.append, **{**TINY, "runs": 2})
    (start,) = [event for event in events if event["event"] == "start"]
    sizes = {"train": 10, "validation": 2, "test": 4}
    assert [sum(each.values()) for each in start["split_sizes"]] == [16, 16]
    assert start["split_sizes"][0] == sizes
    assert summary.to_dict()["split_sizes"] == list(start["split_sizes"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"init": "random"}, "; fixed: Fourier basis, Slaney bands, so the start is a part of"),
        ({"init": "mel-fourier", "mel_scale": "htk"}, "; fixed: Fourier basis, HTK bands, so"),
        ({"init": "random", "feature": "power", "n_mels": None}, "; fixed: Fourier basis, so the"),
        ({}, ""),
    ],
    ids=["random", "htk", "no-bands", "fourier"],
)
def test_the_verdict_says_what_another_start_is_compared_with(given, text, tones, tmp_path):
    quick = {**TINY, "epochs": 1, "verdict": True, **given}
    sentence = train_basis(tones, tmp_path / "b", **quick).verdict.sentence
    assert ("fixed: " in sentence) == bool(text)
    assert text in sentence


def test_the_same_job_gives_the_same_basis(tones, tmp_path):
    augment = ("gain", "noise", "shift", "specaugment:T=2,F=2,W=2", "mixup")
    bases = [
        train_basis(tones, tmp_path / f"{i}", **{**TINY, "augment": augment}).trained
        for i in range(2)
    ]
    assert torch.equal(*bases)
    other = train_basis(tones, tmp_path / "2", **{**TINY, "augment": augment, "seed": 1}).trained
    assert not torch.equal(bases[0], other)


@pytest.mark.parametrize(
    ("model", "lr"),
    [
        ("linear", 1e-2),
        ("cnn", 1e-2),
        pytest.param("resnet18", 1e-3, marks=pytest.mark.thorough),
    ],
)
def test_every_model_learns_two_tones(model, lr, tones, tmp_path):
    given = {**TINY, "model": model, "lr": lr, "epochs": 12}
    summary = train_basis(tones, tmp_path / "b", **given)
    assert summary.kept.test["accuracy"] == 1.0


def test_a_model_in_bf16_learns_and_the_front_end_stays_exact(tones, tmp_path):
    given = {**TINY, "model": "cnn", "epochs": 12}
    exact = train_basis(tones, tmp_path / "a", **given)
    half = train_basis(tones, tmp_path / "b", **given, precision="bf16")
    assert half.kept.test["accuracy"] == 1.0
    assert half.trained.dtype == torch.float32
    assert not torch.equal(exact.trained, half.trained)


def test_a_module_of_ones_own(tones, tmp_path):
    class Own(torch.nn.Module):
        def __init__(self, n_bins, n_classes):
            super().__init__()
            self.out = torch.nn.Linear(n_bins, n_classes)

        def forward(self, spec):
            return self.out(spec.mean(2) / 20)

    summary = train_basis(tones, tmp_path / "b", **{**TINY, "model": Own, "epochs": 30})
    assert summary.settings.model == "Own"
    assert summary.kept.test["accuracy"] == 1.0


def stopping_after(n_steps):
    seen = []

    def report(event):
        seen.extend([event] * (event["event"] == "step"))

    return report, lambda: len(seen) >= n_steps


STOPPED = {**TINY, "model": "cnn", "augment": ("noise", "mixup"), "verdict": True}


@pytest.fixture(scope="module")
def whole(tones, tmp_path_factory):
    return train_basis(tones, tmp_path_factory.mktemp("whole") / "b", **STOPPED)


# in an epoch, at the end of one, and in the second training, which is of the trained basis
@pytest.mark.parametrize("stop_after", [1, 4, 15])
def test_resumed_equals_uninterrupted_bit_for_bit(stop_after, whole, tones, tmp_path):
    report, should_stop = stopping_after(stop_after)
    with pytest.raises(Stopped, match="stopped after"):
        train_basis(tones, tmp_path / "cut", report=report, should_stop=should_stop, **STOPPED)
    resumed = train_basis(tones, tmp_path / "cut", options=Options(resume=True), **STOPPED)
    assert torch.equal(whole.trained, resumed.trained)
    for one, other in zip(whole.results, resumed.results, strict=True):
        assert one.history == other.history
        assert one.test == other.test


def test_what_was_stopped_is_not_begun_again_unasked(tones, tmp_path):
    report, should_stop = stopping_after(2)
    with pytest.raises(Stopped):
        train_basis(tones, tmp_path / "b", report=report, should_stop=should_stop, **TINY)
    with pytest.raises(StoreError, match="holds a training that was stopped; pass --resume"):
        train_basis(tones, tmp_path / "b", **TINY)
    with pytest.raises(TrainingError, match=r"another lr \(there 0.01, here 0.5\); resume it as"):
        train_basis(tones, tmp_path / "b", options=Options(resume=True), **{**TINY, "lr": 0.5})
    train_basis(tones, tmp_path / "b", options=Options(overwrite=True), **TINY)
    with pytest.raises(StoreError, match="already exists; pass --overwrite"):
        train_basis(tones, tmp_path / "b", **TINY)


def test_a_file_that_cannot_be_decoded_is_left_out(tmp_path):
    folder = write_tones(tmp_path / "in")
    (folder / "low" / "bad.wav").write_bytes(b"RIFF")
    summary = train_basis(folder, tmp_path / "b", **TINY)
    assert [key for key, _ in summary.failures] == ["low/bad.wav"]
    assert summary.n_files == 16


@pytest.mark.parametrize("lost", [["high"], ["high", "low"]], ids=["one", "all"])
def test_a_class_of_which_no_file_can_be_read_is_named(lost, tmp_path):
    folder = write_tones(tmp_path / "in", n_clips=3)
    for name in lost:
        for path in (folder / name).iterdir():
            path.write_bytes(b"RIFF")
    with pytest.raises(TrainingError) as caught:
        train_basis(folder, tmp_path / "b", **TINY, sample_rate=8000)
    text = str(caught.value)
    assert text.startswith("class 'high' has no file that can be read: high/00.wav: ")
    assert text.endswith("; mend its files, or leave the class out")
    assert "\n" not in text


def test_nothing_is_left_behind_by_wrong_settings(tones, tmp_path):
    with pytest.raises(ParameterError):
        train_basis(tones, tmp_path / "b", **{**TINY, "crop": 1e-5})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        (
            {"train": ()},
            ParameterError,
            "train must name at least one of basis, window, frequencies, mel, got none",
        ),
        (
            {"train": (), "scale": "pcen"},
            ParameterError,
            "at least one of basis, window, frequencies, mel, pcen, got none",
        ),
        ({"train": ("phase",)}, ParameterError, "'phase' would train nothing"),
        ({"model": torch.nn.Linear(8, 2)}, ParameterError, "model must be a name or what builds"),
        ({"model": "vgg"}, ParameterError, "model must be linear, cnn, resnet18, got 'vgg'"),
        ({"epochs": 0}, ParameterError, "epochs must be greater than 0, got 0"),
        ({"lr": float("nan")}, ParameterError, "lr must be"),
        # Adam's step is ten times as much at first, and has to be a float32
        ({"lr": 1e39}, ParameterError, "lr must be less than or equal to 10{30}, got 1e\\+39"),
        ({"basis_lr": 1e39}, ParameterError, "basis_lr must be less than or equal to 10{30},"),
        ({"augment": ("echo",)}, ParameterError, "augment must name one of gain, .*got 'echo'"),
        ({"augment": ("gain:x=1",)}, ParameterError, "augment 'gain' has the parameters min_"),
        ({"augment": ("gain:p=a",)}, ParameterError, "augment gain:p must be a number, got 'a'"),
        ({"crop": 1e-5}, ParameterError, "crop must hold at least one frame of n_fft=64"),
        ({"precision": "tf32"}, ParameterError, "precision 'tf32' runs on cuda, not on cpu"),
        ({"train": ("mel",), "unit_norm": 1}, ParameterError, "unit_norm has no effect with tr"),
        ({"feature": "complex", "n_mels": None}, ParameterError, "feature must be real"),
        ({"resume": True}, ParameterError, "pass options=specctl.training.Options\\(resume=..."),
        ({"nfft": 64}, ParameterError, "there is no setting 'nfft'; did you mean n_fft"),
        ({"options": Options(device="mars")}, ParameterError, "device must be auto, cpu or cuda"),
        ({"options": Options(vram_budget=1)}, ParameterError, "vram_budget has no effect on cpu"),
        ({"output": "nowhere/b"}, StoreError, "cannot write .*nowhere/b: no such folder"),
        (
            {"output": ".", "options": Options(device="cpu", overwrite=True)},
            StoreError,
            "cannot write .*: it is a folder",
        ),
        ({"folder": "nowhere"}, AudioError, "no such file or folder: '.*nowhere'"),
    ],
)
def test_wrong_settings_are_named(changed, error, text, tones, tmp_path):
    given = {"folder": tones, "output": "b", **TINY, **changed}
    folder = tmp_path / given.pop("folder")
    with pytest.raises(error, match=text) as caught:
        train_basis(folder, tmp_path / given.pop("output"), **given)
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_written_is_named_at_once(read_only_folder):
    with pytest.raises(StoreError, match=f"cannot write in {read_only_folder}; give the basis an"):
        train_basis("no files are looked for yet", read_only_folder / "b", **TINY)


def labels_csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


GOOD = "".join(f"{name}/{i:02d}.wav,{name},,\n" for name in ("low", "high") for i in range(8))


def test_labels_splits_and_groups_from_a_csv(tones, tmp_path):
    rows = [
        f"{name}/{i:02d}.wav,{name}ish,{'test' if i > 5 else 'train'},g{i}\n"
        for name in ("low", "high")
        for i in range(7)
    ]
    labels = labels_csv(tmp_path / "l.csv", "path,label,split,group\n" + "".join(rows))
    files = find_labelled(tones, labels)
    split = draw_split(files, 0)
    assert {each.label for each in files} == {"lowish", "highish"}
    assert [files[i].source.key for i in split.test] == ["low/06.wav", "high/06.wav"]
    assert split.validation
    assert not {files[i].group for i in split.validation} & {files[i].group for i in split.train}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,label\n",
            "labels must have the columns path and label, each once, .* has file, label",
        ),
        ("", "labels must have the columns path and label, each once, .* has none"),
        ("path,label\nx.wav,a\n", "path must be an audio file in .*, line 2 of .* has 'x.wav'"),
        ("path,label\nlow/00.wav,\n", "label must not be empty, line 2 of .* has none for 'low/"),
        (
            "path,label\nlow/00.wav,a\nlow/00.wav,b\n",
            "path must be unique, line 3 of .* has 'low/00.wav' of line 2 again",
        ),
        (
            "path,label,split\nlow/00.wav,a,dev\n",
            "split must be train, validation, test or empty, line 2 of .* has 'dev'",
        ),
        (
            "path,label,split\nlow/00.wav,a,train\nlow/01.wav,a,\n",
            "split must be given for every file or for none: line 3",
        ),
        ("path,label\nlow/00.wav,a\n", "labels must be of at least two classes, .* has a"),
        (
            "path,label\nlow/00.wav,a\nhigh/00.wav,b\n",
            "each class must have at least 3 files or groups, .*'a' has 1; add some",
        ),
        (
            "path,label,split,group\nlow/00.wav,a,train,g\nhigh/00.wav,b,test,g\n",
            "group 'g' is in train and in test; a group must be on one side",
        ),
        (
            "path,label,split\nlow/00.wav,a,train\nlow/01.wav,b,train\n",
            "the validation files must be of every class|the test files must be",
        ),
    ],
)
def test_wrong_labels_are_named(text, message, tones, tmp_path):
    labels = labels_csv(tmp_path / "l.csv", text)
    with pytest.raises(SpecctlError, match=message) as caught:
        train_basis(tones, tmp_path / "b", labels=labels, **TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("group", "text"),
    [("(", "group must be a regular expression, got '\\('"), ("z+", "'z\\+' misses high/00.wav")],
)
def test_wrong_groups_are_named(group, text, tones):
    with pytest.raises(ParameterError, match=text):
        find_labelled(tones, group=group)


def test_a_csv_that_is_no_text(tones, tmp_path):
    (tmp_path / "l.csv").write_bytes(b"path,label\n\xff\xfe,a\n")
    with pytest.raises(ParameterError, match="cannot read labels: "):
        find_labelled(tones, tmp_path / "l.csv")
    with pytest.raises(ParameterError, match="cannot read labels: .*: No such file"):
        find_labelled(tones, tmp_path / "none.csv")


def test_a_damaged_checkpoint_is_refused(tones, tmp_path):
    report, should_stop = stopping_after(3)
    with pytest.raises(Stopped):
        train_basis(tones, tmp_path / "b", report=report, should_stop=should_stop, **TINY)
    (checkpoint,) = (tmp_path / "b.work").glob("*.checkpoint")
    assert json.loads((tmp_path / "b.work" / "job.json").read_text())["settings"]["epochs"]
    checkpoint.write_bytes(checkpoint.read_bytes()[:-200])
    with pytest.raises(TrainingError, match="is no checkpoint, or is damaged"):
        train_basis(tones, tmp_path / "b", options=Options(resume=True), **TINY)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
def test_both_trainings_of_a_run_are_charged_with_the_whole_process(tones, tmp_path):
    summary = train_basis(tones, tmp_path / "b", **{**TINY, "verdict": True})
    fixed, trained = (result.peak_memory_mb for result in summary.results)
    # the interpreter and its libraries alone are more, and both hold them
    assert min(fixed, trained) > 100
    assert abs(trained - fixed) < 0.5 * fixed
