"""The size that ``--dry-run`` tells, against that of the store."""

import pytest

from specctl import convert_audio
from specctl.convert import Options, estimate_conversion
from tests.convert.audio_files import write_noise

HERE = Options(workers=0)
SETTINGS = {"n_fft": 256, "hop_length": 64, "n_mels": 40}
CLOSE = 1.25
"""Eight files say how well noise is compressed; HDF5's own bytes are in no estimate."""


@pytest.mark.parametrize(
    ("n_files", "seconds", "settings"),
    [
        (300, 0.05, {}),
        (300, 0.05, {"segment": 0.02}),
        (40, 3.0, {}),
        (40, 3.0, {"compression": "none"}),
        (40, 3.0, {"compression": "none", "channels": "each", "n_fft": 512}),
        (40, 3.0, {"compression": "none", "segment": 0.5, "overlap": 0.25, "dtype": "uint8"}),
    ],
    ids=["short", "short segments", "long", "plain", "plain channels", "plain segments"],
)
def test_the_size_is_that_of_the_store(tmp_path, n_files, seconds, settings):
    for number in range(n_files):
        write_noise(tmp_path / "in" / f"{number:03d}.wav", seconds, seed=number)
    settings = {**SETTINGS, **settings}
    estimate = estimate_conversion(tmp_path / "in", options=HERE, **settings)
    summary = convert_audio(tmp_path / "in", tmp_path / "o.h5", options=HERE, **settings)
    assert summary.n_bytes / CLOSE < estimate.n_bytes < summary.n_bytes * CLOSE
