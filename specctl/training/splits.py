"""Which files a model learns from, is chosen by, and is judged by."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from specctl.errors import TrainingError
from specctl.training.labels import Labelled

_SHARE = 1 / 5
_FEWEST_GROUPS = 3

_Groups = dict[str, Counter[str]]
"""Files of each class in each group, in an order of chance."""


class Split(NamedTuple):
    """Indexes of files, each part sorted."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """Files of each part by its name."""
        return {name: len(part) for name, part in zip(self._fields, self, strict=True)}


def draw_split(files: Sequence[Labelled], seed: int) -> Split:
    """Divide files: a fifth to judge by, a fifth of the rest to choose by.

    Every class is divided in the same proportion, as far as groups allow; a group is never
    divided. A class too small for that has a group or more in each part, and costs the others
    nothing. A split that the files carry is taken as it is; where it has no validation files, a
    fifth of the training files become these.

    Raises
    ------
    TrainingError
        If a class has too few files or groups, or the training files lack a class; or if those
        to judge by, or those that were given to choose by, are of one class alone: a model that
        knows no other has them all right.
    """
    everything = list(range(len(files)))
    is_given = False
    if any(each.split for each in files):
        parts = {
            name: [i for i in everything if files[i].split == name]
            for name in ("train", "validation", "test")
        }
        train, validation, test = parts["train"], parts["validation"], parts["test"]
        is_given = bool(validation)
        _check_groups(files, (train, validation, test))
    else:
        _check_counts(files)
        train, test = _divide(files, everything, seed)
        validation = []
    if train and not validation:
        train, validation = _divide(files, train, seed)
    split = Split(*(tuple(sorted(part)) for part in (train, validation, test)))
    _check_classes(files, split, is_given=is_given)
    return split


def _divide(
    files: Sequence[Labelled], chosen: list[int], seed: int
) -> tuple[list[int], list[int]]:
    """The larger and the smaller part of some files.

    Groups in random order go into the smaller part where that brings its shares of the classes,
    in least squares, nearer to what is wanted; so any may that is not twice as large.
    """
    n_files = Counter(files[i].label for i in chosen)
    groups: _Groups = defaultdict(Counter)
    for i in chosen:
        groups[files[i].group][files[i].label] += 1
    larger: _Groups = {}
    smaller: _Groups = {}
    missing = dict.fromkeys(n_files, _SHARE)
    for group in Random(seed).sample(sorted(groups), len(groups)):
        shares = {label: n / n_files[label] for label, n in groups[group].items()}
        if sum(share * (share - 2 * missing[label]) for label, share in shares.items()) < 0:
            smaller[group] = groups[group]
            for label, share in shares.items():
                missing[label] -= share
        else:
            larger[group] = groups[group]
    # what is learned from goes first
    _share_classes(larger, smaller, may_take_last=True)
    _share_classes(smaller, larger, may_take_last=False)
    large, small = ([i for i in chosen if files[i].group in part] for part in (larger, smaller))
    return large, small


def _share_classes(to: _Groups, source: _Groups, *, may_take_last: bool) -> None:
    """Move a group of each class that a part lacks into it."""
    owners: dict[str, list[str]] = defaultdict(list)
    for group, labels in source.items():
        for label in labels:
            owners[label].append(group)
    there = set().union(*to.values())
    for label in sorted(owners.keys() - there):
        if label in there:
            # it came with another class
            continue
        for group in owners[label]:
            if may_take_last or all(len(owners[each]) > 1 for each in source[group]):
                to[group] = source.pop(group)
                there.update(to[group])
                for each in to[group]:
                    owners[each].remove(group)
                break


def _groups_per_class(labels: Sequence[str], groups: Sequence[str]) -> dict[str, int]:
    return Counter(label for label, _ in set(zip(labels, groups, strict=True)))


def _check_counts(files: Sequence[Labelled]) -> None:
    counts = _groups_per_class([each.label for each in files], [each.group for each in files])
    name, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    if fewest < _FEWEST_GROUPS:
        raise TrainingError(
            f"each class must have at least {_FEWEST_GROUPS} files or groups, one each to train, "
            f"validate and test with, {name!r} has {fewest}; add some, or leave the class out"
        )


def _check_groups(files: Sequence[Labelled], parts: Sequence[Sequence[int]]) -> None:
    """A given split may not divide a group."""
    owner: dict[str, str] = {}
    for part in parts:
        for i in part:
            before = owner.setdefault(files[i].group, files[i].split)
            if before != files[i].split:
                raise TrainingError(
                    f"group {files[i].group!r} is in {before} and in {files[i].split}; "
                    "a group must be on one side"
                )


def _check_classes(files: Sequence[Labelled], split: Split, *, is_given: bool) -> None:
    classes = {each.label for each in files}
    # of the few groups of a class, what is drawn to choose by may get none
    fewest = (len(classes), 2 if is_given else 1, 2)
    for name, part, n_classes in zip(Split._fields, split, fewest, strict=True):
        there = {files[i].label for i in part}
        if len(there) >= n_classes:
            continue
        missing = repr(min(classes - there))
        how_many = "every class" if name == "train" or not there else "at least two classes"
        raise TrainingError(
            f"the {name} files must be of {how_many}, "
            + (f"all are {min(there)!r}" if len(there) == 1 else f"{missing} is missing")
            + "; give more files or groups, or a split of your own"
        )
