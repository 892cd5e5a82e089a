"""Reading headers in the workers, where a file that kills its reader costs itself alone."""

from collections import deque
from collections.abc import Callable, Sequence

from specctl.audio.discover import Source
from specctl.audio.info import AudioInfo
from specctl.convert import work_names
from specctl.convert.executors import Control, Executor, Task

_LARGEST_BATCH = 256
_BATCHES_PER_WORKER = 4


def probe_sources(
    executor: Executor,
    sources: Sequence[Source],
    control: Control,
    *,
    n_workers: int,
    timeout: float,
    report: Callable[[int], None],
) -> tuple[dict[str, AudioInfo | str], dict[str, str]]:
    """Headers of all sources.

    Returns
    -------
    infos : dict
        Source key to header, or to the reason why it cannot be read. Incomplete if ``control``
        stopped the run.
    poison : dict
        Source key to how its reader ended, for the few that killed or hung it.
    """
    infos: dict[str, AudioInfo | str] = {}
    poison: dict[str, str] = {}
    size = -(-len(sources) // (_BATCHES_PER_WORKER * max(1, n_workers)))
    size = max(1, min(size, _LARGEST_BATCH))
    batches = {
        first: list(sources[first : first + size]) for first in range(0, len(sources), size)
    }
    together = set(batches)
    tasks = deque(_task(first, batch, timeout) for first, batch in batches.items())
    for outcome in executor.run(tasks, control, lambda: ()):
        if outcome.error is not None:
            raise outcome.error
        batch = batches[outcome.task.number]
        if not outcome.death:
            infos.update(zip((source.key for source in batch), outcome.value, strict=True))
        elif outcome.task.number in together:
            # one of them did it, or none: each alone
            for source in batch:
                number = len(sources) + len(batches)
                batches[number] = [source]
                tasks.append(_task(number, [source], timeout))
        else:
            poison[batch[0].key] = infos[batch[0].key] = f"cannot be read: {outcome.death}"
        report(len(infos))
    return infos, poison


def _task(number: int, batch: Sequence[Source], timeout: float) -> Task:
    paths = [source.path for source in batch]
    return Task(number, work_names.probe_all, (paths,), timeout=timeout)
