import math

import pytest
import torch

from specctl import MelSpectrogram
from specctl.errors import ParameterError
from specctl.training import drift, judge
from specctl.training.evaluate import score


def runs(accuracies, ms=1.0, memory=None, majority=0.25, n_test=100):
    others = {"ms_per_step": ms, "peak_memory_mb": memory, "majority": majority, "n_test": n_test}
    return [{"accuracy": each, "macro_f1": each / 2, **others} for each in accuracies]


def test_the_interval_is_that_of_students_t():
    verdict = judge(runs([0.5, 0.6, 0.7]), runs([0.6, 0.8, 0.7]), 1.0)
    difference = verdict.accuracy_difference
    # differences 0.1, 0.2, 0.0: mean 0.1, sd 0.1; t(0.975, 2) = 4.302653 from a table
    reach = 4.302653 * 0.1 / math.sqrt(3)
    assert difference.mean == pytest.approx(0.1)
    assert difference.low == pytest.approx(0.1 - reach, abs=1e-6)
    assert difference.high == pytest.approx(0.1 + reach, abs=1e-6)
    assert verdict.accuracy_fixed.mean == pytest.approx(0.6)
    assert verdict.accuracy_fixed.sd == pytest.approx(0.1)
    assert verdict.f1_difference.mean == pytest.approx(0.05)


def test_runs_that_draw_their_files_anew_have_a_wider_interval():
    given = runs([0.5, 0.6, 0.7]), runs([0.6, 0.8, 0.7]), 1.0
    # by Nadeau and Bengio the variance of the mean is that of a difference times 1/n + test/train
    reach = 4.302653 * 0.1 * math.sqrt(1 / 3 + 0.25)
    for difference in (
        judge(*given, redrawn=0.25).accuracy_difference,
        judge(*given, redrawn=0.25).f1_difference,
    ):
        assert difference.low == pytest.approx(difference.mean - reach * difference.mean / 0.1)
        assert difference.high == pytest.approx(difference.mean + reach * difference.mean / 0.1)
    close = runs([0.5, 0.6, 0.7]), runs([0.64, 0.80, 0.86]), 1.0
    assert judge(*close).outcome == "helps"
    assert judge(*close, redrawn=0.25).outcome == "helps"
    assert judge(*close, redrawn=9.0).outcome == "cannot be judged"


@pytest.mark.parametrize(
    ("fixed", "trained", "words"),
    [
        ([0.5, 0.6, 0.7], [0.70, 0.81, 0.9], "trained basis helps on this data: accuracy 0.803"),
        ([0.70, 0.81, 0.9], [0.5, 0.6, 0.7], "trained basis hurts on this data: "),
        ([0.5, 0.6, 0.7], [0.51, 0.59, 0.7], "trained basis makes no difference on this data"),
        ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], "trained basis makes no difference on this data"),
        ([0.5, 0.6], [0.9, 0.95], "fewer than 3 runs cannot tell whether a trained basis helps"),
        ([0.5], [0.9], "difference +0.400, 1 run"),
    ],
)
def test_the_verdict_in_one_sentence(fixed, trained, words):
    assert words in judge(runs(fixed), runs(trained), 1.0).sentence


def test_runs_that_all_differ_by_the_same_give_no_interval():
    # 0.7 - 0.6 and 0.8 - 0.7 are not equal in binary
    verdict = judge(runs([0.5, 0.6, 0.7]), runs([0.6, 0.7, 0.8]), 1.0)
    assert (verdict.accuracy_difference.low, verdict.accuracy_difference.high) == (None, None)
    assert verdict.outcome == "cannot be judged"
    assert verdict.sentence == (
        "runs that all differ by the same, which gives no interval, cannot tell whether a trained "
        "basis helps on this data: accuracy 0.700 ± 0.100 trained, 0.600 ± 0.100 fixed, "
        "difference +0.100, 3 runs"
    )


def test_runs_that_do_not_differ_at_all_make_no_difference_without_an_interval():
    verdict = judge(runs([1.0] * 3), runs([1.0] * 3), 1.0)
    assert verdict.outcome == "makes no difference"
    assert verdict.sentence.endswith(
        "difference +0.000, 3 runs; no run differs, which gives no interval: more test files "
        "would tell more"
    )


def test_an_interval_that_leaves_room_for_both_judges_nothing():
    narrow = judge(runs([0.5, 0.6, 0.7]), runs([0.51, 0.59, 0.7]), 1.0)
    assert narrow.outcome == "makes no difference"
    wide = judge(runs([0.5] * 5), runs([1.0, 0.5, 1.0, 0.75, 0.5]), 1.0)
    assert wide.outcome == "cannot be judged"
    assert wide.sentence == (
        "so wide an interval cannot tell whether a trained basis helps on this data: accuracy "
        "0.750 ± 0.250 trained, 0.500 ± 0.000 fixed, difference +0.250 (95% interval -0.060 to "
        "+0.560), 5 runs; more runs or files would narrow it"
    )


@pytest.mark.parametrize(
    ("fixed", "trained"),
    [([0.28] * 3, [0.28] * 3), ([0.27, 0.28, 0.29], [0.27, 0.29, 0.28])],
    ids=["alike", "about alike"],
)
def test_models_that_have_learned_nothing_cannot_tell(fixed, trained):
    # by the binomial distribution 5 % of those that guess have 88 of 300 files right, or more
    learned = [each + 0.02 for each in fixed], [each + 0.02 for each in trained]
    assert judge(*map(runs, learned), 1.0).outcome == "makes no difference"
    verdict = judge(runs(fixed), runs(trained), 1.0)
    assert verdict.outcome == "cannot be judged"
    assert verdict.majority == 0.25
    assert verdict.sentence.startswith(
        "models that are not clearly better than one that always names the most common class "
        "(0.250) cannot tell whether a trained basis helps on this data: accuracy 0.280"
    )
    assert verdict.sentence.endswith(", 3 runs")


def test_one_model_that_has_learned_is_enough_to_tell():
    assert judge(runs([0.25] * 3), runs([0.70, 0.71, 0.72]), 1.0).outcome == "helps"


def test_an_interval_ends_where_differences_do():
    given = runs([0.0, 0.0, 0.9]), runs([1.0, 1.0, 0.9]), 1.0
    verdict = judge(*given, redrawn=0.25)
    assert verdict.accuracy_difference.low == -1.0
    assert verdict.accuracy_difference.high == 1.0
    # what is cut off makes no interval narrow
    almost = judge(runs([0.0, 0.0, 0.1]), runs([1.0, 1.0, 1.0]), 1.0, redrawn=50.0)
    assert almost.accuracy_difference.high == 1.0
    assert almost.accuracy_difference.low < 0
    assert almost.outcome == "cannot be judged"


def test_another_start_is_said_to_be_a_part_of_the_difference():
    same = judge(runs([0.5, 0.6, 0.7]), runs([0.70, 0.81, 0.9]), 1.0)
    other = judge(runs([0.5, 0.6, 0.7]), runs([0.70, 0.81, 0.9]), 1.0, "Fourier basis")
    assert other.sentence == (
        f"{same.sentence}; fixed: Fourier basis, so the start is a part of the difference"
    )


def test_cost_is_the_median_and_left_out_where_nothing_tells():
    verdict = judge(runs([0.5] * 3, 2.0, 10.0), runs([0.5] * 3, 7.0, 30.0), 4.0)
    assert verdict.cost == (
        "7 ms per step trained, 2 ms fixed; 30 MB at the peak trained, 10 MB fixed; "
        "rows moved by 4.0° (median)"
    )
    bare = judge(runs([0.5], None), runs([0.5], None), 4.0)
    assert bare.cost == "rows moved by 4.0° (median)"


@pytest.mark.parametrize(
    ("trained", "words"),
    [
        ([0.70, 0.81, 0.9], "training mel and pcen helps on this data: "),
        ([0.6, 0.7, 0.8], "cannot tell whether training mel and pcen helps on this data: "),
    ],
)
def test_what_was_trained_is_named_where_it_was_not_the_rows(trained, words):
    given = {"change_of_bands": 0.125, "names": ("mel", "pcen")}
    verdict = judge(runs([0.5, 0.6, 0.7]), runs(trained), None, **given)
    assert words in verdict.sentence
    assert verdict.cost.endswith("1 ms fixed; bands changed by 12.5% (median)")


def test_runs_come_in_pairs():
    with pytest.raises(ParameterError, match="as many runs, at least 1, got 1 and 2"):
        judge(runs([0.5]), runs([0.5, 0.5]), 0.0)


def fourier(**settings):
    mel = MelSpectrogram(sample_rate=8000, n_fft=64, n_mels=8, trainable=("basis",), **settings)
    return mel.basis.detach().clone()


def test_a_basis_that_did_not_move_has_no_drift():
    basis = fourier()
    moved = drift(basis, basis, 8000)
    # arccos near 1 loses half of float64's digits
    assert moved.angle.max() < 1e-5
    assert torch.equal(moved.centre, moved.centre_at_start)
    # rows in the middle of the band lie at k * 8000 / 64 Hz
    for k in (8, 16, 24):
        assert moved.centre[k] == pytest.approx(125 * k, abs=1)


def test_a_row_that_became_another_has_moved_by_a_right_angle():
    start = fourier()
    trained = start.clone()
    n_freqs = len(start) // 2
    trained[[8, n_freqs + 8]] = start[[16, n_freqs + 16]]
    moved = drift(trained, start, 8000)
    assert moved.angle[8] == pytest.approx(90, abs=1e-3)
    assert moved.centre[8] == pytest.approx(125 * 16, abs=1)
    assert moved.centre_at_start[8] == pytest.approx(125 * 8, abs=1)
    assert moved.angle[7] < 1e-5


def test_the_level_of_a_row_is_no_drift_and_a_longer_window_is_narrower():
    start = fourier()
    assert drift(3 * start, start, 8000).angle.max() < 1e-4
    short = fourier(win_length=16)
    moved = drift(start, short, 8000)
    assert (moved.bandwidth[8:24] < moved.bandwidth_at_start[8:24] / 2).all()


def test_scores_against_a_hand_made_confusion():
    logits = torch.eye(3)[[0, 0, 1, 1, 1, 0]]
    scores = score(logits, torch.tensor([0, 0, 1, 1, 0, 2]))
    assert scores.confusion == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert scores.accuracy == pytest.approx(4 / 6)
    # F1: 2*2/(3+3), 2*2/(2+3), 0/(1+0)
    assert scores.macro_f1 == pytest.approx((4 / 6 + 4 / 5 + 0) / 3)
