#!/usr/bin/env python3
# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of `tidegate compare --out`: one a file, a row a policy."""

import json
import pathlib
import sys

GIB = 1 << 30


def cell(run):
    if run is None or "error" in run:
        return "-"
    lost = run["requests"] - run["finished"]
    text = f"{run['tokens_per_s']:,.0f}"
    if lost:
        text += f" -{lost}"
    if run["out_of_memory"]:
        text += f" **{run['out_of_memory']}**"
    return text


def table(path):
    runs = json.loads(pathlib.Path(path).read_text())["runs"]
    columns, policies, found = [], [], {}
    for run in runs:
        column = (pathlib.Path(run["trace"]).stem, run["ceiling_bytes"] // GIB)
        policy = run["policy"]
        policy = policy[6:] if policy.startswith("rival:") else "**tidegate**"
        if column not in columns:
            columns.append(column)
        if policy not in policies:
            policies.append(policy)
        found[policy, column] = run
    print("| policy |" + "".join(f" {t} {c} |" for t, c in columns))
    print("|---|" + "---|" * len(columns))
    for policy in policies:
        cells = (cell(found.get((policy, column))) for column in columns)
        print(f"| {policy} |" + "".join(f" {text} |" for text in cells))
    print()


for name in sys.argv[1:]:
    table(name)
