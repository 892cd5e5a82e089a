"""Basis files: what was trained, as data that anyone may read and nobody has to trust.

A basis file is a safetensors file. Version 1 has these tensors, all float32, little-endian::

    basis        (2 * n_freqs, n_fft)  the rows that frames are multiplied with, window included;
                                       real parts in the first half, imaginary parts in the second
    window       (n_fft,)              the window that is in the rows of an untrained basis
    frequencies  (n_freqs,)            centre of each row in bins (turns per n_fft samples);
                                       only where rows are of one frequency each
    mel          (n_mels, n_freqs)     only with mel bands
    pcen         (4, n_mels)           gain, bias, power, smoothing; only with scale "pcen"

and these strings as metadata: ``format`` ("specctl-basis"), ``format_version`` ("1"), ``config``
(the settings as JSON), ``trained`` (names of what was trained, JSON), ``metadata`` (whatever the
writer adds, JSON: classes, dataset, versions, verdict) and ``specctl_version``.

``record`` says what a basis is, ``file`` writes files and ``checks`` reads those of strangers.
Arrays are NumPy's, so that a basis can be read, checked and hashed without PyTorch.
"""

from specctl.basis.file import load_basis, save_basis
from specctl.basis.record import Basis

__all__ = ["Basis", "load_basis", "save_basis"]
