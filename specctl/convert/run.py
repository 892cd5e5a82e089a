"""The job behind ``specctl convert``: plan, convert the parts, merge; each can be repeated."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from specctl.convert import finding, planning, work_names
from specctl.convert.clock import STAGES
from specctl.convert.devices import is_compiled
from specctl.convert.early import PRELOAD, PRELOAD_TORCH, is_cpu
from specctl.convert.executors import Control, Executor, InProcess, Task, replies
from specctl.convert.folder import WorkFolder
from specctl.convert.jobs import Description, Job
from specctl.convert.merging import Joining
from specctl.convert.parts import PartsRun
from specctl.convert.plan import Plan
from specctl.convert.pool import Pool
from specctl.convert.request import Options, Request
from specctl.convert.settings import ConvertConfig, GivenSettings
from specctl.convert.stored import Finished
from specctl.convert.summary import Progress, Summary
from specctl.convert.target import Target, reported_disk
from specctl.errors import AudioError, SpecctlError, Stopped
from specctl.presence import exists
from specctl.store.base import Base
from specctl.store.layout import Layout
from specctl.store.merge import MergeSummary

_RUN_ANYWHERE = ("fft", "conv")
"""Kernels that no device lacks."""


@dataclass(slots=True)
class Conversion:
    """One conversion on its way; ``find`` says which files are to be converted.

    ``repaired`` are the sources that a repair makes anew, ``None`` if this is none; ``forgotten``
    are the items that it takes out.
    ``workplace`` gives the folder to work in.
    """

    store: Path
    request: Request
    given: GivenSettings
    options: Options
    control: Control
    report: Callable[[Progress], None]
    find: Callable[[Request, Finished | None], finding.Found] = finding.find
    repaired: tuple[str, ...] | None = None
    forgotten: tuple[str, ...] = ()
    workplace: Callable[[Path], AbstractContextManager[WorkFolder]] = WorkFolder
    started: float = field(default_factory=time.perf_counter)
    _ready: float = field(init=False, default=0.0)
    _n_since: int = field(init=False, default=0)
    _is_number_ours: bool = field(init=False)

    def __post_init__(self) -> None:
        self._is_number_ours = self.options.workers is None

    def run(self) -> Summary:
        """Everything, from the first file to the store under its name."""
        with reported_disk(self.store):
            return self._run()

    def _run(self) -> Summary:
        self.given.early()
        target = self.target()
        target.check()
        if target.is_finished and not exists(WorkFolder(self.store).path):
            return target.already_there()
        with self.workplace(self.store) as folder:
            begun = target.begun(folder)
            if begun is None and target.is_finished:
                return target.already_there()
            if begun is not None:
                self._keep_kernel(begun[0].kernel)
            with self.executor(("cpu",)) as executor:
                if begun is None:
                    base = target.base()
                    found = self.find(self.request, base)
                    if base is not None and not found.is_due:
                        return target.nothing_new(base, found)
                    if base is not None:
                        self._keep_kernel(base.kernel)
                    self.limit_workers(executor, len(found.sources))
                    description = self._described(executor)
                    begun = self._plan(folder, executor, found, base, description.kernel)
                else:
                    self._n_since = self.count_since(*begun)
                    self.limit_workers(executor, len(begun[1].sources))
                    description = self._described(executor)
                if begun is None or self.control.draining:
                    raise Stopped("stopped before the first file")
                if description.devices == ("cpu",):
                    return self._convert(folder, *begun, executor, description)
            with self.executor(description.devices) as executor:
                return self._convert(folder, *begun, executor, description)

    def count_since(self, job: Job, plan: Plan) -> int:
        """Files that have come since a conversion was begun; it is gone on with without them."""
        if job.repaired is not None:
            return 0
        try:
            sources = self.request.discover().sources
        except SpecctlError:
            # they need not be there any more where all parts are
            return 0
        known = {source.key for source in plan.sources} | {key for key, _ in job.skipped}
        if job.update:
            known |= Finished.read(self.store).known.keys() - {*(job.pruned or ())}
        return sum(source.key not in known for source in sources)

    def target(self) -> Target:
        """The store, and what is asked for."""
        repair = self.repaired, self.forgotten
        return Target(self.store, self.request, self.given, self.options, *repair)

    def limit_workers(self, executor: Executor, most: int) -> None:
        """Have no more workers than there are files, or room: those above would be for nothing."""
        counts = (executor.n_workers, self.options.workers, max(1, most))
        n_workers = min(count for count in counts if count is not None)
        self.options = replace(self.options, workers=n_workers)

    def _count_workers(self, executor: Executor, plan: Plan) -> None:
        """Of a cluster take in those that came later; no more than there are files."""
        if self.options.scheduler is not None:
            n_workers = min(executor.n_workers, max(1, len(plan.sources)))
            self.options = replace(self.options, workers=n_workers)

    def _described(self, executor: Executor) -> Description:
        """What every worker says of device and kernel, once it is warm."""
        description = self.describe(executor)
        self._ready = time.perf_counter()
        if self.options.scheduler is not None:
            # each machine of a cluster has GPUs of its own
            return description
        n_workers = self.options.n_workers
        if n_workers == 0 or not self._is_number_ours:
            # a process, this one too, works on one
            return replace(description, devices=description.devices[: max(1, n_workers)])
        if description.most_workers is not None:
            self.limit_workers(executor, description.most_workers)
        return description

    def describe(self, executor: Executor) -> Description:
        """What every worker says of device and kernel."""
        return planning.describe(executor, self.given, self.options, self.control, self.report)

    def planner(self) -> planning.Planner:
        """What makes the plan of this conversion."""
        return planning.Planner(self.request, self.given, self.options, self.control, self.report)

    def _keep_kernel(self, kernel: str) -> None:
        """Go on with the kernel that has made what is there, unless another one is asked for."""
        if self.options.kernel == "auto" and kernel in _RUN_ANYWHERE:
            self.options = replace(self.options, kernel=kernel)

    def _plan(
        self,
        folder: WorkFolder,
        executor: Executor,
        found: finding.Found,
        base: Finished | None,
        kernel: str,
    ) -> tuple[Job, Plan] | None:
        made = self.planner().plan(executor, found, base)
        if made is None:
            return None
        job, plan = replace(made[0], kernel=kernel), made[1]
        # raises where the stored type cannot hold the values, or where the store to be updated
        # has another layout, while nothing is begun yet
        layout, _ = self._layout(executor, ConvertConfig.from_dict(job.config))
        if job.update:
            Base(self.store, layout, (), is_trusted=job.repaired is None).close()
        folder.begin(job, plan)
        return job, plan

    def executor(self, devices: tuple[str, ...]) -> Executor:
        """Workers for these devices, or this process."""
        scheduler, n_workers = self.options.scheduler, self.options.n_workers
        if n_workers == 0 and scheduler is None:
            return InProcess(devices[0])
        module = PRELOAD if self._is_compiled() else PRELOAD_TORCH
        if scheduler is not None:
            return self._cluster(scheduler, devices[0], module)
        return Pool(devices, n_workers, module)

    def _cluster(self, scheduler: str, device: str, module: str) -> Executor:
        from specctl.convert.cluster import Cluster
        from specctl.convert.node import Terms

        def waiting() -> None:
            self.report(Progress("waiting for workers", 0, 0))

        terms = Terms(device, module, self.options.timeout)
        folder = WorkFolder(self.store).path
        return Cluster(scheduler, terms, folder, self.control, waiting)

    def _is_compiled(self) -> bool:
        """Whether the workers can do without torch, as far as can be said before a file is open.

        A fork server imports once for all; one that knew less than it should costs time only.
        """
        config = self.given.early()
        return is_cpu(self.options.device) and is_compiled(config, "cpu", self.options.kernel)

    def _convert(
        self,
        folder: WorkFolder,
        job: Job,
        plan: Plan,
        executor: Executor,
        description: Description,
    ) -> Summary:
        folder.sweep()
        config = ConvertConfig.from_dict(job.config)
        layout, frequencies = self._layout(executor, config)
        basis, replaces = self.options.basis, self.options.overwrite
        with Joining(folder, job, layout, len(plan.parts), basis, replaces=replaces) as joining:
            parts = PartsRun(
                job=job.id,
                folder=folder,
                plan=plan,
                config=config,
                description=description,
                options=self.options,
                control=self.control,
                report=self.report,
                join=joining.advance,
            )
            parts.run(executor)
            self._count_workers(executor, plan)
            self._check_made(folder, job, parts)
            if job.update and not (parts.n_items or job.changes_more(plan.sources)):
                base = Finished.read(self.store)
                if base.has_failed_alike(parts.plan.sources, parts.failures):
                    folder.remove()
                    return base.summary(
                        job.n_unchanged, job.skipped, parts.failures, **self._told(job)
                    )
            n_sources = len(parts.plan.sources)
            self.report(Progress("writing the store", n_sources, n_sources))
            merge_started = time.perf_counter()
            merged = joining.finish(frequencies, description, parts.unread)
        walls = {
            "merge": time.perf_counter() - merge_started,
            "startup": self._ready - self.started,
            "total": time.perf_counter() - self.started,
        }
        return self._summary(job, parts, merged, description, walls)

    def _check_made(self, folder: WorkFolder, job: Job, parts: PartsRun) -> None:
        """Raise where the parts do not make a store: not all are there, or nothing is in them."""
        if not parts.is_complete:
            done = f"{len(parts.receipts)} of {len(parts.plan.parts)} parts are done"
            raise Stopped(f"stopped: {done}; the same command goes on from there")
        if not job.update and not parts.n_items:
            (key, reason), *others = parts.failures
            folder.remove()
            if not others:
                raise AudioError(f"cannot convert {key}: {reason}")
            n_failed = 1 + len(others)
            raise AudioError(f"none of {n_failed} files could be converted; {key}: {reason}")

    def _layout(self, executor: Executor, config: ConvertConfig) -> tuple[Layout, np.ndarray]:
        task = Task(0, work_names.layout_for, (config, self.options.basis))
        found: tuple[Layout, np.ndarray]
        (found,) = replies(executor, [task], self.control)
        return found

    def _summary(
        self,
        job: Job,
        parts: PartsRun,
        merged: MergeSummary,
        description: Description,
        walls: dict[str, float],
    ) -> Summary:
        receipts = [parts.receipts[number] for number in sorted(parts.receipts)]
        truncated = tuple(each for receipt in receipts for each in receipt.truncated)
        n_converted = sum(receipt.n_converted for receipt in receipts)
        stages = {
            stage: sum(receipt.seconds.get(stage, 0.0) for receipt in receipts) for stage in STAGES
        }
        return Summary(
            store=self.store,
            status="updated" if job.update else "converted",
            n_found=n_converted + len(parts.failures) + len(job.skipped) + job.n_unchanged,
            n_converted=n_converted,
            n_failed=len(parts.failures),
            n_skipped=len(job.skipped),
            n_unchanged=job.n_unchanged,
            n_relabelled=len(job.relabelled),
            n_truncated=len(truncated),
            n_resampled=sum(receipt.n_resampled for receipt in receipts),
            n_resumed=parts.n_resumed,
            n_items=merged.n_items,
            n_frames=merged.n_frames,
            n_bytes=merged.n_bytes,
            sample_rate=parts.config.sample_rate,
            audio_seconds=sum(receipt.audio_seconds for receipt in receipts),
            workers=self.options.n_workers,
            devices=description.devices,
            kernel=description.kernel,
            kernel_reason=description.kernel_reason,
            seconds={**stages, **walls},
            rates=job.rates,
            failures=parts.failures,
            truncated=truncated,
            skipped=job.skipped,
            pruned=job.pruned or (),
            **self._told(job),
        )

    def _told(self, job: Job) -> dict[str, Any]:
        """What else was seen when the files were found, and since."""
        return {
            "n_unlabelled": job.n_unlabelled,
            "n_labels_unused": job.n_labels_unused,
            "patterns_unused": job.patterns_unused,
            "n_since": self._n_since,
            "n_gone": job.n_gone,
        }
