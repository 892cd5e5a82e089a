"""What specctl raises; imports nothing, so every layer may use it."""


class SpecctlError(Exception):
    """Base of every error that is the input's or the machine's fault, not a bug."""


class ParameterError(SpecctlError, ValueError):
    """A setting or an argument is outside its range, or two of them do not fit together."""


class AudioError(SpecctlError):
    """One audio file cannot be found, read, decoded or converted."""


class StoreError(SpecctlError):
    """A store or a part of one cannot be read or written, or is damaged."""


class KernelError(SpecctlError):
    """A kernel cannot run here, or not with these settings."""


class TrainingError(SpecctlError):
    """A training cannot go on: its loss is no number, its checkpoint is damaged, a class is
    missing."""


class OtherProcessError(TrainingError):
    """Another process of the same training failed first, and says why."""


class Stopped(SpecctlError):  # noqa: N818 - not an error of anybody
    """Somebody stopped a run before its end; what is finished is kept for the next one."""


class BasisError(SpecctlError):
    """A basis file cannot be read or written, or is damaged."""
