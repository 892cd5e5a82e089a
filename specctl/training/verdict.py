"""Was training the basis worth it? The same trainings with it fixed and trained, compared."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from specctl.errors import ParameterError

Outcome = Literal["helps", "makes no difference", "hurts", "cannot be judged"]
CONFIDENCE = 0.95
FEWEST_RUNS = 3
"""Of two runs, Student's t knows next to nothing."""
_WIDE = 0.05
"""An interval that holds 0 and reaches this far to either side, of 1, leaves room for both."""
_EQUAL = 1e-9
"""Differences that spread by less are equal but for rounding; a file more or less is far more."""


@dataclass(frozen=True, slots=True)
class MeanSd:
    """A figure over runs; ``sd`` is None for a single run."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "MeanSd":
        """Mean and sample standard deviation."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + (f" ± {self.sd:.3f}" if self.sd is not None else "")


@dataclass(frozen=True, slots=True)
class Difference:
    """Trained minus fixed, run by run, with the interval that Student's t gives for the mean.

    Runs that draw their files anew from the same ones share most of them, and differ by less than
    runs on other files would: their interval is as wide as Nadeau and Bengio's correction has it
    (Inference for the Generalization Error, Machine Learning 52, 2003).

    ``low`` and ``high`` are within [-1, 1], as all differences are. They are None for a single
    run, and where all runs differ by the same: no spread says nothing about that of other runs,
    least of all that it is nothing.
    """

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(
        cls, fixed: Sequence[float], trained: Sequence[float], redrawn: float = 0.0
    ) -> "Difference":
        """Of runs in the same order; ``redrawn`` as for `judge`."""
        differences = [b - a for a, b in zip(fixed, trained, strict=True)]
        mean, n = statistics.fmean(differences), len(differences)
        spread = statistics.stdev(differences) if n > 1 else 0.0
        if spread < _EQUAL:
            return cls(mean, None, None)
        from scipy.stats import t

        reach = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * spread * math.sqrt(1 / n + redrawn)
        return cls(mean, max(-1.0, mean - reach), min(1.0, mean + reach))

    def __str__(self) -> str:
        interval = ""
        if self.low is not None and self.high is not None:
            interval = f" ({CONFIDENCE:.0%} interval {self.low:+.3f} to {self.high:+.3f})"
        return f"{self.mean:+.3f}{interval}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison of fixed and trained basis came to.

    Times and peaks are medians over the runs, None where nothing told. ``drift_degrees`` is how
    far the rows moved, None if they were not trained; ``change_of_bands`` is the same for bands,
    relative to their norm. ``majority`` is the accuracy of always naming the most common class.
    ``fixed_front_end`` says what was compared with, where the trained one did not begin as that;
    ``trained`` names the weights.
    """

    outcome: Outcome
    n_runs: int
    accuracy_fixed: MeanSd
    accuracy_trained: MeanSd
    accuracy_difference: Difference
    f1_fixed: MeanSd
    f1_trained: MeanSd
    f1_difference: Difference
    majority: float
    has_learned: bool
    ms_per_step_fixed: float | None
    ms_per_step_trained: float | None
    peak_memory_mb_fixed: float | None
    peak_memory_mb_trained: float | None
    drift_degrees: float | None
    change_of_bands: float | None = None
    fixed_front_end: str | None = None
    trained: tuple[str, ...] = ("basis",)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        runs = f"{self.n_runs} run{'s' if self.n_runs > 1 else ''}"
        return (
            f"{self._judged} on this data: accuracy {self.accuracy_trained} trained, "
            f"{self.accuracy_fixed} fixed, difference {self.accuracy_difference}, {runs}"
            + self._caveat
            + self._compared
        )

    @property
    def _judged(self) -> str:
        if self.outcome != "cannot be judged":
            return f"{self._subject} {self.outcome}"
        if self.n_runs < FEWEST_RUNS:
            which = f"fewer than {FEWEST_RUNS} runs"
        elif not self.has_learned:
            which = (
                "models that are not clearly better than one that always names the most common "
                f"class ({self.majority:.3f})"
            )
        elif self.accuracy_difference.low is None:
            which = "runs that all differ by the same, which gives no interval,"
        else:
            which = "so wide an interval"
        article = "a " if self.drift_degrees is not None else ""
        return f"{which} cannot tell whether {article}{self._subject} helps"

    @property
    def _subject(self) -> str:
        """The basis, or what else was trained while the basis stayed as it was."""
        if self.drift_degrees is not None:
            return "trained basis"
        return f"training {' and '.join(self.trained)}"

    @property
    def _caveat(self) -> str:
        """What would tell more."""
        if self.accuracy_difference.low is None:
            is_null = self.outcome == "makes no difference"
            text = "; no run differs, which gives no interval: more test files would tell more"
            return text * is_null
        is_open = self.outcome == "cannot be judged" and self.n_runs >= FEWEST_RUNS
        return "; more runs or files would narrow it" * (is_open and self.has_learned)

    @property
    def _compared(self) -> str:
        """What else than the training made a difference."""
        if self.fixed_front_end is None:
            return ""
        return f"; fixed: {self.fixed_front_end}, so the start is a part of the difference"

    @property
    def cost(self) -> str:
        """What training cost and how far it went, in words."""
        parts = []
        if self.ms_per_step_fixed and self.ms_per_step_trained:
            parts.append(
                f"{self.ms_per_step_trained:.0f} ms per step trained, "
                f"{self.ms_per_step_fixed:.0f} ms fixed"
            )
        if self.peak_memory_mb_fixed is not None and self.peak_memory_mb_trained is not None:
            parts.append(
                f"{self.peak_memory_mb_trained:.0f} MB at the peak trained, "
                f"{self.peak_memory_mb_fixed:.0f} MB fixed"
            )
        if self.drift_degrees is not None:
            parts.append(f"rows moved by {self.drift_degrees:.1f}° (median)")
        if self.change_of_bands is not None:
            parts.append(f"bands changed by {self.change_of_bands:.1%} (median)")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the sentence among them."""
        return {**asdict(self), "sentence": self.sentence}


def judge(
    fixed: Sequence[dict[str, Any]],
    trained: Sequence[dict[str, Any]],
    drift_degrees: float | None,
    fixed_front_end: str | None = None,
    *,
    redrawn: float = 0.0,
    change_of_bands: float | None = None,
    names: tuple[str, ...] = ("basis",),
) -> Verdict:
    """Compare runs pair by pair.

    Parameters
    ----------
    fixed, trained : sequence of dict
        Of each run, with ``accuracy``, ``macro_f1``, ``n_test`` (files it was judged by),
        ``majority`` (their share of the most common class), ``ms_per_step`` and
        ``peak_memory_mb``; runs in the same place had the same seed and the same files.
    drift_degrees : float, optional
        Of rows that were trained.
    fixed_front_end : str, optional
        What it was, where the trained one began as another.
    redrawn : float
        Files that a run is judged by over those that it learns from, where each run draws its
        own; 0 where all have the same, of which alone the interval then speaks.
    change_of_bands : float, optional
        Of bands that were trained.
    names : tuple of str
        What was trained.

    Raises
    ------
    ParameterError
        If there are no runs, or not as many of both.
    """
    if not fixed or len(fixed) != len(trained):
        raise ParameterError(
            f"fixed and trained must be as many runs, at least 1, got {len(fixed)} "
            f"and {len(trained)}"
        )
    accuracy = [[run["accuracy"] for run in runs] for runs in (fixed, trained)]
    f1 = [[run["macro_f1"] for run in runs] for runs in (fixed, trained)]
    difference = Difference.of(accuracy[0], accuracy[1], redrawn)
    has_learned = any(map(_has_learned, (fixed, trained)))
    return Verdict(
        outcome=_outcome(difference, len(fixed), has_learned=has_learned),
        n_runs=len(fixed),
        accuracy_fixed=MeanSd.of(accuracy[0]),
        accuracy_trained=MeanSd.of(accuracy[1]),
        accuracy_difference=difference,
        f1_fixed=MeanSd.of(f1[0]),
        f1_trained=MeanSd.of(f1[1]),
        f1_difference=Difference.of(f1[0], f1[1], redrawn),
        majority=statistics.fmean(run["majority"] for run in fixed),
        has_learned=has_learned,
        ms_per_step_fixed=_median(fixed, "ms_per_step"),
        ms_per_step_trained=_median(trained, "ms_per_step"),
        peak_memory_mb_fixed=_median(fixed, "peak_memory_mb"),
        peak_memory_mb_trained=_median(trained, "peak_memory_mb"),
        drift_degrees=drift_degrees,
        change_of_bands=change_of_bands,
        trained=names,
        fixed_front_end=fixed_front_end,
    )


def _outcome(difference: Difference, n_runs: int, *, has_learned: bool) -> Outcome:
    mean, low, high = difference.mean, difference.low, difference.high
    if n_runs < FEWEST_RUNS:
        return "cannot be judged"
    if low is None or high is None:
        is_null = abs(mean) < _EQUAL
    elif low > 0:
        return "helps"
    elif high < 0:
        return "hurts"
    else:
        is_null = max(high - mean, mean - low) <= _WIDE
    return "makes no difference" if is_null and has_learned else "cannot be judged"


def _has_learned(runs: Sequence[dict[str, Any]]) -> bool:
    """Whether more files are right than whoever names the most common class has but by chance."""
    from scipy.stats import binom

    n_files = sum(run["n_test"] for run in runs)
    n_right = round(sum(run["accuracy"] * run["n_test"] for run in runs))
    majority = statistics.fmean(run["majority"] for run in runs)
    return bool(binom.sf(n_right - 1, n_files, majority) < 1 - CONFIDENCE)


def _median(runs: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [run[name] for run in runs if run[name] is not None]
    return statistics.median(values) if values else None
