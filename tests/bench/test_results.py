"""The JSON, against a schema written down by hand; programs read it."""

import json

import pytest

from specctl.bench.results import Cell, Report, write_json
from specctl.bench.workload import Workload
from tests.bench.fakes import Fake, FakeTimer, bench

NUMBER, COUNT = (int, float), int
OPTIONAL = (int, float, type(None))
SCHEMA = {
    "schema": str,
    "date": str,
    "status": str,
    "elapsed_s": float,
    "machine": {
        "cpu": str,
        "cores": COUNT,
        "memory_bytes": COUNT,
        "cache_bytes": COUNT,
        "system": str,
        "load_at_start": NUMBER,
        "gpu": (dict, type(None)),
    },
    "versions": dict,
    "flags": {
        "cudnn.allow_tf32": bool,
        "cudnn.benchmark": bool,
        "float32_matmul_precision": str,
    },
    "settings": {
        "device": str,
        "works": list,
        "rounds": COUNT,
        "budget_s": NUMBER,
        "sweep": (str, type(None)),
        "verify": bool,
    },
    "copy_bytes_per_s": dict,
    "skipped": list,
    "doubts": list,
    "cells": list,
}
CELL = {
    "contender": str,
    "precision": str,
    "workload": {
        "work": str,
        "output": str,
        "sample_rate": COUNT,
        "n_fft": COUNT,
        "hop_length": COUNT,
        "n_mels": (int, type(None)),
        "batch": COUNT,
        "seconds": NUMBER,
        "device": str,
        "threads": COUNT,
    },
    "equalised": str,
    "status": str,
    "note": str,
    "samples_s": list,
    "calls_per_sample": COUNT,
    "median_s": OPTIONAL,
    "p20_s": OPTIONAL,
    "p80_s": OPTIONAL,
    "n_frames": COUNT,
    "ns_per_frame": OPTIONAL,
    "x_real_time": OPTIONAL,
    "cores_busy": OPTIONAL,
    "share_of_limit": OPTIONAL,
    "peak_bytes": (int, type(None)),
    "peak_rss_bytes": (int, type(None)),
    "max_db_error": OPTIONAL,
    "max_db_error_by_level": dict,
    "keeps_contract": (bool, type(None)),
    "gradient_error": OPTIONAL,
    "gradient_cosine": OPTIONAL,
    "stages_s": dict,
    "ratio_to_torch_stft": OPTIONAL,
    "ratio_to_nnaudio": OPTIONAL,
}
WORKLOAD = Workload("mel", "log-mel", 8000, 64, 16, 8, 1, 0.25, "cpu", 1)


def assert_fits(found, schema):
    assert list(found) == list(schema)
    for name, wanted in schema.items():
        if isinstance(wanted, dict):
            assert_fits(found[name], wanted)
        else:
            assert isinstance(found[name], wanted), f"{name} is {found[name]!r}"


def report_of(*cells):
    report = Report(date="", machine={}, versions={}, flags={}, settings={})
    report.cells += cells
    return report


def cell(name, samples, precision="fp32", **values):
    return Cell(name, precision, WORKLOAD, samples_s=samples, **values)


def test_json_is_what_its_readers_expect(tmp_path):
    timer, path = FakeTimer(), tmp_path / "out.json"
    bench(
        timer,
        Fake("torch.stft", timer),
        Fake("specctl-fft", timer),
        Fake("wrong", timer, off_db=1.0),
        Fake("failing", timer, fails={1: ValueError()}),
        Fake("large", timer, fails={2: MemoryError()}),
        save=write_json(path),
    )
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert found["schema"] == "specctl-bench/1"
    assert_fits(found, SCHEMA)
    for each in found["cells"]:
        assert_fits(each, CELL)
    statuses = [each["status"] for each in found["cells"]]
    assert statuses == ["ok", "ok", "failed", "failed", "oom"]
    assert all(isinstance(each, NUMBER) for each in found["cells"][0]["samples_s"])
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_percentiles_are_those_of_the_samples():
    found = cell("fake", [float(value) for value in range(11)])
    assert found.median_s == 5.0
    assert found.spread_s == (2.0, 8.0)


def test_the_limit_is_what_a_copy_of_inputs_and_outputs_would_take():
    found = cell("fake", [1e-3, 1e-3])
    report = report_of(found)
    report.copy_bytes_per_s = {"1": 1e9}
    assert report.share_of_limit(found) == pytest.approx(WORKLOAD.essential_bytes / 1e9 / 1e-3)


def test_the_best_kernel_counts():
    report = report_of(
        cell("torch.stft", [3.0, 3.0]),
        cell("specctl-conv", [6.0, 6.0]),
        cell("specctl-fft", [1.0]),
    )
    assert report.best_ratios("torch.stft") == {WORKLOAD: 3.0}


def test_there_is_no_ratio_to_what_was_not_timed():
    report = report_of(cell("torch.stft", []), cell("specctl-fft", [1.0]))
    assert report.best_ratios("torch.stft") == {WORKLOAD: None}


def test_ratios_are_to_the_float32_of_the_baseline():
    ours = cell("specctl-conv", [2.0])
    report = report_of(cell("nnAudio", [4.0], "tf32"), cell("nnAudio", [8.0]), ours)
    assert report.ratio(ours, "nnAudio") == 4.0


def test_broken_kernels_are_our_own_in_float32():
    broken = cell("specctl-fft", [], keeps_contract=False, status="failed")
    report = report_of(
        broken,
        cell("specctl-conv", [1.0], "tf32", keeps_contract=False),
        cell("nnAudio", [], keeps_contract=False, status="failed"),
        cell("specctl-conv", [], status="unsupported"),
    )
    assert report.broken() == [broken]
