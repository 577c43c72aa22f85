"""Tasks from questions to figures: demonstrations, failures, limits, intervals, and the command on a made-up copy."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sentidistill.commands import evaluate
from sentidistill.config import load
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import published, sentibench, suite
from sentidistill.evaluation.metrics import score
from sentidistill.evaluation.questions import answer_of, limited, questions, schema
from sentidistill.evaluation.sentibench import LABELS, TUPLE_TASKS
from sentidistill.evaluation.suite import Outcome
from sentidistill.evaluation.tasks import known
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.requests import Reader, Request, Response
from sentidistill.inference.store import Cache
from sentidistill.student import folder
from tests.local_server import running
from tests.made_up_sentibench import RECORDS, labelled, records_of, write_copy
from tests.project import ROOT, environment
from tests.tiny_models import smoke_tokenizer

DRAW = {"shots": 4, "max_chars": 200, "seed": 1}


@pytest.mark.parametrize("demonstrations", ["shared", "per_record"])
@pytest.mark.parametrize("task", [*LABELS, *TUPLE_TASKS])
def test_demonstrations_are_never_the_records_own_text_and_the_same_again(task, demonstrations):
    train = records_of(task, 30)
    records = records_of(task, 12)  # their texts are all among the training texts, too
    found = questions(known(task), records, train, demonstrations=demonstrations, **DRAW)
    assert found == questions(known(task), records, train, demonstrations=demonstrations, **DRAW)
    assert found != questions(known(task), records, train, demonstrations=demonstrations, **{**DRAW, "seed": 2})
    for question, record in zip(found, records):
        assert len(question.shown) == len(question.prompt.demonstrations) == 4
        assert record["sentence"] not in [train[place]["sentence"] for place in question.shown]
        for place, (_, answer) in zip(question.shown, question.prompt.demonstrations):
            assert answer == answer_of(known(task), train[place])
    draws = {question.shown for question in found}
    assert len(draws) == 1 if demonstrations == "shared" else len(draws) > 6


def test_labels_take_turns_in_demonstrations():
    train = labelled("twitter", 3) + [{"sentence": f"more {n}", "label": "neutral"} for n in range(50)]
    shown = [
        Counter(answer for _, answer in one.prompt.demonstrations)
        for one in questions(
            known("twitter"), labelled("twitter", 9, "new"), train, demonstrations="per_record", **DRAW
        )
    ]
    assert all(set(one) == set(LABELS["twitter"]) for one in shown)


def test_a_record_keeps_its_demonstrations_whatever_stands_beside_it():
    train, records = labelled("sst2", 40), labelled("sst2", 10, "new")
    alone = questions(known("sst2"), records[7:8], train, demonstrations="per_record", **DRAW)[0]
    assert questions(known("sst2"), records, train, demonstrations="per_record", **DRAW)[7].prompt == alone.prompt


def test_long_training_texts_are_not_shown():
    train = [{"sentence": "short", "label": "positive"}, {"sentence": "long " * 100, "label": "negative"}]
    (question,) = questions(known("imdb"), labelled("imdb", 1), train, demonstrations="shared", **DRAW)
    assert [text for text, _ in question.prompt.demonstrations] == ["Text: short"]


def test_the_target_of_a_stance_is_part_of_the_text():
    (question,) = questions(
        known("pstance"), labelled("pstance", 1), labelled("pstance", 8, "t"), demonstrations="shared", **DRAW
    )
    assert question.prompt.input.endswith("Target: Somebody")
    assert all("Target: Somebody" in text for text, _ in question.prompt.demonstrations)


@pytest.mark.parametrize("task", TUPLE_TASKS)
def test_right_answers_obey_the_schema_and_score_in_full(task):
    import jsonschema

    records = RECORDS[task]
    for record in records:
        answer = json.loads(answer_of(known(task), record))
        jsonschema.validate(answer, schema(known(task), records))
        assert len(answer) == len({json.dumps(one) for one in answer}), "nothing is repeated"
    assert score(task, records, [answer_of(known(task), record) for record in records])["f1"] == 100


def test_a_limit_keeps_the_shares_of_the_classes_and_grows_by_adding():
    records = [{"sentence": f"r {n}", "label": "negative" if n % 4 else "positive"} for n in range(400)]
    some, more = limited(known("sst2"), records, 40, seed=0), limited(known("sst2"), records, 80, seed=0)
    assert Counter(records[place]["label"] for place in some) == {"negative": 30, "positive": 10}
    assert set(some) < set(more)
    assert (
        limited(known("sst2"), records, 0, seed=0) == limited(known("sst2"), records, 1000, seed=0) == list(range(400))
    )


@pytest.mark.parametrize("demonstrations", ["shared", "per_record"])
def test_calibration_texts_are_asked_as_the_records_are_and_are_never_shown(demonstrations):
    train, records = labelled("twitter", 12), labelled("twitter", 5, "new")
    asked = questions(known("twitter"), records, train, demonstrations=demonstrations, calibration_texts=6, **DRAW)
    references = [question for question in asked if question.record is None]
    assert asked[:5] == questions(known("twitter"), records, train, demonstrations=demonstrations, **DRAW)
    assert len({question.prompt.input for question in references}) == len(references) == 6
    for question in references:
        assert len(question.shown) == 4
        assert question.prompt.input not in [text for text, _ in question.prompt.demonstrations]
        assert demonstrations == "per_record" or question.shown == asked[0].shown


def test_calibration_texts_do_not_depend_on_the_labels_of_training_texts():
    train = labelled("twitter", 30)
    unlabelled = [{**record, "label": "neutral"} for record in train]
    one, other = (
        questions(known("twitter"), [], rows, **{**DRAW, "shots": 0}, demonstrations="shared", calibration_texts=9)
        for rows in (train, unlabelled)
    )
    assert one == other


class Scripted:
    """An engine whose answers follow from the text that is asked about; like any, it cuts them at stop strings."""

    def __init__(self, answer: Callable[[str], Response]):
        self.answer, self.requests = answer, []

    def stream(self, jobs):
        self.requests += [job.request for job in jobs]
        yield [(place, self._cut(job.request)) for place, job in enumerate(jobs)]

    def _cut(self, request: Request) -> Response:
        response = self.answer(request.prompt.input)
        ends = [place for stop in request.stop if (place := response.text.find(stop)) >= 0]
        return replace(response, text=response.text[: min(ends)]) if ends else response


def written(text: str) -> Response:
    return Response(text, "stop", 10, 10)


def chosen(labels: tuple[str, ...], scores: list[float]) -> Response:
    return Response(labels[int(np.argmax(scores))], "choice", 10, 0, tuple(scores))


def run_suite(engine: Scripted, task: str, folder: Path, prompt_format="transcript", records=9, **settings):
    """(outcomes, scores) of `task` on made-up records."""
    test, train = records_of(task, records), records_of(task, 24, "train")
    model = CachedTeacher(Reader("model", prompt_format, 1000), lambda: engine, Cache(folder / "cache.sqlite"))
    rows = suite.evaluate(model, "model", known(task), test, train, suite.Settings(**settings))
    return rows, suite.scores(known(task), test, rows, samples=200)


def test_an_answer_of_a_chat_model_is_read_beyond_an_empty_line(tmp_path):
    records = {f"Text: {one['sentence']}": one for one in records_of("atsa_rest16", 9)}
    task = known("atsa_rest16")
    engine = Scripted(
        lambda text: written(f"Here they are:\n\n```json\n{answer_of(task, records[text])}\n```\n\nAnything else?")
    )
    rows, found = run_suite(engine, "atsa_rest16", tmp_path, "chat")
    assert found["main"] == 100
    assert all(row.right for row in rows)


def test_a_model_that_continues_a_transcript_is_stopped_before_its_next_example(tmp_path):
    engine = Scripted(lambda text: written('[]\n\nText: Bad soup .\nAspects: [{"aspect_term": "soup"}]'))
    rows, _ = run_suite(engine, "atsa_rest16", tmp_path)
    assert {row.output for row in rows} == {"[]"}


@pytest.mark.parametrize("task", ["tweet", "twitter", "atsa_rest16"])
def test_a_failed_request_counts_as_wrong_and_is_counted(task, tmp_path):
    records = {f"Text: {one['sentence']}": one for one in records_of(task, 9)}
    lost = f"Text: {records_of(task, 9)[0]['sentence']}"

    def answer(text: str) -> Response:
        if text == lost:
            return Response.failed("the server hung up")
        if task not in LABELS:
            return written(answer_of(known(task), records[text]))
        label = answer_of(known(task), records[text]) if text in records else None
        return chosen(LABELS[task], [0.0 if label == one else -1.0 for one in LABELS[task]])

    rows, found = run_suite(Scripted(answer), task, tmp_path, calibration_texts=5)
    assert (found["records"], found["failed"], found["empty"]) == (9, 1, 1)
    assert [row.right for row in rows] == [False] + [True] * 8
    assert rows[0].error == "the server hung up"
    assert 50 < found["main"] < 100
    if task in LABELS:
        # One of three records of a class is not found: the F1 of this class is 0.8, that of the others 1.
        assert found["main"] == found["calibrated"]["main"] == pytest.approx(100 * 2.8 / 3, abs=0.01)


def test_a_task_whose_requests_all_fail_is_an_error_and_no_score(tmp_path):
    engine = Scripted(lambda text: Response.failed("no such model"))
    with pytest.raises(SentiDistillError, match="tweet: all 9 requests failed; the first: no such model"):
        run_suite(engine, "tweet", tmp_path)


def test_calibrated_labels_stand_beside_the_plain_ones(tmp_path):
    """A model that prefers one label by far tells the texts apart once its preference is taken off."""

    def answer(text: str) -> Response:
        number = int(re.search(r"number (\d+)", text)[1])
        return chosen(LABELS["tweet"], [-5.0 + (number % 3 == 0), -6.0 + (number % 3 == 1), -1.0 + (number % 3 == 2)])

    rows, found = run_suite(Scripted(answer), "tweet", tmp_path, records=60, shots=0, calibration_texts=24)
    assert {row.output for row in rows} == {"positive"}
    assert [row.calibrated for row in rows] == [row.gold for row in rows]
    assert found["main"] == pytest.approx(100 / 6, abs=0.01)
    assert found["calibrated"] == {"main": 100, "low": 100, "high": 100}
    assert found["low"] <= found["main"] <= found["high"] < 50


@pytest.mark.parametrize("with_scores", [True, False])
def test_nothing_is_called_calibrated_without_scores_or_texts_to_calibrate_by(with_scores, tmp_path):
    engine = Scripted(lambda text: Response("neutral", "choice", 10, 0, (-2.0, -1.0, -3.0) if with_scores else ()))
    rows, found = run_suite(engine, "tweet", tmp_path, calibration_texts=0 if with_scores else 9)
    assert {row.output for row in rows} == {"neutral"}
    assert {row.calibrated for row in rows} == {None}
    assert found["calibrated"] is None


def outcome(task: str, record: int, gold: str, output: str, seed: int = 1) -> Outcome:
    return Outcome(
        task=task,
        record=record,
        seed=seed,
        text="",
        gold=gold,
        output=output,
        calibrated=None,
        right=gold == output,
        finish_reason="choice",
        error=None,
        shown=[],
        scores=[],
    )


def test_intervals_hold_the_score_and_shrink_with_the_records():
    random = np.random.default_rng(0)
    widths = []
    for number in (60, 600):
        records = labelled("sst2", number)
        rows = [
            outcome("sst2", n, record["label"], record["label"] if random.random() < 0.7 else "negative")
            for n, record in enumerate(records)
        ]
        found = suite.scores(known("sst2"), records, rows, samples=500)
        assert found["low"] < found["main"] < found["high"]
        assert found["main"] == pytest.approx(
            score("sst2", records, [row.output for row in rows])["macro_f1"], abs=0.01
        )
        widths.append(found["high"] - found["low"])
    assert widths[1] < widths[0] / 2


def test_the_interval_of_tuples_is_that_of_their_sums():
    records = records_of("asqp_rest16", 40)
    rows = [
        outcome("asqp_rest16", n, "", answer_of(known("asqp_rest16"), record) if n % 3 else "[]")
        for n, record in enumerate(records)
    ]
    found = suite.scores(known("asqp_rest16"), records, rows, samples=300)
    assert found["low"] < found["main"] < found["high"]
    assert found["precision"] == 100


def test_seeds_give_a_mean_and_a_deviation():
    records = labelled("sst2", 20)
    rows = [outcome("sst2", n, one["label"], one["label"], seed=1) for n, one in enumerate(records)]
    rows += [outcome("sst2", n, one["label"], "negative", seed=2) for n, one in enumerate(records)]
    found = suite.scores(known("sst2"), records, rows, samples=100)
    assert found["main"] == pytest.approx((100 + 100 / 3) / 2, abs=0.01)
    assert found["deviation"] == pytest.approx((100 - 100 / 3) / np.sqrt(2), abs=0.01)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    return write_copy(tmp_path_factory.mktemp("datasets"), ("twitter", "pstance", "atsa_rest16", "opener"))


def benchmark(folder: Path, *arguments: str, params: str = "") -> tuple[str, str]:
    """What the command prints in `folder`: tables, and progress."""
    (folder / "params.yaml").write_text(params or (ROOT / "params.yaml").read_text())
    with chdir(folder), redirect_stdout(io.StringIO()) as shown, redirect_stderr(io.StringIO()) as progress:
        evaluate.main(*arguments)
    return shown.getvalue(), progress.getvalue()


def test_the_command_tests_a_model_folder_and_writes_every_outcome(tiny_models, copy, tmp_path):
    tasks = ["twitter", "pstance", "atsa_rest16", "opener"]
    arguments = [str(tiny_models / "student"), "--data", str(copy), "--tasks", *tasks, "--max-new-tokens", "8"]
    arguments += ["--label-limit", "9", "--seeds", "1", "2", "--calibrate", "6", "--rules", "reference"]
    shown, _ = benchmark(tmp_path, *arguments)
    metrics = json.loads((tmp_path / "sentibench/student/metrics.json").read_text())
    assert set(metrics) == {"split", "mean", "system", *tasks}
    assert metrics["twitter"]["calibrated"]["low"] <= metrics["twitter"]["calibrated"]["high"]
    assert metrics["opener"]["calibrated"] is None
    assert (metrics["twitter"]["records"], metrics["opener"]["records"], metrics["twitter"]["seeds"]) == (9, 12, 2)
    for task in tasks:
        assert task in shown
        rows = [json.loads(line) for line in (tmp_path / f"sentibench/student/predictions/{task}.jsonl").open()]
        assert len(rows) == 2 * metrics[task]["records"]
        assert all(len(row["shown"]) == 4 for row in rows)
        test, scores = sentibench.load(copy, task, "test"), []
        for seed in (1, 2):
            given = {row["record"]: row["output"] for row in rows if row["seed"] == seed}
            scores.append(published.score(task, [test[record] for record in given], list(given.values())))
        assert metrics[task]["reference"] == pytest.approx(np.mean(scores), abs=0.01)
    assert "reference" in shown
    wrong = [row for row in rows if not row["right"]]
    command = [
        sys.executable,
        "-m",
        "sentidistill.commands.inspect",
        "predictions",
        "student",
        "--task",
        task,
        "--wrong",
    ]
    looked = subprocess.run(command, cwd=tmp_path, env={**environment(), "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert f"of {len(wrong)} rows" in looked.stdout.decode()
    again, progress = benchmark(tmp_path, *arguments)
    first, second = ([line for line in run.splitlines() if "│" in line or "┃" in line] for run in (shown, again))
    assert first == second, "but for the speed, which a run from the cache has none of"
    assert "0.0/s" in progress, "all answers are cached"


def test_constrained_tuples_can_all_be_read(tiny_models, copy, tmp_path):
    arguments = [str(tiny_models / "student"), "--data", str(copy), "--tasks", "atsa_rest16", "--schema"]
    benchmark(tmp_path, *arguments, "--max-new-tokens", "60")
    metrics = json.loads((tmp_path / "sentibench/student/metrics.json").read_text())["atsa_rest16"]
    rows = [json.loads(line) for line in (tmp_path / "sentibench/student/predictions/atsa_rest16.jsonl").open()]
    assert metrics["invalid"] == sum(row["finish_reason"] == "length" and not row["output"].count("}") for row in rows)


def test_the_command_tests_a_model_behind_a_server(copy, tmp_path):
    with running() as server:
        arguments = ["large", "--server", server.url, "--data", str(copy), "--tasks", "twitter", "opener"]
        benchmark(tmp_path, *arguments, "--calibrate", "0")
        assert len(server.calls) == 24
        benchmark(tmp_path, *arguments, "--calibrate", "0")
        assert len(server.calls) == 24, "answers are cached"
        changed = (ROOT / "params.yaml").read_text().replace("  extra_body: {}", "  extra_body: {top_k: 5}")
        benchmark(tmp_path, *arguments, "--calibrate", "0", params=changed)
        assert len(server.calls) == 48, "another extra_body asks again"
    metrics = json.loads((tmp_path / "sentibench/large/metrics.json").read_text())
    assert set(metrics) == {"split", "mean", "system", "twitter", "opener"}


def test_a_gguf_file_beside_a_folder_each_in_its_own_prompt_format(gguf_file, default_student, copy, tmp_path):
    arguments = [str(gguf_file), str(default_student), "--data", str(copy), "--tasks", "twitter", "--label-limit", "9"]

    def likelihoods(*formats: str) -> np.ndarray:
        shown, _ = benchmark(tmp_path, *arguments, "--calibrate", "0", "--format", *formats)
        assert f"more than {gguf_file.name}" in shown
        files = [
            tmp_path / "sentibench" / one.name / "predictions/twitter.jsonl" for one in (gguf_file, default_student)
        ]
        return np.array([[row["scores"] for row in map(json.loads, file.open())] for file in files])

    of_file, of_folder = likelihoods("transcript")
    assert np.corrcoef(of_file.ravel(), of_folder.ravel())[0, 1] > 0.95, "the weights are the same"
    same, other = likelihoods("transcript", "chat")
    assert np.array_equal(same, of_file)
    assert not np.allclose(other, of_folder)


def test_a_student_is_asked_in_the_format_of_its_training(tiny_models, copy, tmp_path):
    student = shutil.copytree(tiny_models / "student", tmp_path / "student")
    params = load(ROOT / "params.yaml").student
    folder.describe(student, params.model_copy(update={"prompt_format": "chat"}), {})
    assert evaluate.format_of(str(student), None) == "chat"
    assert evaluate.format_of(str(tiny_models / "student"), None) == "transcript"
    arguments = [str(student), "--data", str(copy), "--tasks", "twitter", "--format", "transcript"]
    with pytest.raises(SentiDistillError, match="was trained on prompts of the format chat; leave out --format"):
        benchmark(tmp_path, *arguments)


def test_seeds_that_are_given_twice_count_once(tiny_models, copy, tmp_path):
    arguments = [str(tiny_models / "student"), "--data", str(copy), "--tasks", "twitter", "--label-limit", "3"]
    benchmark(tmp_path, *arguments, "--seeds", "1", "1", "--calibrate", "0")
    found = json.loads((tmp_path / "sentibench/student/metrics.json").read_text())["twitter"]
    assert (found["records"], found["seeds"]) == (3, 1)


def test_what_baselines_cannot_predict_is_said(copy, tmp_path):
    with pytest.raises(SentiDistillError, match="these tasks: baselines learn from the training records of label"):
        benchmark(tmp_path, "baselines", "--data", str(copy), "--tasks", "opener")


def test_labels_that_the_params_do_not_have_are_named_with_the_remedy(tmp_path):
    for split in ("train", "test"):
        path = tmp_path / f"data/benchmark/tweet/{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"id": "a", "sentence": "Fine.", "label": "glad"}\n')
    with pytest.raises(SentiDistillError, match=r"tweet: .* label 'glad', the task has .*dvc repro prepare_benchmark"):
        benchmark(tmp_path, "baselines", "--tasks", "tweet")
    path.write_text("")
    with pytest.raises(SentiDistillError, match="tweet: no records in its test split"):
        benchmark(tmp_path, "baselines", "--tasks", "tweet")


def test_two_ray_actors_give_the_same_outcomes(tiny_models, copy, tmp_path):
    tasks = ["twitter", "atsa_rest16"]
    arguments = [str(tiny_models / "student"), "--data", str(copy), "--tasks", *tasks, "--max-new-tokens", "8"]
    actors = (ROOT / "params.yaml").read_text().replace("actors: 0", "actors: 2")
    outcomes = []
    for name, params in (("alone", ""), ("actors", actors)):
        (tmp_path / name).mkdir()
        benchmark(tmp_path / name, *arguments, params=params)
        outcomes.append([(tmp_path / f"{name}/sentibench/student/predictions/{t}.jsonl").read_bytes() for t in tasks])
    assert outcomes[0] == outcomes[1]


def test_baselines_are_tested_on_the_same_records(tiny_models, copy, tmp_path):
    tasks = ["twitter", "pstance", "opener"]
    arguments = ["baselines", str(tiny_models / "student"), "--data", str(copy), "--tasks", *tasks]
    shown, _ = benchmark(tmp_path, *arguments, "--label-limit", "9", "--max-new-tokens", "8")
    majority, tfidf, vader = (
        json.loads((tmp_path / f"sentibench/baselines/{kind}/metrics.json").read_text())
        for kind in ("majority", "tfidf", "vader")
    )
    assert set(majority) == set(tfidf) == {"split", "mean", "system", "twitter", "pstance"}, "there are none for tuples"
    assert set(vader) == {"split", "mean", "system", "twitter"}, "it knows of no stance"
    assert vader["system"]["texts_per_second"] > 0
    assert majority["twitter"]["main"] == pytest.approx(100 / 6, abs=0.01)
    assert {one["twitter"]["records"] for one in (majority, tfidf, vader)} == {9}
    model = json.loads((tmp_path / "sentibench/student/metrics.json").read_text())
    gain = model["twitter"]["main"] - majority["twitter"]["main"]
    plain, calibrated = shown[shown.index("more than baselines/majority") :].split("more than baselines/majority")[1:]
    (row,) = [line for line in plain.splitlines() if "twitter" in line]
    assert f"{gain:+.1f} (" in row
    (worse,) = [line for line in plain.splitlines() if "worse" in line]
    assert worse.split("│")[-2].strip() == "0 of 2", "no model is worse than a majority by its interval"
    assert "(calibrated)" in calibrated


def test_default_tasks_are_read_where_the_pipeline_puts_them(tiny_models, tmp_path):
    for split, number in (("train", 24), ("test", 12)):
        path = tmp_path / f"data/benchmark/tweet/{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in labelled("tweet", number, split)))
    benchmark(tmp_path, str(tiny_models / "student"), "baselines", "--tasks", "tweet", "--shots", "0")
    for name in ("student", "baselines/vader"):
        metrics = json.loads((tmp_path / f"sentibench/{name}/metrics.json").read_text())
        assert metrics["tweet"]["records"] == 12


@pytest.fixture
def sequence_classifier(tmp_path):
    """classifier(labels): the folder of a tiny random one with these classes, and a card that states a licence."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    def make(labels: list[str]) -> Path:
        tokenizer, folder = smoke_tokenizer(), tmp_path / "classifier"
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        settings = LlamaConfig(
            vocab_size=len(tokenizer), pad_token_id=0, id2label=dict(enumerate(labels)), num_labels=len(labels), **sizes
        )
        LlamaForSequenceClassification(settings).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text("---\nlicense: mit\n---\n")
        return folder

    return make


def test_a_sequence_classifier_is_tested_beside_models(sequence_classifier, copy, tmp_path):
    folder = sequence_classifier(["Negative", "POSITIVE"])
    arguments = [str(folder), "baselines", "--data", str(copy), "--tasks", "twitter", "opener", "--label-limit", "9"]
    shown, _ = benchmark(tmp_path, *arguments)
    metrics = json.loads((tmp_path / "sentibench/classifier/metrics.json").read_text())
    assert set(metrics) == {"split", "mean", "system", "twitter"}, "it answers no tuple task"
    assert metrics["system"]["licence"] == "mit"
    assert metrics["system"]["megabytes"] > 0
    rows = (tmp_path / "sentibench/classifier/predictions/twitter.jsonl").read_text().splitlines()
    assert {json.loads(row)["output"] for row in rows} <= {"negative", "positive"}
    assert "more than classifier" in shown


def test_a_classifier_of_other_classes_is_refused_with_the_remedy(sequence_classifier, copy, tmp_path):
    folder = sequence_classifier(["LABEL_0", "LABEL_1"])
    message = "its classes LABEL_0, LABEL_1 are no labels of twitter (negative, neutral, positive)"
    with pytest.raises(SentiDistillError, match=re.escape(message)):
        benchmark(tmp_path, str(folder), "--data", str(copy), "--tasks", "twitter")


def test_vader_reads_the_sentiment_of_a_text():
    from sentidistill.evaluation.baselines import vader

    texts = ["I love this, it is wonderful!", "The table is made of wood.", "A horrible, disgusting waste of time."]
    assert vader(known("twitter"), texts, []) == ["positive", "neutral", "negative"]
    assert vader(known("sst2"), texts, []) == ["positive", "negative", "negative"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/model", "--data", "x"], "no/such/model: no such folder or GGUF file, and no id of a hub"),
        (["baselines", "a/b", "--data", "x", "--format", "chat", "chat", "chat"], "--format has 3 values for 2 models"),
        (["baselines", "--data", "x"], "x/sc/imdb/train.json is missing"),
        (["baselines", "baselines", "--data", "x"], "two models are both named 'baselines'"),
        (["baselines"], "imdb is a task of SentiBench: name a copy of its data sets by --data"),
        (["baselines", "--tasks", "tweet"], "data/benchmark/tweet/train.jsonl is missing"),
    ],
)
def test_what_is_missing_is_named(tmp_path, arguments, message):
    with pytest.raises(SentiDistillError, match=re.escape(message)):
        benchmark(tmp_path, *arguments)
