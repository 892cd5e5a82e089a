"""What a conversion would do, how large its store and how long the work: for ``--dry-run``."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from specctl.convert.executors import Executor
from specctl.convert.finding import find
from specctl.convert.folder import WorkFolder
from specctl.convert.jobs import Description, PartJob, Receipt, part_path
from specctl.convert.plan import (
    Plan,
    PlannedSource,
    expected_seconds,
    n_items,
    stored_bytes,
)
from specctl.convert.run import Conversion
from specctl.convert.settings import ConvertConfig
from specctl.convert.summary import Estimate, Summary
from specctl.convert.target import Target
from specctl.convert.temporary import temporary_place
from specctl.convert.watched import make_part
from specctl.durable import check_writable
from specctl.errors import Stopped
from specctl.store.part import Part, read_part
from specctl.store.tables import encode_text, item_table

_LEAST_SAMPLES = 8
_MOST_SAMPLES = 256
_SAMPLED_SECONDS = 60.0
"""Of audio: a few short files say little of the others, and are as soon done as begun."""

_LONGEST_SAMPLE = 600.0
"""Seconds of audio; a longer file says nothing that shorter ones do not."""


def estimate(conversion: Conversion, target: Target | None = None) -> Estimate:
    """Find files, read headers, and convert a few of them into a folder that is thrown away.

    Parameters
    ----------
    conversion : Conversion
    target : Target, optional
        The store to be; without one, any that is not there yet.

    Raises
    ------
    ParameterError, KernelError, AudioError, StoreError
        As the conversion itself would, before the first part.
    """
    conversion.given.early()
    begun, there, n_since = None, dict[int, int](), 0
    if target is not None:
        target.check()
        folder = WorkFolder(target.store)
        begun = target.begun(folder, tidies=False)
        if begun is not None:
            job, plan = begun
            n_since = conversion.count_since(job, plan)
            texts = _text_bytes(plan.sources)
            there = {n: _bytes_of(part, texts) for n, part in folder.parts(job, len(plan.parts))}
        elif target.is_finished:
            return _of_summary(target.already_there())
        check_writable(target.store.absolute().parent, "the store")
    base = target.base() if target is not None else None
    with conversion.executor(("cpu",)) as executor:
        if begun is None:
            found = find(conversion.request, base)
            if base is not None and target is not None and not found.is_due:
                return _of_summary(target.nothing_new(base, found))
            conversion.limit_workers(executor, len(found.sources))
        description = conversion.describe(executor)
        if begun is None:
            begun = conversion.planner().plan(executor, found, base)
        if begun is None:
            raise Stopped("stopped before the estimate was made")
        job, plan = begun
        left = Plan(tuple(part for number, part in enumerate(plan.parts) if number not in there))
        config = ConvertConfig.from_dict(job.config)
        receipt, part, sample = _rehearsal(conversion, executor, left, config, description)
    sources = plan.sources
    expected = sum(stored_bytes(source, config) for source in left.sources)
    sampled = sum(stored_bytes(source, config) for source in sample)
    share = expected / sampled if sampled else 0.0
    n_bytes = 0 if part is None else _n_bytes(left, config, part, share, _text_bytes(sources))
    whole = n_bytes + sum(there.values())
    workers = max(1, min(conversion.options.n_workers, len(left.parts)))
    return Estimate(
        n_found=len(sources) + len(job.skipped) + job.n_unchanged,
        sample_rate=config.sample_rate,
        n_skipped=len(job.skipped),
        n_unchanged=job.n_unchanged,
        n_relabelled=len(job.relabelled),
        n_unlabelled=job.n_unlabelled,
        n_labels_unused=job.n_labels_unused,
        n_since=n_since,
        n_gone=job.n_gone,
        n_pruned=len(job.pruned or ()),
        n_unreadable=sum(source.sample_rate == 0 for source in sources),
        n_too_short=sum(
            source.seconds > 0 and not stored_bytes(source, config) for source in sources
        ),
        audio_hours=sum(source.seconds for source in sources) / 3600,
        n_bytes=whole,
        seconds=receipt.wall * share / workers,
        rates=job.rates,
        n_resampled=sum(source.sample_rate not in (0, config.sample_rate) for source in sources),
        n_parts=len(plan.parts),
        n_parts_done=len(there),
        patterns_unused=job.patterns_unused,
        # the parts that are not there yet, and the store, which an update begins with a copy
        needed_bytes=n_bytes + whole + (0 if base is None else base.n_bytes),
        free_bytes=None if target is None else _free_bytes(target.store),
    )


def _free_bytes(store: Path) -> int | None:
    with suppress(OSError):
        return shutil.disk_usage(store.absolute().parent).free
    return None


def _of_summary(summary: Summary) -> Estimate:
    """Of a store that is complete, as its summary tells."""
    return Estimate(
        n_found=summary.n_found,
        sample_rate=summary.sample_rate,
        n_skipped=summary.n_skipped,
        n_unchanged=summary.n_unchanged,
        n_unlabelled=summary.n_unlabelled,
        n_labels_unused=summary.n_labels_unused,
        n_gone=summary.n_gone,
        patterns_unused=summary.patterns_unused,
    )


def _n_bytes(plan: Plan, config: ConvertConfig, part: Part, share: float, texts: int) -> int:
    """Bytes that a plan adds to a store, ``share`` times as many frames as ``part`` has."""
    index = _index_bytes(part, texts) * sum(n_items(source, config) for source in plan.sources)
    if config.compression == "none":
        size = part.layout.chunk_bytes
        rows = (sum(stored_bytes(source, config) for source in each) for each in plan.parts)
        return index + sum(-(-n_bytes // size) * size for n_bytes in rows)
    return index + round(int(part.chunk_table["length"].sum()) * share)


def _bytes_of(part: Part, texts: int) -> int:
    """Bytes that a part adds to a store.

    The part itself is larger by what a store has no use for, most of all if its items are short.
    """
    return _index_bytes(part, texts) * len(part.items) + int(part.chunk_table["length"].sum())


def _index_bytes(part: Part, texts: int) -> int:
    """Bytes of an item of a part in the index, where those of names and label are ``texts``."""
    width = {name: column.itemsize for name, column in item_table(part.items, 0).items()}
    ending = width.pop("key") - width.pop("source")
    del width["label"]
    return texts + ending + sum(width.values())


def _text_bytes(sources: Sequence[PlannedSource]) -> int:
    """Bytes of key, source and label in each row of an index: as many as the longest of each."""
    name = max((len(encode_text(source.key, "key")) for source in sources), default=0)
    label = max((len(encode_text(source.label, "label")) for source in sources), default=0)
    return 2 * max(name, 1) + max(label, 1)


def _rehearsal(
    conversion: Conversion,
    executor: Executor,
    plan: Plan,
    config: ConvertConfig,
    description: Description,
) -> tuple[Receipt, Part | None, Sequence[PlannedSource]]:
    """Convert a few sources spread over the plan; the receipt, the part, and which they were."""
    known = [each for each in plan.sources if each.seconds > 0 and stored_bytes(each, config)]
    usable = [each for each in known if each.seconds <= _LONGEST_SAMPLE]
    usable = usable or sorted(known, key=lambda each: each.seconds)[:1] or list(plan.sources)
    wanted = _SAMPLED_SECONDS * len(usable) / max(1.0, sum(map(expected_seconds, usable)))
    n_sampled = min(max(_LEAST_SAMPLES, int(wanted)), _MOST_SAMPLES, len(usable))
    sample = tuple(usable[place * len(usable) // n_sampled] for place in range(n_sampled))
    with temporary_place() as folder:
        while sample:
            part = PartJob(
                number=0,
                folder=str(folder),
                beats="",
                n_parts=1,
                sources=sample,
                config=config,
                kernel=description.kernel,
                basis=conversion.options.basis,
            )
            options, control = conversion.options, conversion.control
            outcome = make_part(executor, part, folder / "beats", options.timeout, control)
            if outcome.error is not None:
                raise outcome.error
            if not outcome.death:
                return outcome.value, read_part(part_path(folder, 0)), sample
            # without the one that ended its worker
            place = outcome.place
            sample = () if place in (None, -1) else sample[:place] + sample[place + 1 :]
    return Receipt(0, 0, 0, 0, 0.0, ()), None, ()
