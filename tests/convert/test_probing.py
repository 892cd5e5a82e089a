"""Reading headers: shared out among the workers, also where there are few files."""

import pytest

from specctl.audio.discover import discover
from specctl.convert.executors import Control, InProcess
from specctl.convert.probing import probe_sources
from tests.convert.audio_files import corpus


class Counting(InProcess):
    """Remembers how many files each task had."""

    def run(self, tasks, control, hung):
        self.sizes = [len(task.args[0]) for task in tasks]
        return super().run(tasks, control, hung)


@pytest.mark.parametrize(("n_workers", "sizes"), [(0, [2, 2, 2, 1]), (2, [1] * 7), (64, [1] * 7)])
def test_few_files_are_shared_out_and_each_is_read_once(tmp_path, n_workers, sizes):
    corpus(tmp_path / "in", 7, seconds=0.1)
    sources = discover([tmp_path / "in"]).sources
    executor, seen = Counting(), []
    infos, poison = probe_sources(
        executor, sources, Control(), n_workers=n_workers, timeout=60, report=seen.append
    )
    assert executor.sizes == sizes
    assert list(infos) == [source.key for source in sources]
    assert all(info.n_samples for info in infos.values())
    assert poison == {}
    assert seen[-1] == 7
