# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""vLLM's real scheduler without a device: its classes are made as the engine
core makes them, and what a model would answer is one token for each sequence."""

from __future__ import annotations

import json
import os
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

import torch
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

BLOCK = 16
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
    "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 131072, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip

# Transients of 10 bytes for each pair of tokens, in a room of 80 MB: a chunk of
# 2048 fits behind 1,858 tokens, the floor of 64 behind 125,000.
POLICY: dict[str, Any] = {
    "estimator": {"use": "formula", "transient": "10 * n * kv_len", "resident_per_token": "1000"},
    "memory": {"ceiling": 100_000_000, "base": 20_000_000},
    "chunk": {"floor": 64, "quantum": 64},
}


def model_dir(tmp_path: Any) -> str:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    return str(tmp_path)


class World:
    """A scheduler and the engine around it."""

    def __init__(
        self,
        tmp_path: Any,
        cls: Any = AsyncScheduler,
        policy: dict[str, Any] | None = None,
        *,
        budget: int = 8192,
        sequences: int = 16,
        blocks: int = 10_000,
        caching: bool = False,
        asynchronous: bool = True,
        model_len: int = 131072,
        options: dict[str, Any] | None = None,
        scheduling: str = "fcfs",
    ):
        init_none_hash(sha256)
        self.hasher = get_request_block_hasher(BLOCK, sha256) if caching else None
        model = ModelConfig(model=model_dir(tmp_path), skip_tokenizer_init=True, dtype="float32", max_model_len=model_len)
        cache = CacheConfig(block_size=BLOCK, enable_prefix_caching=caching)
        scheduler = SchedulerConfig(
            max_num_seqs=sequences,
            max_num_batched_tokens=budget,
            max_model_len=model_len,
            enable_chunked_prefill=True,
            async_scheduling=asynchronous,
            is_encoder_decoder=False,
            policy=scheduling,
        )
        config = VllmConfig(
            model_config=model,
            cache_config=cache,
            scheduler_config=scheduler,
            device_config=DeviceConfig("cpu"),
            additional_config={"tidegate": {"policy": policy or POLICY, **(options or {})}},
        )
        # vLLM turns it off on a CPU; its scheduler does not care.
        config.scheduler_config.async_scheduling = asynchronous
        cache.num_gpu_blocks = blocks
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=2, head_size=16, dtype=torch.float32)
        kv = KVCacheConfig(num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)])
        self.scheduler = cls(
            vllm_config=config,
            kv_cache_config=kv,
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK,
            log_stats=True,
        )
        self.outputs: dict[str, list[Any]] = {}
        self._made = 0

    def add(self, prompt: int, output: int = 4, id: str | None = None, priority: int = 0, token: int | None = None) -> str:
        self._made += 1
        request = Request(
            request_id=id or f"r{self._made}",
            prompt_token_ids=[token if token is not None else self._made % 250] * prompt,
            sampling_params=SamplingParams(max_tokens=output, ignore_eos=True),
            pooling_params=None,
            block_hasher=self.hasher,
            priority=priority,
        )
        self.scheduler.add_request(request)
        return request.request_id

    def step(self) -> dict[str, int]:
        """One step, its tokens by request."""
        output = self.scheduler.schedule()
        self.answer(output)
        return dict(output.num_scheduled_tokens)

    def answer(self, output: Any) -> None:
        ids = list(output.num_scheduled_tokens)
        requests = self.scheduler.requests
        # A token for those whose prompt is computed.
        done = [id in requests and requests[id].num_computed_tokens >= requests[id].num_prompt_tokens for id in ids]
        made = ModelRunnerOutput(req_ids=ids, req_id_to_index={id: i for i, id in enumerate(ids)}, sampled_token_ids=[[7] if one else [] for one in done])
        for outputs in self.scheduler.update_from_output(output, made).values():
            for one in outputs.outputs:
                self.outputs.setdefault(one.request_id, []).append(one)

    def run(self, steps: int = 10_000) -> list[dict[str, int]]:
        """Until nothing is left, or so many steps."""
        made = []
        while self.scheduler.has_requests() and len(made) < steps:
            made.append(self.step())
        return made
