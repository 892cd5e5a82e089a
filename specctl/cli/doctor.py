"""``specctl doctor``: what is installed here, what is known to go wrong, and the cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from specctl.cli.app import ExitCode, command, print_line
from specctl.cli.options import given_path
from specctl.cli.streams import hush_matplotlib
from specctl.words import size

if TYPE_CHECKING:
    from specctl.doctor import Finding, Machine

_NAME_WIDTH = 14


@command("doctor")
def doctor(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Where stores are to be written.",
            show_default="this folder",
            parser=given_path,
        ),
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show versions and switches, and what of them is known to go wrong, with the cure.

    The exit code is 1 if there is a problem; notes leave it at 0.
    """
    from specctl.doctor import examine, findings

    hush_matplotlib()
    machine = examine(folder)
    found = findings(machine)
    n_problems = sum(finding.level == "problem" for finding in found)
    if as_json:
        report = {
            "ok": n_problems == 0,
            "machine": machine.to_dict(),
            "findings": [finding.to_dict() for finding in found],
        }
        print_line(json.dumps(report))
    else:
        _print_machine(machine)
        _print_findings(found)
    if n_problems:
        raise typer.Exit(ExitCode.FAILED)


def _print_machine(machine: Machine) -> None:
    packages = {name: version or "none" for name, version in machine.packages.items()}
    switches = [f"{name}={value}" for name, value in machine.switches.items()]
    rows = {
        "specctl": machine.specctl,
        "python": f"{machine.python}, {machine.system}",
        "torch": f"{packages.pop('torch')}, CUDA {machine.cuda or 'none'}",
        "gpus": ", ".join(machine.gpus) or "none",
        "h5py": f"{packages.pop('h5py')}, HDF5 {machine.hdf5}",
        "soundfile": f"{packages.pop('soundfile')}, libsndfile {machine.libsndfile}",
        "llvmlite": f"{packages.pop('llvmlite')}, LLVM {machine.llvm}",
        "others": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "processor": f"{machine.cpu}, {machine.lanes} lanes of float32, {_cores(machine)}",
        "memory": f"{_size(machine.memory_bytes)}, /dev/shm {_size(machine.shm_bytes)}",
        "folder": f"{machine.folder}: {machine.file_system}, {_size(machine.free_bytes)} free",
        "locking": f"HDF5 {'locks' if machine.is_locking else 'does not lock'}; "
        f"{machine.folder} {machine.write_problem or 'takes locks'}",
        "plug-ins": "HDF5 loads them" if machine.takes_plugins else "HDF5 loads none",
        "open files": f"{machine.open_files:,}",
        "switches": ", ".join(switches) or "none set",
    }
    for name, value in rows.items():
        print_line(f"{name:{_NAME_WIDTH}}{value}")


def _print_findings(found: list[Finding]) -> None:
    print_line("")
    for finding in found:
        print_line(f"{finding.level}: {finding.message}; {finding.cure}")
    n_problems = sum(finding.level == "problem" for finding in found)
    problems = f"{n_problems or 'no'} problem{'s' if n_problems != 1 else ''}"
    n_notes = len(found) - n_problems
    print_line(f"{problems}, {n_notes or 'no'} note{'s' if n_notes != 1 else ''}")


def _cores(machine: Machine) -> str:
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
    return cores if machine.core_quota is None else f"{cores}, quota {machine.core_quota:g}"


def _size(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else size(n_bytes)
