"""Kernels compiled for a GPU that is not there, with the arguments that they are started with."""

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from specctl.kernels.gpu import tiles

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
}


class Launch(NamedTuple):
    kernel: JITFunction
    arguments: dict
    options: dict

    @property
    def name(self):
        return self.kernel.fn.__name__


class Compiled(NamedTuple):
    name: str
    assembly: str
    shared_bytes: int
    tensor_columns: int  # of the memory that tensor cores of 10.0 have
    registers: int
    stack_bytes: int  # where registers are spilled to


@contextmanager
def recorded_launches(capability, monkeypatch):
    """Every start of a kernel inside the block, none of which happens."""
    launches = []

    def record(kernel, *, grid, warmup, **arguments):
        assert not warmup
        assert all(1 <= n < 2**31 for n in grid)
        assert all(n < 2**16 for n in grid[1:])
        names = ("num_warps", "num_stages", "enable_fp_fusion")
        options = {name: arguments.pop(name) for name in names}
        launches.append(Launch(kernel, arguments, options))

    with monkeypatch.context() as patched:
        patched.setattr(tiles, "capability", lambda device: capability)
        patched.setattr(JITFunction, "run", record)
        yield launches


def compiled(launch, capability):
    """As Triton would compile it: types, alignment and ones are taken from the arguments."""
    signature, constants, attributes = {}, {}, {}
    for place, parameter in enumerate(launch.kernel.params):
        name, value = parameter.name, launch.arguments[parameter.name]
        is_free = parameter.do_not_specialize
        kind = kind_of(value, parameter.is_constexpr, is_free)
        signature[name] = kind
        if kind == "constexpr":
            constants[name] = value
        elif kind != "fp32" and not is_free and address_of(value) % 16 == 0:
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(launch.kernel, signature, constants, attributes)
    target = GPUTarget("cuda", capability, 32)
    result = triton.compile(source, target=target, options=launch.options)
    memory = result.metadata.shared, result.metadata.tmem_size or 0
    return Compiled(launch.name, result.asm["ptx"], *memory, *resources(result.asm["cubin"]))


def kind_of(value, is_constant, is_free):
    is_one = isinstance(value, int) and value == 1 and not is_free
    if is_constant or value is None or is_one:
        return "constexpr"
    if isinstance(value, torch.Tensor):
        return POINTERS[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def address_of(value):
    return value.data_ptr() if isinstance(value, torch.Tensor) else value


def resources(binary):
    """Registers of a thread, and bytes of its stack."""
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [TOOLS / "cuobjdump", "-res-usage", file.name]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"REG:(\d+)", shown)[1]), int(re.search(r"STACK:(\d+)", shown)[1])
