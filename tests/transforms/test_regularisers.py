import pytest
import torch

from specctl.errors import ParameterError
from specctl.transforms import MelSpectrogram
from specctl.transforms import regularisers as r
from tests.dsp.signals import noise

# float32 over a few thousand products
TOLERANCE = 1e-5


def basis(n_fft=64, **settings):
    return MelSpectrogram(n_fft=n_fft, n_mels=8, trainable="basis", **settings).basis.detach()


def brute_force_overlap(rows):
    unit = rows / rows.norm(dim=-1, keepdim=True)
    cosines = (unit @ unit.T).square()
    n_rows = len(rows)
    return (cosines.sum() - cosines.diagonal().sum()) / (n_rows * (n_rows - 1))


def test_penalties_are_nothing_where_nothing_moved():
    start = basis()
    assert r.distance_from_start(start, start) == 0
    assert r.norm_penalty(start, start) == 0
    assert r.negative_penalty(MelSpectrogram(n_mels=8, n_fft=64).mel) == 0


def test_distance_is_a_share_of_the_start():
    start = basis()
    assert r.distance_from_start(1.1 * start, start).item() == pytest.approx(0.01, rel=1e-4)


def test_norms_are_those_of_complex_rows():
    start = basis()
    turned = torch.cat([start[33:], -start[:33]])
    torch.testing.assert_close(r.row_norms(turned), r.row_norms(start))
    assert r.norm_penalty(1.5 * start, start).item() == pytest.approx(0.25, rel=1e-5)
    unit = start / r.row_norms(start).repeat(2)[:, None]
    assert r.norm_penalty(unit).item() == pytest.approx(0.0, abs=1e-12)


def test_descending_the_norm_penalty_gives_rows_of_norm_one():
    rows = (0.5 * noise(10, 16)).requires_grad_()
    optimiser = torch.optim.SGD([rows], lr=2.0)
    for _ in range(100):
        optimiser.zero_grad()
        r.norm_penalty(rows).backward()
        optimiser.step()
    torch.testing.assert_close(r.row_norms(rows), torch.ones(5), rtol=1e-3, atol=0)


@pytest.mark.parametrize("n_rows", [2, 255, 256, 257, 700])
def test_orthogonality_is_the_mean_squared_cosine(n_rows):
    rows = noise(n_rows, 40)
    wanted = brute_force_overlap(rows.double())
    torch.testing.assert_close(
        r.orthogonality_penalty(rows).double(), wanted, rtol=TOLERANCE, atol=0
    )


def test_another_default_device_is_not_that_of_the_rows():
    rows = noise(300, 40)
    wanted = r.orthogonality_penalty(rows)
    with torch.device("meta"):
        assert torch.equal(r.orthogonality_penalty(rows), wanted)


def test_orthogonality_is_nought_for_orthogonal_and_one_for_parallel_rows():
    orthogonal = torch.linalg.qr(noise(32, 32).double())[0]
    assert r.orthogonality_penalty(orthogonal).item() == pytest.approx(0, abs=1e-30)
    assert r.orthogonality_penalty(noise(1, 32).expand(9, -1)).item() == pytest.approx(1, rel=1e-6)


def test_orthogonality_leaves_rows_of_zeros_out():
    rows = noise(20, 32)
    padded = torch.cat([rows, torch.zeros(5, 32)]).requires_grad_()
    value = r.orthogonality_penalty(padded)
    torch.testing.assert_close(value, r.orthogonality_penalty(rows), rtol=TOLERANCE, atol=0)
    value.backward()
    assert torch.isfinite(padded.grad).all()


def test_gradients_of_all_are_true_derivatives():
    rows = noise(6, 8).double().requires_grad_()
    start = noise(6, 8, seed=1).double()
    for penalty in (
        r.orthogonality_penalty,
        r.norm_penalty,
        lambda weight: r.norm_penalty(weight, start),
        lambda weight: r.distance_from_start(weight, start),
    ):
        assert torch.autograd.gradcheck(penalty, (rows,))


def test_orthogonality_never_holds_all_pairs():
    rows = noise(2050, 16).requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        r.orthogonality_penalty(rows)
    assert max(kept) <= rows.numel()


def test_negative_bands_are_penalised_or_clipped():
    mel = torch.tensor([[3.0, -4.0], [0.0, 0.0]], requires_grad=True)
    value = r.negative_penalty(mel)
    assert value.item() == pytest.approx(16 / 25)
    value.backward()
    assert (mel.grad != 0).tolist() == [[False, True], [False, False]]
    r.clip_negative(mel)
    assert mel.tolist() == [[3.0, 0.0], [0.0, 0.0]]
    assert mel.requires_grad


def test_weights_at_zero_have_finite_gradients():
    rows = torch.zeros(4, 8, requires_grad=True)
    (r.norm_penalty(rows) + r.orthogonality_penalty(rows) + r.negative_penalty(rows)).backward()
    assert torch.isfinite(rows.grad).all()


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(ParameterError, match=r"shape of the weight, \(4, 8\), got \(4, 9\)"):
        r.distance_from_start(torch.zeros(4, 8), torch.zeros(4, 9))
