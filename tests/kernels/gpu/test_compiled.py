"""What the compiler makes of the kernels for GPUs of four generations, with no GPU at hand."""

import re

import pytest
import torch

pytest.importorskip("triton", "3.3", reason="needs triton, which the test extra brings on Linux")

from tests.dsp.signals import noise

from .chains import RUN, transform_of
from .compiled import compiled, recorded_launches

# bytes of shared memory that one program may have; 8.6 and 8.9 take what 8.0 does
SHARED_BYTES = {80: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024, 120: 99 * 1024}
TENSOR_COLUMNS = 512
MMA, WGMMA = r"mma\.sync\.aligned\.m16n8k16\S*f32\.{0}", r"wgmma\.mma_async\S*f32\.{0}"
# of either kind of 16 bits
UMMA = r"tcgen05\.mma\S*kind::f16"
TENSOR_CORES = {80: MMA, 90: WGMMA, 100: UMMA, 120: MMA}
# where the product of 16-bit numbers is
OPERANDS = {
    "dense_kernel": "f16",
    "parts_gradient_kernel": "f16",
    "folded_kernel": "f16",
    "basis_gradient_kernel": "bf16",
    "waveform_gradient_kernel": "bf16",
}

SUMMING = "band_sum_kernel"

MUSIC = {"sample_rate": 22050, "n_fft": 1024, "hop_length": 256}
FULL = {"sample_rate": 44100, "n_fft": 2048, "hop_length": 512}
SPEECH = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160}
SHORT = {"sample_rate": 16000, "n_fft": 512, "hop_length": 128}
RUNS = {
    "fft, 80 bands": ("fft", {**MUSIC, "n_mels": 80}, ()),
    "fft, 128 bands": ("fft", {**FULL, "n_mels": 128}, ()),
    "fft, magnitude": ("fft", {**MUSIC, "feature": "magnitude"}, ()),
    "fold, 80 bands": ("fold", {**SPEECH, "n_mels": 80}, ()),
    "fold, 64 bands": ("fold", {**SHORT, "n_mels": 64}, ()),
    "fold, complex": ("fold", {**SPEECH, "feature": "complex"}, ()),
    "fold, power": ("fold", {**SHORT, "feature": "power"}, ()),
    "dense, complex": ("dense", {**MUSIC, "feature": "complex"}, ()),
    "dense, 8 bands, trained": ("dense", {**MUSIC, "n_mels": 8}, ("basis",)),
    "dense, 80 bands, trained": ("dense", {**MUSIC, "n_mels": 80}, ("basis",)),
    "dense, 128 bands, trained": ("dense", {**FULL, "n_mels": 128}, ("basis",)),
    "dense, 80 trained bands": ("dense", {**SPEECH, "n_mels": 80}, ("basis", "mel")),
    "dense, magnitude in dB, trained": (
        "dense",
        {**MUSIC, "feature": "magnitude", "scale": "db"},
        ("basis",),
    ),
    "dense, magnitude, trained": ("dense", {**MUSIC, "feature": "magnitude"}, ("basis",)),
}
# sizes between those of others, and what is part of another
BETWEEN = (
    *("fft, 80 bands", "fold, 64 bands", "dense, 80 bands, trained"),
    *("dense, 8 bands, trained", "dense, magnitude, trained"),
)
# with the products of one generation and the memory of the same
LIKE_ANOTHER = (120,)


@pytest.fixture
def cache(request, monkeypatch):
    """Compiled programs are kept by the hash of their source, also from run to run."""
    folder = request.config.cache.mkdir("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(folder))


def launches_of(name, settings, trained, capability, monkeypatch):
    """One launch of each kernel and each set of constants."""
    transform = transform_of(name, settings, trainable=trained)
    waveform = noise(2, 12_000).requires_grad_(bool(trained))
    with recorded_launches(capability, monkeypatch) as launches:
        spec = RUN[name](waveform, transform._chain())
        if trained:
            # nothing was computed, so the result is whatever stood in memory
            spec.backward(torch.zeros_like(spec))
    return {(launch.name, constants_of(launch)): launch for launch in launches}.values()


def is_needed(name, capability):
    """Every kind of kernel for one generation, those with most bands for all that differ."""
    is_largest = "128 bands" in name and capability not in LIKE_ANOTHER
    return is_largest or (capability == 90 and name not in BETWEEN)


def constants_of(launch):
    return tuple(
        launch.arguments[parameter.name]
        for parameter in launch.kernel.params
        if parameter.is_constexpr
    )


@pytest.mark.parametrize(
    ("name", "settings", "trained", "capability"),
    [
        pytest.param(
            *run,
            capability,
            id=f"{name}-{capability}",
            # they differ in tiles, of which the largest fit with difficulty
            marks=[] if is_needed(name, capability) else pytest.mark.thorough,
        )
        for capability in SHARED_BYTES
        for name, run in RUNS.items()
    ],
)
def test_fits_the_gpu_and_uses_its_tensor_cores(
    name, settings, trained, capability, monkeypatch, cache
):
    seen = set()
    for launch in launches_of(name, settings, trained, capability, monkeypatch):
        program = compiled(launch, capability)
        assert program.stack_bytes == 0, f"{program.name} spills registers"
        assert program.shared_bytes <= SHARED_BYTES[capability], program.name
        assert program.tensor_columns <= TENSOR_COLUMNS, program.name
        if program.name in OPERANDS:
            pattern = TENSOR_CORES[capability].format(re.escape(OPERANDS[program.name]))
            assert re.search(pattern, program.assembly), f"{program.name} has no product"
            # operands come in 16 bytes at a time, beside the arithmetic
            assert re.search(r"cp\.async\.cg\.shared\.global[^;]*, 0x10", program.assembly)
        seen.add(program.name)
    wanted = {"fft": {"frame_kernel"}, "fold": {"folded_kernel"}, "dense": {"dense_kernel"}}[name]
    if "basis" in trained:
        wanted |= {"parts_gradient_kernel", "basis_gradient_kernel", "waveform_gradient_kernel"}
    assert wanted <= seen


def test_a_program_that_does_not_fit_is_seen(monkeypatch, cache):
    settings = {**MUSIC, "feature": "complex"}
    launches = launches_of("dense", settings, (), 90, monkeypatch)
    (launch,) = (launch for launch in launches if launch.name == "dense_kernel")
    # twice the tile that is used: accumulators no longer fit the registers
    wide = launch._replace(arguments={**launch.arguments, "BLOCK_BINS": 128})
    assert compiled(wide, 90).stack_bytes > 0


@pytest.mark.parametrize("hop_length", [1, 2**24])
def test_a_hop_of_any_length_fits_a_grid(hop_length, monkeypatch):
    settings = {"n_fft": 64, "hop_length": hop_length, "feature": "power", "center": False}
    transform = transform_of("dense", settings, trainable=("basis",))
    waveform = noise(1, 64 + hop_length).requires_grad_()
    # every start of a kernel is held against the limits of a grid
    with recorded_launches(80, monkeypatch):
        spec = RUN["dense"](waveform, transform._chain())
        spec.backward(torch.zeros_like(spec))


@pytest.mark.parametrize("name", RUN)
def test_shares_of_bands_are_bounded_in_memory(name, monkeypatch):
    settings = {"n_fft": 64, "hop_length": 16, "n_mels": 800, "center": False}
    transform = transform_of(name, settings, trainable=("mel",))
    with recorded_launches(80, monkeypatch) as launches:
        RUN[name](noise(1, 2**20), transform._chain())
    shares = [launch.arguments["sums_ptr"] for launch in launches if launch.name == SUMMING]
    assert len(shares) > 1
    assert all(share.nbytes <= 2**26 for share in shares)
