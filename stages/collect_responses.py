"""pool -> data/responses.jsonl: the teacher's answer to every prompt.

A row: {"id": "c3d1...", "answer": "3", "label_scores": [-4.1, -2.2, -1.3], "uncalibrated": "3"}
Where the labels are a closed set, the answer is the likeliest label; otherwise it is sampled and checked.
"""

from collections import Counter, defaultdict

import numpy as np

from sentidistill import calls, config, records, stage
from sentidistill.calibration import calibrate
from sentidistill.instructions import answer_schema, check_output
from sentidistill.parsing.markup import strip_thinking, until_repetition
from sentidistill.samples import Answered, PoolPrompt
from sentidistill.teacher.base import Request
from sentidistill.teacher.cached import CachedTeacher
from sentidistill.teacher.opening import OpenModel, open_model


def choose_labels(
    teacher: CachedTeacher, rows: list[PoolPrompt], calibrated: bool
) -> tuple[list[Answered], list[calls.Call]]:
    """The likeliest label for each row; with `calibrated`, after the mean score of its stratum is taken off."""
    requests = [Request(prompt=row.prompt(), choices=tuple(row.labels)) for row in rows]
    responses = teacher.generate(requests, "collect_responses, labels")
    asked, scored = [], defaultdict(list)
    for row, request, response in zip(rows, requests, responses):
        failed = response.error is not None
        if not failed:
            scored[row.stratum].append((row, response))
        asked.append(
            calls.Call(
                key=row.id,
                prompt_id=records.content_id(repr(request.prompt)),
                raw=response.text,
                finish_reason=response.finish_reason,
                prompt_tokens=response.prompt_tokens,
                completion_tokens=0,
                attempts=1,
                status="failed" if failed else "parsed",
                faults=["error"] if failed else [],
                error=response.error,
            )
        )
    answered = []
    for group in scored.values():
        chosen = [response.text for _, response in group]
        if calibrated:
            best = calibrate(np.array([response.choice_logprobs for _, response in group])).argmax(axis=1)
            chosen = [row.labels[int(place)] for (row, _), place in zip(group, best)]
        answered += [
            Answered(
                id=row.id,
                answer=label,
                label_scores=list(response.choice_logprobs),
                uncalibrated=response.text,
            )
            for (row, response), label in zip(group, chosen)
        ]
    return answered, asked


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section, teacher = params.collect_responses, params.teacher
    rows = {row.id: row for row in records.read_jsonl("data/prompts.jsonl", PoolPrompt)}
    closed = [row for row in rows.values() if row.labels]
    prompts = {row.id: row.prompt() for row in rows.values() if not row.labels}
    schemas = {key: answer_schema(rows[key].instruction) for key in prompts if rows[key].family == "structured"}

    def read_answer(key: str, raw: str) -> tuple[str | None, list[str]]:
        row = rows[key]
        text = strip_thinking(raw)
        first = text if row.family == "structured" else text.split("\n\n")[0].strip()
        if row.family == "extraction":
            first = first.split("\n")[0]
        if row.family == "analysis":
            first = until_repetition(text)
        answer, reason = check_output(row.family, [], row.instruction, row.text, first)
        if answer is None:
            return None, [reason]
        return answer, [] if answer == raw.strip() else ["trimmed"]

    with open_model("teacher", params, stage.cache_root()) as model:
        labelled, asked = choose_labels(model, closed, section.calibrate)
        free, asked_free = calls.ask(
            model, prompts, section.sampling, teacher, read_answer, "collect_responses", schemas=schemas
        )
    asked += asked_free
    calls.check_failures(asked, teacher.max_failure_rate, "collect_responses")
    answered = labelled + [
        Answered(id=key, answer=answer, label_scores=[], uncalibrated=answer) for key, answer in free.items()
    ]
    answered.sort(key=lambda row: row.id)
    records.write_jsonl("data/calls/collect_responses.jsonl", sorted(asked, key=lambda call: call.key))
    records.write_jsonl("data/responses.jsonl", answered)
    families = Counter(rows[row.id].family for row in answered)
    changed = sum(row.answer != row.uncalibrated for row in labelled)
    stage.finish(
        "collect_responses",
        {
            **calls.summary(asked),
            "answers": len(answered),
            **{f"answers_{family}": number for family, number in sorted(families.items())},
            "share_of_labels_changed_by_calibration": round(changed / max(len(labelled), 1), 4),
        },
    )


if __name__ == "__main__":
    stage.run(main)
