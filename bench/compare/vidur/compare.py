"""Times `tidegate simulate --rival sarathi` and Vidur on the same requests.

Runs alternate; the table has medians. Both must finish the same number of
requests; steps and simulated seconds are in the table.
"""

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHUNK = 512
SEQUENCES = 128
HEADER = ["arrival_s", "prompt_tokens", "cached_tokens", "output_tokens", "session"]


def log_normal(draw, median, limit):
    return max(1, min(limit, int(draw.lognormvariate(0, 0.8) * median)))


def draw_trace(path, count):
    """Six requests a second, prompts of 400 and outputs of 100 tokens in the
    median; the first N rows are the same whatever the count."""
    draw = random.Random(20260101)
    now = 0.0
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(HEADER)
        for number in range(count):
            prompt, output = log_normal(draw, 400, 8192), log_normal(draw, 100, 1024)
            out.writerow([f"{now:.3f}", prompt, 0, output, number])
            now += draw.expovariate(6)


def copy_trace(source, path):
    """Without cached prefixes, which Vidur's Sarathi does not know."""
    with open(source, newline="") as file, open(path, "w", newline="") as copy:
        out = csv.writer(copy)
        out.writerow(HEADER)
        rows = csv.DictReader(file)
        if rows.fieldnames != HEADER:
            sys.exit(f"compare.py: {source}:1: expected the header {','.join(HEADER)}")
        for number, row in enumerate(rows):
            out.writerow([row["arrival_s"], row["prompt_tokens"], 0, row["output_tokens"], number])


def head(source, path, count):
    with open(source) as file, open(path, "w") as copy:
        copy.writelines(line for number, line in enumerate(file) if number <= count)


def timed(command):
    """The whole process: wall and CPU seconds, and its JSON."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        start = time.perf_counter()
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"compare.py: {command[0]} failed with exit code {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime, json.loads(text)


def tidegate_command(args, trace):
    rival = f"sarathi:sequences={SEQUENCES}:step_tokens={CHUNK}:page=16"
    return [args.tidegate, "simulate", "--json", "--policy", str(HERE / "policy.toml"), "--trace", str(trace), "--rival", rival]


def run_tidegate(args, trace):
    wall, cpu, result = timed(tidegate_command(args, trace))
    return {"wall_s": wall, "cpu_s": cpu, "requests": result["requests"], "finished": result["finished"], "span_s": result["span_s"]}


def count_log(args, trace, out):
    """Steps and lines of the event log, in a run that is not timed."""
    subprocess.run([*tidegate_command(args, trace), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    lines = steps = 0
    with open(out / "events.jsonl") as file:
        for line in file:
            lines += 1
            steps += '"action":"run_step"' in line
    return {"events": lines, "steps": steps}


def run_vidur(trace, as_shipped):
    command = [sys.executable, str(HERE / "vidur_run.py"), str(trace), "--chunk", str(CHUNK), "--sequences", str(SEQUENCES)]
    return timed(command + ["--as-shipped"] * as_shipped)[2]


def tokens(trace):
    with open(trace, newline="") as file:
        return sum(int(row["prompt_tokens"]) + int(row["output_tokens"]) for row in csv.DictReader(file))


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def row(name, who, runs, total):
    wall, cpu, one = median(runs, "wall_s"), median(runs, "cpu_s"), runs[0]
    steps = f"{one['steps']:,}" if "steps" in one else ""
    events = f"{one['events'] / cpu:,.0f}" if "events" in one else ""
    print(
        f"| {name} | {who} | {one['finished']:,} of {one['requests']:,} | {steps} | {one['span_s']:,.1f} | {wall:.2f} | {cpu:.2f} "
        f"| {one['requests'] / cpu:,.0f} | {total / cpu:,.0f} | {events} |",
        flush=True,
    )


def compare(args, name, trace, as_shipped):
    runs = {"tidegate": [], "vidur": [], "vidur, look-ups and metrics": []}
    for _ in range(args.rounds):
        runs["tidegate"].append(run_tidegate(args, trace))
        runs["vidur"].append(run_vidur(trace, False))
        if as_shipped:
            runs["vidur, look-ups and metrics"].append(run_vidur(trace, True))
    counted = count_log(args, trace, args.out / "log")
    runs["tidegate"] = [run | counted for run in runs["tidegate"]]
    total = tokens(trace)
    ratios = []
    for who, those in runs.items():
        if not those:
            continue
        row(name, who, those, total)
        if who != "tidegate":
            ours = runs["tidegate"]
            if those[0]["finished"] != ours[0]["finished"]:
                sys.exit(f"compare.py: {name}: {ours[0]['finished']} requests finish here, {those[0]['finished']} in {who}")
            ratios.append(
                f"{name}: {median(those, 'wall_s') / median(ours, 'wall_s'):.1f} times as fast as {who} by wall time, "
                f"{median(those, 'cpu_s') / median(ours, 'cpu_s'):.1f} by CPU time"
            )
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tidegate", required=True)
    parser.add_argument("--out", type=Path, default=Path("build/vidur"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--subset", type=int, default=3000, help="requests of the drawn trace in both")
    parser.add_argument("--synthetic", type=int, default=1_000_000, help="requests of the drawn trace in Tidegate alone; 0 for none")
    parser.add_argument("--trace", type=Path, help="a uniform trace to run whole in both, such as Mooncake's")
    parser.add_argument("--trace-requests", type=int, default=10**9, help="only the first N of it (all)")
    args = parser.parse_args()
    if args.rounds < 1 or args.subset < 1 or args.synthetic < 0 or args.trace_requests < 1:
        parser.error("--rounds, --subset and --trace-requests are at least 1, --synthetic at least 0")
    if args.trace and not args.trace.is_file():
        parser.error(f"--trace: no such file: {args.trace}")
    args.out.mkdir(parents=True, exist_ok=True)

    if args.trace:
        whole = args.out / "whole.csv"
        copy_trace(args.trace, whole)

    drawn = args.out / "drawn.csv"
    draw_trace(drawn, max(args.synthetic, args.subset))
    subset = args.out / "subset.csv"
    head(drawn, subset, args.subset)

    print("| trace | simulator | finished | steps | simulated s | wall s | CPU s | requests/s | tokens/s | events/s |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|---:|")
    ratios = compare(args, f"drawn, {args.subset:,}", subset, True)
    if args.trace:
        part = args.out / "trace.csv"
        head(whole, part, args.trace_requests)
        ratios += compare(args, args.trace.stem, part, False)
    if args.synthetic:
        row(f"drawn, {args.synthetic:,}", "tidegate", [run_tidegate(args, drawn)], tokens(drawn))
    print()
    print("\n".join(ratios))


if __name__ == "__main__":
    main()
