# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""An order policy in Python, beside first come, first served.

    python examples/python/deadline.py policy_files/h100-80gb.toml trace.csv
"""

import sys

import tidegate
from tidegate.plugins import Moment, Order, Request


class Deadline(Order):
    """Whose first token is due first is served first; a long prompt is given more time."""

    version = "1.0"

    def __init__(self, slack_s: float, per_1000_tokens_s: float):
        self.slack_s = slack_s
        self.per_1000_tokens_s = per_1000_tokens_s

    def key(self, request: Request, moment: Moment) -> float:
        allowed_s = self.slack_s + self.per_1000_tokens_s * request.prompt_tokens / 1000
        return request.arrived_ns / 1e9 + allowed_s


policy, trace = sys.argv[1:]
for plugins in ([], [Deadline(slack_s=2, per_1000_tokens_s=0.5)]):
    result = tidegate.simulate(policy, trace, plugins=plugins)
    print("deadline" if plugins else "policy's", f"order: TTFT {result['ttft_p50_s']:.2f} s, 99th percentile {result['ttft_p99_s']:.2f} s")
    for report in result.get("plugins", []):
        print(f"{report['calls']:,} questions, {report['faults']} faults")
