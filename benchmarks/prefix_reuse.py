"""Prefix reuse of the transformers engine: label scores with it, without it, and by one plain forward a prompt.

The prompts are the benchmark's own: an instruction, demonstrations, a text. Run after `make repro`:

    python -m benchmarks.prefix_reuse [MODEL] [PROMPTS]      MODEL: student_base (default) or teacher

Prints seconds for each way, in one process, and ratios; the plain forward is the reference.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from sentidistill import config, models, records
from sentidistill.benchmark.prompting import draw_sets, task_prompt
from sentidistill.benchmark.tasks import LABELS, Example
from sentidistill.prompts import render
from sentidistill.teacher import transformers as engine
from sentidistill.teacher.base import Request


def timed(call: Callable[[], list]) -> tuple[float, list]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def main(role: str = "student_base", number: str = "60") -> None:
    import torch

    params = config.load()
    folder = Path("models", role)
    model, tokenizer = models.load_causal_lm(folder, Path(), params.runtime), models.load_tokenizer(folder, Path())
    train = records.read_jsonl("data/benchmark/tweet/train.jsonl", Example)
    texts = records.read_jsonl("data/benchmark/tweet/validation.jsonl", Example)[: int(number)]
    (shown,) = draw_sets(train, 2, 1, "tweet", 0)
    requests = [Request(task_prompt("tweet", one.text, shown), choices=LABELS) for one in texts]
    teacher = engine.TransformersTeacher(
        model,
        tokenizer,
        identity="benchmark",
        prompt_format="transcript",
        max_prompt_tokens=4096,
        rows_per_batch=params.runtime.rows_per_batch,
        batch_tokens=params.runtime.batch_tokens,
    )

    def plain() -> list:
        """The published way: one prompt at a time, the first token of each label."""
        ids = [render(request.prompt, tokenizer, "transcript").prompt_ids for request in requests]
        with torch.inference_mode():
            return [model(torch.tensor([row], device=model.device), logits_to_keep=1).logits for row in ids]

    teacher.generate(requests[:4])
    with_reuse, answers = timed(lambda: teacher.generate(requests))
    kept, engine.MIN_SHARED_TOKENS = engine.MIN_SHARED_TOKENS, 10**9
    without_reuse, same = timed(lambda: teacher.generate(requests))
    engine.MIN_SHARED_TOKENS = kept
    one_by_one, _ = timed(plain)
    largest = max(
        abs(a - b) for one, other in zip(answers, same) for a, b in zip(one.choice_logprobs, other.choice_logprobs)
    )
    tokens = sum(answer.prompt_tokens for answer in answers)
    print(f"{role}: {len(requests)} prompts, {tokens} tokens, {torch.get_num_threads()} threads")
    for name, seconds in (("prefix reuse", with_reuse), ("batched", without_reuse), ("one by one", one_by_one)):
        print(f"{name:>14}: {seconds:7.2f} s, {one_by_one / seconds:5.2f} x one by one")
    print(f"largest difference of a log-probability with and without reuse: {largest:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
