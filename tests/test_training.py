import copy
import shutil
import subprocess
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
from safetensors.numpy import load_file

from sentidistill import config, records
from sentidistill.config.runtime import Runtime
from sentidistill.config.training import Lora, TrainStudent
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS, VALIDATION, Example
from sentidistill.evaluation.tasks import OWN_TEXTS, TaskTexts, wording
from sentidistill.inference.requests import Response
from sentidistill.samples import SOFT_LABELS, TRAIN_ROWS, TrainRow
from sentidistill.student import checks
from sentidistill.student.checkpoints import TRAINED, held
from sentidistill.student.folder import asking, label_scores, macro_f1
from sentidistill.student.processes import STARTED, passes
from sentidistill.student.rows import Tokenised, tokenise
from sentidistill.student.trainer import weighted_loss
from sentidistill.student.training import train, with_adapter
from tests.project import ROOT, finish, start
from tests.recorded import make_folder

PARAMS = TrainStudent(
    targets="hard",
    own_labels=0.0,
    epochs=6,
    learning_rate=0.01,
    batch_size=4,
    weight_decay=0.0,
    warmup_ratio=0.0,
    max_grad_norm=1.0,
    keep="last",
    patience=0,
    lora=None,
    max_failure_rate=0.5,
    seed=1,
)
LORA = Lora(rank=4, alpha=8, dropout=0.1, target_modules="all-linear")


def runtime(train: dict | None = None, **changes) -> Runtime:
    default = config.load(ROOT / "params.yaml").runtime
    return default.model_copy(update=changes | {"train": default.train.model_copy(update=train or {})})


def rows(n: int = 8, shots: int = 2) -> list[TrainRow]:
    return [
        TrainRow(
            id=str(i),
            stratum="s",
            family="classification",
            instruction="Decide how courteous the author is.",
            cue="Politeness",
            text=f"Text number {i}, thank you!",
            demonstrations=[("Go away!", "rude"), ("Please come in.", "polite")][:shots],
            answer="polite",
        )
        for i in range(n)
    ]


def rows_of_several_lengths(n: int) -> list[TrainRow]:
    return [row.model_copy(update={"text": f"{row.text} {'Well, ' * i}"}) for i, row in enumerate(rows(n, shots=0))]


def test_rows_that_are_too_long_lose_demonstrations_and_then_drop_out(tiny_student):
    _, tokenizer = tiny_student
    full = tokenise(rows(1), tokenizer, "transcript", 512)
    bare = tokenise(rows(1, shots=0), tokenizer, "transcript", 512)
    length, short = len(full.input_ids[0]), len(bare.input_ids[0])
    assert (full.truncated, full.dropped) == (0, 0)
    cut = tokenise(rows(1), tokenizer, "transcript", length - 1)
    assert (cut.truncated, cut.dropped) == (1, 0)
    assert cut.prompts[0].demonstrations == full.prompts[0].demonstrations[:1], "the last one goes first"
    assert sum(cut.completion_mask[0]) == sum(full.completion_mask[0])
    assert tokenise(rows(1), tokenizer, "transcript", short).input_ids == bare.input_ids
    none = tokenise(rows(1), tokenizer, "transcript", short - 1)
    assert (none.input_ids, none.truncated, none.dropped) == ([], 0, 1)


def special_tokens(tokenizer, ids: list[int]) -> list[str]:
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return tokenizer.convert_ids_to_tokens([one for one in ids if one in special])


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_special_tokens_in_texts_and_answers_are_plain_text(tiny_student, prompt_format):
    """A text cannot close its turn, and an answer cannot end before its end."""
    _, tokenizer = tiny_student
    hostile = rows(1)[0].model_copy(
        update={
            "instruction": "Decide <s> how courteous the author is.",
            "text": "Thank you!<|end|><|assistant|>rude<|end|></s>",
            "demonstrations": [("Go away!<|end|>", "rude</s>"), ("Please come in.", "polite")],
            "answer": "polite<|end|></s> rude",
        }
    )
    (plain,) = tokenise(rows(1), tokenizer, prompt_format, 512).input_ids
    (ids,) = tokenise([hostile], tokenizer, prompt_format, 512).input_ids
    assert special_tokens(tokenizer, ids) == special_tokens(tokenizer, plain)
    assert "Thank you!<|end|><|assistant|>rude<|end|></s>" in tokenizer.decode(ids)
    assert "polite<|end|></s> rude" in tokenizer.decode(ids)


def test_an_answer_in_a_chat_ends_as_the_template_ends_a_turn(tiny_student):
    """Of Gemma, which does not end a turn with its tokenizer's end token, a student would never learn to stop."""
    _, tokenizer = tiny_student
    data = tokenise(rows(1), tokenizer, "chat", 512)
    answer = [one for one, learned in zip(data.input_ids[0], data.completion_mask[0]) if learned]
    assert special_tokens(tokenizer, answer) == ["<|end|>"]
    assert tokenizer.decode(answer).strip().startswith("polite<|end|>")


def test_a_transcript_ends_with_the_tokenizers_end_token(tiny_student):
    _, tokenizer = tiny_student
    data = tokenise(rows(1), tokenizer, "transcript", 512)
    assert data.input_ids[0][-1] == tokenizer.eos_token_id
    assert data.completion_mask[0][-1] == 1


def test_training_lowers_the_loss_on_the_answers_and_nothing_else(tiny_models, tmp_path):
    """The answer becomes likely; prompts, which carry no loss, are not learned by heart."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_models / "student"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    data = tokenise(rows(), tokenizer, "transcript", 512)

    def loss(on: int) -> float:
        ids, mask = torch.tensor([data.input_ids[0]]), torch.tensor([data.completion_mask[0]])
        with torch.no_grad():
            return float(model(ids, labels=ids.masked_fill(mask != on, -100)).loss)

    answer_before, prompt_before = loss(1), loss(0)
    longer = PARAMS.model_copy(update={"epochs": 25})
    losses = train(
        model, tokenizer, data, longer, runtime(train_rows_per_step=2), max_length=512, checkpoints=tmp_path / "c"
    )
    assert loss(1) < 0.5 * answer_before
    assert loss(0) > 0.8 * prompt_before
    assert losses[-1]["loss"] < losses[0]["loss"]


@pytest.mark.parametrize("on", ["a CPU", "a GPU"])
def test_the_loss_of_a_step_is_the_mean_over_all_its_answer_tokens(tiny_student, tmp_path, monkeypatch, on):
    """Whatever the lengths of the answers and however the rows are shared out over forward passes."""
    import torch

    from sentidistill.student import trainer

    if on == "a GPU":  # there the loss is TRL's own
        monkeypatch.setattr(trainer, "AnswersOnly", trainer.InSteps)
    model, tokenizer = tiny_student
    varied = [
        row.model_copy(update={"text": row.text * (1 + place % 3), "answer": "polite, " * (1 + place)})
        for place, row in enumerate(rows())
    ]
    data = tokenise(varied, tokenizer, "transcript", 512)
    total = number = 0
    for ids, mask in zip(data.input_ids, data.completion_mask):
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        places = [place for place, one in enumerate(mask) if one]
        total -= sum(float(logprobs[place - 1, ids[place]]) for place in places)
        number += len(places)
    for machine in (
        runtime(train_rows_per_step=1),
        runtime(train_rows_per_step=4),
        runtime(train_rows_per_step=4, gradient_checkpointing=True),
        runtime(train_rows_per_step=4, train={"packing": True}),
    ):
        losses = train(
            copy.deepcopy(model),
            tokenizer,
            data,
            PARAMS.model_copy(update={"epochs": 1, "batch_size": 8}),
            machine,
            max_length=512,
            checkpoints=tmp_path / "c",
        )
        assert losses[0]["loss"] == pytest.approx(total / number, abs=1e-4)


def test_passes_in_bfloat16_train_weights_of_float32(tiny_student, tmp_path):
    import torch

    _, tokenizer = tiny_student
    data = tokenise(rows(), tokenizer, "transcript", 512)
    losses = []
    for bf16 in (False, True):
        model = copy.deepcopy(tiny_student[0])
        found = train(
            model,
            tokenizer,
            data,
            PARAMS,
            runtime({"bf16": bf16}),
            max_length=512,
            checkpoints=tmp_path / "checkpoints",
        )
        assert {one.dtype for one in model.parameters()} == {torch.float32}
        losses.append([row["loss"] for row in found])
    in_float32, in_bfloat16 = losses
    assert in_bfloat16 != in_float32
    assert in_bfloat16[0] == pytest.approx(in_float32[0], rel=0.02)
    assert in_bfloat16[-1] == pytest.approx(in_float32[-1], rel=0.05)
    assert in_float32[-1] < in_float32[0]


def test_checkpoints_belong_to_one_training_and_its_end_removes_what_others_left(tmp_path):
    ours, left, theirs = (tmp_path / name / "checkpoint-5" for name in ("ours", "left", "theirs"))
    for path in (ours, left, theirs):
        path.mkdir(parents=True)
    with pytest.raises(SentiDistillError), held(ours.parent):
        raise SentiDistillError("failed")
    assert [path.exists() for path in (ours, left)] == [True, True], "a training that fails can go on, as others can"
    with held(theirs.parent):
        with held(ours.parent):
            pass
        assert [path.exists() for path in (ours, left, theirs)] == [False, False, True]


def test_a_second_training_with_the_same_settings_waits_for_the_first(tmp_path):
    order = []

    def second():
        with held(tmp_path / "ours"):
            order.append("second")

    other = Thread(target=second)
    with held(tmp_path / "ours"):
        other.start()
        other.join(timeout=0.5)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


# Of 18 steps, 3 an epoch: in an epoch and at its end.
@pytest.mark.parametrize(
    ("kill_after", "changes"),
    [(n, {}) for n in (5, 6, 7, 14)] + [(n, {"lora": LORA}) for n in (6, 7)] + [(7, {"targets": "soft"})],
)
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(
    tiny_models, tmp_path, monkeypatch, kill_after, changes
):
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTTrainer

    folder = tiny_models / "student"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    some, soft = soft_rows(10)  # the last step of an epoch is not full
    data = tokenise(some, tokenizer, "transcript", 512, soft if "targets" in changes else {})

    def run(checkpoints):
        model = AutoModelForCausalLM.from_pretrained(folder)
        machine, params = runtime(train_rows_per_step=2, save_steps=2), PARAMS.model_copy(update=changes)
        learner = with_adapter(model, params)
        train(learner, tokenizer, data, params, machine, max_length=512, checkpoints=checkpoints)
        return model

    whole = run(tmp_path / "whole")
    steps = []

    class Killed(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            steps.append(state.global_step)
            if len(steps) == kill_after:
                raise KeyboardInterrupt

    begin = SFTTrainer.train

    def with_callback(self, *arguments, **options):
        self.add_callback(Killed())
        return begin(self, *arguments, **options)

    monkeypatch.setattr(SFTTrainer, "train", with_callback)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    torn = tmp_path / "killed/checkpoint-17"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": 17, "log_hi')
    resumed = run(tmp_path / "killed")
    assert steps[kill_after] == (kill_after - 1) // 2 * 2 + 1, "the second run starts after the last whole checkpoint"
    for one, other in zip(whole.parameters(), resumed.parameters()):
        assert one.equal(other)


def trained_by_score(folder: Path, checkpoints: Path, scores: list[float], stop_at: int | None = None, **changes):
    """(trained model, its last logged row, weights and logits at each validation); epoch n ends with `scores[n]`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
    data = tokenise(rows_of_several_lengths(8), tokenizer, "transcript", 512)
    params = PARAMS.model_copy(update={"epochs": len(scores), "keep": "best", **changes})
    learner, seen = with_adapter(model, params), []

    def validate() -> float:
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        seen.append(([weights.detach().clone() for weights in learner.parameters()], logits(learner)))
        return scores[len(seen) - 1]

    machine = runtime(train_rows_per_step=2)
    losses = train(
        learner, tokenizer, data, params, machine, max_length=512, checkpoints=checkpoints, validate=validate
    )
    return model, losses[-1], seen


def logits(model):
    """Of a fixed text: what the weights come to, be there an adapter beside them or not."""
    import torch

    learning = model.training
    model.eval()
    with torch.no_grad():
        found = model(torch.arange(3, 19)[None]).logits.clone()
    model.train(learning)
    return found


@pytest.mark.parametrize("lora", [None, LORA])
def test_the_weights_of_the_best_epoch_are_kept(tiny_models, tmp_path, lora):
    found, last, seen = trained_by_score(tiny_models / "student", tmp_path, [50.0, 90.0, 70.0], lora=lora)
    assert last["validation_f1"] == 90
    (best, said), (end, said_last) = seen[1:]
    assert (logits(found) - said).abs().max() < 1e-4 < (logits(found) - said_last).abs().max()
    if lora is None:
        assert all(one.equal(other) for one, other in zip(found.parameters(), best))
        assert not all(one.equal(other) for one, other in zip(found.parameters(), end))


def test_training_ends_after_as_many_epochs_without_a_better_one(tiny_models, tmp_path):
    found, _, seen = trained_by_score(tiny_models / "student", tmp_path, [50.0, 90.0, 70.0, 80.0, 99.0], patience=2)
    assert len(seen) == 4
    assert all(one.equal(other) for one, other in zip(found.parameters(), seen[1][0]))


def test_a_training_that_was_killed_while_it_was_scored_keeps_the_same_weights(tiny_models, tmp_path):
    whole, _, _ = trained_by_score(tiny_models / "student", tmp_path / "whole", [50.0, 90.0, 70.0])
    with pytest.raises(KeyboardInterrupt):
        trained_by_score(tiny_models / "student", tmp_path / "killed", [50.0, 90.0, 70.0], stop_at=1)
    resumed, _, seen = trained_by_score(tiny_models / "student", tmp_path / "killed", [90.0, 70.0, 0.0])
    assert len(seen) == 2, "it goes on after the first epoch"
    assert all(one.equal(other) for one, other in zip(whole.parameters(), resumed.parameters()))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_adapter_is_trained_alone_and_ends_in_the_weights(tiny_models, tmp_path, checkpointing):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_models / "student"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, base = (AutoModelForCausalLM.from_pretrained(folder).eval() for _ in range(2))
    data = tokenise(rows(), tokenizer, "transcript", 512)
    params = PARAMS.model_copy(update={"epochs": 25, "lora": LORA})
    learner = with_adapter(model, params)
    machine = runtime(train_rows_per_step=2, gradient_checkpointing=checkpointing)
    losses = train(learner, tokenizer, data, params, machine, max_length=512, checkpoints=tmp_path / "c")
    assert losses[-1]["loss"] < 0.97 * losses[0]["loss"]
    before, after = base.state_dict(), model.state_dict()
    assert before.keys() == after.keys()
    changed = {name.split(".")[-2] for name in before if not before[name].equal(after[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    ids = torch.tensor([data.input_ids[0]])
    with torch.no_grad():
        plain, merged = base(ids).logits, model(ids).logits
        beside = PeftModel.from_pretrained(base, tmp_path / "c" / TRAINED)(ids).logits
    assert (merged - beside).abs().max() < 1e-4 < (merged - plain).abs().max()


def test_modules_that_the_model_does_not_have_are_refused_by_the_name_of_the_key(tiny_models):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_models / "student")
    other = PARAMS.model_copy(update={"lora": LORA.model_copy(update={"target_modules": ["c_attn"]})})
    with pytest.raises(SentiDistillError, match=r"train_student\.lora\.target_modules: .*c_attn"):
        with_adapter(model, other)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_rows_of_a_step_do_not_depend_on_the_number_of_processes(monkeypatch, processes):
    for name, value in {STARTED: 1, "WORLD_SIZE": processes}.items():
        monkeypatch.setenv(name, str(value))
    assert passes(32, 2) * 2 * processes == 32
    with pytest.raises(
        SentiDistillError, match=r"batch_size \(30\) is no multiple of runtime.train_rows_per_step \(4\)"
    ):
        passes(30, 4)


def start_training(
    folder: Path, tiny_models: Path, machine: dict[str, object], texts: int = 2, **section: object
) -> subprocess.Popen:
    """The stage in a folder of its own: a tiny base, `machine` in runtime.train, `section` in train_student.

    It has so many validation `texts` of each label.
    """

    def change(values: dict) -> None:
        values["train_student"] |= {"epochs": 5, "learning_rate": 1e-3, "max_failure_rate": 1.0, **section}
        values["runtime"]["train"] |= machine
        values["runtime"]["train_rows_per_step"] = 2

    make_folder(folder, change)
    shutil.copytree(tiny_models / "student", folder / "models/student_base")
    records.write_json(folder / "models/student_base/origin.json", {"source": "pypi"})
    records.write_jsonl(folder / TRAIN_ROWS.path, rows_of_several_lengths(24))
    labelled = [Example(id=one, sentence=f"Quite {one}.", label=one, rating=0.0) for one in SENTIMENTS * texts]
    records.write_jsonl(folder / VALIDATION.path, labelled)
    for empty in (OWN_TEXTS, SOFT_LABELS):
        records.write_jsonl(folder / empty.path, [])
    return start(folder, "train_student", PYTHONPATH=str(ROOT))


def trained_by_the_stage(folder: Path, tiny_models: Path, lora: Lora | None, **machine: object) -> list[float]:
    """The losses."""
    finish(start_training(folder, tiny_models, machine, lora=lora and lora.model_dump()))
    losses = pd.read_csv(folder / "plots/training_loss.csv")
    assert list(losses) == ["step", "loss", "learning_rate"]
    return losses["loss"].tolist()


def test_a_student_that_does_not_end_its_answers_fails_the_stage(tiny_models, tmp_path):
    settings = {"epochs": 1, "keep": "best", "learning_rate": 1e-9}
    process = start_training(tmp_path, tiny_models, {}, **settings, max_failure_rate=0.5)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    assert "are empty; train for more epochs" in " ".join(said.split())
    assert not (tmp_path / "metrics/train_student.json").exists()
    (state,) = tmp_path.glob(".cache/train/*/checkpoint-*/trainer_state.json")
    noted = records.read_json(state)
    noted["log_history"][0]["loss"] = 123.0
    records.write_json(state, noted)
    params = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    tolerant = params.replace("max_failure_rate: 0.5", "max_failure_rate: 1.0")
    (tmp_path / "params.yaml").write_text(tolerant, encoding="utf-8")
    finish(start(tmp_path, "train_student", PYTHONPATH=str(ROOT)))
    assert pd.read_csv(tmp_path / "plots/training_loss.csv")["loss"][0] == 123.0, "the training was not done again"


@pytest.mark.heavy
@pytest.mark.parametrize("processes", [0, 2])
def test_the_best_epoch_is_that_of_the_validation_texts(tiny_models, tmp_path, processes):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    finish(start_training(tmp_path, tiny_models, {"processes": processes}, epochs=3, keep="best"))
    known = records.read_json(tmp_path / "metrics/train_student.json")["validation_f1"]
    params, student = config.load(tmp_path / "params.yaml"), tmp_path / "models/student"
    model, tokenizer = (kind.from_pretrained(student) for kind in (AutoModelForCausalLM, AutoTokenizer))
    texts = [(row.sentence, row.label) for row in records.read_jsonl(tmp_path / VALIDATION.path, Example)]
    task = TaskTexts(name="sentiment", **wording()["sentiment"], labels=SENTIMENTS, train=[], validation=texts)
    asked = asking(model, tokenizer, params.student, params.runtime.batch_tokens)
    assert known == pytest.approx(macro_f1(*label_scores(*asked, task, texts)))


def test_the_best_epoch_needs_validation_texts(tiny_models, tmp_path):
    process = start_training(tmp_path, tiny_models, {}, texts=0, keep="best")
    assert "keep: best needs validation texts" in process.communicate(timeout=300)[1]
    assert process.returncode == 1


def test_of_several_gpus_one_process_trains_on_one(tiny_student, tmp_path, monkeypatch):
    """TRL refuses threads of one process on several."""
    from trl import SFTConfig

    prepare = SFTConfig.__post_init__

    def with_two(self):
        prepare(self)
        self._n_gpu = 2

    monkeypatch.setattr(SFTConfig, "__post_init__", with_two)
    model, tokenizer = tiny_student
    data = tokenise(rows(), tokenizer, "transcript", 512)
    params = PARAMS.model_copy(update={"epochs": 1})
    assert train(copy.deepcopy(model), tokenizer, data, params, runtime(), max_length=512, checkpoints=tmp_path / "c")


@pytest.mark.heavy
@pytest.mark.parametrize("lora", [None, LORA.model_copy(update={"dropout": 0.0})], ids=["all weights", "LoRA"])
def test_two_processes_learn_as_one_does(tiny_models, tmp_path, lora):
    """They share out the rows of each step; the stage goes on with what they have left."""
    one, two = tmp_path / "one", tmp_path / "two"
    alone = trained_by_the_stage(one, tiny_models, lora)
    together = trained_by_the_stage(two, tiny_models, lora, processes=2)
    assert together == pytest.approx(alone, abs=1e-4)
    assert alone[-1] < alone[0]
    files = [sorted(path.relative_to(folder) for path in folder.rglob("models/student/**/*")) for folder in (one, two)]
    assert files[0] == files[1]
    assert (Path("models/student/adapter/adapter_model.safetensors") in files[0]) == bool(lora)
    weights = [load_file(folder / "models/student/model.safetensors") for folder in (one, two)]
    assert max(abs(weights[0][name] - weights[1][name]).max() for name in weights[0]) < 1e-3
    assert not list(two.glob(".cache/train/*/")), "what the processes have left is removed"


ACCELERATE = "{distributed_type: 'NO', num_machines: 1, num_processes: 1, mixed_precision: 'no', use_cpu: true}"


@pytest.mark.heavy
def test_a_file_of_accelerate_that_starts_one_process_trains_as_without_it(tiny_models, tmp_path):
    """`accelerate config` writes such a file where there is one device."""
    file = tmp_path / "accelerate.yaml"
    file.write_text(ACCELERATE)
    alone = trained_by_the_stage(tmp_path / "alone", tiny_models, None)
    assert trained_by_the_stage(tmp_path / "launched", tiny_models, None, config=str(file)) == alone


def test_a_training_whose_loss_is_no_number_ends_with_the_remedy(tiny_models, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(tiny_models / "student") for kind in (AutoModelForCausalLM, AutoTokenizer))
    data = tokenise(rows(), tokenizer, "transcript", 512)
    wild = PARAMS.model_copy(update={"learning_rate": 1e38, "epochs": 8})
    machine = runtime(train_rows_per_step=4)
    with pytest.raises(SentiDistillError, match=r"the loss of step \d+ is nan; lower train_student.learning_rate"):
        train(model, tokenizer, data, wild, machine, max_length=512, checkpoints=tmp_path / "c")


SOFT = {"polite": 0.6, "rude": 0.3, "neither rude nor polite": 0.1}


def soft_rows(n: int) -> tuple[list[TrainRow], dict[str, dict[str, float]]]:
    """Rows of which every other one has labels, and how likely the teacher finds those."""
    some = rows_of_several_lengths(n)
    return some, {row.id: SOFT for row in some[::2]}


def log_likelihoods(model, data: Tokenised, place: int):
    """Of each answer of a row, read alone."""
    import torch

    prompt, found = data.prompt_ids(place), []
    for ids, _ in data.answers[place]:
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        found.append(float(logprobs[range(len(ids)), ids].sum()))
    return torch.tensor(found)


def divergence(model, data: Tokenised, place: int) -> float:
    """Of the student's distribution over the labels from the teacher's, in nats."""
    import torch

    teacher = torch.tensor([weight for _, weight in data.answers[place]])
    return float((teacher * (teacher.log() - log_likelihoods(model, data, place).log_softmax(0))).sum())


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_the_soft_loss_is_the_cross_entropy_of_whole_labels_with_their_ends(tiny_student, prompt_format):
    model, tokenizer = tiny_student
    some, soft = soft_rows(3)
    data = tokenise(some, tokenizer, prompt_format, 512, soft)
    expected = sum(
        -weight * value
        for place in range(3)
        for (_, weight), value in zip(data.answers[place], log_likelihoods(model, data, place))
    )
    loss, logits, of_labels = weighted_loss(model, model, data, [0, 1, 2])
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-4)
    assert len(logits) == len(of_labels)
    assert int((~of_labels).sum()) == sum(data.completion_mask[1]), "the open row's tokens"


def test_training_on_soft_labels_moves_the_student_towards_the_teacher(tiny_models, tmp_path):
    """Among the labels, and to answer with one of them at all."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(tiny_models / "student") for kind in (AutoModelForCausalLM, AutoTokenizer))
    some, soft = soft_rows(8)
    data = tokenise(some, tokenizer, "transcript", 512, soft)
    before, mass = divergence(model, data, 0), float(log_likelihoods(model, data, 0).logsumexp(0))
    params = PARAMS.model_copy(update={"targets": "soft", "epochs": 25})
    machine = runtime(train_rows_per_step=2)
    losses = train(model, tokenizer, data, params, machine, max_length=512, checkpoints=tmp_path / "c")
    assert divergence(model, data, 0) < 0.2 * before
    assert float(log_likelihoods(model, data, 0).logsumexp(0)) > mass + 2
    assert losses[-1]["loss"] < losses[0]["loss"]
    assert all(0 < row["soft_share"] < 1 for row in losses)


def test_a_teacher_that_is_sure_trains_as_its_label_alone_does(tiny_models, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_models / "student")
    some, soft = soft_rows(6)
    sure = {key: {"polite": 1.0, "rude": 0.0} for key in soft}
    found = []
    for targets, weights in (("hard", {}), ("soft", sure)):
        model = AutoModelForCausalLM.from_pretrained(tiny_models / "student")
        data = tokenise(some, tokenizer, "transcript", 512, weights)
        params = PARAMS.model_copy(update={"targets": targets, "epochs": 2})
        machine = runtime(train_rows_per_step=2)
        train(model, tokenizer, data, params, machine, max_length=512, checkpoints=tmp_path / targets)
        found.append(model)
    for one, other in zip(*(model.parameters() for model in found)):
        assert one.detach().numpy() == pytest.approx(other.detach().numpy(), abs=1e-4)


@pytest.mark.parametrize(("weight", "preferred"), [(0.1, "polite"), (10.0, "rude")])
def test_where_rows_disagree_the_weightier_ones_are_learned(tiny_models, tmp_path, weight, preferred):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(tiny_models / "student") for kind in (AutoModelForCausalLM, AutoTokenizer))
    answers = ("polite", "rude")
    some = [row.model_copy(update={"text": "Hm.", "answer": answers[n % 2]}) for n, row in enumerate(rows(8))]
    data = tokenise(some, tokenizer, "transcript", 512, {row.id: {"rude": weight} for row in some[1::2]})
    longer, machine = PARAMS.model_copy(update={"epochs": 25}), runtime(train_rows_per_step=2)
    train(model, tokenizer, data, longer, machine, max_length=512, checkpoints=tmp_path / "c")
    found = {answer: float(log_likelihoods(model, data, place)) for place, answer in enumerate(answers)}
    assert max(found, key=found.__getitem__) == preferred


def test_memory_is_asked_for_all_labels_of_a_row(tiny_student):
    _, tokenizer = tiny_student
    some, soft = soft_rows(2)
    hard, both = (tokenise(some, tokenizer, "transcript", 512, weights) for weights in ({}, soft))
    assert hard.tokens_read() == [len(ids) for ids in hard.input_ids]
    assert both.tokens_read()[0] > hard.tokens_read()[0]
    assert both.tokens_read()[1] == hard.tokens_read()[1]
    assert both.input_ids == hard.input_ids, "what is counted is the same"


def test_before_the_first_step_it_is_known_what_is_trained_on(tiny_student):
    model, tokenizer = tiny_student
    data = tokenise(rows(4), tokenizer, "transcript", 512)
    lengths, answers = list(map(len, data.input_ids)), list(map(sum, data.completion_mask))
    counts = checks.rows(data)
    assert (counts["rows"], counts["tokens"], counts["supervised_tokens"]) == (4, sum(lengths), sum(answers))
    assert (counts["longest"], counts["without_answer"]) == (max(lengths), 0)
    assert checks.special_tokens(data, tokenizer) == {
        "end_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
    }
    assert "GB of" in checks.check_memory(model, data, runtime())["memory_needed"]


def test_rows_without_an_answer_to_learn_are_counted():
    ids, masks, none = [[5, 6, 7], [5, 6]], [[0, 0, 1], [0, 0]], [[], []]
    data = Tokenised(none, ids, masks, none, truncated=1, dropped=2)
    found = checks.rows(data)
    assert (found["without_answer"], found["supervised_tokens"]) == (1, 1)
    assert (found["truncated"], found["dropped"]) == (1, 2)


def test_a_training_that_does_not_fit_names_what_it_needs_and_what_to_turn(tiny_student, monkeypatch):
    model, tokenizer = tiny_student
    data = tokenise(rows(4), tokenizer, "transcript", 512)
    monkeypatch.setattr(checks, "free", lambda device: 1000)
    with pytest.raises(SentiDistillError, match=r"a step needs about .* lower runtime\.train_rows_per_step or"):
        checks.check_memory(model, data, runtime())


@pytest.mark.heavy
def test_memory_is_that_of_a_known_training():
    """Llama 3.2 of 3.2B was seen to need 48 GiB for its states and, of 8 rows of 2,048 tokens, 69 GiB beside them."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    shape = LlamaConfig(
        vocab_size=128_256,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape)
    states, kept = checks.memory(model, 8 * 2048, gradient_checkpointing=False)
    _, checkpointed = checks.memory(model, 8 * 2048, gradient_checkpointing=True)
    assert states / 2**30 == pytest.approx(48, rel=0.02)
    assert kept / 2**30 == pytest.approx(69, rel=0.1)
    assert checkpointed < kept / 2
    learner = with_adapter(model, PARAMS.model_copy(update={"lora": LORA}))
    frozen, _ = checks.memory(learner, 8 * 2048, gradient_checkpointing=False)
    assert frozen / 2**30 == pytest.approx(12, rel=0.02), "of an adapter's base, the weights alone"


def answer(text: str, finish_reason: str) -> Response:
    return Response(text, finish_reason, 1, 1)


def test_a_student_whose_answers_do_not_end_or_are_empty_fails():
    good, endless, empty = answer("fine", "stop"), answer("fine " * 9, "length"), answer(" ", "stop")
    assert checks.endings([good] * 3 + [endless], 0.5) == {
        "share_of_probes_that_end": 0.75,
        "share_of_probes_empty": 0.0,
    }
    for bad in ([good, endless, endless], [good, empty, empty], [endless, empty, good]):
        with pytest.raises(SentiDistillError, match="are empty; train for more epochs"):
            checks.endings(bad, 0.5)
