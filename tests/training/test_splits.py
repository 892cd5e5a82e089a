"""Which files are learned from, and which are not."""

from collections import Counter

import pytest

from specctl.errors import TrainingError
from specctl.training import Labelled, draw_split, find_labelled
from tests.training.audio import write_tones


def labelled(counts, split=""):
    """So many files of each class, each a group of its own."""
    return [
        Labelled(None, name, split, f"{split}{name}{number}")
        for name, count in counts.items()
        for number in range(count)
    ]


def shares(files, split):
    """Files of each class in each part."""
    return [dict(Counter(files[i].label for i in part)) for part in split]


def test_groups_are_never_on_both_sides(tmp_path):
    folder = write_tones(tmp_path / "in", n_clips=24)
    files = find_labelled(folder, group=r"/(\d)")
    for seed in range(5):
        split = draw_split(files, seed)
        groups = [{files[i].group for i in part} for part in split]
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]
        assert sorted(i for part in split for i in part) == list(range(48))


def test_splits_keep_the_share_of_each_class(tmp_path):
    folder = write_tones(tmp_path / "in", n_clips=25)
    files = find_labelled(folder)
    first, again, other = (draw_split(files, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert [len(part) for part in first] == [32, 8, 10]
    for part in first:
        assert sum(files[i].label == "low" for i in part) * 2 == len(part)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(25, (16, 4, 5)), (6, (4, 1, 1)), (5, (3, 1, 1)), (4, (2, 1, 1)), (3, (1, 1, 1))],
)
def test_classes_of_one_size_are_divided_alike(count, sizes):
    files = labelled({"a": count, "b": count, "c": count})
    for share, size in zip(shares(files, draw_split(files, 0)), sizes, strict=True):
        assert share == {"a": size, "b": size, "c": size}


def test_any_group_may_be_judged_by_whatever_its_size():
    files = [
        Labelled(None, "ab"[number % 2], "", f"g{number}")
        for number in range(12)
        for _ in range(2 * number + 2)
    ]
    tests = [draw_split(files, seed).test for seed in range(40)]
    assert len({files[i].group for test in tests for i in test}) == 12
    # a fifth, as far as groups of up to 24 of the 156 files allow
    assert all(156 / 6 <= len(test) <= 156 / 3 for test in tests)


@pytest.mark.parametrize("seed", range(5))
def test_a_small_class_costs_the_others_nothing(seed):
    files = labelled({"large": 100, "small": 3, "other": 100})
    train, validation, test = shares(files, draw_split(files, seed))
    assert train == {"large": 64, "small": 1, "other": 64}
    assert validation == {"large": 16, "small": 1, "other": 16}
    assert test == {"large": 20, "small": 1, "other": 20}


def test_another_seed_judges_by_other_files_of_a_small_class():
    files = labelled({"large": 40, "small": 3})
    tested = {i for seed in range(9) for i in draw_split(files, seed).test if i >= 40}
    assert tested == {40, 41, 42}


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_several_classes_stay_whole_beside_a_small_class(seed):
    files = [Labelled(None, "large", "", f"g{i % 9}") for i in range(45)]
    files += [Labelled(None, "small", "", f"g{i}") for i in range(3)]
    split = draw_split(files, seed)
    groups = [{files[i].group for i in part} for part in split]
    assert sum(map(len, groups)) == 9
    assert all("large" in share and "small" in share for share in shares(files, split))


@pytest.mark.parametrize("seed", range(5))
def test_the_only_group_of_a_class_is_learned_from(seed):
    files = labelled({"a": 10, "b": 1}, "train") + labelled({"a": 3, "b": 1}, "test")
    train, validation, _ = shares(files, draw_split(files, seed))
    assert train == {"a": 8, "b": 1}
    assert validation == {"a": 2}


def test_too_few_files_of_a_class_are_named():
    with pytest.raises(TrainingError, match="each class must have at least 3 files .*'b' has 2"):
        draw_split(labelled({"a": 30, "b": 2}), 0)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"test": {"a": 4, "b": 4}}, "the train files must be of every class, 'a' is missing"),
        (
            {"train": {"a": 9, "b": 9}, "test": {"b": 4}},
            "the test files must be of at least two classes, all are 'b'; give more files",
        ),
        (
            {"train": {"a": 9, "b": 9}, "validation": {"a": 4}, "test": {"a": 4, "b": 4}},
            "the validation files must be of at least two classes, all are 'a'; give more files",
        ),
    ],
    ids=["test alone", "test of one class", "validation of one class"],
)
def test_a_split_of_ones_own_that_can_judge_nothing_is_refused(counts, message):
    files = [file for split, of in counts.items() for file in labelled(of, split)]
    with pytest.raises(TrainingError, match=message):
        draw_split(files, 0)
