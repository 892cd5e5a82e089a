"""The order of the layers, as the docstring of the package gives it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "specctl"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400

# what each part of the package may import of it, besides itself
BASE = {
    "errors",
    "compiler",
    "durable",
    "eager",
    "given_files",
    "launch",
    "locks",
    "presets",
    "settings",
    "config",
    "control_groups",
    "cores",
    "main_memory",
    "version",
    "words",
}
LAYERS = {
    "errors": set(),
    "version": set(),
    "compiler": {"errors"},
    "control_groups": set(),
    "cores": {"control_groups"},
    "main_memory": {"control_groups"},
    "words": set(),
    "durable": {"errors"},
    "eager": set(),
    "given_files": {"errors"},
    "launch": {"errors"},
    "locks": {"errors"},
    "presets": {"errors"},
    "settings": {"errors", "given_files", "presets"},
    "config": {"errors", "presets", "settings"},
    "dsp": BASE,
    "kernels": {"dsp", *BASE},
    "basis": {"dsp", *BASE},
    "transforms": {"basis", "kernels", "dsp", *BASE},
    "audio": BASE,
    "store": {"basis", "kernels", "dsp", *BASE},
    "augment": BASE,
    "training": {"augment", "audio", "store", "transforms", "basis", "kernels", "dsp", *BASE},
    "convert": {"audio", "store", "transforms", "basis", "kernels", "dsp", *BASE},
    "bench": {"convert", "audio", "store", "transforms", "basis", "kernels", "dsp", *BASE},
    "doctor": {"kernels", "dsp", *BASE},
    "__main__": {"cli"},
    "cli": {
        *("bench", "doctor", "convert", "training", "augment", "audio", "store", "transforms"),
        *("basis", "kernels", "dsp"),
        *BASE,
    },
}
SLOW = ("torch", "librosa", "h5py", "matplotlib")


def layer_of(path):
    """``errors``, ``dsp`` and so on; ``None`` for the package's own ``__init__``."""
    first = path.relative_to(PACKAGE).parts[0]
    return None if first == "__init__.py" else first.removesuffix(".py")


def imported(path):
    """Every module that a file imports, wherever in the file, as a dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls_of(path, name):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == name:
            yield node.lineno


every_file = pytest.mark.parametrize(
    "path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES]
)


@every_file
def test_imports_go_down_only(path):
    layer = layer_of(path)
    if layer is None:
        return
    assert layer in LAYERS, f"{layer} has no place among the layers"
    for name in imported(path):
        root, *rest = name.split(".")
        if root == "specctl" and rest[0] in LAYERS:
            assert rest[0] in LAYERS[layer] | {layer}, f"{path} imports {name}"


@every_file
def test_only_the_command_line_prints_and_draws(path):
    if layer_of(path) == "cli":
        return
    assert not list(calls_of(path, "print"))
    roots = {name.partition(".")[0] for name in imported(path)}
    assert not roots & {"typer", "rich"}


@every_file
def test_only_the_gpu_kernels_know_triton(path):
    if path.is_relative_to(PACKAGE / "kernels" / "gpu"):
        return
    assert "triton" not in {name.partition(".")[0] for name in imported(path)}


@every_file
def test_a_file_can_be_read_in_one_go(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@every_file
def test_input_is_never_checked_by_assert(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@every_file
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def modules_after(statement):
    """Names of all modules that a fresh interpreter holds after ``statement``."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import specctl", "import specctl.cli.app", "import specctl.cli.commands"],
)
def test_help_need_not_wait_for_slow_imports(statement):
    assert not modules_after(statement) & set(SLOW)


def test_transforms_do_not_load_what_only_audio_needs():
    loaded = modules_after("import specctl.transforms")
    assert not loaded & {"librosa", "h5py", "soundfile", "soxr", "numba", "scipy", "triton"}
