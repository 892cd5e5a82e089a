"""What is said of a training depends on what was trained."""

import pytest
import torch

from specctl.training import train_basis
from specctl.training.page import write_page
from tests.training.audio import TINY

COMPARED = {**TINY, "epochs": 2, "runs": 2, "verdict": True}


def page_of(summary, path):
    write_page(path, summary)
    return path.read_text()


def test_where_only_bands_were_trained_nothing_is_said_of_rows(tones, tmp_path):
    given = {"train": ("mel",), "init": "mel-fourier", "basis_lr": 0.1}
    summary = train_basis(tones, tmp_path / "b", **{**COMPARED, **given})
    assert summary.drift is None
    assert torch.equal(summary.start, summary.trained)
    start, trained = summary.bands
    assert torch.equal(trained, summary.kept.weights["mel"])
    changed = ((trained - start).norm(dim=1) / start.norm(dim=1)).median()
    assert 0.5 < summary.verdict.change_of_bands / changed < 2
    assert summary.verdict.drift_degrees is None
    assert "rows" not in summary.verdict.cost
    assert f"bands changed by {summary.verdict.change_of_bands:.1%}" in summary.verdict.cost
    assert "training mel " in summary.verdict.sentence
    page = page_of(summary, tmp_path / "r.html")
    assert "<h2>Bands</h2>" in page
    assert "rows that moved" not in page


@pytest.mark.parametrize("train", [("basis",), ("window",), ("frequencies", "mel")])
def test_rows_are_spoken_of_whatever_of_them_was_trained(train, tones, tmp_path):
    summary = train_basis(tones, tmp_path / "b", **{**COMPARED, "runs": 1, "train": train})
    assert summary.drift.median_angle > 0
    assert summary.verdict.drift_degrees == summary.drift.median_angle
    assert "whether a trained basis helps" in summary.verdict.sentence
    assert (summary.bands is not None) == ("mel" in train)
    page = page_of(summary, tmp_path / "r.html")
    assert "rows that moved" in page
    assert ("<h2>Bands</h2>" in page) == ("mel" in train)
