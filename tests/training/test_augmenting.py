"""Augmentations as ``--augment`` names them."""

import pytest

from specctl.errors import ParameterError
from specctl.training.augmenting import build_augmentations


def test_each_goes_to_its_place_in_the_order_given():
    texts = ("specaugment:mF=1,fill=zero", "shift:max_shift=0.1,rollover=False", "mixup", "gain")
    waveform, spectrogram, mixup = build_augmentations(texts, 8000)
    assert [type(each).__name__ for each in waveform.augmentations] == ["Shift", "Gain"]
    shift = waveform.augmentations[0]
    assert (shift.range, shift.rollover, shift.sample_rate) == ((-0.5, 0.1), False, 8000)
    (masks,) = spectrogram.augmentations
    assert (masks.mF, masks.fill) == (1, "zero")
    assert mixup.alpha == 1.0
    assert build_augmentations((), 8000) == (None, None, None)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("mixup", "mixup:alpha=0.2"), "augment must name each once, got 'mixup' twice"),
        (("gain", "shift", "gain"), "augment must name each once, got 'gain' twice"),
        (("gain:p=1,p=0.5",), "augment 'gain' must give 'p' once, got it twice"),
        (("shift:sample_rate=5",), "'shift' has the parameters min_shift, .*, got 'sample_rate'"),
        (("gain:p=",), "augment gain:p must be a number, got ''"),
        (("shift:rollover=1",), "augment shift:rollover must be true or false, got '1'"),
        (("",), "augment must name one of gain, .*, got ''"),
    ],
)
def test_what_cannot_be_meant_is_refused(texts, message):
    with pytest.raises(ParameterError, match=message):
        build_augmentations(texts, 8000)
