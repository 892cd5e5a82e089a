"""Peak memory of a training step, beside that of nnAudio on the same work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nnAudio")

N_CLIPS, SECONDS = 16, 20
# of nnAudio's peak; most of what is left is the output and what the loss makes of it
SHARE = 1 / 8
# nnAudio adds 1e-8 under a square root
GRADIENT_TOLERANCE = 1e-5


def step_of(name):
    script = Path(__file__).with_name("training_step.py")
    command = [sys.executable, str(script), name, str(N_CLIPS), str(SECONDS)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def test_a_step_takes_an_eighth_of_the_memory_of_nnaudio_and_gives_the_same_gradient():
    ours, theirs = step_of("specctl"), step_of("nnaudio")
    assert ours["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=GRADIENT_TOLERANCE)
    assert ours["peak_bytes"] <= SHARE * theirs["peak_bytes"]
    # a measurement that missed its allocations would see less than the output alone
    frames = N_CLIPS * (1 + SECONDS * 22050 // 256)
    assert ours["peak_bytes"] >= frames * 80 * 4


@pytest.mark.parametrize("trainable", ["mel", "window"])
def test_training_by_fft_keeps_no_spectra(trainable):
    frames = N_CLIPS * (1 + SECONDS * 22050 // 256)
    outputs = frames * 80 * 4
    # of the outputs themselves, some copies for the loss, and in pieces what is computed again
    assert outputs < step_of(trainable)["peak_bytes"] <= 9 * outputs < frames * 513 * 8
