"""Scored tokens per second: ours, the bare batched forward pass, and one sample and token after the other.

    python -m benchmarks.difficulty [MODEL_FOLDER ...]     default: models/student_base models/teacher

The same samples, model and machine in one run, in turn. "Bare" is the batched forward pass alone, without any score:
rows sorted by length, padded, and only the positions that predict answers through the output layer. "Loop" is the
published way: one sample at a time, the logits of every position, and a full sort for each answer token. Run after
`make repro`.
"""

import sys
from pathlib import Path

from benchmarks.timing import faster, in_turn, rates
from sentidistill import config, difficulty
from sentidistill.difficulty import Row
from sentidistill.inference.packing import shared_prefix
from sentidistill.inference.packing.prefix_tree import PrefixTree
from sentidistill.prompts import render
from sentidistill.samples import SAMPLES
from sentidistill.sources import models

NUMBER = 96
ROUNDS = 3
MAX_LENGTH, BATCH_TOKENS, BARE_TOKENS = 512, 512, 4096


def samples(tokenizer, *, closed: bool) -> list[Row]:
    """Prompts and answers of the default run: labels, or open answers; whole instructions until there are enough."""
    rows = SAMPLES.read()
    rows = sorted((row for row in rows if bool(row.labels) == closed), key=lambda row: row.stratum)
    chosen = rows[:NUMBER]
    rendered = [render(row.student_prompt(), tokenizer, "transcript", row.answer) for row in chosen]
    return [(one.prompt_ids, one.completion_ids) for one in rendered]


def sorted_batches(rows: list[Row]) -> list[list[Row]]:
    """`rows`, the shortest first, in batches of at most BARE_TOKENS with their padding."""
    found: list[list[Row]] = [[]]
    for row in sorted(rows, key=lambda row: len(row[0]) + len(row[1])):
        if (len(found[-1]) + 1) * (len(row[0]) + len(row[1])) > BARE_TOKENS:
            found.append([])
        found[-1].append(row)
    return found


def bare(model, batches: list[list[Row]]) -> None:
    import torch

    with torch.inference_mode():
        for batch in batches:
            joined = [prompt + completion for prompt, completion in batch]
            longest = max(len(completion) for _, completion in batch)
            ids, mask, positions = shared_prefix.own_parts(joined, 0, 0, model.device)
            model(
                input_ids=ids[:, :-1],
                attention_mask=mask[:, :-1],
                position_ids=positions[:, :-1],
                use_cache=False,
                logits_to_keep=longest,
            )


def loop(model, rows: list[Row]) -> None:
    import torch

    with torch.inference_mode():
        for prompt, completion in rows:
            logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
            scores = []
            for place, token in enumerate(completion):
                probabilities = logits[len(prompt) + place - 1].softmax(-1)
                ordered, order = probabilities.sort(descending=True)
                nucleus = int((ordered.cumsum(0) < 0.95).sum()) + 1
                rank = int((order == token).nonzero())
                scores.append(rank / nucleus if rank < nucleus else 1.0)


def measure(folder: Path) -> None:
    tokenizer = models.load_tokenizer(folder, Path())
    model = models.load_causal_lm(folder, Path(), config.load().runtime)
    print(f"{folder}: vocabulary {difficulty.vocabulary_size(model):,}")
    for name, closed in (("labels", True), ("open answers", False)):
        compare(name, model, samples(tokenizer, closed=closed))


def compare(name: str, model, rows: list[Row]) -> None:
    settings = {"max_length": MAX_LENGTH, "batch_tokens": BATCH_TOKENS}
    sequences = [difficulty.read(*row) for row in rows]
    packed = [
        PrefixTree.of([sequences[place] for place in batch]).tokens
        for batch in difficulty.batches(rows, difficulty.vocabulary_size(model), **settings)
    ]
    print(f"  {name}: {sum(map(len, sequences))} tokens to read, {sum(map(len, packed))} packed")
    batches = sorted_batches(rows)
    calls = {
        "bare": lambda: bare(model, batches),
        "ours": lambda: difficulty.score_ids(model, rows, **settings),
        "loop": lambda: loop(model, rows),
    }
    calls["bare"]()
    seconds, tokens = in_turn(ROUNDS, calls), sum(len(completion) for _, completion in rows)
    shown = rates(seconds, tokens)
    print(f"  {name}, {len(rows)} samples of {tokens / len(rows):.1f} answer tokens: {shown} scored tokens/s")
    for other in ("bare", "loop"):
        print(f"    {faster(seconds, 'ours', other)}")


def main(*folders: str) -> None:
    for folder in folders or ("models/student_base", "models/teacher"):
        measure(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
