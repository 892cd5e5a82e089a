"""Which files there are to learn from, and what each of them is."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from specctl.audio.discover import Discovery, Source, discover
from specctl.audio.names import key_of
from specctl.errors import AudioError, ParameterError, TrainingError
from specctl.given_files import read_label_rows

SPLITS = ("train", "validation", "test")

LeaveOut = Callable[[str, str], None]
"""Told the key and the reason of what looked like something to learn from and is not taken."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One file to learn from.

    Attributes
    ----------
    source : Source
    label : str
    split : str
        One of `SPLITS`, or empty where it is to be drawn.
    group : str
        What must not stand on both sides of a split, such as a speaker; by default the file's
        own key.
    """

    source: Source
    label: str
    split: str = ""
    group: str = ""


def find_labelled(
    folder: Path,
    labels: Path | None = None,
    group: str | None = None,
    leave_out: LeaveOut = lambda key, reason: None,
) -> tuple[Labelled, ...]:
    """Find the files of a folder and their labels.

    Parameters
    ----------
    folder : Path
        Without ``labels``, each folder in it is a class.
    labels : Path, optional
        CSV with the columns ``path`` (relative to the folder) and ``label``, and where wanted
        ``split`` (train, validation or test) and ``group``. Files it does not name are left out.
    group : str, optional
        Regular expression searched for in each key; its first group, or all that it matches,
        names the group of the file.
    leave_out : callable
        Without ``labels``, called for files beside the folders, for a second name of the same
        file, and the like.

    Raises
    ------
    ParameterError
        If the CSV or the expression is wrong.
    TrainingError
        If there are fewer than two classes, or two that read the same.
    AudioError
        If the folder does not exist, or that of a class cannot be read.
    """
    discovery = discover([folder])
    if labels is None:
        found = list(_from_folders(discovery, leave_out))
    else:
        sources = {source.key: source for source in discovery.sources}
        found = list(_from_csv(labels, folder, sources))
    if group is not None:
        if any(each.group != each.source.key for each in found):
            raise ParameterError(
                f"group must be a regular expression or a column of {labels}, not both"
            )
        found = _grouped(found, group)
    classes = sorted({each.label for each in found})
    if len(classes) < 2:
        raise TrainingError(
            f"labels must be of at least two classes, {labels or folder} has "
            f"{', '.join(classes) or 'none'}; give each class a folder of its own, or --labels"
        )
    _check_forms(classes)
    return tuple(found)


def _check_forms(classes: list[str]) -> None:
    """Refuse labels that differ only in how Unicode writes an accent: nobody can see it."""
    forms = Counter(unicodedata.normalize("NFC", name) for name in classes)
    (name, n_classes) = forms.most_common(1)[0]
    if n_classes > 1:
        raise TrainingError(
            f"two labels read {name!r} and are other characters (Unicode forms NFC and NFD); "
            "write both alike"
        )


def _from_folders(discovery: Discovery, leave_out: LeaveOut) -> Iterator[Labelled]:
    for skipped in discovery.skipped:
        leave_out(skipped.key, skipped.reason)
    for source in discovery.sources:
        name, is_in_folder, _ = source.key.partition("/")
        if is_in_folder:
            yield Labelled(source, name, group=source.key)
            continue
        if source.unseen:
            # of a class, perhaps, whose folder it is
            raise AudioError(f"cannot read {source.path!r}: {source.unseen}")
        leave_out(source.key, "in no folder of a class")


def _from_csv(path: Path, folder: Path, sources: dict[str, Source]) -> Iterator[Labelled]:
    seen: dict[str, int] = {}
    has_split = set()
    for number, row in read_label_rows(path, ("split", "group")):
        key, label = key_of(row["path"], sources), row["label"]
        where = f"line {number} of {path}"
        if key not in sources:
            raise ParameterError(f"path must be an audio file in {folder}, {where} has {key!r}")
        if key in seen:
            raise ParameterError(
                f"path must be unique, {where} has {key!r} of line {seen[key]} again"
            )
        if not label:
            raise ParameterError(f"label must not be empty, {where} has none for {key!r}")
        if row["split"] not in ("", *SPLITS):
            raise ParameterError(
                f"split must be {', '.join(SPLITS)} or empty, {where} has {row['split']!r}"
            )
        seen[key] = number
        has_split.add(bool(row["split"]))
        if len(has_split) > 1:
            raise ParameterError(f"split must be given for every file or for none: {where}")
        yield Labelled(sources[key], label, row["split"], row["group"] or key)


def _grouped(found: list[Labelled], pattern: str) -> list[Labelled]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ParameterError(
            f"group must be a regular expression, got {pattern!r}: {error}"
        ) from error
    grouped = []
    for each in found:
        match = expression.search(each.source.key)
        name = match and (match[1] if expression.groups else match[0])
        if not name:
            raise ParameterError(
                f"group must match every file, {pattern!r} misses {each.source.key}"
            )
        grouped.append(replace(each, group=name))
    return grouped
