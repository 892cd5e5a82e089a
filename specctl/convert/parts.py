"""Converting all parts: hand them out, watch them, repeat those whose worker died."""

from collections import Counter, deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from math import ceil

from specctl.convert import work_names
from specctl.convert.beats import Beat, Beats, Watch
from specctl.convert.executors import Control, Executor, Outcome, Task
from specctl.convert.folder import WorkFolder
from specctl.convert.jobs import Description, PartJob, Receipt
from specctl.convert.patience import patience
from specctl.convert.plan import Plan
from specctl.convert.request import Options
from specctl.convert.settings import ConvertConfig
from specctl.convert.streaks import Streaks
from specctl.convert.summary import Progress
from specctl.errors import AudioError, StoreError

_MOST_UNEXPLAINED_DEATHS = 3


@dataclass(slots=True)
class PartsRun:
    """The conversion of the parts of one plan, up to the last receipt.

    A part whose worker dies or hangs is done again, one file at a time; a file at which that
    happens twice is counted out, and the part is done without it. Its result is then what it
    would have been had the file failed in the ordinary way.

    ``join`` is called again and again with the numbers of the parts that are there.
    """

    job: str
    folder: WorkFolder
    plan: Plan
    config: ConvertConfig
    description: Description
    options: Options
    control: Control
    report: Callable[[Progress], None]
    join: Callable[[Container[int]], None] = field(default=lambda _: None)
    receipts: dict[int, Receipt] = field(default_factory=dict)
    n_resumed: int = 0
    _deaths: Counter[tuple[int, str]] = field(default_factory=Counter)
    _streaks: Streaks = field(init=False)

    def __post_init__(self) -> None:
        self._streaks = Streaks(self.options.max_failures)

    def run(self, executor: Executor) -> None:
        """Make every part that is not there yet; returns early if ``control`` says so."""
        n_parts = len(self.plan.parts)
        beats = Beats(self.folder.beats, n_parts, create=True)
        tasks: deque[Task] = deque()
        for number in range(n_parts):
            if not self._resumed(number, beats):
                tasks.append(self._task(number, beats))
        watch = Watch(beats, self._patience)
        # once: there may be millions
        sources = self.plan.sources
        n_total, seconds = len(sources), sum(source.seconds for source in sources)

        def look() -> list[int]:
            self.join(self.receipts)
            totals = beats.totals()
            self.report(
                Progress(
                    stage="converting",
                    n_done=totals["n_done"],
                    n_total=n_total,
                    n_failed=totals["n_failed"],
                    audio_seconds=totals["milliseconds"] / 1000,
                    total_audio_seconds=seconds,
                )
            )
            return watch.hung()

        for outcome in executor.run(tasks, self.control, look):
            self._take(outcome, beats, tasks)
        look()

    @property
    def is_complete(self) -> bool:
        """Whether every part is there."""
        return len(self.receipts) == len(self.plan.parts)

    @property
    def n_items(self) -> int:
        """Items of all parts that are there."""
        return sum(receipt.n_items for receipt in self.receipts.values())

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Key and reason of each file that failed, in the order of the plan."""
        receipts = [self.receipts[number] for number in sorted(self.receipts)]
        return tuple(failure for receipt in receipts for failure in receipt.failures)

    @property
    def unread(self) -> dict[str, str]:
        """Those of them of which nothing is known, which may be what they were, and their labels.

        By source key; the label is the one that the plan has.
        """
        keys = {key for receipt in self.receipts.values() for key in receipt.unread}
        # once: there may be millions
        sources = self.plan.sources if keys else ()
        return {source.key: source.label for source in sources if source.key in keys}

    def _resumed(self, number: int, beats: Beats) -> bool:
        part = self.folder.finished_part(number)
        if part is None or not part.is_of(self.job):
            return False
        failed = {failure.key for failure in part.failures}
        if (failed and self.options.strict) or self._too_many(number, failed) is not None:
            # whoever gives the command again may have mended what stopped it
            return False
        self.n_resumed += 1
        extra = part.extra
        receipt = Receipt(
            number=number,
            n_converted=extra["n_converted"],
            n_items=len(part.items),
            n_resampled=extra["n_resampled"],
            audio_seconds=extra["audio_seconds"],
            failures=tuple((failure.key, failure.reason) for failure in part.failures),
            truncated=tuple((key, reason) for key, reason in extra["truncated"]),
            unread=tuple(extra.get("unread", ())),
        )
        self.receipts[number] = receipt
        self._count(beats.row(number), receipt)
        return True

    def _patience(self, number: int, place: int) -> float:
        return patience(self.options.timeout, self.plan.parts[number][place].size)

    def _task(self, number: int, beats: Beats) -> Task:
        job = PartJob(
            number=number,
            folder=str(self.folder.path),
            beats=str(beats.path),
            n_parts=len(self.plan.parts),
            sources=self.plan.parts[number],
            config=self.config,
            kernel=self.description.kernel,
            vram_budget=self.options.vram_budget,
            n_sharing=max(1, ceil(self.options.n_workers / len(self.description.devices))),
            one_at_a_time=any(part == number for part, _ in self._deaths),
            strict=self.options.strict,
            basis=self.options.basis,
            allow_truncated=self.options.allow_truncated,
            id=self.job,
        )
        return Task(number, work_names.convert_part, (job,))

    def _take(self, outcome: Outcome, beats: Beats, tasks: deque[Task]) -> None:
        number = outcome.task.number
        if outcome.error is not None:
            raise outcome.error
        if outcome.death:
            beat = beats.row(number)
            place = beat.source if outcome.place is None else outcome.place
            # the next worker is not judged by the silence of this one
            beat.start()
            self._mourn(number, place, outcome.death)
            tasks.appendleft(self._task(number, beats))
            return
        receipt: Receipt = outcome.value
        failed = dict(receipt.failures)
        key = self._too_many(number, failed)
        if key is not None:
            most = self.options.max_failures
            many = "" if most == 1 else f"{most} files in a row failed, the last one "
            raise AudioError(
                f"{many or 'cannot convert '}{key}: {failed[key]}; allow more with --max-failures"
            )
        self.receipts[number] = receipt
        # it may have been made where these signs of life are not seen
        self._count(beats.row(number), receipt)

    def _count(self, beat: Beat, receipt: Receipt) -> None:
        beat.finish(
            n_done=len(self.plan.parts[receipt.number]),
            n_failed=len(receipt.failures),
            seconds=receipt.audio_seconds,
        )

    def _mourn(self, number: int, place: int, manner: str) -> None:
        """Remember where a worker died; the second time at one file, the file is poison."""
        source = self.plan.parts[number][place].key if place >= 0 else ""
        self._deaths[number, source] += 1
        count = self._deaths[number, source]
        if not source and count >= _MOST_UNEXPLAINED_DEATHS:
            raise StoreError(f"part {number} cannot be made: {manner}, {count} times")
        if source and count >= 2:
            if self.options.strict:
                raise AudioError(f"cannot convert {source}: {manner}")
            self.folder.add_poison(source, manner)
            self.plan = self.plan.poisoned(self.folder.read_poison())

    def _too_many(self, number: int, failed: Container[str]) -> str | None:
        """The file of a part that is one failure in a row too many.

        Those that failed before do not count: an update takes them up without the good ones that
        they stood among.
        """
        counted = [
            source
            for source in self.plan.parts[number]
            if not (source.failed_before and source.key in failed)
        ]
        place = self._streaks.add(number, [source.key in failed for source in counted])
        return None if place is None else counted[place].key
