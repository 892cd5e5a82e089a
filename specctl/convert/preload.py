"""What the fork server imports before it forks workers: all that they need.

Nothing of it becomes garbage, so it is not looked through for any: not while it is imported,
which takes a fifth less time then, nor in a worker, where that would copy its pages.
"""

import gc

from specctl.convert.early import one_blas_thread
from specctl.convert.fork_server import leave_errors_to_parent

gc.disable()
one_blas_thread()
leave_errors_to_parent()

from specctl.convert import work  # noqa: E402

gc.freeze()
gc.enable()

__all__ = ["work"]
