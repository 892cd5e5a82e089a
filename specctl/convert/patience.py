"""How long a worker may take before it counts as hung."""

import time

_SLOWEST_READ = 10e6
"""Bytes a second that a disk or a network gives at the least."""
_LONGEST_TURN = 1.0
"""Seconds between two looks, of which there are ten a second."""


def patience(timeout: float, n_bytes: int) -> float:
    """Seconds without a sign of life after which a worker counts as hung.

    A large file is hashed in one go, which takes its time on a slow disk.
    """
    return timeout + n_bytes / _SLOWEST_READ


class RunningTime:
    """Seconds that this process was running, for somebody who looks again and again.

    Where nobody has looked for a while, all processes were stopped, by Ctrl-Z or by the manager
    of a cluster.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._looked = time.monotonic()

    def look(self) -> float:
        """How many there are by now."""
        looked, self._looked = self._looked, time.monotonic()
        self._seconds += min(self._looked - looked, _LONGEST_TURN)
        return self._seconds
