"""Runs Vidur's Simulator on a uniform trace; prints one JSON object.

Vidur's predictor of execution times needs profiles that its package lacks, so
a formula stands in its place, or its own look-ups in tables made from that
formula. Simulator, events, entities and the Sarathi scheduler are Vidur's own.
"""

import argparse
import csv
import json
import logging
import tempfile
import time
from collections import defaultdict

import vidur.config.config as config
from vidur._native.entities import ExecutionTime
from vidur.entities import Request
from vidur.events import BaseEvent
from vidur.execution_time_predictor import BaseExecutionTimePredictor, ExecutionTimePredictorRegistry
from vidur.execution_time_predictor.random_forrest_execution_time_predictor import RandomForrestExecutionTimePredictor
from vidur.request_generator import RequestGeneratorRegistry
from vidur.simulator import Simulator
from vidur.types import ExecutionTimePredictorType, RequestGeneratorType

# As [time] of policy.toml says.
STEP_MS = 10.0
TOKEN_MS = 0.125
# 61 GiB of KV at 128 KiB a token.
BLOCK = 16
BLOCKS = 61 * 1024 * 1024 // 128 // BLOCK


class FormulaPredictor:
    """Milliseconds of a step, at the price of one multiplication."""

    steps = 0

    def __init__(self, **_):
        pass

    def get_execution_time(self, batch, _stage):
        FormulaPredictor.steps += 1
        ms = STEP_MS + TOKEN_MS * sum(batch.num_q_tokens)
        # One layer whose only operation takes all of it.
        return ExecutionTime(1, ms, *([0.0] * 13))


class Table(dict):
    """Predictions that a trained model would have made beforehand."""

    def __init__(self, price):
        super().__init__()
        self.price = price

    def __missing__(self, key):
        self[key] = self.price(key)
        return self[key]


class LookUpPredictor(RandomForrestExecutionTimePredictor):
    """Vidur's own look-ups of every operation, in tables that give the same
    steps as the formula. Training and loading are left out."""

    def __init__(self, predictor_config, replica_config, cache_config):
        BaseExecutionTimePredictor.__init__(self, predictor_config, replica_config, cache_config)
        self._attention_decode_batching_overhead_fraction = predictor_config.attention_decode_batching_overhead_fraction
        nothing, layers = Table(lambda key: 0.0), self._num_layers_per_pipeline_stage
        self._predictions = defaultdict(lambda: nothing)
        self._predictions["attn_pre_proj"] = Table(lambda key: (STEP_MS + TOKEN_MS * key[0]) / layers)

    def _get_attention_layer_pre_proj_execution_time(self, batch):
        # Vidur rounds to eights; here steps must take the same time in both.
        return self._predictions["attn_pre_proj"][(batch._total_num_q_tokens,)]

    def get_execution_time(self, batch, stage):
        FormulaPredictor.steps += 1
        return super().get_execution_time(batch, stage)


class TraceGenerator:
    """Requests of a uniform trace, as integers; Vidur's own reader of traces
    makes floats of the token counts."""

    def __init__(self, generator_config):
        with open(generator_config.trace_file, newline="") as file:
            self.requests = [
                Request(float(row["arrival_s"]), int(row["prompt_tokens"]), int(row["output_tokens"]))
                for row in csv.DictReader(file)
            ]

    def generate(self):
        return self.requests


def replace(registry, key, implementation):
    registry.unregister(key)
    registry.register(key, implementation)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("trace")
    parser.add_argument("--chunk", type=int, required=True)
    parser.add_argument("--sequences", type=int, required=True)
    parser.add_argument("--as-shipped", action="store_true", help="look-ups and metrics too; no plots")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)

    predictor = LookUpPredictor if args.as_shipped else FormulaPredictor
    replace(ExecutionTimePredictorRegistry, ExecutionTimePredictorType.RANDOM_FORREST, predictor)
    replace(RequestGeneratorRegistry, RequestGeneratorType.TRACE_REPLAY, TraceGenerator)
    with tempfile.TemporaryDirectory() as out:
        simulation = config.SimulationConfig(
            cluster_config=config.ClusterConfig(
                replica_config=config.ReplicaConfig(num_pipeline_stages=1, tensor_parallel_size=1),
                cache_config=config.CacheConfig(block_size=BLOCK, num_blocks=BLOCKS),
                replica_scheduler_config=config.SarathiSchedulerConfig(
                    batch_size_cap=args.sequences, chunk_size=args.chunk
                ),
            ),
            request_generator_config=config.TraceRequestGeneratorConfig(
                trace_file=args.trace, max_tokens=131072
            ),
            metrics_config=config.MetricsConfig(
                output_dir=out,
                write_metrics=args.as_shipped,
                store_plots=False,
                enable_chrome_trace=False,
            ),
        )
        wall, cpu = time.perf_counter(), time.process_time()
        simulator = Simulator(simulation)
        requests = [event[1]._request for event in simulator._event_queue]
        simulator.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    print(
        json.dumps(
            {
                "wall_s": wall,
                "cpu_s": cpu,
                "requests": len(requests),
                "finished": sum(request.completed for request in requests),
                "restarts": sum(request._num_restarts for request in requests),
                "steps": FormulaPredictor.steps,
                "events": BaseEvent._id,
                "span_s": simulator._time,
            }
        )
    )


if __name__ == "__main__":
    main()
