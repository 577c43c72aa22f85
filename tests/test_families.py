"""The families of the paper's profiles: a tiny student of each one's architecture class, in its own chat template."""

import pytest

from sentidistill import config, difficulty
from sentidistill.config.models import PathModel
from sentidistill.predict import Predictor, Task
from sentidistill.sources import models
from sentidistill.student import checks, folder
from sentidistill.student.rows import tokenise
from sentidistill.student.training import train
from tests import tiny_models
from tests.project import ROOT
from tests.test_training import PARAMS, rows

CLASSES = {"llama": "LlamaForCausalLM", "qwen": "Qwen3ForCausalLM", "gemma": "Gemma3ForConditionalGeneration"}
TURN_ENDS = {"llama": "<|eot_id|>", "qwen": "<|im_end|>", "gemma": "<end_of_turn>"}
POLITE = Task("Decide how courteous the author is.", "Politeness", ("polite", "rude"))


@pytest.fixture(scope="module", params=tiny_models.FAMILIES)
def base(request, tmp_path_factory):
    """(family, folder of its tiny model)"""
    out = tmp_path_factory.mktemp(request.param)
    tokenizer = tiny_models.tokenizer_of_family(request.param)
    tiny_models.model_of_family(request.param, len(tokenizer)).save_pretrained(out)
    tokenizer.save_pretrained(out)
    if request.param == "gemma":
        (out / "preprocessor_config.json").write_text('{"image_processor_type": "Gemma3ImageProcessor"}')
    return request.param, out


def test_a_student_of_each_family_is_checked_scored_trained_saved_and_asked(base, tmp_path):
    family, path = base
    models.prepare(PathModel(source="path", path=str(path)), tmp_path / "base", tmp_path, tmp_path)
    models.check_language_model(tmp_path / "base", tmp_path)
    tokenizer = models.load_tokenizer(tmp_path / "base", tmp_path)
    machine = config.load(ROOT / "params.yaml").runtime.model_copy(update={"train_rows_per_step": 2})
    model = models.load_causal_lm(tmp_path / "base", tmp_path, machine)
    assert type(model).__name__ == CLASSES[family]
    data = tokenise(rows(), tokenizer, "chat", 512)
    text = tokenizer.decode(data.input_ids[0])
    assert ("<think>\n\n</think>\n\npolite" in text) == (family == "qwen"), "trained without a thought, as it is asked"
    assert checks.special_tokens(data, tokenizer)["end_token"] == TURN_ENDS[family], "as its template ends a turn"
    asked = [(ids[: mask.index(1)], ids[mask.index(1) :]) for ids, mask in zip(data.input_ids, data.completion_mask)]
    before = difficulty.score_ids(model, asked)
    assert "GB of" in checks.check_memory(model, data, machine)["memory_needed"]
    section = PARAMS.model_copy(update={"epochs": 8})
    train(model, tokenizer, data, section, machine, max_length=512, checkpoints=tmp_path / "checkpoints")
    after = difficulty.score_ids(model, asked)
    assert max(one.nll for one in after) < min(one.nll for one in before)
    for origin in (
        models.locate(tmp_path / "base", tmp_path),
        tmp_path / "student",
    ):  # as `make adapt` onto its own model
        folder.save(tmp_path / "student", model, tokenizer, "chat", origin)
    assert (tmp_path / "student/preprocessor_config.json").exists() == (family == "gemma"), "it can read images"
    student = Predictor(tmp_path / "student", prompt_format="chat", device="cpu")
    assert student.predict("Thank you!", POLITE).answer == "polite"
