# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""A transformers model through Tidegate.

    python transformers_prefill.py meta-llama/Llama-3.2-1B prompt.txt "22 GiB"
"""

import sys

import torch
import transformers

import tidegate
import tidegate.torch

name, prompt_file, ceiling = sys.argv[1:]
tokenizer = transformers.AutoTokenizer.from_pretrained(name)
model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype="auto", device_map="auto")
gate = tidegate.Gate(None, model.config.to_dict(), "torch", ceiling=ceiling, base=tidegate.torch.live_bytes() or 0, memory=tidegate.torch.live_bytes)
with open(prompt_file) as file:
    ids = tokenizer(file.read(), return_tensors="pt").input_ids.to(model.device)
try:
    with tidegate.torch.prefill(gate, model, ids, max_output_tokens=100) as prompt, torch.inference_mode():
        token = prompt.logits.argmax()
        for _ in range(100):
            print(tokenizer.decode([int(token)]), end="", flush=True)
            token = model(input_ids=token[None, None], past_key_values=prompt.cache).logits[0, -1].argmax()
            prompt.request.decoded()
except tidegate.Refused as refused:
    print(refused, "- at most", refused.largest_prompt_that_fits, "tokens fit")
