"""A transform inside anybody's model, and what is done to models: compiled, exported, halved."""

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from specctl.errors import ParameterError
from specctl.transforms import MFCC, MelSpectrogram, Spectrogram
from tests.dsp.signals import noise
from tests.torch_versions import EXPORTS_ANY_LENGTH, SHARDS_ON_CPU

SMALL = {"sample_rate": 8000, "n_fft": 64, "hop_length": 20}
MEL = {**SMALL, "n_mels": 12}
CLOSE = {"rtol": 0, "atol": 1e-3}  # of decibels, or of powers around 1
MAKERS = {
    "power": lambda: Spectrogram(**SMALL, scale="none"),
    "complex": lambda: Spectrogram(**SMALL, feature="complex"),
    "mel": lambda: MelSpectrogram(**MEL),
    "peak": lambda: MelSpectrogram(**MEL, ref="max", top_db=60.0),
    "magnitude": lambda: MelSpectrogram(**MEL, power=1.0, pad_mode="reflect"),
    "no-centre": lambda: MelSpectrogram(**MEL, center=False),
    "mfcc": lambda: MFCC(**MEL, n_mfcc=5),
    "pcen": lambda: MelSpectrogram(**MEL, scale="pcen"),
    "basis": lambda: MelSpectrogram(**MEL, trainable=("basis", "mel")),
    "bf16": lambda: MelSpectrogram(**MEL, trainable=("basis",), precision="bf16"),
    "window": lambda: MelSpectrogram(**MEL, trainable=("window",)),
    "frequencies": lambda: MelSpectrogram(**MEL, trainable=("frequencies",)),
}
TRAINED = ("basis", "window", "frequencies")
# one of each, for what does not look inside
KINDS = ("complex", "peak", "mfcc", "pcen", "window", "frequencies")
ROUNDED = {
    **{name: MAKERS[name] for name in TRAINED},
    "pcen-basis": lambda: MelSpectrogram(**MEL, scale="pcen", trainable=("pcen", "basis")),
    "mfcc-mel": lambda: MFCC(**MEL, n_mfcc=5, trainable=("mel", "window")),
}


@pytest.fixture(params=MAKERS)
def name(request):
    return request.param


@pytest.fixture
def transform(name):
    return MAKERS[name]()


@pytest.fixture
def tolerance(name):
    """Other products, in another order: bf16 has 8 bits."""
    return {"rtol": 1e-2, "atol": 0.1} if name == "bf16" else CLOSE


@pytest.fixture
def one_process():
    """A group of processes with this one alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def fresh_compiler():
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("waveform", [np.zeros(500, np.float32), [0.0] * 500, None])
def test_what_is_no_tensor_is_named(waveform):
    with pytest.raises(ParameterError, match=r"waveform must be a torch\.Tensor, got "):
        MelSpectrogram(**MEL)(waveform)


@pytest.mark.parametrize("name", KINDS)
def test_a_compiled_model_computes_what_it_did(transform):
    model = nn.Sequential(transform, nn.Identity())
    # all of a compiler but the making of code
    compiled = torch.compile(model, backend="aot_eager")
    for shape in ((2, 500), (3, 700), (1, 64)):
        waveform = noise(*shape)
        with torch.no_grad():
            assert torch.equal(compiled(waveform), model(waveform))


@pytest.mark.parametrize("name", TRAINED)
def test_a_compiled_model_trains(transform):
    model = nn.Sequential(transform, nn.Flatten(), nn.Linear(12 * 26, 3))
    gradients = []
    for forward in (model, torch.compile(model, backend="aot_eager")):
        model.zero_grad()
        forward(noise(2, 500)).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-5)


def test_compiling_costs_one_break_and_no_new_graphs():
    model = nn.Sequential(MelSpectrogram(**MEL), nn.Flatten(), nn.LazyLinear(3))
    model(noise(2, 500))
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph

    compiled = torch.compile(model, backend=count, dynamic=False)
    for _ in range(20):
        compiled(noise(2, 500))
    assert len(graphs) <= 2


@EXPORTS_ANY_LENGTH
def test_an_exported_transform_computes_what_it_did_and_keeps_no_trace(name, transform, tolerance):
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("samples", min=200)}
    program = torch.export.export(transform, (noise(2, 500),), dynamic_shapes=(sizes,))
    exported, waveform = program.module(), noise(3, 700, seed=1)
    with torch.no_grad():
        wanted = MAKERS[name]()(waveform)
        torch.testing.assert_close(exported(waveform), wanted, **tolerance)
        assert torch.equal(transform(waveform), wanted)


def test_a_traced_transform_looks_at_its_waveform(transform, tolerance):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(transform, noise(2, 500), check_trace=False)
        waveform = noise(2, 500, seed=1)
        torch.testing.assert_close(traced(waveform), transform(waveform), **tolerance)


@EXPORTS_ANY_LENGTH
@pytest.mark.parametrize("trainable", [(), ("pcen",), ("pcen", "basis")])
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_graphs_of_pcen_are_for_any_length(trainable):
    transform = MelSpectrogram(**MEL, scale="pcen", trainable=trainable)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("samples", min=64)}
    exported = torch.export.export(transform, (noise(2, 500),), dynamic_shapes=(sizes,))
    traced = torch.jit.trace(transform, noise(2, 2000))
    for n_samples in (200, 1500, 50_000):
        waveform = noise(3, n_samples, seed=1)
        waveform[1] = 0
        for graph in (exported.module(), traced):
            torch.testing.assert_close(graph(waveform), transform(waveform), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("trainable", TRAINED)
@pytest.mark.parametrize("power", [0.5, 1.0, 1.5])
def test_a_trace_of_any_exponent_is_the_same_twice(trainable, power):
    transform = MelSpectrogram(**MEL, power=power, trainable=(trainable,))
    traced = torch.jit.trace(transform, noise(2, 500))
    waveform = noise(3, 700, seed=1)
    torch.testing.assert_close(traced(waveform), transform(waveform), **CLOSE)
    traced(torch.zeros(2, 500)).sum().backward()
    assert torch.isfinite(getattr(transform, trainable).grad).all()


def test_shapes_can_be_asked_for_without_numbers(name, transform):
    wanted = transform(noise(2, 500))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        faked = transform(mode.from_tensor(noise(2, 500)))
    with FakeTensorMode():
        made = MAKERS[name]()(torch.empty(2, 500))
    on_meta = transform.to("meta")(torch.empty(2, 500, device="meta"))
    assert (on_meta.shape, on_meta.dtype) == (wanted.shape, wanted.dtype)
    assert (faked.shape, faked.dtype) == (wanted.shape, wanted.dtype)
    assert (made.shape, made.dtype) == (wanted.shape, wanted.dtype)


def test_a_model_built_without_memory_has_its_constants_when_it_gets_some(name):
    wanted = MAKERS[name]()
    with torch.device("meta"):
        model = nn.Sequential(MAKERS[name](), nn.Identity())
    assert all(weight.is_meta for weight in model.parameters())
    model.to_empty(device="cpu")
    model.load_state_dict({f"0.{key}": value for key, value in wanted.state_dict().items()})
    assert torch.equal(model(noise(2, 500)), wanted(noise(2, 500)))


def test_weights_begin_again(name):
    model, wanted = MAKERS[name](), MAKERS[name]()
    with torch.no_grad():
        for weight in (*model.buffers(), *model.parameters()):
            weight.fill_(torch.nan)
    # as FSDP and timm have every module begin by itself
    for module in model.modules():
        module.reset_parameters()
    assert torch.equal(model(noise(2, 500)), wanted(noise(2, 500)))


@SHARDS_ON_CPU
def test_weights_that_are_divided_among_processes_begin_too(one_process):
    with torch.device("meta"):
        model = MAKERS["basis"]()
    fully_shard(model, mesh=one_process)
    model.to_empty(device="cpu")
    with pytest.raises(ParameterError, match=r"divided among processes: call unshard\(\) of the"):
        model.to_basis()
    model.unshard()
    assert np.array_equal(model.to_basis().basis, MAKERS["basis"]().to_basis().basis)


def test_a_model_with_memory_keeps_its_constants_when_it_gets_other(name):
    model, wanted = nn.Sequential(MAKERS[name](), nn.Linear(3, 3)), MAKERS[name]()
    with torch.no_grad():
        for weight in (*model.buffers(), *model.parameters()):
            # or other memory may hold the same by chance
            weight.fill_(torch.nan)
    model.to_empty(device="cpu")
    model[0].load_state_dict(wanted.state_dict())
    assert torch.equal(model[0](noise(2, 500)), wanted(noise(2, 500)))


def test_a_model_built_without_memory_takes_over_a_checkpoint(name):
    def model():
        return nn.Sequential(MAKERS[name](), nn.Flatten(0))

    wanted = model()
    with torch.no_grad():
        for weight in wanted.parameters():
            weight.mul_(1.1)
    with torch.device("meta"):
        made = model()
    for use in (lambda: made(noise(2, 500)), made[0].to_basis):
        with pytest.raises(ParameterError, match="weights must have memory"):
            use()
    made.load_state_dict(wanted.state_dict(), assign=True)
    assert torch.equal(made(noise(2, 500)), wanted(noise(2, 500)))


def test_constants_that_are_given_memory_one_by_one_have_their_numbers(name):
    wanted = MAKERS[name]()
    with torch.device("meta"):
        model = MAKERS[name]()
    for key, weight in wanted.named_parameters():
        module, _, last = key.rpartition(".")
        setattr(model.get_submodule(module), last, nn.Parameter(weight.detach()))
    for key, constant in list(model.named_buffers()):
        module, _, last = key.rpartition(".")
        # as transformers does, to whom only what is in a checkpoint has numbers
        empty = torch.full_like(constant, torch.nan, device="cpu")
        setattr(model.get_submodule(module), last, empty)
    assert torch.equal(model(noise(2, 500)), wanted(noise(2, 500)))
    assert np.array_equal(model.to_basis().window, wanted.to_basis().window)


@pytest.mark.parametrize("name", KINDS)
def test_a_strict_export_computes_what_the_transform_did(transform, tolerance):
    waveform = noise(2, 500)
    with warnings.catch_warnings():
        # of torch, about itself
        warnings.simplefilter("ignore")
        program = torch.export.export(transform, (waveform,), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(waveform), transform(waveform), **tolerance)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:DeprecationWarning")
def test_derivatives_are_carried_forward(transform, tolerance):
    waveform, direction = noise(2, 500), noise(2, 500, seed=1)
    with forward_ad.dual_level():
        result = transform(forward_ad.make_dual(waveform, direction))
        values, found = forward_ad.unpack_dual(result)
    _, wanted = torch.func.jvp(transform, (waveform,), (direction,))
    assert torch.equal(found, wanted)
    with torch.no_grad():
        torch.testing.assert_close(values, transform(waveform), **tolerance)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["mel", "complex", "basis", "window", "pcen"])
def test_functional_transforms_work(transform):
    waveforms = noise(3, 2, 300)
    wanted = torch.stack([transform(each) for each in waveforms])
    torch.testing.assert_close(torch.vmap(transform)(waveforms), wanted, **CLOSE)
    direction = noise(2, 300, seed=1)
    values, change = torch.func.jvp(transform, (waveforms[0],), (direction,))
    torch.testing.assert_close(values, wanted[0], **CLOSE)
    with torch.no_grad():
        step = 1e-3
        apart = transform(waveforms[0] + step * direction) - transform(
            waveforms[0] - step * direction
        )
    assert (change - apart / (2 * step)).abs().median() < 0.05 * change.abs().median()


@pytest.mark.parametrize("name", TRAINED)
def test_functional_gradients_are_those_of_autograd(transform):
    waveform = noise(2, 300)
    weights = dict(transform.named_parameters())

    def loss(weights):
        return torch.func.functional_call(transform, weights, (waveform,)).square().mean()

    found = torch.func.grad(loss)({key: each.detach() for key, each in weights.items()})
    transform(waveform).square().mean().backward()
    for key, weight in weights.items():
        torch.testing.assert_close(found[key], weight.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_nothing_of_a_functional_call_stays(transform):
    weights = {key: each.detach() for key, each in transform.named_parameters()}
    waveform = noise(2, 300)
    torch.func.grad(
        lambda each: torch.func.functional_call(transform, each, (waveform,)).square().mean()
    )(weights)
    assert torch.equal(copy.deepcopy(transform)(waveform), transform(waveform))


def test_nothing_of_an_ensemble_stays(name):
    models, waveform = [MAKERS[name]() for _ in range(2)], noise(2, 300)
    alone = models[0](waveform)
    weights = torch.func.stack_module_state(models)
    each = torch.vmap(
        lambda weights: torch.func.functional_call(models[0], weights, (waveform,)), in_dims=(0,)
    )(weights)
    torch.testing.assert_close(each, torch.stack([alone] * 2), **CLOSE)
    for again in (copy.deepcopy(models[0]), pickle.loads(pickle.dumps(models[0]))):
        assert torch.equal(again(waveform), alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_a_model_of_half_precision_only_the_result_is_rounded(transform, dtype):
    waveform = noise(2, 500)
    wanted = transform(waveform).detach()
    model = nn.Sequential(transform, nn.Identity()).to(dtype)
    assert all(weight.dtype == torch.float32 for weight in (*model.parameters(), *model.buffers()))
    found = model(waveform)
    assert found.dtype == (wanted.dtype if wanted.is_complex() else dtype)
    assert torch.equal(found, wanted.to(found.dtype))
    again = model.float()(waveform)
    assert again.dtype == wanted.dtype
    assert torch.equal(again, wanted)


@pytest.mark.parametrize("name", [*TRAINED, "pcen-basis", "mfcc-mel"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_checkpoint_of_another_dtype_is_computed_with(name, dtype):
    made, rounded, wanted = (ROUNDED[name]() for _ in range(3))
    weights = {key: weight.to(dtype) for key, weight in made.state_dict().items()}
    rounded.load_state_dict(weights)
    wanted = wanted.double() if dtype == torch.float64 else rounded
    found = torch.func.functional_call(made, weights, (noise(2, 500),))
    made.load_state_dict(weights, assign=True)
    assert all(weight.dtype == dtype for weight in made.parameters())
    for spec in (found, made(noise(2, 500))):
        assert spec.dtype == (dtype if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(spec, wanted(noise(2, 500)), **CLOSE)
    spec.square().mean().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in made.parameters())
    found, wanted = made.to_basis().basis, rounded.to_basis().basis
    # rows that were made in float64 are rounded at the end only
    assert np.allclose(found, wanted, rtol=0, atol=1e-6)


def test_another_default_device_is_not_that_of_the_model(transform):
    waveform = noise(2, 500)
    wanted, basis = transform(waveform), transform.to_basis()
    with torch.device("meta"):
        assert torch.equal(transform(waveform), wanted)
        assert np.array_equal(transform.to_basis().basis, basis.basis)


def test_inference_mode_leaves_nothing_behind(transform):
    waveform = noise(2, 500)
    wanted = transform(waveform).detach()

    def computed_after_inference():
        with torch.inference_mode():
            transform(waveform)
        with torch.no_grad():
            found = transform(waveform)
        transform(waveform.clone().requires_grad_()).abs().sum().backward()
        return found

    # a thread has memory of its own
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(computed_after_inference).result()
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=0.1)
