"""What the fork server imports for workers that need torch."""

import gc

from specctl.convert.early import one_blas_thread
from specctl.convert.fork_server import leave_errors_to_parent

gc.disable()
one_blas_thread()
leave_errors_to_parent()

from specctl.convert import compute_torch, work  # noqa: E402

gc.freeze()
gc.enable()

__all__ = ["compute_torch", "work"]
