"""The job behind ``specctl verify --repair``: what is damaged is converted again, and only that.

A repair is an update: the new store is written beside the old one and then takes its name.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from specctl.audio.discover import Source
from specctl.basis import Basis, save_basis
from specctl.convert.executors import Control
from specctl.convert.finding import Found
from specctl.convert.folder import repair_folder
from specctl.convert.request import Options, Request
from specctl.convert.run import Conversion
from specctl.convert.settings import ConvertConfig, GivenSettings
from specctl.convert.stored import Finished, difference
from specctl.convert.summary import Progress
from specctl.convert.target import tidy_up
from specctl.convert.temporary import temporary_place
from specctl.durable import real_place
from specctl.errors import AudioError, ParameterError, StoreError
from specctl.store.layout import ItemRecord
from specctl.store.reader import Store, open_store
from specctl.store.verify import Problem, find_problems

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Repair:
    """What came of a repair.

    Parameters
    ----------
    found : tuple of Problem
        What was wrong before.
    repaired : tuple of str
        Keys of the items that were made again.
    differing : tuple of str
        Those whose frames are not, bit for bit, what was stored once: another processor, kernel
        or version made them.
    forgotten : tuple of str
        Keys of the items that were taken out, since they could not be made again.
    problems : tuple of Problem
        What is wrong now; of an item that was left as it is, also why.
    """

    found: tuple[Problem, ...] = ()
    repaired: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Again(Request):
    """The sources of a store that are converted again."""

    stated: str = ""

    def identity(self) -> str:
        """That of the request which the store was made for."""
        return self.stated


@dataclass(frozen=True, slots=True)
class _Damaged:
    """What a repair needs to know of a store whose index is good.

    ``records`` are the items of the damaged sources, ``keys`` those that are damaged themselves.
    """

    config: ConvertConfig
    basis: Basis | None
    job: str
    request: str
    made_with: tuple[str, str]
    records: tuple[ItemRecord, ...]
    keys: frozenset[str]

    @classmethod
    def read(cls, path: Path, keys: set[str]) -> "_Damaged":
        with open_store(path) as store:
            config = _trusted_config(store)
            keys = {key for key in keys if key in store and not store.matches_digest(key)}
            damaged = {store.record(key).source for key in keys}
            attributes = store.attributes
            return cls(
                config=config,
                basis=store.basis,
                job=str(attributes.get("job", "")),
                request=str(attributes.get("request", "")),
                made_with=(str(attributes.get("kernel")), str(attributes.get("device"))),
                records=tuple(record for record in store.records if record.source in damaged),
                keys=frozenset(keys),
            )

    def of_sources(self, chosen: Collection[str]) -> "_Damaged":
        """The same store, with the items of some of the damaged sources."""
        records = (record for record in self.records if record.source in chosen)
        return replace(self, records=tuple(records))

    @property
    def hashes(self) -> dict[str, str]:
        """Source key to the SHA-256 of its file."""
        return {record.source: record.sha256 for record in self.records}

    @property
    def labels(self) -> dict[str, str]:
        """Source key to label."""
        return {record.source: record.label for record in self.records}


def repair_store(
    store: str | Path,
    sources: str | Path | Sequence[str | Path] = (),
    *,
    forget: bool = False,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
    control: Control | None = None,
) -> Repair:
    """Verify a store, and convert again the items that are damaged.

    Parameters
    ----------
    store : path
    sources : path or sequence of paths
        Where the audio is, as it was given when the store was made. Only files that are, byte
        for byte, what they were then are converted; items of others stay as they are. None are
        needed to ``forget``.
    forget : bool
        Take out the damaged items that cannot be made again, rather than leave them as they are.
        Their sources stand among the errors from then on, and an update tries them again.
    options : Options
        ``workers`` and ``timeout`` count; all else is as the store has it.
    progress : callable, optional
        Called with a `Progress` many times a second, in this thread.
    control : Control, optional
        Its ``stop`` ends the run after the parts in hand.

    Raises
    ------
    AudioError
        All sources are missing or have changed, and nothing is to be forgotten, or one cannot be
        converted; the store is as it was.
    StoreError
        The index or the settings are damaged, so that nothing says what is to be made.
    Stopped
        If ``control`` stopped the run.
    """
    path = real_place(store)
    if sources or not forget:
        request = Request.of(sources, Options())
    else:
        request = Request((), (), (), None)
    found = tuple(find_problems(path))
    tidy_up(path)
    if not found:
        return Repair()
    every = _Damaged.read(path, {problem.key for problem in found})
    again, reasons = _unchanged_sources(request, every)
    if reasons and not (again or forget):
        named = _some(list(reasons.values()))
        raise AudioError(f"cannot repair {path}: {named}; --forget takes such items out")
    damaged = every.of_sources({source.key for source in again})
    left = {record.key: record.source for record in every.records if record.source in reasons}
    forgotten = tuple(key for key in left if forget and key in every.keys)
    with ExitStack() as stack:
        basis_file = None
        if damaged.basis is not None:
            basis_file = str(stack.enter_context(temporary_place()) / "basis.safetensors")
            save_basis(basis_file, damaged.basis)
        Conversion(
            store=path,
            request=_Again(request.paths, (), (), None, stated=damaged.request),
            given=GivenSettings(_without_basis(damaged.config), None, damaged.basis),
            options=_options(options, damaged.made_with, basis_file),
            control=control or Control(),
            report=progress or (lambda _: None),
            find=lambda _, base: _found(again, damaged, forgotten, base, path),
            repaired=tuple(damaged.hashes),
            forgotten=forgotten,
            workplace=repair_folder,
        ).run()
    told = {key: reasons[source] for key, source in left.items()}
    return replace(_outcome(path, found, damaged, told), forgotten=forgotten)


def _told(problem: Problem, reason: str, found: tuple[Problem, ...]) -> Problem:
    """What is wrong with an item that was left, and why it was."""
    said = [problem.message, reason]
    if problem not in found:
        # a chunk that HDF5 could not find: a blank has its place
        said.append("what could not be read of it is gone from the store")
    return problem._replace(message="; ".join(said))


def _trusted_config(store: Store) -> ConvertConfig:
    """The settings of a store, which its fingerprint is of."""
    try:
        return ConvertConfig.from_dict(store.config)
    except ParameterError as error:
        raise StoreError(f"cannot repair {store.path}: its settings: {error}") from error


def _without_basis(config: ConvertConfig) -> dict[str, object]:
    return {name: value for name, value in config.given().items() if name != "basis"}


def _options(options: Options, made_with: tuple[str, str], basis_file: str | None) -> Options:
    """The kernel and the device that gave the numbers, as far as they are here."""
    kernel, device = made_with
    on_cpu = device == "cpu"
    return replace(
        options,
        kernel=kernel if on_cpu else "auto",
        device="cpu" if on_cpu else "auto",
        basis=basis_file,
        labels=None,
        overwrite=False,
        update=True,
        # a source that was good once and fails now must not leave the store
        strict=True,
        allow_truncated=True,
    )


def _unchanged_sources(request: Request, damaged: _Damaged) -> tuple[list[Source], dict[str, str]]:
    """The files of the damaged items that have the bytes they had, and why others have not."""
    discovered = request.discover().sources if request.paths else ()
    there = {source.key: source for source in discovered}
    again, reasons = [], {}
    for key, sha256 in damaged.hashes.items():
        source = there.get(key)
        reason = "is missing" if source is None else difference(source, sha256)
        if reason is not None:
            reasons[key] = f"{key} {reason}"
        elif source is not None:
            again.append(source)
    return again, reasons


def _some(reasons: Sequence[str]) -> str:
    """The first of them, and how many there are more."""
    n_more = len(reasons) - _MAX_NAMED
    return ", ".join(reasons[:_MAX_NAMED]) + (f" and {n_more} more" if n_more > 0 else "")


def _found(
    again: Sequence[Source],
    damaged: _Damaged,
    forgotten: tuple[str, ...],
    base: Finished | None,
    path: Path,
) -> Found:
    if base is None or base.job != damaged.job:
        raise StoreError(f"{path} was replaced meanwhile; give the command again")
    replaced = tuple(damaged.hashes)
    return Found(
        sources=tuple(again),
        skipped=(),
        n_unchanged=len(base.known) - len(replaced),
        replaced=replaced,
        labels=damaged.labels,
        is_repair=True,
        forgotten=forgotten,
    )


def _outcome(
    path: Path, found: tuple[Problem, ...], damaged: _Damaged, left: Mapping[str, str]
) -> Repair:
    """The new store, verified, against what the index of the old one said.

    ``left`` has the items that were not made again, and why.
    """
    problems = tuple(
        _told(problem, left[problem.key], found) if problem.key in left else problem
        for problem in find_problems(path)
    )
    with open_store(path) as store:
        digests = {record.key: record.digest for record in store.records}
    return Repair(
        found=found,
        repaired=tuple(record.key for record in damaged.records),
        differing=tuple(
            record.key for record in damaged.records if digests.get(record.key) != record.digest
        ),
        problems=problems,
    )
