"""Signs of life that workers give while the parent looks."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from specctl import convert_audio
from specctl.convert import Options
from specctl.convert.beats import Beats
from specctl.convert.executors import InProcess, Outcome
from specctl.convert.jobs import PartJob
from tests.convert.audio_files import write_noise

SECONDS = 1.0
WORKER = """
import sys
from pathlib import Path
from specctl.convert.beats import Beats
beat = Beats(Path(sys.argv[1]), 1).row(0)
print("ready", flush=True)
while True:
    beat.take(0)
    beat.done(failed=False, seconds=0.0)
"""


def test_the_parent_may_look_at_any_time(tmp_path):
    beats = Beats(tmp_path / "beats", 1, create=True)
    command = [sys.executable, "-c", WORKER, str(beats.path)]
    looks = busy = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout.readline() == "ready\n"
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                busy += len(beats.active())
                looks += 1
        finally:
            worker.kill()
    # it was seen at work and between two sources
    assert 0 < busy < looks
    assert beats.totals()["n_done"] > 1000


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory has a name here")
def test_a_file_of_another_process_is_left_alone(tmp_path, monkeypatch):
    """In a sandbox with process ids of its own, /proc may be that of the system outside."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"theirs")
    made, number = os.memfd_create, 200
    monkeypatch.setattr(os, "memfd_create", lambda *given: os.dup2(made(*given), number))
    with theirs.open("r+b") as file:
        os.dup2(file.fileno(), number)
    with subprocess.Popen(["sleep", "600"], pass_fds=[number]) as other:
        os.close(number)
        try:
            monkeypatch.setattr(os, "getpid", lambda: other.pid)
            beats = Beats(tmp_path / "beats", 1, create=True)
            beats.row(0).take(0)
        finally:
            other.kill()
    assert theirs.read_bytes() == b"theirs"
    assert beats.path == tmp_path / "beats"


def test_the_silence_of_a_worker_that_died_is_not_held_against_the_next(tmp_path, monkeypatch):
    in_hand, run = [], InProcess.run

    def dying_first(executor, tasks, control, hung):
        job = tasks[0].args[0] if tasks[0].args else None
        if isinstance(job, PartJob):
            beat = Beats(Path(job.beats), job.n_parts).row(0)
            beat.take(0)
            yield Outcome(tasks.popleft(), death="its process was killed")
            in_hand.append(beat.source)
        yield from run(executor, tasks, control, hung)

    monkeypatch.setattr(InProcess, "run", dying_first)
    write_noise(tmp_path / "a.wav")
    done = convert_audio(tmp_path / "a.wav", tmp_path / "o.h5", options=Options(workers=0))
    assert (in_hand, done.n_converted) == ([-1], 1)
