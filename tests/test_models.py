"""Model folders from every kind of source; the default student for real."""

import json
import shutil
from pathlib import Path

import pytest

from sentidistill import config
from sentidistill.commands.evaluate import known_folder
from sentidistill.config.models import HubModel, PathModel
from sentidistill.errors import SentiDistillError
from sentidistill.sources import models

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = config.load(ROOT / "params.yaml").runtime


def test_a_local_folder_is_pointed_at_and_told_apart_by_its_files(tiny_models, tmp_path):
    shutil.copytree(tiny_models / "student", tmp_path / "mine")
    source = PathModel(source="path", path="mine")
    models.prepare(source, tmp_path / "out", tmp_path / "downloads", tmp_path)
    assert models.locate(tmp_path / "out", tmp_path) == tmp_path / "mine"
    assert models.load_causal_lm(tmp_path / "out", tmp_path, RUNTIME).config.hidden_size == 16
    before = models.identity(tmp_path / "out")
    (tmp_path / "mine" / "config.json").write_text((tmp_path / "mine" / "config.json").read_text() + "\n")
    models.prepare(source, tmp_path / "out", tmp_path / "downloads", tmp_path)
    assert models.identity(tmp_path / "out") != before


def test_a_hub_repository_is_pinned_to_its_commit(tiny_models, tmp_path, monkeypatch):
    """From a local cache of the hub's layout, offline."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "hub"
    repo = cache / "models--someone--tiny"
    shutil.copytree(tiny_models / "student", repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    origin = models.prepare(HubModel(source="hub", repo="someone/tiny"), tmp_path / "out", tmp_path, tmp_path)
    assert origin == {"source": "hub", "repo": "someone/tiny", "revision": commit}
    assert [path.name for path in (tmp_path / "out").iterdir()] == [models.ORIGIN]
    assert models.load_tokenizer(tmp_path / "out", tmp_path).eos_token == "</s>"


def test_a_model_that_is_not_there_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(SentiDistillError, match="nowhere: no model folder"):
        models.prepare(PathModel(source="path", path="nowhere"), tmp_path / "out", tmp_path, tmp_path)
    with pytest.raises(SentiDistillError, match="someone/missing"):
        models.prepare(HubModel(source="hub", repo="someone/missing"), tmp_path / "out", tmp_path, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_pads_with_its_end_token_gets_another(tiny_models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models / "student", folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["pad_token"] = settings["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = models.load_tokenizer(folder, tmp_path)
    assert tokenizer.pad_token_id not in {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id}


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def with_weights(folder: Path, change) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b'cbuiltins\nexec\n(S\'open("ran", "w")\'\ntR.')


def own_code(folder: Path, kind: str) -> None:
    (folder / "code.py").write_text("open('ran', 'w')\nclass Config: pass\n")
    if kind == "tokenizer":
        edit(folder / "tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["code.Own", None]})
    else:
        names = {"AutoConfig": f"{kind}code.Config", "AutoModelForCausalLM": f"{kind}code.Model"}
        edit(folder / "config.json", model_type="own", auto_map=names)


def larger_vocabulary(folder: Path) -> None:
    from tests.tiny_models import language_model

    language_model(300).save_pretrained(folder)


def written(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


def prepared(path: str, root: Path) -> None:
    models.prepare(PathModel(source="path", path=path), root / "out", root / "downloads", root)
    models.check_language_model(root / "out", root)


FORGETFUL = {
    "texts that are no lists of parts": "{% for m in messages %}<|{{m.role}}|>{% for c in m.content %}"
    "{% if c.type=='text' %}{{c.text}}{% endif %}{% endfor %}{% endfor %}",
    "all turns": "hello",
    "the ends of texts": "{% for m in messages %}{{ m.content[:2] }}{% endfor %}",
    "everything": "",
}
BROKEN = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights there as .*safetensors; fetch them"),
    "pickles alone": (only_pickles, r"only pytorch_model\.bin, and such files can run code.*save_pretrained"),
    "an adapter": (written("adapter_config.json", '{"base_model_name_or_path": "a/b"}'), "adapter; merge it"),
    "cut weights": (lambda f: half(f / "model.safetensors"), "the model cannot be opened .*fetch it anew"),
    "a page for weights": (written("model.safetensors", "<html>" * 99), "the model cannot be opened"),
    "a weight too few": (lambda f: with_weights(f, lambda w: w.pop("model.norm.weight")), "lacks .*model.norm.weight"),
    "a weight too many": (
        lambda f: with_weights(f, lambda w: w.update(other=w["model.norm.weight"].clone())),
        "weights of another model, such as other",
    ),
    "other sizes": (
        lambda f: edit(f / "config.json", vocab_size=100),
        "another size than its config.json says, such as",
    ),
    "other layers": (
        lambda f: edit(f / "config.json", num_hidden_layers=3),
        r"lacks weights, such as model\.layers\.2",
    ),
    "an encoder and decoder": (lambda f: edit(f / "config.json", model_type="t5"), "T5Config.*transformers knows"),
    "an encoder": (lambda f: edit(f / "config.json", model_type="bert"), "lacks weights"),
    "an unknown kind": (lambda f: edit(f / "config.json", model_type="nosuch"), "nosuch.*transformers knows"),
    "sizes that are none": (lambda f: edit(f / "config.json", hidden_size="many"), "hidden_size"),
    "no config.json": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "a torn config.json": (lambda f: half(f / "config.json"), r"config\.json"),
    "an empty config.json": (written("config.json", "{}"), "model_type"),
    "a list for config.json": (written("config.json", "[1]"), r"config\.json: no JSON object"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "the tokenizer cannot be opened.*tokenizer.json"),
    "a torn tokenizer": (lambda f: half(f / "tokenizer.json"), "the tokenizer cannot be opened"),
    "a tokenizer of another model": (larger_vocabulary, "tokenizer is of another model.*the weights know 300"),
    "code of its own": (lambda f: own_code(f, ""), "code of its own .auto_map., which is never run"),
    "code of a hub": (lambda f: own_code(f, "someone/else--"), "code of its own .auto_map., which is never run"),
    "a tokenizer's own code": (lambda f: own_code(f, "tokenizer"), "the tokenizer needs code of its own"),
    "a template that raises": (written("chat_template.jinja", "{{ raise_exception('never') }}"), "template.*never"),
    "a template with a fault": (written("chat_template.jinja", "{% for a in %}"), "template cannot be used .Templ"),
    "a template that fills memory": (written("chat_template.jinja", "{{ 'a' * 10**11 }}"), "template.*MemoryError"),
    "a template that writes much": (written("chat_template.jinja", "{{ 'a' * 10**6 }}"), "template.*writes 1,000,000"),
    "a template that reaches out": (
        written("chat_template.jinja", "{{ messages.__class__.__mro__[1].__subclasses__() }}"),
        "template.*SecurityError",
    ),
    **{
        f"a template that leaves out {what}": (written("chat_template.jinja", text), "template.*leaves out what a turn")
        for what, text in FORGETFUL.items()
    },
    "no end token": (lambda f: edit(f / "tokenizer_config.json", eos_token=None), "no end token .eos_token.; name it"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_folder_is_refused_with_the_remedy_and_nothing_of_it_runs(
    name, tiny_models, tmp_path, monkeypatch
):
    """Nor is anybody asked at the keyboard, or a hub looked for."""
    change, message = BROKEN[name]
    folder = tmp_path / "mine"
    shutil.copytree(tiny_models / "student", folder)
    change(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the keyboard"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("looked for a hub"))
    with pytest.raises(SentiDistillError, match=message) as raised:
        prepared("mine", tmp_path)
    assert "mine" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.rglob("ran"))


def test_a_template_that_loops_is_ended(tiny_models, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_SECONDS", 1)
    shutil.copytree(tiny_models / "student", tmp_path / "mine")
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (tmp_path / "mine" / "chat_template.jinja").write_text(loop)
    with pytest.raises(SentiDistillError, match=r"chat template cannot be used \(more than 1 seconds"):
        models.check_language_model(tmp_path / "mine", tmp_path)


def test_whole_models_pass_with_any_template_that_is_used(tiny_models, tmp_path):
    """Also one that refuses a system's turn, and one without a template."""
    shutil.copytree(tiny_models / "student", tmp_path / "mine")
    models.check_language_model(tmp_path / "mine", tmp_path)
    template = tmp_path / "mine" / "chat_template.jinja"
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    template.write_text(refuses + template.read_text())
    models.check_language_model(tmp_path / "mine", tmp_path)
    template.unlink()
    models.check_language_model(tmp_path / "mine", tmp_path)
    (tmp_path / "mine" / "model.safetensors").unlink()
    models.check_language_model(tmp_path / "mine", tmp_path, weights=False)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("kind", "settings", "fault"),
    [
        ("lfm2", {"layer_types": ["conv", "full_attention"]}, r"has layers other than attention \(conv\)"),
        (
            "llama4_text",
            {"num_local_experts": 2, "intermediate_size_mlp": 32},
            r"has layers other than attention \(chunked_attention\)",
        ),
        ("mamba", {}, r"has layers other than attention \(linear_attention\)"),
        ("bloom", {}, "takes no positions of tokens"),
        ("falcon", {"alibi": True}, "takes no positions of tokens"),
    ],
)
def test_a_model_through_which_several_texts_cannot_go_at_once_is_refused(kind, settings, fault, tmp_path):
    """It would mix the states of texts and score all but the first wrongly, or fail at the first text."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = AutoConfig.for_model(kind, **sizes, **heads, **settings)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "mine")
    with pytest.raises(SentiDistillError, match=rf"mine: \w+ {fault}"):
        models.open_language_model(tmp_path / "mine")


def test_an_embedder_is_opened_and_a_broken_one_refused(tiny_models, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(tiny_models / "embedder", folder)
    models.check_embedder(folder, tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([{**modules[0], "type": "code.Own"}, *modules[1:]]))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(SentiDistillError, match="mine: the embedder needs code of its own"):
        models.check_embedder(folder, tmp_path)
    assert not (tmp_path / "ran").exists()
    shutil.copy(tiny_models / "embedder" / "modules.json", folder)
    with_weights(folder, lambda weights: weights.pop("embeddings.word_embeddings.weight"))
    with pytest.raises(SentiDistillError, match=r"mine: lacks weights, such as embeddings\.word_embeddings"):
        models.check_embedder(folder, tmp_path)
    half(folder / "model.safetensors")
    with pytest.raises(SentiDistillError, match="mine: the model cannot be opened"):
        models.check_embedder(folder, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(SentiDistillError, match="mine: no weights there"):
        models.check_embedder(folder, tmp_path)


@pytest.mark.parametrize(
    "content",
    ["{}", "[]", '{"source": "hub"}', '{"source": "hub", "repo": null, "revision": "a"}', '{"source": "x"}', "{"],
)
def test_an_origin_that_says_nothing_is_named(content, tmp_path):
    folder = tmp_path / "models" / "teacher"
    folder.mkdir(parents=True)
    (folder / models.ORIGIN).write_text(content)
    for use in (models.has_files, models.is_gguf, models.identity, models.name):
        with pytest.raises(SentiDistillError, match=r"teacher/origin\.json"):
            use(folder)
    with pytest.raises(SentiDistillError, match=r"teacher/origin\.json"):
        models.load_tokenizer(folder, tmp_path)


def test_of_a_hub_repository_only_one_copy_of_the_weights_is_fetched():
    from huggingface_hub.utils import filter_repo_objects

    wanted = ["config.json", "tokenizer.json", "tokenizer.model", "1_Pooling/config.json", "generation_config.json"]
    weights = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "2_Dense/model.safetensors"]
    copies = ["original/consolidated.00.pth", "original/params.json", "pytorch_model.bin", "consolidated.safetensors"]
    copies += ["model.Q4_K_M.gguf", "onnx/model.onnx", "onnx/model.onnx_data", "tf_model.h5", "flax_model.msgpack"]
    copies += ["openvino/openvino_model.xml", "metal/model.bin", "coreml/text/weights/weight.bin", "rust_model.ot"]
    for skipped, expected in ((models.COPIES, wanted + weights), (models.WEIGHTS, wanted)):
        assert list(filter_repo_objects(wanted + weights + copies, ignore_patterns=skipped)) == expected


def test_the_default_student_from_its_package(default_student, tmp_path):
    """Fetched, checked, turned from GGUF into float32 safetensors, and able to read."""
    import torch
    from safetensors import safe_open

    with safe_open(default_student / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in list(file.keys())[:5]} == {torch.float32}
    tokenizer = models.load_tokenizer(default_student, tmp_path)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.chat_template
    model = models.load_causal_lm(default_student, tmp_path, RUNTIME)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    ids = torch.tensor([tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        best = int(model(ids).logits[0, -1].argmax())
    assert tokenizer.decode([best]).strip() == "Paris"


@pytest.mark.heavy
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(SentiDistillError, match=r"runtime\.device is cuda:99, but this machine has \d+ of"):
        models.device(RUNTIME.model_copy(update={"device": "cuda:99"}))
    assert models.device(RUNTIME.model_copy(update={"device": "cpu"})).type == "cpu"


def test_a_model_that_can_be_no_folder_and_no_repository_is_named(tmp_path):
    with pytest.raises(SentiDistillError, match="no/such/folder: no such folder, and no repository of the hub"):
        known_folder("no/such/folder", tmp_path)
