"""The records of the project and the page that is made from them."""

import json
import subprocess
import sys
from pathlib import Path

from specctl.bench.results import write_json
from tests.bench.fakes import Fake, FakeTimer, bench

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PAGE = """\
import sys
from pathlib import Path
from results import page, read_records
print(page(read_records(Path(sys.argv[1]))))
"""


def page_of(folder):
    done = subprocess.run(
        [sys.executable, "-c", PAGE, folder],
        capture_output=True,
        text=True,
        check=True,
        cwd=BENCHMARKS,
    )
    return done.stdout


def test_the_page_is_that_of_the_records():
    check = [sys.executable, "results.py", "--check"]
    done = subprocess.run(check, check=False, capture_output=True, text=True, cwd=BENCHMARKS)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_record_becomes_a_table(tmp_path):
    timer = FakeTimer()

    class Absent(Fake):
        modules = ("no_such_module_at_all",)
        install = "pip install it"

    bench(
        timer,
        Fake("specctl-fft", timer, lambda _: 0.126),
        Fake("torch.stft", timer, lambda _: 0.504),
        Fake("wrong", timer, off_db=2.0),
        Absent("absent", timer),
        save=write_json(tmp_path / "cpu-here-mel.json"),
    )
    (tmp_path / "other.json").write_text(json.dumps({"benchmark": "something else"}))
    lines = page_of(tmp_path).splitlines()
    assert "## mel on cpu: `cpu-here-mel.json`" in lines
    assert "### log-mel, 64 / 16 / 8 at 8000 Hz, 1 × 0.25 s, one core" in lines
    (ours,) = [line for line in lines if line.startswith("| **specctl-fft**")]
    assert ours.startswith("| **specctl-fft** | 4.00 | - | 1,000,000 |")
    (wrong,) = [line for line in lines if line.startswith("| wrong")]
    assert "(failed: breaks the contract: 2 dB off" in wrong
    assert "Not here: absent (no_such_module_at_all is not installed; pip install it)." in lines
    assert "- `other.json`" in lines
