"""The order of the layers, as the docstring of the package gives it."""

import ast
import subprocess
import sys
from pathlib import Path

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
    "presence",
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
    "durable": {"errors", "presence"},
    "eager": set(),
    "given_files": {"errors"},
    "launch": {"errors"},
    "locks": {"errors", "presence"},
    "presence": set(),
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


def layer_of(path):
    """``errors``, ``dsp`` and so on; ``None`` for the package's own ``__init__``."""
    first = path.relative_to(PACKAGE).parts[0]
    return None if first == "__init__.py" else first.removesuffix(".py")


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def imported(path):
    """Every module that a file imports, wherever in the file, as a dotted name."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls_of(path, name):
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == name:
            yield node.lineno


def test_imports_go_down_only():
    for path in FILES:
        layer = layer_of(path)
        if layer is None:
            continue
        assert layer in LAYERS, f"{layer} has no place among the layers"
        for name in imported(path):
            root, *rest = name.split(".")
            if root == "specctl" and rest[0] in LAYERS:
                assert rest[0] in LAYERS[layer] | {layer}, f"{path} imports {name}"


def test_only_the_command_line_prints_and_draws():
    for path in FILES:
        # nor does that print but by its own streams
        assert not list(calls_of(path, "print")), path
        roots = {name.partition(".")[0] for name in imported(path)}
        assert layer_of(path) == "cli" or not roots & {"typer", "rich"}, path


def test_only_the_gpu_kernels_know_triton():
    for path in FILES:
        if not path.is_relative_to(PACKAGE / "kernels" / "gpu"):
            assert "triton" not in {name.partition(".")[0] for name in imported(path)}, path


def test_a_file_can_be_read_in_one_go():
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, path


def test_input_is_never_checked_by_assert():
    for path, tree in TREES.items():
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), path


def test_every_module_says_what_it_is():
    for path, tree in TREES.items():
        assert ast.get_docstring(tree), path


def test_transforms_do_not_load_what_only_audio_needs():
    code = "import sys\nimport specctl.transforms\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unwanted = {"librosa", "h5py", "soundfile", "soxr", "numba", "scipy", "triton"}
    assert not set(done.stdout.split()) & unwanted
