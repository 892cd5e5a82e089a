"""A job of many parts in one process, which makes the next one while the last one is made durable.

Two threads share the work, so that the order of the calls is not the same each time: calls are
tried by name, and others all through the middle of the job.
"""

from collections import deque
from threading import Event

import pytest

from specctl import convert_audio
from specctl.convert import Options
from specctl.convert.executors import Control, InProcess, Rest, Task
from tests.convert.audio_files import corpus
from tests.faults.runner import LIMIT
from tests.faults.sweep import CI_FAULTS, Scenario, contents

N_FILES = 9
CALLS = (
    "fsync o.h5.parts/000001.part.tmp",
    "rename o.h5.parts/000001.part.tmp",
    "fsync o.h5.parts/000004.part.tmp",
)


@pytest.fixture(scope="module")
def scenario(sweep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    (folder / "start").mkdir()
    source = corpus(folder / "in", N_FILES, seconds=0.2)
    return sweep.measured(Scenario("many parts", (source,), folder / "start"))


def outcomes(functions):
    tasks = deque(Task(number, function, ()) for number, function in enumerate(functions))
    return InProcess().run(tasks, Control(), lambda: ())


def test_the_next_task_is_begun_while_one_waits_for_the_disk():
    begun = Event()

    def waits(_):
        return Rest(lambda: begun.wait(LIMIT))

    def begins(_):
        begun.set()

    found = list(outcomes([waits, begins, *[lambda _: "done"] * 4]))
    assert [outcome.value for outcome in found] == [True, None, *["done"] * 4]


def test_what_waits_is_finished_though_the_next_task_is_interrupted():
    interrupting, finished = Event(), []

    def rest():
        interrupting.wait(LIMIT)
        # longer than it takes not to wait for this
        Event().wait(0.1)
        finished.append(True)

    def interrupted(_):
        interrupting.set()
        raise KeyboardInterrupt

    tasks = [lambda _: Rest(rest), interrupted, *[lambda _: None] * 4]
    with pytest.raises(KeyboardInterrupt):
        list(outcomes(tasks))
    assert finished == [True]


@pytest.fixture
def refused(monkeypatch):
    """Threads that the system does not give; how often it was asked."""
    asked = []

    def refuse(thread):
        asked.append(thread)
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr("threading.Thread.start", refuse) or asked


def test_a_system_without_threads_to_give_does_all_in_turn(refused):
    asked = refused()
    found = list(outcomes([lambda _, n=n: Rest(lambda: n) for n in range(6)]))
    assert [outcome.value for outcome in found] == list(range(6))
    assert len(asked) == 5


def test_a_store_is_the_same_without_threads(tmp_path, monkeypatch, refused):
    corpus(tmp_path / "in", 6, seconds=0.2)
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)

    def converted(name):
        convert_audio(tmp_path / "in", tmp_path / name, options=Options(workers=0), n_fft=512)
        return contents(tmp_path / name)

    with_threads = converted("a.h5")
    asked = refused()
    assert converted("b.h5") == with_threads
    assert len(asked) > 5


def test_parts_get_their_names_in_order_and_after_their_bytes(scenario):
    published = [
        call.removesuffix(".tmp")
        for call in scenario.points
        if call.startswith(("fsync o.h5.parts/0", "rename o.h5.parts/0"))
    ]
    names = [f"o.h5.parts/{number:06}.part" for number in range(N_FILES)]
    assert published == [f"{call} {name}" for name in names for call in ("fsync", "rename")]


@pytest.mark.parametrize("fault", CI_FAULTS, ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_while_a_part_is_made_durable_loses_nothing(sweep, scenario, call, fault):
    assert sweep.trial(scenario, call, fault) == []


def test_an_error_while_a_part_is_made_durable_leaves_nothing_half_done(sweep, scenario):
    """The next part, which is ready by then, is kept."""
    place = sweep.begin(scenario)
    shim = {"place": str(place), "point": CALLS[0], "fault": "EIO"}
    ended = sweep.runner.run(*scenario.command(place), shim=shim)
    assert ended.code == 1
    left = sorted(path.name for path in (place / "o.h5.parts").iterdir())
    assert left == ["000000.part", "000002.part", "job.json", "lock", "plan.jsonl"]


@pytest.mark.parametrize("fault", CI_FAULTS, ids=str)
def test_a_fault_at_any_time_loses_nothing(sweep, scenario, fault):
    first = scenario.points.index("rename o.h5.parts/000000.part.tmp")
    last = scenario.points.index("rename o.h5.parts/000007.part.tmp")
    # of three faults each time meets one
    step = 7 * len(CI_FAULTS)
    wrong = {
        point: found
        for point in range(first + 7 * CI_FAULTS.index(fault), last, step)
        if (found := sweep.trial(scenario, point, fault))
    }
    assert wrong == {}
