#!/usr/bin/env python3
# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Is Tidegate's word true on a GPU with a hard ceiling?

  ceiling.py --out DIR [--cases llama3_8b/flash,gemma3_12b/eager] [--seconds 540] [--seconds_per_case 60]

A case is a model of two layers with random weights and one attention back-end.
Under a ceiling of the allocator (torch.cuda.set_per_process_memory_fraction) that
lets a fused back-end come to about 256k tokens and an unfused one to about 32k:

  logits     of chunks against those of one chunk
  longest    prompt that Tidegate admits, run to its end; and longest that fits,
             found by trying
  rules      Tidegate, fixed widths (a sweep), a worst-case profile, a learned
             guard: out of memory, refused, tokens a second, interleaved rounds

Each case is a process of its own, forked after the imports. Rows are written as
they come: DIR/runs.csv, longest.csv, logits.csv, chunks.csv (measured beside
priced bytes of single chunks), overhead.csv, errors.txt. ceiling_report.py makes
tables and plots of them. TIDEGATE_BENCH_CPU=1 --tiny: the logic alone, on a CPU.
"""

import argparse
import csv
import dataclasses
import os
import statistics
import sys
import time
import traceback

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
# Asking whether there is a GPU must not open it: cases are forked afterwards.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import torch  # noqa: E402
import transformers  # noqa: E402
from ceiling_models import BACKENDS, KIND, MIB, build, filled_cache, kv_bytes, new_cache, open_device, register, set_attention  # noqa: E402
from ceiling_rules import Fixed, Learned, Refusal, WorstCaseProfile  # noqa: E402

import tidegate  # noqa: E402
import tidegate.torch  # noqa: E402

CASES = [
    ("llama3_8b", "flash"), ("llama3_8b", "eager"), ("gemma3_12b", "sdpa"), ("deepseek_v2_lite", "sdpa"), ("qwen3_30b_a3b", "flash"),
    ("qwen3_next_80b_a3b", "sdpa"), ("llama3_8b", "sdpa"), ("llama3_8b", "math"), ("qwen3_30b_a3b", "eager"), ("gemma3_12b", "eager"),
    ("deepseek_v2_lite", "eager"), ("llama3_8b", "efficient"), ("qwen3_30b_a3b", "sdpa"), ("qwen3_next_80b_a3b", "flash"),
    ("gemma3_12b", "efficient"), ("deepseek_v2_lite", "math"), ("qwen3_next_80b_a3b", "eager"), ("deepseek_v2_lite", "efficient"),
    ("gemma3_12b", "math"), ("qwen3_30b_a3b", "math"), ("qwen3_30b_a3b", "efficient"),
]  # fmt: skip
FLOOR = 256
# Share of --seconds_per_case: what is fast gets less.
SHARE = {"math": 0.6, "eager": 0.6, "efficient": 1.0, "sdpa": 1.55, "flash": 1.25}
SWEEP = (16384, 8192, 4096, 2048, 1024, 512, 256)
OOM = torch.OutOfMemoryError
COLUMNS = {
    "runs": "model,kind,backend,ceiling_bytes,base_bytes,prompt,share_of_longest,rule,round,outcome,ms,tokens_per_s,chunks,widest,narrowest,"
    "peak_allocated_bytes,peak_reserved_bytes,failed_steps,detail,device",
    "longest": "model,kind,backend,ceiling_bytes,base_bytes,admitted,admitted_ran,failed_steps,fits_floor,priced_peak_bytes,"
    "peak_allocated_bytes,peak_reserved_bytes,chunks,detail,device",
    "logits": "model,kind,backend,dtype,prompt,chunk,relative_error,same_argmax,detail,device",
    "chunks": "model,model_type,layers_measured,attn,cache,n,L,status,transient_bytes,transient_net_bytes,kv_bytes_added,price_transient_bytes,"
    "price_resident_bytes,reserved_bytes,allocated_before_bytes,device,torch,transformers",
    "overhead": "model,backend,what,count,microseconds,device",
}


class Out:
    """Rows of one kind, appended to a file that has its header once."""

    def __init__(self, folder):
        self.files = {}
        for name, columns in COLUMNS.items():
            path = f"{folder}/{name}.csv"
            new = not os.path.exists(path) or os.path.getsize(path) == 0
            file = open(path, "a", newline="")
            writer = csv.DictWriter(file, columns.split(","), extrasaction="ignore")
            if new:
                writer.writeheader()
            self.files[name] = (file, writer)

    def row(self, name, **row):
        file, writer = self.files[name]
        writer.writerow(row)
        file.flush()


class Case:
    def __init__(self, name, backend, args, out, deadline):
        self.name, self.backend, self.args, self.out, self.deadline = name, dataclasses.replace(BACKENDS[backend], prealloc=KIND[name] != "sliding window"), args, out, deadline
        self.label = {"model": name, "kind": KIND[name], "backend": backend}
        self.device = open_device()
        self.model = build(name, self.device.device, args.tiny)
        set_attention(self.model, self.backend.implementation)
        self.limit = self.backend.max_prompt // (128 if args.tiny else 1)
        self.ids = torch.randint(10, 190, (1, 2 * self.limit), device=self.device.device)
        self.label["device"] = self.device.name
        # Libraries take their workspaces before anything is measured.
        for tokens in (16, 512):
            self.step(self.ids[:, :tokens], new_cache(self.model, self.backend, tokens))
        self.device.clean()
        self.base = self.device.allocated()

    def left(self):
        return self.deadline - time.time()

    def say(self, text):
        print(f"  [{time.time() - self.args.started:5.0f} s] {self.name}/{self.backend.name}: {text}", flush=True)

    def make_gate(self, ceiling, **settings):
        attention = self.backend.implementation
        options = {"attention": "sdpa" if attention.startswith("sdpa") else attention, **self.backend.options}
        if self.args.tiny:
            settings = {"chunk_floor": 16, "chunk_quantum": 16, "chunk_max": 128, "headroom": 0, **settings}
        if self.device.device == "cpu":
            settings["engine"] = "torch@2.11.0/cuda-sm90"
        kv_cache = "prealloc" if self.backend.prealloc else "dynamic"
        return tidegate.torch.make_gate(self.model, ceiling=ceiling, kv_cache=kv_cache, engine_options=options, **settings)

    def step(self, ids, cache):
        return self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]

    # Logits.

    def logits(self):
        tokens, chunk = (96, 32) if self.args.tiny else (4096, 1024)
        for dtype in ("bf16", "fp32"):
            row = {**self.label, "dtype": dtype, "prompt": tokens, "chunk": chunk}
            if dtype == "fp32" and self.backend.name == "flash":
                continue
            try:
                if dtype == "fp32":
                    self.model.float()
                gate = self.make_gate(1 << 42, chunk_max=chunk)
                ids = self.ids[:, :tokens]
                whole = self.step(ids, new_cache(self.model, self.backend, tokens)).float()
                with tidegate.torch.prefill(gate, self.model, ids, past_key_values=new_cache(self.model, self.backend, tokens)) as done:
                    got = done.logits.float()
                error = ((got - whole).norm() / whole.norm()).item()
                row.update(relative_error=f"{error:.3g}", same_argmax=int(got.argmax() == whole.argmax()))
                self.say(f"logits {dtype}: relative error {error:.2g}")
            except Exception as error:
                row.update(detail=repr(error)[:160])
                self.say(f"logits {dtype}: {error!r}"[:300])
            self.out.row("logits", **row)
        self.model.to(torch.bfloat16)
        self.device.clean()
        self.base = self.device.allocated()

    # The ceiling, and the longest prompt.

    def set_ceiling(self):
        gate = self.make_gate(1 << 42)
        if self.device.device == "cpu":
            self.device.watch(self.model, gate)
            self.base = self.device.base
        widest = 20 if self.args.tiny else FLOOR + 64
        need = self.base + kv_bytes(self.model, self.limit) + gate.price(widest, self.limit).transient_bytes
        unit = MIB // 64 if self.args.tiny else 64 * MIB
        self.ceiling = (need + unit + unit - 1) // unit * unit
        self.label.update(ceiling_bytes=self.ceiling, base_bytes=self.base)
        self.device.set_ceiling(self.ceiling)
        self.gate = self.make_gate(self.ceiling)
        self.say(f"base {self.base / MIB:.0f} MiB, ceiling {self.ceiling / MIB:.0f} MiB")

    def fits(self, prompt, n):
        """Whether the last chunk of this prompt runs, on a cache filled up to it."""
        self.device.clean()
        cache = None
        try:
            n = min(n, prompt)
            cache = filled_cache(self.model, self.backend, prompt - n, prompt)
            self.device.reset()
            if hasattr(self.device, "live"):
                self.device.live = self.device.base
            self.step(self.ids[:, :n], cache)
            self.device.sync()
            return True
        except OOM:
            return False
        finally:
            del cache
            self.device.clean()

    def longest_that_fits(self, known, n):
        """Bisection, to within 64 tokens, upwards from a length that fitted."""
        unit = 4 if self.args.tiny else 64
        low, step = known, max(unit, known // 64 // unit * unit)
        if not self.fits(low, n):
            return 0
        high = low + step
        while high < self.ids.shape[1] and self.fits(high, n):
            low, step = high, 2 * step
            high = low + step
        while high - low > unit:
            middle = (low + high) // 2 // unit * unit
            if middle <= low:
                break
            low, high = (middle, high) if self.fits(middle, n) else (low, middle)
        return low

    def longest(self):
        """The longest prompt admitted, run in its planned chunks, each measured."""
        self.admitted = min(self.gate.quote(2 * self.ids.shape[1]).largest_prompt_that_fits, self.ids.shape[1])
        plan = self.gate.quote(self.admitted)
        row = {**self.label, "admitted": self.admitted, "chunks": len(plan.chunks), "priced_peak_bytes": plan.peak_bytes}
        self.device.clean()
        self.device.reset()
        cache = new_cache(self.model, self.backend, self.admitted)
        high = reserved = 0
        outcome = 1
        try:
            for chunk in plan.chunks:
                before = self.device.allocated()
                self.device.reset()
                self.step(self.ids[:, chunk.start : chunk.stop], cache)
                peak, after = self.device.peak(), self.device.allocated()
                high, reserved = max(high, peak), max(reserved, self.device.peak_reserved())
                price = self.gate.price(chunk.n, chunk.kv_len)
                if self.backend.prealloc:
                    before = after  # the first chunk makes the buffers too
                self.out.row(
                    "chunks", model=self.name, model_type=self.model.config.model_type, layers_measured=2, attn=self.backend.implementation,
                    cache="prealloc" if self.backend.prealloc else "dynamic", n=chunk.n, L=chunk.kv_len,
                    status="ok", transient_bytes=peak - before,
                    transient_net_bytes=peak - after, kv_bytes_added=after - before, price_transient_bytes=price.transient_bytes,
                    price_resident_bytes=price.resident_bytes, reserved_bytes=self.device.peak_reserved(), allocated_before_bytes=before,
                    device=self.device.name, torch=torch.__version__, transformers=transformers.__version__,
                )  # fmt: skip
            self.device.sync()
        except OOM as error:
            outcome = 0
            row.update(detail=f"out of memory at {chunk.stop}: {str(error)[:120]}")
        del cache
        row.update(admitted_ran=outcome, failed_steps=1 - outcome, peak_allocated_bytes=high, peak_reserved_bytes=reserved)
        known = self.admitted if outcome else self.admitted * 3 // 4
        floor = 16 if self.args.tiny else FLOOR
        row["fits_floor"] = self.longest_that_fits(known, floor)
        self.fit = row["fits_floor"] or known
        self.out.row("longest", **row)
        self.say(
            f"admitted {self.admitted} ({'ran' if outcome else 'FAILED'}), fits {row['fits_floor']} ({100 * self.admitted / self.fit:.1f} %); "
            f"peak {high / MIB:.0f} of {plan.peak_bytes / MIB:.0f} MiB priced, reserved {reserved / MIB:.0f}"
        )

    # Rules.

    def tidegate_run(self, prompt, row):
        failed = self.gate.stats()["out_of_memory"]
        cache = new_cache(self.model, self.backend, prompt)
        widths = []
        last = [0]

        def note(done, total):
            widths.append(done - last[0])
            last[0] = done

        try:
            with tidegate.torch.prefill(self.gate, self.model, self.ids[:, :prompt], past_key_values=cache, progress=note, timeout=15):
                self.device.sync()
        finally:
            row["failed_steps"] = self.gate.stats()["out_of_memory"] - failed
        return widths

    def rule_run(self, rule, prompt):
        cache = new_cache(self.model, self.backend, prompt)
        done, widths = 0, []
        rule.start(prompt)
        while done < prompt:
            n = min(rule.width(done, prompt), prompt - done)
            self.step(self.ids[:, done : done + n], cache)
            done += n
            widths.append(n)
            rule.after(n, done)
        self.device.sync()
        return widths

    def run(self, rule, prompt, number, seen):
        """One prompt under one rule; a rule that runs as another did in this round is not run again."""
        name = rule if isinstance(rule, str) else rule.name
        row = {**self.label, "prompt": prompt, "share_of_longest": f"{prompt / self.fit:.3f}", "rule": name, "round": number}
        refusal = "" if isinstance(rule, str) else rule.refuses(prompt)
        key = None if isinstance(rule, str) else (rule.runs_as, prompt, number)
        if refusal:
            row.update(outcome="refused", detail=refusal)
        elif key in seen and name != rule.runs_as:
            row.update({k: v for k, v in seen[key].items() if k not in ("rule",)}, detail=f"as {rule.runs_as}")
        else:
            self.device.clean()
            self.device.reset()
            self.device.sync()
            start = time.perf_counter()
            try:
                widths = self.tidegate_run(prompt, row) if isinstance(rule, str) else self.rule_run(rule, prompt)
                ms = 1000 * (time.perf_counter() - start)
                row.update(outcome="ok", ms=f"{ms:.1f}", tokens_per_s=f"{1000 * prompt / ms:.0f}", chunks=len(widths))
                row.update(widest=max(widths), narrowest=min(widths))
            except (tidegate.Refused, Refusal) as error:
                row.update(outcome="refused", detail=str(error)[:160])
            except TimeoutError as error:
                row.update(outcome="waited", detail=str(error)[:100])
            except OOM as error:
                row.update(outcome="oom", detail=str(error)[:100])
            row.update(peak_allocated_bytes=self.device.peak(), peak_reserved_bytes=self.device.peak_reserved())
            if key is not None:
                seen[key] = row
        self.out.row("runs", **row)
        return row

    def fixed_that_fit(self, prompt):
        """Fixed widths worth trying: none that the price puts far above the ceiling."""
        room = self.ceiling - self.base - kv_bytes(self.model, prompt)
        sweep = [w // 64 for w in SWEEP if w >= 1024] if self.args.tiny else list(SWEEP)
        near = 0
        for w in range(sweep[-1], sweep[0] + 1, sweep[-1]):
            if self.gate.price(min(w, prompt), prompt).transient_bytes <= room:
                near = w
        if near and near not in sweep:  # the widest that should fit, and one step above
            sweep += [near, near + sweep[-1]]
        return sorted((w for w in set(sweep) if self.gate.price(min(w, prompt), prompt).transient_bytes <= 1.1 * room), reverse=True)

    def sweep(self, prompt, seen):
        """Round 0: from the widest down, until two in a row are slower than the best."""
        plan_ms = 50 if self.backend.name == "sdpa" and not self.args.tiny else 0  # cuDNN's, for each new shape
        found = []
        for width in self.fixed_that_fit(prompt):
            row = self.run(Fixed(width), prompt, 0, seen)
            if row["outcome"] == "ok":
                found.append((float(row["ms"]) - plan_ms * row["chunks"], width))
                best = min(found)
                if len(found) >= 3 and found[-1][0] > 1.03 * best[0] and found[-2][0] > 1.03 * best[0]:
                    break
            if self.left() < 8:
                break
        found.sort()
        self.say(f"{prompt} tokens, fixed: " + ", ".join(f"{w}: {ms:.0f} ms" for ms, w in found))
        return [Fixed(w) for _, w in found[:3]]

    def rules(self):
        small = 64 if self.args.tiny else 1
        others = [Fixed(2048 // small), Fixed(8192 // small)]
        others += [WorstCaseProfile(w, self.model, self.backend, self.device, self.ceiling, self.base) for w in (2048 // small, 8192 // small)]
        others.append(Learned(self.model, self.device, self.ceiling, self.backend.prealloc))
        unit = 16 if self.args.tiny else 256
        started = time.time()
        for share, rounds in ((0.5, 3), (0.95, 2 if self.limit < 100_000 else 1), (0.99, 0), (1.03, 0), (0.75, 0), (0.25, 3)):
            if self.left() < 5:
                self.say(f"time is up before {share}")
                break
            prompt = int(share * self.fit) // unit * unit
            if share == 0.99:
                prompt += 37  # no multiple of anything
            seen = {}
            best = self.sweep(prompt, seen) if rounds else []
            names = {rule.name for rule in best}
            field = ["tidegate", *best, *(rule for rule in others if rule.name not in names)]
            took = []
            for number in range(rounds + 1):
                begun = time.time()
                if number > 1 and self.left() < max(took[-1:] or [0]) + 6:
                    break
                shift = number % len(field)
                for rule in field[shift:] + field[:shift]:
                    if number == 0 and rule in best:
                        continue  # the sweep was its round 0
                    if number > 0 and not isinstance(rule, str) and any(
                        seen.get((rule.runs_as, prompt, r), {}).get("outcome") == "oom" for r in range(number)
                    ):
                        continue  # it ran out of memory before
                    if self.left() < 4:
                        break
                    self.run(rule, prompt, number, seen)
                took.append(time.time() - begun)
            self.say(f"share {share}: {len(took) - 1} rounds; {time.time() - started:.0f} s so far")

    # What the adapter itself costs.

    def overhead(self):
        prompt = min(self.admitted * 3 // 4, 65536)
        gate = self.make_gate(self.ceiling, chunk_max=16 if self.args.tiny else 256)
        for what in ("gate alone", "with rollback"):
            count, start = 0, time.perf_counter()
            rollback = None
            if what == "with rollback":
                from tidegate._torch_cache import Rollback

                cache = new_cache(self.model, self.backend, 64)
                self.step(self.ids[:, :64], cache)
                rollback = Rollback(cache)
                start = time.perf_counter()
            with gate.request(prompt) as r:
                for chunk in r.chunks():
                    if rollback is not None:
                        rollback.mark(chunk.start)
                        rollback.trim()
                    chunk.done(peak_bytes=self.device.peak(), live_bytes=self.device.allocated())
                    count += 1
            us = 1e6 * (time.perf_counter() - start) / count
            self.out.row("overhead", model=self.name, backend=self.backend.name, what=what, count=count, microseconds=f"{us:.1f}", device=self.device.name)
        took = []
        for _ in range(5):
            start = time.perf_counter()
            self.gate.quote(prompt)
            took.append(1e6 * (time.perf_counter() - start))
        self.out.row("overhead", model=self.name, backend=self.backend.name, what=f"quote of {prompt} tokens", count=5, microseconds=f"{statistics.median(took):.1f}", device=self.device.name)
        self.say(f"adapter: {us:.0f} us a chunk, quote {statistics.median(took):.0f} us")

    def all(self):
        with torch.inference_mode():
            self.logits()
            self.set_ceiling()
            self.longest()
            self.overhead()
            self.rules()


def run_case(name, backend, args, deadline):
    out = Out(args.out)
    try:
        Case(name, backend, args, out, deadline).all()
    except Exception:
        text = traceback.format_exc()
        print(f"  {name}/{backend}: {text[-1500:]}", flush=True)
        with open(f"{args.out}/errors.txt", "a") as sink:
            sink.write(f"--- {name}/{backend}\n{text}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--cases", default=",".join("/".join(c) for c in CASES))
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--seconds_per_case", type=float, default=60)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    args.started = time.time()
    os.makedirs(args.out, exist_ok=True)
    register()
    done = set()
    if os.path.exists(f"{args.out}/done.txt"):  # resumed
        done = set(open(f"{args.out}/done.txt").read().split())
    for case in args.cases.split(","):
        name, backend = case.split("/")
        if case in done:
            continue
        left = args.seconds - (time.time() - args.started)
        if left < 25:
            print(f"time is up before {case}")
            break
        print(f"{case} ({left:.0f} s left)", flush=True)
        deadline = time.time() + min(args.seconds_per_case * SHARE[backend], left - 10)
        child = os.fork()
        if child == 0:
            run_case(name, backend, args, deadline)
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(f"{case}: ended with status {status}", flush=True)
        with open(f"{args.out}/done.txt", "a") as file:
            file.write(case + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
