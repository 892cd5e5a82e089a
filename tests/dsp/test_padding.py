import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specctl.dsp.padding import pad_waveform
from tests.dsp.signals import noise

modes = pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])


@modes
@given(
    n_samples=st.integers(1, 20),
    before=st.integers(0, 100),
    after=st.integers(0, 100),
)
def test_equals_numpy_even_where_a_short_clip_is_reflected_to_and_fro(
    mode, n_samples, before, after
):
    waveform = noise(2, n_samples)
    expected = np.pad(waveform.numpy(), [(0, 0), (before, after)], mode=mode)
    assert np.array_equal(pad_waveform(waveform, before, after, mode).numpy(), expected)


@modes
def test_leading_dimensions_and_dtype_stay(mode):
    waveform = noise(2, 3, 5).double()
    padded = pad_waveform(waveform, 2, 9, mode)
    assert padded.shape == (2, 3, 16)
    assert padded.dtype == torch.float64
    assert torch.equal(padded[..., 2:7], waveform)


@modes
def test_gradients_flow_back_to_every_copy_of_a_sample(mode):
    waveform = noise(1, 3).requires_grad_()
    padded = pad_waveform(waveform, 4, 4, mode)
    padded.sum().backward()
    copies = {"constant": [1, 1, 1], "reflect": [3, 5, 3], "edge": [5, 1, 5]}[mode]
    assert waveform.grad[0].tolist() == copies
