"""One part, made under watch: for a dry run, and for a machine of a cluster."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from specctl.convert import work_names
from specctl.convert.beats import Beats, Watch
from specctl.convert.executors import Control, Executor, Outcome, Task
from specctl.convert.jobs import PartJob
from specctl.convert.patience import patience
from specctl.errors import Stopped


def make_part(
    executor: Executor,
    part: PartJob,
    beats: Path,
    timeout: float,
    control: Control,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Outcome:
    """What came of a part, with the place of the source that was in hand at its end.

    Parameters
    ----------
    executor : Executor
        Of this machine.
    part : PartJob
        Whose signs of life come here, whatever it says of them.
    beats : Path
        Where those are, if the system has no better place.
    timeout : float
        Seconds without progress after which its worker is given up.
    control : Control
    is_wanted : callable
        Asked again and again; where it says no, the worker is given up as well.

    Raises
    ------
    Stopped
        If ``control`` has stopped the run before.
    """
    signs = Beats(beats, part.n_parts, create=True)
    watch = Watch(signs, lambda _, place: patience(timeout, part.sources[place].size))

    def given_up() -> Sequence[int]:
        return watch.hung() if is_wanted() else [part.number]

    task = Task(part.number, work_names.convert_part, (replace(part, beats=str(signs.path)),))
    for outcome in executor.run(deque([task]), control, given_up):
        return replace(outcome, place=signs.row(part.number).source)
    raise Stopped("stopped before the work was done")
