"""What stands in the README as Python runs as it stands there."""

import re
import shutil
from pathlib import Path

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
