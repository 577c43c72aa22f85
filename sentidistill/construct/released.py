"""A pool of answers that others collected, in the form of CompEffDist's published corpora, in place of our teacher's.

A row has the whole prompt under "instruction": the instruction, an empty line, and blocks that begin with "Input:" and
"Output:", of which the last holds the text. Beside it stand "selected_cluster_id", "task_name" ("analysis" for an open
analysis) and the answer (HITSZ-HLT/COMPEFFDIST, difficulty_prioritized_sampling.py). The labels of a task are not
given, so every answer counts as open.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from sentidistill.errors import SentiDistillError
from sentidistill.records import content_id
from sentidistill.samples import Sample
from sentidistill.sources import tables
from sentidistill.sources.corpus import clean, text_id

PROMPT, CLUSTER, TASK = "instruction", "selected_cluster_id", "task_name"
ANALYSIS = "analysis"
_MARK = re.compile(r"^(Input|Output):", re.MULTILINE)


def read(path: Path, answer_field: str) -> Iterator[tuple[str, int, str, str]]:
    """(whole prompt, number of the cluster, name of the task, answer) of each row of the file.

    An answer that is null is empty. Raises `SentiDistillError` with the line of a row that lacks one of the others.
    """
    source = tables.Source(path, PROMPT, setting=f"name that column {PROMPT}", recode="save the file in UTF-8")
    if not {answer_field, answer_field.split(".")[0]} & set(source.columns()):
        raise SentiDistillError(f"{path}: no column {answer_field!r}; see collect_responses.released.answer_field")
    for row in source.rows():
        if row.fault or row.values is None:
            raise SentiDistillError(f"{path}, {row.place}: {row.fault}")
        found = [tables.at(row.values, field) for field in (PROMPT, CLUSTER, TASK, answer_field)]
        prompt, cluster, task, answer = *found[:3], "" if found[3] is None else found[3]
        if not all(isinstance(one, str) for one in (prompt, task, answer)) or not re.fullmatch(
            "[0-9]{1,12}", str(cluster)
        ):
            raise SentiDistillError(
                f"{path}, {row.place}: expected texts under '{PROMPT}', '{TASK}' and '{answer_field}', and a whole "
                f"number under '{CLUSTER}'; it has {tables.names(row.values)}; see collect_responses.released"
            )
        yield prompt, int(cluster), task, answer


def parts(prompt: str) -> tuple[str, list[tuple[str, str]], str] | None:
    """(instruction, demonstrations, text) of a whole prompt; None if its blocks do not take turns or one is empty."""
    instruction, *rest = (piece.strip() for piece in _MARK.split(prompt))
    if rest[-2:] == ["Output", ""]:
        rest = rest[:-2]
    marks, blocks = rest[::2], rest[1::2]
    shots = len(marks) // 2
    if not instruction or marks != ["Input", "Output"] * shots + ["Input"] or not all(blocks):
        return None
    return instruction, list(zip(blocks[:-1:2], blocks[1::2])), blocks[-1]


def samples_of(rows: Iterable[tuple[str, int, str, str]]) -> tuple[list[Sample], dict[str, int]]:
    """(samples in the order of their ids; how many rows were left out, by reason) of what `read` yields.

    Strata are those of the published selection: a task of a cluster, or an analysis instruction of a cluster. The
    clusters are those of the file, not ours.
    """
    found: dict[str, Sample] = {}
    lost: Counter[str] = Counter()
    for prompt, cluster, task, answer in rows:
        of_prompt = parts(prompt)
        if of_prompt is None or not clean(of_prompt[2]):
            lost["prompt_not_read"] += 1
            continue
        if not answer.strip():
            lost["no_answer"] += 1
            continue
        instruction, demonstrations, text = of_prompt
        is_analysis = task == ANALYSIS
        stratum = content_id(str(cluster), instruction if is_analysis else task)
        key = content_id(stratum, instruction, text)
        if key in found:
            lost["repeated"] += 1
            continue
        found[key] = Sample(
            id=key,
            stratum=stratum,
            cluster=cluster,
            family=ANALYSIS if is_analysis else "task",
            instruction=instruction,
            cue="Analysis" if is_analysis else "Output",
            labels=[],
            text_id=text_id(text),
            text=clean(text),
            demonstrations=demonstrations,
            student_demonstrations=demonstrations,
            answer=answer.strip(),
            label_scores=[],
            plain=answer.strip(),
            probabilities=[],
        )
    return [found[key] for key in sorted(found)], dict(sorted(lost.items()))
