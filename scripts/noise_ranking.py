#!/usr/bin/env python3
# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Helper of scripts/noise_ranking: noisy profiles, and rankings by goodput of the first folder beside the others'."""

import csv
import json
import pathlib
import random
import sys

# Goodputs closer than this are a tie: their order means nothing.
TIE = 0.02


def noise(folder, draws):
    with open(pathlib.Path(folder, "draw0.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for draw in range(1, int(draws) + 1):
        randomly = random.Random(draw)
        with open(pathlib.Path(folder, f"draw{draw}.csv"), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            for row in rows:
                us = float(row["time_us"]) * randomly.uniform(0.8, 1.2)
                writer.writerow({**row, "time_us": f"{us:.3f}"})


def goodputs(folder):
    traces = {}
    for run in json.loads(pathlib.Path(folder, "compare.json").read_text())["runs"]:
        name = run["policy"]
        name = name[6:] if name.startswith("rival:") else "tidegate"
        traces.setdefault(pathlib.Path(run["trace"]).stem, {})[name] = run["goodput_per_s"]
    return traces


def table(*folders):
    print("| trace | pairs that differ by 2 % | reversed, each draw | by 10 % | reversed, each draw | Tidegate's rank, measured and each draw |")
    print("|---|---|---|---|---|---|")
    for trace, values in goodputs(folders[0]).items():
        names = sorted(values, key=lambda name: -values[name])
        pairs, reversals = {}, {}
        for far in (TIE, 0.1):
            pairs[far] = [(a, b) for i, a in enumerate(names) for b in names[i + 1:] if values[a] > values[b] * (1 + far)]
            reversals[far] = []
        ranks = [1 + sum(v > values["tidegate"] * (1 + TIE) for v in values.values())]
        for folder in folders[1:]:
            noisy = goodputs(folder)[trace]
            for far, of in pairs.items():
                reversals[far].append(sum(noisy[b] > noisy[a] * (1 + TIE) for a, b in of))
            ranks.append(1 + sum(v > noisy["tidegate"] * (1 + TIE) for v in noisy.values()))
        counts = " | ".join(f"{len(pairs[far])} | {', '.join(map(str, reversals[far]))}" for far in pairs)
        print(f"| {trace} | {counts} | {', '.join(map(str, ranks))} |")


if __name__ == "__main__":
    {"noise": noise, "table": table}[sys.argv[1]](*sys.argv[2:])
