# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""The simulator from Python."""

from __future__ import annotations

import json

import pytest
from conftest import ROOT

import tidegate

POLICY = ROOT / "policy_files/h100-80gb.toml"
TRACE = ROOT / "examples/traces/agentic_coding.csv"


def test_a_simulation_is_its_summary_with_a_record_for_each_request(tmp_path):
    result = tidegate.simulate(POLICY, TRACE, requests=20, out=tmp_path)
    assert result["requests"] == 20
    assert result == json.loads((tmp_path / "summary.json").read_text())
    assert (tmp_path / "report.html").stat().st_size > 100_000
    assert len(result.columns["prompt_tokens"]) == 20
    assert result.columns["outcome"].count("finished") == result["finished"]


def test_records_are_a_data_frame():
    pandas = pytest.importorskip("pandas")
    records = tidegate.simulate(POLICY, TRACE, requests=20).records()
    assert isinstance(records, pandas.DataFrame)
    assert len(records) == 20
    assert records["ttft_s"].max() > 0


def test_a_comparison_has_a_row_for_each_run(tmp_path):
    runs = tidegate.compare([POLICY, "rival:vllm"], TRACE, requests=20, ceilings=["70 GiB", "78 GiB"], loads=[1, 2], out=tmp_path)
    assert len(runs) == 8
    assert {run["load"] for run in runs} == {1, 2}
    assert all(run["requests"] == 20 for run in runs)
    assert (tmp_path / "report.html").exists()


def test_a_comparison_is_a_data_frame():
    pytest.importorskip("pandas")
    assert len(tidegate.compare(POLICY, TRACE, requests=5).frame()) == 1


def test_bad_input_names_the_argument():
    with pytest.raises(ValueError, match="^requests: expected"):
        tidegate.simulate(POLICY, TRACE, requests=0)
    with pytest.raises(FileNotFoundError, match="nowhere.csv"):
        tidegate.simulate(POLICY, "nowhere.csv")
    with pytest.raises(ValueError, match="rival"):
        tidegate.simulate(POLICY, TRACE, rival="nobody")
