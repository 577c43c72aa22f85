"""definitions + real texts -> data/demonstrations.jsonl: labelled texts, written by the teacher.

The definition's own examples are among them. Where labels are closed, the label of every text is confirmed, and the
texts with the surest labels are kept. A large teacher writes in the style of two real texts and is asked for the label
again. A small base teacher follows style texts and forgets the label, so it is shown none; and it tells labels apart
far better by how likely it is to write a text for each.

A row: {"task": "77c0...", "input": "omg this bus is sooo late", "output": "frustrated", "agreed": true, "margin": 1.2}
"""

import itertools
import re

import numpy as np
from sklearn.metrics import cohen_kappa_score

from sentidistill import calls, config, records, stage
from sentidistill.corpus import Text
from sentidistill.instructions import Demonstration, TaskDefinition, check_answer, copied, distinct
from sentidistill.labelling import ask_labels, compare_likelihoods, leads, surest, surest_levels
from sentidistill.parsing.markup import strip_thinking
from sentidistill.parsing.tasks import parse_pairs, unquote
from sentidistill.prompts import Prompt, Template
from sentidistill.teacher.opening import OpenModel, open_model

# A text that speaks of itself ("the author of the text is sad") answers the prompt, and gives the label away.
ABOUT_ITSELF = re.compile(r"\bthe text\b", re.IGNORECASE)


def build_prompts(
    tasks: list[TaskDefinition], styles: list[Text], template: Template, per_closed: int, per_open: int, seed: int
) -> tuple[dict[str, Prompt], dict[str, str]]:
    """Prompts by key "task number", and the label that is wanted, "" for tasks without labels.

    Labels are wanted in turn. Each prompt gets two style texts, and an example where the answer is open.
    """
    prompts, wanted = {}, {}
    for task in tasks:
        random = np.random.default_rng([seed, int(task.id, 16)])
        labels = itertools.cycle(random.permutation(task.labels).tolist() or [""])
        for number in range(per_closed if task.labels else per_open):
            key = f"{task.id} {number:02d}"
            chosen = random.choice(len(styles), 2, replace=False)
            wanted[key] = next(labels)
            example = task.examples[int(random.integers(len(task.examples)))]
            prompts[key] = to_write(template, task, wanted[key], [styles[int(i)].text for i in chosen], example)
    return prompts, wanted


def to_write(
    template: Template, task: TaskDefinition, label: str, styles: list[str], example: tuple[str, str]
) -> Prompt:
    """What asks for a text with `label`; for a text and its answer, like `example`, where that is ""."""
    return template.prompt(
        same="family",
        family="closed" if task.labels else task.family,
        instruction=task.instruction,
        answer=label,
        format=task.format,
        example=example,
        styles=styles,
    )


def meant_by(output: str, task: TaskDefinition, labels: list[str]) -> str:
    """Which of `labels` an output of `task` stands for, where they are the task's own or the ends of its scale."""
    if labels == task.labels:
        return output
    return labels[2 * task.labels.index(output) >= len(task.labels)]


def of_closed_task(
    task: TaskDefinition,
    labels: list[str],
    scores: dict[str, np.ndarray],
    meant: dict[str, str],
    per_label: int,
    min_margin: float,
) -> tuple[list[Demonstration], float]:
    """(demonstrations, Cohen's kappa of the labels that the texts were written for and those that they have).

    `scores` are of `labels`: the task's own, or the ends of its scale; `meant` are those that the texts were written
    for. The levels of a scale are given to the demonstrations alone.
    """
    texts, rows = list(scores), np.array(list(scores.values()))
    wanted, found = [meant[text] for text in texts], [labels[place] for place in rows.argmax(axis=1)]
    agreed = np.array(wanted) == np.array(found)
    if labels == task.labels:
        chosen = surest(rows, per_label, min_margin, agreed)
    else:
        chosen = surest_levels(rows, len(task.labels), per_label)
    lead = leads(rows)
    return [
        Demonstration(
            task=task.id,
            input=texts[place],
            output=task.labels[label],
            agreed=bool(agreed[place]),
            margin=round(float(lead[place]), 4),
        )
        for place, label in chosen
    ], float(cohen_kappa_score(wanted, found, labels=labels)) if len(set(wanted + found)) > 1 else 0.0


def of_open_task(task: TaskDefinition, pairs: dict[str, str], most: int) -> list[Demonstration]:
    """Demonstrations with different answers, and no more "none" than others."""
    told = {output: text for text, output in reversed(pairs.items()) if output != "none"}
    shown = [(text, output) for text, output in pairs.items() if told.get(output) == text]
    nothing = [(text, output) for text, output in pairs.items() if output == "none"]
    chosen = [*shown, *nothing[: len(shown)]][:most]
    return [Demonstration(task=task.id, input=text, output=output, agreed=None, margin=None) for text, output in chosen]


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section, teacher = params.write_demonstrations, params.teacher
    template = Template("write_demonstrations", exemplars=teacher.exemplars)
    tasks = {task.id: task for task in records.read_jsonl("data/task_definitions.jsonl", TaskDefinition)}
    styles = [text for text in records.read_jsonl("data/corpus.jsonl", Text) if text.pool == "enumeration"]
    # A small model tells what the ends of a scale stand for; a level's number says nothing to it.
    by_ends = section.confirm == "likelihood"
    asked_as = {key: task.with_ends() if by_ends else task for key, task in tasks.items()}
    closed = [task for task in asked_as.values() if task.labels]
    prompts, wanted = build_prompts(
        list(asked_as.values()),
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
        pair, reason = check_answer(asked_as[key.split()[0]], *found[0])
        if pair and len(pair[0].split()) < section.min_words:
            pair, reason = None, "short"
        if pair and ABOUT_ITSELF.search(pair[0]):
            pair, reason = None, "about_itself"
        if pair and copied(pair[0], [prompts[key].input, *given], section.max_copied_share):
            pair, reason = None, "copied"
        return pair, [reason] if reason else []

    with open_model("teacher", params, stage.cache_root()) as model:
        answers, asked = calls.ask(model, prompts, section.sampling, teacher, read_answer, "write_demonstrations")
        calls.check_failures(asked, teacher.max_failure_rate, "write_demonstrations")
        written = [
            (key, text, meant_by(output, task, asked_as[key].labels))
            for key, task in tasks.items()
            for text, output in task.examples
        ]
        written += [(key.split()[0], *answers[key]) for key in sorted(answers)]
        new = distinct([text for _, text, _ in written], [task for task, _, _ in written], section.max_similarity)
        pairs: dict[str, dict[str, str]] = {task: {} for task in tasks}
        for (task, text, output), keep in zip(written, new):
            if keep:
                pairs[task][text] = output
        texts = [list(pairs[task.id]) for task in closed]
        if section.confirm == "likelihood":
            of_labels = [[to_write(template, task, label, [], ("", "")) for label in task.labels] for task in closed]
            scores = compare_likelihoods(model, of_labels, texts, "write_demonstrations, likelihoods")
        else:
            scores = ask_labels(model, closed, texts, "write_demonstrations, labels")
    kept: list[Demonstration] = []
    kappa: dict[str, float] = {}
    labelled = dict(zip((task.id for task in closed), scores))
    for key, task in tasks.items():
        if not task.labels:
            kept += of_open_task(task, pairs[key], 3 * section.max_per_label)
        elif of_task := labelled[key]:
            shown, kappa[key] = of_closed_task(
                task, asked_as[key].labels, of_task, pairs[key], section.max_per_label, section.min_margin
            )
            kept += shown if kappa[key] >= section.min_kappa else []
    records.write_jsonl("data/calls/write_demonstrations.jsonl", asked)
    records.write_jsonl("data/demonstrations.jsonl", kept)
    stage.finish(
        "write_demonstrations",
        {
            **calls.summary(asked),
            "demonstrations": len(kept),
            "tasks_with_demonstrations": len({row.task for row in kept}),
            "repeated": len(written) - sum(new),
            "not_shown": sum(new) - len(kept),
            "mean_kappa": round(float(np.mean(list(kappa.values()))), 4) if kappa else None,
            "tasks_below_min_kappa": sum(value < section.min_kappa for value in kappa.values()),
        },
    )


if __name__ == "__main__":
    stage.run(main)
