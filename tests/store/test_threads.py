"""Stores in several threads of one process, which h5py before 3.16 crashes if it is let."""

import subprocess
import sys

from tests.convert.audio_files import corpus
from tests.convert.commands import LIMIT, environment

PROGRAM = """
import sys, threading
from specctl import convert_audio, open_store
from specctl.convert import Options

folder, out = sys.argv[1:]
options = Options(workers=0, overwrite=True)
convert_audio(folder, f"{out}/0.h5", options=options, n_fft=512)
with open_store(f"{out}/0.h5") as store:
    wanted = {key: store[key].tobytes() for key in store}
same = []

def read():
    for _ in range(15):
        with open_store(f"{out}/0.h5") as store:
            same.append({key: store[key].tobytes() for key in store} == wanted)

def write(name):
    for _ in range(3):
        convert_audio(folder, f"{out}/{name}.h5", options=options, n_fft=512)
    with open_store(f"{out}/{name}.h5") as store:
        same.append({key: store[key].tobytes() for key in store} == wanted)

threads = [threading.Thread(target=read) for _ in range(3)]
threads += [threading.Thread(target=write, args=(name,)) for name in (1, 2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(same), all(same))
"""


def test_stores_are_read_and_written_side_by_side(tmp_path):
    folder = corpus(tmp_path / "in", 20)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", PROGRAM, folder, tmp_path / "out"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=LIMIT, env=environment()
    )
    assert (done.returncode, done.stdout) == (0, "47 True\n"), done.stderr
