"""The product with the mel bands, sparse where that is quicker."""

import warnings

import torch
from torch import Tensor

from specctl.config import Precision
from specctl.kernels.precision import product

_HAS_MKL = bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]


class Bands:
    """A mel filterbank ready to be applied to block after block.

    Parameters
    ----------
    mel : Tensor, shape (n_mels, n_freqs)
        Trained filterbanks are applied densely, so that every weight gets its gradient.
    """

    def __init__(self, mel: Tensor) -> None:
        self.mel = mel
        self._sparse = None if mel.requires_grad else _compressed(mel.detach())

    @property
    def n_mels(self) -> int:
        """Number of bands."""
        return self.mel.shape[0]

    def dense(self, spec: Tensor, precision: Precision) -> Tensor:
        """Apply to (..., freq) and get (..., mel); differentiable."""
        return product(spec, self.mel, precision)

    def block(self, spec: Tensor, precision: Precision) -> Tensor:
        """Apply to one block (time, freq) and get (mel, time), without gradients."""
        if self._sparse is not None:
            # a bin lies in two bands at most: 25 times fewer products than the dense matrix
            return self._sparse @ spec.T
        return product(self.mel, spec, precision)


def _compressed(mel: Tensor) -> Tensor | None:
    """CSR form, where this build of torch multiplies it (x86 with MKL)."""
    if mel.device.type != "cpu" or mel.dtype != torch.float32 or not _HAS_MKL:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return mel.to_sparse_csr()
