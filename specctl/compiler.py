"""LLVM for the machine this runs on."""

import ctypes
import errno
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir

from specctl.errors import KernelError

_READ_AND_EXECUTE = 5  # of mprotect


@dataclass(frozen=True, slots=True)
class Host:
    """The processor: its name and abilities as LLVM spells them."""

    name: str
    features: str
    lanes: int
    longest_butterfly: int


@cache
def host() -> Host:
    """The processor of this machine, and what of it the code should use.

    Raises
    ------
    KernelError
        The system lets no memory be executed that was written, and calls would end the process.
    """
    _check_executable()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512vl"):
        lanes, n_registers = 16, 32
    elif features.get("avx"):
        lanes, n_registers = 8, 16
    else:
        lanes, n_registers = 4, 32 if features.get("neon") else 16
    # eight complex points and their factors do not fit in 16 registers
    longest = 8 if n_registers == 32 else 4
    return Host(llvm.get_host_cpu_name(), features.flatten(), lanes, longest)


def _check_executable() -> None:
    memory = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    is_refused = protect(address, mmap.PAGESIZE, _READ_AND_EXECUTE) != 0
    if is_refused and ctypes.get_errno() in (errno.EACCES, errno.EPERM):
        raise KernelError(
            "the system does not let specctl execute the code that it compiles; allow that, as "
            "with MemoryDenyWriteExecute=no in a systemd unit or execmem in SELinux"
        )


@dataclass(frozen=True, slots=True)
class Compiled:
    """A function in memory, and the engine whose end is its end."""

    call: Callable[..., None]
    engine: llvm.ExecutionEngine

    def __call__(self, *arguments: int) -> None:
        """Run it; the GIL is free meanwhile."""
        self.call(*arguments)


def compiled(module: ir.Module, name: str, arguments: str) -> Compiled:
    """A function of a module, ready to be called; keep it, since this takes long.

    Parameters
    ----------
    arguments : str
        A letter for each: ``p`` an address, ``n`` a number.
    """
    return function(in_memory(module), name, arguments)


def function(engine: llvm.ExecutionEngine, name: str, arguments: str) -> Compiled:
    """As `compiled`, of what is in memory already."""
    kinds = {"p": ctypes.c_void_p, "n": ctypes.c_int64}
    signature = ctypes.CFUNCTYPE(None, *(kinds[letter] for letter in arguments))
    return Compiled(signature(engine.get_function_address(name)), engine)


def in_memory(module: ir.Module | str) -> llvm.ExecutionEngine:
    """The functions of a module, or of its text, as machine code, which goes when this does."""
    processor = host()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=processor.name, features=processor.features, opt=3
    )
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    return engine
