"""Work beside that of the main thread, which mostly waits for the disk."""

from collections.abc import Callable
from threading import Thread

WORTH_A_THREAD = 4
"""Jobs of fewer parts do everything in turn: they would gain nothing."""


class Background:
    """A call in a thread of its own; at once where the system gives no thread.

    Parameters
    ----------
    function : callable
        Keeps its errors to itself: nobody would see them.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        # a daemon, beside which decoders are still held to their memory
        self._thread: Thread | None = Thread(target=function, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None
            function()

    @property
    def is_over(self) -> bool:
        """Whether the call has returned."""
        return self._thread is None or not self._thread.is_alive()

    def wait(self) -> None:
        """Until the call has returned."""
        if self._thread is not None:
            self._thread.join()
