"""The job behind ``specctl convert`` as two functions."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from specctl.basis import Basis, load_basis
from specctl.basis.checks import is_state_dict
from specctl.basis.ordinary import is_ordinary
from specctl.convert.estimate import estimate
from specctl.convert.executors import Control
from specctl.convert.request import Options, Request
from specctl.convert.run import Conversion
from specctl.convert.settings import ConvertConfig, GivenSettings
from specctl.convert.summary import Estimate, Progress, Summary
from specctl.durable import real_place
from specctl.errors import ParameterError

__all__ = ["convert_audio", "estimate_conversion"]


def convert_audio(
    sources: str | Path | Iterable[str | Path],
    store: str | Path,
    *,
    preset: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
    control: Control | None = None,
    **settings: Any,
) -> Summary:
    """Convert audio files to one spectrogram store.

    Parameters
    ----------
    sources : path or paths
        Files and folders.
    store : path
        HDF5 file to create; its folder must exist. While it is being made, the work lies in
        ``<store>.parts/`` beside it, and the same call goes on from there after a kill.
    preset : str, optional
        Settings to begin with; keywords win over it.
    options : specctl.convert.Options
        How the job is run: workers, device, labels, ``overwrite``, ``update`` …
    progress : callable, optional
        Called with a `Progress` many times a second, in this thread.
    control : Control, optional
        Its ``stop`` ends the run after the parts in hand.
    **settings
        Fields of `ConvertConfig`; ``sample_rate="auto"`` (or none) takes the most common one.

    Returns
    -------
    Summary
        A file that cannot be converted is no error: ``failures`` has its key and the reason.

    Raises
    ------
    ParameterError, KernelError
        For settings that are wrong or do not fit together, before anything is opened.
    AudioError
        If there is nothing to convert, nothing could be converted, or ``options`` say to stop.
    StoreError
        If the store exists, belongs to another job, or cannot be written.
    Stopped
        If ``control`` stopped the run.
    """
    return _conversion(sources, store, preset, options, progress, control, settings).run()


def estimate_conversion(
    sources: str | Path | Iterable[str | Path],
    store: str | Path | None = None,
    *,
    preset: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
    control: Control | None = None,
    **settings: Any,
) -> Estimate:
    """How large a store would be and how long its conversion would take; see `convert_audio`.

    Without ``store`` it is one that is not there yet. Where it is complete already, or has all
    that an update finds, there is nothing left to convert.
    """
    if options.scheduler is not None:
        raise ParameterError("a dry run must be without a scheduler: it measures this machine")
    given = preset, options, progress, control, settings
    conversion = _conversion(sources, "none.h5" if store is None else store, *given)
    return estimate(conversion, None if store is None else conversion.target())


def _conversion(
    sources: str | Path | Iterable[str | Path],
    store: str | Path,
    preset: str | None,
    options: Options,
    progress: Callable[[Progress], None] | None,
    control: Control | None,
    settings: dict[str, Any],
) -> Conversion:
    if not isinstance(options, Options):
        raise ParameterError(
            f"options must be specctl.convert.Options(...), got {type(options).__name__}"
        )
    for name, value in settings.items():
        is_option = name in Options.__dataclass_fields__
        # of the basis, settings have the fingerprint
        is_file = name == "basis" and isinstance(value, (str, Path)) and len(str(value)) != 64
        if is_file or (is_option and name not in ConvertConfig.model_fields):
            raise ParameterError(
                f"{name} is no setting of the spectrograms, pass options=specctl.convert."
                f"Options({name}=...)"
            )
    if options.scheduler is not None:
        options = _for_machines(options)
    basis, preset = _basis(options.basis, preset, settings)
    if basis is not None and is_ordinary(basis):
        # its settings are all there is to it
        options = replace(options, basis=None)
    return Conversion(
        store=real_place(store),
        request=Request.of(sources, options),
        given=GivenSettings(settings, preset, basis),
        options=options,
        control=control or Control(),
        report=progress or (lambda _: None),
    )


def _for_machines(options: Options) -> Options:
    """The same, as it is to be understood on any machine.

    Raises
    ------
    ParameterError
        For what a scheduler decides.
    """
    if options.workers is not None:
        raise ParameterError("workers must not be given with a scheduler, which has its own")
    if options.device not in ("auto", "cpu", "cuda"):
        raise ParameterError(
            f"device must be auto, cpu or cuda with a scheduler, got {options.device!r}; give "
            "each of its workers one GPU by CUDA_VISIBLE_DEVICES"
        )
    basis = None if options.basis is None else str(Path(options.basis).absolute())
    return replace(options, basis=basis)


def _basis(
    path: str | None, preset: str | None, settings: dict[str, Any]
) -> tuple[Basis | None, str | None]:
    """The basis, and the preset unless the settings that came with it are those of the basis."""
    if path is None:
        return None, preset
    if not is_state_dict(path):
        return load_basis(path), preset
    from specctl.basis.foreign import read_state_dict
    from specctl.basis.state_dict import settings_of

    given = {name: value for name, value in settings.items() if value is not None}
    shapes = {} if preset is not None else settings_of(path, given.get("feature"))
    wanted = GivenSettings({**shapes, **given}, preset)
    if wanted.finds_rate:
        raise ParameterError(
            f"sample_rate must be given with weights of another library, {path} does not hold it"
        )
    # the rate was given, so none is found
    return read_state_dict(path, wanted.resolve(0).spectrogram), None
