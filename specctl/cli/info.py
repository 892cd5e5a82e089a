"""``specctl info``: what a store holds, or one item of it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specctl.cli.app import command, out, print_line, reported_errors
from specctl.cli.draw import MAX_PNG_COLUMNS, picture, printable, text_lines, write_png
from specctl.cli.options import given_path
from specctl.errors import ParameterError, StoreError
from specctl.words import duration, size

if TYPE_CHECKING:
    from specctl.store.reader import Store

_MAX_SHOWN_FAILURES = 5
_MAX_SHOWN_CLASSES = 20
_MAX_HEIGHT = 24
_NAME_WIDTH = 12
_TEXT_WIDTH = 86


@command("info")
def info(
    store: Annotated[
        Path, typer.Argument(metavar="STORE", help="Store to look into.", parser=given_path)
    ],
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="Item to show and to draw.")
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            help="Write the item's picture to this PNG file.",
            metavar="FILE",
            parser=given_path,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Print the keys only, one a line.")] = False,
) -> None:
    """Show what a store holds, or draw one item of it in the terminal."""
    from specctl.store.reader import open_store

    with reported_errors():
        _check_options(key, png, as_json, keys)
        with open_store(store) as opened:
            if keys:
                # past rich, which takes a minute for a million lines
                for name in opened:
                    out.file.write(f"{printable(name)}\n")
                out.file.flush()
            elif key is None:
                _print_store(opened, as_json)
            else:
                _print_item(opened, _meant_key(opened, key), png, as_json)


def _check_options(key: str | None, png: Path | None, as_json: bool, keys: bool) -> None:
    if keys and (key is not None or as_json):
        raise ParameterError("--keys must be given without KEY and --json")
    if png is not None and key is None:
        raise ParameterError("--png must be given with the KEY of an item")


def _print_store(store: Store, as_json: bool) -> None:
    facts = _store_facts(store)
    if as_json:
        print_line(json.dumps(facts))
        return
    lines = {
        "store": f"{printable(str(store.path))}, {size(facts['n_bytes'])}",
        "made": f"{facts['created']} by specctl {facts['specctl_version']}",
        "items": f"{facts['n_items']:,}, {_length(facts)}",
        "labels": _named(facts["classes"]),
        "frames": f"{facts['n_frames']:,} of {facts['n_bins']} {facts['kind']}",
        "values": f"{facts['long_name']} ({facts['units']}), mean {_span(facts['mean_range'])}, "
        f"standard deviation {_span(facts['std_range'])}",
        **_bins(facts),
        "settings": _settings(facts["config"]),
        **({"basis": _basis(facts["basis"])} if facts["basis"] else {}),
        **({"cut short": _cut_short(facts["truncated"])} if facts["truncated"] else {}),
        "failed": f"{facts['n_failures']:,}",
    }
    for name, text in lines.items():
        first, *others = _wrapped(printable(text)) or [""]
        print_line(f"{name:{_NAME_WIDTH}}{first}")
        for other in others:
            print_line(f"{'':{_NAME_WIDTH}}{other}")
    for failure in facts["failures"][:_MAX_SHOWN_FAILURES]:
        print_line(
            f"{'':{_NAME_WIDTH}}{printable(failure['key'])}: {printable(failure['reason'])}"
        )
    if facts["n_failures"] > _MAX_SHOWN_FAILURES:
        rest = facts["n_failures"] - _MAX_SHOWN_FAILURES
        print_line(f"{'':{_NAME_WIDTH}}and {rest:,} more; --json lists them all")


def _wrapped(text: str) -> list[str]:
    """Lines that fit the terminal; a path is whole, or nobody could copy it."""
    width = min(_TEXT_WIDTH, max(out.width - _NAME_WIDTH, 1)) if out.is_terminal else _TEXT_WIDTH
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _length(facts: dict[str, Any]) -> str:
    """How much audio; only at most, where zeros that fill up segments are among the samples."""
    if facts["hours"] is None:
        return "an unknown length of audio"
    audio = f"{duration(facts['hours'] * 3600)} of audio"
    if not facts["hours_include_filling"]:
        return audio
    return f"at most {audio} (last segments are filled up with zeros)"


def _bins(facts: dict[str, Any]) -> dict[str, str]:
    """What the bins stand for, and from where to where."""
    limits = "{:,.0f} to {:,.0f}".format(*facts["frequency_range"])
    if facts["config"].get("feature") == "mfcc":
        return {"coefficient": limits}
    return {"frequency": f"{limits} Hz"}


def _named(classes: list[str]) -> str:
    """How many labels there are, and which."""
    shown = ", ".join(classes[:_MAX_SHOWN_CLASSES])
    more = ", …" if len(classes) > _MAX_SHOWN_CLASSES else ""
    return f"{len(classes):,}: {shown}{more}" if classes else "none"


def _cut_short(sources: list[str]) -> str:
    """How many files there may be only a part of, and which; a store does not tell of which."""
    shown = ", ".join(sources[:_MAX_SHOWN_FAILURES])
    more = ", …" if len(sources) > _MAX_SHOWN_FAILURES else ""
    are = "is" if len(sources) == 1 else "are"
    return f"{len(sources):,} {are}, or may be: {shown}{more}"


def _settings(config: dict[str, Any]) -> str:
    """The settings that were in use; those without meaning for the feature are null."""
    return ", ".join(f"{name} {value}" for name, value in config.items() if value is not None)


def _basis(facts: dict[str, Any]) -> str:
    """What was trained, and the verdict in words if the file had one."""
    trained = ", ".join(facts["trained"]) or "given, not trained"
    return f"{trained}; {facts['fingerprint'][:12]}" + f"; {facts['verdict']}" * bool(
        facts["verdict"]
    )


def _basis_facts(store: Store) -> dict[str, Any] | None:
    basis = store.basis
    if basis is None:
        return None
    verdict = basis.metadata.get("verdict")
    sentence = verdict.get("sentence", "") if isinstance(verdict, dict) else verdict
    return {
        "fingerprint": basis.fingerprint(),
        "trained": list(basis.trained),
        "verdict": str(sentence or ""),
    }


def _store_facts(store: Store) -> dict[str, Any]:
    layout = store.layout
    rate = store.config.get("sample_rate")
    hours = None
    # a store of a stranger may name any
    if isinstance(rate, (int, float)) and 1 <= rate < 2**63:
        hours = _n_samples(store) / rate / 3600
    truncated = list(dict.fromkeys(store.column("source")[store.column("truncated")].tolist()))
    return {
        "path": str(store.path),
        "n_bytes": store.n_bytes,
        "created": str(store.attributes.get("created", "")),
        "specctl_version": str(store.attributes.get("specctl_version", "")),
        "fingerprint": str(store.attributes.get("fingerprint", "")),
        "n_items": len(store),
        "n_classes": len(store.classes),
        "classes": store.classes,
        "hours": hours,
        "hours_include_filling": store.config.get("tail") == "pad",
        "n_frames": store.n_frames,
        "n_bins": layout.n_bins,
        "kind": f"{'complex ' if layout.is_complex else ''}{layout.dtype}, "
        + ("compressed" if layout.compression == "gzip" else "not compressed"),
        "dtype": layout.dtype,
        "is_complex": layout.is_complex,
        "compression": layout.compression,
        "max_error": layout.max_error,
        "units": str(store.attributes["units"]),
        "long_name": str(store.attributes["long_name"]),
        "mean_range": [float(store.mean.min()), float(store.mean.max())],
        "std_range": [float(store.std.min()), float(store.std.max())],
        "frequency_range": [float(store.frequency.min()), float(store.frequency.max())],
        "config": store.config,
        "basis": _basis_facts(store),
        "n_truncated": len(truncated),
        "truncated": truncated,
        "n_failures": len(store.errors),
        "failures": [{"key": key, "reason": reason} for key, reason in store.errors],
    }


def _n_samples(store: Store) -> int:
    """Samples of all sources, each counted once, whatever channels and segments share them."""
    columns = (store.column(name).tolist() for name in ("source", "offset", "n_samples"))
    total, last, covered = 0, None, 0
    for source, offset, n_samples in sorted(zip(*columns, strict=True)):
        if source != last:
            last, covered = source, offset
        end = offset + n_samples
        total += max(end - max(offset, covered), 0)
        covered = max(covered, end)
    return total


def _meant_key(store: Store, key: str) -> str:
    """The key that is meant: in any locale, as on the disk, or as ``--keys`` prints it."""
    from specctl.audio.names import key_of, shared_name

    if key in store:
        return key
    key = key_of(shared_name(key), store)
    if "\\" not in key or key in store:
        return key
    meant = [name for name in store if key in (printable(name), _escaped(printable(name)))]
    return meant[0] if len(meant) == 1 else key


def _escaped(text: str) -> str:
    """What stdout makes of a text that its encoding lacks characters of."""
    return text.encode(out.encoding, "backslashreplace").decode(out.encoding)


def _print_item(store: Store, key: str, png: Path | None, as_json: bool) -> None:
    try:
        record = store.record(key)
    except KeyError as error:
        raise StoreError(str(error.args[0])) from error
    if png is not None and record.n_frames == 0:
        raise ParameterError(f"item {key!r} has no frames, so there is no picture of it")
    if png is not None:
        write_png(picture(store, key, MAX_PNG_COLUMNS), png)
    if as_json:
        print_line(json.dumps(record.to_dict()))
        return
    for name, value in record.to_dict().items():
        note = " (all of them, mixed down)" if (name, value) == ("channel", -1) else ""
        print_line(f"{name:{_NAME_WIDTH}}{printable(str(value))}{note}".rstrip())
    if png is not None or record.n_frames == 0:
        return
    print_line("")
    # nothing wraps: a line less than the window is wide
    width = out.width - 1
    room = out.height - len(record.to_dict()) - 3
    height = min(room, _MAX_HEIGHT) if out.is_terminal else _MAX_HEIGHT
    colour = out.color_system is not None and not out.no_color and out.encoding.startswith("utf")
    shown = picture(store, key, width)
    for line in text_lines(shown, width, max(height, 8), colour=colour):
        out.print(line, soft_wrap=True)


def _span(limits: list[float]) -> str:
    return f"{limits[0]:.4g} to {limits[1]:.4g}"
