# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps over a Ray cluster, here of this machine alone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

import tidegate
from tidegate import _core, sweep

POLICY = ROOT / "policy_files/h100-80gb.toml"
TRACE = ROOT / "examples/traces/agentic_coding.csv"
MATRIX = {"ceilings": ["70 GiB", "78 GiB"], "loads": [1, 2], "seeds": 2, "requests": 20}
FILES = ["compare.json", "report.html"]


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


def test_a_sweep_over_ray_is_the_comparison_of_one_process(ray, tmp_path):
    local = tidegate.compare([POLICY, "rival:vllm"], TRACE, out=tmp_path / "local", **MATRIX)
    told = []
    swept = sweep.sweep([POLICY, "rival:vllm"], TRACE, out=tmp_path / "ray", progress=lambda *at: told.append(at), **MATRIX)
    assert swept == local
    assert told == [(done, 16) for done in range(17)]
    runs = sorted(path.name for path in (tmp_path / "local/runs").iterdir())
    assert sorted(path.name for path in (tmp_path / "ray/runs").iterdir()) == runs
    for name in FILES + [f"runs/{run}" for run in runs]:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name


def test_a_sweep_called_again_makes_what_is_missing(ray, tmp_path):
    first = sweep.sweep(POLICY, TRACE, out=tmp_path, **MATRIX)
    (missing,) = (tmp_path / "runs").glob("00003-*")
    missing.write_text(missing.read_text()[:1000])
    told = []
    assert sweep.sweep(POLICY, TRACE, out=tmp_path, progress=lambda *at: told.append(at), **MATRIX) == first
    assert told == [(0, 1), (1, 1)]


def test_runs_of_another_call_are_taken_by_compare_too(ray, tmp_path):
    swept = sweep.sweep(POLICY, TRACE, out=tmp_path, requests=10)
    before = (tmp_path / "runs").stat().st_mtime_ns
    assert tidegate.compare(POLICY, TRACE, out=tmp_path, requests=10, resume=True) == swept
    assert (tmp_path / "runs").stat().st_mtime_ns == before


def test_nothing_left_to_do_needs_no_ray(tmp_path, monkeypatch):
    local = tidegate.compare(POLICY, TRACE, out=tmp_path, requests=10)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert sweep.sweep(POLICY, TRACE, out=tmp_path, requests=10) == local


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match="pip install 'tidegate\\[ray\\]'"):
        sweep.sweep(POLICY, TRACE, out=tmp_path, requests=10)


def test_one_run_is_its_file():
    given = {"policies": [str(POLICY)], "traces": [str(TRACE)], "requests": ["10"], "out": ["nowhere"]}
    ((at, file),) = _core.compare_tasks(given, False)
    assert (at, file) == (0, "00001-h100-80gb-agentic_coding.json")
    run = json.loads(_core.compare_one(given, 0))
    assert run["requests"] == 10
    assert len(run["records"]["rows"]) == 10
    assert run["charts"]["live"]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
def test_the_command_prints_the_table_of_tidegate_compare(tmp_path):
    command = [sys.executable, "-m", "tidegate.sweep", "--policies", f"{POLICY},rival:vllm", "--trace", TRACE, "--requests", "10"]
    done = subprocess.run([*command, "--out", tmp_path], capture_output=True, text=True, check=True, timeout=250)
    given = {"policies": [f"{POLICY},rival:vllm"], "traces": [str(TRACE)], "requests": ["10"], "out": [str(tmp_path / "local")]}
    table, _ = _core.compare(given, False, True)
    assert done.stdout.partition("\nWritten")[0] == table.partition("\nWritten")[0]
    assert "2 of 2 runs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--policies", "nowhere.toml", "--trace", str(TRACE)], "nowhere.toml"),
        (["--policies", str(POLICY), "--trace", "nowhere.csv"], "nowhere.csv"),
        (["--policies", str(POLICY), "--trace", str(TRACE), "--load", "0"], "--load: expected a number above 0"),
        (["--policies", str(POLICY), "--trace", str(TRACE), "--ceiling", "much"], "--ceiling: expected bytes"),
        (["--policies", str(POLICY), "--trace", str(TRACE), "--seeds", "-1"], "--seeds: expected an integer"),
    ],
    ids=["policy", "trace", "load", "ceiling", "seeds"],
)
def test_bad_input_ends_with_one_error(arguments, says, tmp_path, capsys):
    assert sweep.main([*arguments, "--out", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err
