#!/usr/bin/env python3
# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Helper of scripts/convoy: its two traces, and the table of what came of the short requests."""

import json
import math
import pathlib
import random
import sys

LONG = 1_000_000


def traces(folder):
    """600 short prompts, one a second and at random, and the same with the long one ten seconds after the first."""
    draw = random.Random(1)
    rows, at = [], 0.0
    for _ in range(600):
        rows.append((at, draw.randint(200, 2000), draw.randint(20, 200)))
        at += draw.expovariate(1.0)
    for name, more in (("short", []), ("convoy", [(10.0, LONG, 100)])):
        lines = ["arrival_s,prompt_tokens,cached_tokens,output_tokens,session"]
        for i, (arrival, prompt, output) in enumerate(sorted(rows + more)):
            lines.append(f"{arrival:.6f},{prompt},0,{output},{i}")
        pathlib.Path(folder, f"{name}.csv").write_text("\n".join(lines) + "\n")


def nearest_rank(values, percent):
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1] if values else math.nan


def table(folder):
    found, order = {}, []
    for path in sorted(pathlib.Path(folder, "runs").glob("*.json")):
        run = json.loads(path.read_text())
        name = run["policy"]
        name = name[6:].split(":")[0] if name.startswith("rival:") else f"tidegate, {pathlib.Path(name).stem}"
        if name not in order:
            order.append(name)
        records = [dict(zip(run["records"]["columns"], values)) for values in run["records"]["rows"]]
        short = [r["ttft_s"] for r in records if r["prompt_tokens"] < LONG and r["outcome"] == "finished"]
        long = [r for r in records if r["prompt_tokens"] >= LONG]
        found[name, pathlib.Path(run["trace"]).stem] = (short, long, run["out_of_memory"])
    print("| policy | short: TTFT p50 | p99 | p99 without the long one | not finished | long: TTFT | out of memory |")
    print("|---|---|---|---|---|---|---|")
    for name in order:
        short, long, failed = found[name, "convoy"]
        ttft = f"{long[0]['ttft_s']:,.0f} s" if long[0]["outcome"] == "finished" else long[0]["refusal"]
        print(f"| {name} | {nearest_rank(short, 50):.2f} s | {nearest_rank(short, 99):.2f} s | "
              f"{nearest_rank(found[name, 'short'][0], 99):.2f} s | {600 - len(short)} | {ttft} | {failed} |")


if __name__ == "__main__":
    {"traces": traces, "table": table}[sys.argv[1]](sys.argv[2])
