"""definitions + real texts -> data/demonstrations.jsonl: labelled texts in the style of real ones.

The definition's own examples are among them. Where labels are closed, the teacher is asked for the label of every
text again, and the texts with the surest answers are kept for each label.

A row: {"task": "77c0...", "input": "omg this bus is sooo late", "output": "frustrated", "agreed": true, "margin": 1.2}
"""

import itertools
from collections import Counter, defaultdict

import numpy as np

from sentidistill import calls, config, records, stage
from sentidistill.calibration import calibrate
from sentidistill.corpus import Text
from sentidistill.instructions import Demonstration, TaskDefinition, check_answer, copied, distinct
from sentidistill.parsing.markup import strip_thinking
from sentidistill.parsing.tasks import parse_pairs, unquote
from sentidistill.prompts import Prompt, Template
from sentidistill.samples import prompt
from sentidistill.teacher.base import Request
from sentidistill.teacher.cached import CachedTeacher
from sentidistill.teacher.opening import OpenModel, open_model


def build_prompts(
    tasks: list[TaskDefinition], styles: list[Text], template: Template, per_closed: int, per_open: int, seed: int
) -> tuple[dict[str, Prompt], dict[str, str]]:
    """Prompts by key "task number", and the label that is wanted, "" for tasks without labels.

    Labels are wanted in turn. Each prompt holds two style texts, and an example where the answer is open.
    """
    prompts, wanted = {}, {}
    for task in tasks:
        random = np.random.default_rng([seed, int(task.id, 16)])
        labels = itertools.cycle(random.permutation(task.labels).tolist() or [""])
        for number in range(per_closed if task.labels else per_open):
            key = f"{task.id} {number:02d}"
            chosen = random.choice(len(styles), 2, replace=False)
            wanted[key] = next(labels)
            prompts[key] = template.prompt(
                same="family",
                family=task.family,
                instruction=task.instruction,
                answer=wanted[key],
                format=task.format,
                example=task.examples[int(random.integers(len(task.examples)))],
                styles=[styles[int(i)].text for i in chosen],
            )
    return prompts, wanted


def label_again(
    teacher: CachedTeacher, tasks: dict[str, TaskDefinition], texts: dict[str, dict[str, str]]
) -> list[Demonstration]:
    """Texts (by task, with the label that each was written for) with the label that the teacher gives them.

    The teacher sees the instruction and no demonstrations; the mean score of the task's texts is taken
    off. A small model tells what a text says more surely than it writes a text to order. A teacher that
    gives no scores gives its label alone.
    """
    asked = [(key, text, meant) for key in sorted(texts) for text, meant in texts[key].items()]
    requests = [
        Request(prompt(tasks[key].text(), tasks[key].cue(), text, []), choices=tuple(tasks[key].labels))
        for key, text, _ in asked
    ]
    answers = teacher.generate(requests, "write_demonstrations, labels")
    by_task: dict[str, list[tuple[str, str, tuple[float, ...], str]]] = defaultdict(list)
    for (key, text, meant), answer in zip(asked, answers):
        if answer.error is None:
            by_task[key].append((text, meant, answer.choice_logprobs, answer.text))
    rows = []
    for key, group in by_task.items():
        if not all(logprobs for _, _, logprobs, _ in group):
            rows += [
                Demonstration(task=key, input=text, output=label, agreed=label == meant, margin=None)
                for text, meant, _, label in group
            ]
            continue
        scores = calibrate(np.array([logprobs for _, _, logprobs, _ in group]))
        for (text, meant, _, _), row in zip(group, scores):
            second, first = np.argsort(row)[-2:]
            label = tasks[key].labels[int(first)]
            margin = round(float(row[first] - row[second]), 4)
            rows.append(Demonstration(task=key, input=text, output=label, agreed=label == meant, margin=margin))
    return rows


def agreement(rows: list[Demonstration]) -> dict[str, float]:
    """Share of each task's texts whose label is the one that they were written for."""
    agreed: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        agreed[row.task].append(bool(row.agreed))
    return {task: sum(found) / len(found) for task, found in agreed.items()}


def surest(rows: list[Demonstration], per_label: int, min_margin: float) -> list[Demonstration]:
    """Of each task and label the `per_label` rows with the largest margin, in the order of tasks and margins.

    Rows whose margin is below `min_margin` are left out. Rows without margins: those whose label is the one that
    the text was written for come first.
    """
    kept = []
    seen: Counter[tuple[str, str]] = Counter()
    sure = [row for row in rows if row.margin is None or row.margin >= min_margin]
    for row in sorted(sure, key=lambda row: (row.task, -(row.margin or row.agreed), row.input)):
        seen[row.task, row.output] += 1
        if seen[row.task, row.output] <= per_label:
            kept.append(row)
    return kept


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section, teacher = params.write_demonstrations, params.teacher
    template = Template("write_demonstrations", exemplars=teacher.exemplars)
    tasks = {task.id: task for task in records.read_jsonl("data/task_definitions.jsonl", TaskDefinition)}
    styles = [text for text in records.read_jsonl("data/corpus.jsonl", Text) if text.pool == "style"]
    prompts, wanted = build_prompts(
        list(tasks.values()),
        styles,
        template,
        section.prompts_per_closed_task,
        section.prompts_per_open_task,
        section.seed,
    )
    given = [text for text, _ in template.demonstrations] + [output for _, output in template.demonstrations]

    def read_answer(key: str, raw: str) -> tuple[tuple[str, str] | None, list[str]]:
        if wanted[key]:
            text = unquote(strip_thinking(raw).split("\n")[0])
            found = [(text, wanted[key])] if text else []
        else:
            found = parse_pairs(strip_thinking(raw))[:1]
        if not found:
            return None, ["unreadable"]
        pair, reason = check_answer(tasks[key.split()[0]], *found[0])
        if pair and len(pair[0].split()) < section.min_words:
            pair, reason = None, "short"
        if pair and copied(pair[0], [prompts[key].input, *given], section.max_copied_share):
            pair, reason = None, "copied"
        return pair, [reason] if reason else []

    with open_model("teacher", params, stage.cache_root()) as model:
        answers, asked = calls.ask(model, prompts, section.sampling, teacher, read_answer, "write_demonstrations")
        calls.check_failures(asked, teacher.max_failure_rate, "write_demonstrations")
        written = [(task.id, *pair) for task in tasks.values() for pair in task.examples]
        written += [(key.split()[0], *answers[key]) for key in sorted(answers)]
        new = distinct([text for _, text, _ in written], [task for task, _, _ in written], section.max_similarity)
        pairs: dict[str, dict[str, str]] = {task: {} for task in tasks}
        for (task, text, output), keep in zip(written, new):
            if keep:
                pairs[task][text] = output
        labelled = label_again(model, tasks, {key: found for key, found in pairs.items() if tasks[key].labels})
    agreed = agreement(labelled)
    doubtful = {task for task, share in agreed.items() if share < section.min_agreement}
    of_sure_tasks = [row for row in labelled if row.task not in doubtful]
    kept = surest(of_sure_tasks, section.max_per_label, section.min_margin)
    for key in sorted(pairs):
        if not tasks[key].labels:
            chosen = list(pairs[key].items())[: 3 * section.max_per_label]
            kept += [Demonstration(task=key, input=t, output=o, agreed=None, margin=None) for t, o in chosen]
    records.write_jsonl("data/calls/write_demonstrations.jsonl", asked)
    records.write_jsonl("data/demonstrations.jsonl", kept)
    stage.finish(
        "write_demonstrations",
        {
            **calls.summary(asked),
            "demonstrations": len(kept),
            "tasks_with_demonstrations": len({row.task for row in kept}),
            "repeated": len(written) - sum(new),
            "share_of_labels_agreed": round(sum(row.agreed for row in labelled) / max(len(labelled), 1), 4),
            "below_min_margin": sum(row.margin is not None and row.margin < section.min_margin for row in labelled),
            "tasks_below_min_agreement": len(doubtful),
        },
    )


if __name__ == "__main__":
    stage.run(main)
