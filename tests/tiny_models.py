"""Tiny models for tests, made in seconds, all with random weights: a student, an embedder, models with windows.

The teacher's folder is there for its tokenizer and chat template: tests/scripted_teacher.py answers in its place.
`python -m tests.tiny_models FOLDER` writes all three.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def smoke_texts() -> list[str]:
    """What the tokenizers learn their words from: the made-up user texts, and what the scripted teacher says."""
    from tests import scripted_teacher as script

    lines = [line for path in sorted(DATA.glob("*.jsonl")) for line in path.read_text().splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    labels = [label for one in script.ATTRIBUTES for label in (one.more, one.less)]
    said = [*script.SUBJECTS, *script.CIRCUMSTANCES, *(phrase for mood in script.MOODS for phrase in mood)]
    said += [
        f"1. **{one.name}** Attribute Description: {one.description}. Attribute Value: {degree}"
        for one in script.ATTRIBUTES
        for degree in script.DEGREES
    ]
    # At the start of a line, as labels stand in an answer.
    return [*texts, *said, "\n".join([*labels, "neither", "negative", "neutral", "positive"])]


def smoke_tokenizer():
    """The tokenizer of the scripted teacher and of the tiny student."""
    return tokenizer(smoke_texts())


def tokenizer(texts: list[str]):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(texts, trainer)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
    )


def language_model(vocabulary: int, seed: int = 0):
    """A random Llama in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    ).eval()


def embedder(texts: list[str], folder: Path) -> None:
    """A random sentence-transformers model of the usual layout."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    tok = tokenizer(texts)
    inner = folder.with_name(f"{folder.name}-inner")
    BertModel(
        BertConfig(
            vocab_size=len(tok),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=128,
            initializer_range=0.3,  # far above the usual, or all texts would be nearly the same
        )
    ).save_pretrained(inner)
    tok.save_pretrained(inner)
    transformer = modules.Transformer(str(inner), max_seq_length=64)
    SentenceTransformer(modules=[transformer, modules.Pooling(32)], device="cpu").save(str(folder))


@dataclass(frozen=True)
class Family:
    """A chat template, its special tokens, of which the first ends a turn, a turn, and what then opens an answer."""

    template: str
    special: list[str]
    turn: str
    opening: str


FAMILIES = {
    "llama": Family(
        "llama3",
        ["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
        r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n\n(?:Cutting .*?\n\n)?(.*?)<\|eot_id\|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "qwen": Family(
        "qwen3",
        ["<|im_end|>", "<|im_start|>"],
        r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>",
        "\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "gemma": Family(
        "gemma3",
        ["<end_of_turn>", "<start_of_turn>"],
        r"<start_of_turn>(\w+)\n(.*?)<end_of_turn>",
        "\n<start_of_turn>model\n",
    ),
}


def tokenizer_of_family(family: str):
    """The tokenizer of the smoke run with the special tokens and the chat template of a family."""
    tok = smoke_tokenizer()
    tok.add_special_tokens({"additional_special_tokens": FAMILIES[family].special})
    tok.chat_template = (Path(__file__).parent / f"chat_templates/{FAMILIES[family].template}.jinja").read_text()
    return tok


def model_of_family(family: str, vocabulary: int):
    """A random model of the architecture class of a family; Gemma's can see."""
    import torch
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Qwen3Config,
        Qwen3ForCausalLM,
        SiglipVisionConfig,
    )

    torch.manual_seed(1)
    if family == "llama":
        return language_model(vocabulary, seed=1)
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "max_position_embeddings": 4096,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "qwen":
        return Qwen3ForCausalLM(Qwen3Config(**sizes)).eval()
    layers = ["sliding_attention", "full_attention"]
    sees = SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    return Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config={**sizes, "layer_types": layers, "sliding_window": 64},
            vision_config=sees.to_dict(),
            mm_tokens_per_image=4,
            image_token_index=5,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    ).eval()


def build(folder: Path, family: str | None = None) -> None:
    """Write teacher/, student/ and embedder/ into `folder`, the first two in the classes and template of `family`."""
    tok = tokenizer_of_family(family) if family else smoke_tokenizer()
    for seed, name in enumerate(("teacher", "student")):
        model = model_of_family(family, len(tok)) if family else language_model(len(tok), seed=seed)
        model.save_pretrained(folder / name)
        tok.save_pretrained(folder / name)
    embedder(smoke_texts(), folder / "embedder")


def windowed(kind: str, vocabulary: int, window: int):
    """A random model some or all of whose layers see a window only."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, MistralConfig, MistralForCausalLM

    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "sliding_window": window,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(0)
    if kind == "all layers":
        return MistralForCausalLM(MistralConfig(**sizes)).eval()
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    return Gemma3ForCausalLM(Gemma3TextConfig(**sizes, layer_types=layers)).eval()


if __name__ == "__main__":
    build(Path(sys.argv[1]))
