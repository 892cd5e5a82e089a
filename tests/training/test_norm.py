import pytest
import torch

from specctl.training.models import build_model, takes_lengths
from specctl.training.norm import GROUP_SIZE, GroupedBatchNorm

# the same sums in another order
ROUNDING = {"rtol": 1e-5, "atol": 1e-6}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_one_group_is_ordinary_batch_normalisation():
    x = noise(GROUP_SIZE, 3, 5, 7)
    ours, theirs = GroupedBatchNorm(3), torch.nn.BatchNorm2d(3, momentum=None)
    torch.testing.assert_close(ours(x), theirs(x), **ROUNDING)
    ours.settle()
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, **ROUNDING)
    torch.testing.assert_close(ours.running_var, theirs.running_var, **ROUNDING)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), **ROUNDING)


def test_a_batch_cut_between_groups_gives_the_same_numbers():
    x = noise(3 * GROUP_SIZE, 3, 5)
    whole, cut = GroupedBatchNorm(3), GroupedBatchNorm(3)
    parts = [cut(x[:GROUP_SIZE]), cut(x[GROUP_SIZE:])]
    assert torch.equal(whole(x), torch.cat(parts))
    whole.settle()
    cut.settle()
    torch.testing.assert_close(whole.running_mean, cut.running_mean, **ROUNDING)


def test_running_statistics_are_a_mean_at_first_and_follow_later():
    norm = GroupedBatchNorm(1, momentum=0.25)
    means = []
    for value in (1.0, 2.0, 6.0, 3.0, 4.0, 5.0):
        norm(torch.full((2, 1, 3), value))
        norm.settle()
        means.append(float(norm.running_mean))
    assert means == pytest.approx([1.0, 1.5, 3.0, 3.0, 3.25, 3.6875])


def test_what_is_forgotten_does_not_count():
    norm, other = GroupedBatchNorm(3), GroupedBatchNorm(3)
    norm(noise(4, 3, 5, seed=1))
    norm.forget()
    for each in (norm, other):
        each(noise(4, 3, 5))
        each.settle()
    assert torch.equal(norm.running_mean, other.running_mean)


def test_nothing_seen_changes_nothing():
    norm = GroupedBatchNorm(3)
    norm.settle()
    assert norm.running_var.tolist() == [1, 1, 1]


def test_padding_takes_no_part():
    x = noise(4, 3, 9)
    is_valid = torch.arange(9) < torch.tensor([9, 5, 1, 3])[:, None]
    padded = torch.where(is_valid[:, None], x, float("nan"))
    result = GroupedBatchNorm(3)(padded, is_valid)
    frames = x.transpose(1, 2)[is_valid]
    expected = torch.nn.BatchNorm1d(3)(frames)
    torch.testing.assert_close(result.transpose(1, 2)[is_valid], expected, **ROUNDING)
    assert not result.transpose(1, 2)[~is_valid].any()


def test_a_single_value_is_left_to_the_running_statistics():
    result = GroupedBatchNorm(2)(torch.tensor([[[3.0], [4.0]]]))
    torch.testing.assert_close(result[0, :, 0], torch.tensor([3.0, 4.0]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["linear", "cnn", "resnet18"])
def test_models_do_not_see_padding_in_evaluation(name):
    model = build_model(name, 16, 3).eval()
    spec = noise(2, 16, 40)
    n_frames = torch.tensor([32, 32])
    longer = torch.cat([spec[:, :, :32], torch.full((2, 16, 8), 99.0)], 2)
    shorter = torch.cat([spec[:, :, :32], torch.zeros(2, 16, 8)], 2)
    torch.testing.assert_close(model(longer, n_frames), model(shorter, n_frames))
    assert model(spec, n_frames).shape == (2, 3)


@pytest.mark.parametrize("name", ["linear", "cnn", "resnet18"])
def test_gradients_of_a_batch_in_pieces_are_those_of_the_whole(name):
    model = build_model(name, 16, 3)
    spec, n_frames = noise(2 * GROUP_SIZE, 16, 33), torch.full((2 * GROUP_SIZE,), 33)
    target = torch.arange(2 * GROUP_SIZE) % 3
    found = []
    for size in (2 * GROUP_SIZE, GROUP_SIZE):
        model.zero_grad()
        for first in range(0, len(spec), size):
            logits = model(spec[first : first + size], n_frames[first : first + size])
            torch.nn.functional.cross_entropy(
                logits, target[first : first + size], reduction="sum"
            ).backward()
        found.append(torch.cat([each.grad.flatten() for each in model.parameters()]))
    # float32 sums over a batch in another order, through up to 18 layers
    assert (found[0] - found[1]).norm() < 1e-4 * found[0].norm()


def test_lengths_are_given_to_models_that_take_them():
    assert takes_lengths(build_model("linear", 8, 2))
    assert not takes_lengths(torch.nn.Flatten())
