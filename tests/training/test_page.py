import json
import math
import resource
import sys
import zlib

import numpy as np
import pytest

from specctl.errors import ParameterError, StoreError
from specctl.training.drawing import Line, chart, picture
from specctl.training.metrics import JsonLines, TensorBoardFolder, to_json


def points(svg):
    text = svg.split('points="')[1].split('"')[0]
    return [tuple(map(float, pair.split(","))) for pair in text.split()]


def test_a_chart_is_to_scale():
    line = Line("a", "trained", [0.0, 1.0, 2.0], [10.0, 30.0, 20.0])
    (x0, y0), (x1, y1), (x2, y2) = points(chart("t", [line], "x", "y"))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.1)
    assert y0 - y1 == pytest.approx(2 * (y0 - y2), abs=0.2)
    assert y1 < y2 < y0  # up is less in SVG


def test_a_chart_leaves_out_what_is_not_finite_and_escapes_names():
    line = Line("<b>", "fixed", [0.0, 1.0, 2.0], [1.0, float("nan"), 1.0])
    svg = chart("a & b", [line], "x", "y")
    assert len(points(svg)) == 2
    assert "a &amp; b" in svg
    assert "<b>" not in svg


def test_a_picture_is_a_png_with_the_first_row_at_the_bottom():
    import base64

    html = picture("p", np.array([[0.0, 1.0], [0.5, 0.5]]), "x", "y")
    png = base64.b64decode(html.split("base64,")[1].split('"')[0])
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at = png.index(b"IDAT")
    size = int.from_bytes(png[at - 4 : at])
    body = png[at + 4 : at + 4 + size]
    assert int.from_bytes(png[at + 4 + size : at + 8 + size]) == zlib.crc32(b"IDAT" + body)
    assert zlib.decompress(body) == bytes([0, 128, 128, 0, 255, 0])


def test_figures_are_lines_that_can_be_gone_on_with(tmp_path):
    path = tmp_path / "m.jsonl"
    for append in (False, True):
        with JsonLines(path, append=append) as lines:
            lines({"event": "left out", "files": [("a.wav", "in no folder of a class")]})
            lines({"event": "decode", "n_done": 1, "n_total": 2})
            lines({"event": "step", "step": 1, "loss": 0.5})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 1]
    with pytest.raises(StoreError, match="already exists; pass --overwrite"):
        JsonLines(path)
    with JsonLines(path, overwrite=True) as lines:
        # a training that is refused replaces nothing
        assert len(path.read_text().splitlines()) == 2
        lines({"event": "step", "step": 9})
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [9]


def test_a_full_disk_is_one_error_and_leaves_whole_lines(tmp_path):
    path = tmp_path / "m.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with (
            pytest.raises(StoreError, match=r"cannot write .*m\.jsonl: File too large"),
            JsonLines(path) as lines,
        ):
            for step in range(9):
                lines({"event": "step", "step": step})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with JsonLines(path, append=True) as lines:
        lines({"event": "step", "step": 9})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2, 9]


def test_numbers_that_are_not_finite_are_null_in_json():
    values = {"loss": math.nan, "runs": [{"ms": math.inf}, (1.5, "a", None, 2)]}
    assert to_json(values) == '{"loss": null, "runs": [{"ms": null}, [1.5, "a", null, 2]]}'


def test_tensorboard_is_asked_for_by_name_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        ParameterError, match=r"needs TensorBoard; pip install 'specctl-audio\[tens"
    ):
        TensorBoardFolder(tmp_path)
