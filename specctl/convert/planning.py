"""Before the first part: find the files, read their headers, settle the settings, divide."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from specctl.audio.discover import Discovery, Skipped, Source
from specctl.audio.info import AudioInfo
from specctl.audio.reasons import unmatched
from specctl.convert import work_names
from specctl.convert.early import is_cpu
from specctl.convert.executors import Control, Executor, Task, replies
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
from specctl.errors import AudioError, ParameterError, StoreError
from specctl.version import __version__

_FALLBACK_RATE = 48_000
"""Rate of a store none of whose files has a header that can be read."""


@dataclass(frozen=True, slots=True)
class Found:
    """The files to convert; ``n_unchanged`` more are in the store already.

    ``labels`` are by key, ``n_labels_unused`` more are of no file that was found and of none in
    the store; ``n_unlabelled`` files that were found have none, where labels are asked for or the
    store has some. ``patterns_unused`` are of no file.
    ``gone`` failed before and are not there any more; nobody writes a store anew for their sake.
    ``relabelled`` are those of the unchanged files that the store has with another one.
    ``is_repair`` has the store written anew even if there are no files, and without the items that
    are ``forgotten``.
    """

    sources: tuple[Source, ...]
    skipped: tuple[Skipped, ...]
    n_unchanged: int = 0
    replaced: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    n_labels_unused: int = 0
    n_unlabelled: int = 0
    patterns_unused: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    relabelled: Mapping[str, str] = field(default_factory=dict)
    is_repair: bool = False
    forgotten: tuple[str, ...] = ()

    @property
    def is_due(self) -> bool:
        """Whether a store comes of it that differs from the one that is there."""
        return bool(self.sources or self.replaced or self.relabelled or self.is_repair)

    @property
    def skipped_reasons(self) -> tuple[tuple[str, str], ...]:
        """Key and reason of each that is skipped."""
        return tuple((skipped.key, skipped.reason) for skipped in self.skipped)


def find(request: Request, base: Finished | None) -> Found:
    """Find the files of a request; for an update, those that are new or changed.

    Raises
    ------
    AudioError
        If there are none at all.
    ParameterError
        If the labels cannot be read, or none of them is of a file that was found.
    StoreError
        If an update would take other files for those of the store.
    """
    discovery = request.discover()
    if not discovery.sources:
        where = ", ".join(str(path) for path in request.paths[:3])
        hint = "" if not (request.include or request.exclude) else " that the patterns allow"
        unused = [each for each in discovery.patterns_unused if each in request.include]
        why = f"; {unmatched(unused)}" if unused else ""
        for skipped in discovery.skipped[:1]:
            why += f"; skipped {skipped.key}: {skipped.reason}"
        raise AudioError(f"no audio files{hint}: {where}{why}")
    stored = base.labels if base is not None else {}
    given, n_unused = _labels(request, discovery.sources, stored)
    labels = {source.key: given[source.key] for source in discovery.sources if source.key in given}
    n_unlabelled = 0
    if request.labels is not None:
        n_unlabelled = sum(not labels.get(source.key) for source in discovery.sources)
    fresh = discovery.sources
    replaced: tuple[str, ...] = ()
    relabelled: dict[str, str] = {}
    if base is not None:
        if base.request != request.identity():
            base.check_related(discovery.sources)
        fresh = tuple(base.changed(fresh))
        # what the store has of a file that cannot be looked at now, stays
        replaced = tuple(
            source.key for source in fresh if source.key in base.known and not source.unseen
        )
        # folders that could not be read then
        replaced += tuple(base.failed.keys() & discovery.folders)
        if request.labels is not None:
            there = {source.key for source in discovery.sources}
            # of files that are gone, what is in the store can have a label all the same
            wanted = {key: given.get(key, "") for key in stored if key in there or key in given}
            made = {source.key for source in fresh}
            relabelled = base.relabelled({key: wanted[key] for key in wanted if key not in made})
        else:
            labels = {each.key: base.labels[each.key] for each in fresh if each.key in base.labels}
            n_unlabelled = any(stored.values()) * sum(not labels.get(each.key) for each in fresh)
    return Found(
        sources=fresh,
        skipped=discovery.skipped,
        n_unchanged=len(discovery.sources) - len(fresh),
        replaced=replaced,
        labels=labels,
        n_labels_unused=n_unused,
        n_unlabelled=n_unlabelled,
        patterns_unused=discovery.patterns_unused,
        gone=_gone(request, discovery, base) if base is not None else (),
        relabelled=relabelled,
    )


def _gone(request: Request, discovery: Discovery, base: Finished) -> tuple[str, ...]:
    """Files of which a store has a failure and nothing else, and which are not there any more."""
    if request.include or request.exclude:
        # they may be there, and not asked for
        return ()
    there = {source.key for source in discovery.sources}
    return tuple(
        key
        for key in base.failed.keys() - base.labels.keys() - there
        if (key.rpartition("/")[0] or ".") in discovery.folders
    )


def _labels(
    request: Request, sources: Sequence[Source], stored: Mapping[str, str]
) -> tuple[dict[str, str], int]:
    """Labels by key, and how many there are of files that are neither here nor in the store."""
    labels = request.labels_of([source.key for source in sources], stored)
    known = {source.key for source in sources} | stored.keys()
    n_used = len(labels.keys() & known)
    if labels and not n_used and request.labels != "folder":
        raise ParameterError(
            f"path must be as files are called here, such as {sources[0].key!r}, all of "
            f"{request.labels} are others, such as {next(iter(labels))!r}"
        )
    return labels, len(labels) - n_used


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
