"""Records of a label task per second: ours, the bare batched forward pass, and one prompt after the other.

    python -m benchmarks.evaluation DATA [MODEL_FOLDER]     DATA: a copy of SentiBench; default: models/student_base

The same prompts, with shared demonstrations, in one run, in turn. "Loop" asks `generate` for two tokens of one prompt
at a time, as the papers' evaluator does. "Bare" is one forward pass over padded batches of whole prompts. "Ours" is
what `python -m sentidistill.commands.evaluate` does, with an empty cache.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.timing import faster, in_turn, rates
from sentidistill import config
from sentidistill.evaluation import sentibench
from sentidistill.evaluation.questions import limited, questions
from sentidistill.evaluation.tasks import known
from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.packing import shared_prefix
from sentidistill.inference.requests import Reader, Request
from sentidistill.inference.store import Cache
from sentidistill.sources import models

TASKS = ("twitter", "tweeteval", "intimacy")
RECORDS, ROUNDS, BATCH = 96, 3, 16


def last_logits(model, rows: list[list[int]], batch: int) -> None:
    """The bare forward pass over padded batches of whole prompts."""
    import torch

    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            own, mask, positions = shared_prefix.own_parts(rows[start : start + batch], 0, 0, model.device)
            model(input_ids=own, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=1)


def measure(name: str, data: Path, folder: Path) -> None:
    import torch

    runtime = config.load().runtime
    model, tokenizer = models.load_causal_lm(folder, Path(), runtime), models.load_tokenizer(folder, Path())
    task = known(name)
    records, train = (sentibench.load(data, name, split) for split in ("test", "train"))
    chosen = [records[place] for place in limited(task, records, RECORDS, seed=0)]
    asked = questions(task, chosen, train, shots=4, demonstrations="shared", max_chars=600, seed=42)
    requests = [Request(one.prompt, choices=one.choices) for one in asked]
    reader = Reader("benchmark", "transcript", 8000, lambda: tokenizer)
    ids = sorted((reader.job(request).prompt_ids for request in requests), key=len)
    engine = TransformersEngine(model, tokenizer, rows_per_batch=runtime.concurrency, batch_tokens=runtime.batch_tokens)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as name:
            teacher = CachedTeacher(reader, lambda: engine, Cache(Path(name, "cache")))
            assert all(answer.error is None for answer in teacher.generate(requests, "ours"))

    def loop() -> None:
        with torch.inference_mode():
            for row in ids:
                model.generate(torch.tensor([row]), max_new_tokens=2, do_sample=False, pad_token_id=0)

    calls = {"ours": ours, "bare": lambda: last_logits(model, ids, BATCH), "loop": loop}
    ours()
    seconds, tokens = in_turn(ROUNDS, calls), sum(map(len, ids)) / len(ids)
    print(f"{name}, {folder}, {len(ids)} prompts of {tokens:.0f} tokens: {rates(seconds, len(ids))} records/s")
    for other in ("bare", "loop"):
        print(f"  {faster(seconds, 'ours', other)}")


def main(data: str, folder: str = "models/student_base") -> None:
    for task in TASKS:
        measure(task, Path(data), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
