# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Small GGUF models with random weights, for tests and measurements.

    python make_models.py FOLDER [NAME…]

Needs the packages gguf and numpy. The same name gives the same file. `tiny-…`
are for tests; `small-…` are large enough for a step to take longer than what is
around it.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys

import gguf
import numpy as np


@dataclasses.dataclass(frozen=True)
class Model:
    arch: str = "llama"
    layers: int = 2
    hidden: int = 64
    ffn: int = 128
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    vocab: int = 320
    context: int = 4096
    window: int = 0
    experts: int = 0
    used: int = 0

    @property
    def qk_norm(self) -> bool:
        return self.arch in ("gemma3", "qwen3", "qwen3moe")


MODELS = {
    "tiny-llama": Model(),
    "tiny-qwen3": Model("qwen3"),
    "tiny-gemma3": Model("gemma3", layers=6, window=64),
    "tiny-mixtral": Model(experts=4, used=2),
    "tiny-qwen3moe": Model("qwen3moe", experts=8, used=2, ffn=64),
    # Cheap enough to compute prompts that fill a context of tens of thousands.
    "long-llama": Model(context=1 << 20, kv_heads=4, head_dim=32),
    "long-gemma3": Model("gemma3", layers=6, window=64, context=1 << 20, kv_heads=4, head_dim=32),
    # An 8K prompt takes seconds on one core.
    "small-llama": Model(layers=4, hidden=512, ffn=1536, heads=8, kv_heads=2, head_dim=64, vocab=4096, context=131072),
    "small-gemma3": Model(
        "gemma3", layers=6, hidden=512, ffn=1536, heads=4, kv_heads=2, head_dim=128, vocab=4096, context=131072, window=512
    ),
    "small-qwen3moe": Model(
        "qwen3moe", layers=4, hidden=512, ffn=256, heads=8, kv_heads=2, head_dim=64, vocab=4096, context=131072, experts=16, used=4
    ),
    # A vocabulary that makes logits the largest buffer, and a narrow feed-forward.
    "small-wide-vocab": Model(layers=2, hidden=512, ffn=512, heads=8, kv_heads=8, head_dim=64, vocab=64000, context=131072),
}


def tensors(model: Model) -> dict[str, tuple[int, ...]]:
    """Shapes as numpy has them: rows first."""
    q, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (model.vocab, model.hidden), "output_norm.weight": (model.hidden,)}
    if model.arch != "gemma3":
        shapes["output.weight"] = (model.vocab, model.hidden)
    for i in range(model.layers):
        layer = {
            "attn_norm": (model.hidden,),
            "attn_q": (q, model.hidden),
            "attn_k": (kv, model.hidden),
            "attn_v": (kv, model.hidden),
            "attn_output": (model.hidden, q),
            "ffn_norm": (model.hidden,),
        }
        if model.qk_norm:
            layer |= {"attn_q_norm": (model.head_dim,), "attn_k_norm": (model.head_dim,)}
        if model.arch == "gemma3":
            layer |= {"post_attention_norm": (model.hidden,), "post_ffw_norm": (model.hidden,)}
        if model.experts:
            layer |= {
                "ffn_gate_inp": (model.experts, model.hidden),
                "ffn_gate_exps": (model.experts, model.ffn, model.hidden),
                "ffn_up_exps": (model.experts, model.ffn, model.hidden),
                "ffn_down_exps": (model.experts, model.hidden, model.ffn),
            }
        else:
            layer |= {"ffn_gate": (model.ffn, model.hidden), "ffn_up": (model.ffn, model.hidden), "ffn_down": (model.hidden, model.ffn)}
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in layer.items()}
    return shapes


def add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Bytes, and words that nobody says."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.BYTE] * 256
    tokens += [f"word{i}" for i in range(size - len(tokens))]
    kinds += [gguf.TokenType.NORMAL] * (size - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * size)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def write(model: Model, path: pathlib.Path) -> None:
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, model.arch)
    writer.add_name(path.stem)
    writer.add_block_count(model.layers)
    writer.add_context_length(model.context)
    writer.add_embedding_length(model.hidden)
    writer.add_feed_forward_length(model.ffn)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_key_length(model.head_dim)
    writer.add_value_length(model.head_dim)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(model.vocab)
    if model.window:
        writer.add_sliding_window(model.window)
    if model.experts:
        writer.add_expert_count(model.experts)
        writer.add_expert_used_count(model.used)
        if model.arch == "qwen3moe":
            writer.add_expert_feed_forward_length(model.ffn)
    add_vocabulary(writer, model.vocab)
    for name, shape in tensors(model).items():
        if len(shape) == 1:
            writer.add_tensor(name, np.ones(shape, np.float32))
        else:
            # Large enough that attention is not flat.
            weights = random.standard_normal(shape, np.float32) * (2 / shape[-1] ** 0.5)
            router = name.endswith("ffn_gate_inp.weight")
            writer.add_tensor(name, weights if router else weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(f"usage: make_models.py FOLDER [{'|'.join(MODELS)}…]")
    folder, names = pathlib.Path(sys.argv[1]), sys.argv[2:] or list(MODELS)
    for name in names:
        if name not in MODELS:
            sys.exit(f"make_models.py: expected one of {', '.join(MODELS)}, got {name!r}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / f"{name}.gguf"
        if not path.exists():
            part = path.with_suffix(".part")
            write(MODELS[name], part)
            part.rename(path)
        print(path)


if __name__ == "__main__":
    main()
