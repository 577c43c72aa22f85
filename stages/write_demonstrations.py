"""definitions + real texts -> data/demonstrations.jsonl: labelled texts in the style of real ones.

The definition's own examples are among them; where labels are closed, only what the teacher confirms is.

A row: {"task": "77c0...", "input": "omg this bus is sooo late", "output": "frustrated", "agreed": true}
"""

import itertools
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from sentidistill import calls, config, records, stage
from sentidistill.calibration import calibrate
from sentidistill.corpus import Text
from sentidistill.instructions import Demonstration, TaskDefinition, check_answer, copied
from sentidistill.parsing import parse_pairs
from sentidistill.prompts import Prompt, Template
from sentidistill.samples import prompt
from sentidistill.teacher.base import Request
from sentidistill.teacher.cache import CachedTeacher
from sentidistill.teacher.local import open_model


def build_prompts(
    tasks: list[TaskDefinition], styles: list[Text], template: Template, per_task: int, seed: int
) -> dict[str, Prompt]:
    """Prompts by key "task number"; wanted labels in turn, two style texts and one example for each."""
    prompts = {}
    for task in tasks:
        random = np.random.default_rng([seed, int(task.id, 16)])
        labels = itertools.cycle(random.permutation(task.labels).tolist())
        for number in range(per_task):
            outputs = [next(labels), next(labels)] if task.labels else []
            chosen = random.choice(len(styles), 2, replace=False)
            prompts[f"{task.id} {number:02d}"] = template.prompt(
                same="family",
                family=task.family,
                instruction=task.instruction,
                outputs=outputs,
                format=task.format,
                example=task.examples[int(random.integers(len(task.examples)))],
                styles=[styles[int(i)].text for i in chosen],
            )
    return prompts


def confirm(
    teacher: CachedTeacher, tasks: dict[str, TaskDefinition], pairs: dict[str, list[tuple[str, str]]]
) -> list[Demonstration]:
    """Demonstrations of `pairs` by task; where labels are closed, with the teacher's agreement.

    The teacher is asked without demonstrations, and the mean score of the task's inputs is taken off.
    """
    rows: list[Demonstration] = []
    closed = [(key, text, output) for key in sorted(pairs) for text, output in pairs[key] if tasks[key].labels]
    requests = [
        Request(prompt=prompt(tasks[key].family, tasks[key].text(), text, []), choices=tuple(tasks[key].labels))
        for key, text, _ in closed
    ]
    answers = teacher.generate(requests, "write_demonstrations, confirming labels")
    by_task: dict[str, list[tuple[str, str, tuple[float, ...]]]] = defaultdict(list)
    for (key, text, output), answer in zip(closed, answers):
        if answer.error is None:
            by_task[key].append((text, output, answer.choice_logprobs))
    for key, group in by_task.items():
        best = calibrate(np.array([scores for _, _, scores in group])).argmax(axis=1)
        rows += [
            Demonstration(task=key, input=text, output=output, agreed=tasks[key].labels[int(place)] == output)
            for (text, output, _), place in zip(group, best)
        ]
    rows += [
        Demonstration(task=key, input=text, output=output, agreed=None)
        for key in sorted(pairs)
        for text, output in pairs[key]
        if not tasks[key].labels
    ]
    return rows


def main() -> None:
    params = config.load()
    section, teacher = params.write_demonstrations, params.teacher
    template = Template("write_demonstrations", exemplars=teacher.exemplars)
    tasks = {task.id: task for task in records.read_jsonl("data/task_definitions.jsonl", TaskDefinition)}
    styles = [text for text in records.read_jsonl("data/corpus.jsonl", Text) if text.pool == "style"]
    prompts = build_prompts(list(tasks.values()), styles, template, section.prompts_per_task, section.seed)
    given = [text for text, _ in template.demonstrations] + [output for _, output in template.demonstrations]
    reasons = Counter()

    def read_answer(key: str, raw: str) -> tuple[list[tuple[str, str]] | None, bool]:
        task = tasks[key.split()[0]]
        found = parse_pairs(raw)[:2]
        kept = []
        for text, output in found:
            pair, reason = check_answer(task, text, output)
            if pair and copied(text, [prompts[key].input, *given], section.max_copied_share):
                pair, reason = None, "copied"
            reasons[reason] += bool(reason)
            kept += [pair] if pair else []
        return kept or None, len(kept) < 2

    with open_model(
        Path("models/teacher"), stage.cache_root(), params.runtime, teacher.prompt_format, teacher.max_prompt_tokens
    ) as model:
        answers, asked = calls.ask(model, prompts, section.sampling, teacher, read_answer, "write_demonstrations")
        calls.check_failures(asked, teacher.max_failure_rate, "write_demonstrations")
        pairs: dict[str, dict[str, str]] = {task.id: dict(task.examples) for task in tasks.values()}
        for key in sorted(answers):
            for text, output in answers[key]:
                pairs[key.split()[0]].setdefault(text, output)
        rows = confirm(model, tasks, {key: list(found.items()) for key, found in pairs.items()})
    kept = [row for row in rows if row.agreed is not False]
    by_task: dict[str, list[Demonstration]] = defaultdict(list)
    for row in kept:
        by_task[row.task].append(row)
    kept = [row for key in sorted(by_task) for row in by_task[key][: section.max_per_task]]
    records.write_jsonl("data/calls/write_demonstrations.jsonl", asked)
    records.write_jsonl("data/demonstrations.jsonl", kept)
    judged = [row.agreed for row in rows if row.agreed is not None]
    stage.finish(
        "write_demonstrations",
        {
            **calls.summary(asked),
            "demonstrations": len(kept),
            "tasks_with_demonstrations": len(by_task),
            "share_of_labels_agreed": round(sum(judged) / len(judged), 4) if judged else None,
            **{f"dropped_{reason}": number for reason, number in sorted(reasons.items()) if reason},
        },
    )


if __name__ == "__main__":
    stage.run(main)
