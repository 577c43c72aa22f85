"""definitions + real texts -> data/demonstrations.jsonl: texts that the teacher writes for each task, with answers.

The definition's own examples are among them. Then the teacher is asked for the answer to each text alone. Where labels
are closed, a text is written for each label; the texts whose label is confirmed most clearly become the examples of the
task, and all of them the reference that labels of other texts are compared with. Of other texts those are kept whose
answer comes out much the same.

A row: {"task": "77c0...", "input": "omg this bus is sooo late", "output": "frustrated", "written_for": "frustrated",
"lead": 1.2, "shown": true}
"""

import numpy as np
from sklearn.metrics import cohen_kappa_score

from sentidistill import config, records
from sentidistill.config import Params, WriteDemonstrations
from sentidistill.construct.checks import agreement, answer_schema, distinct, open_answer
from sentidistill.construct.demonstrations import DEMONSTRATIONS, Demonstration
from sentidistill.construct.labelling import corrected_by_others, leads, scores_of, surest
from sentidistill.construct.tasks import TASK_DEFINITIONS, TaskDefinition, check_pairs
from sentidistill.inference import calls
from sentidistill.inference.calls import Call
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.inference.requests import Response
from sentidistill.parsing.markup import strip_thinking
from sentidistill.parsing.tasks import parse_pairs
from sentidistill.pipeline import stage
from sentidistill.prompts import Prompt, Template
from sentidistill.samples import prompt
from sentidistill.sources.corpus import TEXTS, Text, word_count

Pair = tuple[str, str]


def build_prompts(
    tasks: list[TaskDefinition], styles: list[Text], template: Template, section: WriteDemonstrations
) -> dict[tuple[str, int], Prompt]:
    """Prompts by task and number: each asks for a text for every label, in random order, or for two answers."""
    prompts = {}
    for task in tasks:
        random = np.random.default_rng([section.seed, int(task.id, 16)])
        for number in range(section.prompts_per_closed_task if task.labels else section.prompts_per_open_task):
            chosen = random.choice(len(styles), min(2, len(styles)), replace=False)
            prompts[task.id, number] = template.prompt(
                same="family",
                family=task.family,
                instruction=task.text(),
                answers=random.permutation(task.labels).tolist(),
                styles=[styles[int(place)].text for place in chosen],
            )
    return prompts


def read_pairs(
    task: TaskDefinition, raw: str, style: str, worked_examples: list[str], min_words: int
) -> tuple[list[Pair] | None, list[str]]:
    """(texts with their answers in an answer of the teacher's, or None; what is wrong with others).

    A text that was to be written for a label has to be the teacher's own, and none of `style`. Elsewhere a real one,
    which the teacher answers, will do as well.
    """
    found = parse_pairs(strip_thinking(raw))
    if not found:
        return None, ["unreadable"]
    pairs, faults = check_pairs(task, found, [style, *worked_examples] if task.labels else worked_examples)
    kept = [pair for pair in pairs if word_count(pair[0]) >= min_words]
    return kept or None, faults + ["length"] * (len(pairs) - len(kept))


def answers_alone(
    model: CachedTeacher, texts: dict[str, tuple[TaskDefinition, str]], params: Params
) -> tuple[dict[str, Response], dict[str, str], list[Call]]:
    """(labels, other answers, calls): what the teacher says of each text, asked as `collect_responses` does."""
    questions = {key: prompt(task.text(), task.cue(), text, []) for key, (task, text) in texts.items()}
    labels = {key: task.labels for key, (task, _) in texts.items() if task.labels}
    schemas = {key: answer_schema(task.text()) for key, (task, _) in texts.items() if task.family == "structured"}

    def read_answer(key: str, raw: str) -> tuple[str | None, list[str]]:
        task, text = texts[key]
        return open_answer(task.family, task.text(), text, raw)

    chosen, asked = calls.choose(model, {key: questions[key] for key in labels}, labels, "write_demonstrations, labels")
    answered, asked_too = calls.ask(
        model,
        {key: question for key, question in questions.items() if key not in labels},
        params.collect_responses.sampling,
        params.teacher,
        read_answer,
        "write_demonstrations, answers",
        schemas=schemas,
    )
    return chosen, answered, asked + asked_too


def of_closed_task(
    task: TaskDefinition, pairs: dict[str, str], scores: dict[str, list[float]], section: WriteDemonstrations
) -> tuple[list[Demonstration], float]:
    """(demonstrations, Cohen's kappa of the labels that the texts were written for and those that they have).

    `pairs` are the labels that the texts were written for, `scores` those that the teacher gives the labels when asked.
    On a scale, kappa is weighted by the square of the distance, and of four levels or more a neighbouring one confirms
    a text. An example of the task has to lead by `min_lead`.
    """
    texts = list(scores)
    written_for = np.array([task.labels.index(pairs[text]) for text in texts])
    rows = corrected_by_others(np.array(list(scores.values())), written_for, section.shrinkage)
    scale = task.family == "scoring"
    near = int(scale and len(task.labels) > 3)
    chosen, lead = rows.argmax(axis=1), leads(rows, near)
    agreed = (np.abs(chosen - written_for) <= near) & (lead >= section.min_lead)
    shown = set(surest(rows, lead, agreed, section.max_per_label))
    kappa = 0.0
    if len({*chosen.tolist(), *written_for.tolist()}) > 1:
        kappa = float(cohen_kappa_score(written_for, chosen, weights="quadratic" if scale else None))
    return [
        Demonstration(
            task=task.id,
            input=text,
            output=task.labels[chosen[place]],
            written_for=pairs[text],
            lead=round(float(lead[place]), 4),
            shown=place in shown,
        )
        for place, text in enumerate(texts)
    ], kappa


def of_open_task(
    task: TaskDefinition, pairs: dict[str, str], again: dict[str, str], section: WriteDemonstrations
) -> list[Demonstration]:
    """Demonstrations with different answers that the teacher gives `again`, and no more "none" than others.

    Those whose answers agree most come first.
    """
    alike = {text: agreement(pairs[text], again[text]) for text in pairs if text in again}
    agreed = sorted((text for text in alike if alike[text] >= section.min_agreement), key=lambda text: -alike[text])
    pairs = {text: pairs[text] for text in agreed}
    told = {output: text for text, output in reversed(pairs.items()) if output not in ("none", "[]")}
    shown = [(text, output) for text, output in pairs.items() if told.get(output) == text]
    nothing = [(text, output) for text, output in pairs.items() if output in ("none", "[]")]
    return [
        Demonstration(task=task.id, input=text, output=output, written_for=output, lead=None, shown=True)
        for text, output in [*shown, *nothing[: len(shown)]][: 3 * section.max_per_label]
    ]


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section, teacher = params.write_demonstrations, params.teacher
    template = Template("write_demonstrations", worked_examples=teacher.worked_examples)
    tasks = {task.id: task for task in TASK_DEFINITIONS.read()}
    styles = [text for text in TEXTS.read() if text.pool == "enumeration"]
    by_task = build_prompts(list(tasks.values()), styles, template, section)
    prompts = {f"{task} {number:02d}": prompt for (task, number), prompt in by_task.items()}
    task_of = {f"{task} {number:02d}": tasks[task] for task, number in by_task}
    given = [part for pair in template.demonstrations for part in pair]

    def read_answer(key: str, raw: str) -> tuple[list[Pair] | None, list[str]]:
        return read_pairs(task_of[key], raw, prompts[key].input, given, section.min_words)

    with open_model("teacher", params, stage.cache_root()) as model:
        answers, asked = calls.ask(model, prompts, section.sampling, teacher, read_answer, "write_demonstrations")
        calls.check_failures(asked, teacher.max_failure_rate, "write_demonstrations")
        written = [(key, *pair) for key, task in tasks.items() for pair in task.examples]
        written += [(task_of[key].id, *pair) for key in sorted(answers) for pair in answers[key]]
        new = distinct([text for _, text, _ in written], [task for task, _, _ in written], section.max_similarity)
        pairs: dict[str, dict[str, str]] = {task: {} for task in tasks}
        for (task, text, output), keep in zip(written, new):
            if keep:
                pairs[task][text] = output
        texts = {
            records.content_id(task, text): (tasks[task], text) for task, of_task in pairs.items() for text in of_task
        }
        chosen, answered, asked_alone = answers_alone(model, texts, params)
    all_calls = [*asked, *asked_alone]
    calls.check_failures(all_calls, teacher.max_failure_rate, "write_demonstrations")
    scores: dict[str, dict[str, list[float]]] = {task: {} for task in tasks}
    again: dict[str, dict[str, str]] = {task: {} for task in tasks}
    for key, (task, text) in texts.items():
        if key in chosen:
            scores[task.id][text] = scores_of(task.labels, chosen[key].text, chosen[key].choice_logprobs)
        elif key in answered:
            again[task.id][text] = answered[key]
    kept: list[Demonstration] = []
    kappa: dict[str, float] = {}
    for key, task in tasks.items():
        if not task.labels:
            kept += of_open_task(task, pairs[key], again[key], section)
        elif scores[key]:
            rows, kappa[key] = of_closed_task(task, pairs[key], scores[key], section)
            kept += rows if kappa[key] >= section.min_kappa else []
    calls.table_of("write_demonstrations").write(all_calls)
    DEMONSTRATIONS.write(kept)
    stage.finish(
        "write_demonstrations",
        {
            **calls.summary(all_calls),
            "texts": len(kept),
            "demonstrations": sum(row.shown for row in kept),
            "tasks_with_demonstrations": len({row.task for row in kept}),
            "repeated": len(written) - sum(new),
            "not_shown": sum(not row.shown for row in kept),
            "mean_kappa": round(float(np.mean(list(kappa.values()))), 4) if kappa else None,
            "tasks_below_min_kappa": sum(value < section.min_kappa for value in kappa.values()),
        },
    )


if __name__ == "__main__":
    stage.run(main)
