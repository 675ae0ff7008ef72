# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""How others decide which prompts to take and how wide chunks are, after public
source and threads; what each rule is given and what was left out is in
bench/results/h100/README.md."""

import torch
from ceiling_models import MIB, head_dim, kv_bytes, new_cache


class Fixed:
    """One width for every chunk; every prompt is taken."""

    def __init__(self, chunk):
        self.chunk = chunk
        self.name = f"fixed {chunk}"
        self.runs_as = self.name

    def refuses(self, prompt):
        return ""

    def start(self, prompt):
        pass

    def width(self, done, prompt):
        return self.chunk

    def after(self, n, kv_len):
        pass


class WorstCaseProfile(Fixed):
    """vLLM's Worker.determine_available_memory: one forward pass of `chunk` tokens
    with nothing before it says what a step needs; what is left is for KV, and a
    prompt whose KV fits is taken."""

    def __init__(self, chunk, model, backend, device, ceiling, base):
        super().__init__(chunk)
        self.name = f"profile {chunk}"
        self.model = model
        device.clean()
        ids = torch.randint(10, 190, (1, chunk), device=device.device)
        cache = new_cache(model, backend, chunk)
        self.budget = 0
        try:
            model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            device.sync()
            self.budget = ceiling - base - (device.peak() - base - kv_bytes(model, chunk))
        except torch.OutOfMemoryError:
            pass  # the server would not start
        del cache
        device.clean()

    def refuses(self, prompt):
        blocks = (prompt + 15) // 16 * 16
        if kv_bytes(self.model, blocks) <= self.budget:
            return ""
        return f"KV {kv_bytes(self.model, blocks) // MIB} MiB, budget {self.budget // MIB} MiB"


class Refusal(Exception):
    """A rule gives a prompt up while it is computed."""


class Learned:
    """oMLX's guard, "balanced": a static formula by head dim, a running mean of
    measured bytes a token (weight 0.3), 1.3 times the larger of both, a target of
    0.9 of the ceiling, and widths clamped in the tiers above 0.8 of it."""

    name = "learned (oMLX)"
    runs_as = name
    step, floor, alpha, safety = 2048, 256, 0.3, 1.3
    full_kernel = (64, 72, 80, 96, 128)

    def __init__(self, model, device, ceiling, prealloc):
        self.model, self.device, self.ceiling, self.prealloc = model, device, ceiling, prealloc
        config = model.config
        self.heads = config.num_attention_heads
        self.dim = head_dim(config)
        self.mean = 0.0
        self.last = 0.0
        self.observed = 0
        self.samples = 0

    def static(self, n, kv_len):
        out = self.heads * n * self.dim * 4
        if self.dim in self.full_kernel:
            return out
        if self.dim == 256 and n >= 16 and kv_len >= 8192:  # its tiled route
            return out + self.heads * n * min(1024, kv_len) * 2
        return out + self.heads * n * kv_len * 2

    def refuses(self, prompt):
        need = self.device.allocated() + kv_bytes(self.model, prompt) + max(self.static(self.floor, prompt), self.observed)
        limit = int(0.9 * self.ceiling)
        return "" if need <= limit else f"estimate {need // MIB} MiB, limit {limit // MIB} MiB"

    def start(self, prompt):
        # Buffers that the first chunk makes are KV that it was told of, not scratch.
        self.buffers = kv_bytes(self.model, prompt) if self.prealloc else 0

    def predicted(self, n, kv_len):
        growth = 0 if self.prealloc else kv_bytes(self.model, kv_len) - kv_bytes(self.model, kv_len - n)
        static = self.static(n, kv_len) + growth
        per_token = max(static / n, self.mean, self.last)
        return self.safety * max(per_token * n, static)

    def width(self, done, prompt):
        now = self.before = self.device.allocated() + (self.buffers if done == 0 else 0)
        target = 0.9 * self.ceiling

        def fits(n):
            return now + self.predicted(n, done + n) <= target

        n = self.step
        if not fits(n):
            n = max((w for w in range(self.floor, self.step, self.floor) if fits(w)), default=0)
        if n == 0:
            raise Refusal("not even the floor fits")
        soft, hard = 0.89 * 0.9 * self.ceiling, 0.95 * self.ceiling
        band = (now - soft) / (hard - soft)
        if band > 0:
            n = min(n, 1024 if band < 0.5 else 512)
        return n

    def after(self, n, kv_len):
        if n < self.floor:
            return
        # Live plus what the pool holds, less live before.
        delta = self.device.reserved() - self.before
        if delta < 0:
            return
        self.samples += 1
        self.last = delta / n
        if n == self.floor and self.samples > 1 and delta <= 4096 * MIB:
            self.observed = max(self.observed, delta)
        if self.mean == 0:
            self.mean = self.last
        elif self.last <= 8 * self.mean:
            self.mean += self.alpha * (self.last - self.mean)
