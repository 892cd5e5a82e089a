"""Which files a conversion is to make: those that are found, but for what its store has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from specctl.audio.discover import Discovery, Skipped, Source
from specctl.audio.reasons import unmatched
from specctl.convert.request import Request
from specctl.convert.stored import Finished
from specctl.errors import AudioError, ParameterError, StoreError


@dataclass(frozen=True, slots=True)
class Found:
    """The files to convert; ``n_unchanged`` more are in the store already.

    ``labels`` are by key, ``n_labels_unused`` more are of no file that was found and of none in
    the store; ``n_unlabelled`` files that were found have none, where labels are asked for or the
    store has some. ``patterns_unused`` are of no file.
    ``gone`` failed before and are not there any more; nobody writes a store anew for their sake.
    ``n_gone`` more, of which the store has items, stay in it; ``pruned``, which are such, do not.
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
    n_gone: int = 0
    pruned: tuple[str, ...] | None = None
    relabelled: Mapping[str, str] = field(default_factory=dict)
    is_repair: bool = False
    forgotten: tuple[str, ...] = ()

    @property
    def is_due(self) -> bool:
        """Whether a store comes of it that differs from the one that is there."""
        is_other = self.sources or self.replaced or self.relabelled or self.pruned
        return bool(is_other or self.is_repair)

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
        If an update would take other files for those of the store, or all of them out of it.
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
    found = Found(
        sources=discovery.sources,
        skipped=discovery.skipped,
        labels=labels,
        n_labels_unused=n_unused,
        n_unlabelled=n_unlabelled,
        patterns_unused=discovery.patterns_unused,
    )
    return found if base is None else _update(request, discovery, base, found, given)


def _update(
    request: Request,
    discovery: Discovery,
    base: Finished,
    found: Found,
    given: Mapping[str, str],
) -> Found:
    """Of what was found, that which the store has not; ``given`` are the labels of anything."""
    if base.request != request.identity():
        base.check_related(discovery.sources)
    fresh = tuple(base.changed(discovery.sources))
    # what the store has of a file that cannot be looked at now, stays
    replaced = [source.key for source in fresh if source.key in base.known and not source.unseen]
    # folders that could not be read then
    replaced += base.failed.keys() & discovery.folders
    gone = discovery.gone(base.known)
    with_items = sorted(gone & base.labels.keys())
    if request.prune and len(with_items) == len(base.labels) > 0:
        raise StoreError(
            f"{base.path} has items of other files alone, --prune would take out all of them"
        )
    labels, n_unlabelled, relabelled = found.labels, found.n_unlabelled, {}
    made = {source.key for source in fresh}
    if request.labels is not None:
        there = {source.key for source in discovery.sources}
        # of files that are gone, what is in the store can have a label all the same
        wanted = {key: given.get(key, "") for key in base.labels if key in there or key in given}
        left = made.union(with_items) if request.prune else made
        relabelled = base.relabelled({key: wanted[key] for key in wanted if key not in left})
    else:
        labels = {key: base.labels[key] for key in made if key in base.labels}
        n_unlabelled = any(base.labels.values()) * sum(not labels.get(key) for key in made)
    return replace(
        found,
        sources=fresh,
        n_unchanged=len(discovery.sources) - len(fresh),
        replaced=tuple(replaced),
        labels=labels,
        n_unlabelled=n_unlabelled,
        gone=tuple(sorted(gone - base.labels.keys())),
        n_gone=0 if request.prune else len(with_items),
        pruned=tuple(with_items) if request.prune else None,
        relabelled=relabelled,
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
