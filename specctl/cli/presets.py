"""``specctl presets``: every preset with every number."""

from typing import Annotated, Any

import typer
from rich.table import Table

from specctl.cli.app import command, out, reported_errors

_COLUMN_WIDTH = 20
_MAX_COLUMNS = 4


@command("presets")
def presets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the presets, with every number that they stand for."""
    with reported_errors():
        from specctl.config import SpectrogramConfig
        from specctl.presets import PRESETS

        names = list(PRESETS) if name is None else [name]
        configs = {each: SpectrogramConfig.resolve(each).to_dict() for each in names}
    if json:
        out.print_json(data=configs, highlight=False)
        return
    for each in names:
        out.print(f"[bold]{each}[/]  {PRESETS[each][0]}", highlight=False, soft_wrap=True)
        out.print(_table(configs[each]), highlight=False)


def _table(config: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    used = [(name, value) for name, value in config.items() if value is not None]
    n_columns = max(min(out.width // _COLUMN_WIDTH, _MAX_COLUMNS), 1)
    for first in range(0, len(used), n_columns):
        row = used[first : first + n_columns]
        table.add_row("", *(f"{name} [cyan]{value}[/]" for name, value in row))
    return table
