#!/usr/bin/env python3
"""Makes a time profile (docs/simulation.md) of public timing tables.

  scripts/time_profile.py llmservingsim DIR/rtx4090_llama3.1-8b_tp1 --layers 32 --out rtx4090.csv
  scripts/time_profile.py vidur DIR --device a100 --model Llama-2-70b-hf --tp 2 --layers 80 --out a100.csv
  scripts/time_profile.py splitwise DIR/perf_model.csv --model llama2-70b --hardware h100-80gb --tp 8 --out h100.csv
  scripts/time_profile.py chunks DIR/throughput_chunks_h100.csv --model llama3_8b --attn flash_lr --times 16 --out h100.csv

llmservingsim   PREFIX_attention.csv, PREFIX_dense.csv and PREFIX_per_sequence.csv of LLMServingSim's profiler: one layer,
                microseconds. The profile has every step: chunks, decodes, both.
vidur           attention_prefill_*.csv, attention_decode_*.csv of one layer and mlp_by_tokens.csv, milliseconds. No head.
splitwise       whole prompts (prompt_time) and whole decode steps (token_time) of a model, milliseconds. Only prompts
                without a cached prefix were measured; what lies beyond is extrapolated.
chunks          whole chunks: columns model, attn, n, L, gpu_ms (or --column), milliseconds. --times N multiplies, where the
                measured model had fewer layers than the one that is meant; what does not grow with layers (the head)
                is then counted too often.

Rows are written as they were measured; of repeated ones the reader takes the median.
"""

import argparse
import collections
import csv
import glob
import os
import sys

HEADER = ["part", "n", "kv_len", "decodes", "decode_kv_len", "time_us"]


def fail(message):
    sys.exit(f"time_profile.py: {message}")


def rows_of(path, columns):
    """The rows of a CSV as dictionaries; a missing file or column ends the program."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lacking = [c for c in columns if c not in (reader.fieldnames or [])]
            if lacking:
                fail(f"{path}: expected column {lacking[0]}, found {', '.join(reader.fieldnames or ['nothing'])}")
            return list(reader)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except (UnicodeDecodeError, csv.Error) as error:
        fail(f"{path}: expected a CSV: {error}")


def number(row, column, path):
    try:
        return float(row[column])
    except ValueError:
        fail(f"{path}: column {column}: expected a number, got \"{row[column]}\"")


def step(part, n, before, decodes, decode_kv_len, us):
    """One row of attention or of a whole step; before: tokens in the cache."""
    n, before, decodes, decode_kv_len = (round(x) for x in (n, before, decodes, decode_kv_len))
    return [part, n or "", n + before if n else "", decodes or "", decode_kv_len if decodes else "", us]


def llmservingsim(args):
    linear = collections.defaultdict(float)
    path = f"{args.source}_dense.csv"
    for row in rows_of(path, ["layer", "tokens", "time_us"]):
        times = {"embedding": 1, "final_layernorm": 1, "layernorm": 2 * args.layers}.get(row["layer"], args.layers)
        linear[round(number(row, "tokens", path))] += times * number(row, "time_us", path)
    heads = collections.defaultdict(float)
    path = f"{args.source}_per_sequence.csv"
    for row in rows_of(path, ["layer", "sequences", "time_us"]):
        heads[round(number(row, "sequences", path))] += number(row, "time_us", path)
    out = [["tokens", n, "", "", "", us] for n, us in sorted(linear.items())]
    out += [["sequences", n, "", "", "", us] for n, us in sorted(heads.items())]
    path = f"{args.source}_attention.csv"
    columns = ["prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"]
    for row in rows_of(path, columns):
        n, before, decodes, kv_len, us = (number(row, column, path) for column in columns)
        out.append(step("attention", n, before, decodes, kv_len, args.layers * us))
    return out


def only(pattern):
    found = sorted(glob.glob(pattern))
    if len(found) != 1:
        fail(f"{pattern}: expected one file, found {len(found)}")
    return found[0]


def vidur(args):
    path = os.path.join(args.source, "mlp_by_tokens.csv")
    # Once a layer, every one of them; the embedding once a step.
    layer = ["input_layernorm_ms", "attn_pre_proj_ms", "attn_rope_ms", "attn_post_proj_ms", "post_attention_layernorm_ms", "mlp_up_proj_ms", "mlp_act_ms",
             "mlp_down_proj_ms", "add_ms"]
    out = []
    for row in rows_of(path, ["device", "model", "tp", "tokens", "emb_ms", *layer]):
        if (row["device"], row["model"], row["tp"]) != (args.device, args.model, str(args.tp)):
            continue
        # A time below the profiler's resolution is written as 0.
        us = 1000 * (args.layers * sum(number(row, c, path) for c in layer) + number(row, "emb_ms", path))
        out.append(["tokens", round(number(row, "tokens", path)), "", "", "", us])
    if not out:
        fail(f"{path}: no row of device {args.device}, model {args.model}, tp {args.tp}")
    path = only(os.path.join(args.source, "attention_prefill_*.csv"))
    for row in rows_of(path, ["chunk_tokens", "kv_cache_tokens", "prefill_ms_median"]):
        us = 1000 * args.layers * number(row, "prefill_ms_median", path)
        out.append(step("attention", number(row, "chunk_tokens", path), number(row, "kv_cache_tokens", path), 0, 0, us))
    path = only(os.path.join(args.source, "attention_decode_*.csv"))
    for row in rows_of(path, ["batch", "kv_cache_tokens", "decode_ms_median"]):
        us = 1000 * args.layers * number(row, "decode_ms_median", path)
        out.append(step("attention", 0, 0, number(row, "batch", path), number(row, "kv_cache_tokens", path) + 1, us))
    return out


def splitwise(args):
    out = []
    columns = ["model", "hardware", "prompt_size", "batch_size", "prompt_time", "token_time", "tensor_parallel"]
    for row in rows_of(args.source, columns):
        if (row["model"], row["hardware"], row["tensor_parallel"]) != (args.model, args.hardware, str(args.tp)):
            continue
        prompt, batch = number(row, "prompt_size", args.source), number(row, "batch_size", args.source)
        if batch == 1:
            out.append(step("step", prompt, 0, 0, 0, 1000 * number(row, "prompt_time", args.source)))
        out.append(step("step", 0, 0, batch, prompt, 1000 * number(row, "token_time", args.source)))
    if not out:
        fail(f"{args.source}: no row of model {args.model}, hardware {args.hardware}, tensor_parallel {args.tp}")
    return out


def chunks(args):
    out = []
    for row in rows_of(args.source, ["model", "attn", "n", "L", args.column]):
        if row["model"] != args.model or row["attn"] != args.attn or not row[args.column]:
            continue
        if args.allocator and row.get("allocator") != args.allocator:
            continue
        n = number(row, "n", args.source)
        out.append(step("step", n, number(row, "L", args.source) - n, 0, 0, args.times * 1000 * number(row, args.column, args.source)))
    if not out:
        fail(f"{args.source}: no row of model {args.model}, attn {args.attn} that has {args.column}")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")

    def add(name, make, source):
        kind = kinds.add_parser(name)
        kind.set_defaults(make=make)
        kind.add_argument("source", metavar=source)
        kind.add_argument("--out", required=True, metavar="FILE")
        return kind

    kind = add("llmservingsim", llmservingsim, "PREFIX")
    kind.add_argument("--layers", type=int, required=True)
    kind = add("vidur", vidur, "DIR")
    kind.add_argument("--layers", type=int, required=True)
    kind.add_argument("--device", required=True)
    kind.add_argument("--model", required=True)
    kind.add_argument("--tp", type=int, default=1)
    kind = add("splitwise", splitwise, "FILE")
    kind.add_argument("--model", required=True)
    kind.add_argument("--hardware", required=True)
    kind.add_argument("--tp", type=int, required=True)
    kind = add("chunks", chunks, "FILE")
    kind.add_argument("--model", required=True)
    kind.add_argument("--attn", required=True)
    kind.add_argument("--allocator", default="default", help="rows of this allocator only; \"\": all")
    kind.add_argument("--column", default="gpu_ms")
    kind.add_argument("--times", type=float, default=1)
    args = parser.parse_args()

    out = [row[:-1] + [f"{row[-1]:.6g}"] for row in args.make(args) if row[-1] > 0]
    try:
        with open(args.out, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows(out)
    except OSError as error:
        fail(f"{args.out}: {error.strerror}")
    print(f"{args.out}: {len(out)} rows")


if __name__ == "__main__":
    main()
