import pytest
import torch

from specctl.training.network import model_precision

CUDNN = torch.backends.cudnn


@pytest.mark.skipif(not hasattr(CUDNN, "conv"), reason="this torch has one switch for both")
@pytest.mark.parametrize(
    ("precision", "switched"), [("fp32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")]
)
def test_convolutions_and_recurrences_of_a_model_are_as_exact_as_asked_for(precision, switched):
    owners = (CUDNN.conv, CUDNN.rnn)
    before = [owner.fp32_precision for owner in owners]
    with model_precision(precision):
        assert [owner.fp32_precision for owner in owners] == [switched, switched]
    assert [owner.fp32_precision for owner in owners] == before
