import copy
import math
import os
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentidistill import config
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import graph
from sentidistill.yaml_files import shown
from tests.project import ROOT, environment

DEFAULT = yaml.safe_load((ROOT / "params.yaml").read_text())


def default() -> dict[str, Any]:
    return copy.deepcopy(DEFAULT)


def changed(tmp_path: Path, change) -> Path:
    values = default()
    change(values)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_default_params_are_valid():
    assert config.load("params.yaml").train_student.batch_size > 0


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path):
    path = changed(tmp_path, lambda values: values["train_student"].update(learning_rat=1))
    with pytest.raises(SentiDistillError, match=r"train_student\.learning_rat; did you mean learning_rate\?"):
        config.load(path)


def test_an_unknown_section_is_named(tmp_path):
    path = changed(tmp_path, lambda values: values.update(train_studnet={}))
    with pytest.raises(SentiDistillError, match=r"unknown key train_studnet; did you mean train_student\?"):
        config.load(path)


def test_a_missing_key_is_named(tmp_path):
    path = changed(tmp_path, lambda values: values["select_samples"].pop("rate"))
    with pytest.raises(SentiDistillError, match=r"select_samples\.rate is missing"):
        config.load(path)


def test_a_value_out_of_range_is_named(tmp_path):
    path = changed(tmp_path, lambda values: values["select_samples"].update(rate=2))
    with pytest.raises(SentiDistillError, match=r"select_samples\.rate: .*above 0 and at most 1, found 2"):
        config.load(path)


@pytest.mark.parametrize("text", ["2e-5", "3e-05"])
def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path, text):
    path = changed(tmp_path, lambda values: values["train_student"].update(learning_rate=text))
    assert config.load(path).train_student.learning_rate == float(text)


def test_an_evaluated_task_has_to_be_prepared(tmp_path):
    path = changed(tmp_path, lambda values: values["evaluate"].update(tasks=["tweet", "yelp"]))
    with pytest.raises(SentiDistillError, match="yelp"):
        config.load(path)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [\n"])
def test_a_file_that_is_no_params_file_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(SentiDistillError, match=r"params\.yaml"):
        config.load(path)


@pytest.mark.parametrize("path", ["mine.csv", "/tmp/mine.csv", "own/../mine.csv"])
def test_a_file_outside_own_is_refused_with_the_place_to_put_it(path, tmp_path):
    def change(values):
        values["prepare_corpus"]["sources"] = [{"domain": "mine", "path": path}]

    with pytest.raises(SentiDistillError, match=r"does not lie in own/.*put it there"):
        config.load(changed(tmp_path, change))


def test_all_contradictions_of_a_section_are_told_at_once(tmp_path):
    def change(values):
        values["select_samples"] |= {"budget": {"samples": 9, "tokens": 9}, "max_share": {"family": 0.5}}
        values["select_samples"] |= {"stratify": False, "strategy": "hard_and_sure", "metric": "uncertainty"}
        values["prepare_benchmark"]["negative_below"] = 3.5

    with pytest.raises(SentiDistillError) as caught:
        config.load(changed(tmp_path, change))
    told = str(caught.value).splitlines()
    assert len(told) == 5
    assert sum("select_samples: " in line for line in told) == 4
    assert sum("prepare_benchmark: " in line for line in told) == 1


def refusal(key: str, value: Any) -> str:
    """What is said of params.yaml with another value at `key`."""
    values = default()
    put(values, key.split("."), value)
    with pytest.raises(SentiDistillError) as caught:
        config.checked(values, "params.yaml")
    return str(caught.value)


def put(values: Any, place: list, value: Any) -> None:
    for part in place[:-1]:
        values = values[int(part) if isinstance(values, list) else part]
    last = place[-1]
    values[int(last) if isinstance(values, list) else last] = value


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("teacher.seed", -1, "a whole number from 0 to 4,294,967,295"),
        ("cluster_attributes.seed", 2**40, "a whole number from 0 to 4,294,967,295"),
        ("evaluate.sentibench.seeds", [1, 2**32], "a whole number from 0 to 4,294,967,295"),
        ("train_student.epochs", math.inf, "a number above 0 and at most 1,000"),
        ("train_student.learning_rate", math.inf, "a number above 0 and at most 1"),
        ("train_student.learning_rate", 1e6, "a number above 0 and at most 1"),
        ("train_student.weight_decay", math.nan, "a number from 0 to 10"),
        ("enumerate_attributes.sampling.temperature", math.nan, "a number from 0 to 10"),
        ("prepare_benchmark.negative_below", -math.inf, "a number from -4 to 4"),
        ("runtime.prices.prompt", "1e999", "a number from 0 to 1,000,000"),
        ("student.max_length", 1, "a whole number from 16 to 1,048,576"),
        ("runtime.threads", 1_000_000, "a whole number from 0 to 1,024"),
        ("runtime.device", "cuda:-1", "auto, cpu, mps, cuda or cuda:NUMBER"),
        ("runtime.device", "", "auto, cpu, mps, cuda or cuda:NUMBER"),
        ("evaluate.bootstrap_samples", 10**12, "a whole number from 1 to 100,000"),
        ("compose_prompts.mentions_power", 1000, "a number from 0 to 10"),
        ("compose_prompts.student_shots", [], "at least 1"),
        ("evaluate.sentibench.seeds", [], "at least 1"),
        ("evaluate.tasks", [], "at least 1"),
        ("prepare_corpus.sources", [], "at least 1"),
        ("prepare_corpus.pool_sizes.enumeration", 1, "a whole number from 2"),
        ("train_student.batch_size", True, "a whole number from 1"),
        ("evaluate.split", "tests", "'validation' or 'test'"),
        ("vader.package.version", 3.1, "a text, found 3.1; put it into quotes"),
        (
            "runtime.vllm.student",
            {"gpu_memory_utilization": math.nan},
            "gpu_memory_utilization: expected .* a finite number",
        ),
        (
            "runtime.vllm.teacher",
            {"tensor_parallel_size": "two"},
            "tensor_parallel_size: expected a whole number",
        ),
        ("teacher.extra_body", {"since": date(2024, 1, 1)}, "since: expected a text"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_may_be(key, value, expected):
    said = refusal(key, value)
    assert re.search(rf"^params\.yaml: {re.escape(key)}(\.\d+)?: .*{expected}", said), said
    if isinstance(value, int | float):
        assert f"found {'true' if value is True else value}" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compose_prompts.prompts": {"scoring": 0, "analysis": 0}}, "compose_prompts.prompts: all are 0"),
        ({"define_tasks.max_tasks": {"scoring": 0}}, "define_tasks.max_tasks are all 0"),
        (
            {"select_samples.perspectives": ["excitement"], "build_instructions.source": "hand_written"},
            "select_samples.perspectives and without_perspectives need the instructions made from perspectives",
        ),
        ({"evaluate.shots_per_label": 20}, "evaluate.shots_per_label is 20; it has to be below .*, 20"),
        ({"prepare_benchmark.min_chars": 300}, "prepare_benchmark: min_chars lies above max_chars"),
        ({"prepare_corpus.max_chars": 30}, "prepare_corpus: min_chars lies above max_chars"),
        ({"evaluate.tasks": ["tweet", "tweet"]}, "evaluate: tasks names tweet twice"),
        ({"train_student.own_labels": 1}, r"train_student.own_labels needs a labelled file in prepare_benchmark.own"),
        ({"runtime.train_rows_per_step": 3}, r"train_rows_per_step \(3\) must divide train_student.batch_size \(8\)"),
        (
            {"runtime.train.processes": 4},
            r"train_rows_per_step \(4\) times runtime.train.processes \(4\) must divide .*batch_size \(8\)",
        ),
        (
            {"train_student.lora": {"rank": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all"}},
            "lora.target_modules: expected all-linear or a list of names",
        ),
        ({"runtime.server.base_url": "localhost:8000"}, "base_url: expected an address such as http://"),
        ({"prepare_benchmark.tasks": {"books": "tweets"}}, "prepare_benchmark.tasks.books: .*found 'books'"),
        ({"prepare_models.student_base.gguf_sha256": None}, "members is a folder: FOLDER/"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, changes, said):
    def change(values):
        for key, value in changes.items():
            put(values, key.split("."), value)

    with pytest.raises(SentiDistillError, match=said):
        config.load(changed(tmp_path, change))


def test_all_faults_of_a_file_are_told_at_once_with_their_lines(tmp_path):
    path = tmp_path / "params.yaml"
    text = Path("params.yaml").read_text()
    for old, new in (
        ("epochs: 4 ", "epochs: -2"),
        ("epochs: 4\n", "epochs: -2\n"),
        ("  dtype: float32", "  dtyp: float32"),
    ):
        text = text.replace(old, new)
    text = text.replace("model: student_base # or", "model: proxy # or").replace("  retries: 1", "  retries: many")
    path.write_text(text)
    with pytest.raises(SentiDistillError) as caught:
        config.load(path)
    told = str(caught.value).splitlines()
    lines = text.splitlines()
    for fault, start in (
        ("teacher.retries: expected a whole number from 0 to 100, found 'many'", "  retries: many"),
        ("train_student.epochs: expected a number above 0 and at most 1,000, found -2", "  epochs: -2"),
        ("unknown key runtime.dtyp; did you mean dtype?", "  dtyp: float32"),
    ):
        (line,) = [number for number, one in enumerate(lines, 1) if one.startswith(start)]
        assert f"{path}, line {line}: {fault}" in told
    # Of different sections, as far as these are valid by themselves.
    assert f"{path}: score_difficulty.model 'proxy' needs prepare_models.proxy" in told
    assert any(one.endswith(": runtime.dtype is missing") for one in told)
    assert len(told) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"teacher: {seed: 1}\nstudent: \xe9\n", "line 2: not UTF-8; save the file in UTF-8"),
        ("teacher: {}".encode("utf-16"), "line 1: not UTF-8"),
        (b"teacher:\n  seed: 2024-13-45\n", "line 2: '2024-13-45' is no timestamp; put it into quotes"),
        (b"teacher: " + b"[" * 3000, "line 1: more than 50 levels"),
        (b"teacher: " + b"{a: " * 3000, "line 1: more than 50 levels"),
        ("".join(f"{' ' * n}a:\n" for n in range(3000)).encode(), "more than 50 levels"),
        (b"teacher: {}\nstudent: {}\nteacher: {}\n", "line 3: 'teacher' is given twice, first in line 1; delete one"),
        (b"teacher:\n  seed: 1\n  seed: 2\n", "line 3: 'seed' is given twice, first in line 2"),
        (b"teacher: {seed: 1, seed: 2}\n", "line 1: 'seed' is given twice"),
        (b"a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "line 2: an alias within what has an anchor"),
        (b"a: &a {b: *a}\n", "line 1: an alias within what has an anchor"),
        (b'teacher: "\\ud83d"\n', r"line 1: .* half of a surrogate pair, U\+D83D"),
        (b'"tea\\u001bcher": 1\n', r"line 1: a control character .*U\+001B"),
        (b"a: \x00\n", r"line 1: a control character, U\+0000"),
        (b"seed: 0x" + b"f" * 9999, "line 1: .* is no int"),
        (b"seed: !!int x", "line 1: 'x' is no int"),
        (b"a: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
        (b"? [a, b]\n: 1\n", "line 1: a key that is no text"),
        (b"seed: 1\nnull: 1\n", "line 2: a key that is no text; write a name before the colon"),
        (b"a: [1\nb: 2\n", "line 2: "),
        (b"a: 1\n---\nb: 1\n", "line 2: expected a single document"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_with_its_line(tmp_path, content, said):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(SentiDistillError, match=r"params\.yaml, line \d+: ") as caught:
        config.load(path)
    assert re.search(said, str(caught.value))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SentiDistillError, match=r"params\.yaml: cannot be read \(No such file"):
        config.load(tmp_path / "params.yaml")


# Each would be a command, a path or an option where it is put together with others.
HOSTILE = (
    *(
        "x; touch PWNED; #",
        "$(touch PWNED)",
        "`touch PWNED`",
        "x && touch PWNED",
        "x\ntouch PWNED",
        "x | sh",
        "'x",
        '"x',
    ),
    *("../../x", "..", ".", "/etc/passwd", "a/../../x", "~/x", "-rother.txt", "--index-url=https://example.org", "-e."),
    *(
        "x @ https://example.org/x.whl",
        "x[extra]",
        "x==1",
        "x>1",
        "x;python_version>'3'",
        "",
        " ",
        "x ",
        "tweet\n",
        "é",
    ),
    *("${evaluate.seed}", "x" * 1000, "%s", "{x}", "*", "x\\y", "\x1b[31m", "\u202ex", "９"),
)


@pytest.mark.parametrize(
    "key",
    [
        "evaluate.tasks.0",
        "prepare_benchmark.own.0.name",
        "prepare_benchmark.tasks.tweet",
        "prepare_corpus.sources.0.domain",
        "prepare_corpus.sources.0.vader",
        "vader.package.name",
        "vader.package.version",
        "vader.package.sha256",
        "prepare_models.student_base.packages.0.name",
        "prepare_models.student_base.packages.0.version",
        "prepare_models.teacher.sha256",
        "prepare_models.teacher.places.0.packages.0.name",
        "prepare_models.teacher.places.1.repo",
        "prepare_models.teacher.places.1.revision",
    ],
)
def test_a_name_is_never_a_command_a_path_or_an_option(key):
    values = default()
    own = {"name": "mine", "path": "own/a.csv", "text_field": "a", "label_field": "b", "labels": ["a", "b"]}
    values["prepare_benchmark"]["own"] = [own | {"instruction": "Decide."}]
    config.checked(copy.deepcopy(values), "params.yaml")
    for hostile in HOSTILE:
        put(values, key.split("."), hostile)
        with pytest.raises(SentiDistillError) as caught:
            config.checked(values, "params.yaml")
        assert key in str(caught.value), hostile
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("path", ["own/../../x", "own", "own/", ".", "./", "/own/x", "./../own/x", "own/a\nb", ""])
@pytest.mark.parametrize("key", ["prepare_corpus.held_out", "prepare_corpus.sources.0"])
def test_a_file_of_the_users_lies_in_own(key, path):
    assert key in refusal(key, path if key.endswith("held_out") else {"domain": "mine", "path": path})


def test_a_file_in_a_linked_folder_is_refused_and_a_linked_file_is_not(tmp_path, monkeypatch):
    text = Path("params.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    for name in ("elsewhere", "own"):
        Path(name).mkdir()
    Path("elsewhere/a.csv").touch()
    Path("own/texts").symlink_to(tmp_path / "elsewhere")
    Path("own/a.csv").symlink_to(tmp_path / "elsewhere/a.csv")
    values = yaml.safe_load(text)
    for path, refused in (("own/texts/a.csv", True), ("own/a.csv", False)):
        values["prepare_corpus"]["sources"] = [{"domain": "mine", "path": path}]
        with pytest.raises(SentiDistillError, match="'own/texts' is a linked folder") if refused else nullcontext():
            config.checked(values, "params.yaml")


@pytest.mark.parametrize("member", ["../x", "/x", "a/../../x", "a/..", "", "a\nb"])
@pytest.mark.parametrize("key", ["vader.inner_archive", "prepare_models.embedder.members"])
def test_a_member_lies_in_its_archive(key, member):
    assert key in refusal(key, member)


def test_no_error_shows_what_may_be_a_secret():
    for key, value in (
        ("runtime.server.base_url", "https://user:sk-secret@example.org/v1"),
        ("runtime.server.base_url", "sk-secret"),
        ("runtime.server.base_url", ["sk-secret"]),
        ("runtime.server.key_variable", "sk-secret"),
        ("runtime.server.api_key", "sk-secret"),
        ("teacher.extra_body", ["sk-secret"]),
    ):
        said = refusal(key, value)
        assert key in said
        assert "secret" not in said


def test_what_dvc_yaml_takes_from_params_is_names_of_tasks():
    """So that no setting reaches a command, a path or the name of a stage as it stands."""
    taken = set(re.findall(r"\$\{(?!item\b)([^}]*)\}", Path("dvc.yaml").read_text()))
    assert taken == {"evaluate.tasks"}
    for one in graph.load():
        assert re.fullmatch(r"python -m stages\.\w+( (--)?\w+)*", one.cmd)


@pytest.mark.heavy
@pytest.mark.parametrize("stages", [["-k"], ["-s", "evaluate"]], ids=["all", "evaluate alone"])
@pytest.mark.parametrize("task", ["tweet; touch PWNED; #", "$(touch PWNED)", "../../x; touch PWNED; #"])
def test_dvc_runs_no_command_of_a_hostile_task(tmp_path, task, stages):
    for name in ("dvc.yaml", "sentidistill", "stages"):
        os.symlink(ROOT / name, tmp_path / name)
    changed(tmp_path, lambda values: values["evaluate"].update(tasks=[task]))
    for path in (f"data/benchmark/{task}", "models/student_base"):  # so that `evaluate` alone could start
        (tmp_path / path).mkdir(parents=True)
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=tmp_path, env=environment(), check=True)
    ended = subprocess.run(["dvc", "repro", *stages], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert ended.returncode
    # DVC itself refuses the last one: the outputs of all models would be one path.
    assert "params.yaml, line " in ended.stderr or "overlapping output" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.rglob("PWNED"))


EXTREMES = (
    *(None, True, -1, 0, 1, 2**40, 10**400, -0.5, 1e308, math.nan, math.inf, -math.inf, date(2024, 1, 1), b"x", {1, 2}),
    *([], {}, [[]], [None], {"a": 1}, {1: 2}, {None: 1}, {"source": "hub"}, "nan", "1e400", "http://[::1"),
    *("x" * 100_000, "\ud83d", "\0"),
    *HOSTILE,
)


def places(values: Any, at: tuple = ()) -> Iterator[tuple]:
    parts = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, part in parts:
        yield (*at, key)
        yield from places(part, (*at, key))


def mutated(seed: int) -> tuple[dict, set]:
    """The default values with one to three changes: another value, a key too many or too few. And the keys changed."""
    moments = random.Random(seed)
    values = default()
    keys = set()
    for _ in range(moments.randint(1, 3)):
        place = moments.choice(list(places(values)))
        holder = values
        for part in place[:-1]:
            holder = holder[part]
        keys.add(place[0])
        kind = moments.random()
        if kind < 0.8:
            holder[place[-1]] = copy.deepcopy(moments.choice(EXTREMES))
        elif kind < 0.9 and isinstance(holder, dict):
            added = moments.choice(["x", 1, None, f"{place[-1]}s", "\ud83d"])
            holder[added] = 1
            keys.add(added)
        else:
            del holder[place[-1]]
    return values, keys


@pytest.mark.parametrize("seed", range(100))
def test_hostile_params_are_valid_or_refused_by_their_keys(seed, tmp_path):
    """Some of them through a file, which takes longer."""
    values, keys = mutated(seed)
    path = tmp_path / "params.yaml"
    if seed % 10 == 0:
        path.write_text(yaml.dump(values, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    try:
        found = config.load(path) if path.exists() else config.checked(values, path)
    except SentiDistillError as error:
        said = str(error)
        named = any(str(key) in said or shown(key) in said for key in keys)
        assert named or re.search(r"params\.yaml, line \d+: ", said)
        assert len(said) < 20_000
    else:
        assert all(math.isfinite(number) for number in numbers(found.model_dump()))


def numbers(values: Any) -> Iterator[float]:
    parts = values.values() if isinstance(values, dict) else values if isinstance(values, list | tuple) else ()
    for part in parts:
        yield from numbers(part)
        if isinstance(part, float):
            yield part
