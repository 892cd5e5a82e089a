"""GPU kernels called by name on waveforms, and plain torch to compare them with."""

from dataclasses import replace

import torch

from specctl.config import SpectrogramConfig
from specctl.dsp.padding import pad_waveform
from specctl.kernels import gpu
from specctl.kernels.bands import Bands
from specctl.transforms import Transform

RUN = {"fft": gpu.run_fft, "fold": gpu.run_fold, "dense": gpu.run_dense}
NAMES = tuple(RUN)


def config_of(settings):
    return SpectrogramConfig.resolve(**settings)


def transform_of(name, settings, **options):
    kernel = "conv" if name == "dense" else "fft"
    return Transform.from_config(config_of(settings), kernel=kernel, **options)


def padded_for(transform, waveform):
    config = transform.config
    return pad_waveform(waveform, config.padding, config.padding, config.pad_mode)


def spec_of(name, settings, waveform, **options):
    """What kernel ``name`` makes of a batch of waveforms."""
    transform = transform_of(name, settings, **options)
    chain = transform._chain()
    spec = RUN[name](padded_for(transform, waveform), chain)
    return transform.finish(spec, transform.peak(spec))


def chain_and_weights(transform, dtype, trained):
    """The chain with leaves of ``dtype`` that take gradients, and those leaves by name."""
    chain = transform._chain()
    values = {
        "basis": chain.basis,
        "window": chain.window,
        "mel": chain.bands.mel if chain.bands is not None else None,
    }
    leaves = {}
    for name, value in values.items():
        if value is not None:
            leaf = value.detach().to(dtype).clone()
            leaves[name] = leaf.requires_grad_(name in trained)
    bands = Bands(leaves["mel"]) if "mel" in leaves else None
    chain = replace(chain, basis=leaves.get("basis"), window=leaves["window"], bands=bands)
    return chain, leaves


def plain_chain(padded, chain):
    """The definition, through which autograd goes as it likes."""
    frames = padded.unfold(-1, chain.n_fft, chain.hop_length)
    if chain.basis is None:
        spectra = torch.fft.rfft(frames * chain.window)
    else:
        parts = frames @ chain.basis.T
        spectra = torch.complex(parts[..., : chain.n_freqs], parts[..., chain.n_freqs :])
    spectra = spectra.transpose(-1, -2)
    if chain.power is None:
        return spectra
    spec = (spectra.real**2 + spectra.imag**2) ** (chain.power / 2)
    if chain.bands is not None:
        spec = chain.bands.mel @ spec
    return chain.log.apply(spec) if chain.log is not None else spec


def gradients(run, padded, chain, leaves, trained):
    """Gradients of a fixed weighting of all values in the waveforms and the trained weights."""
    padded = padded.to(chain.window.dtype).clone().requires_grad_("waveform" in trained)
    spec = run(padded, chain)
    values = torch.view_as_real(spec) if spec.is_complex() else spec
    weights = torch.linspace(-1, 1, values.numel(), dtype=torch.float64).reshape(values.shape)
    (values * weights.to(values)).sum().backward()
    found = {name: leaf.grad for name, leaf in leaves.items() if name in trained}
    if "waveform" in trained:
        found["waveform"] = padded.grad
    return found


def both_gradients(name, settings, waveform, trained, precision="fp32"):
    """Name to (by the kernel, by float64) for each of ``trained``."""
    transform = transform_of(name, settings)
    padded = padded_for(transform, waveform)
    results = []
    for run, dtype in ((RUN[name], torch.float32), (plain_chain, torch.float64)):
        chain, leaves = chain_and_weights(transform, dtype, trained)
        chain = replace(chain, precision=precision)
        results.append(gradients(run, padded, chain, leaves, trained))
    got, wanted = results
    return {each: (got[each], wanted[each]) for each in trained}
