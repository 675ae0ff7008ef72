# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""vLLM with steps that fit the device: python vllm_scheduler.py MODEL POLICY.toml

With --shadow vLLM decides as ever, and what would have differed is printed.
"""

import argparse

from vllm import LLM, SamplingParams


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model")
    arguments.add_argument("policy")
    arguments.add_argument("--shadow", action="store_true")
    arguments.add_argument("--prompt", default="The tide comes in")
    given = arguments.parse_args()
    llm = LLM(
        given.model,
        scheduler_cls="tidegate.vllm.ShadowScheduler" if given.shadow else "tidegate.vllm.Scheduler",
        additional_config={"tidegate": {"policy": given.policy, "log": "tidegate.jsonl"}},
    )
    for answer in llm.generate([given.prompt], SamplingParams(max_tokens=32)):
        end = answer.outputs[0]
        # Of a refusal: "error", and the arithmetic.
        print(end.finish_reason, end.stop_reason or end.text)


if __name__ == "__main__":
    main()
