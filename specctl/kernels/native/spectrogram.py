"""Running the compiled transform on numpy arrays."""

import threading
from functools import lru_cache

import numpy as np

from specctl.compiler import Compiled, compiled, host
from specctl.kernels.native import plan, stages
from specctl.kernels.native.program import Layout, Logarithm, Program, Tables

_ALIGNMENT = 64
"""Bytes of a cache line; a vector across two of them costs twice."""


def problem(n_fft: int, power: float | None) -> str | None:
    """Why a chain cannot be compiled, or ``None`` if it can."""
    if power not in (None, 1.0, 2.0):
        return f"the power of the magnitude is {power:g}, not 1 or 2"
    return plan.problem(n_fft)


class NativeSpectrogram:
    """One chain, compiled: STFT, and power, mel bands and logarithm as far as it has them.

    Safe to call from several threads at once.

    Parameters
    ----------
    window : ndarray, shape (n_fft,)
    hop_length : int
    power : float or None
        Exponent of the magnitude, 1 or 2; ``None`` for complex spectra.
    mel : ndarray, shape (n_mels, n_freqs), optional
    log : Logarithm, optional
    layout : {"bins", "frames"}
        Which axis of the result comes first.
    lanes : int, optional
        Frames computed side by side; as many as suit the processor. No number depends on it.
    """

    def __init__(
        self,
        window: np.ndarray,
        hop_length: int,
        *,
        power: float | None,
        mel: np.ndarray | None = None,
        log: Logarithm | None = None,
        layout: Layout = "bins",
        lanes: int | None = None,
    ) -> None:
        processor = host()
        self.n_fft, self.hop_length, self.layout = len(window), hop_length, layout
        self._program = Program(
            plan=plan.Plan.of(self.n_fft, processor.longest_butterfly),
            lanes=lanes or processor.lanes,
            layout=layout,
            exponent=None if power is None else int(power),
            n_mels=None if mel is None else len(mel),
            log=log,
        )
        self._tables = Tables.of(self._program, window, mel)
        self._call = _function(self._program)
        tables = self._tables.floats, self._tables.indices
        self._table_addresses = tuple(table.ctypes.data for table in tables)
        self._local = threading.local()

    @property
    def n_rows(self) -> int:
        """Numbers of a frame; real and imaginary parts count one each."""
        return self._program.n_rows

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform that is padded already."""
        return max(0, 1 + (n_samples - self.n_fft) // self.hop_length)

    def shape(self, n_samples: int) -> tuple[int, ...]:
        """Shape of the result for a waveform that is padded already."""
        n_frames = self.n_frames(n_samples)
        if self._program.exponent is None:
            n_freqs = self._program.n_freqs
            return (n_freqs, n_frames, 2) if self.layout == "bins" else (n_frames, n_freqs, 2)
        return (self.n_rows, n_frames) if self.layout == "bins" else (n_frames, self.n_rows)

    def __call__(self, samples: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Every frame of a waveform.

        Parameters
        ----------
        samples : ndarray, shape (n_samples,), float32, contiguous
            With its padding; at least ``n_fft``.
        out : ndarray, float32, optional
            Where to write: (n_rows, n_frames) for ``layout="bins"``, (n_frames, n_rows) for
            ``"frames"``, the last axis contiguous; complex spectra as (n_freqs, n_frames, 2) and
            (n_frames, n_freqs, 2).

        Returns
        -------
        ndarray
            ``out``, or a new array of that shape.
        """
        n_frames, lanes = self.n_frames(len(samples)), self._program.lanes
        if out is None:
            out = np.empty(self.shape(len(samples)), np.float32)
        if n_frames < lanes:
            # the frames that are missing are made of silence and thrown away
            longer = np.zeros((lanes - 1) * self.hop_length + self.n_fft, np.float32)
            longer[: len(samples)] = samples[: len(longer)]
            wide = self(longer)
            out[...] = wide[:, :n_frames] if self.layout == "bins" else wide[:n_frames]
            return out
        n_groups = n_frames // lanes
        self._run(samples, out, 0, n_groups)
        if n_frames % lanes:
            # the last frames once more together with those before them: the same numbers
            self._run(samples, out, n_frames - lanes, 1)
        return out

    def _run(self, samples: np.ndarray, out: np.ndarray, first: int, n_groups: int) -> None:
        axis = 1 if self.layout == "bins" else 0
        self._call(
            samples.ctypes.data + 4 * first * self.hop_length,
            self.hop_length,
            n_groups,
            *self._table_addresses,
            self._scratch().ctypes.data,
            out.ctypes.data + first * out.strides[axis],
            out.strides[0] // 4,
        )

    def _scratch(self) -> np.ndarray:
        """This thread's scratch memory."""
        scratch: np.ndarray | None = getattr(self._local, "scratch", None)
        if scratch is None:
            size = self._program.scratch_size
            memory = np.empty(size + _ALIGNMENT // 4, np.float32)
            start = -memory.ctypes.data % _ALIGNMENT // 4
            scratch = self._local.scratch = memory[start : start + size]
        return scratch


@lru_cache(maxsize=16)
def _function(program: Program) -> Compiled:
    """The code of a program; it depends on where numbers are in the tables, not on the numbers."""
    return compiled(stages.module(program, Tables.places(program)), stages.NAME, "pnnppppn")
