"""What stages will ask, and need of GPUs, once what they read is made anew: by params.yaml and arithmetic alone."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sentidistill.commands.trials import number, stages_of
from sentidistill.config import Params
from sentidistill.config.models import HubModel, TeacherSource
from sentidistill.config.runtime import Runtime
from sentidistill.construct import reviews
from sentidistill.evaluation.sentibench import TUPLE_TASKS
from sentidistill.inference.opening import Role
from sentidistill.inference.store import Rate
from sentidistill.pipeline.graph import Stage
from sentidistill.student import checks

# Test records of SentiBench in its public copy.
RECORDS = {
    **dict.fromkeys(("imdb", "yelp2", "twitter"), 1000),
    **{"sst2": 1821, "irony18": 784, "irony18_stripped": 784, "tweeteval": 1421, "pstance": 2157, "intimacy": 396},
    **{"atsa_rest16": 676, "acsa_rest16": 676, "asqp_rest16": 544, "opener": 499},
}
# About half of what is said of an A100 of 80 GB: operations in bfloat16, and bytes of its memory, a second.
OPERATIONS, BYTES = 1.5e14, 1.0e12
OF_TYPE = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes
VOCABULARY = 150_000


def requests(one: Stage, params: Params) -> tuple[int, int] | None:
    """(about how many requests a stage makes, of how many new tokens at most); None where no setting says so.

    First attempts alone. Tasks are as many as may be defined; a text of a demonstration is one more request, and two of
    them are written at once, for a closed task at least.
    """
    if one.template == "evaluate":
        return _tested(one.arguments[1], params)
    tasks, demonstrations = params.define_tasks.max_tasks, params.write_demonstrations
    closed = demonstrations.prompts_per_closed_task * sum(tasks.get(kind, 0) for kind in ("classification", "scoring"))
    open_ = demonstrations.prompts_per_open_task * sum(tasks.get(kind, 0) for kind in ("extraction", "structured"))
    answered = params.compose_prompts.prompts
    unlabelled = sum(answered.get(kind, 0) for kind in ("extraction", "structured", "analysis"))
    enumerated = params.prepare_corpus.pool_sizes.enumeration
    long = params.collect_responses.sampling.max_new_tokens
    return {
        "enumerate_attributes": (enumerated, enumerated * params.enumerate_attributes.sampling.max_new_tokens),
        "define_tasks": (sum(tasks.values()), sum(tasks.values()) * params.define_tasks.sampling.max_new_tokens),
        "write_demonstrations": (
            3 * (closed + open_),
            (closed + open_) * demonstrations.sampling.max_new_tokens + 2 * open_ * long,
        ),
        "collect_responses": (sum(answered.values()), unlabelled * long),
    }.get(one.name)


def _tested(task: str, params: Params) -> tuple[int, int] | None:
    section, bench = params.evaluate, params.evaluate.sentibench
    if task in params.prepare_benchmark.tasks:
        records = 3 * getattr(params.prepare_benchmark.per_label, section.split)
        return min(records, section.limit or records) + section.calibration_texts, 0
    if task not in RECORDS:
        return None
    written = task in TUPLE_TASKS
    limit = bench.tuple_limit if written else bench.label_limit
    records = min(limit or RECORDS[task], RECORDS[task])
    if written:
        return records * len(bench.seeds), records * len(bench.seeds) * bench.max_new_tokens
    return (records + section.calibration_texts) * len(bench.seeds), 0


def prompt_tokens(one: Stage, requests: int, pace: Mapping[str, Rate]) -> int | None:
    """Those of `requests` that are as long as the stage's last ones, whatever model read them."""
    found = _own(one, pace)
    known = sum(rate.requests for rate in found)
    return round(requests * sum(rate.prompt_tokens for rate in found) / known) if known else None


def parameters(source: TeacherSource) -> float | None:
    """Number of a hub model's parameters, by its name: Qwen/Qwen3-32B."""
    size = re.search(r"(?i)(\d+(?:\.\d+)?)b(?![a-z0-9])", source.repo) if isinstance(source, HubModel) else None
    return float(size[1]) * 1e9 if size else None


@dataclass(frozen=True)
class OnGpus:
    """A model of so many `parameters` by vLLM, on `gpus`, of which each group of `together` holds it once."""

    parameters: float
    gpus: int
    together: int
    runtime: Runtime

    @classmethod
    def of(cls, role: Role, params: Params) -> "OnGpus | None":
        """None where the model's size is not known, or another engine runs it."""
        is_teacher = role == "teacher"
        size = parameters(params.prepare_models.teacher if is_teacher else params.prepare_models.student_base)
        engine = params.runtime.engine.teacher if is_teacher else params.runtime.engine.student
        if size is None or engine != "vllm":
            return None
        options = params.runtime.vllm.teacher if is_teacher else params.runtime.vllm.student
        together = options.get("tensor_parallel_size", 1)
        return cls(size, together * max(1, params.runtime.ray.actors), together, params.runtime)

    @property
    def weights(self) -> float:
        """Bytes of weights on each GPU; vLLM fills the rest of what it may take with keys and values."""
        return self.parameters * OF_TYPE[self.runtime.dtype] / self.together

    def hours(self, prompt_tokens: int, new_tokens: int) -> float:
        """By arithmetic: a token takes two operations a parameter, and the weights are read once for a token of all
        requests under way."""
        computing = 2 * self.parameters * (prompt_tokens + new_tokens) / self.gpus / OPERATIONS
        reading = self.weights * new_tokens / self.runtime.concurrency / BYTES * self.together / self.gpus
        return (computing + reading) / 3600


def training(params: Params) -> tuple[float, float] | None:
    """(bytes on the one GPU, hours at most) of training a student by its size; None where that is not known.

    At most: all rows kept, each of student.max_length tokens. Its shape is guessed from the size: a model is about a
    hundred times as wide as it has layers.
    """
    size, section, runtime = parameters(params.prepare_models.student_base), params.train_student, params.runtime
    if size is None:
        return None
    width = (size * 100 / 12) ** (1 / 3)
    shape = SimpleNamespace(
        hidden_size=width, intermediate_size=8 / 3 * width, num_hidden_layers=width / 100, vocab_size=VOCABULARY
    )
    model: Any = SimpleNamespace(  # as far as `checks.memory` looks at one
        config=SimpleNamespace(get_text_config=lambda: shape),
        device=SimpleNamespace(type="cuda"),
        parameters=list,
    )
    length, again = params.student.max_length, runtime.gradient_checkpointing
    _, passing = checks.memory(model, runtime.train_rows_per_step * length, again)
    tokens = sum(params.compose_prompts.prompts.values()) * params.select_samples.rate * section.epochs * length
    return checks.STATES * size + passing, (8 if again else 6) * size * tokens / OPERATIONS / 3600


def hours(one: Stage, requests: int, rates: Mapping[str, Rate]) -> float | None:
    """Those of `requests` at the pace of the stage's last ones, of whatever kind; None where there were none.

    `rates` are by the labels under which stages ask: "collect_responses, labels", "evaluate teacher, movie".
    """
    found = _own(one, rates)
    known = sum(rate.requests for rate in found)
    return requests * sum(rate.seconds for rate in found) / known / 3600 if known else None


def _own(one: Stage, rates: Mapping[str, Rate]) -> list[Rate]:
    own = f"{one.template} {', '.join(one.arguments)}" if one.arguments else one.name
    return [rate for label, rate in rates.items() if label == own or label.startswith(f"{own}, ")]


def changed(stages: list[Stage], values: Mapping[str, Any], lock: Path = Path("dvc.lock")) -> set[str]:
    """Stages whose params, `values`, or whose files that no stage writes, are not those of their last run.

    A stage that never ran is none of them, and a change of code alone is not looked at. Nor are the verdicts of people:
    few questions follow from them.
    """
    if not lock.exists():
        return set()
    last = stages_of(lock.read_text(encoding="utf-8"))
    written = {path for one in stages for path in (*one.outs, *one.metrics)}
    found = set()
    for one in stages:
        noted = last.get(one.name, {})
        settings = noted.get("params", {}).get("params.yaml", {})
        files = {dep["path"]: dep["md5"] for dep in noted.get("deps", [])}
        fixed = written | {str(reviews.PATH)}
        own = [path for path in one.inputs if not one.reads(fixed & {path}) and path in files]
        if any(number(_at(values, key)) != number(value) for key, value in settings.items()) or any(
            _md5(Path(path)) != files[path] for path in own
        ):
            found.add(one.name)
    return found


def made_anew(stages: list[Stage], lock: Path = Path("dvc.lock")) -> set[str]:
    """Stages that read data which is not that of their last run: the stage that writes it was run by itself."""
    if not lock.exists():
        return set()
    last = stages_of(lock.read_text(encoding="utf-8"))
    return {
        one.name
        for one in stages
        for dep in last.get(one.name, {}).get("deps", [])
        if dep["path"].startswith("data/") and Path(dep["path"]).exists() and _md5(Path(dep["path"])) != dep["md5"]
    }


def edited(path: Path, lock: Path = Path("dvc.lock")) -> bool:
    """Whether a file that a stage of the last run read is not as it was."""
    if not lock.exists():
        return False
    stages = stages_of(lock.read_text(encoding="utf-8")).values()
    return any(dep["path"] == str(path) and dep["md5"] != _md5(path) for one in stages for dep in one.get("deps", []))


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _md5(path: Path) -> str:
    """As DVC has it: of a folder, that of the list of its files."""
    if not path.is_dir():
        return hashlib.md5(path.read_bytes()).hexdigest() if path.exists() else ""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"
