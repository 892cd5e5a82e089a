"""``specctl export-basis``: a trained basis for other libraries and runtimes."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from specctl.cli.app import command, err, reported_errors
from specctl.cli.options import given_path


@command("export-basis")
def export_basis(
    basis: Annotated[
        Path,
        typer.Argument(
            metavar="BASIS", help="Basis file that train-basis wrote.", parser=given_path
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write.", parser=given_path)
    ],
    to: Annotated[
        Literal["nnaudio", "torchlibrosa", "onnx"],
        typer.Option("--to", help="What to write it for."),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a trained basis as nnAudio or torchlibrosa weights, or as an ONNX graph."""
    with reported_errors():
        from specctl.basis import load_basis

        loaded = load_basis(basis)
        if to == "onnx":
            from specctl.transforms.export import export_onnx

            export_onnx(output, loaded, overwrite=overwrite)
            line = f"{output}: waveform (batch, samples) to spectrogram"
        else:
            from specctl.basis.foreign import left_to_do, module_call, write_state_dict

            write_state_dict(output, loaded, to, overwrite=overwrite)
            left = ", ".join(left_to_do(loaded.config, to))
            line = f"{output}: weights for {module_call(loaded.config, to)}"
            line += f"; left to do: {left}" if left else ""
    err.print(Text(line), soft_wrap=True, highlight=False)
