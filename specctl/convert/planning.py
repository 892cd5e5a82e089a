"""Before the first part: read the headers of the files, settle the settings, divide."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from specctl.audio.discover import Source
from specctl.audio.info import AudioInfo
from specctl.convert import work_names
from specctl.convert.early import is_cpu
from specctl.convert.executors import Control, Executor, Task, replies
from specctl.convert.finding import Found
from specctl.convert.jobs import Description, Job
from specctl.convert.plan import (
    Plan,
    PlannedSource,
    divide,
    found_rates,
    most_common_rate,
    planned,
)
from specctl.convert.probing import probe_sources
from specctl.convert.request import Options, Request
from specctl.convert.settings import ConvertConfig, GivenSettings
from specctl.convert.stored import Finished
from specctl.convert.summary import Progress
from specctl.errors import StoreError
from specctl.version import __version__

_FALLBACK_RATE = 48_000
"""Rate of a store none of whose files has a header that can be read."""


def describe(
    executor: Executor,
    given: GivenSettings,
    options: Options,
    control: Control,
    report: Callable[[Progress], None],
) -> Description:
    """What device and kernel it will be; the workers say, since only workers import torch.

    Each is asked, so that each is warm when there is work to do; one, where others will do it on
    a GPU.
    """

    def waiting() -> None:
        report(Progress("waiting for workers", 0, 0))

    arguments = (options.device, options.kernel, given.early(), options.basis)
    n_asked = max(1, options.n_workers) if is_cpu(options.device) else 1
    tasks = [Task(number, work_names.describe, arguments) for number in range(n_asked)]
    description: Description = list(replies(executor, tasks, control, waiting))[-1]
    return description


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes the job and the plan for the files that were found."""

    request: Request
    given: GivenSettings
    options: Options
    control: Control
    report: Callable[[Progress], None]

    def plan(
        self, executor: Executor, found: Found, base: Finished | None
    ) -> tuple[Job, Plan] | None:
        """Read headers and settle everything; ``None`` if the run was stopped meanwhile."""
        infos, poison = self._probe(executor, found.sources)
        if self.control.draining:
            return None
        has_failed = (lambda _: False) if base is None else base.has_failed
        sources = planned(found.sources, infos, found.labels, has_failed)
        config = self._config(sources, base)
        plan = divide(sources, config).poisoned(poison)
        job = Job(
            id=uuid.uuid4().hex,
            version=__version__,
            request=self.request.identity(),
            config=config.to_dict(),
            update=base is not None,
            replaced=found.replaced + found.gone,
            skipped=found.skipped_reasons,
            rates={str(rate): count for rate, count in found_rates(sources).items()},
            n_unchanged=found.n_unchanged,
            n_unlabelled=found.n_unlabelled,
            n_labels_unused=found.n_labels_unused,
            patterns_unused=found.patterns_unused,
            repaired=found.replaced if found.is_repair else None,
            forgotten=found.forgotten,
            relabelled=dict(found.relabelled),
            pruned=found.pruned,
            n_gone=found.n_gone,
            base="" if base is None else base.job,
            overwrite=self.options.overwrite,
        )
        return job, plan

    def _probe(
        self, executor: Executor, sources: tuple[Source, ...]
    ) -> tuple[dict[str, AudioInfo | str], dict[str, str]]:
        def report(n_done: int) -> None:
            self.report(Progress("reading headers", n_done, len(sources)))

        return probe_sources(
            executor,
            sources,
            self.control,
            n_workers=self.options.n_workers,
            timeout=self.options.timeout,
            report=report,
        )

    def _config(self, sources: list[PlannedSource], base: Finished | None) -> ConvertConfig:
        if base is None:
            return self.given.resolve(most_common_rate(sources) or _FALLBACK_RATE)
        config, differing = self.given.compared(base.config, base.kernel, self.options.kernel)
        if differing:
            raise StoreError(
                f"{base.path} was made with other settings: {differing}; "
                "update it with its own, or pass --overwrite to replace it"
            )
        return config
