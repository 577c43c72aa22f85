"""`params.yaml` as frozen, checked sections, each in a module of its own. params.yaml explains its keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from sentidistill.config.attributes import ClusterAttributes, CollectAttributes, EnumerateAttributes, SelectPerspectives
from sentidistill.config.benchmark import SENTIBENCH, PrepareBenchmark
from sentidistill.config.corpus import PrepareCorpus, Vader
from sentidistill.config.difficulty import ScoreDifficulty
from sentidistill.config.evaluation import Evaluate
from sentidistill.config.instructions import (
    BuildInstructions,
    DefineTasks,
    ProposeTasks,
    WriteAnalysisInstructions,
    WriteDemonstrations,
)
from sentidistill.config.models import PrepareModels
from sentidistill.config.pool import CollectResponses, ComposePrompts
from sentidistill.config.prompting import Student, Teacher
from sentidistill.config.rules import Section, without_faults
from sentidistill.config.runtime import Runtime
from sentidistill.config.selection import SelectSamples
from sentidistill.config.training import TrainStudent
from sentidistill.errors import SentiDistillError
from sentidistill.yaml_files import explain, read_yaml, shown


class Params(Section):
    vader: Vader
    teacher: Teacher
    student: Student
    prepare_models: PrepareModels
    prepare_benchmark: PrepareBenchmark
    prepare_corpus: PrepareCorpus
    enumerate_attributes: EnumerateAttributes
    collect_attributes: CollectAttributes
    cluster_attributes: ClusterAttributes
    select_perspectives: SelectPerspectives
    write_analysis_instructions: WriteAnalysisInstructions
    propose_tasks: ProposeTasks
    define_tasks: DefineTasks
    write_demonstrations: WriteDemonstrations
    build_instructions: BuildInstructions
    compose_prompts: ComposePrompts
    collect_responses: CollectResponses
    score_difficulty: ScoreDifficulty
    select_samples: SelectSamples
    train_student: TrainStudent
    evaluate: Evaluate
    runtime: Runtime

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        return without_faults(self, _contradictions(dict(self)))


def _contradictions(of: Mapping[str, Any]) -> dict[str, object]:
    """Contradictions that there may be between settings of different sections, and whether they are there.

    `of` are the sections, by name, that are valid by themselves.
    """
    faults: dict[str, object] = {}
    if {"evaluate", "prepare_benchmark"} <= of.keys():
        faults |= _of_tasks(of["evaluate"], of["prepare_benchmark"])
    if {"score_difficulty", "prepare_models"} <= of.keys():
        faults["score_difficulty.model 'proxy' needs prepare_models.proxy"] = (
            of["score_difficulty"].model == "proxy" and of["prepare_models"].proxy is None
        )
    if {"build_instructions", "define_tasks"} <= of.keys():
        faults[
            "define_tasks.max_tasks are all 0; give a family some, or set build_instructions.source to another one"
        ] = of["build_instructions"].source == "attributes" and not any(of["define_tasks"].max_tasks.values())
    if {"select_samples", "build_instructions", "collect_responses"} <= of.keys():
        faults[
            "select_samples.perspectives and without_perspectives need the instructions made from perspectives; empty "
            "them, or set build_instructions.source to attributes and collect_responses.released to null"
        ] = (of["select_samples"].perspectives or of["select_samples"].without_perspectives) and (
            of["build_instructions"].source != "attributes" or of["collect_responses"].released
        )
    if {"train_student", "runtime"} <= of.keys():
        batch, runtime = of["train_student"].batch_size, of["runtime"]
        rows, processes = runtime.train_rows_per_step, max(1, runtime.train.processes)
        times = f" times runtime.train.processes ({processes})" if processes > 1 else ""
        faults[f"runtime.train_rows_per_step ({rows}){times} must divide train_student.batch_size ({batch})"] = (
            batch % (rows * processes)
        )
    if {"train_student", "prepare_benchmark"} <= of.keys():
        faults["train_student.own_labels needs a labelled file in prepare_benchmark.own; name one, or set it to 0"] = (
            of["train_student"].own_labels and not of["prepare_benchmark"].own
        )
    if {"prepare_models", "teacher", "runtime", "collect_responses"} <= of.keys():
        calibrate = of["collect_responses"].calibrate
        faults |= _of_teacher(of["prepare_models"].teacher.source, of["teacher"], of["runtime"], calibrate)
    return faults


def _of_tasks(section: Evaluate, benchmark: PrepareBenchmark) -> dict[str, object]:
    others = set(section.tasks) - {*benchmark.tasks, *(task.name for task in benchmark.own)}
    unknown = sorted(others - set(SENTIBENCH))
    per_label, own, shots = benchmark.per_label.train, benchmark.own_records.train, section.shots_per_label
    return {
        f"evaluate.tasks names {unknown}: no such task in prepare_benchmark.tasks, own or SentiBench": unknown,
        f"evaluate.tasks names {sorted(others)}; set prepare_benchmark.sentibench to a copy of the data": (
            others and not benchmark.sentibench
        ),
        "add one of prepare_benchmark.tasks or own to evaluate.tasks: the headline is computed from them": (
            len(others) == len(section.tasks)
        ),
        f"evaluate.shots_per_label is {shots}; it has to be below prepare_benchmark.per_label.train, {per_label}: the "
        "texts that are left calibrate the scores": shots >= per_label and set(section.tasks) & set(benchmark.tasks),
        f"evaluate.shots_per_label is {shots} for each label of an own task; all of them have to be below "
        f"prepare_benchmark.own_records.train, {own}": any(
            shots * len(task.labels) >= own for task in benchmark.own if task.name in section.tasks
        ),
    }


def _of_teacher(source: str, teacher: Teacher, runtime: Runtime, calibrate: bool) -> dict[str, object]:
    engine = runtime.engine.teacher
    by_chat = engine == "openai" and teacher.api == "chat"
    return {
        "runtime.engine.teacher 'llamacpp' runs models of source 'gguf', and no other engine does": (
            (source == "gguf") != (engine == "llamacpp")
        ),
        "prepare_models.teacher.source 'server' needs runtime.engine.teacher 'openai' and teacher.api 'chat'": (
            source == "server" and not by_chat
        ),
        "runtime.engine.teacher 'openai' needs runtime.server.base_url": (
            engine == "openai" and not runtime.server.base_url
        ),
        "teacher.api 'chat' needs teacher.prompt_format 'chat'": by_chat and teacher.prompt_format != "chat",
        "teacher.api 'chat' gives no scores of labels to calibrate; set collect_responses.calibrate to false, or "
        "teacher.api to 'completions' if the server is vLLM's": by_chat and calibrate,
    }


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check the whole of `path`.

    Raises `SentiDistillError` with all faults: each with the key, the value and what is allowed, and for an unknown key
    the nearest known one. Numbers such as `2e-5`, which YAML 1.1 reads as text, are accepted as numbers.
    """
    return checked(read_yaml(path), path, path)


def checked(values: Any, where: str | Path, path: str | Path | None = None) -> Params:
    """The contents of params.yaml, which errors call `where`, with lines where it is the file `path`.

    Raises as `load` does.
    """
    if not isinstance(values, dict):
        raise SentiDistillError(f"{where}: expected sections such as 'teacher:', found {shown(values)}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = explain(error, values, Params, where, path)
        faulty = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
    if faulty:
        sections = {
            name: field.annotation.model_validate(values[name])
            for name, field in Params.model_fields.items()
            if field.annotation and name not in faulty
        }
        lines += [f"{where}: {text}" for text, wrong in _contradictions(sections).items() if wrong]
    raise SentiDistillError("\n".join(lines))
