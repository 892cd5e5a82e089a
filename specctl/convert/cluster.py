"""Running tasks on other machines: on the workers of a Dask scheduler."""

import asyncio
import json
import logging
import os
import pickle
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from specctl.convert.background import Background
from specctl.convert.executors import Control, Outcome, Task
from specctl.convert.node import Terms, for_any_folder, landmarks, run_here
from specctl.errors import ParameterError, Stopped, StoreError

if TYPE_CHECKING:
    from distributed import Client, Future

_POLL_SECONDS = 0.1
_CLOSE_SECONDS = 5.0


class Cluster:
    """The workers of a scheduler, those that come later included; one task a thread.

    As many tasks wait there as are in hand, and one more: a cluster that adapts grows for those
    that wait. A worker that is lost costs its tasks, which Dask gives to others. Workers must see
    the files under the same paths as this machine.

    Parameters
    ----------
    scheduler : str
        Address such as ``tcp://host:8786``, or the JSON file that ``dask scheduler`` wrote.
    terms : Terms
        For every machine.
    folder : Path
        Where tasks leave their work.
    control : Control
        May end the wait for the scheduler.
    waiting : callable
        Called again and again while there is no worker.

    Raises
    ------
    ParameterError
        Dask is not installed, or that is neither an address nor a scheduler's file.
    """

    def __init__(
        self,
        scheduler: str,
        terms: Terms,
        folder: Path,
        control: Control,
        waiting: Callable[[], None],
    ) -> None:
        try:
            # takes half a second
            import distributed
        except ImportError as error:
            raise ParameterError(
                f"scheduler needs Dask, {error.name} is missing; "
                "pip install 'specctl-audio[cluster]'"
            ) from error
        self._dask = distributed
        self._address = _address(scheduler)
        self._scheduler = scheduler
        self._terms = terms
        self._folder = folder
        self._control = control
        self._waiting = waiting
        self._client: Client | None = None
        self._most_threads = 1
        # those of Dask's own; what a program has asked for it gets
        self._handlers = logging.getLogger("distributed").handlers

    @property
    def n_workers(self) -> int:
        """Threads of all workers, the most so far; 1 while the first worker is to come."""
        return self._most_threads

    def __enter__(self) -> Self:
        """Connect.

        Raises
        ------
        StoreError
            The scheduler cannot be reached, or has no specctl.
        Stopped
            ``control`` has stopped the run.
        """
        for handler in self._handlers:
            handler.addFilter(self._is_for_users)
        try:
            return self._entered()
        except BaseException:
            self.__exit__()
            raise

    def _entered(self) -> Self:
        self._greet()
        try:
            self._client = self._dask.Client(self._address, set_as_default=False, name="specctl")
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            # it unpacks all that passes
            self._client.run_on_scheduler(pickle.loads, pickle.dumps(run_here))
        except ImportError as error:
            raise self._elsewhere(error) from error
        except OSError as error:
            raise self._lost() from error
        self._n_threads()
        return self

    def __exit__(self, *_: object) -> None:
        client, self._client = self._client, None
        try:
            if client is not None:
                client.close(_CLOSE_SECONDS)
        finally:
            for handler in self._handlers:
                handler.removeFilter(self._is_for_users)

    def _is_for_users(self, record: logging.LogRecord) -> bool:
        """Nothing that Dask says of workers and scheduler: what they cost is told here."""
        return not record.name.startswith("distributed.")

    def run(
        self, tasks: deque[Task], control: Control, hung: Callable[[], Sequence[int]]
    ) -> Iterator[Outcome]:
        """As many tasks at a time as there are threads; each machine watches its own.

        Tasks that no worker has begun when ``control`` stops the run are left.

        Raises
        ------
        StoreError
            The scheduler is gone.
        """
        client = self._connected()
        running: dict[Any, tuple[Task, Future[Any]]] = {}
        ended: SimpleQueue[Future[Any]] = SimpleQueue()
        try:
            while not control.killed:
                n_threads = self._n_threads()
                while tasks and not control.draining and len(running) <= 2 * n_threads:
                    task = tasks.popleft()
                    future = self._sent(task)
                    running[future.key] = task, future
                    future.add_done_callback(ended.put)
                if control.draining:
                    self._take_back({key: future for key, (_, future) in running.items()})
                if not running and (control.draining or not tasks):
                    return
                with suppress(Empty):
                    task, future = running.pop(ended.get(timeout=_POLL_SECONDS).key)
                    if not (control.draining and future.cancelled()):
                        yield self._outcome(task, future)
                if n_threads:
                    hung()
                else:
                    self._waiting()
        finally:
            client.cancel([future for _, future in running.values()], force=True)

    def _sent(self, task: Task) -> "Future[Any]":
        sent = for_any_folder(task)
        call = _Call(run_here, sent, self._terms, landmarks(sent))
        # Dask learns from the name how long such a task takes
        key = f"{task.function.__name__}-{uuid.uuid4().hex}"
        return self._connected().submit(pickle.loads, pickle.dumps(call), key=key)

    def _take_back(self, futures: dict[Any, "Future[Any]"]) -> None:
        """Cancel what no worker has begun."""
        client = self._connected()
        # a worker that is just being lost does not answer
        with suppress(OSError):
            begun = {key for stacks in client.call_stack().values() for key in stacks}
            waiting = [
                future for key, future in futures.items() if key not in begun and not future.done()
            ]
            client.cancel(waiting, force=True)

    def _outcome(self, task: Task, future: "Future[Any]") -> Outcome:
        try:
            reply = future.result()
        except CancelledError as error:
            raise self._lost() from error
        except self._dask.KilledWorker as error:
            return Outcome(task, death=f"{error.allowed_failures + 1} workers ended over it")
        except ImportError as error:
            raise self._elsewhere(error) from error
        except Exception as error:  # the caller looks at it: a bug is raised there
            if isinstance(error, OSError) and future.status != "error":
                # on the way here, not where the task ran
                raise self._lost() from error
            return Outcome(task, error=error)
        # a network's disk shows what others have written once the folder is read again
        with os.scandir(self._folder) as entries:
            next(entries, None)
        return Outcome(task, *reply)

    def _greet(self) -> None:
        """Wait until the scheduler answers.

        A `Client` that finds none waits without hearing of a signal, and again when it is let go.
        """
        errors: list[Exception] = []

        def exchange() -> None:
            try:
                asyncio.run(self._answered())
            except Exception as error:  # whatever it is: raised below
                errors.append(error)

        greeting = Background(exchange)
        while not greeting.is_over:
            if self._control.draining:
                raise Stopped(
                    f"stopped: scheduler {self._scheduler} has not answered; the same command "
                    "goes on from there"
                )
            time.sleep(_POLL_SECONDS)
        for error in errors:
            raise self._unreachable(error) from error

    async def _answered(self) -> None:
        from dask import config
        from dask.utils import parse_timedelta
        from distributed.comm import connect

        seconds = parse_timedelta(config.get("distributed.comm.timeouts.connect"))
        arguments = self._dask.Security().get_connection_args("client")
        # its own limit ends before the answer
        connecting = connect(self._address, seconds, **arguments)
        comm = await asyncio.wait_for(connecting, 2 * seconds)
        await comm.close()

    def _n_threads(self) -> int:
        try:
            n_threads: int = sum(self._connected().nthreads().values())
        except (OSError, CancelledError) as error:
            raise self._lost() from error
        self._most_threads = max(self._most_threads, n_threads)
        return n_threads

    def _connected(self) -> "Client":
        if self._client is None:
            raise RuntimeError("the cluster is used outside of its context")
        return self._client

    def _lost(self) -> StoreError:
        return StoreError(f"scheduler {self._scheduler} is gone; the same command goes on")

    def _unreachable(self, error: Exception) -> StoreError:
        return StoreError(f"cannot reach scheduler {self._scheduler}: {str(error) or 'no answer'}")

    def _elsewhere(self, error: ImportError) -> StoreError:
        return StoreError(
            f"scheduler {self._scheduler} and its workers need the specctl that runs here: {error}"
        )


class _Call:
    """A call that is made where it is unpickled.

    A worker that cannot unpickle a task, for lack of specctl, would end; one that cannot run it
    says so.
    """

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        function, *arguments = self._call
        return function, tuple(arguments)


def _address(scheduler: str) -> str:
    """That of a scheduler, by itself or in the scheduler's file."""
    from distributed.comm.registry import get_backend

    name, is_address, _ = scheduler.partition("://")
    # a name that is too long for a file is none
    if not is_address and os.path.isfile(scheduler):  # noqa: PTH113
        try:
            return str(json.loads(Path(scheduler).read_text())["address"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ParameterError(
                f"scheduler must be the file that dask scheduler wrote, got {scheduler}: {error}"
            ) from error
    try:
        get_backend(name if is_address else "")
    except ValueError as error:
        raise ParameterError(
            "scheduler must be an address such as tcp://host:8786 or the JSON file that "
            f"dask scheduler wrote, got {scheduler!r}"
        ) from error
    return scheduler
