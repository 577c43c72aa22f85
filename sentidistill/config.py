"""`params.yaml` as frozen, checked sections. What each key means stands beside it in params.yaml."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WrapValidator,
    model_validator,
)

from sentidistill.errors import SentiDistillError
from sentidistill.yaml_files import explain, read_yaml, shown

DefaultTask = Literal["tweet", "amazon", "movie", "editorial"]
DEFAULT_TASKS: tuple[str, ...] = get_args(DefaultTask)
# The tasks of SentiBench, and irony without the hashtags that give it away.
SENTIBENCH = (
    *("imdb", "yelp2", "sst2", "twitter"),
    *("irony18", "irony18_stripped", "tweeteval", "pstance", "intimacy"),
    *("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener"),
)
PromptFormat = Literal["transcript", "chat"]


def _within(expected: str, holds: Callable[[Any], bool]) -> WrapValidator:
    def check(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            if not isinstance(value, bool) and holds(number := handler(value)):
                return number
        except (ValueError, OverflowError):
            pass
        raise ValueError(f"expected {expected}, found {shown(value)}")

    return WrapValidator(check)


def _whole(low: int, high: int) -> WrapValidator:
    return _within(f"a whole number from {low:,} to {high:,}", lambda value: low <= value <= high)


def _real(low: float, high: float) -> WrapValidator:
    return _within(f"a number from {low:g} to {high:,.10g}", lambda value: low <= value <= high)


def _above(low: float, high: float) -> WrapValidator:
    return _within(f"a number above {low:g} and at most {high:,.10g}", lambda value: low < value <= high)


def _text(pattern: str, expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII | re.DOTALL):
            raise ValueError(f"expected {expected}, found {shown(value)}")
        return value

    return AfterValidator(check)


# What a number may be, far beyond what is sensible. A value outside would fail later, for some only after the teacher
# was paid.
Seed = Annotated[int, _whole(0, 2**32 - 1)]
Positive = Annotated[int, _whole(1, 1_000_000_000)]
Count = Annotated[int, _whole(0, 1_000_000_000)]
Few = Annotated[int, _whole(1, 1_000)]
Shots = Annotated[int, _whole(0, 1_000)]
Tokens = Annotated[int, _whole(16, 1_048_576)]
NewTokens = Annotated[int, _whole(1, 1_048_576)]
Share = Annotated[float, _real(0, 1)]
PartAboveZero = Annotated[float, _above(0, 1)]
Percent = Annotated[float, _real(0, 100)]
Cosine = Annotated[float, _real(0, 2)]  # above 1: never
Rating = Annotated[float, _real(-4, 4)]
Texts = Annotated[float, _real(0, 1_000_000)]
Seconds = Annotated[float, _above(0, 86_400)]

# Names reach shell commands (dvc.yaml), paths and pip.
TASK_NAME = r"[a-z][a-z0-9_]{0,49}"
Name = Annotated[
    str, _text(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", "a name of letters, digits and . _ + - that starts with no sign")
]
TaskName = Annotated[str, _text(TASK_NAME, "a name of small letters, digits and _ that starts with a letter")]
Sha256 = Annotated[str, _text(r"[0-9a-f]{64}", "a SHA-256, 64 digits of 0-9 and a-f")]
Repo = Annotated[
    str, _text(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", "a repository of the hub, OWNER/NAME")
]
Revision = Annotated[str, _text(r"(?!.*\.\.)[A-Za-z0-9][\w./+-]{0,199}", "a branch, tag or commit")]
Member = Annotated[
    str, _text(r"(?!/)(?!(.*/)?\.\.(/|$))(?=.*\S)[^\n]{1,200}", "a path within the archive or repository, without ..")
]
Place = Annotated[str, _text(r"(?=.*\S)[^\n]{1,1000}", "a path")]
Line = Annotated[str, _text(r"(?=.*\S)[^\n]{1,200}", "one line of text that is not blank")]
Text = Annotated[str, _text(r"(?=.*\S).{1,10000}", "a text that is not blank, of at most 10,000 characters")]
Device = Annotated[str, _text(r"auto|cpu|mps|cuda(:\d{1,2})?", "auto, cpu, mps, cuda or cuda:NUMBER")]


def _not_all_zero(numbers: dict[str, int]) -> dict[str, int]:
    if not any(numbers.values()):
        raise ValueError("all are 0; give one of them a number above 0")
    return numbers


def _plain(value: Any, place: str = "") -> Any:
    """`value`, of texts, finite numbers, booleans, lists and mappings; what JSON can hold."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{place}expected names as keys, found {shown(key)}")
            _plain(part, f"{place}{key}: ")
    elif isinstance(value, list):
        for part in value:
            _plain(part, place)
    elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{place}expected a text, a finite number, true or false, found {shown(value)}")
    return value


Options = Annotated[dict[str, Any], AfterValidator(_plain)]


def _by_key(*keys: str) -> Discriminator:
    """Which of several sections a value is: that of the first of `keys` that it has."""

    def tag(value: Any) -> str | None:
        has = value.keys() if isinstance(value, Mapping) else getattr(value, "model_fields_set", ())
        return next((f"({key})" for key in keys if key in has), None)

    return Discriminator(
        tag,
        custom_error_type="no_key",
        custom_error_message=f"expected a mapping with one of the keys {', '.join(keys)}",
    )


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def _without_faults(section: S, faults: Mapping[str, object]) -> S:
    """`section`. Raises `ValueError` with all `faults` that are true, each on its line."""
    if found := [text for text, wrong in faults.items() if wrong]:
        raise ValueError("\n".join(found))
    return section


class Package(Section):
    name: Name
    version: Name
    sha256: Sha256
    sdist: bool = False


Packages = Annotated[list[Package], Field(min_length=1)]


class PypiModel(Section):
    source: Literal["pypi"]
    packages: Packages
    members: Member
    gguf_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "PypiModel":
        is_folder = re.fullmatch(r"[^*?\[]+/\*", self.members)
        faults = {"without gguf_sha256, members is a folder: FOLDER/*": not self.gguf_sha256 and not is_folder}
        return _without_faults(self, faults)


class HubModel(Section):
    source: Literal["hub"]
    repo: Repo
    revision: Revision = "main"
    weights: bool = True


class PathModel(Section):
    source: Literal["path"]
    path: Place


class PackagedFile(Section):
    """A file in parts: the members of each package in turn."""

    packages: Packages
    members: Member


class HubFile(Section):
    repo: Repo
    revision: Revision = "main"
    file: Member


class LocalFile(Section):
    path: Place


GgufPlace = Annotated[
    Annotated[LocalFile, Tag("(path)")]
    | Annotated[HubFile, Tag("(repo)")]
    | Annotated[PackagedFile, Tag("(packages)")],
    _by_key("path", "repo", "packages"),
]


class GgufModel(Section):
    source: Literal["gguf"]
    sha256: Sha256 | None = None
    places: Annotated[list[GgufPlace], Field(min_length=1)]


class ServerModel(Section):
    source: Literal["server"]
    model: Line


ModelSource = Annotated[PypiModel | HubModel | PathModel, Field(discriminator="source")]
TeacherSource = Annotated[PypiModel | HubModel | PathModel | GgufModel | ServerModel, Field(discriminator="source")]


class PrepareModels(Section):
    teacher: TeacherSource
    student_base: ModelSource
    embedder: ModelSource
    proxy: ModelSource | None


class Vader(Section):
    package: Package
    inner_archive: Member


class Splits(Section):
    train: Positive
    validation: Positive
    test: Positive


def _in_own(path: str) -> str:
    parts = Path(path).parts
    if parts[0] != "own" or len(parts) < 2 or ".." in parts:
        raise ValueError(
            f"{shown(path)} does not lie in own/, where DVC sees that a file changes; put it there, or a link"
        )
    return path


HELD_OUT = "params/held_out.txt"
OwnPath = Annotated[Place, AfterValidator(_in_own)]
HeldOut = Annotated[Place, AfterValidator(lambda path: path if path == HELD_OUT else _in_own(path))]


class OwnTask(Section):
    """A labelled file of the user's own as a task of the evaluation."""

    name: TaskName  # of files and of a stage
    path: OwnPath
    text_field: Line
    label_field: Line
    labels: Annotated[tuple[Line, ...], Field(min_length=2)]
    instruction: Text
    cue: Line = "Answer"

    @model_validator(mode="after")
    def _a_task_of_its_own(self) -> "OwnTask":
        different = {" ".join(label.casefold().split()) for label in self.labels}
        faults = {
            f"name {self.name!r} is that of another task": self.name in (*DEFAULT_TASKS, *SENTIBENCH),
            "two labels are the same but for their case or blanks": len(different) < len(self.labels),
        }
        return _without_faults(self, faults)


class PrepareBenchmark(Section):
    tasks: dict[DefaultTask, Name]
    negative_below: Rating
    positive_above: Rating
    per_label: Splits
    min_chars: Positive
    max_chars: Positive
    sentibench: Place | None
    own: list[OwnTask]
    own_records: Splits

    @model_validator(mode="after")
    def _consistent(self) -> "PrepareBenchmark":
        names = [task.name for task in self.own]
        faults = {
            "negative_below lies above positive_above": self.negative_below > self.positive_above,
            "own: two tasks have one name": len(set(names)) < len(names),
            "min_chars lies above max_chars": self.min_chars > self.max_chars,
        }
        return _without_faults(self, faults)


class VaderTexts(Section):
    domain: Name
    vader: Name


class FileTexts(Section):
    domain: Name
    path: OwnPath
    text_field: Line = "text"


TextSource = Annotated[
    Annotated[VaderTexts, Tag("(vader)")] | Annotated[FileTexts, Tag("(path)")], _by_key("vader", "path")
]


class Pools(Section):
    enumeration: Annotated[int, _whole(2, 1_000_000_000)]  # write_demonstrations shows two of them at a time
    distillation: Positive


class PrepareCorpus(Section):
    sources: Annotated[list[TextSource], Field(min_length=1)]
    min_chars: Positive
    max_chars: Positive
    near_duplicate_similarity: Share
    held_out: HeldOut | None
    pool_sizes: Pools

    @model_validator(mode="after")
    def _consistent(self) -> "PrepareCorpus":
        return _without_faults(self, {"min_chars lies above max_chars": self.min_chars > self.max_chars})


class Teacher(Section):
    prompt_format: PromptFormat
    worked_examples: bool
    max_prompt_tokens: Tokens
    retries: Annotated[int, _whole(0, 100)]
    max_failure_rate: Share
    api: Literal["completions", "chat"]
    extra_body: Options
    seed: Seed


class Student(Section):
    prompt_format: PromptFormat
    max_length: Tokens


class Sampling(Section):
    temperature: Annotated[float, _real(0, 10)]
    top_p: PartAboveZero
    top_k: Positive
    frequency_penalty: Annotated[float, _real(-2, 2)]
    max_new_tokens: NewTokens


class EnumerateAttributes(Section):
    sampling: Sampling


class CollectAttributes(Section):
    min_texts: Positive
    min_share: Share
    same_spelling: Percent
    same_meaning: Cosine


class ClusterAttributes(Section):
    method: Literal["affinity_propagation", "agglomerative", "kmeans"]
    preference_percentile: Percent
    damping: Annotated[float, _real(0.5, 0.999)]
    max_iter: Annotated[int, _whole(1, 1_000_000)]
    n_clusters: Annotated[int, _whole(1, 1_000_000)]
    with_descriptions: bool
    stability_runs: Annotated[int, _whole(0, 1_000)]
    seed: Seed


class SelectPerspectives(Section):
    method: Literal["none", "embedding"]
    min_margin: Annotated[float, _real(-2, 2)]


class WriteAnalysisInstructions(Section):
    attributes_per_call: Few
    max_similarity: Share
    sampling: Sampling


class ProposeTasks(Section):
    attributes_per_cluster: Few
    max_per_attribute: Few
    sampling: Sampling


class DefineTasks(Section):
    max_labels: Annotated[int, _whole(2, 1_000)]
    max_label_words: Few
    max_examples: Few
    max_similarity: Share
    max_tasks: dict[Literal["classification", "scoring", "extraction", "structured"], Count]
    sampling: Sampling


class WriteDemonstrations(Section):
    prompts_per_closed_task: Few
    prompts_per_open_task: Few
    min_words: Few
    max_similarity: Share
    shrinkage: Texts
    min_kappa: Annotated[float, _real(-1, 1)]
    min_lead: Annotated[float, _real(0, 1_000)]
    min_agreement: Share
    max_per_label: Few
    seed: Seed
    sampling: Sampling


class BuildInstructions(Section):
    source: Literal["attributes", "hand_written"]
    min_demonstrations: Few
    max_similarity: Share


class ComposePrompts(Section):
    prompts: Annotated[
        dict[Literal["classification", "scoring", "extraction", "structured", "analysis"], Count],
        AfterValidator(_not_all_zero),
    ]
    mentions_power: Annotated[float, _real(0, 10)]
    teacher_shots: Shots
    student_shots: Annotated[list[Shots], Field(min_length=1, max_length=1_000)]
    seed: Seed


class CollectResponses(Section):
    calibrate: bool
    shrinkage: Texts
    max_share_of_one_label: PartAboveZero
    sampling: Sampling


class ScoreDifficulty(Section):
    top_p: PartAboveZero
    batch_tokens: Positive
    model: Literal["student_base", "proxy"]
    proxy_check: Count
    engine: Literal["transformers", "vllm"]
    vllm_shown: Annotated[int, _whole(1, 1_000_000)]
    max_truncated_share: Share


class SelectSamples(Section):
    rate: PartAboveZero
    budget: dict[Literal["samples", "tokens"], Positive]
    metric: Literal["difficulty", "rank_score", "rank_score_all", "nll", "ppl", "n_tokens"]
    strategy: Literal["soft", "hard", "easy", "random"]
    peak: Share
    stratify: bool
    max_share: dict[Literal["cluster", "family"], PartAboveZero]
    seed: Seed

    @model_validator(mode="after")
    def _consistent(self) -> "SelectSamples":
        faults = {
            "budget is either in samples or in tokens": len(self.budget) > 1,
            "max_share needs stratify": self.max_share and not self.stratify,
        }
        return _without_faults(self, faults)


class TrainStudent(Section):
    epochs: Annotated[float, _above(0, 1_000)]
    learning_rate: PartAboveZero
    batch_size: Annotated[int, _whole(1, 1_000_000)]
    weight_decay: Annotated[float, _real(0, 10)]
    warmup_ratio: Share
    max_grad_norm: Annotated[float, _above(0, 1_000_000)]
    max_failure_rate: Share
    seed: Seed


class SentiBench(Section):
    shots: Shots
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=100)]
    demonstrations: Literal["shared", "per_record"]
    max_demonstration_chars: Positive
    label_limit: Count
    tuple_limit: Count
    with_schema: bool
    max_new_tokens: NewTokens


class Evaluate(Section):
    tasks: Annotated[list[TaskName], Field(min_length=1)]
    split: Literal["validation", "test"]
    shots_per_label: Shots
    calibration_texts: Count
    limit: Count
    bootstrap_samples: Annotated[int, _whole(1, 100_000)]
    seed: Seed
    sentibench: SentiBench

    @model_validator(mode="after")
    def _consistent(self) -> "Evaluate":
        repeated = sorted({task for task in self.tasks if self.tasks.count(task) > 1})
        return _without_faults(self, {f"tasks names {', '.join(repeated)} twice": repeated})


class Engines(Section):
    teacher: Literal["llamacpp", "transformers", "vllm", "openai"]
    student: Literal["transformers", "vllm"]


def _address(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "holds a name, password or query, which errors and logs would show; give the key by key_variable"
        )
    return url


def _variable(name: str) -> str:
    if not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", name):
        # Not shown: it may be the key.
        raise ValueError("expected the name of an environment variable that holds the key, not the key itself")
    return name


class Server(Section):
    base_url: Annotated[str, AfterValidator(_address)]
    model: Annotated[str, Field(max_length=200)]
    key_variable: Annotated[str, AfterValidator(_variable)]
    requests_per_minute: Count
    timeout: Seconds
    attempts: Few
    first_wait: Seconds
    max_wait: Seconds
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"]
    schemas: bool


class Ray(Section):
    actors: Annotated[int, _whole(0, 10_000)]
    cpus_per_actor: Annotated[float, _real(0, 1_024)]
    gpus_per_actor: Annotated[float, _real(0, 1_024)]


class Prices(Section):
    prompt: Annotated[float, _real(0, 1_000_000)]
    completion: Annotated[float, _real(0, 1_000_000)]


class Runtime(Section):
    engine: Engines
    device: Device
    dtype: Literal["float32", "bfloat16", "float16"]
    threads: Annotated[int, _whole(0, 1_024)]
    concurrency: Annotated[int, _whole(1, 100_000)]
    batch_tokens: Positive
    cache: Literal["read-write", "read", "refresh"]
    llamacpp: Options
    vllm: Options
    server: Server
    ray: Ray
    prices: Prices
    train_rows_per_step: Positive
    gradient_checkpointing: bool
    save_steps: Count


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
        return _without_faults(self, _contradictions(dict(self)))


def _contradictions(of: Mapping[str, Any]) -> dict[str, object]:
    """What settings of different sections may say against each other, and whether they do.

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
            "define_tasks.max_tasks are all 0; give a family some, or set build_instructions.source to hand_written"
        ] = of["build_instructions"].source == "attributes" and not any(of["define_tasks"].max_tasks.values())
    if {"train_student", "runtime"} <= of.keys():
        rows, batch = of["runtime"].train_rows_per_step, of["train_student"].batch_size
        faults[f"runtime.train_rows_per_step ({rows}) must divide train_student.batch_size ({batch})"] = batch % rows
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

    Raises `SentiDistillError` with all faults: for each the key, the value and what it may be, and for an unknown key
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
