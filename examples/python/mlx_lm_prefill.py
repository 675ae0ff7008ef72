# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""mlx-lm through Tidegate.

    python mlx_lm_prefill.py mlx-community/Llama-3.2-1B-Instruct-4bit prompt.txt "27 GiB"
"""

import sys

import mlx_lm

import tidegate
import tidegate.mlx

name, prompt_file, ceiling = sys.argv[1:]
model, tokenizer, config = mlx_lm.load(name, return_config=True)
gate = tidegate.mlx.gate(None, config, ceiling=ceiling, base=tidegate.mlx.live_bytes())
with open(prompt_file) as file:
    prompt = tokenizer.encode(file.read())
print(gate.quote(len(prompt), max_output_tokens=200))


def progress(done: int, total: int) -> None:
    print(f"\r{done} of {total} tokens", end="", file=sys.stderr)


try:
    for token, _ in tidegate.mlx.generate_step(gate, prompt, model, max_tokens=200, prompt_progress_callback=progress):
        if token in tokenizer.eos_token_ids:
            break
        print(tokenizer.decode([token]), end="", flush=True)
except tidegate.Refused as refused:
    print(refused, "- at most", refused.largest_prompt_that_fits, "tokens fit")
