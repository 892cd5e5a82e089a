"""Signs of life that workers give while the parent looks."""

import subprocess
import sys
import time

from specctl.convert.beats import Beats

SECONDS = 2.0
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
