import math

import torch

from specctl.augment import Draws

# of n independent numbers, a mean is off by more than five standard errors once in 2e6
FIVE_SIGMA = 5.0


def draws(n_clips=10_000):
    return Draws.keyed(7, torch.arange(n_clips))


def test_uniform_numbers_fill_their_range_evenly():
    n = 10_000
    numbers = draws(n).uniform(2.0, 4.0)
    assert 2.0 <= numbers.min() < 2.01
    assert 3.99 < numbers.max() < 4.0
    assert abs(numbers.mean() - 3.0) < FIVE_SIGMA * 2 / math.sqrt(12 * n)
    counts = torch.histc(numbers.float(), bins=10, min=2.0, max=4.0)
    assert (counts - n / 10).abs().max() < FIVE_SIGMA * math.sqrt(n * 0.1 * 0.9)


def test_integers_reach_both_ends():
    assert draws().integers(3).unique().tolist() == [0, 1, 2, 3]
    assert draws(3).integers(torch.tensor([0, 0, 0])).tolist() == [0, 0, 0]


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    n = 100_001
    numbers = draws(1).normal(n, torch.device("cpu"))[0].double()
    assert numbers.isfinite().all()
    assert abs(numbers.mean()) < FIVE_SIGMA / math.sqrt(n)
    assert abs(numbers.var() - 1) < FIVE_SIGMA * math.sqrt(2 / n)
    assert abs((numbers**4).mean() - 3) < FIVE_SIGMA * math.sqrt(96 / n)
    lag_product = (numbers[1:] * numbers[:-1]).mean()
    assert abs(lag_product) < FIVE_SIGMA / math.sqrt(n)


def test_a_clip_draws_the_same_alone_and_in_a_batch():
    together, alone = draws(5), draws(5)[3:4]
    assert together.uniform()[3] == alone.uniform()[0]
    device = torch.device("cpu")
    assert torch.equal(together.normal(9, device)[3], alone.normal(9, device)[0])


def test_later_draws_forks_and_other_keys_differ():
    source = draws(4)
    first, second = source.uniform(), source.uniform()
    seen = [first, second, source.fork(0).uniform(), source.fork(1).uniform()]
    seen.append(Draws.keyed(8, torch.arange(4)).uniform())
    seen.append(Draws.keyed(torch.arange(4), 7).uniform())
    assert len(torch.cat(seen).unique()) == 24


def test_a_generator_gives_the_same_seeds_again():
    numbers = [
        Draws.from_generator(3, torch.Generator().manual_seed(1)).uniform() for _ in range(2)
    ]
    assert torch.equal(*numbers)
