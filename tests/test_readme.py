"""What stands in the README as Python runs as it stands there."""

import re
import shutil
from pathlib import Path

import h5py

from specctl import convert_audio
from specctl.convert import Options
from tests.convert.commands import run

README = Path(__file__).parent.parent / "README.md"
CLIPS = Path(__file__).parent / "clips"


def test_its_python_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    shutil.copytree(CLIPS / "speech", tmp_path / "recordings" / "speech")
    shutil.copy(CLIPS / "speech" / "hello.wav", tmp_path / "recordings" / "speech" / "a.wav")
    assert run("recordings/", "out.h5", cwd=tmp_path).returncode == 0
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        # names of its own: one of the block above would be missing where this is read alone
        exec(block, {})
    assert capsys.readouterr().out == ""


def test_its_table_of_the_store_has_every_dataset(tmp_path):
    folder = tmp_path / "recordings"
    shutil.copytree(CLIPS / "speech", folder)
    (folder / "bad.wav").write_bytes(b"")
    whole = (folder / "hello.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    options = Options(workers=0, allow_truncated=True)
    convert_audio(folder, tmp_path / "out.h5", feature="complex", options=options)
    listed = set()
    for line in re.findall(r"^    (/[\w/, ]+?)(?:  |$)", README.read_text("utf-8"), re.MULTILINE):
        first, *others = line.split(", ")
        folder = first.rpartition("/")[0]
        listed |= {first, *(name if name[0] == "/" else f"{folder}/{name}" for name in others)}
    there = []
    with h5py.File(tmp_path / "out.h5") as file:
        file.visit(there.append)
        datasets = {f"/{name}" for name in there if isinstance(file[name], h5py.Dataset)}
    assert datasets == listed - {"/basis"}
