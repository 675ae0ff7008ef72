#!/usr/bin/env python3
# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Helper of scripts/recorded_runs: a recorded run as a trace, and mean times of simulated runs beside it."""

import csv
import json
import pathlib
import sys


def recorded(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def means(rows):
    """Mean TTFT in seconds and mean TPOT in milliseconds of (ttft, decoding, output tokens)."""
    ttft = sum(row[0] for row in rows) / len(rows)
    tpot = [row[1] / (row[2] - 1) for row in rows if row[2] > 1]
    return ttft, 1e3 * sum(tpot) / len(tpot)


def trace(source, target):
    with open(target, "w", newline="", encoding="utf-8") as file:
        file.write("arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n")
        for i, row in enumerate(recorded(source)):
            file.write(f"{row['arrival_s']},{row['prompt_tokens']},0,{row['output_tokens']},{i}\n")


def table(source, folder):
    rows = [(float(r["first_token_s"]) - float(r["arrival_s"]), float(r["last_token_s"]) - float(r["first_token_s"]),
             int(r["output_tokens"])) for r in recorded(source)]
    real = means(rows)
    print(f"{pathlib.Path(folder).name}: recorded TTFT {real[0]:.3f} s, TPOT {real[1]:.2f} ms")
    for path in sorted(pathlib.Path(folder, "runs").glob("*.json")):
        run = json.loads(path.read_text())
        if not run["policy"].startswith("rival:"):
            continue
        columns = run["records"]["columns"]
        found = []
        for values in run["records"]["rows"]:
            record = dict(zip(columns, values))
            if record["outcome"] != "finished":
                continue
            output = record["output_tokens"]
            found.append((record["ttft_s"], (record["itl_s"] or 0) * output, output))
        if not found:
            continue
        ttft, tpot = means(found)
        lost = len(rows) - len(found)
        print(f"  {run['policy']}: TTFT {ttft:.3f} s ({100 * (ttft / real[0] - 1):+.1f} %), TPOT {tpot:.2f} ms "
              f"({100 * (tpot / real[1] - 1):+.1f} %)" + (f", {lost} not finished" if lost else ""))


if __name__ == "__main__":
    {"trace": trace, "table": table}[sys.argv[1]](sys.argv[2], sys.argv[3])
