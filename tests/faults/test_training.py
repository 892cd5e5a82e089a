"""Each kind of system call of a training fails: an error in one line, and --resume goes on.

The calls are those on the folder of the basis, and on what lies beside it while it is trained.
With every change each second kind of call meets one of three faults; ``-m thorough`` tries all.
"""

import shutil

import pytest

from specctl.basis import load_basis
from tests.faults.runner import Runner
from tests.faults.shim import DEATHS, QUIET
from tests.faults.sweep import ERRNO, Fault, kinds_of
from tests.training.audio import write_tones

FLAGS = (
    *("--model", "linear", "--epochs", 1, "--runs", 1, "--crop", 0.08, "--batch-size", 4),
    *("--n-fft", 64, "--n-mels", 8, "--checkpoint-every", 1, "--no-verdict"),
)
FAULTS = (Fault("EIO"), Fault("kill"), Fault("ENOSPC", lasting=True))
IMPORTS = (
    "specctl.training.job",
    "specctl.training.page",
    "torch._dynamo",
    "pydantic.type_adapter",
)


class Trials:
    """Trainings that write in a folder of their own, which is empty before each."""

    def __init__(self, runner, folder):
        self.runner, self.place = runner, folder / "place"
        self.source = write_tones(folder / "in", n_clips=6)
        self.log = folder / "log"
        self.begin()
        ended = self.run(shim={"log": str(self.log)})
        assert ended.code == 0, ended.errors
        self.wanted = self.weights()
        self.points = self.log.read_text().splitlines()

    def begin(self):
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()

    def run(self, *flags, shim=None):
        command = ("train-basis", self.source, self.place / "b", *FLAGS, *flags)
        shim = {"place": str(self.place), **shim} if shim else None
        return self.runner.run(*command, shim=shim)

    def weights(self):
        return load_basis(self.place / "b").tensors["basis"].tobytes()

    def wrong(self, point, fault):
        """What is wrong after a fault, and after what the tool says to do then."""
        self.begin()
        shim = {"point": point, "fault": fault.name, "lasting": fault.lasting}
        ended = self.run(shim=shim)
        wrong = wrong_ending(ended, fault, self.place)
        again = self.run("--resume")
        if again.code and "already exists; pass --resume --overwrite" in again.errors:
            again = self.run("--resume", "--overwrite")
        is_done = again.code == 0 or f"{self.place}/b already exists" in again.errors
        if not is_done:
            wrong.append(f"cannot be finished: {again.code} {again.errors!r}")
        elif self.weights() != self.wanted:
            wrong.append("another basis")
        beside = {path.name for path in self.place.iterdir()} - {"b"}
        # what its end did not remove, if that failed
        if (again.code == 0 and beside) or beside - {"b.work"}:
            wrong.append(f"left beside: {sorted(beside)}")
        if beside:
            another = self.run("--overwrite")
            beside = sorted(path.name for path in self.place.iterdir())
            if another.code or beside != ["b"]:
                wrong.append(f"in the way of another: {another.errors!r} {beside}")
        return wrong


def wrong_ending(ended, fault, place):
    if fault.name in DEATHS:
        return [] if ended.code == -9 else [f"not killed: {ended.code} {ended.errors!r}"]
    said = [line for line in ended.errors.splitlines() if line.startswith("specctl: ")]
    is_clear = (
        ended.code == 1
        and len(said) == 1
        and "Traceback" not in ended.errors
        and str(place) in said[0]
        and ERRNO[fault.name] in said[0]
    )
    return [] if is_clear or ended.code == 0 else [f"no clear error: {ended}"]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    (scratch := tmp_path_factory.mktemp("scratch")).mkdir(exist_ok=True)
    with Runner(scratch, IMPORTS) as runner:
        yield Trials(runner, tmp_path_factory.mktemp("training"))


def is_tried(kind, fault):
    """A full disk can be looked at; a kill before a look leaves what one before the next does."""
    return fault.name == "EIO" or not kind.startswith((*QUIET, "fsync", "flock"))


def test_a_fault_at_any_call_of_a_training_loses_nothing(trials):
    kinds = {}
    for kind, places in kinds_of(trials.points).items():
        kinds.setdefault(kind.partition(" after ")[0], []).extend(places)
    assert len(kinds) > 35
    wrong = {}
    for number, kind in enumerate([*kinds][::2]):
        faults = [fault for fault in FAULTS if is_tried(kind, fault)]
        fault = faults[number % len(faults)]
        point = kinds[kind][number % len(kinds[kind])]
        if found := trials.wrong(point, fault):
            wrong[f"{fault} at {point}, {trials.points[point]}"] = found
    assert wrong == {}


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_every_fault_at_any_call_of_a_training_loses_nothing(fault, trials):
    points = [n for n, kind in enumerate(trials.points) if is_tried(kind, fault)]
    wrong = {
        f"{point}, {trials.points[point]}": found
        for point in points
        if (found := trials.wrong(point, fault))
    }
    assert wrong == {}
