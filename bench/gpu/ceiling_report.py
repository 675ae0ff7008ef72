#!/usr/bin/env python3
# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Makes summary.md and the plots of bench/results/h100 from the rows of ceiling.py.

  ceiling_report.py bench/results/h100
"""

import collections
import csv
import statistics
import sys

GIB = 1 << 30
RULES = ["tidegate", "fixed 2048", "fixed 8192", "profile 2048", "profile 8192", "learned (oMLX)"]


def read(folder, name):
    try:
        with open(f"{folder}/{name}.csv", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def case(row):
    return row["model"], row["backend"]


def by_case(rows):
    found = collections.OrderedDict()
    for row in rows:
        found.setdefault(case(row), []).append(row)
    return found


def speeds(rows, prompt, rule):
    """Tokens a second of the rounds after the first; of the first where there is no other."""
    ok = [r for r in rows if r["prompt"] == prompt and r["rule"] == rule and r["outcome"] == "ok"]
    warm = [float(r["tokens_per_s"]) for r in ok if int(r["round"]) > 0]
    return warm, [float(r["tokens_per_s"]) for r in ok if int(r["round"]) == 0]


def median(values):
    return statistics.median(values) if values else None


def shares(rows):
    return sorted({(float(r["share_of_longest"]), r["prompt"]) for r in rows})


def throughput(rows):
    """One entry for each prompt that was run in rounds: Tidegate against the best fixed width."""
    result = []
    for share, prompt in shares(rows):
        warm, _ = speeds(rows, prompt, "tidegate")
        fixed = {}
        for rule in {r["rule"] for r in rows if r["rule"].startswith("fixed")}:
            values, _ = speeds(rows, prompt, rule)
            if values:
                fixed[rule] = values
        if not warm or not fixed:
            continue
        best = max(fixed, key=lambda rule: median(fixed[rule]))
        spread = [100 * (max(v) - min(v)) / median(v) for v in (warm, fixed[best])]
        result.append(
            {
                "share": share, "prompt": int(prompt), "tidegate": median(warm), "best": best, "best_speed": median(fixed[best]),
                "ratio": median(warm) / median(fixed[best]), "rounds": min(len(warm), len(fixed[best])), "spread": spread, "fixed": fixed,
                "others": {r: median(speeds(rows, prompt, r)[0]) for r in RULES[1:]},
            }
        )  # fmt: skip
    return result


def outcomes(rows, rule, longest):
    """(prompts, out of memory, refused though possible, impossible ones let through)."""
    last = {}
    for row in rows:
        if row["rule"] == rule:
            worst = last.get(row["prompt"])
            if worst is None or row["outcome"] == "oom":
                last[row["prompt"]] = row["outcome"]
    oom = sum(o == "oom" for o in last.values())
    refused = sum(o == "refused" and int(p) <= longest for p, o in last.items())
    return len(last), oom, refused


def number(value, form="{:,.0f}"):
    return "–" if value is None else form.format(value)


def summary(folder):
    runs, longest = by_case(read(folder, "runs")), by_case(read(folder, "longest"))
    logits, chunks, overhead = read(folder, "logits"), read(folder, "chunks"), read(folder, "overhead")
    out = ["# One H100 under a hard ceiling: summary", "", "Made by `bench/gpu/ceiling_report.py` from the CSV files beside it; README.md says what was run.", ""]
    device = next((r["device"] for rows in longest.values() for r in rows), "")
    out += [f"Device: {device}.", "", "## Longest prompt", ""]
    out += [
        "*Fits* was found by trying: bisection to 64 tokens, last chunk 256 wide (Tidegate's floor). *Peak* is allocated bytes above the weights.",
        "",
        "| model | kind | back-end | ceiling above weights, GiB | admitted | ran | fits | admitted / fits | priced / measured peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (model, backend), rows in longest.items():
        r = rows[-1]
        base, fits = int(r["base_bytes"]), int(r["fits_floor"] or 0)
        peak = int(r["peak_allocated_bytes"]) - base
        share = f"{int(r['admitted']) / fits:.1%}" if fits else "–"
        out.append(
            f"| {model} | {r['kind']} | {backend} | {(int(r['ceiling_bytes']) - base) / GIB:.2f} | {int(r['admitted']):,} | "
            f"{'yes' if r['admitted_ran'] == '1' else '**no**'} | {fits:,} | {share} | {(int(r['priced_peak_bytes']) - base) / max(1, peak):.3f} |"
        )
    out += ["", "## Throughput", ""]
    out += [
        "Tokens a second, medians of interleaved rounds (the first round, which builds cuDNN's plans, is left out). *Best fixed* is the fastest width of a sweep "
        "under the same ceiling that does not run out of memory at this prompt. *Spread*: (max - min) / median, of Tidegate and of the best fixed.",
        "",
        "| model | back-end | prompt | of longest | Tidegate | best fixed | its width | Tidegate / best | rounds | spread | fixed 2048 | fixed 8192 | learned |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    ratios = []
    for (model, backend), rows in runs.items():
        for t in throughput(rows):
            ratios.append(t["ratio"])
            mark = "" if t["ratio"] >= 0.98 else "**"
            out.append(
                f"| {model} | {backend} | {t['prompt']:,} | {t['share']:.2f} | {t['tidegate']:,.0f} | {t['best_speed']:,.0f} | {t['best'].split()[1]} | "
                f"{mark}{t['ratio']:.3f}{mark} | {t['rounds']} | {t['spread'][0]:.1f} %, {t['spread'][1]:.1f} % | {number(t['others']['fixed 2048'])} | "
                f"{number(t['others']['fixed 8192'])} | {number(t['others']['learned (oMLX)'])} |"
            )
    if ratios:
        good = sum(r >= 0.98 for r in ratios)
        out += ["", f"{good} of {len(ratios)} at 0.98 or more; median {statistics.median(ratios):.3f}, lowest {min(ratios):.3f}."]
    out += ["", "## Rules", ""]
    out += [
        "Prompts of 0.25 to 0.99 of the longest that fits, and one of 1.03, which only a refusal gets right. *OOM*: prompts that ran out of memory. "
        "*Refused*: refused though they fit.",
        "",
        "| model | back-end | prompts | " + " | ".join(f"{rule}: OOM, refused" for rule in RULES) + " |",
        "|---|---|---|" + "---|" * len(RULES),
    ]
    total = collections.Counter()
    failed = 0
    for (model, backend), rows in runs.items():
        fits = int(longest[model, backend][-1]["fits_floor"] or 0) if (model, backend) in longest else 0
        cells, most = [], 0
        failed += sum(int(r["failed_steps"] or 0) for r in rows if r["rule"] == "tidegate")
        for rule in RULES:
            prompts, oom, refused = outcomes(rows, rule, fits)
            most = max(most, prompts)
            total[rule, "oom"] += oom
            total[rule, "refused"] += refused
            total[rule, "prompts"] += prompts
            cells.append(f"{oom}, {refused}")
        out.append(f"| {model} | {backend} | {most} | " + " | ".join(cells) + " |")
    out.append("| **all** | | | " + " | ".join(f"**{total[r, 'oom']}, {total[r, 'refused']}** of {total[r, 'prompts']}" for r in RULES) + " |")
    runs_of_tidegate = sum(r["rule"] == "tidegate" and r["outcome"] != "refused" for rows in runs.values() for r in rows)
    out += ["", f"Tidegate ran {runs_of_tidegate} prompts; {failed} single steps of them ran out of memory and were tried again narrower."]
    out += ["", "## Logits", ""]
    out += ["Chunks of 1024 through the gate against one chunk of 4096, last position, ‖a − b‖ / ‖b‖.", ""]
    out += ["| model | back-end | bf16 | fp32 |", "|---|---|---|---|"]
    table = collections.OrderedDict()
    for r in logits:
        table.setdefault(case(r), {})[r["dtype"]] = r["relative_error"] or "does not run"
    for (model, backend), values in table.items():
        out.append(f"| {model} | {backend} | {values.get('bf16', '–')} | {values.get('fp32', '–')} |")
    out += ["", "## Prices of single chunks", ""]
    out += [
        "Chunks of the longest admitted prompts. *Ratio*: priced / measured transient. *Under*: measured more than 2 MiB above the price.",
        "",
        "| model | back-end | chunks | under | ratio p50 | p95 | max |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = collections.OrderedDict()
    for r in chunks:
        if r["status"] == "ok":
            groups.setdefault((r["model"], r["attn"]), []).append(r)
    for (model, attn), rows in groups.items():
        values, under = [], 0
        for r in rows:
            # What the step keeps is resident; peak and live are of one counter.
            measured = int(r["transient_bytes"]) - int(r["price_resident_bytes"])
            price = int(r["price_transient_bytes"])
            under += price + (2 << 20) < measured
            if measured >= 16 << 20:
                values.append(price / measured)
        values.sort()
        if values:
            p95 = values[min(len(values) - 1, int(0.95 * len(values)))]
            out.append(f"| {model} | {attn} | {len(rows)} | {under} | {statistics.median(values):.4f} | {p95:.4f} | {values[-1]:.4f} |")
    out += ["", "## The adapter's own cost", "", "| model | back-end | what | times | microseconds each |", "|---|---|---|---|---|"]
    for r in overhead:
        out.append(f"| {r['model']} | {r['backend']} | {r['what']} | {r['count']} | {float(r['microseconds']):,.0f} |")
    return "\n".join(out) + "\n", runs, longest


def plots(folder, runs, longest):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "tidegate", "axes.spines.top": False, "axes.spines.right": False})
    blue, grey, red = "#1f5fa8", "#9aa5b1", "#b3372b"

    # Throughput over the fixed width, with Tidegate as a line.
    entries = [(c, t) for c, rows in runs.items() for t in throughput(rows)]
    entries = [(c, t) for c, t in entries if abs(t["share"] - 0.5) < 0.02]
    if entries:
        columns = 4
        height = (len(entries) + columns - 1) // columns
        figure, axes = plt.subplots(height, columns, figsize=(11, 2.3 * height), squeeze=False)
        for axis in axes.flat[len(entries) :]:
            axis.axis("off")
        for axis, ((model, backend), t) in zip(axes.flat, entries, strict=False):
            points = {}
            for rule in {r["rule"] for r in runs[model, backend] if r["rule"].startswith("fixed")}:
                warm, cold = speeds(runs[model, backend], str(t["prompt"]), rule)
                if warm or cold:
                    points[int(rule.split()[1])] = (median(warm or cold), bool(warm))
            widths = sorted(points)
            axis.plot(widths, [points[w][0] / 1000 for w in widths], color=grey, lw=1, zorder=1)
            for w in widths:
                axis.plot(w, points[w][0] / 1000, "o", ms=4, color=grey, mfc=grey if points[w][1] else "white", zorder=2)
            axis.axhline(t["tidegate"] / 1000, color=blue, lw=1.5)
            axis.set_xscale("log", base=2)
            axis.set_ylim(0, 1.12 * max(t["tidegate"], *(p[0] for p in points.values())) / 1000)
            axis.set_title(f"{model}, {backend}\n{t['prompt']:,} tokens", fontsize=8)
        for axis in axes[:, 0]:
            axis.set_ylabel("1000 tokens/s")
        for axis in axes[-1]:
            axis.set_xlabel("fixed width")
        figure.suptitle("Tidegate (line) against fixed widths (hollow: first round only)", fontsize=10)
        figure.tight_layout()
        figure.savefig(f"{folder}/throughput.svg", metadata={"Date": None})
        plt.close(figure)

    # What becomes of a prompt, by its share of the longest that fits.
    cases = list(runs)
    figure, axes = plt.subplots(1, len(RULES), figsize=(12, 0.33 * len(cases) + 1.4), sharey=True)
    colours = {"ok": blue, "refused": grey, "oom": red}
    marks = {"ok": "o", "refused": "s", "oom": "X"}
    for axis, rule in zip(axes, RULES, strict=True):
        for y, one in enumerate(cases):
            worst = {}
            for r in runs[one]:
                if r["rule"] == rule and (r["outcome"] == "oom" or r["share_of_longest"] not in worst):
                    worst[r["share_of_longest"]] = r["outcome"]
            for share, outcome in worst.items():
                axis.plot(float(share), y, marks.get(outcome, "D"), ms=5.5, color=colours.get(outcome, "black"), mfc="white" if outcome == "refused" else None)
        axis.axvline(1, color="black", lw=0.6)
        axis.set_title(rule, fontsize=9)
        axis.set_xlim(0.15, 1.12)
        axis.set_xticks([0.25, 0.5, 0.75, 1])
    axes[0].set_yticks(range(len(cases)), [f"{m}, {b}" for m, b in cases], fontsize=8)
    axes[0].invert_yaxis()
    figure.suptitle("Prompt over the longest that fits: ran (blue dot), refused (grey square), out of memory (red cross)", fontsize=10)
    figure.tight_layout()
    figure.savefig(f"{folder}/outcomes.svg", metadata={"Date": None})
    plt.close(figure)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    text, runs, longest = summary(folder)
    with open(f"{folder}/summary.md", "w") as file:
        file.write(text)
    plots(folder, runs, longest)


if __name__ == "__main__":
    main()
