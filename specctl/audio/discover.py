"""Which audio files a run is about: folders are walked, every file is found once."""

# names are bytes in here, which pathlib cannot hold
# ruff: noqa: PTH100, PTH114, PTH116, PTH118, PTH119, PTH120, PTH123

import codecs
import contextlib
import heapq
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from specctl.audio import reasons
from specctl.audio.formats import AUDIO_EXTENSIONS, extension
from specctl.audio.names import decode_key, encode_key
from specctl.audio.real_paths import RealPaths
from specctl.audio.times import modification_time
from specctl.errors import AudioError
from specctl.given_files import UTF_16
from specctl.presence import NOWHERE

_APPLE_DOUBLE = b"\0\5\x16\7"


@dataclass(frozen=True, slots=True)
class Source:
    """An audio file of a run.

    Attributes
    ----------
    key : str
        Its name in the store: "/"-separated, valid UTF-8, unique within the run.
    path : str
        Absolute, as ``os.fsdecode`` gives it.
    size : int
        Bytes.
    mtime_ns : int
        Time of the last modification.
    unseen : str
        Why nothing is known of it, empty for all but a few: it may be what it was before.
    """

    key: str
    path: str
    size: int
    mtime_ns: int
    unseen: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that looked like audio, or like a folder of it, and was not taken."""

    key: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What `discover` found, sorted by key, and the keys of all folders that could be read.

    ``patterns_unused`` are those that were of none of the audio files that are there; keys are
    relative to ``base``, as ``os.fsdecode`` gives it.
    """

    sources: tuple[Source, ...]
    skipped: tuple[Skipped, ...]
    folders: frozenset[str] = frozenset()
    patterns_unused: tuple[str, ...] = ()
    base: str = ""

    def gone(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys of which there is nothing any more: no file, nor one left out.

        What cannot be looked at may be there.
        """
        there = {source.key for source in self.sources}
        base = os.fsencode(self.base)
        return {key for key in keys if key not in there and _is_nowhere(base, key)}


def discover(
    paths: Sequence[Path], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Discovery:
    """Find the audio files that ``paths`` stand for.

    Folders are searched to any depth for `AUDIO_EXTENSIONS`; a file named in ``paths`` is
    taken whatever its extension. A file reached by several names is taken once, by the
    name that needs no symbolic link, else by the first in order; a hard link is a file of
    its own.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders. Keys are relative to the only folder given, else to the deepest
        folder that holds everything given.
    include, exclude : sequence of str
        ``fnmatch`` patterns for the whole key, the bare name, or a folder that the file lies in
        at any depth, by its key or name, as they are in a store or on the disk; ``exclude`` wins.
        The case of an extension of audio is no matter.

    Raises
    ------
    AudioError
        One of ``paths`` does not exist, or is a folder that cannot be read. Of those that are
        found in a folder, one that cannot be read is a source, whose conversion will fail.
    """
    if not paths:
        return Discovery((), ())
    given = [(path, _status(path)) for path in map(_absolute, paths)]
    folders = [
        path if stat.S_ISDIR(status.st_mode) else os.path.dirname(path) for path, status in given
    ]
    walk = _Walk(os.path.commonpath(folders), tuple(include), tuple(exclude))
    for path, status in given:
        # with a choice of names, those through a link have to wait for the others
        linked = len(given) > 1 and os.path.islink(path)
        walk.add_given(path, status, linked=linked)
    walk.follow_links()
    unseen = {source.key for source in walk.sources if source.unseen}
    return Discovery(
        tuple(sorted(walk.sources, key=lambda source: source.key)),
        tuple(sorted(walk.skipped, key=lambda skipped: skipped.key)),
        frozenset(walk.keys_by_folder.values()) - unseen,
        tuple(pattern for pattern in walk.patterns if pattern not in walk.used),
        os.fsdecode(walk.base),
    )


def read_file_list(stream_bytes: bytes, base: Path) -> list[Path]:
    """Paths from a list of names, one a line, or NUL-separated if there is any NUL.

    Parameters
    ----------
    stream_bytes : bytes
        Blank lines are ignored; lines that all end in CR LF, but for one without an end, are
        taken for Windows lines. UTF-8, its mark at the start is ignored; with its mark, UTF-16.
    base : Path
        Folder that relative names start from.
    """
    if stream_bytes.startswith(UTF_16):
        stream_bytes = stream_bytes.decode("utf-16", "replace").encode()
    stream_bytes = stream_bytes.removeprefix(codecs.BOM_UTF8)
    if b"\0" in stream_bytes:
        names = [name for name in stream_bytes.split(b"\0") if name]
    else:
        *lines, last = stream_bytes.split(b"\n")
        lines = [line for line in lines if line.strip()]
        names = [*lines, last] if last.strip() else lines
        if lines and all(line.endswith(b"\r") for line in lines):
            names = [name.removesuffix(b"\r") for name in names]
    return [base / os.fsdecode(name) for name in names]


def _absolute(path: Path) -> bytes:
    """Absolute path without ``.`` and ``..``, leading to the same file as ``path``."""
    name = os.fsencode(path)
    absolute = os.path.abspath(name)
    if b".." in name.split(b"/"):
        # after a symbolic link ".." is not the folder that the text suggests
        real = os.path.realpath(name)
        if os.path.realpath(absolute) != real:
            return real
    return absolute


def _status(path: bytes) -> os.stat_result:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError(f"no such file or folder: {os.fsdecode(path)!r}") from error
    except (OSError, ValueError) as error:
        reason = reasons.system_reason(error)
        raise AudioError(f"cannot read {os.fsdecode(path)!r}: {reason}") from error


def _check_folder(path: bytes) -> None:
    try:
        os.scandir(path).close()
    except OSError as error:
        reason = reasons.system_reason(error)
        raise AudioError(f"cannot read {os.fsdecode(path)!r}: {reason}") from error


class _Name(NamedTuple):
    """One name of a file or folder; sorts by key, folders as if they ended in "/"."""

    order: str
    path: bytes
    real: bytes  # the same without any symbolic link: what the file *is*
    is_folder: bool
    status: os.stat_result


@dataclass
class _Walk:
    """The state of one search: what was found, and what was there already."""

    base: bytes
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    used: set[str] = field(default_factory=set)
    sources: list[Source] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    keys_by_file: dict[bytes, str] = field(default_factory=dict)
    keys_by_folder: dict[bytes, str] = field(default_factory=dict)
    waiting: list[_Name] = field(default_factory=list)
    real_paths: RealPaths = field(default_factory=RealPaths)
    patterns: dict[str, set[str]] = field(init=False)  # all of them, and what of each is compared

    def __post_init__(self) -> None:
        self.patterns = {pattern: _forms(pattern) for pattern in (*self.include, *self.exclude)}

    def add_given(self, path: bytes, status: os.stat_result, *, linked: bool) -> None:
        """Take a path that the caller named; ``linked`` leaves it to `follow_links`."""
        real = self.real_paths.of(path)
        if stat.S_ISDIR(status.st_mode):
            _check_folder(path)
            if linked:
                self._wait(path, real, status)
            else:
                self._enter(path, real, linked=False)
        elif not stat.S_ISREG(status.st_mode):
            self._skip(path, reasons.NOT_REGULAR)
        elif linked:
            self._wait(path, real, status)
        else:
            self._take(path, real, status)

    def follow_links(self) -> None:
        """Visit all that is reached through a symbolic link only, in the order of keys."""
        while self.waiting:
            name = heapq.heappop(self.waiting)
            if name.is_folder:
                self._enter(name.path, name.real, linked=True)
            else:
                self._take(name.path, name.real, name.status)

    def _enter(self, path: bytes, real: bytes, *, linked: bool) -> None:
        """Walk a folder and the folders in it, without going through symbolic links."""
        stack = [(path, real)]
        while stack:
            path, real = stack.pop()
            key = self._key(path)
            if real in self.keys_by_folder:
                if self.keys_by_folder[real] != key:
                    self._skip(path, f"the same folder as {self.keys_by_folder[real]}")
                continue
            self.keys_by_folder[real] = key
            try:
                with os.scandir(path) as entries:
                    stack += self._visit(entries, real, linked=linked)
            except OSError as error:
                self._take_unreadable(path, error)

    def _visit(
        self, entries: Iterable[os.DirEntry[bytes]], folder: bytes, *, linked: bool
    ) -> list[tuple[bytes, bytes]]:
        """Take the files of one folder; return its folders as (path, real path)."""
        folders = []
        for entry in entries:
            real = os.path.join(folder, entry.name)
            is_audio = extension(os.fsdecode(entry.name)) in AUDIO_EXTENSIONS
            try:
                if entry.is_symlink():
                    self._visit_link(entry.path, is_audio=is_audio)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, real))
                elif is_audio and not entry.is_file(follow_symlinks=False):
                    self._skip(entry.path, reasons.NOT_REGULAR)
                elif is_audio and linked:
                    self._wait(entry.path, real, entry.stat(follow_symlinks=False))
                elif is_audio:
                    self._take(entry.path, real, entry.stat(follow_symlinks=False))
            except OSError as error:
                self._take_unreadable(entry.path, error, is_file=_is_file(entry))
        return folders

    def _visit_link(self, path: bytes, *, is_audio: bool) -> None:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            # without an extension it may have been a folder
            if is_audio or not extension(os.fsdecode(path)):
                self._skip(path, "a symbolic link that leads nowhere")
            return
        if stat.S_ISDIR(status.st_mode) or (is_audio and stat.S_ISREG(status.st_mode)):
            self._wait(path, os.path.realpath(path), status)
        elif is_audio:
            self._skip(path, reasons.NOT_REGULAR)

    def _wait(self, path: bytes, real: bytes, status: os.stat_result) -> None:
        is_folder = stat.S_ISDIR(status.st_mode)
        order = self._key(path) + "/" * is_folder
        heapq.heappush(self.waiting, _Name(order, path, real, is_folder, status))

    def _take(self, path: bytes, real: bytes, status: os.stat_result) -> None:
        key = self._key(path)
        if not self._is_wanted(key):
            return
        if os.path.basename(path).startswith(b"._") and _is_apple_double(path):
            self._skip(path, "no audio, but what macOS keeps of a file beside it")
        elif real not in self.keys_by_file:
            self.keys_by_file[real] = key
            self.sources.append(
                Source(key, os.fsdecode(path), status.st_size, modification_time(status))
            )
        elif self.keys_by_file[real] != key:
            self._skip(path, f"the same file as {self.keys_by_file[real]}")

    def _take_unreadable(self, path: bytes, error: OSError, *, is_file: bool = False) -> None:
        """Take for a source what may be a folder full of them: so it fails, and is told of."""
        reason = reasons.system_reason(error)
        if error.errno in NOWHERE:
            self._skip(path, reason)
            return
        key = self._key(path)
        if self._is_wanted(key) if is_file else self._matching(key).isdisjoint(self.exclude):
            self.sources.append(Source(key, os.fsdecode(path), 0, 0, reason))

    def _skip(self, path: bytes, reason: str) -> None:
        key = self._key(path)
        if self._is_wanted(key):
            self.skipped.append(Skipped(key, os.fsdecode(path), reason))

    def _key(self, path: bytes) -> str:
        if path == self.base:
            return "."
        return encode_key(path[len(self.base.rstrip(b"/")) + 1 :])

    def _is_wanted(self, key: str) -> bool:
        matching = self._matching(key)
        is_included = not (self.include and matching.isdisjoint(self.include))
        return is_included and matching.isdisjoint(self.exclude)

    def _matching(self, key: str) -> set[str]:
        """The patterns that are of a file, or of a folder that it lies in."""
        names = _names(key) if self.patterns else []
        found = {
            pattern
            for pattern, forms in self.patterns.items()
            # a name may have brackets that are no pattern
            if not forms.isdisjoint(names)
            or any(fnmatchcase(name, form) for form in forms for name in names)
        }
        self.used |= found
        return found


def _forms(pattern: str) -> set[str]:
    """What of a pattern is compared; folders at any depth may be none at all."""
    bare = pattern.removeprefix("./").rstrip("/")
    lower = _with_lower_extension(bare)
    return {bare, lower, bare.removeprefix("**/"), lower.removeprefix("**/")}


def _with_lower_extension(name: str) -> str:
    """The same name or pattern, but that an extension of audio is in lower case."""
    found = extension(name)
    return name[: -len(found)] + found if found in AUDIO_EXTENSIONS else name


def _is_nowhere(base: bytes, key: str) -> bool:
    try:
        os.lstat(os.path.join(base, decode_key(key)))
    except OSError as error:
        return error.errno in NOWHERE
    return False


def _is_apple_double(path: bytes) -> bool:
    """Whether macOS wrote this on a disk that keeps no more of a file than its bytes."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(len(_APPLE_DOUBLE)) == _APPLE_DOUBLE
    return False


def _is_file(entry: os.DirEntry[bytes]) -> bool:
    """Whether an entry is known to be a file, and no folder that others may lie in."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _names(key: str) -> list[str]:
    """A key, its folders, and the bare names of all, in the store and on the disk."""
    paths = {key, decode_key(key).decode("utf-8", "surrogateescape")} if "%" in key else {key}
    paths |= {_with_lower_extension(path) for path in paths}
    names = []
    for path in paths:
        parts = path.split("/")
        names += [*parts, *("/".join(parts[:end]) for end in range(2, len(parts) + 1))]
    return names
