"""How far the rows of a trained basis, and its bands, have moved from where they began."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

_OVERSAMPLING = 4  # points of the response for each bin


class Drift(NamedTuple):
    """Each (n_freqs,), float64, one number for each pair of rows.

    ``angle`` is in degrees between the pair and its start; centres and bandwidths are in Hz.
    """

    angle: Tensor
    centre: Tensor
    centre_at_start: Tensor
    bandwidth: Tensor
    bandwidth_at_start: Tensor

    @property
    def median_angle(self) -> float:
        """In degrees."""
        return float(self.angle.median())

    def to_dict(self) -> dict[str, Any]:
        """Lists of numbers."""
        return {name: getattr(self, name).tolist() for name in self._fields}


def drift(trained: Tensor, start: Tensor, sample_rate: int) -> Drift:
    """Compare a basis with its start.

    Parameters
    ----------
    trained, start : Tensor, shape (2 * n_freqs, n_fft)
        Real rows first.
    sample_rate : int
        In Hz.

    Notes
    -----
    A pair of rows is one complex filter. Its centre is the mean and its bandwidth twice the
    standard deviation of the frequency under the squared magnitude of its response, over
    frequencies from 0 to half the sample rate.
    """
    pairs, starts = (_pairs(basis) for basis in (trained, start))
    inner = (pairs * starts.conj()).sum(1).real
    cosine = inner / (pairs.norm(dim=1) * starts.norm(dim=1)).clamp(min=1e-300)
    angle = torch.rad2deg(torch.arccos(cosine.clamp(-1.0, 1.0)))
    centre, bandwidth = _moments(response(trained), sample_rate)
    centre_at_start, bandwidth_at_start = _moments(response(start), sample_rate)
    return Drift(angle, centre, centre_at_start, bandwidth, bandwidth_at_start)


def change_of_bands(trained: Tensor, start: Tensor) -> float:
    """How far weights of bands (n_mels, n_freqs) are from their start, relative to its norm.

    That of the median band; 1 for one that became 0.
    """
    far = (trained.detach() - start.detach()).double().norm(dim=1)
    return float((far / start.detach().double().norm(dim=1).clamp(min=1e-300)).median())


def response(basis: Tensor) -> Tensor:
    """Power of each pair of rows for a tone of each frequency, (n_freqs, n_points) float64.

    ``n_points`` frequencies lie evenly from 0 to half the sample rate, both included.
    """
    pairs = _pairs(basis)
    n_points = _OVERSAMPLING * pairs.shape[1] // 2 + 1
    # a tone of frequency f gives the transform of the row at -f, for the row is not conjugated
    spectrum = torch.fft.fft(pairs.conj(), n=_OVERSAMPLING * pairs.shape[1])[:, :n_points]
    power: Tensor = spectrum.abs().square()
    return power


def _pairs(basis: Tensor) -> Tensor:
    """(2 * n_freqs, n_fft) to complex (n_freqs, n_fft) in double precision."""
    real, imaginary = basis.detach().cpu().double().chunk(2)
    return torch.complex(real, imaginary)


def _moments(power: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    frequency = torch.linspace(0.0, sample_rate / 2, power.shape[1], dtype=torch.float64)
    weight = power / power.sum(1, keepdim=True).clamp(min=1e-300)
    centre = (weight * frequency).sum(1)
    variance = (weight * (frequency - centre[:, None]).square()).sum(1)
    return centre, 2.0 * variance.sqrt()
