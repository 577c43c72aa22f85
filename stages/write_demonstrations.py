"""definitions + real texts -> data/demonstrations.jsonl: labelled texts in the style of real ones.

The definition's own examples are among them. Where labels are closed, the teacher is asked for the label of every
text again, and the texts with the surest answers are kept for each label. It is asked with anchors, real texts of whose
label it is surest when asked without: a small model tells far better so what a text says, and it hardly writes a text
to order. Tasks whose labels mean nothing to it are left out; data/label_checks.jsonl says what was found.

A row: {"task": "77c0...", "input": "omg this bus is sooo late", "output": "frustrated", "agreed": true, "margin": 1.2}
A check: {"task": "77c0...", "kappa": 0.41, "exchanged_correlation": 0.78, "closest_labels": ["calm", "patient"]}
"""

import itertools

import numpy as np

from sentidistill import calls, config, records, stage
from sentidistill.corpus import Text
from sentidistill.instructions import Demonstration, TaskDefinition, check_answer, copied, distinct
from sentidistill.labelling import Question, ask_labels, check_labels, draw_anchors, leads, surest, surest_levels
from sentidistill.parsing.markup import strip_thinking
from sentidistill.parsing.tasks import parse_pairs, unquote
from sentidistill.prompts import Prompt, Template
from sentidistill.samples import prompt
from sentidistill.teacher.base import Request
from sentidistill.teacher.cached import CachedTeacher
from sentidistill.teacher.opening import OpenModel, open_model

CUE = "Answer"
OTHER_QUESTIONS = 5


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


def of_closed_task(
    task: TaskDefinition,
    by_ends: bool,
    scores: dict[str, np.ndarray],
    meant: dict[str, str],
    per_label: int,
    min_margin: float,
) -> tuple[list[Demonstration], float]:
    """(demonstrations, share of the texts whose label is the one that they were written for).

    `scores` are of the labels or, `by_ends`, of the ends of a scale, where a level is given to the demonstrations
    alone. `meant` are the labels that the texts were written for.
    """
    texts, rows = list(scores), np.array(list(scores.values()))
    if by_ends:
        chosen = surest_levels(rows, len(task.labels), per_label)
        agreed = np.array([task.labels[level] == meant[texts[place]] for place, level in chosen])
        margins: list[float | None] = [None] * len(texts)
    else:
        agreed = np.array([task.labels[place] == meant[text] for text, place in zip(texts, rows.argmax(axis=1))])
        chosen = surest(rows, per_label, min_margin, agreed)
        margins = [round(float(lead), 4) for lead in leads(rows)]
    return [
        Demonstration(
            task=task.id,
            input=texts[place],
            output=task.labels[label],
            agreed=task.labels[label] == meant[texts[place]],
            margin=margins[place],
        )
        for place, label in chosen
    ], float(agreed.mean()) if len(agreed) else 0.0


def own_answers(
    teacher: CachedTeacher, tasks: list[TaskDefinition], pairs: dict[str, dict[str, str]], min_lift: float
) -> dict[str, dict[str, str]]:
    """Of the answers by task and text those that answer the task's own question, and "none".

    They are likelier by `min_lift` nats than they are, on average, as answers to the questions of some other tasks of
    the family, in the same format.
    """
    requests, of = [], []
    for place, task in enumerate(tasks):
        others = [one for one in [*tasks[place + 1 :], *tasks[:place]] if one.family == task.family]
        questions = [one.model_copy(update={"format": task.format}) for one in [task, *others[:OTHER_QUESTIONS]]]
        for text, output in pairs[task.id].items():
            if others and output != "none":
                of.append((task.id, text, len(questions)))
                requests += [Request(prompt(one.text(), CUE, text, []), choices=(output,)) for one in questions]
    answers = iter(teacher.generate(requests, "write_demonstrations, questions"))
    kept = {task.id: dict(pairs[task.id]) for task in tasks}
    for task_id, text, number in of:
        scores = [answer.choice_logprobs for answer in itertools.islice(answers, number)]
        if all(scores):
            own, *other = (logprob for (logprob,) in scores)
            if own - np.mean(other) < min_lift:
                del kept[task_id][text]
    return kept


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
    styles = [text for text in records.read_jsonl("data/corpus.jsonl", Text) if text.pool == "style"]
    drawn = np.random.default_rng(section.seed).permutation(len(styles))[: section.label_texts]
    real = [styles[int(place)].text for place in drawn]
    for_anchors, for_checks = real[::2], real[1::2]
    # What is asked of closed tasks: a small model tells the ends of a scale apart better than it names a level.
    closed = [task.with_ends() if real else task for task in tasks.values() if task.labels]
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
        first = ask_labels(model, [Question(task, real, []) for task in closed], "write_demonstrations, first labels")
        anchors = [draw_anchors(task, scores, for_anchors, section.seed) for task, scores in zip(closed, first)]
        exchange = section.min_exchanged_correlation > -1
        checks = check_labels(model, closed, first, anchors, for_checks, exchange, "write_demonstrations, checks")
        doubtful = {one.task for one in checks if one.kappa is not None and one.kappa < section.min_kappa}
        alike = {
            one.task
            for one in checks
            if one.exchanged_correlation is not None and one.exchanged_correlation < section.min_exchanged_correlation
        }
        understood = {key: task for key, task in tasks.items() if key not in doubtful | alike}
        prompts, wanted = build_prompts(
            list(understood.values()),
            styles,
            template,
            section.prompts_per_closed_task,
            section.prompts_per_open_task,
            section.seed,
        )
        answers, asked = calls.ask(model, prompts, section.sampling, teacher, read_answer, "write_demonstrations")
        calls.check_failures(asked, teacher.max_failure_rate, "write_demonstrations")
        written = [(task.id, *pair) for task in understood.values() for pair in task.examples]
        written += [(key.split()[0], *answers[key]) for key in sorted(answers)]
        new = distinct([text for _, text, _ in written], [task for task, _, _ in written], section.max_similarity)
        pairs: dict[str, dict[str, str]] = {task: {} for task in understood}
        for (task, text, output), keep in zip(written, new):
            if keep:
                pairs[task][text] = output
        questions = [
            Question(task, list(pairs[task.id]), shown) for task, shown in zip(closed, anchors) if task.id in understood
        ]
        labelled = dict(
            zip(
                (question.task.id for question in questions),
                ask_labels(model, questions, "write_demonstrations, labels"),
            )
        )
        if section.min_lift is not None:
            opened = [task for task in understood.values() if not task.labels]
            pairs |= own_answers(model, opened, pairs, section.min_lift)
    kept: list[Demonstration] = []
    agreed: dict[str, float] = {}
    for key, task in understood.items():
        if not task.labels:
            kept += of_open_task(task, pairs[key], 3 * section.max_per_label)
        elif scores := labelled[key]:
            by_ends = bool(real) and task.family == "scoring"
            shown, agreed[key] = of_closed_task(
                task, by_ends, scores, pairs[key], section.max_per_label, section.min_margin
            )
            kept += shown if agreed[key] >= section.min_agreement else []
    records.write_jsonl("data/calls/write_demonstrations.jsonl", asked)
    records.write_jsonl("data/label_checks.jsonl", checks)
    records.write_jsonl("data/demonstrations.jsonl", kept)
    stage.finish(
        "write_demonstrations",
        {
            **calls.summary(asked),
            "demonstrations": len(kept),
            "tasks_with_demonstrations": len({row.task for row in kept}),
            "repeated": len(written) - sum(new),
            "not_shown": sum(new) - len(kept),
            "share_of_labels_agreed": round(float(np.mean(list(agreed.values()))), 4) if agreed else None,
            "tasks_below_min_kappa": len(doubtful),
            "tasks_with_labels_alike": len(alike - doubtful),
            "tasks_below_min_agreement": sum(share < section.min_agreement for share in agreed.values()),
        },
    )


if __name__ == "__main__":
    stage.run(main)
