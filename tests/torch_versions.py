"""What older versions of torch cannot do, whatever they are given."""

import pytest
import torch
from torch.torch_version import TorchVersion

_TORCH = TorchVersion(torch.__version__)

EXPORTS_ANY_LENGTH = pytest.mark.skipif(
    _TORCH < (2, 7) or (2, 8) <= _TORCH < (2, 9),
    reason="torch.export leaves the length of an FFT open from torch 2.7 on, but for 2.8",
)
WRITES_ONNX = pytest.mark.skipif(
    _TORCH < (2, 8), reason="torch leaves the sizes of an ONNX graph open from 2.8 on"
)
SHARDS_ON_CPU = pytest.mark.skipif(
    _TORCH < (2, 7), reason="torch shards models on a CPU from 2.7 on"
)
