"""All contenders by name."""

from collections.abc import Sequence

from specctl.bench.contenders.arrays import Librosa, Scipy
from specctl.bench.contenders.base import Contender
from specctl.bench.contenders.conversion import Conversion
from specctl.bench.contenders.convolutions import NnAudio, NnAudio2, TorchLibrosa
from specctl.bench.contenders.others import Auvux, Flashmel, Lhotse, Torchaudio
from specctl.bench.contenders.own import own_kernels
from specctl.bench.contenders.torch_stft import CompiledTorchStft, TorchStft
from specctl.errors import ParameterError


def all_contenders(device: str) -> list[Contender]:
    """Everybody, specctl first; on CUDA those who convolve take part in TF32 as well."""
    convolutions: list[Contender] = [NnAudio(), NnAudio2(), TorchLibrosa()]
    if device != "cpu":
        convolutions += [NnAudio(is_exact=False), TorchLibrosa(is_exact=False)]
    return [
        *own_kernels(device),
        Librosa(),
        TorchStft(),
        CompiledTorchStft(),
        *convolutions,
        *(Torchaudio(), Auvux(), Flashmel(), Lhotse(), Scipy()),
        Conversion(),
    ]


def listed_contenders(names: Sequence[str], device: str) -> list[Contender]:
    """Those whose names are given or begin so, ``name:precision`` for one precision alone.

    Of a beginning, and where no names are given, the optional ones that are absent are left out.

    Raises
    ------
    ParameterError
        For a name that nobody has.
    """
    everybody = all_contenders(device)
    found: list[Contender] = []
    for name in names or ("",):
        meant = _meant(everybody, name)
        if not meant:
            known = ", ".join(dict.fromkeys(each.name for each in everybody))
            raise ParameterError(f"contenders must be among {known}, got {name!r}")
        found += [each for each in meant if each not in found]
    return found


def _meant(everybody: Sequence[Contender], name: str) -> list[Contender]:
    name, _, precision = name.partition(":")
    able = [
        each
        for each in everybody
        if (each.precision == precision if precision else not each.is_on_request)
    ]
    exact = [each for each in able if each.name == name]
    begun = [each for each in able if each.name.startswith(name)]
    return exact or [each for each in begun if not (each.is_optional and each.missing())]


def find_contender(name: str, precision: str, device: str) -> Contender:
    """The one of that name and precision.

    Raises
    ------
    ParameterError
        If there is none.
    """
    for contender in all_contenders(device):
        if (contender.name, contender.precision) == (name, precision):
            return contender
    raise ParameterError(f"there is no contender {name!r} in {precision!r}")
