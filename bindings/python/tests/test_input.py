# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Bad input: one error that names what was expected."""

from __future__ import annotations

import pytest
from conftest import ROOT

import tidegate

EXAMPLE = ROOT / "examples/head_dim_256.toml"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ValueError, "missing model"),
        ({"policy": "nowhere.toml"}, FileNotFoundError, "nowhere.toml"),
        ({"policy": EXAMPLE, "model": "nowhere.json"}, FileNotFoundError, "nowhere.json"),
        ({"policy": {"memroy": {}}}, ValueError, 'did you mean "memory"'),
        ({"policy": EXAMPLE, "model": {"model_type": "llama"}}, ValueError, "num_hidden_layers"),
        ({"policy": EXAMPLE, "ceiling": "36 gigs"}, ValueError, r"^ceiling: expected bytes"),
        ({"policy": EXAMPLE, "ceiling": 0}, ValueError, "^ceiling: expected bytes above 0"),
        ({"policy": EXAMPLE, "chunk_max": -5}, ValueError, "^chunk_max: expected"),
        ({"policy": EXAMPLE, "engine": "tensorflow"}, ValueError, "engine: expected NAME@VERSION/DEVICE"),
        ({"policy": EXAMPLE, "engine": "mlx@0.31.2"}, ValueError, "engine"),
        ({"policy": EXAMPLE, "estimator": "guess"}, ValueError, "estimator"),
        ({"policy": ROOT / "policy_files/h100-80gb-mixed.toml"}, ValueError, "step.decode: a Gate serves engines that decode by themselves"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_gate_names_what_is_wrong(arguments, error, says):
    with pytest.raises(error, match=says):
        tidegate.Gate(**arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prompt_tokens": 0}, "prompt_tokens"),
        ({"prompt_tokens": 10, "cached_tokens": 11}, "cached_tokens"),
        ({"prompt_tokens": 10, "max_output_tokens": -1}, "max_output_tokens"),
        ({"prompt_tokens": 10, "mask": "diagonal"}, "mask"),
        ({"prompt_tokens": 10, "uncuttable": [(5, 50)]}, "length: expected 1 to 5, got 50"),
    ],
)
def test_a_quote_names_what_is_wrong(gate, arguments, says):
    with pytest.raises(ValueError, match=says):
        gate.quote(**arguments)


@pytest.mark.parametrize("arguments", [{"prompt_tokens": 0}, {"prompt_tokens": 10, "cached_tokens": 11}])
def test_a_request_that_contradicts_itself_is_refused_as_unsupported(gate, arguments):
    with pytest.raises(tidegate.Refused) as refused, gate.request(**arguments):
        pass
    assert refused.value.code == "unsupported"


def test_what_is_no_number_is_a_type_error(gate):
    with pytest.raises(TypeError):
        gate.quote("many")
    with pytest.raises(TypeError), gate.request(1.5):
        pass


def test_a_measurement_that_cannot_be_is_an_error_and_the_chunk_stays_open(gate):
    with gate.request(5_000) as r:
        chunk = next(r.chunks())
        with pytest.raises(ValueError, match="live_bytes"):
            chunk.done(live_bytes=-1)
        assert chunk.pending
        chunk.done()


def test_a_model_may_be_a_mapping(policy):
    del policy["model"]
    config = {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 512,
        "intermediate_size": 1024,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        "torch_dtype": "float16",
    }
    policy["estimator"] = {"use": "catalog"}
    gate = tidegate.Gate(policy, model=config, engine="mlx@0.31.2/metal")
    assert gate.engine == "mlx@0.31.2/metal"
    # Two layers of keys and values with two heads of 64 in 16 bits.
    assert gate.price(1, 10).resident_bytes == 2 * 2 * 2 * 64 * 2


def test_what_the_command_line_warns_of_is_a_warning():
    with pytest.warns(RuntimeWarning):
        tidegate.Gate(EXAMPLE, chunk_max=128)
