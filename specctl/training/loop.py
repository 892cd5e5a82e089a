"""One training from start to end: steps, guards, checkpoints."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specctl.durable import is_there
from specctl.errors import Stopped, TrainingError
from specctl.kernels.memory import is_out_of_memory
from specctl.training.batches import Batch, TrainBatches
from specctl.training.checkpoint import read_checkpoint, write_checkpoint
from specctl.training.evaluate import Scores, check_finite
from specctl.training.network import Network, kept_random_state, model_precision
from specctl.training.penalties import Penalties
from specctl.training.processes import Processes
from specctl.training.settings import TrainSettings
from specctl.words import counted

Report = Callable[[dict[str, Any]], None]


class Trainer:
    """Trains one network; the best state on the validation files is the result.

    Parameters
    ----------
    network : Network
        On its device.
    batches : TrainBatches
    validate : callable
        Gives the scores on the validation files; its argument is how many crops may go through
        the network at once.
    settings : TrainSettings
    checkpoint : Path
        Where the state is kept every ``settings.checkpoint_every`` steps.
    seed : int
        For models that draw random numbers of their own.
    processes : Processes
    report : callable
        Called with a dict for each step and each epoch.
    should_stop : callable
        Asked after each step.

    Attributes
    ----------
    history : list of dict
        Figures of each epoch.
    seconds : list of float
        Time of each step since this was made.
    clips_at_once : int
        So many go through the network at once; fewer where memory has run out.
    """

    def __init__(
        self,
        network: Network,
        batches: TrainBatches,
        validate: Callable[[int], Scores],
        settings: TrainSettings,
        *,
        checkpoint: Path,
        seed: int,
        processes: Processes,
        report: Report = lambda event: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._network = network
        self._batches = batches
        self._validate = validate
        self._settings = settings
        self._checkpoint = checkpoint
        self._seed = seed
        self._processes = processes
        self._report = report
        self._should_stop = should_stop
        self._penalties = Penalties(network.front_end, settings)
        self._parts = [network.front_end_parameters(), network.model_parameters()]
        self._optimiser = _optimiser(self._parts, settings)
        self._n_steps = settings.epochs * batches.n_per_epoch
        self.clips_at_once = max(1, -(-settings.batch_size // processes.n_ranks))
        self._step = 0
        self._epoch_loss = 0.0
        self._best: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.seconds: list[float] = []

    def run(self) -> None:
        """Train to the end, from the checkpoint on if there is one.

        Raises
        ------
        TrainingError
            If the loss or a gradient is no finite number, or the memory is too small.
        Stopped
            If it was asked to.
        """
        if is_there(self._checkpoint):
            self._load(read_checkpoint(self._checkpoint))
        self._network.train()
        # a model may draw numbers of its own; those of the process are put back afterwards
        with kept_random_state(self._network.device), model_precision(self._settings.precision):
            while self._step < self._n_steps:
                started = time.perf_counter()
                self._train_step()
                self.seconds.append(time.perf_counter() - started)
                if self._step % self._batches.n_per_epoch == 0:
                    self._end_epoch()
                self._keep()
        self._restore_best()

    def _train_step(self) -> None:
        processes = self._processes
        batch = self._batches.read(self._step, processes.rank, processes.n_ranks)
        loss = processes.sum(self._accumulate(batch))
        for part in self._parts:
            processes.sum_gradients(part)
        norms = [
            float(torch.nn.utils.clip_grad_norm_(part, self._settings.max_grad_norm))
            for part in self._parts
        ]
        self._check_finite(float(loss), norms)
        self._set_rates()
        self._optimiser.step()
        self._penalties.project()
        for norm in self._network.norms:
            norm.settle(processes.sum)
        self._step += 1
        self._epoch_loss += float(loss)
        self._report(
            {"event": "step", "step": self._step, "n_steps": self._n_steps, "loss": float(loss)}
        )

    def _accumulate(self, batch: Batch) -> Tensor:
        """Loss of this process's part of the batch and its gradients, in as many pieces as
        memory asks for; the sum over all processes is the mean over the batch."""
        while (total := self._loss_if_it_fits(batch)) is None:
            self._halve(len(batch.labels))
        return total

    def _loss_if_it_fits(self, batch: Batch) -> Tensor | None:
        """`_accumulate` in pieces of this size; ``None`` if memory ran out, with nothing of the
        attempt left in it."""
        self._forget()
        torch.manual_seed(self._seed + 7919 * self._step + self._processes.rank)
        total = torch.zeros((), device=self._network.device)
        try:
            for first in range(0, len(batch.labels), self.clips_at_once):
                loss = self._network.loss(batch.part(first, first + self.clips_at_once))
                loss = loss / self._batches.batch_size
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
            penalty = self._penalties.total()
            if penalty is not None:
                # every process adds its share of what is the same for all
                (penalty / self._processes.n_ranks).backward()  # type: ignore[no-untyped-call]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # not here: an exception holds on to the tensors of all that it went through
            return None
        return total

    def _forget(self) -> None:
        self._optimiser.zero_grad()
        for norm in self._network.norms:
            norm.forget()

    def _halve(self, n_clips: int) -> None:
        """Half as many clips at once; pieces end where groups of a normalisation or pairs end."""
        unit = self._network.n_together
        pieces = min(self.clips_at_once, n_clips)
        if pieces <= unit:
            raise TrainingError(
                f"memory must hold {counted(pieces, 'clip')} at once, it does not; "
                "give a shorter crop, a smaller model or a larger hop_length"
            )
        self.clips_at_once = max(unit, pieces // 2 // unit * unit)
        self._optimiser.zero_grad()
        if self._network.device.type == "cuda":
            torch.cuda.empty_cache()
        self._report({"event": "out of memory", "clips_at_once": self.clips_at_once})

    def _check_finite(self, loss: float, norms: Sequence[float]) -> None:
        if math.isfinite(loss) and all(map(math.isfinite, norms)):
            return
        what = f"the loss is {loss}" if not math.isfinite(loss) else "a gradient is not finite"
        self._forget()
        self._save()
        raise TrainingError(
            f"{what} at step {self._step + 1} of {self._n_steps}; the state before it is in "
            f"{self._checkpoint}; try a lower lr or basis_lr"
        )

    def _set_rates(self) -> None:
        settings = self._settings
        falling = 0.5 * (1.0 + math.cos(math.pi * self._step / self._n_steps))
        rising = min(1.0, (self._step + 1) / max(1.0, settings.warmup * self._n_steps))
        for group in self._optimiser.param_groups:
            is_front_end = group["name"] == "front end"
            rate = settings.basis_lr * rising if is_front_end else settings.lr
            group["lr"] = rate * falling

    def _end_epoch(self) -> None:
        scores = self._validate(self.clips_at_once)
        # the last step of all is followed by no other that would meet what it did
        check_finite(scores, f"validation files after step {self._step} of {self._n_steps}")
        record = {
            "epoch": self._step // self._batches.n_per_epoch,
            "train_loss": self._epoch_loss / self._batches.n_per_epoch,
            "validation_loss": scores.loss,
            "validation_accuracy": scores.accuracy,
            "validation_macro_f1": scores.macro_f1,
        }
        self._epoch_loss = 0.0
        self.history.append(record)
        rank = (scores.accuracy, -scores.loss)
        if not self._best or rank > tuple(self._best["rank"]):
            self._best = {"rank": list(rank), "weights": _copied(self._network.state_dict())}
        self._report({"event": "epoch", "step": self._step, **record})

    def _keep(self) -> None:
        """Save where it is due; stop where it is asked for."""
        is_stopping = self._processes.any(self._should_stop(), self._network.device)
        is_last = self._step == self._n_steps
        if is_stopping or is_last or self._step % self._settings.checkpoint_every == 0:
            self._save()
        if is_stopping and not is_last:
            raise Stopped(f"stopped after step {self._step} of {self._n_steps}")

    def _save(self) -> None:
        if self._processes.is_first:
            state = {
                "step": self._step,
                "seed": self._seed,
                "weights": self._network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "epoch_loss": self._epoch_loss,
                "history": self.history,
                "best": self._best,
                "clips_at_once": self.clips_at_once,
            }
            write_checkpoint(self._checkpoint, state)

    def _load(self, state: dict[str, Any]) -> None:
        try:
            if state["seed"] != self._seed:
                raise TrainingError(f"{self._checkpoint} belongs to another training")
            self._network.load_state_dict(state["weights"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._step = state["step"]
            self._epoch_loss = state["epoch_loss"]
            self.history = list(state["history"])
            self._best = dict(state["best"])
            self.clips_at_once = state["clips_at_once"]
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise TrainingError(f"{self._checkpoint} does not fit this training") from error

    def _restore_best(self) -> None:
        self._network.load_state_dict(self._best["weights"])


def _optimiser(parts: Sequence[list[torch.nn.Parameter]], settings: TrainSettings) -> Any:
    groups = [
        {"name": name, "params": part, "weight_decay": decay}
        for name, part, decay in zip(
            ("front end", "model"), parts, (0.0, settings.weight_decay), strict=True
        )
        if part
    ]
    return torch.optim.AdamW(groups, lr=settings.lr)


def _copied(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in weights.items()}
