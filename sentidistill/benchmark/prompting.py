"""Few-shot prompts of the benchmark: the same demonstrations for every model."""

from collections.abc import Sequence

import numpy as np

from sentidistill.benchmark.tasks import CUE, INSTRUCTIONS, LABELS, Example
from sentidistill.prompts import Prompt
from sentidistill.samples import prompt


def draw_sets(train: Sequence[Example], per_label: int, draws: int, task: str, seed: int) -> list[list[Example]]:
    """`draws` sets of `per_label` training examples of each class, in random order.

    A set depends on (seed, task, its number) and the training split alone.
    """
    sets = []
    for number in range(draws):
        random = np.random.default_rng([seed, number, *task.encode()])
        chosen: list[Example] = []
        for label in LABELS:
            of_label = [example for example in train if example.label == label]
            chosen += [of_label[i] for i in random.choice(len(of_label), per_label, replace=False)]
        sets.append([chosen[i] for i in random.permutation(len(chosen))])
    return sets


def task_prompt(task: str, text: str, demonstrations: Sequence[Example]) -> Prompt:
    return prompt(INSTRUCTIONS[task], CUE, text, [(one.text, one.label) for one in demonstrations])
